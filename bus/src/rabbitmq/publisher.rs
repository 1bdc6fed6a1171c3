//! The publishing half: one task that always has a channel on the publishing connection, or waits for one. Messages go
//! out as fast as they come. While there is no channel they wait; those that nobody waits for any more are forgotten.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use protocol::Ambient;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::connection::close_channel;
use super::declare;
use super::declared::Declared;
use super::link::{Link, Live};
use super::sending::{Outgoing, Sending, UNCONFIRMED, Waiting};
use crate::{Confirm, Error, Message, Topology};

/// How often we look for messages whose sender no longer waits, and for a connection that confirms nothing.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long messages may still be confirmed after we were asked to close.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// Takes messages for the publishing task.
#[derive(Clone)]
pub(super) struct Publisher {
    outbox: mpsc::UnboundedSender<Outgoing>,
    /// A permit for each message that is not yet confirmed or given up: it bounds the outbox.
    room: Arc<Semaphore>,
}

impl Publisher {
    /// A publisher, and the task that has to run for it.
    pub(super) fn new(
        link: Link,
        topology: Topology,
        declared: Declared,
        ambient: Arc<dyn Ambient>,
        stop: CancellationToken,
    ) -> (Self, Courier) {
        let (outbox, inbox) = mpsc::unbounded_channel();
        let publisher = Publisher { outbox, room: Arc::new(Semaphore::new(UNCONFIRMED)) };
        (publisher, Courier { inbox, link, topology, declared, ambient, stop, waiting: Vec::new() })
    }

    /// Hands a message over; waits while there is no room.
    pub(super) async fn publish(&self, message: Message) -> Confirm {
        self.hand_over(message, None).await
    }

    /// The same, through a fanout exchange that is [declared](Declared::remember_fanout).
    pub(super) async fn publish_through(&self, exchange: String, message: Message) -> Confirm {
        self.hand_over(message, Some(exchange)).await
    }

    async fn hand_over(&self, message: Message, exchange: Option<String>) -> Confirm {
        let Ok(room) = self.room.clone().acquire_owned().await else { return Confirm::known(Err(Error::Closed)) };
        let (answer, answered) = oneshot::channel();
        let outgoing = Outgoing { message, exchange, waiting: Waiting::new(answer, room) };
        match self.outbox.send(outgoing) {
            Ok(()) => Confirm::awaited(answered),
            Err(_) => Confirm::known(Err(Error::Closed)),
        }
    }
}

/// The task behind a [`Publisher`].
pub(super) struct Courier {
    inbox: mpsc::UnboundedReceiver<Outgoing>,
    link: Link,
    topology: Topology,
    declared: Declared,
    ambient: Arc<dyn Ambient>,
    stop: CancellationToken,
    /// Taken from the inbox while nothing could be sent, in order.
    waiting: Vec<Outgoing>,
}

/// Why the courier stopped using a channel.
enum End {
    Closed,
    Broken,
}

