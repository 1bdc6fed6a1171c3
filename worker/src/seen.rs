//! What this process is done with, so that an event which is delivered once more is not worked on once more. What it is
//! still working on is not in here: should the process die, that must come again.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use protocol::Timestamp;
use uuid::Uuid;

/// Events remembered; the oldest is forgotten first. About 4 MiB.
const REMEMBERED: usize = 65_536;

/// An event, and which of its handlers it was for; `None`: all of them.
pub(crate) type Done = (Uuid, Option<usize>);

/// An event that is a dead letter, the handler that it was for, and when it was taken from the dead letters before.
pub(crate) type Buried = (Uuid, Option<String>, Option<Timestamp>);

/// The events that were done last.
pub(crate) struct Seen<T> {
    memory: Mutex<Memory<T>>,
}

struct Memory<T> {
    known: HashSet<T>,
    in_order: VecDeque<T>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Seen { memory: Mutex::new(Memory { known: HashSet::new(), in_order: VecDeque::new() }) }
    }
}

impl<T: Clone + Eq + Hash> Seen<T> {
    /// It is done: its replies are confirmed, or its dead letter.
    pub(crate) fn remember(&self, done: T) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if !memory.known.insert(done.clone()) {
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
    pub(crate) fn knows(&self, done: &T) -> bool {
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
