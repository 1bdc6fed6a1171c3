//! A message on its way to a broker, and the promise that it arrived.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use protocol::{Action, Event, Reply, RoutingKey, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::partition::{PARTITION_HEADER, partition_of, partition_on};
use crate::{Argument, Delay, Error};

/// How long a broker may take to confirm a message.
pub(crate) const CONFIRM_WITHIN: Duration = Duration::from_secs(30);

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// To every queue bound to a pattern that this key matches.
    Topic(RoutingKey),
    /// To the queue of this name, and nowhere else.
    Queue(String),
    /// To the queue of this name, once the delay is over. Needs [`Topology::retry`](crate::Topology::retry) of that
    /// delay to be declared.
    Later {
        /// The queue's name.
        queue: String,
        /// How long the message waits.
        after: Delay,
    },
}

/// What travels beside a body: AMQP 0-9-1 basic properties of the same names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Properties {
    /// The event's or reply's id.
    pub message_id: Option<String>,
    /// An event's routing key; `reply` or `action` for what comes back.
    pub kind: Option<String>,
    /// In a reply: the event that it answers.
    pub correlation_id: Option<String>,
    /// In an event: the queue that takes replies to it.
    pub reply_to: Option<String>,
    /// Who published it.
    pub app_id: Option<String>,
    /// When it was published, by the clock of who published it; on RabbitMQ in whole seconds. Left out, it is set when
    /// the message is published.
    pub published_at: Option<Timestamp>,
    /// Further headers, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Argument>,
}

impl Properties {
    /// A header that is a text.
    pub fn word(&self, header: &str) -> Option<&str> {
        match self.headers.get(header) {
            Some(Argument::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// A header that is a whole number.
    pub fn number(&self, header: &str) -> Option<i64> {
        match self.headers.get(header) {
            Some(Argument::Number(number)) => Some(*number),
            _ => None,
        }
    }
}

/// A message to publish: persistent, JSON.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it goes.
    pub to: Address,
    /// A message that reaches no queue is an error, [`Error::Unroutable`]. Always so for [`Address::Queue`].
    pub mandatory: bool,
    /// What travels beside the body.
    pub properties: Properties,
    /// The body.
    pub body: Bytes,
}

impl Message {
    /// An event for whoever is bound to its key; replies to it go to the queue `reply_to`. What happened in a channel
    /// has the header of its [partition](crate::partition()).
    pub fn event(event: Event, app_id: &str, reply_to: Option<&str>) -> Self {
        let partition = partition_of(&event);
        Self::event_in(partition, event, app_id, reply_to)
    }

    /// The same for whoever knows the network that it happened on, and need not look into its body for that.
    pub fn event_on(network: &str, event: Event, app_id: &str, reply_to: Option<&str>) -> Self {
        let partition = partition_on(network, &event.key);
        Self::event_in(partition, event, app_id, reply_to)
    }

    fn event_in(partition: Option<u32>, event: Event, app_id: &str, reply_to: Option<&str>) -> Self {
        let partition = partition.map(|partition| Argument::Word(partition.to_string()));
        let properties = Properties {
            message_id: Some(event.id.to_string()),
            kind: Some(event.key.to_string()),
            correlation_id: None,
            reply_to: reply_to.map(str::to_owned),
            app_id: Some(app_id.to_owned()),
            headers: partition.map(|partition| (PARTITION_HEADER.to_owned(), partition)).into_iter().collect(),
            ..Properties::default()
        };
        Message { to: Address::Topic(event.key), mandatory: false, properties, body: event.body }
    }

    /// A reply for the queue of that name.
    ///
    /// # Errors
    /// None in practice: every [`Reply`] can be written as JSON.
    pub fn reply(reply: &Reply, queue: &str) -> Result<Self, serde_json::Error> {
        Self::request("reply", (reply.id, reply.in_reply_to), &reply.handler, reply, queue)
    }

    /// An action for the reply queue of that name.
    ///
    /// # Errors
    /// None in practice: every [`Action`] can be written as JSON.
    pub fn action(action: &Action, queue: &str) -> Result<Self, serde_json::Error> {
        Self::request("action", (action.id, action.in_reply_to), &action.handler, action, queue)
    }

    fn request(
        kind: &str,
        (id, in_reply_to): (impl ToString, Option<impl ToString>),
        handler: &Option<String>,
        request: &impl Serialize,
        queue: &str,
    ) -> Result<Self, serde_json::Error> {
        let properties = Properties {
            message_id: Some(id.to_string()),
            kind: Some(kind.to_owned()),
            correlation_id: in_reply_to.map(|id| id.to_string()),
            reply_to: None,
            app_id: handler.clone(),
            ..Properties::default()
        };
        let body = serde_json::to_vec(request)?.into();
        Ok(Message { to: Address::Queue(queue.to_owned()), mandatory: true, properties, body })
    }

    /// The same message, which must reach a queue.
    #[must_use]
    pub fn mandatory(self) -> Self {
        Message { mandatory: true, ..self }
    }

    /// The key or queue's name, for messages to people.
    pub(crate) fn destination(&self) -> &str {
        match &self.to {
            Address::Topic(key) => key.as_str(),
            Address::Queue(name) | Address::Later { queue: name, .. } => name,
        }
    }
}

/// Resolves when the broker has taken responsibility for a message, or will not. Waits at most 30 s. A message whose
/// confirm is dropped before may never be published.
#[must_use = "a message is safe only once its confirm says so"]
#[derive(Debug)]
pub struct Confirm(State);

#[derive(Debug)]
enum State {
    Known(Option<Result<(), Error>>),
    Awaited { answer: oneshot::Receiver<Result<(), Error>>, deadline: Pin<Box<Sleep>> },
}

impl Confirm {
    /// A confirm that is known at once.
    pub fn known(result: Result<(), Error>) -> Self {
        Confirm(State::Known(Some(result)))
    }

    /// A confirm that will come through `answer`.
    pub(crate) fn awaited(answer: oneshot::Receiver<Result<(), Error>>) -> Self {
        Confirm(State::Awaited { answer, deadline: Box::pin(tokio::time::sleep(CONFIRM_WITHIN)) })
    }
}

impl Future for Confirm {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Known(result) => Poll::Ready(result.take().unwrap_or(Err(Error::Closed))),
            State::Awaited { answer, deadline } => match Pin::new(answer).poll(cx) {
                Poll::Ready(result) => Poll::Ready(result.unwrap_or(Err(Error::Closed))),
                Poll::Pending => deadline
                    .as_mut()
                    .poll(cx)
                    .map(|()| Err(Error::TimedOut { what: "confirm a message", after: CONFIRM_WITHIN })),
            },
        }
    }
}
