//! Every exchange and queue of pubbot, with its arguments and its limits: the table that both brokers build from.

use std::fmt;
use std::time::Duration;

use protocol::Pattern;
use serde::{Deserialize, Serialize};

use crate::Error;

/// What the names of everything on a broker begin with, unless configured otherwise.
pub const DEFAULT_PREFIX: &str = "pubbot";

/// A work queue drops its oldest events beyond this many bytes: 256 MiB.
const WORK_QUEUE_BYTES: i64 = 256 * 1024 * 1024;
/// A reply queue, or one of suspects, refuses more beyond this many bytes: 64 MiB.
const REPLY_QUEUE_BYTES: i64 = 64 * 1024 * 1024;
/// The queue of dead letters keeps the newest of them.
const DEAD_LETTERS: i64 = 100_000;
/// A tail that is not read loses its oldest events beyond this many.
const TAIL_EVENTS: i64 = 10_000;
/// A worker that does not listen loses the oldest beats of the others beyond this many.
const BEATS: i64 = 1_000;
/// A work queue that nobody consumed from is removed after 30 days, in ms.
const UNUSED_FOR: i64 = 30 * 24 * 60 * 60 * 1000;
/// How often the broker itself may redeliver. RabbitMQ 4 would otherwise drop a message after 20 redeliveries, and
/// with it whatever was prefetched beside one that kills its worker.
const DELIVERY_LIMIT: i64 = 100_000;
/// What waits to be tried again, with each delay: 64 MiB.
const RETRY_QUEUE_BYTES: i64 = 64 * 1024 * 1024;
/// So many messages of a stream are read, the last ones: 10,000. RabbitMQ hands out what was written one by one at some 6,000 a
/// second, and whoever takes over waits for that. What may come again was published within the last minutes, or is not yet
/// acknowledged, which no more than some hundred are.
pub const STREAM_MESSAGES: usize = 10_000;
/// How much a network's stream of what was said keeps, at most: 8 MiB, some 40,000 records.
const SAID_BYTES: i64 = 8 * 1024 * 1024;
/// A stream forgets whole segments: of 1 MiB, so that it comes close to its limit.
const SAID_SEGMENT_BYTES: i64 = 1024 * 1024;
/// How long what was said is remembered.
const SAID_FOR: &str = "7D";

/// The names on one broker. Several bots share a broker under different prefixes.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
}

/// A queue's argument, by its AMQP name (`x-…`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Argument {
    /// A whole number.
    Number(i64),
    /// A word.
    Word(String),
    /// Yes or no.
    Flag(bool),
}

impl From<i64> for Argument {
    fn from(number: i64) -> Self {
        Argument::Number(number)
    }
}

impl From<&str> for Argument {
    fn from(word: &str) -> Self {
        Argument::Word(word.to_owned())
    }
}

impl From<bool> for Argument {
    fn from(flag: bool) -> Self {
        Argument::Flag(flag)
    }
}

/// How long something waits until it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delay {
    /// 1 s.
    OneSecond,
    /// 10 s.
    TenSeconds,
    /// 60 s.
    OneMinute,
    /// 10 min.
    TenMinutes,
}

impl Delay {
    /// All of them, the shortest first.
    pub const ALL: [Delay; 4] = [Delay::OneSecond, Delay::TenSeconds, Delay::OneMinute, Delay::TenMinutes];

    /// How long it is.
    pub fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Delay::OneSecond => 1,
            Delay::TenSeconds => 10,
            Delay::OneMinute => 60,
            Delay::TenMinutes => 600,
        })
    }

    /// Its word in names: `1s`.
    fn word(self) -> String {
        format!("{}s", self.duration().as_secs())
    }

    fn millis(self) -> i64 {
        i64::try_from(self.duration().as_millis()).unwrap_or(i64::MAX)
    }
}

/// A queue as it is to be declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Its name; empty for a queue of one connection that the broker names.
    pub name: String,
    /// What it takes from the exchange of events.
    pub bindings: Vec<Pattern>,
    /// A fanout exchange of this name leads to it.
    pub fanout: Option<String>,
    /// It belongs to one connection and goes with it; otherwise it is durable.
    pub exclusive: bool,
    /// Its arguments, by their AMQP names.
    pub arguments: Vec<(&'static str, Argument)>,
}

impl Queue {
    /// An argument's value.
    pub fn argument(&self, name: &str) -> Option<&Argument> {
        self.arguments.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// An argument that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.argument(name) {
            Some(Argument::Number(number)) => Some(*number),
            _ => None,
        }
    }
}

impl Queue {
    /// What is different about the arguments that this queue has from those that it is asked to have.
    pub(crate) fn other_arguments(&self, asked: &Queue) -> Option<Error> {
        let names = asked.arguments.iter().chain(&self.arguments).map(|(name, _)| *name);
        let argument = names.into_iter().find(|name| asked.argument(name) != self.argument(name))?;
        let shown = |value: Option<&Argument>| value.map_or("absent".to_owned(), Argument::to_string);
        Some(Error::OtherArguments {
            queue: self.name.clone(),
            argument: argument.to_owned(),
            asked: shown(asked.argument(argument)),
            found: shown(self.argument(argument)),
        })
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Argument::Number(number) => number.fmt(f),
            Argument::Word(word) => word.fmt(f),
            Argument::Flag(flag) => flag.fmt(f),
        }
    }
}

