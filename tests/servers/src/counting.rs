//! A fake IRC server whose users say numbered lines, and which keeps account of how often each number was answered: the measure of
//! every fault test.
//!
//! A line counts as *read* when the bot has answered a PING that came after it, since a session handles its lines in order. What was
//! sent to a connection that ended before that may never have been read, and may stay unanswered. Every line that was read must be
//! answered once, in its own channel, with its own number.

mod ledger;
mod report;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::ledger::Ledger;
pub use self::report::{Doubled, Report};
use crate::{FakeIrc, FakeOptions, PATIENCE};

/// A connection is asked for a PONG after so many lines: what may stay uncertain when it ends.
const LINES_A_MARK: usize = 10;
/// And after so long, whatever was said.
const MARK_EVERY: Duration = Duration::from_millis(200);
/// How long the books stay open for what comes too often, when everything is answered.
const AFTERMATH: Duration = Duration::from_millis(1_000);
/// How long the clerk waits for a line before it looks around.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a line that nobody is there for is held back.
const NOBODY_THERE: Duration = Duration::from_millis(10);
/// The users who speak in turn.
const USERS: [&str; 7] = ["alice", "bob", "carol", "dave", "eve", "frank", "grace"];
/// The command that lines ask the bot with, unless told otherwise.
const COMMAND: &str = "!echo";

/// A counting IRC server; it ends when dropped.
pub struct Counting {
    shared: Arc<Shared>,
    clerk: Option<JoinHandle<()>>,
}

struct Shared {
    irc: FakeIrc,
    channels: Vec<String>,
    ledger: Mutex<Ledger>,
    loads: AtomicUsize,
    over: AtomicBool,
}

/// Lines being said in the background.
pub struct Load {
    stop: Arc<AtomicBool>,
    talker: Option<JoinHandle<()>>,
}

impl Counting {
    /// Starts one whose users talk in these channels.
    pub fn start(channels: &[&str]) -> Self {
        Self::start_with(channels, FakeOptions::default())
    }

    /// The same, on a server as the options say.
    pub fn start_with(channels: &[&str], options: FakeOptions) -> Self {
        let channels: Vec<String> = channels.iter().map(|&channel| channel.to_owned()).collect();
        let ledger = Mutex::new(Ledger::new(channels.len()));
        let (irc, loads, over) = (FakeIrc::start_with(options), AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { irc, channels, ledger, loads, over });
        let clerk = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.keep_books()
        });
        Self { shared, clerk: Some(clerk) }
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.shared.irc.port()
    }

    /// The server. Its lines are read here: nobody else gets any.
    pub fn irc(&self) -> &FakeIrc {
        &self.shared.irc
    }

    /// Waits until somebody is in all channels. Panics after 30 s.
    pub fn wait_for_bot(&self) {
        for channel in &self.shared.channels {
            self.shared.irc.wait_for_join(channel);
        }
    }

    /// Says so many lines at so many a second, in all channels, by several users, and waits until they are said.
    pub fn say(&self, lines: usize, per_second: u32) {
        self.begin(COMMAND, Some(lines), per_second).wait();
    }

    /// Begins to say lines that ask with this command, and goes on meanwhile: so many, or until told to stop.
    pub fn begin(&self, command: &str, lines: Option<usize>, per_second: u32) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        self.shared.loads.fetch_add(1, Ordering::SeqCst);
        let talker = thread::spawn({
            let (shared, stop, command) = (Arc::clone(&self.shared), Arc::clone(&stop), command.to_owned());
            move || {
                shared.talk(&command, lines, per_second, &stop);
                shared.loads.fetch_sub(1, Ordering::SeqCst);
            }
        });
        Load { stop, talker: Some(talker) }
    }

    /// The books as they are now.
    pub fn report(&self) -> Report {
        self.report_from(0)
    }

    /// What is known of the lines from this number on. Strange lines, silences and connections are counted from the beginning.
    pub fn report_from(&self, number: usize) -> Report {
        self.shared.ledger().report(number)
    }

    /// Closes the books: waits until it is known of every line whether it was read, and all that were are answered, at most so long;
    /// then a second longer for what is answered too often.
    pub fn settle(&self, within: Duration) -> Report {
        let start = Instant::now();
        self.shared.ledger().close_marks(&self.shared.irc);
        while start.elapsed() < within && !self.shared.is_settled() {
            thread::sleep(LOOK_EVERY);
        }
        thread::sleep(AFTERMATH);
        self.report()
    }

    /// Waits until so many lines were answered. Panics after 30 s.
    pub fn wait_for_answers(&self, count: usize) {
        let start = Instant::now();
        while self.shared.ledger().answered() < count {
            assert!(start.elapsed() < PATIENCE, "not answered within 30 s: {}", self.report());
            thread::sleep(LOOK_EVERY);
        }
    }

    /// How many lines were said so far.
    pub fn said(&self) -> usize {
        usize::try_from(self.shared.ledger().next_number()).unwrap_or(usize::MAX)
    }

    /// The connection that answered last.
    pub fn last_speaker(&self) -> Option<usize> {
        self.shared.ledger().last_speaker()
    }

    /// When this connection answered last, if ever.
    pub fn last_answer_of(&self, connection: usize) -> Option<Instant> {
        self.shared.ledger().last_answer_of(connection)
    }

    /// How many lines were answered so far.
    pub fn answered(&self) -> usize {
        self.shared.ledger().answered()
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.clerk.take().map(JoinHandle::join);
    }
}

