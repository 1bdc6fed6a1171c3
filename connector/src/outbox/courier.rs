//! Publishes what is in the store: in order, pipelined, again until it is confirmed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bus::{Broker, Confirm, Cursor, Message};
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::store::{Store, Waiting};
use crate::APP_ID;

/// How many published events may be unconfirmed: fewer than the 1,000 messages that a broker takes (`Broker::publish`), so
/// that what else the process publishes, as the speaker its memory, doesn't wait behind a backlog of events.
const UNCONFIRMED_EVENTS: usize = 900;
/// The pause before everything unconfirmed is published again; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// With nothing to do for so long, it looks for what another process left that has died meanwhile.
const ADOPT_AFTER: Duration = Duration::from_secs(10);

/// Publishes what is in the store.
pub(super) struct Courier {
    broker: Arc<dyn Broker>,
    network: String,
    reply_to: String,
    store: Arc<Store>,
    cursor: Cursor,
    /// Taken from the store, and not yet published.
    waiting: VecDeque<Waiting>,
    unconfirmed: VecDeque<Published>,
    /// The next pause; `None` while all is well.
    pause: Option<Duration>,
}

struct Published {
    waiting: Waiting,
    /// `None`: the broker has it.
    confirm: Option<Confirm>,
}

impl Courier {
    pub fn new(broker: Arc<dyn Broker>, network: &str, reply_to: &str, store: Arc<Store>) -> Self {
        Courier {
            broker,
            network: network.to_owned(),
            reply_to: reply_to.to_owned(),
            store,
            cursor: Cursor::default(),
            waiting: VecDeque::new(),
            unconfirmed: VecDeque::new(),
            pause: None,
        }
    }

    /// Delivers until the store is closed and empty, or it is told to give up.
    pub async fn run(mut self, give_up: CancellationToken) {
        tokio::select! {
            () = self.deliver() => {}
            () = give_up.cancelled() => {
                let events = self.store.in_journal();
                if events > 0 {
                    tracing::info!(network = self.network, events, "events stay in the journal until the next start");
                }
            }
        }
    }

    async fn deliver(&mut self) {
        loop {
            // asked first: what was put in before the end is then seen
            let closed = self.store.is_closed();
            if self.waiting.is_empty() {
                self.take().await;
            }
            let (room, none) = (self.unconfirmed.len() < UNCONFIRMED_EVENTS, self.waiting.is_empty());
            if none && self.unconfirmed.is_empty() && closed {
                return;
            }
            tokio::select! {
                biased;
                outcome = oldest(&mut self.unconfirmed), if !self.unconfirmed.is_empty() => self.settle(outcome).await,
                () = std::future::ready(()), if room && !none => self.publish_next().await,
                () = self.store.news(), if none => {}
                () = tokio::time::sleep(ADOPT_AFTER), if none && self.store.adopts() => self.store.adopt(),
            }
        }
    }

    /// Takes the next events from the store, if there are any.
    async fn take(&mut self) {
        match self.store.take(&mut self.cursor) {
            Ok(waiting) => self.waiting = waiting,
            Err(why) => {
                tracing::error!(network = self.network, %why, "the journal can't be read: trying again");
                tokio::time::sleep(LONGEST_PAUSE).await;
            }
        }
    }

    async fn publish_next(&mut self) {
        if let Some(waiting) = self.waiting.pop_front() {
            self.publish(waiting).await;
        }
    }

    async fn publish(&mut self, waiting: Waiting) {
        let message = Message::event_on(&self.network, waiting.event.clone(), APP_ID, Some(&self.reply_to));
        let confirm = Some(self.broker.publish(message).await);
        self.unconfirmed.push_back(Published { waiting, confirm });
    }

    /// Settles the oldest unconfirmed event.
    async fn settle(&mut self, outcome: Result<(), bus::Error>) {
        let Some(Published { waiting, .. }) = self.unconfirmed.pop_front() else { return };
        match outcome {
            Ok(()) => self.note_success(&waiting),
            Err(why @ bus::Error::TooLarge { .. }) => {
                // it never will be taken, and those behind it would wait for ever
                let key = waiting.event.key.as_str();
                tracing::error!(network = self.network, key, %why, "an event is dropped");
                self.store.confirm(waiting.number);
            }
            Err(why) => {
                self.pause_after(&why).await;
                self.publish_again(waiting).await;
            }
        }
    }

    /// Publishes an event that failed and all after it that are not yet confirmed, in their order.
    async fn publish_again(&mut self, failed: Waiting) {
        let later = std::mem::take(&mut self.unconfirmed);
        self.publish(failed).await;
        for Published { waiting, confirm } in later {
            let confirmed = match confirm {
                Some(confirm) => matches!(confirm.now_or_never(), Some(Ok(()))),
                None => true,
            };
            match confirmed {
                // it is told only after those before it
                true => self.unconfirmed.push_back(Published { waiting, confirm: None }),
                false => self.publish(waiting).await,
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

    fn note_success(&mut self, waiting: &Waiting) {
        self.store.confirm(waiting.number);
        if self.pause.take().is_some() {
            tracing::info!(network = self.network, "events are taken again");
        }
    }
}

/// What the broker says of the oldest unconfirmed event.
async fn oldest(unconfirmed: &mut VecDeque<Published>) -> Result<(), bus::Error> {
    poll_fn(|cx| match unconfirmed.front_mut() {
        Some(Published { confirm: Some(confirm), .. }) => Pin::new(confirm).poll(cx),
        Some(Published { confirm: None, .. }) => Poll::Ready(Ok(())),
        None => Poll::Pending,
    })
    .await
}
