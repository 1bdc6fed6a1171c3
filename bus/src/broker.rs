//! What every broker can do, and what can go wrong.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::Pattern;
use thiserror::Error;

#[cfg(doc)]
use crate::STREAM_MESSAGES;
use crate::{Confirm, Consumer, Lock, Message, Queue, Topology};

/// A broker: takes messages for topics and queues, hands them to consumers, keeps what is not acknowledged.
#[async_trait]
pub trait Broker: Send + Sync {
    /// The names of everything on this broker.
    fn topology(&self) -> &Topology;

    /// Hands over a message. Waits only while 1,000 others are not yet confirmed; messages of one caller keep their
    /// order. The returned [`Confirm`] tells when the broker has taken responsibility for it.
    async fn publish(&self, message: Message) -> Confirm;

    /// [`Broker::publish`] never waits here: when it has returned, the message is in its queues, and as safe as they are
    /// but for the disk's own pace.
    fn takes_at_once(&self) -> bool {
        false
    }

    /// Declares a queue with its bindings, so that what is published from now on waits in it.
    ///
    /// # Errors
    /// When the broker can't be reached in time, or refuses the queue ([`Error::OtherArguments`]).
    async fn declare(&self, queue: Queue) -> Result<(), Error>;

    /// Declares a queue with its bindings, and consumes from it, at most `prefetch` messages unsettled at a time. The
    /// consumer outlives broken connections: what was unsettled then is delivered again.
    ///
    /// # Errors
    /// When the broker can't be reached in time, or refuses the queue ([`Error::OtherArguments`]).
    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Consumer, Error>;

    /// Consumes what is published to these patterns as one of a worker group, so that what happens in a channel is
    /// handled in order by however many workers the group has: each event is in the [partition](crate::partition()) of
    /// its channel, and a partition goes to one worker at a time. At most `prefetch` messages of a partition are
    /// unsettled at a time. A worker that is to give up a partition to another gets no more of it, and settles what it
    /// has within 30 s, or the other one gets that again. Unlike the deliveries, what is [given
    /// back](crate::Delivery::requeue) or [comes later](crate::Address::Later) has no order. On a broker within one
    /// process, whose consumers of one queue are in order anyway, it is the queue of a common group.
    ///
    /// # Errors
    /// As [`consume`](Broker::consume).
    async fn consume_ordered(&self, group: &str, patterns: Vec<Pattern>, prefetch: u16) -> Result<Consumer, Error> {
        self.consume(self.topology().worker(group, patterns), prefetch).await
    }

    /// Waits until the broker knows of all that was settled before: should this process end right then, none of it is
    /// delivered again. A broker within this process always does.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when it does not say so within 10 s, 30 s through a socket, where [`Error::Away`] is possible, too.
    async fn settled(&self) -> Result<(), Error> {
        Ok(())
    }

    /// How many messages wait in the queue of this name, those being worked on not counted; `None` when there is no
    /// such queue.
    ///
    /// # Errors
    /// When the broker can't be reached in time.
    async fn depth(&self, queue: &str) -> Result<Option<u64>, Error>;

    /// The bodies of the last [`STREAM_MESSAGES`] that a stream ([`Topology::said`]) holds, the oldest first. Declares it, if
    /// need be.
    ///
    /// # Errors
    /// When the broker can't be reached in time, or refuses the stream.
    async fn read_stream(&self, stream: Queue) -> Result<Vec<Bytes>, Error>;

    /// Waits until the lock of this name is ours: no other process on this broker has it then, see [`Lock`]. Asks
    /// again every 2 s. While the broker is away, it waits for that, too.
    ///
    /// # Errors
    /// [`Error::Closed`] when the broker was closed by us, [`Error::Refused`] when it refuses us.
    async fn lock(&self, name: &str) -> Result<Lock, Error>;

    /// Ends everything in order: what is published gets its confirm, consumers end, connections close. At most 5 s.
    async fn close(&self);
}

/// Why a broker did not do what it was asked.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The address of a broker can't be read.
    #[error("broker.url: {0}")]
    Url(String),
    /// Nobody answers there, or the connection broke.
    #[error("the broker at {broker} is away: {why}")]
    Away {
        /// Where, without its password.
        broker: String,
        /// What the connection said.
        why: String,
    },
    /// The broker knows us and says no: a wrong password, a missing virtual host.
    #[error("the broker at {broker} refused us: {why}")]
    Refused {
        /// Where, without its password.
        broker: String,
        /// What it said.
        why: String,
    },
    /// No queue is bound to where the message was to go.
    #[error("nobody takes messages for {0}")]
    Unroutable(String),
    /// The broker would not take a message: its queue is full.
    #[error("the broker would not take a message for {0}: its queue is full")]
    Full(String),
    /// A queue exists with other arguments than the topology asks for.
    #[error("the queue {queue} exists with other arguments: its {argument} is {found}, not {asked} as asked for")]
    OtherArguments {
        /// Its name.
        queue: String,
        /// The first argument that differs: its AMQP name, or `durable`, `exclusive`, `auto_delete`.
        argument: String,
        /// The value that was asked for; `absent` without one.
        asked: String,
        /// The value that it has; `absent` without one.
        found: String,
    },
    /// A queue can't be declared as the topology asks.
    #[error("the queue {queue} can't be declared: {why}")]
    Queue {
        /// Its name.
        queue: String,
        /// What the broker said.
        why: String,
    },
    /// No answer within the time allowed.
    #[error("the broker did not {what} within {} s", .after.as_secs())]
    TimedOut {
        /// What it should have done.
        what: &'static str,
        /// How long that may take.
        after: Duration,
    },
    /// A message, or a part of it, is larger than the broker takes.
    #[error("{what} has {bytes} bytes; this broker takes at most {limit}")]
    TooLarge {
        /// What it is.
        what: String,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// No running pubbot listens on the Unix socket of its embedded broker.
    #[error("nobody listens on {path}: no `pubbot up` is running there")]
    NotRunning {
        /// The socket's path.
        path: String,
    },
    /// This can't be had through the Unix socket of an embedded broker.
    #[error("{0} can't be had from another process: the embedded broker keeps it to its own")]
    NotFromOutside(&'static str),
    /// The folder of an embedded broker's queues can't be used.
    #[error("the queues' folder {folder} can't be used: {why}")]
    Folder {
        /// Its path.
        folder: String,
        /// What the system says.
        why: String,
    },
    /// The embedded broker was to have messages on the disk before it accepts them, and the disk can't be written. If
    /// that was found out only now, it has the message in memory, and delivers it all the same.
    #[error("the disk can't be written: messages are not accepted")]
    NotOnDisk,
    /// The broker was closed by us.
    #[error("the connection to the broker was closed")]
    Closed,
}
