//! The consuming half: for each consumer a channel of its own and a task that owns it. The task forwards deliveries, has
//! them settled, and sets everything up again when the channel, the queue or the connection is lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::BasicConsumeOptions;
use lapin::types::{FieldTable, ShortString};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::connection::{close_channel, explain};
use super::declare;
use super::delivery::delivery;
use super::link::{Link, Live};
use super::ordered::Partition;
use super::settler::{Settlers, limit};
use crate::{Delivery, Error, Queue, Settle, Topology};

/// A channel that lived this long was all right: the next one is opened without a long pause.
const STEADY: Duration = Duration::from_secs(10);

/// What is needed to consume, again and again.
#[derive(Clone)]
pub(super) struct Subscription {
    pub(super) queue: Queue,
    pub(super) prefetch: u16,
    pub(super) topology: Topology,
    pub(super) link: Link,
    pub(super) stop: CancellationToken,
    /// Where its channel can be asked what the broker knows.
    pub(super) settlers: Settlers,
    /// Of an ordered group.
    pub(super) partition: Option<Partition>,
}

/// One channel with its consumer.
pub(super) struct Incarnation {
    live: Live,
    channel: Channel,
    deliveries: lapin::Consumer,
}

/// Why a channel is no longer used.
enum End {
    /// The user dropped the consumer.
    Dropped,
    /// Another worker is to have the partition.
    GivenUp,
    /// We are to close.
    Stopped,
    /// It has to be set up again.
    Fault(String),
}

impl Subscription {
    /// Declares the queue and begins to consume from it.
    ///
    /// # Errors
    /// [`Error::OtherArguments`] or [`Error::Queue`] when the broker refuses the queue, [`Error::Away`] or [`Error::TimedOut`] when it breaks down
    /// or does not answer.
    pub(super) async fn begin(&self, live: Live) -> Result<Incarnation, Error> {
        let channel = live.connection.channel().await?;
        match self.consume(&live, &channel).await {
            Ok(deliveries) => Ok(Incarnation { live, channel, deliveries }),
            Err(why) => {
                close_channel(&channel).await;
                Err(why)
            }
        }
    }

    async fn consume(&self, live: &Live, channel: &Channel) -> Result<lapin::Consumer, Error> {
        let connection = &live.connection;
        let name = declare::queue(connection, channel, &self.topology, &self.queue).await?;
        if let Some(partition) = &self.partition {
            partition.group.bind(live, channel, partition.number).await?;
        }
        connection.answer("limit the prefetch", limit(channel, self.prefetch)).await?;
        let options = BasicConsumeOptions::default();
        let consume = channel.basic_consume(name, ShortString::default(), options, FieldTable::default());
        declare::answer(connection, &self.queue.name, "begin to deliver", consume).await
    }

    /// As [`run`](Self::run), after having begun.
    pub(super) async fn run_from_scratch(self, sender: mpsc::Sender<Delivery>, mut backoff: Backoff) {
        if let Some(first) = self.begin_until_over(&mut backoff, &sender).await {
            self.run(first, sender, backoff).await;
        }
    }

    /// Forwards and settles until the user drops the consumer or we are to close.
    pub(super) async fn run(mut self, first: Incarnation, mut sender: mpsc::Sender<Delivery>, mut backoff: Backoff) {
        let mut incarnation = first;
        loop {
            let began = Instant::now();
            let live = incarnation.live.clone();
            let Some((again, why)) = self.live_through(incarnation, sender).await else { return };
            sender = again;
            if live.connection.is_open() {
                tracing::warn!(queue = self.queue.name, why, "lost the consumer of a queue; setting it up again");
            }
            if began.elapsed() > STEADY {
                backoff.reset();
            }
            let Some(again) = self.begin_until_over(&mut backoff, &sender).await else { return };
            incarnation = again;
            tracing::info!(queue = self.queue.name, "consuming again");
        }
    }

