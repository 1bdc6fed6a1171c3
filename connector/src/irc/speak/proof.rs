//! Lines that were written and not yet proved: whether the server took them is known from its answer to a label, from
//! its echo, or from its PONG to a PING that was sent after them, since a server works through its input in order.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::time::Instant;
use uuid::Uuid;

use crate::irc::speak::line::Line;

/// How a server proves that it took a line; what it can do is agreed upon at the beginning of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Means {
    /// IRCv3 `labeled-response`: its answer carries the label of the line.
    Labels,
    /// IRCv3 `echo-message`: it sends the line back.
    Echoes,
    /// Neither: a PING behind the lines, and its PONG.
    #[default]
    Fences,
}

/// What the server said of a line, or of all lines before a fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It answered the PING with this number.
    Fence(u64),
    /// It took the line with this label.
    Label(u64),
    /// It sent back a line.
    Echo {
        /// Where the line went.
        target: String,
        /// What it said.
        text: String,
    },
}

/// The server would not take a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The line's label, where lines have labels.
    pub label: Option<u64>,
    /// Where the line was to go, if that was said.
    pub target: Option<String>,
    /// What is refused may have been said: a message.
    pub of_message: bool,
    /// What is refused may have been done: by a command that these words name, or its channel, or its nick.
    pub of_command: Vec<String>,
    /// What the server said, its number first.
    pub why: String,
    /// The line came too soon.
    pub too_fast: bool,
}

impl Refusal {
    /// Whether it names what this line is about: of a message its target, if any, of an action any of its words.
    fn can_be_about(&self, line: &Written) -> bool {
        match &line.words {
            None => self.of_message && self.target.as_ref().is_none_or(|target| same(&line.target, target)),
            Some(words) => self.of_command.iter().any(|named| words.iter().any(|word| same(named, word))),
        }
    }
}

/// A line that was written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// The reply that it belongs to.
    pub reply: Uuid,
    /// How many of the reply's lines were written with it.
    pub number: u32,
    target: String,
    /// A hash of what it says.
    text: u64,
    /// Of an action its command and words; `None` of something said.
    words: Option<Vec<String>>,
    label: Option<u64>,
    fence: Option<Fence>,
    /// When it was written.
    pub at: Instant,
}

impl Written {
    /// When the server was asked for what proves it.
    pub fn asked_at(&self, proof: &Proof) -> Instant {
        match (proof, self.fence) {
            (Proof::Fence(_), Some(fence)) => fence.at,
            _ => self.at,
        }
    }
}

/// A PING behind lines.
#[derive(Clone, Copy, Debug)]
struct Fence {
    number: u64,
    at: Instant,
}

/// The lines that were written and not yet proved, in order.
#[derive(Default)]
pub(crate) struct Unproved {
    lines: VecDeque<Written>,
    last_label: u64,
    last_fence: u64,
    fenced_at: Option<Instant>,
}

