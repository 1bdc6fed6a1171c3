//! Lanes keep the order: work of one lane is done one after the other, work of different lanes side by side. Whoever
//! works in a lane has a seat there; while a handler runs, the work lies on the seat, so that it can be taken over when
//! the handler does not return.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::executor::{Threads, lock};

/// Which lane: work that must stay in order has the same number.
pub(crate) type Lane = u64;

/// What is done and what waits in each lane. A lane exists while somebody works in it; it is bounded by the prefetch of
/// the queue that the work comes from.
pub(crate) struct Lanes<W> {
    busy: Mutex<HashMap<Lane, Busy<W>>>,
    /// Somebody began to work where nobody did.
    begun: Notify,
}

struct Busy<W> {
    seat: Arc<Seat<W>>,
    waiting: VecDeque<W>,
}

/// The place of whoever works in a lane.
pub(crate) struct Seat<W> {
    state: Mutex<State<W>>,
    /// A thread is inside the handler at this moment.
    inside: AtomicBool,
    /// The threads that it runs on, where they are watched.
    threads: Option<Arc<Threads>>,
}

enum State<W> {
    /// No handler runs.
    Free,
    /// One runs, until this time.
    Running { work: W, until: Instant },
    /// It took too long, and the work was taken over.
    Abandoned {
        /// It has not given its thread back.
        lost: bool,
    },
}

/// Work that was taken over, for whoever goes on with it.
pub(crate) struct TakenOver<W> {
    pub(crate) lane: Lane,
    pub(crate) work: W,
    /// The threads of which one is lost.
    pub(crate) lost: Option<Arc<Threads>>,
}

impl<W> Default for Lanes<W> {
    fn default() -> Self {
        Lanes { busy: Mutex::default(), begun: Notify::new() }
    }
}

impl<W> Lanes<W> {
    /// Puts work into a lane that somebody works in. `Some`: nobody does; now the caller does, beginning with it, on
    /// these threads.
    pub(crate) fn enter(
        &self,
        lane: Lane,
        work: W,
        threads: impl FnOnce() -> Option<Arc<Threads>>,
    ) -> Option<(W, Arc<Seat<W>>)> {
        let mut busy = lock(&self.busy);
        if let Some(lane) = busy.get_mut(&lane) {
            lane.waiting.push_back(work);
            return None;
        }
        let seat = Arc::new(Seat::new(threads()));
        let was_idle = busy.is_empty();
        busy.insert(lane, Busy { seat: seat.clone(), waiting: VecDeque::new() });
        drop(busy);
        if was_idle {
            self.begun.notify_one();
        }
        Some((work, seat))
    }

    /// The next work of a lane; with none left the lane is closed, and whoever asked leaves it.
    pub(crate) fn next(&self, lane: Lane) -> Option<W> {
        let mut busy = lock(&self.busy);
        let next = busy.get_mut(&lane).and_then(|lane| lane.waiting.pop_front());
        if next.is_none() {
            busy.remove(&lane);
        }
        next
    }

    /// Waits until somebody works.
    pub(crate) async fn busy(&self) {
        while lock(&self.busy).is_empty() {
            self.begun.notified().await;
        }
    }

    /// Takes over the work of all whose time is up. Whoever goes on with it needs a new seat.
    pub(crate) fn take_over(&self, now: Instant) -> Vec<TakenOver<W>> {
        let busy = lock(&self.busy);
        let taken = busy.iter().filter_map(|(&lane, busy)| {
            let (work, lost) = busy.seat.abandon(now)?;
            Some(TakenOver { lane, work, lost })
        });
        taken.collect()
    }

    /// A new seat in a lane, on these threads, for whoever goes on with what was taken over.
    pub(crate) fn new_seat(&self, lane: Lane, threads: Option<Arc<Threads>>) -> Arc<Seat<W>> {
        let seat = Arc::new(Seat::new(threads));
        if let Some(busy) = lock(&self.busy).get_mut(&lane) {
            busy.seat = seat.clone();
        }
        seat
    }

    /// Takes out everything that nobody has begun.
    pub(crate) fn clear_waiting(&self) -> Vec<W> {
        lock(&self.busy).values_mut().flat_map(|busy| std::mem::take(&mut busy.waiting)).collect()
    }

