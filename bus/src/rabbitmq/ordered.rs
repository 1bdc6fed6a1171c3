//! Ordered groups: what happens in a channel is worked on in order by however many workers a group has.
//!
//! The exchange of events leads, by the group's patterns, to a headers exchange, and that, by the header `partition`, to
//! 16 queues; what has no such header goes to the first. Each queue has a single active consumer: that alone keeps the
//! order. The workers beat, so that each knows who lives, and comes by itself to the same conclusion as to who consumes
//! which partition; where two differ for a moment, one of them waits behind the other. Whoever gives a partition up
//! first finishes what it was handed.

mod members;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lapin::Channel;
use protocol::{Ambient, Pattern};
use tokio::sync::mpsc;
use tokio::task::{self, JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::members::{Beat, Members, Sign};
use super::backoff::Backoff;
use super::connection::Connection;
use super::consumer::Subscription;
use super::declare;
use super::link::{Link, Live};
use super::publisher::Publisher;
use super::settler::Settlers;
use crate::{Address, Consumer, Delivery, Error, Message, PARTITIONS, Properties, Queue, Topology};

/// How often a worker tells that it lives.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How long a beat may take to leave.
const BEAT_WITHIN: Duration = Duration::from_secs(2);
/// How long a goodbye may take.
const GOODBYE_WITHIN: Duration = Duration::from_millis(500);
/// How long a new worker listens who else is there before it takes partitions: those who live answer its first beat.
const LISTEN_FOR: Duration = Duration::from_millis(500);
/// Beats held at most: from some hundred workers, which is more than there is work for.
pub(super) const BEATS_HELD: u16 = 256;

/// An ordered group, as it is to be declared.
pub(super) struct Group {
    name: String,
    patterns: Vec<Pattern>,
    topology: Topology,
    /// The connection on which exchanges and patterns were declared last.
    declared_on: Mutex<Weak<Connection>>,
}

impl Group {
    pub(super) fn new(name: &str, patterns: Vec<Pattern>, topology: Topology) -> Self {
        Group { name: name.to_owned(), patterns, topology, declared_on: Mutex::default() }
    }

    pub(super) fn queue(&self, partition: u32) -> Queue {
        self.topology.partition(&self.name, partition)
    }

    pub(super) fn beats(&self) -> Queue {
        self.topology.beats(&self.name)
    }

    pub(super) fn beats_exchange(&self) -> String {
        self.topology.beats_exchange(&self.name)
    }

    /// The queue that the group has when it is not ordered.
    pub(super) fn unordered(&self) -> String {
        self.topology.worker(&self.name, Vec::new()).name
    }

    /// `depth`: how much is in the queue that the group has when it is not ordered.
    pub(super) fn warn_of_disorder(&self, depth: Option<u64>) {
        if let Some(waiting) = depth {
            let (group, queue) = (&self.name, self.unordered());
            tracing::warn!(
                group,
                queue,
                waiting,
                "the group was not ordered before: its former queue still takes events, and nobody consumes them; delete it"
            );
        }
    }

    /// Makes a partition be there, with all that leads to it.
    ///
    /// # Errors
    /// As [`declare::queue`].
    pub(super) async fn declare(&self, live: Live, partition: u32) -> Result<(), Error> {
        let connection = &live.connection;
        let declare = async |channel: Channel| {
            declare::queue(connection, &channel, &self.topology, &self.queue(partition)).await?;
            self.bind(&live, &channel, partition).await
        };
        connection.on_a_channel(declare).await
    }

    /// Leads what belongs to a partition to its queue, which exists.
    ///
    /// # Errors
    /// As [`declare::queue`].
    pub(super) async fn bind(&self, live: &Live, channel: &Channel, partition: u32) -> Result<(), Error> {
        let connection = &live.connection;
        if !self.is_declared_on(connection) {
            declare::group(connection, channel, &self.topology, &self.name, &self.patterns).await?;
        }
        let bound = declare::partition(connection, channel, &self.topology, &self.name, partition).await;
        *self.declared_on() = if bound.is_ok() { Arc::downgrade(connection) } else { Weak::new() };
        bound
    }

    fn is_declared_on(&self, connection: &Arc<Connection>) -> bool {
        self.declared_on().upgrade().is_some_and(|known| Arc::ptr_eq(&known, connection))
    }

    fn declared_on(&self) -> MutexGuard<'_, Weak<Connection>> {
        self.declared_on.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A partition, for whoever consumes its queue.
#[derive(Clone)]
pub(super) struct Partition {
    pub(super) group: Arc<Group>,
    pub(super) number: u32,
    /// Cancelled when another worker is to have it.
    pub(super) give_up: CancellationToken,
}

/// One of the group's workers: beats, listens to the others, and consumes what is its part.
pub(super) struct Member {
    pub(super) group: Arc<Group>,
    pub(super) prefetch: u16,
    pub(super) topology: Topology,
    pub(super) link: Link,
    pub(super) publisher: Publisher,
    pub(super) ambient: Arc<dyn Ambient>,
    pub(super) stop: CancellationToken,
    pub(super) settlers: Settlers,
    /// Where all deliveries go.
    pub(super) sender: mpsc::Sender<Delivery>,
}

impl Member {
    /// Takes part until the user drops the consumer or we are to close.
    pub(super) async fn run(self, mut beats: Consumer) {
        let (stop, sender) = (self.stop.clone(), self.sender.clone());
        let mut members = Members::new(self.ambient.random());
        let mut parts = Parts::default();
        let mut voice = Voice { member: &self, id: members.me(), beating: None };
        let mut due = interval(BEAT_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let listened = Instant::now() + LISTEN_FOR;
        let mut listening = true;
        voice.beat(Sign::Hello);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sender.closed() => break,
                beat = beats.next() => {
                    let Some(delivery) = beat else { break };
                    if let Some(beat) = Beat::read(&delivery.body)
                        && members.hear(beat, Instant::now())
                    {
                        voice.beat(Sign::Alive);
                    }
                    delivery.acknowledge();
                }
                _ = due.tick() => {
                    voice.beat(Sign::Alive);
                    members.forget_silent(Instant::now());
                }
                () = sleep_until(listened), if listening => listening = false,
                () = parts.ended() => {}
            }
            if !listening {
                parts.change(&members.parts(), |partition| self.take(partition));
            }
        }
        voice.say_goodbye().await;
        drop((self, sender));
        parts.finish().await;
    }

    /// Consumes a partition's queue from now on.
    fn take(&self, number: u32) -> (CancellationToken, impl Future<Output = ()> + Send + 'static) {
        let give_up = CancellationToken::new();
        let partition = Partition { group: self.group.clone(), number, give_up: give_up.clone() };
        let subscription = Subscription {
            queue: self.group.queue(number),
            prefetch: self.prefetch,
            topology: self.topology.clone(),
            link: self.link.clone(),
            stop: self.stop.clone(),
            settlers: self.settlers.clone(),
            partition: Some(partition),
        };
        (give_up, subscription.run_from_scratch(self.sender.clone(), Backoff::new(self.ambient.clone())))
    }
}

/// Tells the others that we live.
struct Voice<'a> {
    member: &'a Member,
    id: u64,
    /// The beat that is leaving.
    beating: Option<JoinHandle<()>>,
}

