//! Settling: what becomes of the deliveries of one channel is told to the broker, in as few frames as it takes; and whoever
//! has to know is told when the broker knows.
//!
//! Delivery tags belong to one channel, and so does the way back for settlements: what is settled after the channel is
//! gone goes nowhere, and the broker delivers it again.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{ANSWER_WITHIN, explain};
use super::ledger::{Frame, Ledger};
use crate::{Error, Outcome, Settle};

/// How long a frame may take to leave: longer means a connection that is no longer one.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// Settlements taken at once, at most: it bounds how long deliveries wait behind them.
const SETTLE_AT_ONCE: usize = 1_024;
/// How many settlements RabbitMQ passes on to a quorum queue before the queue has written the first of them down
/// (`quorum_commands_soft_limit`). The channel keeps further ones, and forgets them when it is closed: messages that were
/// acknowledged come again.
const PASSED_ON: usize = 32;
/// After how long all of them have been written down. So long a channel stays open after the last settlement left.
const LINGER: Duration = Duration::from_millis(500);
/// How long the user may take to settle what it has of a partition that goes to another worker.
const FINISH_WITHIN: Duration = Duration::from_secs(30);

/// What a settler is asked.
enum Request {
    Settle(u64, Outcome),
    /// To answer when the broker knows of all that was settled before.
    Answer(oneshot::Sender<()>),
}

/// The settlers of all channels of one broker that are there now.
#[derive(Clone, Default)]
pub(super) struct Settlers(Arc<Mutex<Vec<mpsc::WeakUnboundedSender<Request>>>>);

impl Settlers {
    /// One for a channel that has this prefetch, and the way to it for the channel's deliveries.
    pub(super) fn settler(&self, channel: Channel, prefetch: u16) -> (Arc<dyn Settle>, Settler) {
        let (sender, requests) = mpsc::unbounded_channel();
        let mut settlers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        settlers.retain(|settler| settler.strong_count() > 0);
        settlers.push(sender.downgrade());
        (Arc::new(WayBack(sender)), Settler::new(channel, prefetch, requests))
    }

    /// Waits until the broker knows of all that was settled. A channel that ends meanwhile has nothing more to tell: of
    /// what the broker did not know, it delivers again what is there still.
    ///
    /// # Errors
    /// [`Error::TimedOut`].
    pub(super) async fn settled(&self) -> Result<(), Error> {
        let answers = {
            let settlers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            join_all(settlers.iter().filter_map(mpsc::WeakUnboundedSender::upgrade).map(ask))
        };
        let timed_out = |_| Error::TimedOut { what: "say that it knows what was settled", after: ANSWER_WITHIN };
        timeout(ANSWER_WITHIN, answers).await.map(drop).map_err(timed_out)
    }
}

/// Asks now; an error means that the settler has gone.
fn ask(settler: mpsc::UnboundedSender<Request>) -> oneshot::Receiver<()> {
    let (answer, answered) = oneshot::channel();
    settler.send(Request::Answer(answer)).ok();
    answered
}

/// Limits how many deliveries of a consumer are unsettled.
pub(super) fn limit(channel: &Channel, prefetch: u16) -> impl Future<Output = lapin::Result<()>> {
    channel.basic_qos(prefetch.max(1), BasicQosOptions { global: false })
}

/// Where the deliveries of one channel are settled; closed when the channel is gone.
struct WayBack(mpsc::UnboundedSender<Request>);

impl Settle for WayBack {
    fn settle(&self, tag: u64, outcome: Outcome) {
        // an error means that the channel is gone: the broker delivers the message again
        self.0.send(Request::Settle(tag, outcome)).ok();
    }

    fn is_current(&self) -> bool {
        !self.0.is_closed()
    }
}

/// Tells the broker what becomes of the deliveries of one channel.
pub(super) struct Settler {
    channel: Channel,
    prefetch: u16,
    requests: mpsc::UnboundedReceiver<Request>,
    ledger: Ledger,
    /// When the last frames left, [`PASSED_ON`] at most.
    sent: VecDeque<Instant>,
    /// The broker knows of all frames.
    is_known: bool,
    is_stuck: bool,
    /// The channel is to be closed, which gives back everything that is open, in order.
    gives_back: bool,
}

