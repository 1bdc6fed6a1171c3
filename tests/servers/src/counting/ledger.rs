//! The books: what was said to whom, what was proved to be read, what was answered, by whom and when.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::report::{Doubled, Report};
use crate::{FakeIrc, Line};

/// With this a connector calls another one of the same bot, which has its nick: nobody else sees it.
const CALL: &str = "\u{1}PUBBOT-LEAVE ";
/// Lines that answer nothing are remembered up to this many.
const STRANGE: usize = 20;

pub(super) struct Ledger {
    channels: usize,
    lines: Vec<Said>,
    connections: BTreeMap<usize, Heard>,
    answered: usize,
    strange: Vec<String>,
    strange_count: usize,
    longest_pong: Duration,
    last_answer: Option<Instant>,
    last_speaker: Option<usize>,
    longest_silence: Duration,
}

/// A line that was said.
struct Said {
    at: Instant,
    channel: usize,
    /// Connections, and how many lines each had heard before.
    heard_by: Vec<(usize, usize)>,
    /// Connections and times.
    answers: Vec<(usize, Instant)>,
}

/// What a connection has heard.
#[derive(Default)]
struct Heard {
    lines: usize,
    /// So many of them were proved to be read.
    proved: usize,
    /// Of the lines that it heard when it was asked last.
    asked: usize,
    /// Marks that were not yet answered: number, lines until then, when.
    marks: VecDeque<(u64, usize, Instant)>,
    next_mark: u64,
}

impl Ledger {
    pub fn new(channels: usize) -> Self {
        Self {
            channels,
            lines: Vec::new(),
            connections: BTreeMap::new(),
            answered: 0,
            strange: Vec::new(),
            strange_count: 0,
            longest_pong: Duration::ZERO,
            last_answer: None,
            last_speaker: None,
            longest_silence: Duration::ZERO,
        }
    }

    pub fn next_number(&self) -> u64 {
        self.lines.len() as u64
    }

    /// The next line was said, to these connections.
    pub fn said(&mut self, channel: usize, heard_by: &[usize]) {
        let heard = heard_by.iter().map(|&connection| {
            let heard = self.connections.entry(connection).or_default();
            heard.lines += 1;
            (connection, heard.lines - 1)
        });
        let heard_by = heard.collect();
        assert!(channel < self.channels);
        self.lines.push(Said { at: Instant::now(), channel, heard_by, answers: Vec::new() });
    }

    /// Asks every connection for proof that has heard more than so many lines since it was last asked; or, for a rate of PONGs, if it
    /// owes none.
    pub fn mark(&mut self, irc: &FakeIrc, lines: usize) {
        for (&connection, heard) in &mut self.connections {
            if heard.lines - heard.asked >= lines.max(1) || (lines == 0 && heard.marks.is_empty()) {
                heard.ask(irc, connection);
            }
        }
    }

    /// Asks every connection for proof of all.
    pub fn close_marks(&mut self, irc: &FakeIrc) {
        self.connections.iter_mut().for_each(|(&connection, heard)| heard.ask(irc, connection));
    }

    /// Writes down what the bot sent.
    pub fn heard(&mut self, line: &Line, channels: &[String]) {
        let text = line.text();
        if let Some(rest) = text.strip_prefix("PONG ") {
            return self.proved(line.connection, rest, line.at);
        }
        let Some((target, said)) = line.said() else { return };
        let number = said.strip_prefix('n').and_then(|number| number.parse::<usize>().ok());
        match number.and_then(|number| self.lines.get_mut(number)) {
            Some(asked) if channels[asked.channel] == target => {
                self.answered += usize::from(asked.answers.is_empty());
                asked.answers.push((line.connection, line.at));
                self.last_speaker = Some(line.connection);
                let before = self.last_answer.replace(line.at).unwrap_or(line.at);
                self.longest_silence = self.longest_silence.max(line.at.saturating_duration_since(before));
            }
            _ if said.starts_with(CALL) => {}
            _ => {
                self.strange_count += 1;
                if self.strange.len() < STRANGE {
                    self.strange.push(text);
                }
            }
        }
    }

