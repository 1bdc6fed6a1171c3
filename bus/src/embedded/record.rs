//! What the embedded broker writes down: a record is what one change did, as a sequence of steps. Numbers are written in
//! as few bytes as they need (LEB128), texts with their length before them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::{Pattern, Timestamp};
use serde::{Deserialize, Serialize};

use crate::topology::argument_name;
use crate::{Argument, Properties, Queue};

const PUT: u8 = 1;
const PUT_DELIVERED: u8 = 2;
const DONE: u8 = 3;
const DELIVERED: u8 = 4;
const RETURNED: u8 = 5;
const QUEUE: u8 = 6;
const REMOVED: u8 = 7;

/// Bits of a message's properties, beside those of its texts.
const HAS_TIME: u8 = 1 << 6;
const HAS_HEADERS: u8 = 1 << 7;

/// A step, as it is read.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// A message is in a queue, in this state. Written again, it counts instead of what was written before.
    Put(Box<Put>),
    /// The message at this position is gone.
    Done(u64),
    /// The message at this position is with a consumer.
    Delivered(u64),
    /// The message at this position came back, and counts as tried once more.
    Returned(u64),
    /// A queue, as it was declared, and when it was last used.
    Queue(Box<Queue>, i64),
    /// A queue is gone, with all that was in it.
    Removed(String),
}

/// A message in a queue.
#[derive(Debug, PartialEq)]
pub(super) struct Put {
    pub queue: String,
    pub position: u64,
    pub attempts: u32,
    /// A consumer has it.
    pub delivered: bool,
    pub moment: i64,
    pub key: Arc<str>,
    pub properties: Properties,
    pub body: Bytes,
}

/// A message in a queue, to be written.
pub(super) struct Message<'a> {
    pub queue: &'a str,
    pub position: u64,
    pub attempts: u32,
    pub delivered: bool,
    pub moment: i64,
    pub key: &'a str,
    pub properties: &'a Properties,
    pub body: &'a [u8],
}

pub(super) fn put(buffer: &mut Vec<u8>, message: &Message<'_>) {
    buffer.push(if message.delivered { PUT_DELIVERED } else { PUT });
    text(buffer, message.queue.as_bytes());
    number(buffer, message.position);
    number(buffer, message.attempts.into());
    number(buffer, u64::try_from(message.moment).unwrap_or(0));
    text(buffer, message.key.as_bytes());
    properties(buffer, message.properties);
    text(buffer, message.body);
}

/// Which of them are there, in the bits of one byte; those in their order; the headers as JSON, if there are any.
fn properties(buffer: &mut Vec<u8>, properties: &Properties) {
    let words = words(properties);
    let present = words.iter().enumerate().filter(|(_, word)| word.is_some()).map(|(bit, _)| 1_u8 << bit).sum::<u8>();
    let at = properties.published_at.map(Timestamp::millis);
    let flags = [(at.is_some(), HAS_TIME), (!properties.headers.is_empty(), HAS_HEADERS)];
    buffer.push(flags.into_iter().filter(|(is, _)| *is).fold(present, |byte, (_, flag)| byte | flag));
    words.into_iter().flatten().for_each(|word| text(buffer, word.as_bytes()));
    if let Some(at) = at {
        buffer.extend_from_slice(&at.to_le_bytes());
    }
    if !properties.headers.is_empty() {
        // texts, numbers and flags can always be written as JSON
        text(buffer, &serde_json::to_vec(&properties.headers).unwrap_or_default());
    }
}

/// The texts among the properties, in the order in which they are written.
fn words(properties: &Properties) -> [Option<&str>; 5] {
    let Properties { message_id, kind, correlation_id, reply_to, app_id, .. } = properties;
    [message_id, kind, correlation_id, reply_to, app_id].map(Option::as_deref)
}

pub(super) fn done(buffer: &mut Vec<u8>, position: u64) {
    buffer.push(DONE);
    number(buffer, position);
}

pub(super) fn delivered(buffer: &mut Vec<u8>, position: u64) {
    buffer.push(DELIVERED);
    number(buffer, position);
}

pub(super) fn returned(buffer: &mut Vec<u8>, position: u64) {
    buffer.push(RETURNED);
    number(buffer, position);
}

pub(super) fn queue(buffer: &mut Vec<u8>, queue: &Queue, last_used: i64) {
    let written = Written {
        name: queue.name.clone(),
        bindings: queue.bindings.iter().map(Pattern::to_string).collect(),
        fanout: queue.fanout.clone(),
        arguments: queue.arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        last_used,
    };
    buffer.push(QUEUE);
    text(buffer, &serde_json::to_vec(&written).unwrap_or_default());
}

pub(super) fn removed(buffer: &mut Vec<u8>, queue: &str) {
    buffer.push(REMOVED);
    text(buffer, queue.as_bytes());
}

/// A queue as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    name: String,
    bindings: Vec<String>,
    fanout: Option<String>,
    arguments: Vec<(String, Argument)>,
    last_used: i64,
}

impl Written {
    fn queue(self) -> Queue {
        let pattern = |text: &String| Pattern::parse(text).ok();
        let argument = |(name, value): (String, Argument)| argument_name(&name).map(|name| (name, value));
        Queue {
            bindings: self.bindings.iter().filter_map(pattern).collect(),
            name: self.name,
            fanout: self.fanout,
            exclusive: false,
            // one that this version does not know has no meaning for it
            arguments: self.arguments.into_iter().filter_map(argument).collect(),
        }
    }
}

