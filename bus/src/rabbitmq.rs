//! RabbitMQ (3.10 and 4.x), over AMQP 0-9-1. Nothing else in pubbot names the client library.
//!
//! Two connections: one publishes, another consumes, so that a broker which takes no more messages still takes
//! acknowledgements. A third one has the locks, once there is one to be had. Each is supervised here and opened again when it breaks, its channels with it; what the topology
//! says is declared again each time.

mod backoff;
mod connection;
mod consumer;
mod declare;
mod declared;
mod delivery;
mod ledger;
mod link;
mod lock;
mod ordered;
mod place;
mod properties;
mod publisher;
mod refusal;
mod sending;
mod settler;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use protocol::{Ambient, Pattern};
use tokio::sync::oneshot;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::backoff::Backoff;
use self::consumer::Subscription;
use self::declared::Declared;
use self::link::{Link, Live, Login, Outage};
use self::lock::Locks;
use self::ordered::{Group, Member};
use self::place::Place;
use self::publisher::Publisher;
use self::settler::Settlers;
use crate::{Address, Broker, Confirm, Consumer, Error, Lock, Message, PARTITIONS, Queue, Topology};

/// How long `declare` and `consume` wait for a broker that is away.
const SET_UP_WITHIN: Duration = Duration::from_secs(30);
/// How long what is published may still be confirmed, and what is settled told, when we close.
const FINISH_WITHIN: Duration = Duration::from_millis(3_500);
/// How long both connections may then take to say goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_millis(1_500);

/// A RabbitMQ server (or cluster behind one address).
pub struct RabbitMq {
    topology: Topology,
    ambient: Arc<dyn Ambient>,
    publisher: Publisher,
    consuming: Link,
    settlers: Settlers,
    locks: Locks,
    declared: Declared,
    /// What publishes and consumes.
    workers: TaskTracker,
    /// What keeps the connections up.
    keepers: TaskTracker,
    stop: DropGuard,
    hang_up: DropGuard,
}

impl RabbitMq {
    /// Connects to `url` (`amqp://` or `amqps://`; for the latter the executable should install rustls's provider
    /// first) under a name that RabbitMQ's management shows. Waits for a broker that is away, without limit, and says
    /// so in the log. `ambient` spreads the pauses between tries and dates messages.
    ///
    /// # Errors
    /// [`Error::Url`] when the URL can't be read; [`Error::Refused`] when user, password or virtual host are wrong.
    pub async fn connect(
        url: &str,
        topology: Topology,
        name: &str,
        ambient: Arc<dyn Ambient>,
    ) -> Result<RabbitMq, Error> {
        let place = Place::parse(url)?;
        let outage = Arc::new(Outage::new(place.clone(), 2));
        let login = |part: &str| Login {
            place: place.clone(),
            name: format!("{name} ({part})"),
            outage: outage.clone(),
            ambient: ambient.clone(),
        };
        let (stop, hang_up) = (CancellationToken::new(), CancellationToken::new());
        let (publishing, publishing_keeper) = Link::connect(login("publishes"), hang_up.clone()).await?;
        let (consuming, consuming_keeper) = Link::connect(login("consumes"), hang_up.clone()).await?;
        let locking = Login { place: place.clone().with_heartbeat(lock::HEARTBEAT), ..login("locks") };
        let wanted = CancellationToken::new();
        let (locking, locking_keeper) = Link::when_wanted(locking, wanted.clone(), hang_up.clone());
        let locks = Locks::new(locking, wanted, topology.clone(), ambient.clone(), stop.clone());
        let declared = Declared::default();
        let (publisher, courier) =
            Publisher::new(publishing, topology.clone(), declared.clone(), ambient.clone(), stop.clone());
        let (workers, keepers) = (TaskTracker::new(), TaskTracker::new());
        keepers.spawn(publishing_keeper.run());
        keepers.spawn(consuming_keeper.run());
        keepers.spawn(locking_keeper);
        workers.spawn(courier.run());
        workers.spawn(declared.clone().redeclare(consuming.clone(), topology.clone(), stop.clone()));
        let (stop, hang_up) = (stop.drop_guard(), hang_up.drop_guard());
        let settlers = Settlers::default();
        Ok(RabbitMq {
            topology,
            ambient,
            publisher,
            consuming,
            settlers,
            locks,
            declared,
            workers,
            keepers,
            stop,
            hang_up,
        })
    }

    /// Does something that needs the consuming connection, again and again while the broker is away, for 30 s.
    async fn patiently<T, F>(&self, attempt: impl Fn(Live) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        patiently(self.consuming.clone(), Backoff::new(self.ambient.clone()), attempt).await
    }

    fn is_closed(&self) -> bool {
        self.workers.is_closed()
    }
}

#[async_trait]
impl Broker for RabbitMq {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    async fn publish(&self, message: Message) -> Confirm {
        if let Address::Later { after, .. } = &message.to {
            // publishing to an exchange that is not there ends the channel for everybody
            let retry = self.topology.retry(*after);
            if !self.declared.has(&retry.name)
                && let Err(why) = self.declare(retry).await
            {
                return Confirm::known(Err(why));
            }
        }
        self.publisher.publish(message).await
    }