    fn proved(&mut self, connection: usize, token: &str, at: Instant) {
        let Some(heard) = self.connections.get_mut(&connection) else { return };
        let number = token.rsplit("mark-").next().and_then(|number| number.trim().parse::<u64>().ok());
        let Some(number) = number else { return };
        while let Some((_, lines, asked)) = heard.marks.pop_front_if(|(mark, ..)| *mark <= number) {
            heard.proved = heard.proved.max(lines);
            self.longest_pong = self.longest_pong.max(at.saturating_duration_since(asked));
        }
    }

    pub fn last_speaker(&self) -> Option<usize> {
        self.last_speaker
    }

    pub fn last_answer_of(&self, connection: usize) -> Option<Instant> {
        let answers = self.lines.iter().flat_map(|line| &line.answers);
        answers.filter(|(by, _)| *by == connection).map(|(_, at)| *at).max()
    }

    pub fn answered(&self) -> usize {
        self.answered
    }

    /// Nothing is owed: every open connection has proved all it heard, and every line that was read is answered.
    pub fn is_settled(&self, is_open: impl Fn(usize) -> bool) -> bool {
        let proved = |(connection, heard): (&usize, &Heard)| heard.proved == heard.lines || !is_open(*connection);
        self.connections.iter().all(proved)
            && self.lines.iter().all(|line| !line.answers.is_empty() || !self.is_read(line))
    }

    fn is_read(&self, line: &Said) -> bool {
        let proved = |connection| self.connections.get(connection).map_or(0, |heard: &Heard| heard.proved);
        line.heard_by.iter().any(|(connection, position)| proved(connection) > *position)
    }

    /// What is known of the lines from this number on.
    pub fn report(&self, from: usize) -> Report {
        let numbered = || (0u64..).zip(&self.lines).skip(from);
        let read: Vec<(u64, &Said)> = numbered().filter(|(_, line)| self.is_read(line)).collect();
        let unanswered = read.iter().filter(|(_, line)| line.answers.is_empty());
        let doubled = numbered().filter(|(_, line)| line.answers.len() > 1);
        let mut waits: Vec<(Duration, u64)> =
            numbered().filter_map(|(number, line)| Some((line.wait()?, number))).collect();
        waits.sort_unstable();
        Report {
            said: numbered().count(),
            read: read.len(),
            answered: waits.len(),
            lost: unanswered.map(|(number, _)| *number).collect(),
            doubled: doubled.map(|(number, line)| line.doubled(number)).collect(),
            strange: self.strange.clone(),
            strange_count: self.strange_count,
            by_connection: self.by_connection(),
            p50: quantile(&waits, 50),
            p99: quantile(&waits, 99),
            slowest: waits.last().map(|(wait, number)| (*number, *wait)),
            longest_pong: self.longest_pong,
            longest_silence: self.longest_silence,
        }
    }

    fn by_connection(&self) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for (connection, _) in self.lines.iter().flat_map(|line| &line.answers) {
            *counts.entry(*connection).or_default() += 1;
        }
        counts
    }
}

impl Said {
    /// How long it took to be answered.
    fn wait(&self) -> Option<Duration> {
        self.answers.first().map(|(_, at)| at.saturating_duration_since(self.at))
    }

    fn doubled(&self, number: u64) -> Doubled {
        let after = self.answers.iter().map(|(connection, at)| (*connection, at.saturating_duration_since(self.at)));
        Doubled { number, answers: after.collect() }
    }
}

impl Heard {
    fn ask(&mut self, irc: &FakeIrc, connection: usize) {
        let mark = self.next_mark;
        self.next_mark += 1;
        self.asked = self.lines;
        self.marks.push_back((mark, self.lines, Instant::now()));
        irc.ping(connection, &format!("mark-{mark}"));
    }
}

fn quantile(sorted: &[(Duration, u64)], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(Duration::ZERO, |(wait, _)| *wait)
}
