//! Two bots that answer each other would never end. A line counts as part of such a loop when it follows ours at a
//! bot's pace and repeats what its sender said before, or what we said. Of a loop few answers a minute are said.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// Lines that are said to one sender in one place within a minute, once they are in a loop with us: with the line that
/// began it, 10.
const LINES: usize = 9;
const MINUTE: Duration = Duration::from_secs(60);
/// Whoever takes longer to answer us is a person.
const BOTS_PACE: Duration = Duration::from_secs(5);
/// Of a shorter line of ours nobody can tell whether it was repeated.
const TELLING_BYTES: usize = 4;
/// The last lines of a sender, among which a repeated one is found; and the last answers of ours that they have not answered.
const LAST_LINES: usize = 4;
/// How many senders are watched, and how many events in loops are known.
const SENDERS: usize = 256;
const EVENTS: usize = 1_024;

/// Watches for loops; clones share what they know.
#[derive(Clone, Default)]
pub(super) struct Loops(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    hasher: RandomState,
    /// By place and sender.
    senders: HashMap<u64, Sender>,
    /// Events whose sender is watched, the newest last, and whether each is a part of a loop.
    events: VecDeque<(Uuid, u64, bool)>,
}

struct Sender {
    /// Hashes of what they said last.
    last_lines: VecDeque<u64>,
    /// What we said to them last, and when, as far as they have not answered it.
    answers: VecDeque<(String, Instant)>,
    /// When we said something that was a part of a loop.
    looped: VecDeque<Instant>,
    /// When we last left a line of a loop unanswered.
    silent: Option<Instant>,
    told: bool,
    seen: Instant,
}

impl Loops {
    /// Somebody said this in a place, which is that event.
    pub fn heard(&self, place: &str, sender: &str, text: &str, event: Uuid) {
        let mut state = self.state();
        let (key, line) = (state.hash((place, sender)), state.hash(text));
        state.make_room();
        let now = Instant::now();
        let sender = state.senders.entry(key).or_insert_with(|| Sender::new(now));
        let in_loop = sender.hears(text, line, now);
        state.events.push_back((event, key, in_loop));
        if state.events.len() > EVENTS {
            state.events.pop_front();
        }
    }

    /// Whether an answer to this event may be said. Said once for each loop when it may not.
    pub fn allows(&self, event: Uuid) -> bool {
        let mut state = self.state();
        let Some((_, key, true)) = state.event(event) else { return true };
        let Some(sender) = state.senders.get_mut(&key) else { return true };
        let now = Instant::now();
        while sender.looped.front().is_some_and(|at| now.duration_since(*at) > MINUTE) {
            sender.looped.pop_front();
        }
        let allowed = sender.looped.len() < LINES;
        if !allowed {
            sender.silent = Some(now);
        }
        if !allowed && !std::mem::replace(&mut sender.told, true) {
            tracing::warn!("somebody answers the bot's answers like a bot: at most 10 lines a minute are said to them");
        }
        allowed
    }

