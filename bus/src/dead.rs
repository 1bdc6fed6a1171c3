//! Retries and dead letters: what a message carries once something went wrong with it. Written and read here alone.
//!
//! A message that is tried again, or that gave up, keeps its body and its properties. Five headers are added: `key` (the
//! routing key it was first published with), `handler` (only this one is to run), `attempts` (how often it failed),
//! `error` (why it gave up) and `queue` (where it gave up, and where it goes when somebody has it tried again). Then
//! `retried` says when that was (in ms since 1970), since age is counted from there.

use std::collections::BTreeMap;
use std::fmt::Display;

use protocol::Timestamp;

use crate::{Address, Argument, Delay, Delivery, Message, Topology};

pub(crate) const KEY: &str = "key";
const HANDLER: &str = "handler";
const ATTEMPTS: &str = "attempts";
const ERROR: &str = "error";
const QUEUE: &str = "queue";
const RETRIED: &str = "retried";
/// What RabbitMQ itself writes begins like this; it belongs to one delivery and is not passed on.
const BROKERS_OWN: &str = "x-";
/// Where RabbitMQ says why and where it gave up by itself.
const BROKERS_REASON: &str = "x-first-death-reason";
const BROKERS_QUEUE: &str = "x-first-death-queue";

/// The reason of what came out of a retry queue: it has been on its way since, so that says nothing.
const WAITED: &str = "expired";

/// An error's text in a header, at most: 1 KiB. The properties of an AMQP message share one frame.
const ERROR_BYTES: usize = 1024;

/// What a delivery has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past<'a> {
    /// The routing key that it was first published with.
    pub key: &'a str,
    /// Only this handler (`group/plugin/name`) is to run; `None`: all.
    pub handler: Option<&'a str>,
    /// How often it failed.
    pub attempts: u32,
    /// When somebody took it from the dead letters to have it tried again.
    pub retried: Option<Timestamp>,
    /// The queue that it was moved from, or tried again for.
    pub queue: Option<&'a str>,
}

impl<'a> Past<'a> {
    /// What the delivery's headers tell.
    pub fn of(delivery: &'a Delivery) -> Self {
        let properties = &delivery.properties;
        Past {
            key: properties.word(KEY).unwrap_or(&delivery.key),
            handler: properties.word(HANDLER),
            attempts: attempts(delivery),
            retried: properties.number(RETRIED).map(Timestamp::from_millis),
            queue: properties.word(QUEUE),
        }
    }
}

/// Why something gave up, and what is to be known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// What went wrong; `None` when whoever gave up did not say.
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// The handler that failed (`group/plugin/name`); `None` when it was none, or not a handler's fault.
    pub handler: Option<String>,
    /// The routing key that it was first published with.
    pub key: String,
    /// The queue that it was taken from, and goes back to when it is to be tried again.
    pub queue: Option<String>,
}

impl DeadLetter {
    /// A delivery from `queue` that gives up now because of `error`, of which the first 1 KiB are kept. Handler and
    /// attempts are what the delivery itself tells.
    pub fn new(delivery: &Delivery, queue: &str, error: impl Display) -> Self {
        let past = Past::of(delivery);
        DeadLetter {
            error: Some(cut(error.to_string())),
            attempts: past.attempts,
            handler: past.handler.map(str::to_owned),
            key: past.key.to_owned(),
            queue: Some(queue.to_owned()),
        }
    }

    /// Reads a delivery from the queue of dead letters. What the broker itself set aside has no headers of ours: what
    /// it says about that is read instead.
    pub fn read(delivery: &Delivery) -> Self {
        let properties = &delivery.properties;
        let ours = properties.word(ERROR).is_some() || properties.word(BROKERS_REASON) == Some(WAITED);
        let by_broker = |header| properties.word(header).filter(|_| !ours);
        let reason = by_broker(BROKERS_REASON).map(|reason| format!("the broker set it aside: {reason}"));
        DeadLetter {
            error: properties.word(ERROR).map(str::to_owned).or(reason),
            attempts: attempts(delivery),
            handler: properties.word(HANDLER).map(str::to_owned),
            key: Past::of(delivery).key.to_owned(),
            queue: properties.word(QUEUE).or_else(|| by_broker(BROKERS_QUEUE)).map(str::to_owned),
        }
    }
}

