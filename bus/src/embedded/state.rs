//! The state of the embedded broker: its queues, and what is bound to which. Whatever changes it says so to the disk.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use protocol::{PatternTree, Timestamp};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::disk::{Disk, Found};
use super::queue::{Attached, Held, Stored};
use super::{Loose, Shared};
use crate::{Address, Argument, Delivery, Error, Message, Outcome, Queue, Settle};

type QueueId = u64;

/// How long the broker runs before it removes queues as unused: whoever uses one has declared it again by then.
const EXPIRES_AFTER: Duration = Duration::from_secs(10 * 60);
/// How often the disk learns when the queues were last used, however little changes: a killed process leaves no older word
/// of it than that.
const TELLS_USE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Default)]
pub(super) struct State {
    pub queues: HashMap<QueueId, Held>,
    pub names: HashMap<String, QueueId>,
    pub locks: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
    bindings: PatternTree<QueueId>,
    /// Numbers queues, consumers, messages and deliveries.
    last_number: u64,
    pub disk: Option<Disk>,
    /// When unused queues are removed next, and the disk learns when the others were last used.
    tells_use: Option<Instant>,
    /// The task that wakes when something is due; it ends when nothing is.
    pub timer: Option<tokio::task::JoinHandle<()>>,
}

/// The way back for one queue's deliveries.
struct Settlement {
    shared: Weak<Shared>,
    queue: QueueId,
}

impl Settle for Settlement {
    fn settle(&self, tag: u64, outcome: Outcome) {
        if let Some(shared) = self.shared.upgrade() {
            shared.change_without_waiting(|state, loose| state.settle(self.queue, tag, outcome, loose));
        }
    }
}

