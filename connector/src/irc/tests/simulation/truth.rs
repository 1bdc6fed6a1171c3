//! What really happened, as nobody who takes part could know it, and what must hold all the while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// How much of the story is told of a seed that fails.
const STORY: usize = 60;

/// What is known of all lines that the bot was asked to say.
pub struct Truth {
    /// How many lines may be written and not yet proved.
    unproved: usize,
    began: Instant,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The lines of each reply.
    replies: Vec<Vec<String>>,
    /// How often the server took each line.
    taken: BTreeMap<String, u64>,
    /// The lines of which a proof has reached the bot.
    proved: BTreeSet<String>,
    /// The lines written on the present connection of which no proof has reached the bot.
    open: Vec<String>,
    /// How many replies are with the broker.
    published: u64,
    connections: u64,
    /// Something was wrong that a connection saw.
    violated: bool,
    /// The last that happened.
    story: VecDeque<String>,
}

impl Truth {
    pub fn new(unproved: usize) -> Self {
        Truth { unproved, began: Instant::now(), known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened on a connection.
    pub fn note(&self, connection: u64, what: &str) {
        let mut known = self.known();
        let at = self.began.elapsed().as_secs_f64();
        known.story.push_back(format!("{at:9.3} s, connection {connection}: {what}"));
        if known.story.len() > STORY {
            known.story.pop_front();
        }
    }

    pub fn story(&self) -> String {
        Vec::from(self.known().story.clone()).join("\n")
    }

    /// A reply is to be said.
    pub fn asked(&self, lines: Vec<String>) {
        self.known().replies.push(lines);
    }

    /// It is with the broker.
    pub fn is_published(&self) {
        self.known().published += 1;
    }

    pub fn published(&self) -> u64 {
        self.known().published
    }

    /// The bot has a new connection.
    pub fn connected(&self) {
        let mut known = self.known();
        known.connections += 1;
        known.open.clear();
    }

    pub fn connections(&self) -> u64 {
        self.known().connections
    }

    /// The bot writes a line: never twice on one connection, never more than may be unproved.
    pub fn written(&self, line: &str) {
        let mut known = self.known();
        assert!(known.replies.iter().flatten().any(|asked| asked == line), "nobody asked for {line:?}");
        assert!(!known.open.iter().any(|open| open == line), "{line:?} is written twice");
        known.open.push(line.to_owned());
        assert!(known.open.len() <= self.unproved, "unproved: {:?}", known.open);
    }

    /// The server takes a line.
    pub fn taken(&self, line: &str) {
        *self.known().taken.entry(line.to_owned()).or_default() += 1;
    }

    /// A proof of these reaches the bot.
    pub fn proved(&self, lines: &[String]) {
        let mut known = self.known();
        known.open.retain(|open| !lines.contains(open));
        known.proved.extend(lines.iter().cloned());
    }

    /// A connection saw something that must not be, and has told it.
    pub fn is_violated(&self) {
        self.known().violated = true;
    }

    /// So many replies are acknowledged: no more than are proved to be said.
    pub fn check_settled(&self, settled: u64) {
        let known = self.known();
        assert!(!known.violated, "see above");
        let proved = known.replies.iter().filter(|lines| lines.iter().all(|line| known.proved.contains(line))).count();
        assert!(settled <= proved as u64, "{settled} replies are acknowledged, {proved} were proved");
    }

    pub fn is_all_said(&self) -> bool {
        let known = self.known();
        known.replies.iter().flatten().all(|line| known.taken.contains_key(line))
    }

    /// How many lines were said that had been said before.
    pub fn doubled(&self) -> u64 {
        self.known().taken.values().map(|times| times - 1).sum()
    }

    /// For each connection that was lost, so many lines at most were said again.
    pub fn check_doubled(&self) {
        let lost = self.connections() - 1;
        let most = lost * self.unproved as u64;
        assert!(self.doubled() <= most, "{} lines twice, with {lost} connections lost", self.doubled());
    }

    pub fn describe(&self) -> String {
        let known = self.known();
        let unsaid: Vec<&String> =
            known.replies.iter().flatten().filter(|line| !known.taken.contains_key(*line)).collect();
        format!("{} connections, unsaid: {unsaid:?}, open: {:?}", known.connections, known.open)
    }
}