fn number(buffer: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        buffer.push((number as u8) | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

fn text(buffer: &mut Vec<u8>, bytes: &[u8]) {
    number(buffer, bytes.len() as u64);
    buffer.extend_from_slice(bytes);
}

/// The steps of a record. Ends early, with an error as its last item, at one that can't be read.
pub(super) fn steps(record: &[u8]) -> impl Iterator<Item = Result<Step, Unreadable>> {
    let mut reader = Reader(record);
    std::iter::from_fn(move || {
        if reader.0.is_empty() {
            return None;
        }
        let step = reader.step().ok_or(Unreadable);
        if step.is_err() {
            reader.0 = &[];
        }
        Some(step)
    })
}

/// A step that was written by something else, or a later version.
#[derive(Debug, PartialEq)]
pub(super) struct Unreadable;

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn step(&mut self) -> Option<Step> {
        let kind = self.byte()?;
        Some(match kind {
            PUT | PUT_DELIVERED => Step::Put(Box::new(Put {
                delivered: kind == PUT_DELIVERED,
                queue: self.word()?.to_owned(),
                position: self.number()?,
                attempts: u32::try_from(self.number()?).ok()?,
                moment: i64::try_from(self.number()?).ok()?,
                key: self.word()?.into(),
                properties: self.properties()?,
                body: Bytes::copy_from_slice(self.text()?),
            })),
            DONE => Step::Done(self.number()?),
            DELIVERED => Step::Delivered(self.number()?),
            RETURNED => Step::Returned(self.number()?),
            QUEUE => {
                let written: Written = serde_json::from_slice(self.text()?).ok()?;
                let last_used = written.last_used;
                Step::Queue(Box::new(written.queue()), last_used)
            }
            REMOVED => Step::Removed(self.word()?.to_owned()),
            _ => return None,
        })
    }

    fn properties(&mut self) -> Option<Properties> {
        let present = self.byte()?;
        let mut words = [const { None }; 5];
        for (bit, word) in words.iter_mut().enumerate() {
            if present & (1 << bit) != 0 {
                *word = Some(self.word()?.to_owned());
            }
        }
        let [message_id, kind, correlation_id, reply_to, app_id] = words;
        let published_at = match present & HAS_TIME {
            0 => None,
            _ => Some(Timestamp::from_millis(i64::from_le_bytes(self.bytes()?))),
        };
        let headers = match present & HAS_HEADERS {
            0 => BTreeMap::new(),
            _ => serde_json::from_slice(self.text()?).ok()?,
        };
        Some(Properties { message_id, kind, correlation_id, reply_to, app_id, published_at, headers })
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn word(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.text()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Topology;

    fn properties() -> Properties {
        Properties {
            message_id: Some("an id".to_owned()),
            reply_to: Some("ünïcode \"q\"".to_owned()),
            published_at: Some(protocol::Timestamp::from_millis(1_700_000_000_123)),
            headers: [("attempts".to_owned(), Argument::Number(-3)), ("flag".to_owned(), Argument::Flag(true))].into(),
            ..Properties::default()
        }
    }

    fn record() -> Vec<u8> {
        let mut buffer = Vec::new();
        let queue_ = Topology::default().worker("main", vec![Pattern::parse("a.#").unwrap()]);
        queue(&mut buffer, &queue_, 1_700_000_000_000);
        let properties = properties();
        put(
            &mut buffer,
            &Message {
                queue: "q",
                position: u64::MAX,
                attempts: 300,
                delivered: true,
                moment: 1_700_000_000_000,
                key: "a.b",
                properties: &properties,
                body: b"\0\xff{}",
            },
        );
        delivered(&mut buffer, 0);
        returned(&mut buffer, 127);
        done(&mut buffer, 128);
        removed(&mut buffer, "q");
        buffer
    }

    #[test]
    fn steps_are_read_as_they_were_written() {
        let record = record();
        let mut steps = steps(&record).map(Result::unwrap);
        let Some(Step::Queue(queue, 1_700_000_000_000)) = steps.next() else { panic!() };
        let expected = Topology::default().worker("main", vec![Pattern::parse("a.#").unwrap()]);
        assert_eq!(
            (queue.name, queue.bindings, queue.arguments),
            (expected.name, expected.bindings, expected.arguments)
        );
        let put = Put {
            queue: "q".to_owned(),
            position: u64::MAX,
            attempts: 300,
            delivered: true,
            moment: 1_700_000_000_000,
            key: "a.b".into(),
            properties: properties(),
            body: Bytes::from_static(b"\0\xff{}"),
        };
        assert_eq!(steps.next(), Some(Step::Put(Box::new(put))));
        let rest: Vec<Step> = steps.collect();
        assert_eq!(rest, [Step::Delivered(0), Step::Returned(127), Step::Done(128), Step::Removed("q".to_owned())]);
    }

    #[test]
    fn whatever_a_record_holds_reading_it_ends() {
        let record = record();
        for length in 0..record.len() {
            let steps: Vec<_> = steps(&record[..length]).collect();
            assert!(steps.iter().rev().skip(1).all(Result::is_ok));
        }
        assert_eq!(steps(&[99]).collect::<Vec<_>>(), [Err(Unreadable)]);
        assert_eq!(
            steps(&[DONE, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]).collect::<Vec<_>>(),
            [Err(Unreadable)]
        );
    }
}
