//! The consuming half: for each consumer a channel of its own and a task that owns it. The task forwards deliveries,
//! settles them, and sets everything up again when the channel, the queue or the connection is lost.
//!
//! Delivery tags belong to one channel, and so does the way back for settlements: what is settled after the channel is
//! gone goes nowhere, and the broker delivers it again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::{FieldTable, ShortString};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::connection::{ANSWER_WITHIN, close_channel, explain};
use super::declare;
use super::delivery::delivery;
use super::ledger::{Frame, Ledger};
use super::link::{Link, Live};
use super::ordered::Partition;
use crate::{Delivery, Error, Outcome, Queue, Settle, Topology};

/// How long a frame may take to leave: longer means a connection that is no longer one.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// Settlements taken at once, at most: it bounds how long deliveries wait behind them.
const SETTLE_AT_ONCE: usize = 1_024;
/// How long a channel stays open after the last settlement left. RabbitMQ 3.10 passes settlements on to a quorum queue
/// a few at a time, and forgets the rest when the channel is closed: messages that were acknowledged come again.
const LINGER: Duration = Duration::from_millis(500);
/// How long the user may take to settle what it has of a partition that goes to another worker.
const FINISH_WITHIN: Duration = Duration::from_secs(30);
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
        let qos = channel.basic_qos(self.prefetch.max(1), BasicQosOptions { global: false });
        connection.answer("limit the prefetch", qos).await?;
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
        let (settle, settlements) = mpsc::unbounded_channel();
        let settle: Arc<dyn Settle> = Arc::new(WayBack(settle));
        let mut settler = Settler::new(channel, settlements);
        let mut link = self.link.clone();
        let end = tokio::select! {
            end = forward(&mut deliveries, &queue, &sender, &settle) => end,
            end = settler.run() => end,
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
        close_channel(&settler.channel).await;
        if settler.is_stuck {
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

/// Where the deliveries of one channel are settled; closed when the channel is gone.
struct WayBack(mpsc::UnboundedSender<(u64, Outcome)>);

impl Settle for WayBack {
    fn settle(&self, tag: u64, outcome: Outcome) {
        // an error means that the channel is gone: the broker delivers the message again
        self.0.send((tag, outcome)).ok();
    }

    fn is_current(&self) -> bool {
        !self.0.is_closed()
    }
}

/// Tells the broker what becomes of the deliveries of one channel.
struct Settler {
    channel: Channel,
    settlements: mpsc::UnboundedReceiver<(u64, Outcome)>,
    ledger: Ledger,
    last_sent: Option<Instant>,
    is_stuck: bool,
    /// The channel is to be closed, which gives back everything that is open, in order.
    gives_back: bool,
}

impl Settler {
    fn new(channel: Channel, settlements: mpsc::UnboundedReceiver<(u64, Outcome)>) -> Self {
        let (ledger, last_sent) = (Ledger::new(), None);
        Settler { channel, settlements, ledger, last_sent, is_stuck: false, gives_back: false }
    }

    /// Settles until every delivery is settled and no more can come, or the channel breaks.
    async fn run(&mut self) -> End {
        let mut batch = Vec::new();
        while self.settlements.recv_many(&mut batch, SETTLE_AT_ONCE).await > 0 {
            if let Err(why) = self.settle(&mut batch).await {
                return End::Fault(why);
            }
        }
        End::Dropped
    }

    async fn settle(&mut self, batch: &mut Vec<(u64, Outcome)>) -> Result<(), String> {
        if self.gives_back {
            batch.retain(|(_, outcome)| *outcome != Outcome::Requeue);
        }
        let mut frames: Vec<Frame> =
            batch.drain(..).filter_map(|(tag, outcome)| self.ledger.settle(tag, outcome)).collect();
        frames.extend(self.ledger.acks());
        self.send(frames).await
    }

    /// Sends the frames in order, and waits until they have left.
    async fn send(&mut self, frames: Vec<Frame>) -> Result<(), String> {
        if !frames.is_empty() {
            self.last_sent = Some(Instant::now());
        }
        let mut leaving = Vec::new();
        for frame in frames {
            let mut sent = Box::pin(send(self.channel.clone(), frame));
            // the first poll queues the frame; all of them leave together
            match sent.as_mut().now_or_never() {
                Some(sent) => sent.map_err(|why| explain(&why))?,
                None => leaving.push(sent),
            }
        }
        let all = async {
            for sent in leaving {
                sent.await?;
            }
            Ok(())
        };
        match timeout(SETTLE_WITHIN, all).await {
            Ok(sent) => sent.map_err(|why: lapin::Error| explain(&why)),
            Err(_) => {
                self.is_stuck = true;
                Err("acknowledgements do not leave".to_owned())
            }
        }
    }

    /// Waits until the broker has passed on what was settled last.
    async fn linger(&self) {
        if let Some(sent) = self.last_sent {
            tokio::time::sleep_until(sent + LINGER).await;
        }
    }

    /// Settles what waits for it now.
    async fn settle_waiting(&mut self) {
        let mut batch = Vec::new();
        while let Ok(settlement) = self.settlements.try_recv() {
            batch.push(settlement);
        }
        if let Err(why) = self.settle(&mut batch).await {
            tracing::debug!(why, "what was settled last is delivered again");
        }
    }

    /// Waits until everything is settled that the user has of a partition: until then, the channel stays open, and so
    /// the next worker gets nothing.
    async fn finish(&mut self, queue: &str, stop: &CancellationToken) {
        self.gives_back = true;
        tokio::select! {
            finished = timeout(FINISH_WITHIN, self.run()) => if finished.is_err() {
                tracing::warn!(queue, "events of a partition that goes to another worker are still worked on");
            },
            () = stop.cancelled() => self.settle_waiting().await,
        }
    }

    /// After the user dropped the consumer: takes no more, gives back what the user never saw, and settles what is
    /// still being worked on.
    async fn wind_up(&mut self, deliveries: &mut lapin::Consumer, stop: &CancellationToken) {
        let cancelled = self.channel.basic_cancel(deliveries.tag(), BasicCancelOptions::default());
        if !matches!(timeout(ANSWER_WITHIN, cancelled).await, Ok(Ok(()))) {
            return;
        }
        let mut unseen = Vec::new();
        while let Some(Some(Ok(delivery))) = deliveries.next().now_or_never() {
            unseen.push((delivery.delivery_tag, Outcome::Requeue));
        }
        if self.settle(&mut unseen).await.is_err() {
            return;
        }
        tokio::select! {
            _ = self.run() => {}
            () = stop.cancelled() => self.settle_waiting().await,
        }
    }
}

async fn send(channel: Channel, frame: Frame) -> lapin::Result<()> {
    let ack = |multiple| BasicAckOptions { multiple };
    match frame {
        Frame::Ack(tag) => channel.basic_ack(tag, ack(false)).await,
        Frame::AckUpTo(tag) => channel.basic_ack(tag, ack(true)).await,
        Frame::Requeue(tag) => channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await,
        Frame::Bury(tag) => channel.basic_reject(tag, BasicRejectOptions { requeue: false }).await,
    }
}
