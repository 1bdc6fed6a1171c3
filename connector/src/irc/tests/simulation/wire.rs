//! A connection that takes its time: each line arrives later than it was sent, in both directions, in order; it may stand
//! still for a while, fall silent for ever on one side or on both, or break.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::chance::Chance;

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// Nothing.
    Well,
    /// From then on nothing arrives for so long; then all at once.
    Stalls(Instant, Duration),
    /// From then on nothing arrives any more, at the server, at the bot, or at both. Nobody is told.
    Silent { from: Instant, at_server: bool, at_bot: bool },
    /// Both are told that it is gone; what is under way is lost.
    Breaks(Instant),
    /// The server says why, and hangs up.
    Closes(Instant),
}

impl Fate {
    /// What happens to a connection that begins now.
    pub fn drawn(chance: &mut Chance) -> Self {
        let from = Instant::now() + chance.up_to(Duration::from_secs(120));
        match chance.below(10) {
            0 => Fate::Well,
            1..4 => Fate::Stalls(from, chance.up_to(Duration::from_secs(90))),
            4..6 => Fate::Silent { from, at_server: true, at_bot: true },
            6 => Fate::Silent { from, at_server: true, at_bot: false },
            7 => Fate::Silent { from, at_server: false, at_bot: true },
            8 => Fate::Breaks(from),
            _ => Fate::Closes(from),
        }
    }

    /// When something arrives that would arrive at this time; `None`: never.
    fn arrival(self, at: Instant, is_for_server: bool) -> Option<Instant> {
        match self {
            Fate::Stalls(from, long) if at >= from => Some(at.max(from + long)),
            Fate::Silent { from, at_server, .. } if is_for_server && at_server && at >= from => None,
            Fate::Silent { from, at_bot, .. } if !is_for_server && at_bot && at >= from => None,
            _ => Some(at),
        }
    }
}

/// One direction of a connection.
pub struct Lane<T> {
    is_for_server: bool,
    /// When the last would arrive, or would have.
    last: Instant,
    /// What is under way, and when it arrives.
    under_way: VecDeque<(Instant, T)>,
}

impl<T> Lane<T> {
    pub fn new(is_for_server: bool) -> Self {
        Lane { is_for_server, last: Instant::now(), under_way: VecDeque::new() }
    }

    /// Sends something; it arrives in its turn, or never.
    pub fn send(&mut self, what: T, delay: Duration, fate: Fate) {
        // nothing overtakes what was sent before, even if that never arrives
        self.last = self.last.max(Instant::now() + delay);
        if let Some(at) = fate.arrival(self.last, self.is_for_server) {
            self.last = at;
            self.under_way.push_back((at, what));
        }
    }

    /// When the next one arrives.
    pub fn next(&self) -> Option<Instant> {
        self.under_way.front().map(|(at, _)| *at)
    }

    /// What has arrived.
    pub fn arrived(&mut self) -> Option<T> {
        self.next().filter(|at| *at <= Instant::now())?;
        self.under_way.pop_front().map(|(_, what)| what)
    }
}

/// How long a line is under way: mostly no time, sometimes seconds, seldom longer than anybody waits.
pub fn latency(chance: &mut Chance, is_calm: bool) -> Duration {
    match chance.below(200) {
        _ if is_calm => chance.up_to(Duration::from_millis(100)),
        0 => chance.up_to(Duration::from_secs(40)),
        1..6 => chance.up_to(Duration::from_secs(8)),
        _ => chance.up_to(Duration::from_millis(150)),
    }
}

/// How long a server, or its services, think about an answer.
pub fn thinking(chance: &mut Chance, is_calm: bool) -> Duration {
    match chance.below(20) {
        _ if is_calm => chance.up_to(Duration::from_millis(100)),
        0 => chance.up_to(Duration::from_secs(90)),
        1..4 => chance.up_to(Duration::from_secs(25)),
        _ => chance.up_to(Duration::from_millis(500)),
    }
}
