//! Events on their way to the broker. Whoever puts one in never waits: the queue is bounded, and what doesn't fit is
//! dropped, counted and said so. A task of its own publishes them in order, many at a time, until each is confirmed.
//!
//! For now in memory: what is not confirmed when the process ends is gone.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bus::{Broker, Confirm, Message};
use futures_util::FutureExt;
use protocol::Event;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::APP_ID;

/// How many events wait for a broker that is away: at 10 lines/s for a quarter of an hour.
const QUEUED_EVENTS: usize = 10_000;
/// How many published events may be unconfirmed: as many as a broker takes (`Broker::publish`).
const UNCONFIRMED_EVENTS: usize = 1_000;
/// The pause before everything unconfirmed is published again; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where a session puts its events.
pub(crate) struct Outbox {
    queue: mpsc::Sender<Event>,
    courier: AbortOnDropHandle<usize>,
    give_up: CancellationToken,
    network: String,
    /// Events dropped since the queue was last seen to have room.
    dropped: u64,
}

impl Outbox {
    /// An outbox for one network's events, which carry `reply_to`.
    pub fn open(broker: Arc<dyn Broker>, network: &str, reply_to: String) -> Self {
        let (queue, events) = mpsc::channel(QUEUED_EVENTS);
        let give_up = CancellationToken::new();
        let courier = Courier::new(broker, network, reply_to, events).run(give_up.clone());
        let courier = AbortOnDropHandle::new(tokio::spawn(courier));
        Outbox { queue, courier, give_up, network: network.to_owned(), dropped: 0 }
    }

    /// Puts an event in; drops it when the queue is full.
    pub fn put(&mut self, event: Event) {
        match self.queue.try_send(event) {
            Ok(()) => self.note_room(),
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => self.note_dropped(),
        }
    }

    /// Puts an event in as soon as there is room.
    pub async fn put_patiently(&mut self, event: Event) {
        if self.queue.send(event).await.is_err() {
            self.note_dropped();
        }
    }

    /// Waits until every event is confirmed, or time is up: then tells how many are lost.
    pub async fn close(self, within: Duration) -> Result<(), usize> {
        let Outbox { queue, mut courier, give_up, .. } = self;
        drop(queue);
        let outcome = match tokio::time::timeout(within, &mut courier).await {
            Ok(outcome) => outcome,
            Err(_) => {
                give_up.cancel();
                courier.await
            }
        };
        match outcome {
            Ok(0) => Ok(()),
            Ok(lost) => Err(lost),
            Err(panic) => std::panic::resume_unwind(Box::new(panic)),
        }
    }

    fn note_dropped(&mut self) {
        self.dropped += 1;
        if self.dropped == 1 {
            tracing::error!(network = self.network, "{QUEUED_EVENTS} events wait for the broker: dropping events");
        }
    }

    fn note_room(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            tracing::warn!(network = self.network, dropped, "there is room for events again");
        }
    }
}

/// Publishes what is in the queue.
struct Courier {
    broker: Arc<dyn Broker>,
    network: String,
    reply_to: String,
    queue: mpsc::Receiver<Event>,
    unconfirmed: VecDeque<(Event, Confirm)>,
    /// Events taken from the queue and not confirmed.
    held: usize,
    /// The next pause; `None` while all is well.
    pause: Option<Duration>,
}

impl Courier {
    fn new(broker: Arc<dyn Broker>, network: &str, reply_to: String, queue: mpsc::Receiver<Event>) -> Self {
        let (network, unconfirmed) = (network.to_owned(), VecDeque::new());
        Courier { broker, network, reply_to, queue, unconfirmed, held: 0, pause: None }
    }

    /// Delivers until the queue is closed and empty. How many events were left when it had to give up.
    async fn run(mut self, give_up: CancellationToken) -> usize {
        tokio::select! {
            () = self.deliver() => 0,
            () = give_up.cancelled() => self.held + self.queue.len(),
        }
    }

    async fn deliver(&mut self) {
        let mut open = true;
        while open || !self.unconfirmed.is_empty() {
            let room = self.unconfirmed.len() < UNCONFIRMED_EVENTS;
            tokio::select! {
                biased;
                outcome = oldest(&mut self.unconfirmed), if !self.unconfirmed.is_empty() => self.settle(outcome).await,
                event = self.queue.recv(), if open && room => match event {
                    Some(event) => {
                        self.held += 1;
                        self.publish(event).await;
                    }
                    None => open = false,
                },
            }
        }
    }

    async fn publish(&mut self, event: Event) {
        let message = Message::event(event.clone(), APP_ID, Some(&self.reply_to));
        let confirm = self.broker.publish(message).await;
        self.unconfirmed.push_back((event, confirm));
    }

    /// Settles the oldest unconfirmed event.
    async fn settle(&mut self, outcome: Result<(), bus::Error>) {
        let Some((event, _)) = self.unconfirmed.pop_front() else { return };
        match outcome {
            Ok(()) => self.note_success(),
            Err(why @ bus::Error::TooLarge { .. }) => {
                // it never will be taken, and those behind it would wait for ever
                tracing::error!(network = self.network, key = event.key.as_str(), %why, "an event is dropped");
                self.held -= 1;
            }
            Err(why) => {
                self.pause_after(&why).await;
                self.publish_again(event).await;
            }
        }
    }

    /// Publishes an event that failed and all after it that are not yet confirmed, in their order.
    async fn publish_again(&mut self, failed: Event) {
        let later = std::mem::take(&mut self.unconfirmed);
        self.publish(failed).await;
        for (event, confirm) in later {
            match confirm.now_or_never() {
                Some(Ok(())) => self.held -= 1,
                _ => self.publish(event).await,
            }
        }
    }

    async fn pause_after(&mut self, why: &bus::Error) {
        let pause = self.pause.unwrap_or(FIRST_PAUSE);
        if self.pause.is_none() {
            tracing::warn!(network = self.network, %why, "an event was not taken: trying again until it is");
        }
        self.pause = Some((pause * 2).min(LONGEST_PAUSE));
        tokio::time::sleep(pause).await;
    }

    fn note_success(&mut self) {
        self.held -= 1;
        if self.pause.take().is_some() {
            tracing::info!(network = self.network, "events are taken again");
        }
    }
}

/// What the broker says of the oldest unconfirmed event.
async fn oldest(unconfirmed: &mut VecDeque<(Event, Confirm)>) -> Result<(), bus::Error> {
    poll_fn(|cx| match unconfirmed.front_mut() {
        Some((_, confirm)) => Pin::new(confirm).poll(cx),
        None => Poll::Pending,
    })
    .await
}