impl Courier {
    /// Publishes until it is stopped and everything is confirmed, or time is up.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(self.ambient.clone());
        while let Some((live, channel)) = self.wait_for_channel(&mut backoff).await {
            let began = Instant::now();
            match self.serve(&live, channel).await {
                End::Closed => return,
                End::Broken if began.elapsed() > SWEEP_EVERY => backoff.reset(),
                End::Broken => {}
            }
            if self.pause(&mut backoff).await.is_none() {
                return;
            }
        }
    }

    /// A channel with confirms, as soon as there can be one; `None` when we are to close.
    async fn wait_for_channel(&mut self, backoff: &mut Backoff) -> Option<(Live, Channel)> {
        loop {
            let (mut link, topology, declared) = (self.link.clone(), self.topology.clone(), self.declared.clone());
            match self.sweeping(open_channel(&mut link, &topology, &declared)).await? {
                Ok(opened) => return Some(opened),
                Err(Error::Closed) => return None,
                Err(why @ Error::Away { .. }) => tracing::debug!(%why, "no channel to publish on yet"),
                Err(why) => tracing::warn!(%why, "no channel to publish on; trying again"),
            }
            self.pause(backoff).await?;
        }
    }

    async fn pause(&mut self, backoff: &mut Backoff) -> Option<()> {
        self.sweeping(tokio::time::sleep(backoff.pause())).await
    }

    /// Waits for something while nothing can be sent; `None` when we are to close.
    async fn sweeping<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        let stop = self.stop.clone();
        tokio::pin!(wait);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                done = &mut wait => return Some(done),
                () = self.sweep() => {}
            }
        }
    }

    /// While nothing can be sent: after a while forgets messages that nobody waits for any more.
    async fn sweep(&mut self) {
        tokio::time::sleep(SWEEP_EVERY).await;
        self.forget_what_is_over();
    }

    /// While nothing can be sent: makes room where nobody waits any more.
    fn forget_what_is_over(&mut self) {
        while let Ok(outgoing) = self.inbox.try_recv() {
            self.waiting.push(outgoing);
        }
        self.waiting.retain(|outgoing| !outgoing.waiting.is_over());
    }

    /// Publishes on one channel until it breaks or we are to close.
    async fn serve(&mut self, live: &Live, channel: Channel) -> End {
        let mut sending = Sending::new(live.clone(), channel, &self.topology, self.ambient.clone());
        let end = self.relay(live, &mut sending).await;
        match end {
            End::Broken => sending.fail(&self.link.away()),
            End::Closed => {
                sending.fail(&Error::Closed);
                close_channel(sending.channel()).await;
            }
        }
        end
    }

    async fn relay(&mut self, live: &Live, sending: &mut Sending) -> End {
        let mut link = self.link.clone();
        let lost = link.lost(live);
        let closing = drained(self.stop.clone());
        let mut sweep = interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(lost, closing);
        let mut batch = Vec::new();
        let mut open = true;
        loop {
            let may_leave = sending.room().min(self.waiting.len());
            self.waiting.drain(..may_leave).for_each(|outgoing| sending.send(outgoing));
            let stopped = !open || self.stop.is_cancelled();
            if stopped && self.inbox.is_empty() && self.waiting.is_empty() && sending.is_empty() {
                return End::Closed;
            }
            // first what waited before
            let room = if self.waiting.is_empty() { sending.room() } else { 0 };
            tokio::select! {
                biased;
                confirmed = sending.confirmed() => if sending.settle(confirmed).is_err() {
                    return End::Broken;
                },
                count = self.inbox.recv_many(&mut batch, room), if open && room > 0 => {
                    open = count > 0;
                    batch.drain(..).for_each(|outgoing| sending.send(outgoing));
                }
                () = &mut lost => return End::Broken,
                _ = sweep.tick() => {
                    if sending.sweep().is_err() {
                        live.give_up();
                        return End::Broken;
                    }
                    // a broker that is short of memory may take nothing for hours
                    if sending.room() == 0 {
                        self.forget_what_is_over();
                    }
                }
                () = self.stop.cancelled(), if !stopped => {}
                () = &mut closing => return End::Closed,
            }
        }
    }
}

/// Waits until we are to close, and then as long as messages may still be confirmed.
async fn drained(stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN_WITHIN).await;
}

async fn open_channel(link: &mut Link, topology: &Topology, declared: &Declared) -> Result<(Live, Channel), Error> {
    let live = link.live().await?;
    declared.redeclare_exchanges(&live, topology).await;
    let opening = async {
        let connection = &live.connection;
        let channel = connection.channel().await?;
        declare::exchange(connection, &channel, topology).await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        connection.answer("confirm messages", confirms).await?;
        Ok(channel)
    };
    match opening.await {
        Ok(channel) => Ok((live, channel)),
        Err(why) => {
            if matches!(why, Error::TimedOut { .. }) {
                live.doubt().await;
            }
            Err(why)
        }
    }
}