impl Voice<'_> {
    /// Beats beside, unless the beat before is still leaving.
    fn beat(&mut self, sign: Sign) {
        if self.beating.as_ref().is_none_or(JoinHandle::is_finished) {
            self.beating = Some(tokio::spawn(self.publishing(sign, BEAT_WITHIN)));
        }
    }

    async fn say_goodbye(&mut self) {
        if let Some(beating) = self.beating.take() {
            // said after the goodbye, it would bring us back to life
            beating.abort();
        }
        self.publishing(Sign::Bye, GOODBYE_WITHIN).await;
    }

    fn publishing(&self, sign: Sign, within: Duration) -> impl Future<Output = ()> + Send + 'static {
        let exchange = self.member.group.beats_exchange();
        let body = Beat { worker: self.id, sign }.write();
        let message = Message {
            to: Address::Queue(String::new()),
            mandatory: false,
            properties: Properties { kind: Some("beat".to_owned()), ..Properties::default() },
            body,
        };
        let publisher = self.member.publisher.clone();
        async move {
            let beat = async { publisher.publish_through(exchange, message).await.await };
            match timeout(within, beat).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => tracing::debug!(%why, "a worker's beat did not leave"),
                Err(_) => tracing::debug!("a worker's beat does not leave"),
            }
        }
    }
}

/// The partitions that we consume.
#[derive(Default)]
struct Parts {
    held: HashMap<u32, Held>,
    consuming: JoinSet<()>,
}

struct Held {
    give_up: CancellationToken,
    task: task::Id,
}

impl Parts {
    /// Takes what is ours, gives up what is not. What is being given up is taken again only when that is over.
    fn change<F>(&mut self, ours: &[u32], take: impl Fn(u32) -> (CancellationToken, F))
    where
        F: Future<Output = ()> + Send + 'static,
    {
        for partition in 0..PARTITIONS {
            match (ours.contains(&partition), self.held.get(&partition)) {
                (true, None) => {
                    let (give_up, consuming) = take(partition);
                    let task = self.consuming.spawn(consuming).id();
                    self.held.insert(partition, Held { give_up, task });
                }
                (false, Some(held)) => held.give_up.cancel(),
                _ => {}
            }
        }
    }

    /// Waits until one has been given up.
    async fn ended(&mut self) {
        let task = match self.consuming.join_next_with_id().await {
            Some(Ok((task, ()))) => task,
            Some(Err(why)) => {
                tracing::error!(%why, "a partition's consumer has crashed, please report it");
                why.id()
            }
            None => return std::future::pending().await,
        };
        self.held.retain(|_, held| held.task != task);
    }

    async fn finish(mut self) {
        while self.consuming.join_next().await.is_some() {}
    }
}
