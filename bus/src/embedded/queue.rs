//! One queue of the embedded broker: what it holds, who consumes from it, and its limits.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use super::Loose;
use crate::{Argument, Delivery, Properties, Queue, Settle};

/// What a queue's arguments mean, read once: they are asked for with each message.
pub(super) struct Rules {
    /// Somebody waits for what is in it: it is a work queue or a reply queue.
    pub counts: bool,
    /// How long messages stay in it before they go on.
    pub delay: Option<Duration>,
    /// It is read, and not consumed.
    pub is_stream: bool,
    has_single_consumer: bool,
    overflow: Overflow,
    max_bytes: Option<usize>,
    max_messages: Option<usize>,
    /// In ms.
    max_age: Option<i64>,
}

/// What becomes of what is beyond the limits.
#[derive(PartialEq, Eq)]
enum Overflow {
    /// It is kept.
    Kept,
    /// The oldest goes.
    DropsOldest,
    /// What is new is refused.
    RefusesNew,
}

impl Rules {
    fn of(queue: &Queue) -> Self {
        let word = |argument: &str| match queue.argument(argument) {
            Some(Argument::Word(word)) => Some(word.as_str()),
            _ => None,
        };
        let limit = |argument: &str| queue.number(argument).and_then(|limit| usize::try_from(limit).ok());
        let is_stream = word("x-queue-type") == Some("stream");
        let ttl = queue.number("x-message-ttl").and_then(|ms| u64::try_from(ms).ok());
        Rules {
            counts: queue.argument("x-dead-letter-routing-key").is_some(),
            delay: ttl.map(Duration::from_millis),
            is_stream,
            has_single_consumer: queue.argument("x-single-active-consumer") == Some(&Argument::Flag(true)),
            overflow: match word("x-overflow") {
                Some("reject-publish") => Overflow::RefusesNew,
                Some("drop-head") => Overflow::DropsOldest,
                _ if is_stream => Overflow::DropsOldest,
                _ => Overflow::Kept,
            },
            max_bytes: limit("x-max-length-bytes"),
            max_messages: limit("x-max-length"),
            max_age: word("x-max-age").and_then(stream_age),
        }
    }
}

/// A queue with what it holds.
pub(super) struct Held {
    pub queue: Queue,
    pub rules: Rules,
    /// Its name, for deliveries.
    name: Arc<str>,
    pub settle: Arc<dyn Settle>,
    /// In the order of their positions.
    pub ready: VecDeque<Stored>,
    pub ready_bytes: usize,
    pub unsettled: HashMap<u64, Unsettled>,
    pub consumers: Vec<Attached>,
    turn: usize,
    /// It was declared since the broker was opened. Until then, its arguments are those that were on disk.
    pub declared: bool,
    /// When it was last in use, in ms since 1970; 0 when nobody knows the time.
    pub last_used: i64,
}

/// A message in a queue. Its position orders it among the others, also when it comes back.
pub(super) struct Stored {
    pub position: u64,
    pub key: Arc<str>,
    pub properties: Properties,
    pub body: Bytes,
    pub attempts: u32,
    /// In a queue that delays, when the message goes on; in a stream, when it came. In ms since 1970.
    pub moment: i64,
    /// The same as `moment` in a queue that delays, by this process's clock.
    pub due: Option<Instant>,
    pub home: Home,
}

impl Stored {
    /// A message that is new.
    pub fn new(position: u64, key: Arc<str>, properties: Properties, body: Bytes) -> Self {
        let (attempts, moment, due, home) = Default::default();
        Stored { position, key, properties, body, attempts, moment, due, home }
    }
}

/// Where a message is on disk: in which file, and how many bytes it takes there. Of no account in memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Home {
    pub segment: u64,
    pub bytes: u64,
}

pub(super) struct Unsettled {
    pub stored: Stored,
    consumer: u64,
}

/// A consumer of a queue, and how many more deliveries it takes.
pub(super) struct Attached {
    pub id: u64,
    pub sender: mpsc::Sender<Delivery>,
    pub credit: usize,
}

impl Held {
    pub fn new(queue: Queue, settle: Arc<dyn Settle>) -> Self {
        Held {
            rules: Rules::of(&queue),
            name: queue.name.as_str().into(),
            queue,
            settle,
            ready: VecDeque::new(),
            ready_bytes: 0,
            unsettled: HashMap::new(),
            consumers: Vec::new(),
            turn: 0,
            declared: true,
            last_used: 0,
        }
    }

    /// It is kept on disk, where there is one.
    pub fn is_durable(&self) -> bool {
        !self.queue.exclusive
    }