impl Load {
    /// Waits until all is said.
    pub fn wait(mut self) {
        self.join();
    }

    /// Says nothing more.
    pub fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wait();
    }

    /// Whether it still talks.
    pub fn is_talking(&self) -> bool {
        self.talker.as_ref().is_some_and(|talker| !talker.is_finished())
    }

    fn join(&mut self) {
        if let Some(talker) = self.talker.take() {
            talker.join().expect("saying lines does not fail");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.join();
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_settled(&self) -> bool {
        let visits = self.irc.visits();
        let is_open = |connection: usize| visits.get(connection - 1).is_some_and(|visit| visit.ended.is_none());
        self.ledger().is_settled(is_open)
    }

    fn talk(&self, command: &str, lines: Option<usize>, per_second: u32, stop: &AtomicBool) {
        let pause = Duration::from_secs(1) / per_second.max(1);
        let mut due = Instant::now();
        let mut said = 0;
        while lines.is_none_or(|lines| said < lines)
            && !stop.load(Ordering::SeqCst)
            && !self.over.load(Ordering::SeqCst)
        {
            if self.say_next(command) {
                said += 1;
                due += pause;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            } else {
                // Nobody is there: nobody talks, and nothing is made up for later.
                thread::sleep(NOBODY_THERE);
                due = Instant::now();
            }
        }
    }

    /// Says the next line, if somebody is there to hear it. The books are held meanwhile, so that no answer comes before its line.
    fn say_next(&self, command: &str) -> bool {
        let mut ledger = self.ledger();
        let number = ledger.next_number();
        let channel = usize::try_from(number).unwrap_or_default() % self.channels.len();
        let user = USERS[usize::try_from(number).unwrap_or_default() % USERS.len()];
        let heard_by = self.irc.say(user, &self.channels[channel], &format!("{command} n{number}"));
        if heard_by.is_empty() {
            return false;
        }
        ledger.said(channel, &heard_by);
        ledger.mark(&self.irc, LINES_A_MARK);
        true
    }

    /// Writes down what the bot sends; asks for proof where it is time.
    fn keep_books(&self) {
        let mut marked = Instant::now();
        while !self.over.load(Ordering::SeqCst) {
            if let Some(line) = self.irc.try_next_line(LOOK_EVERY) {
                self.ledger().heard(&line, &self.channels);
            }
            if marked.elapsed() > MARK_EVERY {
                marked = Instant::now();
                self.ledger().mark(&self.irc, 0);
            }
        }
    }
}