    /// We said this line in answer to the event.
    pub fn said(&self, event: Uuid, text: &str) {
        let mut state = self.state();
        let Some((_, key, in_loop)) = state.event(event) else { return };
        let Some(sender) = state.senders.get_mut(&key) else { return };
        let now = Instant::now();
        sender.answers.push_back((text.to_owned(), now));
        if sender.answers.len() > LAST_LINES {
            sender.answers.pop_front();
        }
        if in_loop {
            sender.looped.push_back(now);
            if sender.looped.len() > LINES {
                sender.looped.pop_front();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn hash(&self, what: impl std::hash::Hash) -> u64 {
        self.hasher.hash_one(what)
    }

    fn event(&self, event: Uuid) -> Option<(Uuid, u64, bool)> {
        self.events.iter().rev().find(|(id, ..)| *id == event).copied()
    }

    /// Forgets the sender who was silent for longest, if there are too many.
    fn make_room(&mut self) {
        if self.senders.len() >= SENDERS {
            let silent = self.senders.iter().min_by_key(|(_, sender)| sender.seen).map(|(key, _)| *key);
            silent.map(|key| self.senders.remove(&key));
        }
    }
}

impl Sender {
    fn new(now: Instant) -> Self {
        let (last_lines, answers, looped) = Default::default();
        Sender { last_lines, answers, looped, silent: None, told: false, seen: now }
    }

    /// Takes note of a line; whether it is a part of a loop.
    fn hears(&mut self, text: &str, line: u64, now: Instant) -> bool {
        self.seen = now;
        let repeated = self.last_lines.contains(&line);
        self.last_lines.push_back(line);
        if self.last_lines.len() > LAST_LINES {
            self.last_lines.pop_front();
        }
        // each answer of ours counts once: who says ten lines after it is no partner of a dialogue. Two bots that answer a
        // third have two dialogues at once, so there may be more than one answer
        let answers_us = self.answers.pop_front().is_some_and(|(ours, at)| {
            let quoted = ours.len() >= TELLING_BYTES && text.contains(&ours);
            now.duration_since(at) <= BOTS_PACE && (repeated || quoted)
        });
        // a bot that goes on while we are silent gets no second loop by that
        answers_us || repeated && self.silent.is_some_and(|at| now.duration_since(at) <= MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of so many exchanges, how many are answered.
    fn answered(exchanges: u128, line: impl Fn(u128, &str) -> String) -> usize {
        let loops = Loops::default();
        let mut ours = String::from("hello");
        let mut answered = 0;
        for n in 0..exchanges {
            let event = Uuid::from_u128(n);
            let text = line(n, &ours);
            loops.heard("#a", "robot", &text, event);
            if !loops.allows(event) {
                break;
            }
            answered += 1;
            ours = format!("you said {text}");
            loops.said(event, &ours);
        }
        answered
    }

    #[tokio::test(start_paused = true)]
    async fn a_bot_that_repeats_itself_or_us_is_answered_ten_times_a_minute() {
        assert_eq!(answered(1_000, |_, _| "!ping".to_owned()), 10);
        assert_eq!(answered(1_000, |_, ours| format!("no, {ours}")), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_who_asks_something_new_each_time_is_always_answered() {
        assert_eq!(answered(1_000, |n, _| format!("!echo n{n}")), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_who_asks_the_same_without_waiting_for_us_or_slowly_is_always_answered() {
        let loops = Loops::default();
        for n in 0..100 {
            loops.heard("#a", "alice", "!ping", Uuid::from_u128(n));
        }
        assert!((0..100).all(|n| loops.allows(Uuid::from_u128(n))));
        for n in 100..200 {
            let event = Uuid::from_u128(n);
            loops.heard("#a", "alice", "!ping", event);
            assert!(loops.allows(event));
            loops.said(event, "alice: pong!");
            tokio::time::sleep(Duration::from_secs(6)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_dialogues_at_once_are_answered_ten_times_too() {
        let loops = Loops::default();
        let mut answered = 0;
        for n in (0..100).step_by(2) {
            let events = [n, n + 1].map(Uuid::from_u128);
            events.iter().for_each(|event| loops.heard("#a", "robot", "marco", *event));
            for event in events.into_iter().filter(|event| loops.allows(*event)) {
                loops.said(event, "marco");
                answered += 1;
            }
        }
        assert!((9..=11).contains(&answered), "{answered}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bot_that_goes_on_while_it_is_not_answered_is_answered_no_more_often() {
        let loops = Loops::default();
        let mut answered = 0;
        for n in 0..240 {
            let event = Uuid::from_u128(n);
            loops.heard("#a", "robot", "!ping", event);
            if loops.allows(event) {
                loops.said(event, "robot: pong!");
                answered += 1;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert!((19..=20).contains(&answered), "{answered} in two minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_later_a_loop_is_answered_again() {
        let loops = Loops::default();
        let exchange = |n| {
            let event = Uuid::from_u128(n);
            loops.heard("#a", "robot", "!ping", event);
            let allowed = loops.allows(event);
            loops.said(event, "robot: pong!");
            allowed
        };
        for n in 0..10 {
            assert!(exchange(n));
        }
        assert!(!exchange(10));
        tokio::time::sleep(MINUTE + Duration::from_secs(1)).await;
        assert!(exchange(11));
    }
}