impl Unproved {
    /// A line is being written, which says something or does something. Its label, where lines have labels.
    pub fn write(
        &mut self,
        reply: Uuid,
        number: u32,
        target: &str,
        line: &Line,
        is_deed: bool,
        means: Means,
    ) -> Option<u64> {
        let label = (means == Means::Labels).then(|| {
            self.last_label += 1;
            self.last_label
        });
        let (target, text) = (target.to_owned(), hash(&line.text()));
        let words = is_deed.then(|| line.words().map(str::to_owned).collect());
        self.lines.push_back(Written { reply, number, target, text, words, label, fence: None, at: Instant::now() });
        label
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether some belong to this reply.
    pub fn has(&self, reply: Uuid) -> bool {
        self.lines.iter().any(|line| line.reply == reply)
    }

    /// When the oldest line was written.
    pub fn since(&self) -> Option<Instant> {
        self.lines.front().map(|line| line.at)
    }

    /// When the server was asked for the next proof, if it was.
    pub fn asked_at(&self, means: Means) -> Option<Instant> {
        let oldest = self.lines.front()?;
        match means {
            Means::Labels | Means::Echoes => Some(oldest.at),
            Means::Fences => oldest.fence.map(|fence| fence.at),
        }
    }

    /// When the last fence was written, if lines wait for one.
    pub fn fenced_at(&self) -> Option<Instant> {
        self.fenced_at.filter(|_| self.lines.iter().any(|line| line.fence.is_some()))
    }

    /// When the oldest line was written that no fence stands behind.
    pub fn unfenced_since(&self) -> Option<Instant> {
        self.lines.iter().find(|line| line.fence.is_none()).map(|line| line.at)
    }

    /// Whether an action is among the lines that no fence stands behind: nothing of what was done is echoed.
    pub fn has_unfenced_deed(&self) -> bool {
        self.lines.iter().any(|line| line.fence.is_none() && line.words.is_some())
    }

    /// A fence is being written behind all lines: its number.
    pub fn fence(&mut self) -> u64 {
        self.last_fence += 1;
        let fence = Fence { number: self.last_fence, at: Instant::now() };
        self.fenced_at = Some(fence.at);
        for line in self.lines.iter_mut().rev().take_while(|line| line.fence.is_none()) {
            line.fence = Some(fence);
        }
        fence.number
    }

    /// The lines that this proves, which are taken out.
    pub fn prove(&mut self, proof: &Proof) -> Vec<Written> {
        match proof {
            Proof::Fence(number) => {
                let before = |line: &Written| line.fence.is_some_and(|fence| fence.number <= *number);
                let proved = self.lines.iter().take_while(|line| before(line)).count();
                self.lines.drain(..proved).collect()
            }
            Proof::Label(label) => self.take(|line| line.label == Some(*label)).into_iter().collect(),
            // one that was changed on the way is not recognised: a fence proves it
            Proof::Echo { target, text } => {
                let text = hash(text.as_bytes());
                self.take(|line| line.words.is_none() && line.text == text && same(&line.target, target))
                    .into_iter()
                    .collect()
            }
        }
    }

    /// The line that was refused, which is taken out: that of the label, else the oldest that it can be about.
    pub fn refuse(&mut self, refusal: &Refusal) -> Option<Written> {
        match refusal.label {
            Some(label) => self.take(|line| line.label == Some(label)),
            None => self.take(|line| refusal.can_be_about(line)),
        }
    }

    fn take(&mut self, wanted: impl Fn(&Written) -> bool) -> Option<Written> {
        let index = self.lines.iter().position(wanted)?;
        self.lines.remove(index)
    }
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Servers repeat a target as it was written, perhaps in other letters' case.
fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(lines: &[Written]) -> Vec<u32> {
        lines.iter().map(|line| line.number).collect()
    }

    fn said(text: &str) -> Line {
        Line::say(protocol::ReplyKind::Chat, "#a", text)
    }

    fn refusal(label: Option<u64>, target: &str, of_message: bool, of_command: &[&str]) -> Refusal {
        let of_command = of_command.iter().map(ToString::to_string).collect();
        Refusal { label, target: Some(target.into()), of_message, of_command, why: String::new(), too_fast: false }
    }

    fn written(means: Means, targets: &[&str]) -> Unproved {
        let mut unproved = Unproved::default();
        for (number, target) in (1..).zip(targets) {
            unproved.write(Uuid::nil(), number, target, &said("hi"), false, means);
        }
        unproved
    }

    #[test]
    fn a_fence_proves_all_lines_before_it_and_none_after_it() {
        let mut unproved = written(Means::Fences, &["#a", "#b"]);
        let first = unproved.fence();
        unproved.write(Uuid::nil(), 3, "#a", &said("hi"), false, Means::Fences);
        let second = unproved.fence();
        unproved.write(Uuid::nil(), 4, "#a", &said("hi"), false, Means::Fences);
        assert_eq!(numbers(&unproved.prove(&Proof::Fence(first))), [1, 2]);
        assert_eq!(numbers(&unproved.prove(&Proof::Fence(first))), Vec::<u32>::new());
        assert_eq!(numbers(&unproved.prove(&Proof::Fence(second))), [3]);
        assert_eq!(unproved.len(), 1);
        assert!(unproved.unfenced_since().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn how_long_a_proof_takes_counts_from_the_fence_or_from_the_line() {
        let (mut unproved, written_at) = (written(Means::Labels, &["#a", "#b"]), Instant::now());
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        let (fence, fenced_at) = (Proof::Fence(unproved.fence()), Instant::now());
        let label = Proof::Label(1);
        assert_eq!(unproved.prove(&label)[0].asked_at(&label), written_at);
        assert_eq!(unproved.prove(&fence)[0].asked_at(&fence), fenced_at);
    }

    #[test]
    fn a_label_proves_or_refuses_its_own_line() {
        let mut unproved = written(Means::Labels, &["#a", "#a", "#a"]);
        assert_eq!(numbers(&unproved.prove(&Proof::Label(2))), [2]);
        let refuses = |label| refusal(Some(label), "#a", true, &["#a"]);
        assert_eq!(unproved.refuse(&refuses(3)).unwrap().number, 3);
        assert!(unproved.refuse(&refuses(2)).is_none());
        assert_eq!(unproved.len(), 1);
    }

    #[test]
    fn an_echo_or_a_refusal_is_about_the_oldest_line_for_its_target() {
        let mut unproved = written(Means::Echoes, &["#a", "bob", "#A"]);
        let echo = |target: &str, text: &str| Proof::Echo { target: target.into(), text: text.into() };
        assert_eq!(numbers(&unproved.prove(&echo("Bob", "something else"))), Vec::<u32>::new());
        assert_eq!(numbers(&unproved.prove(&echo("Bob", "hi"))), [2]);
        assert_eq!(unproved.refuse(&refusal(None, "#a", true, &[])).unwrap().number, 1);
        assert_eq!(numbers(&unproved.prove(&echo("#a", "hi"))), [3]);
    }

    #[test]
    fn a_refused_command_is_no_message_and_no_other_command() {
        let mut unproved = written(Means::Fences, &["#a"]);
        for (number, line) in
            [Line::kick("#a", "bob", None), Line::topic("#a", "x"), Line::nick("y")].iter().enumerate()
        {
            unproved.write(Uuid::nil(), 10 + number as u32, "#a", line, true, Means::Fences);
        }
        assert!(unproved.has_unfenced_deed());
        let number = |written: Option<Written>| written.map(|line| line.number);
        assert_eq!(number(unproved.refuse(&refusal(None, "bob", false, &["bob", "#a"]))), Some(10));
        assert_eq!(number(unproved.refuse(&refusal(None, "x", false, &["NICK"]))), Some(12));
        assert_eq!(number(unproved.refuse(&refusal(None, "#b", false, &["#b"]))), None);
        assert_eq!(number(unproved.refuse(&refusal(None, "#A", true, &["#A"]))), Some(1));
        assert_eq!(number(unproved.refuse(&refusal(None, "#A", true, &["#A"]))), Some(11));
        assert!(!unproved.has_unfenced_deed());
    }
}
