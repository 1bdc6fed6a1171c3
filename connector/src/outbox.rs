//! Events on their way to the broker. Whoever puts one in never waits: it is appended to a journal on disk, from which
//! a task of its own publishes in order, many at a time, until each is confirmed. The journal outlives the process, and
//! a broker that is away. Past its limit, what people do without is refused first, and then everything; what was
//! refused is counted, and told in an event of its own when there is room again.
//!
//! A broker in this process is a journal itself: events go straight into it.

mod courier;
mod record;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, JournalSettings, Message};
use futures_util::FutureExt;
use protocol::{Ambient, Event};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::courier::Courier;
use self::store::{Put, Store};
use crate::APP_ID;

/// Where a session puts its events.
pub(crate) struct Outbox {
    broker: Arc<dyn Broker>,
    network: String,
    reply_to: String,
    store: Arc<Store>,
    courier: AbortOnDropHandle<()>,
    give_up: CancellationToken,
}

impl Outbox {
    /// An outbox for one network's events, which ask for replies to that network's queue. Without a journal, events
    /// wait in memory, unless the broker takes them at once. A journal that can't be used is told and tried again.
    pub fn open(
        broker: Arc<dyn Broker>,
        ambient: Arc<dyn Ambient>,
        proto: &str,
        network: &str,
        journal: Option<JournalSettings>,
    ) -> Self {
        let reply_to = broker.topology().replies_name(proto, network);
        let store = Arc::new(Store::open(proto, network, ambient, journal));
        let give_up = CancellationToken::new();
        let courier = Courier::new(broker.clone(), network, &reply_to, store.clone());
        let courier = courier.run(give_up.clone());
        let courier = AbortOnDropHandle::new(tokio::spawn(courier));
        Outbox { broker, network: network.to_owned(), reply_to, store, courier, give_up }
    }

    /// Puts an event in. When it returns, the event is on disk or with the broker; else it is counted and told.
    pub fn put(&mut self, event: Event) {
        if let Some(event) = self.publish_at_once(event) {
            self.store.put(event);
        }
    }

    /// Puts an event in as soon as there is room.
    pub async fn put_patiently(&mut self, event: Event) {
        let Some(mut event) = self.publish_at_once(event) else { return };
        while let Put::Refused(refused) = self.store.try_put(event) {
            event = refused;
            self.store.room().await;
        }
    }

    /// Gives the event to a broker that takes it at once, unless others have to go before it. The event, if not.
    fn publish_at_once(&self, event: Event) -> Option<Event> {
        if !self.broker.takes_at_once() || !self.store.is_empty() {
            return Some(event);
        }
        let message = Message::event_on(&self.network, event.clone(), APP_ID, Some(&self.reply_to));
        // with no confirm yet, it is taken all the same, and waits only for the disk
        let taken = self.broker.publish(message).now_or_never().map(FutureExt::now_or_never);
        match taken {
            Some(None | Some(Ok(()))) => None,
            Some(Some(Err(_))) | None => Some(event),
        }
    }

    /// Waits until every event is confirmed, or time is up: then tells how many are lost. What is in a journal is not:
    /// it goes to the broker after the next start.
    pub async fn close(self, within: Duration) -> Result<(), usize> {
        let Outbox { store, mut courier, give_up, .. } = self;
        store.close();
        let outcome = match tokio::time::timeout(within, &mut courier).await {
            Ok(outcome) => outcome,
            Err(_) => {
                give_up.cancel();
                courier.await
            }
        };
        match (outcome, store.left()) {
            (Ok(()), 0) => Ok(()),
            (Ok(()), lost) => Err(lost),
            (Err(panic), _) => std::panic::resume_unwind(Box::new(panic)),
        }
    }
}
