//! An IRC server for what real ones won't do, and for counting: no limits, any bytes, any misbehaviour.
//!
//! A thread accepts; each connection has one thread that reads (a read's lines are handled together) and one that writes (all that has
//! come together since its last write, in one write). Whoever sends only appends to a buffer. That buffer and the list of received lines
//! have no maximum: a test must take what it provokes.

mod conversation;
mod message;

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::conversation::Conversation;
use self::message::Message;
use crate::PATIENCE;

/// How often the server looks for clients that are silent for too long.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a connection stays open for the server's last words.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(50);

/// Sees each line (without its end) before the server answers it: `None` for the usual answer, else the bytes to send instead, none included.
/// It runs on the connection's reading thread.
pub type Script = Box<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// How a fake server differs from the usual one.
#[derive(Default)]
pub struct FakeOptions {
    /// IRCv3 capabilities to offer. `echo-message` and `labeled-response` are acted upon, the others only acknowledged; a client that
    /// asks for `labeled-response` is taken to understand batches.
    pub capabilities: Vec<String>,
    /// Parameters of 005 besides the usual ones, separated by spaces.
    pub isupport: String,
    /// Several sessions may share one nick, as at a bouncer: a further one is let in at once, put into the channels where the others are,
    /// and sees what the others say.
    pub multiclient: bool,
    /// Answers of the test's own.
    pub script: Option<Script>,
}

/// A line that the bot sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// Which connection sent it; the first is 1.
    pub connection: usize,
    /// The bytes up to and including LF.
    pub bytes: Vec<u8>,
}

impl Line {
    /// Without its end; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(without_end(&self.bytes)).into_owned()
    }

    /// Target and text of a PRIVMSG or a NOTICE.
    pub fn said(&self) -> Option<(String, String)> {
        let text = self.text();
        let message = Message::parse(&text);
        let said = matches!(message.command.as_str(), "PRIVMSG" | "NOTICE");
        said.then(|| (message.parameter(0).to_owned(), message.parameter(1).to_owned()))
    }
}

/// What became of a connection.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Its number; the first is 1.
    pub connection: usize,
    /// The last nick it had.
    pub nick: String,
    /// When it was accepted.
    pub accepted: Instant,
    /// When it was welcomed, if it was.
    pub registered: Option<Instant>,
    /// When the server saw it end, if it did.
    pub ended: Option<Instant>,
}

/// A running fake IRC server; it ends when dropped.
pub struct FakeIrc {
    port: u16,
    shared: Arc<Shared>,
    lines: Mutex<Receiver<Line>>,
    acceptor: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
}

struct Shared {
    options: FakeOptions,
    state: Mutex<State>,
    changed: Condvar,
    silent: AtomicBool,
    refusing: AtomicBool,
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Those that are open.
    connections: Vec<Arc<Connection>>,
    /// How many there ever were.
    count: usize,
    refused_nicks: HashSet<String>,
    /// Targets, in lower case, and the number that a message to them is refused with.
    refused_targets: HashMap<String, u16>,
    /// All that there ever were.
    visits: Vec<Visit>,
    /// How long a client may be silent until it is asked, and then until it is taken for dead.
    patience: Option<(Duration, Duration)>,
}

struct Connection {
    number: usize,
    socket: TcpStream,
    who: Mutex<Who>,
    outgoing: Mutex<Outgoing>,
    wake: Condvar,
}

#[derive(Default)]
struct Who {
    nick: String,
    registered: bool,
    /// In lower case.
    channels: HashSet<String>,
    /// When it last said anything.
    heard: Option<Instant>,
    /// When it was asked whether it is there.
    asked: Option<Instant>,
}

#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    closed: bool,
}

