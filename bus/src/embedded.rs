//! A broker inside one process, by RabbitMQ's rules. For now it keeps everything in memory: what is queued when the
//! process ends is gone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use protocol::PatternTree;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use crate::{
    Address, Argument, Broker, Confirm, Consumer, Delivery, Error, Lease, Lock, Message, Outcome, Properties, Queue,
    Settle, Topology, consumer,
};

/// The embedded broker. Clones share it.
#[derive(Clone)]
pub struct Embedded {
    topology: Topology,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    idle: Notify,
}

impl Embedded {
    /// An empty broker.
    pub fn new(topology: Topology) -> Self {
        Embedded { topology, shared: Arc::new(Shared { state: Mutex::default(), idle: Notify::new() }) }
    }

    /// Waits until every shared queue is empty and everything delivered is settled. Dead letters don't count.
    pub async fn idle(&self) {
        loop {
            let changed = self.shared.idle.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.lock().outstanding == 0 {
                return;
            }
            changed.await;
        }
    }

    /// How many messages wait in a queue or are being handled; 0 for a queue that doesn't exist.
    pub fn held(&self, queue: &str) -> usize {
        let state = self.shared.lock();
        state
            .names
            .get(queue)
            .and_then(|id| state.queues.get(id))
            .map_or(0, |held| held.ready.len() + held.unsettled.len())
    }
}

#[async_trait]
impl Broker for Embedded {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    fn takes_at_once(&self) -> bool {
        true
    }

    async fn publish(&self, message: Message) -> Confirm {
        match message.to.clone() {
            Address::Later { queue, after } => {
                let (embedded, message) = (self.clone(), Message { to: Address::Queue(queue), ..message });
                tokio::spawn(async move {
                    tokio::time::sleep(after.duration()).await;
                    embedded.shared.change(|state, loose| state.publish(message, loose)).ok();
                });
                Confirm::known(Ok(()))
            }
            _ => Confirm::known(self.shared.change(|state, loose| state.publish(message, loose))),
        }
    }

