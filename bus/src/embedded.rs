//! A broker inside one process, by RabbitMQ's rules. [`Embedded::open`] keeps its queues on disk, [`Embedded::new`] in
//! memory only.

mod disk;
mod queue;
mod record;
mod state;
mod tail;
mod timer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::{Ambient, Timestamp};
use tokio::sync::{Notify, mpsc};

use self::disk::Disk;
use self::queue::Attached;
use self::state::State;
use self::tail::Tail;
use crate::{
    Address, Broker, Confirm, Consumer, Delivery, Durability, Error, Lease, Lock, Message, Queue, STREAM_MESSAGES,
    Topology, consumer,
};

/// How long the disk may take for what was published last, when the broker is closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// The embedded broker. Clones share it.
#[derive(Clone)]
pub struct Embedded {
    topology: Topology,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    idle: Notify,
    /// Something is due, or ends; the timer looks again.
    timer: Arc<Notify>,
    /// Something is due, and there may be no timer.
    is_due: AtomicBool,
    /// What time it is. In memory nobody knows.
    ambient: Option<Arc<dyn Ambient>>,
    /// What changes is written there; `None`: everything is in memory only.
    tail: Option<Arc<Tail>>,
    /// Messages count as accepted only when the disk has them.
    power: bool,
}

impl Embedded {
    /// An empty broker in memory. It does not say when messages were published.
    pub fn new(topology: Topology) -> Self {
        Self::with(topology, None, None, false)
    }

    /// The broker whose queues are in this folder; it is made, if it is not there. What was accepted before comes again
    /// unless it was acknowledged, however that process ended.
    ///
    /// A disk that can't be written stops nothing: messages are in memory only as long as that lasts, which is logged
    /// when it begins and when it ends. With [`Durability::Power`] none are accepted then: whoever publishes is told
    /// [`Error::NotOnDisk`]. A damaged file costs what is damaged in it.
    ///
    /// # Errors
    /// [`Error::Folder`] when the folder can't be used, or another process uses it.
    pub fn open(
        folder: &Path,
        topology: Topology,
        ambient: Arc<dyn Ambient>,
        durability: Durability,
    ) -> Result<Self, Error> {
        let (disk, found) = Disk::open(folder, durability, ambient.clone())?;
        let messages = found.messages.len();
        if messages > 0 {
            tracing::info!(folder = %folder.display(), messages, "messages of an earlier run are in their queues again");
        }
        let broker = Self::with(topology, Some(ambient), Some(disk.tail()), durability == Durability::Power);
        broker.shared.lock().recover(disk, found, &broker.shared, broker.shared.now_ms());
        Ok(broker)
    }

    fn with(topology: Topology, ambient: Option<Arc<dyn Ambient>>, tail: Option<Arc<Tail>>, power: bool) -> Self {
        let (state, idle, timer) = (Mutex::default(), Notify::new(), Arc::default());
        // asked for the first time, the timer finds out by itself
        let is_due = AtomicBool::new(true);
        Embedded { topology, shared: Arc::new(Shared { state, idle, timer, is_due, ambient, tail, power }) }
    }

