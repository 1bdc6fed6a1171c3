//! Of all answers to one line, the best is said, where a channel is set to that. Answers are held for a short while from
//! the first on; then the handler with the highest rank is chosen (ties go to the first), and all that it answered is
//! said. What others answered, or answer later, is not.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::Request;
use tokio::time::Instant;
use uuid::Uuid;

use crate::replies::ToSay;
use crate::said::Chosen;

/// So many replies are held at most: beyond that the oldest choice is made at once.
pub(crate) const MAX_HELD: usize = 256;

/// How long to wait after a choice that could not be written down.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The choices that are open.
pub(crate) struct Choices {
    window: Duration,
    /// No choice is made before.
    not_before: Instant,
    /// In the order in which they were opened.
    open: VecDeque<Choice>,
}

/// Answers to one event.
struct Choice {
    event: Uuid,
    closes: Instant,
    answers: Vec<ToSay>,
}

/// A choice that was made.
pub(crate) struct Decision {
    pub chosen: Chosen,
    /// What is to be said, in the order in which it came.
    pub best: Vec<ToSay>,
    /// What is not.
    pub others: Vec<ToSay>,
}

impl Choices {
    /// Each choice is open for so long.
    pub fn new(window: Duration) -> Self {
        Choices { window, not_before: Instant::now(), open: VecDeque::new() }
    }

    /// Holds an answer to an event.
    pub fn hold(&mut self, event: Uuid, answer: ToSay) {
        match self.open.iter_mut().find(|choice| choice.event == event) {
            Some(choice) => choice.answers.push(answer),
            None => {
                let closes = Instant::now() + self.window;
                self.open.push_back(Choice { event, closes, answers: vec![answer] });
            }
        }
    }

    /// A choice that is due: its time is over, or too much is held.
    pub fn decide(&mut self) -> Option<Decision> {
        let due = self.next().is_some_and(|due| due <= Instant::now());
        self.open.pop_front_if(|_| due).map(decide)
    }

    /// A choice could not be written down: it is made again later.
    pub fn undo(&mut self, Decision { chosen, best, others }: Decision) {
        self.not_before = Instant::now() + AGAIN_AFTER;
        let mut answers: Vec<ToSay> = best.into_iter().chain(others).collect();
        // what came meanwhile
        if let Some(later) = self.open.iter().position(|choice| choice.event == chosen.event) {
            answers.extend(self.open.remove(later).into_iter().flat_map(|choice| choice.answers));
        }
        self.open.push_front(Choice { event: chosen.event, closes: self.not_before, answers });
    }

    /// When the next choice is due.
    pub fn next(&self) -> Option<Instant> {
        let held: usize = self.open.iter().map(|choice| choice.answers.len()).sum();
        let due = |choice: &Choice| if held > MAX_HELD { self.not_before } else { choice.closes.max(self.not_before) };
        self.open.front().map(due)
    }

    /// Gives up all that is held.
    pub fn clear(&mut self) -> Vec<ToSay> {
        self.open.drain(..).flat_map(|choice| choice.answers).collect()
    }
}

/// Who answered.
pub(crate) fn handler(answer: &ToSay) -> &str {
    answer.request.handler()
}

fn rank(answer: &ToSay) -> i64 {
    match &answer.request {
        Request::Say(reply) => reply.rank,
        Request::Do(_) => 0,
    }
}

fn decide(Choice { event, answers, .. }: Choice) -> Decision {
    let best = answers.iter().map(rank).max();
    // the first of those with the highest rank
    let winner = answers.iter().find(|answer| Some(rank(answer)) == best).map_or("", handler).to_owned();
    let (best, others) = answers.into_iter().partition(|answer| handler(answer) == winner);
    Decision { chosen: Chosen { event, handler: winner }, best, others }
}