    async fn declare(&self, queue: Queue) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        self.patiently(|live| declare::alone(live, &self.topology, &queue)).await?;
        if !queue.exclusive {
            self.declared.remember(queue);
        }
        Ok(())
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Consumer, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let (link, topology) = (self.consuming.clone(), self.topology.clone());
        let (stop, settlers) = (self.stop.token().clone(), self.settlers.clone());
        let subscription = Subscription { queue, prefetch, topology, link, stop, settlers, partition: None };
        let (answer, answered) = oneshot::channel();
        self.workers.spawn(consume(subscription, self.ambient.clone(), answer));
        answered.await.unwrap_or(Err(Error::Closed))
    }

    async fn consume_ordered(&self, group: &str, patterns: Vec<Pattern>, prefetch: u16) -> Result<Consumer, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let group = Arc::new(Group::new(group, patterns, self.topology.clone()));
        for partition in 0..PARTITIONS {
            self.patiently(|live| group.declare(live, partition)).await?;
        }
        group.warn_of_disorder(self.depth(&group.unordered()).await?);
        self.declared.remember_fanout(group.beats_exchange());
        let beats = self.consume(group.beats(), ordered::BEATS_HELD).await?;
        let (sender, consumer) = crate::consumer(prefetch);
        let member = Member {
            group,
            prefetch,
            topology: self.topology.clone(),
            link: self.consuming.clone(),
            publisher: self.publisher.clone(),
            ambient: self.ambient.clone(),
            stop: self.stop.token().clone(),
            settlers: self.settlers.clone(),
            sender,
        };
        self.workers.spawn(member.run(beats));
        Ok(consumer)
    }

    async fn settled(&self) -> Result<(), Error> {
        self.settlers.settled().await
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>, Error> {
        self.patiently(|live| declare::depth(live, queue)).await
    }

    async fn read_stream(&self, stream: Queue) -> Result<Vec<Bytes>, Error> {
        self.declare(stream.clone()).await?;
        let mark = format!("{:016x}{:016x}", self.ambient.random(), self.ambient.random());
        self.publish(stream::mark(&stream, &mark)).await.await?;
        // no limit for all of it, but for how long nothing may come: on a slow line it takes its time
        let (deadline, backoff) = (Instant::now() + SET_UP_WITHIN, Backoff::new(self.ambient.clone()));
        begin_until(deadline, self.consuming.clone(), backoff, |live| stream::read(live, &stream, &mark).map(Ok)).await
    }

    async fn lock(&self, name: &str) -> Result<Lock, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        self.locks.lock(name, &self.workers).await
    }

    async fn close(&self) {
        self.workers.close();
        self.keepers.close();
        self.stop.token().cancel();
        if timeout(FINISH_WITHIN, self.workers.wait()).await.is_err() {
            tracing::warn!("closing the connection to the broker before everything was confirmed");
        }
        self.hang_up.token().cancel();
        if timeout(GOODBYE_WITHIN, self.keepers.wait()).await.is_err() {
            tracing::debug!("the broker did not say goodbye");
        }
    }
}

/// Consumes for whoever waits for the answer. In a task of its own: whoever stops waiting must not leave a consumer
/// behind, which would keep the messages of a queue with a single active one.
async fn consume(
    subscription: Subscription,
    ambient: Arc<dyn Ambient>,
    answer: oneshot::Sender<Result<Consumer, Error>>,
) {
    let backoff = Backoff::new(ambient.clone());
    match patiently(subscription.link.clone(), backoff, |live| subscription.begin(live)).await {
        Ok(first) => {
            let (sender, consumer) = crate::consumer(subscription.prefetch);
            // with nobody waiting, the consumer is dropped here, which winds it up
            answer.send(Ok(consumer)).ok();
            subscription.run(first, sender, Backoff::new(ambient)).await;
        }
        Err(why) => {
            answer.send(Err(why)).ok();
        }
    }
}

/// Does something that needs a connection, again and again while the broker is away, for 30 s.
async fn patiently<T, F>(link: Link, backoff: Backoff, attempt: impl Fn(Live) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let deadline = Instant::now() + SET_UP_WITHIN;
    begin_until(deadline, link, backoff, |live| timeout_at(deadline, attempt(live))).await
}

/// The same, where only the beginning of the last attempt has a deadline, and each attempt limits itself.
async fn begin_until<T, F>(
    deadline: Instant,
    mut link: Link,
    mut backoff: Backoff,
    attempt: impl Fn(Live) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<Result<T, Error>, Elapsed>>,
{
    let mut last = link.away();
    loop {
        let Ok(live) = timeout_at(deadline, link.live()).await else { return Err(last) };
        let live = live?;
        match attempt(live.clone()).await {
            Ok(Err(why @ (Error::Away { .. } | Error::TimedOut { .. }))) => {
                if matches!(why, Error::TimedOut { .. }) {
                    live.doubt().await;
                }
                last = why;
            }
            Ok(done) => return done,
            Err(_) => return Err(last),
        }
        if timeout_at(deadline, backoff.sleep()).await.is_err() {
            return Err(last);
        }
    }
}