impl FakeIrc {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::start_with(FakeOptions::default())
    }

    /// Starts one as the options say.
    pub fn start_with(options: FakeOptions) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared {
            options,
            state: Mutex::default(),
            changed: Condvar::new(),
            silent: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let (sender, lines) = mpsc::channel();
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared, &sender)
        });
        let keeper = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.keep_watch()
        });
        Self { port, shared, lines: Mutex::new(lines), acceptor: Some(acceptor), keeper: Some(keeper) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends these bytes as they are to every registered connection.
    pub fn send(&self, bytes: &[u8]) {
        self.send_where(bytes, |who| who.registered);
    }

    /// Says a line to those who are in the channel, or have this nick: the numbers of their connections.
    pub fn say(&self, nick: &str, target: &str, text: &str) -> Vec<usize> {
        let line = format!(":{nick}!{nick}@fake.host PRIVMSG {target} :{text}\r\n");
        let folded = target.to_ascii_lowercase();
        self.send_where(line.as_bytes(), |who| who.is_in(&folded) || who.is_called(target))
    }

    /// Asks the connection of this number, if it is open, for a PONG with this token.
    pub fn ping(&self, connection: usize, token: &str) {
        let line = format!("PING :{token}\r\n");
        let state = self.shared.state();
        state.connections.iter().filter(|open| open.number == connection).for_each(|open| open.push(line.as_bytes()));
    }

    fn send_where(&self, bytes: &[u8], wanted: impl Fn(&Who) -> bool) -> Vec<usize> {
        let state = self.shared.state();
        let receivers = state.connections.iter().filter(|connection| wanted(&lock(&connection.who)));
        receivers.inspect(|connection| connection.push(bytes)).map(|connection| connection.number).collect()
    }

    /// The next line of the bot, whatever it is. Panics after 30 s.
    pub fn next_line(&self) -> Line {
        self.try_next_line(PATIENCE).expect("the bot sent no line within 30 s")
    }

    /// The next line of the bot, or `None` after the limit.
    pub fn try_next_line(&self, limit: Duration) -> Option<Line> {
        lock(&self.lines).recv_timeout(limit).ok()
    }

    /// The next PRIVMSG or NOTICE of the bot; lines before it are passed over. Panics after 30 s.
    pub fn next_said(&self) -> Line {
        self.try_next_said(PATIENCE).expect("the bot said nothing within 30 s")
    }

    /// The next PRIVMSG or NOTICE of the bot, or `None` after the limit.
    pub fn try_next_said(&self, limit: Duration) -> Option<Line> {
        let until = Instant::now() + limit;
        loop {
            let line = self.try_next_line(until.saturating_duration_since(Instant::now()))?;
            if line.said().is_some() {
                return Some(line);
            }
        }
    }

    /// Waits until an open connection is in the channel; its nick. Panics after 30 s.
    pub fn wait_for_join(&self, channel: &str) -> String {
        let folded = channel.to_ascii_lowercase();
        let what = format!("joined {channel}");
        self.wait(&what, |state| {
            state
                .connections
                .iter()
                .map(|connection| lock(&connection.who))
                .find(|who| who.is_in(&folded))
                .map(|who| who.nick.clone())
        })
    }

    /// Waits until so many connections were accepted since the start. Panics after 30 s.
    pub fn wait_for_connections(&self, count: usize) {
        self.wait(&format!("made connection {count}"), |state| (state.count >= count).then_some(()));
    }

    /// Waits until no connection is open. Panics after 30 s.
    pub fn wait_for_leave(&self) {
        self.wait("left", |state| state.connections.is_empty().then_some(()));
    }

    /// How many connections were accepted since the start.
    pub fn connections(&self) -> usize {
        self.shared.state().count
    }

    /// How many connections are open and registered.
    pub fn registered(&self) -> usize {
        self.shared.state().connections.iter().filter(|connection| lock(&connection.who).registered).count()
    }

    /// Whether a registered connection has this nick and is in the channel.
    pub fn is_in(&self, nick: &str, channel: &str) -> bool {
        let folded = channel.to_ascii_lowercase();
        let state = self.shared.state();
        state.connections.iter().map(|open| lock(&open.who)).any(|who| who.is_called(nick) && who.is_in(&folded))
    }

    /// Every connection that there was, in the order of their numbers.
    pub fn visits(&self) -> Vec<Visit> {
        let state = self.shared.state();
        let mut visits = state.visits.clone();
        for open in &state.connections {
            visits[open.number - 1].nick.clone_from(&lock(&open.who).nick);
        }
        visits
    }

    /// Closes every connection; unsent bytes are lost.
    pub fn disconnect(&self) {
        let connections = self.shared.state().connections.clone();
        for connection in connections {
            self.shared.part_with(&connection, "Disconnected");
            connection.close();
        }
    }

    /// Whoever is silent for so long is asked with PING, and disconnected when it says nothing for so long after that. At first
    /// nobody is asked.
    pub fn ping_clients(&self, after: Duration, within: Duration) {
        self.shared.state().patience = Some((after, within));
    }

    /// The targets that a PRIVMSG to is refused, each with a number (401, 404, 442…), instead of those set before. A NOTICE to them is
    /// lost without a word.
    pub fn refuse_messages(&self, targets: &[(&str, u16)]) {
        let targets = targets.iter().map(|(target, numeric)| (target.to_ascii_lowercase(), *numeric));
        self.shared.state().refused_targets = targets.collect();
    }

    /// Whether PINGs are answered; they are at first.
    pub fn answer_pings(&self, answer: bool) {
        self.shared.silent.store(!answer, Ordering::Relaxed);
    }

    /// Closes new connections at once, while set.
    pub fn refuse_connections(&self, refuse: bool) {
        self.shared.refusing.store(refuse, Ordering::Relaxed);
    }

    /// The nicks that are in use by others (433), instead of those set before. Those of registered connections are anyway, unless the
    /// server is one for many clients.
    pub fn refuse_nicks(&self, nicks: &[&str]) {
        self.shared.state().refused_nicks = nicks.iter().map(|nick| nick.to_ascii_lowercase()).collect();
    }

    fn wait<T>(&self, what: &str, found: impl Fn(&State) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut state = self.shared.state();
        loop {
            if let Some(found) = found(&state) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nobody {what} within 30 s; {} connections were made", state.count);
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for FakeIrc {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
        self.acceptor.take().map(JoinHandle::join);
        self.disconnect();
        self.keeper.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets those who wait look again. Taking the lock orders it after what they last saw.
    fn tell_change(&self) {
        drop(self.state());
        self.changed.notify_all();
    }

    /// Whether another than this connection has the nick.
    fn is_taken(&self, nick: &str, number: usize) -> bool {
        let state = self.state();
        let mut others = state.connections.iter().filter(|other| other.number != number).map(|other| lock(&other.who));
        state.refused_nicks.contains(&nick.to_ascii_lowercase())
            || (!self.options.multiclient && others.any(|who| who.registered && who.is_called(nick)))
    }

    /// Where the other sessions of this nick are.
    fn channels_of(&self, nick: &str, number: usize) -> Vec<String> {
        let state = self.state();
        let others = state.connections.iter().filter(|other| other.number != number).map(|other| lock(&other.who));
        let channels: HashSet<String> =
            others.filter(|who| who.is_called(nick)).flat_map(|who| who.channels.clone()).collect();
        channels.into_iter().collect()
    }

    fn refusal(&self, target: &str) -> Option<u16> {
        self.state().refused_targets.get(&target.to_ascii_lowercase()).copied()
    }

    /// What a client says, to all others whom it concerns; other sessions of its own nick are among them.
    fn relay(&self, from: &Connection, target: &str, line: &str) {
        let (folded, nick) = (target.to_ascii_lowercase(), lock(&from.who).nick.clone());
        self.tell_others(from, line, |who| who.is_in(&folded) || who.is_called(target) || who.is_called(&nick));
    }

    fn tell_channel(&self, from: &Connection, channel: &str, line: &str) {
        let folded = channel.to_ascii_lowercase();
        self.tell_others(from, line, |who| who.is_in(&folded));
    }

    /// Tells all who share a channel with it.
    fn tell_neighbours(&self, from: &Connection, line: &str) {
        let channels = lock(&from.who).channels.clone();
        self.tell_others(from, line, |who| !who.channels.is_disjoint(&channels));
    }

    fn tell_others(&self, from: &Connection, line: &str, wanted: impl Fn(&Who) -> bool) {
        let line = format!("{line}\r\n");
        let state = self.state();
        let others = state.connections.iter().filter(|other| other.number != from.number);
        others.filter(|other| wanted(&lock(&other.who))).for_each(|other| other.push(line.as_bytes()));
    }

    fn note_registered(&self, connection: &Connection) {
        self.state().visits[connection.number - 1].registered = Some(Instant::now());
        self.changed.notify_all();
    }

    /// Its connection is over: its nick is free from now on, and the others are told. Does nothing the second time.
    fn part_with(&self, connection: &Connection, why: &str) {
        let nick = lock(&connection.who).nick.clone();
        let mut state = self.state();
        let before = state.connections.len();
        state.connections.retain(|other| other.number != connection.number);
        let visit = &mut state.visits[connection.number - 1];
        visit.nick.clone_from(&nick);
        if visit.ended.is_none() {
            visit.ended = Some(Instant::now());
        }
        let gone = state.connections.len() < before;
        drop(state);
        if gone {
            self.tell_neighbours(connection, &format!(":{nick}!{nick}@fake.host QUIT :{why}"));
        }
        self.changed.notify_all();
    }

    /// Asks silent clients, and disconnects dead ones.
    fn keep_watch(&self) {
        while !self.closed.load(Ordering::Relaxed) {
            let (patience, connections) = {
                let state = self.state();
                (state.patience, state.connections.clone())
            };
            if let Some((after, within)) = patience {
                connections.iter().for_each(|connection| self.look_after(connection, after, within));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn look_after(&self, connection: &Connection, after: Duration, within: Duration) {
        let mut who = lock(&connection.who);
        let heard = *who.heard.get_or_insert_with(Instant::now);
        let asked = who.asked.filter(|asked| *asked > heard);
        if asked.is_some_and(|asked| asked.elapsed() > within) {
            drop(who);
            self.part_with(connection, "Ping timeout");
            connection.close_with(b"ERROR :Closing link (Ping timeout)\r\n");
        } else if asked.is_none() && heard.elapsed() > after {
            who.asked = Some(Instant::now());
            drop(who);
            connection.push(b"PING :fake.irc\r\n");
        }
    }
}

impl Who {
    /// Whether it is in this channel, given in lower case.
    fn is_in(&self, folded: &str) -> bool {
        self.registered && self.channels.contains(folded)
    }

    fn is_called(&self, nick: &str) -> bool {
        self.registered && self.nick.eq_ignore_ascii_case(nick)
    }
}

impl Connection {
    fn push(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            lock(&self.outgoing).bytes.extend_from_slice(bytes);
            self.wake.notify_one();
        }
    }

    /// Closes it with last words, if they can be written at once.
    fn close_with(&self, words: &[u8]) {
        self.push(words);
        lock(&self.outgoing).closed = true;
        self.wake.notify_one();
        thread::sleep(LAST_WORDS_WITHIN);
        self.close();
    }

    fn close(&self) {
        lock(&self.outgoing).closed = true;
        self.wake.notify_one();
        self.socket.shutdown(Shutdown::Both).ok();
    }

    fn write(&self) {
        let mut batch = Vec::new();
        loop {
            let mut outgoing = lock(&self.outgoing);
            while outgoing.bytes.is_empty() && !outgoing.closed {
                outgoing = self.wake.wait(outgoing).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut batch, &mut outgoing.bytes);
            let closed = outgoing.closed;
            drop(outgoing);
            if (&self.socket).write_all(&batch).is_err() || closed {
                // After QUIT what is left was just written.
                self.socket.shutdown(Shutdown::Both).ok();
                return;
            }
            batch.clear();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, sender: &Sender<Line>) {
    while let Ok((socket, _)) = listener.accept() {
        if shared.closed.load(Ordering::Relaxed) {
            return;
        }
        if shared.refusing.load(Ordering::Relaxed) {
            continue;
        }
        socket.set_nodelay(true).expect("a socket takes options");
        let mut state = shared.state();
        state.count += 1;
        let (number, accepted) = (state.count, Instant::now());
        let (who, outgoing, wake) = Default::default();
        let connection = Arc::new(Connection { number, socket, who, outgoing, wake });
        state.connections.push(Arc::clone(&connection));
        let nick = String::new();
        state.visits.push(Visit { connection: number, nick, accepted, registered: None, ended: None });
        drop(state);
        shared.changed.notify_all();
        let writer = Arc::clone(&connection);
        thread::spawn(move || writer.write());
        let conversation = Conversation::new(Arc::clone(shared), connection, sender.clone());
        thread::spawn(move || conversation.run());
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

// A test that panicked elsewhere leaves nothing half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
