//! Which deliveries of one channel are settled, and how to say so with few frames. A channel numbers its deliveries
//! from 1; "acknowledged up to here" covers all of them at once, provided that none before is still open.

use std::collections::VecDeque;

use crate::Outcome;

/// One frame to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Acknowledges one delivery.
    Ack(u64),
    /// Acknowledges this delivery and all before it that are open.
    AckUpTo(u64),
    /// Gives one back.
    Requeue(u64),
    /// Sends one to the dead letters.
    Bury(u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// To be acknowledged; the broker does not know yet.
    Done,
    /// The broker knows.
    Told,
}

/// The deliveries from the oldest open one on.
pub(super) struct Ledger {
    /// The tag of the first entry of `states`.
    first: u64,
    states: VecDeque<State>,
    /// Acknowledgements that the broker does not know yet.
    done: Vec<u64>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Ledger { first: 1, states: VecDeque::new(), done: Vec::new() }
    }

    /// Notes what becomes of a delivery. The frame to send at once, if any; acknowledgements wait for
    /// [`acks`](Self::acks). A delivery that is settled already stays as it is.
    pub(super) fn settle(&mut self, tag: u64, outcome: Outcome) -> Option<Frame> {
        let state = self.state(tag)?;
        if *state != State::Open {
            return None;
        }
        match outcome {
            Outcome::Acknowledge => {
                *state = State::Done;
                self.done.push(tag);
                None
            }
            Outcome::Requeue => {
                *state = State::Told;
                Some(Frame::Requeue(tag))
            }
            Outcome::Bury => {
                *state = State::Told;
                Some(Frame::Bury(tag))
            }
        }
    }

    /// The acknowledgements that are due, in as few frames as it takes.
    pub(super) fn acks(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let (up_to, covered) = self.advance();
        match covered {
            0 => {}
            1 => frames.push(Frame::Ack(up_to)),
            _ => frames.push(Frame::AckUpTo(up_to)),
        }
        for tag in std::mem::take(&mut self.done) {
            if tag >= self.first {
                if let Some(state) = self.state(tag) {
                    *state = State::Told;
                }
                frames.push(Frame::Ack(tag));
            }
        }
        frames
    }

    /// Forgets what is settled before the oldest open delivery: the highest acknowledged tag there that the broker
    /// does not know, and how many such tags there are.
    fn advance(&mut self) -> (u64, usize) {
        let (mut up_to, mut covered) = (0, 0);
        while let Some(state) = self.states.front().filter(|state| **state != State::Open) {
            if *state == State::Done {
                up_to = self.first;
                covered += 1;
            }
            self.states.pop_front();
            self.first += 1;
        }
        (up_to, covered)
    }

    fn state(&mut self, tag: u64) -> Option<&mut State> {
        let index = usize::try_from(tag.checked_sub(self.first)?).ok()?;
        if index >= self.states.len() {
            self.states.resize(index + 1, State::Open);
        }
        self.states.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Acknowledge, Bury, Requeue};

    fn settled(tags: &[u64]) -> (Ledger, Vec<Frame>) {
        let mut ledger = Ledger::new();
        for tag in tags {
            assert_eq!(ledger.settle(*tag, Acknowledge), None);
        }
        let frames = ledger.acks();
        (ledger, frames)
    }

    #[test]
    fn what_is_settled_without_a_gap_takes_one_frame_whatever_the_order() {
        assert_eq!(settled(&[1, 2, 3]).1, [Frame::AckUpTo(3)]);
        assert_eq!(settled(&[3, 1, 2]).1, [Frame::AckUpTo(3)]);
        assert_eq!(settled(&[1]).1, [Frame::Ack(1)]);
        assert_eq!(settled(&[]).1, []);
    }

    #[test]
    fn behind_a_gap_each_is_acknowledged_alone_and_never_twice() {
        let (mut ledger, frames) = settled(&[1, 2, 4, 5]);
        assert_eq!(frames, [Frame::AckUpTo(2), Frame::Ack(4), Frame::Ack(5)]);
        assert_eq!(ledger.settle(4, Acknowledge), None);
        assert_eq!(ledger.settle(3, Acknowledge), None);
        assert_eq!(ledger.acks(), [Frame::Ack(3)]);
        assert_eq!(ledger.settle(6, Acknowledge), None);
        assert_eq!(ledger.settle(7, Acknowledge), None);
        assert_eq!(ledger.acks(), [Frame::AckUpTo(7)]);
    }

    #[test]
    fn what_is_given_back_or_buried_is_told_at_once_and_leaves_no_gap() {
        let mut ledger = Ledger::new();
        assert_eq!(ledger.settle(1, Acknowledge), None);
        assert_eq!(ledger.settle(2, Requeue), Some(Frame::Requeue(2)));
        assert_eq!(ledger.settle(3, Acknowledge), None);
        assert_eq!(ledger.settle(4, Bury), Some(Frame::Bury(4)));
        assert_eq!(ledger.settle(4, Requeue), None);
        // never up to a tag that the broker has forgotten: that would be an error
        assert_eq!(ledger.acks(), [Frame::AckUpTo(3)]);
        assert_eq!(ledger.settle(2, Acknowledge), None);
        assert_eq!(ledger.acks(), []);
    }
}