    /// Waits until every work and reply queue is empty and everything delivered is settled. Dead letters, what waits to
    /// be tried again, and streams don't count.
    pub async fn idle(&self) {
        loop {
            let changed = self.shared.idle.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.shared.lock().outstanding() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// How many messages wait in a queue or are being handled; 0 for a queue that doesn't exist.
    pub fn held(&self, queue: &str) -> usize {
        self.shared.lock().named(queue).map_or(0, |held| held.ready.len() + held.unsettled.len())
    }

    fn take(&self, message: Message) -> Result<(), Error> {
        let now = self.shared.now();
        let Address::Later { after, .. } = &message.to else {
            return self.shared.change(|state, loose| state.publish(message, now, loose));
        };
        let retry = self.topology.retry(*after);
        let delayed = self.shared.change(|state, loose| {
            let id = state.declare(&retry, &self.shared)?;
            state.delay(id, message, now, loose)
        });
        self.shared.timer.notify_one();
        delayed
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
        // sent again and again, it would be there as often
        let refused = self.shared.power && self.shared.is_failing();
        let taken = if refused { Err(Error::NotOnDisk) } else { self.take(message) };
        self.shared.tend_timer();
        match (taken, self.shared.safe()) {
            (Ok(()), Some(_)) if self.shared.is_failing() => Confirm::known(Err(Error::NotOnDisk)),
            (Ok(()), Some(safe)) => Confirm::awaited(safe),
            (taken, _) => Confirm::known(taken),
        }
    }

    async fn declare(&self, queue: Queue) -> Result<(), Error> {
        self.shared.tend_timer();
        self.shared.change(|state, _| state.declare(&queue, &self.shared).map(|_| ()))
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Consumer, Error> {
        self.shared.tend_timer();
        let (sender, consumer) = consumer(prefetch);
        let dead = self.topology.dead();
        self.shared.change(|state, loose| {
            state.declare(&dead, &self.shared)?;
            let id = state.declare(&queue, &self.shared)?;
            state.attach(id, sender, usize::from(prefetch.max(1)), loose)
        })?;
        Ok(consumer)
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>, Error> {
        Ok(self.shared.lock().named(queue).map(|held| held.ready.len() as u64))
    }

    async fn read_stream(&self, stream: Queue) -> Result<Vec<Bytes>, Error> {
        let now = self.shared.now().map(Timestamp::millis);
        self.shared.change(|state, loose| {
            let id = state.declare(&stream, &self.shared)?;
            state.shed(id, now, loose);
            let Some(held) = state.queues.get(&id) else { return Ok(Vec::new()) };
            let older = held.ready.len().saturating_sub(STREAM_MESSAGES);
            Ok(held.ready.iter().skip(older).map(|stored| stored.body.clone()).collect())
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
        if let Some(safe) = self.shared.safe()
            && tokio::time::timeout(CLOSE_WITHIN, safe).await.is_err()
        {
            tracing::warn!("the disk is slow: what was published last may not survive a power failure");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // a panic while this was locked leaves counters at worst: the queues themselves are changed in single steps
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state under the lock. When it returns, what has changed is with the operating system.
    fn change<T>(&self, change: impl FnOnce(&mut State, &mut Loose) -> T) -> T {
        self.change_and(Tail::flush, change)
    }

    /// The same; while somebody else writes just now, he writes for us, too.
    fn change_without_waiting<T>(&self, change: impl FnOnce(&mut State, &mut Loose) -> T) -> T {
        self.change_and(Tail::flush_if_free, change)
    }

    /// What came loose is dropped after the lock, since dropping a delivery settles it.
    fn change_and<T>(&self, flush: impl FnOnce(&Tail), change: impl FnOnce(&mut State, &mut Loose) -> T) -> T {
        let mut loose = Loose::default();
        let (result, idle) = {
            let mut state = self.lock();
            state.prepare(|| self.now_ms());
            let result = change(&mut state, &mut loose);
            state.put_down();
            if state.next_due().is_some() {
                self.is_due.store(true, Ordering::Relaxed);
            }
            (result, state.outstanding() == 0)
        };
        if let Some(tail) = &self.tail {
            flush(tail);
            self.note_failure(tail);
        }
        if idle {
            self.idle.notify_waiters();
        }
        drop(loose);
        result
    }

    fn note_failure(&self, tail: &Tail) {
        let Some(why) = tail.failure() else { return };
        if let Some(disk) = &mut self.lock().disk {
            disk.fail(&why);
        }
        self.is_due.store(true, Ordering::Relaxed);
    }

    fn now(&self) -> Option<Timestamp> {
        self.ambient.as_ref().map(|ambient| ambient.now())
    }

    /// 0 when nobody knows.
    fn now_ms(&self) -> i64 {
        self.now().map_or(0, Timestamp::millis)
    }

    /// The disk can't be written.
    fn is_failing(&self) -> bool {
        self.lock().disk.as_ref().is_some_and(|disk| disk.tries_again().is_some())
    }

    /// Resolves when everything that was accepted is on the disk; `None`: that is not asked for.
    fn safe(&self) -> Option<tokio::sync::oneshot::Receiver<Result<(), Error>>> {
        self.tail.as_ref().filter(|_| self.power).and_then(|tail| tail.safe())
    }
}

/// What must outlive the lock.
#[derive(Default)]
struct Loose {
    senders: Vec<mpsc::Sender<Delivery>>,
    deliveries: Vec<Delivery>,
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
    async fn a_full_work_queue_buries_its_oldest_and_a_full_reply_queue_refuses_more() {
        let broker = Embedded::new(Topology::default());
        let mut small = broker.topology().worker("main", vec![Pattern::parse("#").unwrap()]);
        small.arguments.push(("x-max-length", 2.into()));
        drop(broker.consume(small.clone(), 1).await.unwrap());
        for text in ["1", "2", "3"] {
            broker.publish(event(text)).await.await.unwrap();
        }
        assert_eq!(broker.held(&small.name), 2);
        let mut dead = broker.consume(broker.topology().dead(), 1).await.unwrap();
        let oldest = dead.next().await.unwrap();
        let body = String::from_utf8_lossy(&oldest.body).into_owned();
        assert!(body.contains(&protocol::foreign_uuid("1").to_string()), "{body}");
        assert_eq!(&*oldest.key, "a.b");
        oldest.acknowledge();

        let mut replies = broker.topology().replies("irc", "n");
        replies.arguments.retain(|(name, _)| *name != "x-max-length-bytes");
        replies.arguments.push(("x-max-length-bytes", 1.into()));
        drop(broker.consume(replies.clone(), 1).await.unwrap());
        let to_queue = || Message { to: Address::Queue(replies.name.clone()), ..event("1") };
        broker.publish(to_queue()).await.await.unwrap();
        assert!(matches!(broker.publish(to_queue()).await.await, Err(Error::Full(_))));
    }
}