impl Default for Topology {
    fn default() -> Self {
        Topology::new(DEFAULT_PREFIX)
    }
}

impl Topology {
    /// The names that begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        Topology { prefix: prefix.to_owned() }
    }

    /// What all its names begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The topic exchange of all events: durable.
    pub fn events_exchange(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// The queue of a worker group: the group's workers compete for it, and each group has a copy of its own.
    pub fn worker(&self, group: &str, patterns: Vec<Pattern>) -> Queue {
        Queue {
            name: format!("{}.worker.{group}", self.prefix),
            bindings: patterns,
            fanout: None,
            exclusive: false,
            arguments: vec![
                ("x-queue-type", "quorum".into()),
                ("x-delivery-limit", DELIVERY_LIMIT.into()),
                ("x-max-length-bytes", WORK_QUEUE_BYTES.into()),
                ("x-overflow", "drop-head".into()),
                ("x-dead-letter-exchange", "".into()),
                ("x-dead-letter-routing-key", Argument::Word(self.dead_name())),
                ("x-expires", UNUSED_FOR.into()),
            ],
        }
    }

    /// The queue of one partition of an ordered group, from 0 to 15.
    pub fn partition(&self, group: &str, partition: u32) -> Queue {
        let mut queue = self.worker(group, Vec::new());
        queue.name = format!("{}.{partition}", queue.name);
        queue.arguments.push(("x-single-active-consumer", true.into()));
        queue
    }

    /// The headers exchange of an ordered group, which is bound to the exchange of events with the group's patterns, and
    /// leads each event to the queue of its partition.
    pub fn group_exchange(&self, group: &str) -> String {
        format!("{}.group.{group}", self.prefix)
    }

    /// Where the events of an ordered group go that have no partition: a fanout exchange, which leads to partition 0.
    pub fn rest_exchange(&self, group: &str) -> String {
        format!("{}.rest.{group}", self.prefix)
    }

    /// The fanout exchange by which the workers of an ordered group hear of each other.
    pub fn beats_exchange(&self, group: &str) -> String {
        format!("{}.beats.{group}", self.prefix)
    }

    /// Where a worker of an ordered group hears the others: gone when it is gone.
    pub fn beats(&self, group: &str) -> Queue {
        Queue {
            name: String::new(),
            bindings: Vec::new(),
            fanout: Some(self.beats_exchange(group)),
            exclusive: true,
            arguments: vec![("x-max-length", BEATS.into()), ("x-overflow", "drop-head".into())],
        }
    }

    /// The reply queue of a network: answers that somebody waits for.
    pub fn replies(&self, proto: &str, network: &str) -> Queue {
        self.one_by_one(self.replies_name(proto, network))
    }

    /// The name of a network's reply queue, which events carry as `reply_to`.
    pub fn replies_name(&self, proto: &str, network: &str) -> String {
        format!("{}.replies.{proto}.{network}", self.prefix)
    }

    /// The queue of what is said on a network without anybody waiting for it. Answers go first.
    pub fn notices(&self, proto: &str, network: &str) -> Queue {
        self.one_by_one(self.notices_name(proto, network))
    }

    /// The name of a network's queue of notices.
    pub fn notices_name(&self, proto: &str, network: &str) -> String {
        format!("{}.notices.{proto}.{network}", self.prefix)
    }

    /// A queue that one consumer at a time works on, and that refuses what it has no room for.
    fn one_by_one(&self, name: String) -> Queue {
        Queue {
            name,
            bindings: Vec::new(),
            fanout: None,
            exclusive: false,
            arguments: vec![
                ("x-queue-type", "quorum".into()),
                ("x-single-active-consumer", true.into()),
                ("x-delivery-limit", DELIVERY_LIMIT.into()),
                ("x-max-length-bytes", REPLY_QUEUE_BYTES.into()),
                ("x-overflow", "reject-publish".into()),
                ("x-dead-letter-exchange", "".into()),
                ("x-dead-letter-routing-key", Argument::Word(self.dead_name())),
            ],
        }
    }

    /// A queue for one onlooker, gone when it stops looking.
    pub fn tail(&self, patterns: Vec<Pattern>) -> Queue {
        Queue {
            name: String::new(),
            bindings: patterns,
            fanout: None,
            exclusive: true,
            arguments: vec![("x-max-length", TAIL_EVENTS.into()), ("x-overflow", "drop-head".into())],
        }
    }

    /// The queue of dead letters: what nobody could make sense of, and what gave up.
    pub fn dead(&self) -> Queue {
        Queue {
            name: self.dead_name(),
            bindings: Vec::new(),
            fanout: None,
            exclusive: false,
            arguments: vec![
                ("x-queue-type", "quorum".into()),
                ("x-delivery-limit", DELIVERY_LIMIT.into()),
                ("x-max-length", DEAD_LETTERS.into()),
                ("x-overflow", "drop-head".into()),
            ],
        }
    }

    fn dead_name(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// Where an event goes that was delivered again and again: it is worked on alone there.
    pub fn suspect(&self, group: &str) -> Queue {
        let mut queue = self.one_by_one(format!("{}.suspect.{group}", self.prefix));
        queue.arguments.push(("x-expires", UNUSED_FOR.into()));
        queue
    }

    /// Where something waits for so long until it goes back to the queue that it came from, which is its routing key.
    /// One for each delay serves every queue: with one delay for all of it, nothing waits behind something that waits
    /// longer.
    pub fn retry(&self, delay: Delay) -> Queue {
        let name = format!("{}.retry.{}", self.prefix, delay.word());
        Queue {
            fanout: Some(name.clone()),
            name,
            bindings: Vec::new(),
            exclusive: false,
            arguments: vec![
                ("x-queue-type", "quorum".into()),
                ("x-message-ttl", delay.millis().into()),
                ("x-max-length-bytes", RETRY_QUEUE_BYTES.into()),
                ("x-overflow", "reject-publish".into()),
                ("x-dead-letter-exchange", "".into()),
                ("x-dead-letter-strategy", "at-least-once".into()),
            ],
        }
    }

    /// What was proved to be said on a network: a stream, which is read from its beginning and not consumed. On RabbitMQ,
    /// messages in it that have the header `mark` have no body: whoever reads the stream leaves one at its end.
    pub fn said(&self, proto: &str, network: &str) -> Queue {
        Queue {
            name: format!("{}.said.{proto}.{network}", self.prefix),
            bindings: Vec::new(),
            fanout: None,
            exclusive: false,
            arguments: vec![
                ("x-queue-type", "stream".into()),
                ("x-max-age", SAID_FOR.into()),
                ("x-max-length-bytes", SAID_BYTES.into()),
                ("x-stream-max-segment-size-bytes", SAID_SEGMENT_BYTES.into()),
            ],
        }
    }

    /// The queue that is a lock: it belongs to the connection of whoever has it, and nothing is ever put into it.
    pub fn lock(&self, name: &str) -> Queue {
        Queue {
            name: self.lock_name(name),
            bindings: Vec::new(),
            fanout: None,
            exclusive: true,
            arguments: vec![("x-max-length", 1.into())],
        }
    }

    /// The name of a lock, as the broker knows it.
    pub fn lock_name(&self, name: &str) -> String {
        format!("{}.lock.{name}", self.prefix)
    }
}

/// The arguments that queues may have here, for whoever reads their names from outside.
const ARGUMENT_NAMES: [&str; 13] = [
    "x-queue-type",
    "x-delivery-limit",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-single-active-consumer",
    "x-message-ttl",
    "x-expires",
    "x-dead-letter-strategy",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
];

/// A queue's argument of this name, if there is one.
pub(crate) fn argument_name(name: &str) -> Option<&'static str> {
    ARGUMENT_NAMES.into_iter().find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delay_has_a_queue_of_its_own_that_gives_back_after_it_and_loses_nothing() {
        let expected = [("1s", 1_000), ("10s", 10_000), ("60s", 60_000), ("600s", 600_000)];
        for (delay, (word, millis)) in Delay::ALL.into_iter().zip(expected) {
            let queue = Topology::default().retry(delay);
            assert_eq!(queue.name, format!("pubbot.retry.{word}"));
            assert_eq!(queue.fanout.as_deref(), Some(&*queue.name));
            assert_eq!(queue.number("x-message-ttl"), Some(millis));
            // back to the queue that is its routing key
            assert_eq!(queue.argument("x-dead-letter-exchange"), Some(&"".into()));
            assert_eq!(queue.argument("x-dead-letter-routing-key"), None);
            assert_eq!(queue.argument("x-dead-letter-strategy"), Some(&"at-least-once".into()));
            assert_eq!(queue.argument("x-overflow"), Some(&"reject-publish".into()));
        }
    }

    #[test]
    fn every_shared_queue_is_a_quorum_queue_with_a_limit_and_a_way_to_overflow() {
        let t = Topology::default();
        let retry = Delay::ALL.map(|delay| t.retry(delay));
        let queues = [
            t.worker("main", vec![]),
            t.suspect("main"),
            t.replies("irc", "libera"),
            t.notices("irc", "libera"),
            t.dead(),
        ];
        for queue in queues.into_iter().chain(retry) {
            assert_eq!(queue.argument("x-queue-type"), Some(&"quorum".into()), "{}", queue.name);
            assert!(queue.number("x-max-length-bytes").or(queue.number("x-max-length")).is_some(), "{}", queue.name);
            assert!(queue.argument("x-overflow").is_some(), "{}", queue.name);
            for (name, _) in &queue.arguments {
                assert_eq!(argument_name(name), Some(*name));
            }
        }
    }
}
