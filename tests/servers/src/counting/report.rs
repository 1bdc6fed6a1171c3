//! What came out: a verdict, and what stands behind it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How many examples are shown.
const SHOWN: usize = 10;

/// The books' result.
#[derive(Clone, Debug)]
pub struct Report {
    /// Lines that were said while a connection was in their channel.
    pub said: usize,
    /// Those of them that were proved to be read.
    pub read: usize,
    /// Lines that were answered, read or not.
    pub answered: usize,
    /// The numbers of lines that were read and not answered.
    pub lost: Vec<u64>,
    /// Lines that were answered more than once.
    pub doubled: Vec<Doubled>,
    /// The first of the messages that answer nothing: a number that nobody said, another channel, other words.
    pub strange: Vec<String>,
    /// How many of these there were.
    pub strange_count: usize,
    /// How many answers came from which connection.
    pub by_connection: BTreeMap<usize, usize>,
    /// The median of the time from a line to its first answer.
    pub p50: Duration,
    /// Its 99th percentile.
    pub p99: Duration,
    /// The line that waited longest for its answer, and how long.
    pub slowest: Option<(u64, Duration)>,
    /// The longest that the bot took to answer a PING; of those it never answered nothing is known.
    pub longest_pong: Duration,
    /// The longest time between an answer and the next one.
    pub longest_silence: Duration,
}

/// A line that was answered more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubled {
    /// Its number.
    pub number: u64,
    /// The connections that answered, and how long after the line was said.
    pub answers: Vec<(usize, Duration)>,
}

impl Report {
    /// Answers that were too many.
    pub fn extra(&self) -> usize {
        self.doubled.iter().map(|doubled| doubled.answers.len() - 1).sum()
    }

    /// Panics unless every line that was read was answered once, with at most so many answers too many, and nothing else was said.
    pub fn assert_kept(&self, extra: usize) {
        assert!(self.read > 0, "nothing was read, so nothing is proved: {self}");
        assert!(self.lost.is_empty() && self.extra() <= extra && self.strange_count == 0, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} said, {} read, {} answered, {} lost", self.said, self.read, self.answered, self.lost.len())?;
        if !self.lost.is_empty() {
            write!(f, " {:?}", &self.lost[..self.lost.len().min(SHOWN)])?;
        }
        write!(f, ", {} answers too many", self.extra())?;
        for doubled in self.doubled.iter().take(SHOWN) {
            write!(f, " (n{}: {:?})", doubled.number, doubled.answers)?;
        }
        if self.strange_count > 0 {
            write!(f, ", {} that answer nothing {:?}", self.strange_count, self.strange)?;
        }
        write!(f, "; p50 {:.1?}, p99 {:.1?}, longest silence {:.1?}", self.p50, self.p99, self.longest_silence)?;
        write!(f, ", slowest {:.1?}, slowest PONG {:.1?}", self.slowest, self.longest_pong)?;
        write!(f, "; answers by connection {:?}", self.by_connection)
    }
}