    async fn declare(&self, queue: Queue) -> Result<(), Error> {
        self.shared.change(|state, _| state.declare(&queue, &self.shared).map(|_| ()))
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Consumer, Error> {
        let (sender, consumer) = consumer(prefetch);
        let dead = self.topology.dead();
        self.shared.change(|state, loose| {
            state.declare(&dead, &self.shared)?;
            let id = state.declare(&queue, &self.shared)?;
            state.attach(id, sender, usize::from(prefetch.max(1)), loose);
            Ok::<_, Error>(())
        })?;
        Ok(consumer)
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>, Error> {
        let state = self.shared.lock();
        let held = state.names.get(queue).and_then(|id| state.queues.get(id));
        Ok(held.map(|held| held.ready.len() as u64))
    }

    async fn read_stream(&self, stream: Queue) -> Result<Vec<Bytes>, Error> {
        self.shared.change(|state, _| {
            let id = state.declare(&stream, &self.shared)?;
            Ok(state.queues.get(&id).map_or(Vec::new(), |held| held.ready.iter().map(|it| it.body.clone()).collect()))
        })
    }

    async fn lock(&self, name: &str) -> Result<Lock, Error> {
        let lock = self.shared.lock().locks.entry(name.to_owned()).or_default().clone();
        Ok(Lock::new(Lease::endless(), lock.lock_owned().await))
    }

    async fn close(&self) {
        let held: Vec<Attached> =
            self.shared.lock().queues.values_mut().flat_map(|queue| std::mem::take(&mut queue.consumers)).collect();
        drop(held);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // a panic while this was locked leaves counters at worst: the queues themselves are changed in single steps
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state under the lock; what came loose is dropped after it, since dropping a delivery settles it.
    fn change<T>(&self, change: impl FnOnce(&mut State, &mut Loose) -> T) -> T {
        let mut loose = Loose::default();
        let (result, idle) = {
            let mut state = self.lock();
            let result = change(&mut state, &mut loose);
            (result, state.outstanding == 0)
        };
        if idle {
            self.idle.notify_waiters();
        }
        drop(loose);
        result
    }
}

/// What must outlive the lock.
#[derive(Default)]
struct Loose {
    senders: Vec<mpsc::Sender<Delivery>>,
    deliveries: Vec<Delivery>,
}

type QueueId = u64;

#[derive(Default)]
struct State {
    queues: HashMap<QueueId, Held>,
    names: HashMap<String, QueueId>,
    locks: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
    bindings: PatternTree<QueueId>,
    /// Numbers queues, consumers, messages and deliveries.
    last_number: u64,
    /// Messages that are ready or unsettled in shared queues, the dead letters' aside.
    outstanding: usize,
}

/// A queue with what it holds.
struct Held {
    queue: Queue,
    settle: Arc<dyn Settle>,
    ready: VecDeque<Stored>,
    ready_bytes: usize,
    unsettled: HashMap<u64, Unsettled>,
    consumers: Vec<Attached>,
    turn: usize,
    /// Counts among what is outstanding.
    counted: bool,
}

/// A message in a queue. Its position orders it among the others, also when it comes back.
struct Stored {
    position: u64,
    key: Arc<str>,
    properties: Properties,
    body: Bytes,
    attempts: u32,
}

struct Unsettled {
    stored: Stored,
    consumer: u64,
}

/// A consumer of a queue, and how many more deliveries it takes.
struct Attached {
    id: u64,
    sender: mpsc::Sender<Delivery>,
    credit: usize,
}

/// The way back for one queue's deliveries.
struct Settlement {
    shared: Weak<Shared>,
    queue: QueueId,
}

impl Settle for Settlement {
    fn settle(&self, tag: u64, outcome: Outcome) {
        if let Some(shared) = self.shared.upgrade() {
            shared.change(|state, loose| state.settle(self.queue, tag, outcome, loose));
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Finds or makes the queue, and adds bindings that it lacks.
    fn declare(&mut self, queue: &Queue, shared: &Arc<Shared>) -> Result<QueueId, Error> {
        let known = self.names.get(&queue.name).copied().filter(|_| !queue.exclusive);
        let id = match known {
            Some(id) => id,
            None => self.create(queue, shared),
        };
        let Some(held) = self.queues.get_mut(&id) else { return Ok(id) };
        if let Some(why) = held.queue.other_arguments(queue) {
            return Err(why);
        }
        for pattern in &queue.bindings {
            if known.is_none() || !held.queue.bindings.contains(pattern) {
                self.bindings.insert(pattern, id);
            }
            if !held.queue.bindings.contains(pattern) {
                held.queue.bindings.push(pattern.clone());
            }
        }
        Ok(id)
    }

    fn create(&mut self, queue: &Queue, shared: &Arc<Shared>) -> QueueId {
        let id = self.number();
        let kept = queue.argument("x-dead-letter-routing-key").is_none();
        self.queues.insert(
            id,
            Held {
                queue: queue.clone(),
                settle: Arc::new(Settlement { shared: Arc::downgrade(shared), queue: id }),
                ready: VecDeque::new(),
                ready_bytes: 0,
                unsettled: HashMap::new(),
                consumers: Vec::new(),
                turn: 0,
                counted: !kept,
            },
        );
        if !queue.exclusive {
            self.names.insert(queue.name.clone(), id);
        }
        id
    }

    fn attach(&mut self, id: QueueId, sender: mpsc::Sender<Delivery>, credit: usize, loose: &mut Loose) {
        let attached = Attached { id: self.number(), sender, credit };
        if let Some(held) = self.queues.get_mut(&id) {
            held.consumers.push(attached);
        }
        self.dispatch(id, loose);
    }

    fn publish(&mut self, message: Message, loose: &mut Loose) -> Result<(), Error> {
        let destination = message.destination().to_owned();
        let queues = self.route(&message.to);
        if queues.is_empty() {
            let needed = message.mandatory || matches!(message.to, Address::Queue(_));
            return if needed { Err(Error::Unroutable(destination)) } else { Ok(()) };
        }
        if queues.iter().any(|id| self.queues.get(id).is_some_and(Held::refuses_more)) {
            return Err(Error::Full(destination));
        }
        let key: Arc<str> = destination.into();
        for id in queues {
            let (properties, body) = (message.properties.clone(), message.body.clone());
            let position = self.number();
            self.enqueue(id, Stored { position, key: key.clone(), properties, body, attempts: 0 });
            self.dispatch(id, loose);
        }
        Ok(())
    }

    /// The queues that a message goes to, each once.
    fn route(&self, to: &Address) -> Vec<QueueId> {
        match to {
            Address::Queue(name) | Address::Later { queue: name, .. } => {
                self.names.get(name).copied().into_iter().collect()
            }
            Address::Topic(key) => {
                let mut queues: Vec<QueueId> = self.bindings.matches(key).into_iter().copied().collect();
                queues.sort_unstable();
                queues.dedup();
                queues
            }
        }
    }

    fn enqueue(&mut self, id: QueueId, stored: Stored) {
        let Some(held) = self.queues.get_mut(&id) else { return };
        let at = held.ready.partition_point(|other| other.position < stored.position);
        held.ready_bytes += stored.body.len();
        held.ready.insert(at, stored);
        self.outstanding += usize::from(held.counted);
        while held.over_limit() {
            let Some(oldest) = held.ready.pop_front() else { break };
            held.ready_bytes -= oldest.body.len();
            self.outstanding -= usize::from(held.counted);
            tracing::warn!(
                queue = held.queue.name,
                key = &*oldest.key,
                "the queue is full: its oldest message is dropped"
            );
        }
    }

    /// Hands ready messages to consumers that have room, in turn; with a single active consumer always to the oldest.
    fn dispatch(&mut self, id: QueueId, loose: &mut Loose) {
        let Some(held) = self.queues.get_mut(&id) else { return };
        while !held.ready.is_empty() {
            held.drop_closed_consumers(loose);
            let Some(index) = held.next_consumer() else { break };
            self.last_number += 1;
            held.deliver(index, self.last_number, loose);
        }
        let abandoned = held.queue.exclusive && held.consumers.is_empty();
        if abandoned {
            self.queues.remove(&id);
            self.bindings.retain(|bound| *bound != id);
        }
    }

    fn settle(&mut self, id: QueueId, tag: u64, outcome: Outcome, loose: &mut Loose) {
        let Some(held) = self.queues.get_mut(&id) else { return };
        let Some(Unsettled { stored, consumer }) = held.unsettled.remove(&tag) else { return };
        if let Some(attached) = held.consumers.iter_mut().find(|attached| attached.id == consumer) {
            attached.credit += 1;
        }
        self.outstanding -= usize::from(held.counted);
        match outcome {
            Outcome::Acknowledge => {}
            Outcome::Requeue => self.enqueue(id, Stored { attempts: stored.attempts + 1, ..stored }),
            Outcome::Bury => self.bury(id, stored, loose),
        }
        self.dispatch(id, loose);
    }

    fn bury(&mut self, id: QueueId, stored: Stored, loose: &mut Loose) {
        let dead = self.queues.get(&id).and_then(|held| match held.queue.argument("x-dead-letter-routing-key") {
            Some(Argument::Word(name)) => self.names.get(name).copied(),
            _ => None,
        });
        if let Some(dead) = dead {
            let position = self.number();
            self.enqueue(dead, Stored { position, attempts: 0, ..stored });
            self.dispatch(dead, loose);
        }
    }
}

impl Held {
    fn refuses_more(&self) -> bool {
        let refuses = self.queue.argument("x-overflow") == Some(&Argument::from("reject-publish"));
        refuses && self.limit("x-max-length-bytes").is_some_and(|limit| self.ready_bytes >= limit)
    }

    fn over_limit(&self) -> bool {
        let drops = self.queue.argument("x-overflow") == Some(&Argument::from("drop-head"));
        drops
            && (self.limit("x-max-length-bytes").is_some_and(|limit| self.ready_bytes > limit)
                || self.limit("x-max-length").is_some_and(|limit| self.ready.len() > limit))
    }

    fn limit(&self, argument: &str) -> Option<usize> {
        self.queue.number(argument).and_then(|limit| usize::try_from(limit).ok())
    }

    fn drop_closed_consumers(&mut self, loose: &mut Loose) {
        if self.consumers.iter().any(|attached| attached.sender.is_closed()) {
            let closed = self.consumers.extract_if(.., |attached| attached.sender.is_closed());
            loose.senders.extend(closed.map(|attached| attached.sender));
        }
    }

    fn next_consumer(&mut self) -> Option<usize> {
        let single = self.queue.argument("x-single-active-consumer") == Some(&Argument::from(true));
        let candidates = if single { 1.min(self.consumers.len()) } else { self.consumers.len() };
        let found = (0..candidates).map(|i| (self.turn + i) % candidates).find(|&i| self.consumers[i].credit > 0)?;
        self.turn = (found + 1) % candidates;
        Some(found)
    }

    /// Moves the oldest ready message to a consumer.
    fn deliver(&mut self, index: usize, tag: u64, loose: &mut Loose) {
        let Some(stored) = self.ready.pop_front() else { return };
        self.ready_bytes -= stored.body.len();
        let Stored { key, properties, body, attempts, .. } = &stored;
        let delivery =
            Delivery::new(key.clone(), properties.clone(), body.clone(), *attempts, self.settle.clone(), tag)
                .from_queue(self.queue.name.as_str().into());
        let attached = &mut self.consumers[index];
        attached.credit -= 1;
        self.unsettled.insert(tag, Unsettled { stored, consumer: attached.id });
        if let Err(TrySendError::Closed(refused) | TrySendError::Full(refused)) = attached.sender.try_send(delivery) {
            // dropped outside the lock, it gives itself back
            loose.deliveries.push(refused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Event, Pattern, RoutingKey};

    fn event(text: &str) -> Message {
        let id = protocol::foreign_uuid(text);
        let event = Event::new(RoutingKey::parse("a.b").unwrap(), id, &serde_json::json!({ "id": id })).unwrap();
        Message::event(event, "test", None)
    }

    #[tokio::test]
    async fn it_is_idle_only_when_everything_is_settled() {
        let broker = Embedded::new(Topology::default());
        let queue = broker.topology().worker("main", vec![Pattern::parse("#").unwrap()]);
        let mut consumer = broker.consume(queue, 10).await.unwrap();
        broker.idle().await;
        broker.publish(event("1")).await.await.unwrap();
        let delivery = consumer.next().await.unwrap();
        let idle = tokio::spawn({
            let broker = broker.clone();
            async move { broker.idle().await }
        });
        tokio::task::yield_now().await;
        assert!(!idle.is_finished());
        delivery.acknowledge();
        idle.await.unwrap();
    }

    #[tokio::test]
    async fn a_full_work_queue_drops_its_oldest_and_a_full_reply_queue_refuses_more() {
        let broker = Embedded::new(Topology::default());
        let mut small = broker.topology().worker("main", vec![Pattern::parse("#").unwrap()]);
        small.arguments.push(("x-max-length", 2.into()));
        drop(broker.consume(small.clone(), 1).await.unwrap());
        for text in ["1", "2", "3"] {
            broker.publish(event(text)).await.await.unwrap();
        }
        assert_eq!(broker.held(&small.name), 2);

        let mut replies = broker.topology().replies("irc", "n");
        replies.arguments.retain(|(name, _)| *name != "x-max-length-bytes");
        replies.arguments.push(("x-max-length-bytes", 1.into()));
        drop(broker.consume(replies.clone(), 1).await.unwrap());
        let to_queue = || Message { to: Address::Queue(replies.name.clone()), ..event("1") };
        broker.publish(to_queue()).await.await.unwrap();
        assert!(matches!(broker.publish(to_queue()).await.await, Err(Error::Full(_))));
    }
}