impl State {
    /// The queue of this name.
    pub fn named(&self, name: &str) -> Option<&Held> {
        self.names.get(name).and_then(|id| self.queues.get(id))
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Takes what was found on disk. What a consumer had then counts as tried.
    pub fn recover(&mut self, disk: Disk, found: Found, shared: &Arc<Shared>, now: i64) {
        self.last_number = found.last_position;
        for (queue, last_used) in found.queues.into_values() {
            self.create_undeclared(queue, last_used, shared);
        }
        for (position, (put, home)) in found.messages {
            let id = match self.names.get(&put.queue) {
                Some(id) => *id,
                // what is known of it was in a damaged file; it is declared again soon
                None => self.create_undeclared(nameless(&put.queue), now, shared),
            };
            let Some(held) = self.queues.get_mut(&id) else { continue };
            let due = held.rules.delay.map(|delay| {
                // a clock that was set back does not make anything wait for longer
                let left = u64::try_from(put.moment.saturating_sub(now)).unwrap_or(0);
                Instant::now() + Duration::from_millis(left).min(delay)
            });
            held.insert(Stored {
                position,
                key: put.key,
                properties: put.properties,
                body: put.body,
                attempts: put.attempts + u32::from(put.delivered),
                moment: put.moment,
                due,
                home,
            });
        }
        self.disk = Some(disk);
        self.tells_use = Some(Instant::now() + EXPIRES_AFTER);
    }

    fn create_undeclared(&mut self, queue: Queue, last_used: i64, shared: &Arc<Shared>) -> QueueId {
        let id = self.create(&queue, shared);
        for pattern in &queue.bindings {
            self.bindings.insert(pattern, id);
        }
        if let Some(held) = self.queues.get_mut(&id) {
            (held.declared, held.last_used) = (false, last_used);
        }
        id
    }

    /// Finds or makes the queue, and adds bindings that it lacks. What was found on disk becomes as it is declared first:
    /// nobody consumes from it yet.
    pub fn declare(&mut self, queue: &Queue, shared: &Arc<Shared>) -> Result<QueueId, Error> {
        let now = shared.now_ms();
        let known = self.names.get(&queue.name).copied().filter(|_| !queue.exclusive);
        let id = known.unwrap_or_else(|| self.create(queue, shared));
        let Some(held) = self.queues.get_mut(&id) else { return Ok(id) };
        let renewed = !held.declared;
        if renewed {
            self.bindings.retain(|bound| *bound != id);
            held.declare(queue);
        }
        if let Some(why) = held.queue.other_arguments(queue) {
            return Err(why);
        }
        let mut changed = renewed || known.is_none();
        held.last_used = now;
        for pattern in &queue.bindings {
            if !held.queue.bindings.contains(pattern) {
                held.queue.bindings.push(pattern.clone());
                self.bindings.insert(pattern, id);
                changed = true;
            }
        }
        if let Some(disk) = self.disk.as_mut().filter(|_| changed && held.is_durable()) {
            disk.queue(held);
        }
        Ok(id)
    }

    fn create(&mut self, queue: &Queue, shared: &Arc<Shared>) -> QueueId {
        let id = self.number();
        let settle = Arc::new(Settlement { shared: Arc::downgrade(shared), queue: id });
        // its bindings are added one by one
        let (declared, bindings) = (queue.clone(), Vec::new());
        self.queues.insert(id, Held::new(Queue { bindings, ..declared }, settle));
        if !queue.exclusive {
            self.names.insert(queue.name.clone(), id);
        }
        id
    }

    /// A queue that is consumed from.
    pub fn attach(
        &mut self,
        id: QueueId,
        sender: mpsc::Sender<Delivery>,
        credit: usize,
        loose: &mut Loose,
    ) -> Result<(), Error> {
        let attached = Attached { id: self.number(), sender, credit };
        let Some(held) = self.queues.get_mut(&id) else { return Ok(()) };
        if held.rules.is_stream || held.rules.delay.is_some() {
            let why = "a stream is read, and what waits in a retry queue goes on by itself: nobody consumes from them";
            loose.senders.push(attached.sender);
            return Err(Error::Queue { queue: held.queue.name.clone(), why: why.to_owned() });
        }
        held.consumers.push(attached);
        self.dispatch(id, loose);
        Ok(())
    }

    pub fn publish(&mut self, message: Message, now: Option<Timestamp>, loose: &mut Loose) -> Result<(), Error> {
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
        let mut properties = message.properties;
        properties.published_at = properties.published_at.or(now);
        let mut rest = queues.len();
        for id in queues {
            let position = self.number();
            rest -= 1;
            // the last queue takes it as it is
            let properties = if rest == 0 { std::mem::take(&mut properties) } else { properties.clone() };
            let stored = Stored::new(position, key.clone(), properties, message.body.clone());
            self.enqueue(id, stored, now.map(Timestamp::millis), loose);
            self.dispatch(id, loose);
        }
        Ok(())
    }

    /// Puts a message into a retry queue; `message.to` says where it goes when its time has come.
    pub fn delay(
        &mut self,
        id: QueueId,
        message: Message,
        now: Option<Timestamp>,
        loose: &mut Loose,
    ) -> Result<(), Error> {
        let destination = message.destination().to_owned();
        let position = self.number();
        let Some(held) = self.queues.get(&id) else { return Err(Error::Unroutable(destination)) };
        if held.refuses_more() {
            return Err(Error::Full(held.queue.name.clone()));
        }
        let mut properties = message.properties;
        properties.published_at = properties.published_at.or(now);
        let stored = Stored::new(position, destination.into(), properties, message.body);
        self.enqueue(id, stored, now.map(Timestamp::millis), loose);
        Ok(())
    }

    /// When the first of the delayed messages goes on, or the disk is tried again.
    pub fn next_due(&self) -> Option<Instant> {
        let delayed = self.queues.values().filter_map(|held| held.ready.front().and_then(|stored| stored.due));
        delayed.chain(self.disk.as_ref().and_then(Disk::tries_again)).min()
    }

    /// Lets go on whose time has come.
    pub fn release_due(&mut self, now_ms: i64, loose: &mut Loose) {
        let now = Instant::now();
        let delaying: Vec<QueueId> =
            self.queues.iter().filter(|(_, held)| held.rules.delay.is_some()).map(|(id, _)| *id).collect();
        for id in delaying {
            // each once: what can't go on yet is due again later
            let waiting = self.queues.get(&id).map_or(0, |held| held.ready.len());
            for _ in 0..waiting {
                let Some(held) = self.queues.get_mut(&id) else { break };
                if held.ready.front().and_then(|stored| stored.due).is_none_or(|due| due > now) {
                    break;
                }
                if let Some(stored) = held.pop() {
                    self.release(id, stored, now_ms, loose);
                }
            }
        }
    }

    fn release(&mut self, delaying: QueueId, stored: Stored, now_ms: i64, loose: &mut Loose) {
        if let Some(disk) = &mut self.disk {
            disk.done(&stored);
        }
        let target = self.names.get(&*stored.key).copied();
        let free = target.filter(|id| self.queues.get(id).is_some_and(|held| !held.refuses_more()));
        if free.is_none() {
            tracing::debug!(queue = &*stored.key, "nobody takes what is to be tried again: it waits once more");
        }
        let position = self.number();
        let stored = Stored { position, due: None, moment: 0, ..stored };
        self.enqueue(free.unwrap_or(delaying), stored, Some(now_ms), loose);
        if let Some(id) = free {
            self.dispatch(id, loose);
        }
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

    /// A message that is new in this queue.
    fn enqueue(&mut self, id: QueueId, mut stored: Stored, now: Option<i64>, loose: &mut Loose) {
        let Some(held) = self.queues.get_mut(&id) else { return };
        if let Some(delay) = held.rules.delay {
            let ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            stored.due = Some(Instant::now() + delay);
            stored.moment = now.unwrap_or(0).saturating_add(ms);
        } else if held.rules.is_stream {
            stored.moment = now.unwrap_or(0);
        }
        if let Some(disk) = self.disk.as_mut().filter(|_| held.is_durable()) {
            disk.put(&held.queue.name, &mut stored, false);
        }
        held.insert(stored);
        self.shed(id, now, loose);
    }

    /// Drops the oldest of what is beyond the queue's limits; where its dead letters go somewhere, it goes there.
    pub fn shed(&mut self, id: QueueId, now: Option<i64>, loose: &mut Loose) {
        while let Some(held) = self.queues.get_mut(&id).filter(|held| held.over_limit(now)) {
            let Some(oldest) = held.pop() else { break };
            if let Some(disk) = self.disk.as_mut().filter(|_| held.is_durable()) {
                disk.done(&oldest);
            }
            if !held.rules.is_stream {
                let (queue, key) = (&held.queue.name, &*oldest.key);
                tracing::warn!(queue, key, "the queue is full: its oldest message is dropped");
            }
            self.bury(id, oldest, loose);
        }
    }

    /// Hands ready messages to consumers that have room, in turn.
    fn dispatch(&mut self, id: QueueId, loose: &mut Loose) {
        let Some(held) = self.queues.get_mut(&id) else { return };
        while !held.ready.is_empty() {
            held.drop_closed_consumers(loose);
            let Some(index) = held.next_consumer() else { break };
            self.last_number += 1;
            let position = held.deliver(index, self.last_number, loose);
            if let (Some(position), Some(disk)) = (position, self.disk.as_mut().filter(|_| held.is_durable())) {
                disk.delivered(position);
            }
        }
        let abandoned = held.queue.exclusive && held.consumers.is_empty();
        if abandoned {
            self.queues.remove(&id);
            self.bindings.retain(|bound| *bound != id);
        }
    }

    fn settle(&mut self, id: QueueId, tag: u64, outcome: Outcome, loose: &mut Loose) {
        let Some(held) = self.queues.get_mut(&id) else { return };
        let Some(mut stored) = held.take_back(tag) else { return };
        let disk = self.disk.as_mut().filter(|_| held.is_durable());
        match outcome {
            Outcome::Acknowledge | Outcome::Bury => {
                if let Some(disk) = disk {
                    disk.done(&stored);
                }
                if outcome == Outcome::Bury {
                    self.bury(id, stored, loose);
                }
            }
            Outcome::Requeue => {
                stored.attempts += 1;
                if let Some(disk) = disk {
                    disk.returned(stored.position);
                }
                held.insert(stored);
                // others came meanwhile
                self.shed(id, None, loose);
            }
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
            self.enqueue(dead, Stored { position, attempts: 0, ..stored }, None, loose);
            self.dispatch(dead, loose);
        }
    }

    /// Messages that somebody waits for: ready or unsettled in work and reply queues.
    pub fn outstanding(&self) -> usize {
        let counted = self.queues.values().filter(|held| held.rules.counts);
        counted.map(|held| held.ready.len() + held.unsettled.len()).sum()
    }

    /// Has a file for what is going to change, and tries a disk again that could not be written.
    pub fn prepare(&mut self, now_ms: impl FnOnce() -> i64) {
        let Some(disk) = &mut self.disk else { return };
        if disk.tries_again().is_some_and(|again| Instant::now() >= again) {
            disk.try_again(&mut self.queues);
        }
        let can_be_written = disk.tries_again().is_none();
        let tells_use = can_be_written && self.tells_use.is_some_and(|at| Instant::now() >= at);
        if disk.needs_a_file() || tells_use {
            let now = now_ms();
            self.note_use(now);
            if tells_use {
                self.tells_use = Some(Instant::now() + TELLS_USE_EVERY);
                self.remove_unused(now);
            }
            let Some(disk) = &mut self.disk else { return };
            disk.begin_file(self.queues.values());
            disk.commit();
        }
    }

    /// What has changed is put down to be written, in one piece.
    pub fn put_down(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        disk.commit();
        if let Some(up_to) = disk.to_be_compacted() {
            disk.compact(up_to, &mut self.queues);
        }
    }

    fn note_use(&mut self, now: i64) {
        for held in self.queues.values_mut().filter(|held| !held.consumers.is_empty()) {
            held.last_used = now;
        }
    }

    /// Removes queues that nobody has declared since the start, nor used for as long as they may be unused before.
    fn remove_unused(&mut self, now: i64) {
        let expired = |held: &Held| {
            let unused = now.saturating_sub(held.last_used);
            !held.declared && held.queue.number("x-expires").is_some_and(|expires| unused > expires)
        };
        let ids: Vec<QueueId> = self.queues.iter().filter(|(_, held)| expired(held)).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(held) = self.queues.remove(&id) else { continue };
            let (queue, messages) = (&held.queue.name, held.ready.len());
            tracing::warn!(queue, messages, "nobody has used this queue for too long: it is removed");
            self.names.remove(&held.queue.name);
            self.bindings.retain(|bound| *bound != id);
            if let Some(disk) = &mut self.disk {
                disk.removed(&held);
            }
        }
    }
}

/// A queue of which only the name is known.
fn nameless(name: &str) -> Queue {
    Queue { name: name.to_owned(), bindings: Vec::new(), fanout: None, exclusive: false, arguments: Vec::new() }
}
