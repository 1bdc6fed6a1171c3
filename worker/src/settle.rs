//! The end of an event: its replies are confirmed, what failed is sent on its way (to be tried again, or to the dead
//! letters) and confirmed there, then it is remembered as done, and acknowledged last.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bus::mutants::{self, Mutant};
use bus::{DeadLetter, Delay, Delivery, Error, Message, Past};
use futures_util::FutureExt;

use crate::error::Failure;
use crate::publish::PUBLISH_WITHIN;
use crate::runner::{Runner, Work};

/// How often a message is sent to a broker that does not answer.
const TRIES: usize = 3;
/// How long to wait in between, and before an event is given back.
const PAUSE: Duration = Duration::from_secs(1);

impl Runner {
    /// Settles an event whose handlers have run. What has to be waited for is awaited beside the lane's next event, and
    /// not on the handlers' threads: of what the broker would begin there, nobody knows when it goes on.
    pub(crate) fn finish(self: &Arc<Self>, mut work: Box<Work>) {
        let Work { confirms, failures, .. } = &mut *work;
        confirms.retain_mut(|(handler, confirm)| match confirm.now_or_never() {
            None => true,
            Some(confirmed) => {
                failures.extend(confirmed.err().map(|why| (*handler, why.into())));
                false
            }
        });
        if confirms.is_empty() && failures.is_empty() {
            self.done(*work);
        } else {
            self.main.spawn(self.clone().settle(work));
        }
    }

    /// Remembers an event whose handlers have done all they had to, and acknowledges it.
    fn done(&self, work: Work) {
        self.seen.remember((work.event.id, work.only));
        work.delivery.acknowledge();
    }

    async fn settle(self: Arc<Self>, mut work: Box<Work>) {
        if mutants::is(Mutant::EarlyAcknowledgement) {
            let confirms = std::mem::take(&mut work.confirms).into_iter().map(|(_, confirm)| confirm);
            self.main.spawn(futures_util::future::join_all(confirms));
        }
        for (handler, confirm) in std::mem::take(&mut work.confirms) {
            if let Err(why) = confirm.await {
                work.failures.push((handler, why.into()));
            }
        }
        if work.failures.is_empty() {
            return self.done(*work);
        }
        // a handler fails once, whatever befell all its replies
        work.failures.sort_by_key(|(handler, _)| *handler);
        work.failures.dedup_by_key(|(handler, _)| *handler);
        let Work { delivery, event, only, failures, begun: _begun, .. } = *work;
        for (handler, failure) in failures {
            let attempts = Past::of(&delivery).attempts.saturating_add(1);
            let name = &self.handlers[handler].name;
            if let Err(why) = self.send_on(&delivery, name, attempts, &failure).await {
                return give_back(delivery, &why).await;
            }
        }
        // what is tried again by itself may not be taken for done when it comes
        if only.is_none() {
            self.seen.remember((event.id, only));
        }
        delivery.acknowledge();
    }

    /// Sends an event on its way that its only handler has failed on, and acknowledges it.
    pub(crate) async fn send_on_alone(&self, delivery: Delivery, name: &str, failure: &Failure) {
        let attempts = Past::of(&delivery).attempts.saturating_add(1);
        match self.send_on(&delivery, name, attempts, failure).await {
            Ok(()) => delivery.acknowledge(),
            Err(why) => give_back(delivery, &why).await,
        }
    }

    /// Sends an event on its way that a handler has failed on so often.
    async fn send_on(&self, delivery: &Delivery, name: &str, attempts: u32, failure: &Failure) -> Result<(), Error> {
        let again = usize::try_from(attempts).ok().and_then(|attempts| Delay::ALL.get(attempts.checked_sub(1)?));
        let count = self.counts.failed.fetch_add(1, Ordering::Relaxed) + 1;
        let (event, key) = (&delivery.properties.message_id, Past::of(delivery).key);
        let mut why = failure.to_string();
        if let Some(&after) = again.filter(|_| !failure.is_final()) {
            let wait = after.duration();
            tracing::warn!(
                handler = name,
                event,
                key,
                why,
                attempts,
                count,
                "a handler failed: it is tried again in {wait:?}"
            );
            match self.send(delivery, Message::retry(delivery, self.home(delivery), name, attempts, after)).await {
                Err(refused) if is_refusal(&refused) => why = format!("{why}; and it can't be tried again: {refused}"),
                sent => return sent,
            }
        }
        tracing::error!(
            handler = name,
            event,
            key,
            why,
            attempts,
            count,
            "a handler failed for good: its event is set aside with the dead letters"
        );
        let handler = Some(name.to_owned());
        let letter = DeadLetter { attempts, handler, ..DeadLetter::new(delivery, self.home(delivery), why) };
        self.send(delivery, Message::dead(self.broker.topology(), delivery, &letter)).await
    }

    /// Sets an event aside with the dead letters, and acknowledges it.
    pub(crate) async fn bury_with(&self, delivery: Delivery, letter: DeadLetter) {
        match self.send(&delivery, Message::dead(self.broker.topology(), &delivery, &letter)).await {
            Ok(()) => delivery.acknowledge(),
            Err(why) if is_refusal(&why) => {
                tracing::error!(key = &*delivery.key, %why, "a dead letter can't be written: the broker buries the event as it is");
                delivery.bury();
            }
            Err(why) => give_back(delivery, &why).await,
        }
    }

    /// Moves an event to another queue.
    pub(crate) async fn move_to(&self, delivery: Delivery, queue: &str) {
        match self.send(&delivery, Message::moved(&delivery, queue)).await {
            Ok(()) => delivery.acknowledge(),
            Err(why) => give_back(delivery, &why).await,
        }
    }