impl Settler {
    fn new(channel: Channel, prefetch: u16, requests: mpsc::UnboundedReceiver<Request>) -> Self {
        let (ledger, sent) = (Ledger::new(), VecDeque::new());
        Settler { channel, prefetch, requests, ledger, sent, is_known: true, is_stuck: false, gives_back: false }
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The connection seems to be none any more.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Settles until every delivery is settled and no more can come.
    ///
    /// # Errors
    /// When the channel breaks: what is wrong with it.
    pub(super) async fn run(&mut self) -> Result<(), String> {
        let mut batch = Vec::new();
        while self.requests.recv_many(&mut batch, SETTLE_AT_ONCE).await > 0 {
            self.work_through(&mut batch).await?;
        }
        Ok(())
    }

    async fn work_through(&mut self, batch: &mut Vec<Request>) -> Result<(), String> {
        let (mut frames, mut askers) = (Vec::new(), Vec::new());
        for request in batch.drain(..) {
            match request {
                Request::Settle(_, Outcome::Requeue) if self.gives_back => {}
                Request::Settle(tag, outcome) => frames.extend(self.ledger.settle(tag, outcome)),
                Request::Answer(answer) => askers.push(answer),
            }
        }
        frames.extend(self.ledger.acks());
        self.send(frames).await?;
        if !askers.is_empty() {
            self.make_known().await?;
        }
        for asker in askers {
            // an error means that nobody waits for it any more
            asker.send(()).ok();
        }
        Ok(())
    }

    /// Sends the frames in order, and waits until they have left.
    async fn send(&mut self, frames: Vec<Frame>) -> Result<(), String> {
        let mut leaving = Vec::new();
        for frame in frames {
            self.note_sent();
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

    fn note_sent(&mut self) {
        self.is_known = false;
        if self.sent.len() == PASSED_ON {
            self.sent.pop_front();
        }
        self.sent.push_back(Instant::now());
    }

    /// Waits until the queue will hear of everything that was sent, whatever happens to us: when the broker's end of the
    /// channel has answered, it has worked through all before that, and passed it on, but for what it may keep.
    async fn make_known(&mut self) -> Result<(), String> {
        if self.is_known {
            return Ok(());
        }
        match timeout(ANSWER_WITHIN, limit(&self.channel, self.prefetch)).await {
            Ok(answer) => answer.map_err(|why| explain(&why))?,
            Err(_) => {
                self.is_stuck = true;
                return Err("the broker does not answer".to_owned());
            }
        }
        if self.may_keep_some() {
            self.linger().await;
        }
        self.is_known = true;
        Ok(())
    }

    /// The broker's end of the channel may have more settlements than it passes on at once.
    fn may_keep_some(&self) -> bool {
        self.sent.len() == PASSED_ON && self.sent.front().is_some_and(|first| first.elapsed() < LINGER)
    }

    /// Waits until the broker has passed on what was settled last.
    pub(super) async fn linger(&self) {
        if let Some(last) = self.sent.back() {
            tokio::time::sleep_until(*last + LINGER).await;
        }
    }

    /// Settles what waits for it now.
    pub(super) async fn settle_waiting(&mut self) {
        let mut batch = Vec::new();
        while let Ok(request) = self.requests.try_recv() {
            batch.push(request);
        }
        if let Err(why) = self.work_through(&mut batch).await {
            tracing::debug!(why, "what was settled last is delivered again");
        }
    }

    /// Waits until everything is settled that the user has of a partition: until then, the channel stays open, and so
    /// the next worker gets nothing.
    pub(super) async fn finish(&mut self, queue: &str, stop: &CancellationToken) {
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
    pub(super) async fn wind_up(&mut self, deliveries: &mut lapin::Consumer, stop: &CancellationToken) {
        let cancelled = self.channel.basic_cancel(deliveries.tag(), BasicCancelOptions::default());
        if !matches!(timeout(ANSWER_WITHIN, cancelled).await, Ok(Ok(()))) {
            return;
        }
        let mut unseen = Vec::new();
        while let Some(Some(Ok(delivery))) = deliveries.next().now_or_never() {
            unseen.push(Request::Settle(delivery.delivery_tag, Outcome::Requeue));
        }
        if self.work_through(&mut unseen).await.is_err() {
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
