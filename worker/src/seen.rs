//! What this process is done with, so that an event which is delivered once more is not worked on once more. What it is
//! still working on is not in here: should the process die, that must come again.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Events remembered; the oldest is forgotten first. About 4 MiB.
const REMEMBERED: usize = 65_536;

/// An event, and which of its handlers it was for; `None`: all of them.
pub(crate) type Done = (Uuid, Option<usize>);

/// The events that were done last.
#[derive(Default)]
pub(crate) struct Seen {
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    known: HashSet<Done>,
    in_order: VecDeque<Done>,
}

impl Seen {
    /// It is done: its replies are confirmed.
    pub(crate) fn remember(&self, done: Done) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if !memory.known.insert(done) {
            return;
        }
        memory.in_order.push_back(done);
        if memory.in_order.len() > REMEMBERED
            && let Some(oldest) = memory.in_order.pop_front()
        {
            memory.known.remove(&oldest);
        }
    }

    /// It was done before.
    pub(crate) fn knows(&self, done: &Done) -> bool {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).known.contains(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_65_536_are_known_and_each_handler_counts_for_itself() {
        let seen = Seen::default();
        let done = |n: u128| (Uuid::from_u128(n), None);
        (0..=65_536).for_each(|n| seen.remember(done(n)));
        seen.remember(done(65_536));
        assert!(!seen.knows(&done(0)));
        assert!(seen.knows(&done(1)) && seen.knows(&done(65_536)));
        assert!(!seen.knows(&(Uuid::from_u128(1), Some(0))));
    }
}