    /// Tries until there is a consumer; `None` when nobody needs it any more.
    async fn begin_until_over(&self, backoff: &mut Backoff, sender: &mpsc::Sender<Delivery>) -> Option<Incarnation> {
        tokio::select! {
            begun = self.begin_again(backoff) => begun,
            () = sender.closed() => None,
            () = self.given_up() => None,
            () = self.stop.cancelled() => None,
        }
    }

    /// Waits until another worker is to have the partition.
    async fn given_up(&self) {
        match &self.partition {
            Some(partition) => partition.give_up.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Tries until there is a consumer; `None` when the connection was closed by us.
    async fn begin_again(&self, backoff: &mut Backoff) -> Option<Incarnation> {
        let mut link = self.link.clone();
        let mut said = String::new();
        loop {
            backoff.sleep().await;
            let live = link.live().await.ok()?;
            match self.begin(live.clone()).await {
                Ok(incarnation) => return Some(incarnation),
                Err(Error::Closed) => return None,
                Err(why @ Error::TimedOut { .. }) => {
                    tracing::warn!(queue = self.queue.name, "{why}; trying again");
                    live.doubt().await;
                }
                Err(why @ (Error::Queue { .. } | Error::OtherArguments { .. })) if said != why.to_string() => {
                    tracing::warn!("{why}; trying again");
                    said = why.to_string();
                }
                Err(why) => tracing::debug!(%why, "no consumer yet"),
            }
        }
    }

    /// Uses a channel until the user drops the consumer or we are to close; after a fault gives back the sender, and
    /// says what was wrong.
    async fn live_through(
        &mut self,
        incarnation: Incarnation,
        sender: mpsc::Sender<Delivery>,
    ) -> Option<(mpsc::Sender<Delivery>, String)> {
        let Incarnation { live, channel, mut deliveries } = incarnation;
        let queue = self.queue.name.as_str().into();
        let (settle, mut settler) = self.settlers.settler(channel, self.prefetch);
        let mut link = self.link.clone();
        let end = tokio::select! {
            end = forward(&mut deliveries, &queue, &sender, &settle) => end,
            end = settler.run() => end.map_or_else(End::Fault, |()| End::Dropped),
            () = link.lost(&live) => End::Fault("the connection ended".to_owned()),
            () = sender.closed() => End::Dropped,
            () = self.given_up() => End::GivenUp,
            () = self.stop.cancelled() => End::Stopped,
        };
        drop(settle);
        let fault = match end {
            End::Fault(why) => Some((sender, why)),
            End::Dropped | End::GivenUp if self.partition.is_some() => {
                drop(sender);
                tokio::select! {
                    () = settler.finish(&self.queue.name, &self.stop) => settler.linger().await,
                    () = link.lost(&live) => {}
                }
                None
            }
            End::Dropped | End::GivenUp => {
                // a delivery that was just being sent may be left in there: dropped with the sender, it is given back
                drop(sender);
                settler.wind_up(&mut deliveries, &self.stop).await;
                settler.linger().await;
                None
            }
            End::Stopped => {
                settler.settle_waiting().await;
                settler.linger().await;
                None
            }
        };
        close_channel(settler.channel()).await;
        if settler.is_stuck() {
            live.doubt().await;
        }
        fault
    }
}

/// Hands deliveries to the user, as many as there is room for.
async fn forward(
    deliveries: &mut lapin::Consumer,
    queue: &Arc<str>,
    sender: &mpsc::Sender<Delivery>,
    settle: &Arc<dyn Settle>,
) -> End {
    loop {
        let Ok(room) = sender.reserve().await else { return End::Dropped };
        match deliveries.next().await {
            Some(Ok(next)) => room.send(delivery(next, queue.clone(), settle.clone())),
            Some(Err(why)) => return End::Fault(explain(&why)),
            None => return End::Fault("the broker ended it: its queue was deleted, or moved".to_owned()),
        }
    }
}