    /// It becomes as it is declared; its bindings are added one by one.
    pub fn declare(&mut self, queue: &Queue) {
        self.rules = Rules::of(queue);
        self.queue = Queue { bindings: Vec::new(), ..queue.clone() };
        self.declared = true;
    }

    /// Everything in it, and whether a consumer has it.
    pub fn messages_mut(&mut self) -> impl Iterator<Item = (&mut Stored, bool)> {
        let delivered = self.unsettled.values_mut().map(|it| (&mut it.stored, true));
        self.ready.iter_mut().map(|stored| (stored, false)).chain(delivered)
    }

    /// A message takes its place.
    pub fn insert(&mut self, stored: Stored) {
        let last = self.ready.back().is_none_or(|last| last.position < stored.position);
        let at = if last { self.ready.len() } else { self.ready.partition_point(|it| it.position < stored.position) };
        self.ready_bytes += stored.body.len();
        self.ready.insert(at, stored);
    }

    /// The oldest message leaves.
    pub fn pop(&mut self) -> Option<Stored> {
        let stored = self.ready.pop_front()?;
        self.ready_bytes -= stored.body.len();
        Some(stored)
    }

    pub fn refuses_more(&self) -> bool {
        let full = self.rules.max_bytes.is_some_and(|limit| self.ready_bytes >= limit);
        full && self.rules.overflow == Overflow::RefusesNew
    }

    /// It holds more than it may, and loses its oldest for it.
    pub fn over_limit(&self, now: Option<i64>) -> bool {
        self.rules.overflow == Overflow::DropsOldest
            && (self.rules.max_bytes.is_some_and(|limit| self.ready_bytes > limit)
                || self.rules.max_messages.is_some_and(|limit| self.ready.len() > limit)
                || self.oldest_is_too_old(now))
    }

    fn oldest_is_too_old(&self, now: Option<i64>) -> bool {
        let (Some(now), Some(oldest), Some(age)) = (now, self.ready.front(), self.rules.max_age) else { return false };
        now.saturating_sub(oldest.moment) > age
    }

    pub fn drop_closed_consumers(&mut self, loose: &mut Loose) {
        if self.consumers.iter().any(|attached| attached.sender.is_closed()) {
            let closed = self.consumers.extract_if(.., |attached| attached.sender.is_closed());
            loose.senders.extend(closed.map(|attached| attached.sender));
        }
    }

    /// The consumer that is next, of those that have room. With a single active consumer always the oldest.
    pub fn next_consumer(&mut self) -> Option<usize> {
        let candidates =
            if self.rules.has_single_consumer { 1.min(self.consumers.len()) } else { self.consumers.len() };
        let found = (0..candidates).map(|i| (self.turn + i) % candidates).find(|&i| self.consumers[i].credit > 0)?;
        self.turn = (found + 1) % candidates;
        Some(found)
    }

    /// Moves the oldest ready message to a consumer. Its position.
    pub fn deliver(&mut self, index: usize, tag: u64, loose: &mut Loose) -> Option<u64> {
        let stored = self.pop()?;
        let Stored { position, key, properties, body, attempts, .. } = &stored;
        let position = *position;
        let delivery =
            Delivery::new(key.clone(), properties.clone(), body.clone(), *attempts, self.settle.clone(), tag)
                .from_queue(self.name.clone());
        let attached = &mut self.consumers[index];
        attached.credit -= 1;
        self.unsettled.insert(tag, Unsettled { stored, consumer: attached.id });
        if let Err(TrySendError::Closed(refused) | TrySendError::Full(refused)) = attached.sender.try_send(delivery) {
            // dropped outside the lock, it gives itself back
            loose.deliveries.push(refused);
        }
        Some(position)
    }

    /// Takes back what was delivered under this tag.
    pub fn take_back(&mut self, tag: u64) -> Option<Stored> {
        let Unsettled { stored, consumer } = self.unsettled.remove(&tag)?;
        if let Some(attached) = self.consumers.iter_mut().find(|attached| attached.id == consumer) {
            attached.credit += 1;
        }
        Some(stored)
    }
}

/// A stream's age in RabbitMQ's words (`7D`), in ms.
fn stream_age(age: &str) -> Option<i64> {
    let unit = age.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'D' => 24 * 60 * 60,
        'M' => 30 * 24 * 60 * 60,
        'Y' => 365 * 24 * 60 * 60,
        _ => return None,
    };
    age.strip_suffix(unit)?.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streams_age_is_read_as_rabbitmq_reads_it() {
        assert_eq!(stream_age("7D"), Some(7 * 24 * 60 * 60 * 1000));
        assert_eq!((stream_age("30s"), stream_age("2m")), (Some(30_000), Some(120_000)));
        assert_eq!((stream_age("7"), stream_age(""), stream_age("xD")), (None, None, None));
    }
}