impl Message {
    /// The delivery's message for the queue of dead letters. The delivery is to be acknowledged once this is confirmed.
    pub fn dead(topology: &Topology, delivery: &Delivery, letter: &DeadLetter) -> Self {
        let mut message = moved(delivery, Address::Queue(topology.dead().name));
        let headers = &mut message.properties.headers;
        set(headers, KEY, Some(&letter.key));
        set(headers, HANDLER, letter.handler.as_deref());
        set(headers, ERROR, letter.error.as_deref());
        set(headers, QUEUE, letter.queue.as_deref());
        headers.insert(ATTEMPTS.to_owned(), i64::from(letter.attempts).into());
        message
    }

    /// The delivery's message for the queue that it came from, after a while and for one handler, which has failed so
    /// often. The delivery is to be acknowledged once this is confirmed.
    pub fn retry(delivery: &Delivery, queue: &str, handler: &str, attempts: u32, after: Delay) -> Self {
        let mut message = moved(delivery, Address::Later { queue: queue.to_owned(), after });
        let headers = &mut message.properties.headers;
        set(headers, HANDLER, Some(handler));
        set(headers, QUEUE, Some(queue));
        headers.insert(ATTEMPTS.to_owned(), i64::from(attempts).into());
        message
    }

    /// The delivery's message for another queue, as it is, with the queue that it came from. The delivery is to be
    /// acknowledged once this is confirmed.
    pub fn moved(delivery: &Delivery, queue: &str) -> Self {
        let mut message = moved(delivery, Address::Queue(queue.to_owned()));
        // moved to the end of the queue that it is in, it still comes from where it came from
        if *delivery.queue != *queue {
            let from = Some(&*delivery.queue).filter(|from| !from.is_empty());
            set(&mut message.properties.headers, QUEUE, from);
        }
        message
    }

    /// A dead letter on its way back to the queue where it gave up, to be tried as if for the first time; `None` when
    /// nobody knows which queue that was. The letter is to be acknowledged once this is confirmed.
    pub fn again(letter: &Delivery, now: Timestamp) -> Option<Self> {
        let mut message = moved(letter, Address::Queue(DeadLetter::read(letter).queue?));
        // a reply's time begins anew
        message.properties.published_at = None;
        let headers = &mut message.properties.headers;
        headers.remove(ERROR);
        headers.remove(QUEUE);
        headers.insert(ATTEMPTS.to_owned(), 0.into());
        headers.insert(RETRIED.to_owned(), now.millis().into());
        Some(message)
    }
}

/// The same message to another place, its first routing key as a header.
fn moved(delivery: &Delivery, to: Address) -> Message {
    let mut properties = delivery.properties.clone();
    properties.headers.retain(|name, _| !name.starts_with(BROKERS_OWN));
    set(&mut properties.headers, KEY, Some(Past::of(delivery).key));
    Message { to, mandatory: true, properties, body: delivery.body.clone() }
}

fn set(headers: &mut BTreeMap<String, Argument>, name: &str, value: Option<&str>) {
    match value {
        Some(value) => headers.insert(name.to_owned(), value.into()),
        None => headers.remove(name),
    };
}

fn attempts(delivery: &Delivery) -> u32 {
    delivery.properties.number(ATTEMPTS).and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(0)
}

