//! Two bots that answer each other would never end. A line counts as part of such a loop when it follows ours at a
//! bot's pace and repeats what its sender said before, or what we said. Of a loop few answers a minute are said.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::recent::Recent;

/// What may be said to one sender in one place within a minute, once they are in a loop with us: with the line that began
/// it, 9 lines at the slower pace and 3 at the faster; so two bots with this guard, which may both answer the line that
/// began it, too, say 10 lines together at most.
const LIMIT: u32 = 8;
const MINUTE: Duration = Duration::from_secs(60);
/// Whoever answers us so fast is hardly a person.
const BOTS_PACE: Duration = Duration::from_millis(1_500);
/// So fast is a person in a hurry, or a bot that keeps within its flood budget. Whoever takes longer is a person.
const HASTY_PACE: Duration = Duration::from_secs(5);
/// What a line counts as a part of a loop, at a bot's pace and at a hasty one.
const AS_A_BOT: u32 = 3;
const IN_HASTE: u32 = 1;
/// Of a shorter line of ours nobody can tell whether it was repeated.
const TELLING_BYTES: usize = 4;
/// The last lines of a sender, among which a repeated one is found.
const LAST_LINES: usize = 4;
/// How many senders are watched, and how many events in loops are known.
const SENDERS: usize = 256;
const EVENTS: usize = 1_024;

/// Watches for loops; clones share what they know.
#[derive(Clone, Default)]
pub(crate) struct Loops(Arc<Mutex<State>>);

struct State {
    hasher: RandomState,
    /// By place and sender.
    senders: HashMap<u64, Sender>,
    /// Of the last events their sender, and what each counts as a part of a loop.
    events: Recent<Uuid, (u64, u32)>,
}

impl Default for State {
    fn default() -> Self {
        State { hasher: RandomState::new(), senders: HashMap::new(), events: Recent::new(EVENTS) }
    }
}

struct Sender {
    /// Hashes of what they said last.
    last_lines: VecDeque<u64>,
    /// What we said to them last, and when; each waits for one line of theirs.
    answers: VecDeque<(String, Instant)>,
    /// When we said something that was a part of a loop, and what it counts.
    looped: VecDeque<(Instant, u32)>,
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
        let counts = sender.hears(text, line, now);
        state.events.note(event, || (key, counts));
    }

    /// Whether an answer to this event may be said. Said once for each loop when it may not.
    pub fn allows(&self, event: Uuid) -> bool {
        let mut state = self.state();
        let Some((key, counts @ 1..)) = state.events.get(&event).copied() else { return true };
        let Some(sender) = state.senders.get_mut(&key) else { return true };
        let now = Instant::now();
        while sender.looped.front().is_some_and(|(at, _)| now.duration_since(*at) > MINUTE) {
            sender.looped.pop_front();
        }
        let allowed = sender.looped.iter().map(|(_, counts)| counts).sum::<u32>() + counts <= LIMIT;
        if !allowed {
            sender.silent = Some(now);
        }
        if !allowed && !std::mem::replace(&mut sender.told, true) {
            tracing::warn!(
                "somebody answers the bot's answers like a bot: they are answered a few times a minute only"
            );
        }
        allowed
    }

    /// We said this line in answer to the event.
    pub fn said(&self, event: Uuid, text: &str) {
        let mut state = self.state();
        let Some((key, counts)) = state.events.get(&event).copied() else { return };
        let Some(sender) = state.senders.get_mut(&key) else { return };
        let now = Instant::now();
        push(&mut sender.answers, (text.to_owned(), now), LAST_LINES);
        if counts > 0 {
            push(&mut sender.looped, (now, counts), LIMIT as usize);
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
        let (last_lines, looped) = (VecDeque::new(), VecDeque::new());
        Sender { last_lines, answers: VecDeque::new(), looped, silent: None, told: false, seen: now }
    }

    /// Takes note of a line; what it counts as a part of a loop.
    fn hears(&mut self, text: &str, line: u64, now: Instant) -> u32 {
        self.seen = now;
        let repeated = self.last_lines.contains(&line);
        push(&mut self.last_lines, line, LAST_LINES);
        // each answer of ours counts once: who says ten lines after it is no partner of a dialogue
        let counts = self.answers.pop_front().map_or(0, |(ours, at)| {
            let quoted = ours.len() >= TELLING_BYTES && quotes(text, &ours);
            match now.duration_since(at) {
                pause if !(repeated || quoted) || pause > HASTY_PACE => 0,
                pause if pause > BOTS_PACE => IN_HASTE,
                _ => AS_A_BOT,
            }
        });
        // a bot that goes on while we are silent gets no second loop by that
        let goes_on = repeated && self.silent.is_some_and(|at| now.duration_since(at) <= MINUTE);
        if goes_on { AS_A_BOT } else { counts }
    }
}

/// Whether a text has these words in it, and not as a part of longer ones: `14 of 20` does not quote `4 of 20`.
fn quotes(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(start, found)| {
        let (before, after) = (&text[..start], &text[start + found.len()..]);
        !before.ends_with(is_ascii_alphanumeric) && !after.starts_with(is_ascii_alphanumeric)
    })
}

/// Words of other scripts may stand side by side.
fn is_ascii_alphanumeric(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
}

/// Keeps so many, the newest last.
fn push<T>(kept: &mut VecDeque<T>, newest: T, most: usize) {
    kept.push_back(newest);
    if kept.len() > most {
        kept.pop_front();
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
    async fn a_bot_that_repeats_itself_or_us_is_answered_three_times_a_minute() {
        assert_eq!(answered(1_000, |_, _| "!ping".to_owned()), 3);
        assert_eq!(answered(1_000, |_, ours| format!("no, {ours}")), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_in_a_hurry_is_answered_nine_times_a_minute() {
        let loops = Loops::default();
        let mut answered = 0;
        for n in 0..15 {
            let event = Uuid::from_u128(n);
            loops.heard("#a", "alice", "!roll", event);
            if loops.allows(event) {
                loops.said(event, "alice: 6");
                answered += 1;
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        assert_eq!(answered, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_who_asks_something_new_each_time_is_always_answered() {
        assert_eq!(answered(1_000, |n, _| format!("!echo n{n}")), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn what_merely_ends_like_our_answer_is_no_part_of_a_loop() {
        let loops = Loops::default();
        for n in (0..1_000).flat_map(|n| [n, 1_000 + n]) {
            let (event, line) = (Uuid::from_u128(n), format!("{n:03} is a number"));
            loops.heard("#a", "alice", &format!("!echo {line}"), event);
            assert!(loops.allows(event), "{line}");
            loops.said(event, &line);
        }
        assert!(quotes("<alice> 14 of 20", "14 of 20") && quotes("他说你好", "你好"));
        assert!(!quotes("114 of 20", "14 of 20") && !quotes("14 of 200", "14 of 20"));
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
        assert!((4..=6).contains(&answered), "{answered} in two minutes");
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
        for n in 0..3 {
            assert!(exchange(n));
        }
        assert!(!exchange(10));
        tokio::time::sleep(MINUTE + Duration::from_secs(1)).await;
        assert!(exchange(11));
    }
}