    /// Takes out everything.
    pub(crate) fn clear(&self) -> Vec<W> {
        let lanes: Vec<Busy<W>> = lock(&self.busy).drain().map(|(_, busy)| busy).collect();
        let work = |busy: Busy<W>| {
            let running = busy.seat.abandon_at_once().map(|(work, _)| work);
            running.into_iter().chain(busy.waiting)
        };
        lanes.into_iter().flat_map(work).collect()
    }
}

impl<W> Seat<W> {
    pub(crate) fn new(threads: Option<Arc<Threads>>) -> Self {
        Seat { state: Mutex::new(State::Free), inside: AtomicBool::new(false), threads }
    }

    /// Puts the work down while a handler runs, which has to be back at `until`.
    pub(crate) fn put(&self, work: W, until: Instant) {
        *lock(&self.state) = State::Running { work, until };
    }

    /// Takes the work up again when the handler is back; `None`: it was taken over, and nobody waits for this handler.
    pub(crate) fn take(&self) -> Option<W> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Free) {
            State::Running { work, .. } => Some(work),
            State::Free => None,
            State::Abandoned { lost } => {
                *state = State::Abandoned { lost: false };
                if lost && let Some(threads) = &self.threads {
                    threads.came_back();
                }
                None
            }
        }
    }

    /// The thread goes into the handler, or comes out.
    pub(crate) fn set_inside(&self, inside: bool) {
        self.inside.store(inside, Ordering::Release);
    }

    /// The work was taken over.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(*lock(&self.state), State::Abandoned { .. })
    }

    /// Takes the work away when its time is up, with the threads of which one is lost.
    fn abandon(&self, now: Instant) -> Option<(W, Option<Arc<Threads>>)> {
        if !matches!(&*lock(&self.state), State::Running { until, .. } if *until <= now) {
            return None;
        }
        self.abandon_at_once()
    }

    /// The same, whether its time is up or not.
    pub(crate) fn abandon_at_once(&self) -> Option<(W, Option<Arc<Threads>>)> {
        let mut state = lock(&self.state);
        let lost = self.inside.load(Ordering::Acquire);
        match std::mem::replace(&mut *state, State::Abandoned { lost }) {
            State::Running { work, .. } => Some((work, self.threads.clone().filter(|_| lost))),
            other => {
                *state = other;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn enter(lanes: &Lanes<&'static str>, lane: Lane, work: &'static str) -> Option<&'static str> {
        lanes.enter(lane, work, || None).map(|(work, _)| work)
    }

    #[test]
    fn one_works_in_a_lane_and_finds_what_others_put_there_in_order() {
        let lanes = Lanes::default();
        assert_eq!(enter(&lanes, 1, "a"), Some("a"));
        assert_eq!(enter(&lanes, 1, "b"), None);
        assert_eq!(enter(&lanes, 2, "x"), Some("x"));
        assert_eq!(enter(&lanes, 1, "c"), None);
        assert_eq!([lanes.next(1), lanes.next(1), lanes.next(1)], [Some("b"), Some("c"), None]);
        assert_eq!(enter(&lanes, 1, "d"), Some("d"));
    }

    #[tokio::test]
    async fn what_takes_too_long_is_taken_over_once_and_its_lane_goes_on() {
        let lanes = Lanes::default();
        let (work, seat) = lanes.enter(1, "slow", || None).unwrap();
        enter(&lanes, 1, "next");
        let start = Instant::now();
        let until = start + Duration::from_secs(30);
        seat.put(work, until);
        assert!(lanes.take_over(start).is_empty());
        let taken = lanes.take_over(until);
        assert_eq!((taken.len(), taken[0].lane, taken[0].work), (1, 1, "slow"));
        assert!(lanes.take_over(until).is_empty());
        assert!(seat.is_abandoned());
        assert_eq!(seat.take(), None);
        let seat = lanes.new_seat(1, None);
        seat.put("slow", until);
        assert_eq!(seat.take(), Some("slow"));
        assert_eq!(lanes.next(1), Some("next"));
    }

    #[tokio::test]
    async fn everything_can_be_taken_out() {
        let lanes = Lanes::default();
        let (work, seat) = lanes.enter(1, "a", || None).unwrap();
        seat.put(work, Instant::now() + Duration::from_secs(30));
        enter(&lanes, 1, "b");
        enter(&lanes, 1, "c");
        assert_eq!(lanes.clear_waiting(), ["b", "c"]);
        enter(&lanes, 1, "d");
        assert_eq!(lanes.clear(), ["a", "d"]);
        assert_eq!(seat.take(), None);
    }
}