/// At most 1 KiB of a text, whole characters.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(ERROR_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Outcome, Properties, Settle};

    struct Nowhere;
    impl Settle for Nowhere {
        fn settle(&self, _: u64, _: Outcome) {}
    }

    fn delivery(key: &str, properties: Properties) -> Delivery {
        Delivery::new(key.into(), properties, "{}".into(), 0, Arc::new(Nowhere), 1)
    }

    /// What comes out of the queue that the message was put into.
    fn delivered(message: Message) -> Delivery {
        let queue = match message.to {
            Address::Queue(queue) | Address::Later { queue, .. } => queue,
            Address::Topic(key) => key.to_string(),
        };
        delivery(&queue, message.properties)
    }

    fn event() -> Delivery {
        let headers = [
            ("traceparent".to_owned(), "00-1".into()),
            ("x-delivery-count".to_owned(), 7.into()),
            ("x-first-death-reason".to_owned(), "expired".into()),
        ];
        let message_id = Some("1".to_owned());
        delivery("a.b", Properties { message_id, headers: headers.into(), ..Properties::default() })
    }

    #[test]
    fn a_retry_keeps_key_and_properties_and_names_its_handler() {
        let first = delivered(Message::retry(&event(), "work", "g/p/h", 1, Delay::OneSecond));
        let expected = Past { key: "a.b", handler: Some("g/p/h"), attempts: 1, retried: None, queue: Some("work") };
        assert_eq!(Past::of(&first), expected);
        assert_eq!(first.properties.message_id.as_deref(), Some("1"));
        assert_eq!(first.properties.word("traceparent"), Some("00-1"));
        assert!(first.properties.headers.keys().all(|name| !name.starts_with("x-")), "{first:?}");
        let second = delivered(Message::retry(&first, "work", "g/p/h", 2, Delay::TenSeconds));
        assert_eq!((Past::of(&second).key, Past::of(&second).attempts), ("a.b", 2));
    }

    #[test]
    fn a_dead_letter_reads_back_as_it_was_written_and_goes_back_as_new() {
        let topology = Topology::default();
        let retried = delivered(Message::retry(&event(), "work", "g/p/h", 4, Delay::TenMinutes));
        let letter = DeadLetter { attempts: 5, ..DeadLetter::new(&retried, "work", "no disk") };
        let message = Message::dead(&topology, &retried, &letter);
        assert_eq!(message.to, Address::Queue(topology.dead().name));
        let dead = delivered(message);
        assert_eq!(DeadLetter::read(&dead), letter);
        assert_eq!((letter.handler.as_deref(), &*letter.key), (Some("g/p/h"), "a.b"));

        let now = Timestamp::from_millis(9_000);
        let again = Message::again(&dead, now).unwrap();
        assert_eq!(again.to, Address::Queue("work".into()));
        let again = delivered(again);
        let expected = Past { key: "a.b", handler: Some("g/p/h"), attempts: 0, retried: Some(now), queue: None };
        assert_eq!(Past::of(&again), expected);
        assert_eq!((again.properties.word("error"), again.properties.word("queue")), (None, None));
    }

    #[test]
    fn of_what_the_broker_set_aside_its_own_words_are_read() {
        let headers =
            [("x-first-death-reason".to_owned(), "maxlen".into()), ("x-first-death-queue".to_owned(), "work".into())];
        let letter =
            DeadLetter::read(&delivery("a.b", Properties { headers: headers.into(), ..Properties::default() }));
        assert_eq!(letter.error.as_deref(), Some("the broker set it aside: maxlen"));
        assert_eq!((letter.queue.as_deref(), &*letter.key, letter.attempts), (Some("work"), "a.b", 0));
        let bare = delivery("a.b", Properties::default());
        assert_eq!((DeadLetter::read(&bare).error, DeadLetter::read(&bare).queue), (None, None));
        assert!(Message::again(&bare, Timestamp::from_millis(0)).is_none());
    }

    #[test]
    fn that_something_waited_to_be_tried_again_is_not_taken_for_its_death() {
        let mut retried = delivered(Message::retry(&event(), "work", "g/p/h", 1, Delay::OneSecond));
        let headers = [("x-first-death-reason", "expired"), ("x-first-death-queue", "retry")];
        retried.properties.headers.extend(headers.map(|(name, value)| (name.to_owned(), value.into())));
        let letter = DeadLetter::read(&retried);
        assert_eq!((letter.error, letter.queue.as_deref()), (None, Some("work")));
    }

    #[test]
    fn what_is_moved_tells_where_it_was() {
        let event = event().from_queue("work.3".into());
        let moved = delivered(Message::moved(&event, "suspects")).from_queue("suspects".into());
        assert_eq!((Past::of(&moved).queue, Past::of(&moved).key), (Some("work.3"), "a.b"));
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let letter = DeadLetter::new(&event(), "work", "ä".repeat(2_000) + "x");
        assert_eq!(letter.error.unwrap(), "ä".repeat(512));
        let odd = DeadLetter::new(&event(), "work", format!("x{}", "ä".repeat(2_000)));
        assert_eq!(odd.error.unwrap().len(), 1023);
    }
}