    /// Publishes what becomes of a delivery until it is confirmed, or refused, or the broker has had its chances.
    async fn send(&self, delivery: &Delivery, message: Message) -> Result<(), Error> {
        let mut tries = 1;
        loop {
            let sent = match tokio::time::timeout(PUBLISH_WITHIN, self.broker.publish(message.clone())).await {
                Ok(confirm) => confirm.await,
                Err(_) => Err(Error::TimedOut { what: "take a message", after: PUBLISH_WITHIN }),
            };
            match sent {
                Err(Error::Away { .. } | Error::TimedOut { .. } | Error::NotOnDisk)
                    if tries < TRIES || self.persists_with(delivery) =>
                {
                    tries += 1;
                }
                sent => return sent,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The broker is there and doesn't want this message.
fn is_refusal(why: &Error) -> bool {
    matches!(why, Error::Unroutable(_) | Error::Full(_) | Error::TooLarge { .. })
}

/// Gives an event back that can be neither finished nor sent on.
async fn give_back(delivery: Delivery, why: &Error) {
    tracing::warn!(key = &*delivery.key, %why, "an event can't be settled: it is given back");
    tokio::time::sleep(PAUSE).await;
    delivery.requeue();
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Mutex, PoisonError};

    use async_trait::async_trait;
    use bus::{Address, Broker, Confirm, Consumer, Embedded, Lock, Properties, Queue, Topology};
    use bytes::Bytes;
    use protocol::RoutingKey;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Plugin, State, Worker, event};

    /// When it ran, in whole seconds since the beginning.
    type Runs = Arc<(Instant, Mutex<Vec<u64>>)>;

    async fn fails(runs: State<Runs>) -> Result<(), crate::Error> {
        let seconds = runs.0.0.elapsed().as_secs();
        runs.0.1.lock().unwrap_or_else(PoisonError::into_inner).push(seconds);
        Err(std::io::Error::other("no disk").into())
    }

    #[tokio::test(start_paused = true)]
    async fn the_pauses_between_tries_are_1_s_10_s_60_s_and_10_min() {
        let broker = Embedded::new(Topology::default());
        let mut dead = broker.consume(broker.topology().dead(), 1).await.unwrap();
        let runs: Runs = Arc::new((Instant::now(), Mutex::default()));
        let worker = Worker::new("main").plugin(Plugin::new("p").state(runs.clone()).on(event("a"), fails)).here();
        let attached = worker.attach(Arc::new(broker.clone())).await.unwrap();
        tokio::spawn(attached.work(CancellationToken::new()));
        let event = protocol::Event::new(RoutingKey::parse("a").unwrap(), uuid::Uuid::nil(), &serde_json::json!({}));
        broker.publish(Message::event(event.unwrap(), "test", None)).await.await.unwrap();
        let letter = dead.next().await.unwrap();
        assert_eq!(*runs.1.lock().unwrap(), [0, 1, 11, 71, 671]);
        let expected = DeadLetter {
            error: Some("no disk".into()),
            attempts: 5,
            handler: Some("main/p/fails".into()),
            key: "a".into(),
            queue: Some("pubbot.worker.main".into()),
        };
        assert_eq!(DeadLetter::read(&letter), expected);
        assert_ne!(letter.properties, Properties::default());
    }

    /// A broker that takes nothing for so many dead letters.
    struct Away(Embedded, AtomicUsize);

    #[async_trait]
    impl Broker for Away {
        fn topology(&self) -> &Topology {
            self.0.topology()
        }
        async fn publish(&self, message: Message) -> Confirm {
            let dead = matches!(&message.to, Address::Queue(name) if *name == self.topology().dead().name);
            let left = |left: usize| left.checked_sub(1);
            if dead && self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok() {
                return Confirm::known(Err(Error::TimedOut { what: "confirm a message", after: PAUSE }));
            }
            self.0.publish(message).await
        }
        async fn declare(&self, queue: Queue) -> Result<(), Error> {
            self.0.declare(queue).await
        }
        async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Consumer, Error> {
            self.0.consume(queue, prefetch).await
        }
        async fn depth(&self, queue: &str) -> Result<Option<u64>, Error> {
            self.0.depth(queue).await
        }
        async fn read_stream(&self, stream: Queue) -> Result<Vec<Bytes>, Error> {
            self.0.read_stream(stream).await
        }
        async fn lock(&self, name: &str) -> Result<Lock, Error> {
            self.0.lock(name).await
        }
        async fn close(&self) {
            self.0.close().await;
        }
    }

    async fn gives_up() -> Result<(), crate::Error> {
        Err(crate::Error::give_up("no"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspect_is_not_given_back_while_the_broker_does_not_answer() {
        let inner = Embedded::new(Topology::default());
        let mut dead = inner.consume(inner.topology().dead(), 1).await.unwrap();
        let suspects = inner.topology().suspect("main");
        inner.declare(suspects.clone()).await.unwrap();
        let event = protocol::Event::new(RoutingKey::parse("a").unwrap(), uuid::Uuid::nil(), &serde_json::json!({}));
        let mut message = Message::event(event.unwrap(), "test", None);
        message.to = Address::Queue(suspects.name.clone());
        message.properties.headers.insert("key".into(), "a".into());
        inner.publish(message).await.await.unwrap();
        let broker = Arc::new(Away(inner.clone(), AtomicUsize::new(TRIES * 4)));
        let worker = Worker::new("main").plugin(Plugin::new("p").on(crate::event("a"), gives_up)).here();
        tokio::spawn(worker.attach(broker).await.unwrap().work(CancellationToken::new()));
        let letter = DeadLetter::read(&dead.next().await.unwrap());
        assert_eq!(letter.error.as_deref(), Some("no"), "it has killed nobody");
    }
}
