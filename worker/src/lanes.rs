//! Lanes keep the order: work of one lane is done one after the other, work of different lanes side by side.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Which lane: work that must stay in order has the same number.
pub(crate) type Lane = u64;

/// What waits in each lane. A lane exists while somebody works in it; it is bounded by the prefetch of the queue that
/// the work comes from.
pub(crate) struct Lanes<W> {
    waiting: Mutex<HashMap<Lane, VecDeque<W>>>,
}

impl<W> Default for Lanes<W> {
    fn default() -> Self {
        Lanes { waiting: Mutex::default() }
    }
}

impl<W> Lanes<W> {
    /// Puts work into a lane that somebody works in. `Some(work)`: nobody does; now the caller does, beginning with it.
    pub(crate) fn enter(&self, lane: Lane, work: W) -> Option<W> {
        let mut waiting = self.lock();
        match waiting.get_mut(&lane) {
            Some(queue) => {
                queue.push_back(work);
                None
            }
            None => {
                waiting.insert(lane, VecDeque::new());
                Some(work)
            }
        }
    }

    /// The next work of a lane; with none left the lane is closed, and whoever asked leaves it.
    pub(crate) fn next(&self, lane: Lane) -> Option<W> {
        let mut waiting = self.lock();
        let next = waiting.get_mut(&lane).and_then(VecDeque::pop_front);
        if next.is_none() {
            waiting.remove(&lane);
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lane, VecDeque<W>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_works_in_a_lane_and_finds_what_others_put_there_in_order() {
        let lanes = Lanes::default();
        assert_eq!(lanes.enter(1, "a"), Some("a"));
        assert_eq!(lanes.enter(1, "b"), None);
        assert_eq!(lanes.enter(2, "x"), Some("x"));
        assert_eq!(lanes.enter(1, "c"), None);
        assert_eq!([lanes.next(1), lanes.next(1), lanes.next(1)], [Some("b"), Some("c"), None]);
        assert_eq!(lanes.enter(1, "d"), Some("d"));
    }
}
