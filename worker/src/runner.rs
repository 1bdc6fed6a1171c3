//! The runner: takes events from the group's queue, finds their handlers, runs them, and settles each event last. Events
//! that were delivered again and again are first tried alone.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::{Broker, Consumer, DeadLetter, Delivery, Past};
use futures_util::future::join_all;
use protocol::{Ambient, Chat, Pattern, RoutingKey, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker, task_tracker::TaskTrackerToken};

use crate::batches::{self, Taker};
use crate::error::Failure;
use crate::executor::{Executor, SPARE_THREADS};
use crate::handler::Erased;
use crate::incoming::Incoming;
use crate::index::Found;
use crate::lanes::{Lane, Lanes};
use crate::matcher::{Hit, Matcher};
use crate::plugin::States;
use crate::publish::Networks;
use crate::seen::{Buried, Done, Seen};
use crate::worker::{Suspects, Worker};
use crate::{BuildError, Catalogue, Plugin, RunError};

/// Events taken from the consumer in one go.
const BATCH: usize = 64;
/// How long what was begun may take after the worker was told to stop. With the broker's 5 s for goodbye that is less
/// than the 30 s after which service managers lose their patience.
const DRAIN_WITHIN: Duration = Duration::from_secs(24);
/// How long what waits for its turn may still begin then.
const BEGIN_WITHIN: Duration = Duration::from_secs(2);
/// How long a suspect waits for what runs to end, before it is tried all the same.
const ALONE_WITHIN: Duration = Duration::from_secs(30);
/// An event that was delivered so often before is a suspect: it may be what killed its workers.
const SUSPICIOUS: u32 = 2;
/// The same in an ordered group. Whenever a partition goes to another worker, what was on its way to the first counts as
/// delivered: a restart of four workers, one after the other, comes to 3, and an event that is tried alone is overtaken by
/// its successors. What really kills its workers is found all the same, a few deaths later.
const SUSPICIOUS_IN_ORDER: u32 = 8;
/// A suspect that was delivered so often before has killed so many workers, alone.
const DEATHS: u32 = 3;
/// How long events wait at the start until settings are read; without a database they go on with what the file says.
#[cfg(feature = "store")]
const FIRST_LOOK_WITHIN: Duration = Duration::from_secs(2);
/// Events older than this are skipped, by handlers that don't ask for them.
const STALE_AFTER: Duration = Duration::from_secs(60 * 60);

/// What a worker is made of while it runs.
pub(crate) struct Runner {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) networks: Networks,
    pub(crate) handlers: Vec<Ready>,
    pub(crate) catalogue: Arc<Catalogue>,
    #[cfg(feature = "store")]
    pub(crate) database: Option<store::Store>,
    #[cfg(feature = "store")]
    pub(crate) settings: Option<crate::LiveSettings>,
    pub(crate) takers: Vec<Taker>,
    /// Who runs a batch reads, and who tries something alone writes.
    pub(crate) batching: RwLock<()>,
    pub(crate) lanes: Lanes<Box<Work>>,
    pub(crate) executor: Executor,
    /// The runtime that is not the handlers'.
    pub(crate) main: Handle,
    pub(crate) seen: Seen<Done>,
    /// Suspects that are dead letters now.
    pub(crate) buried: Seen<Buried>,
    pub(crate) counts: Counts,
    /// There are not enough threads for handlers any more.
    pub(crate) worn_out: CancellationToken,
    /// Nothing more is taken.
    pub(crate) stopping: CancellationToken,
    /// The group's queue, where what is tried again comes from.
    pub(crate) queue: String,
    suspects: String,
    /// What was delivered so often before is tried alone.
    suspicious: u32,
    pub(crate) ambient: Arc<dyn Ambient>,
    matcher: Matcher,
    by_name: HashMap<String, usize>,
    hasher: std::hash::RandomState,
    tasks: TaskTracker,
}

/// What happened, since the start.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) malformed: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) repeated: AtomicU64,
}

/// A handler ready to run.
pub(crate) struct Ready {
    /// `group/plugin/name`.
    pub(crate) name: String,
    pub(crate) handler: Erased,
    pub(crate) states: Arc<States>,
    pub(crate) timeout: Duration,
    /// Whose the handler is: those who have it.
    pub(crate) role: Option<&'static str>,
    any_age: bool,
    replayed: bool,
    #[cfg(feature = "store")]
    pub(crate) plugin: &'static str,
    #[cfg(feature = "store")]
    pub(crate) transactional: bool,
}

/// An event with handlers to run.
pub(crate) struct Work {
    pub(crate) delivery: Delivery,
    pub(crate) event: protocol::Event,
    pub(crate) chat: Option<Arc<Chat>>,
    /// The only handler that it is for; `None`: all.
    pub(crate) only: Option<usize>,
    /// The handlers still to run.
    pub(crate) hits: std::vec::IntoIter<Hit>,
    /// The handler that runs.
    pub(crate) running: usize,
    /// The replies of each handler that are on their way.
    pub(crate) confirms: Vec<(usize, bus::Confirm)>,
    /// The handlers that have failed.
    pub(crate) failures: Vec<(usize, Failure)>,
    /// Counts among what is to be finished.
    pub(crate) begun: TaskTrackerToken,
}

impl Runner {
    pub(crate) fn build(worker: Worker, broker: Arc<dyn Broker>, executor: Executor) -> Result<Self, BuildError> {
        protocol::check_network(&worker.group).map_err(|_| BuildError::Group(worker.group.clone()))?;
        let matcher = Matcher::build(&worker.plugins, &worker.prefix)?;
        let takers = batches::takers(&worker.plugins, &worker.group)?;
        let catalogue = Arc::new(Catalogue::of(&worker.plugins, &worker.prefix));
        let handlers = ready(worker.plugins, &worker.group)?;
        #[cfg(feature = "store")]
        if worker.database.is_none()
            && let Some(Ready { name, .. }) = handlers.iter().find(|handler| handler.transactional)
        {
            return Err(BuildError::NoDatabase { name: name.clone() });
        }
        let topology = broker.topology();
        Ok(Runner {
            queue: topology.worker(&worker.group, Vec::new()).name,
            suspects: topology.suspect(&worker.group).name,
            suspicious: if worker.ordered { SUSPICIOUS_IN_ORDER } else { SUSPICIOUS },
            broker,
            networks: worker.networks,
            by_name: handlers.iter().enumerate().map(|(index, handler)| (handler.name.clone(), index)).collect(),
            handlers,
            takers,
            batching: RwLock::default(),
            catalogue,
            #[cfg(feature = "store")]
            database: worker.database,
            #[cfg(feature = "store")]
            settings: worker.settings,
            lanes: Lanes::default(),
            executor,
            main: Handle::current(),
            seen: Seen::default(),
            buried: Seen::default(),
            counts: Counts::default(),
            worn_out: CancellationToken::new(),
            stopping: CancellationToken::new(),
            ambient: worker.ambient,
            matcher,
            hasher: std::hash::RandomState::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// What the group's queue is bound to.
    pub(crate) fn patterns(&self) -> Vec<Pattern> {
        self.matcher.patterns()
    }

    /// The queue that a delivery goes back to when it is to be tried again: where it came from, or what it was moved from
    /// to be tried alone.
    pub(crate) fn home<'a>(&'a self, delivery: &'a Delivery) -> &'a str {
        match &*delivery.queue {
            "" => &self.queue,
            _ if self.is_suspect(delivery) => Past::of(delivery).queue.unwrap_or(&self.queue),
            queue => queue,
        }
    }

    /// How many handlers there are.
    pub(crate) fn handlers(&self) -> usize {
        self.handlers.len() + self.takers.len()
    }

    pub(crate) async fn work(
        self: &Arc<Self>,
        mut events: Consumer,
        mut suspects: Suspects,
        batches: Vec<Consumer>,
        stop: CancellationToken,
    ) -> Result<(), RunError> {
        // in the runtime that we are in, a handler that doesn't return wouldn't let anybody look
        let is_watched = self.executor.threads().is_some();
        #[cfg(feature = "store")]
        if let Some(settings) = &self.settings {
            // what is off had better be off from the first event on
            tokio::time::timeout(FIRST_LOOK_WITHIN, settings.refresh()).await.ok();
        }
        #[cfg(feature = "store")]
        let _keeping_up = self
            .settings
            .clone()
            .map(|settings| AbortOnDropHandle::new(self.main.spawn(settings.keep_up(self.stopping.clone()))));
        let _watch = is_watched.then(|| AbortOnDropHandle::new(self.main.spawn(self.clone().watch())));
        let takers = batches.into_iter().enumerate();
        let takers = takers.map(|(taker, events)| self.main.spawn(self.clone().take_batches(taker, events)));
        let takers: Vec<AbortOnDropHandle<()>> = takers.map(AbortOnDropHandle::new).collect();
        let mut found = Found::default();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.worn_out.cancelled() => break,
                suspect = suspects.next() => match suspect {
                    Some(suspect) => self.try_alone(suspect, &mut found, &stop).await,
                    None => break,
                },
                taken = events.next_many(&mut batch, BATCH) => if taken == 0 { break },
            }
            for delivery in batch.drain(..) {
                self.take(delivery, &mut found, false);
            }
        }
        self.stopping.cancel();
        let suspect = suspects.waiting();
        // what nobody looked at goes to other workers at once
        drop((events, suspects));
        if let Some(suspect) = suspect {
            self.suspect(suspect);
        }
        tokio::join!(self.drain(), finish_batches(takers));
        if self.worn_out.is_cancelled() { Err(RunError::LostThreads(SPARE_THREADS)) } else { Ok(()) }
    }

    /// Finishes what was begun, and gives back the rest.
    async fn drain(&self) {
        self.tasks.close();
        if tokio::time::timeout(BEGIN_WITHIN, self.tasks.wait()).await.is_ok() {
            return;
        }
        drop(self.lanes.clear_waiting());
        // where all threads are blocked nothing comes to its end: another worker does better with it
        let patience = if self.executor.answers().await { DRAIN_WITHIN - BEGIN_WITHIN } else { Duration::ZERO };
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("handlers still run; their events are given back");
            drop(self.lanes.clear());
        }
    }

    /// Tries an event alone that may have killed its workers, so that it takes no other along. While it runs, nothing
    /// else is taken. One that can't begin before we are to stop goes back as if it had not come: given back, it would
    /// count as a death.
    async fn try_alone(self: &Arc<Self>, suspect: Delivery, found: &mut Found, stop: &CancellationToken) {
        if buried(&suspect).is_some_and(|buried| self.buried.knows(&buried)) {
            // its worker was cut off, or died, between moving it here and acknowledging it where it was
            count(&self.counts.repeated, "an event came that was set aside already");
            return suspect.acknowledge();
        }
        if suspect.attempts >= DEATHS {
            let why = format!("it killed its worker {DEATHS} times");
            let letter = DeadLetter { attempts: DEATHS, ..DeadLetter::new(&suspect, self.home(&suspect), why) };
            tracing::error!(
                key = letter.key,
                message_id = suspect.properties.message_id,
                "an event killed its worker {DEATHS} times, alone: it is set aside with the dead letters"
            );
            return self.bury(suspect, letter);
        }
        let Some(_alone) = stop.run_until_cancelled(self.alone()).await else { return self.suspect(suspect) };
        tracing::warn!(
            message_id = suspect.properties.message_id,
            deaths = suspect.attempts,
            "an event that may have killed its worker is tried alone"
        );
        let home = self.home(&suspect);
        match self.takers.iter().position(|taker| taker.queue(self.broker.topology()) == home) {
            None => self.take(suspect, found, true),
            Some(taker) => {
                let (runner, begun) = (self.clone(), self.tasks.token());
                self.main.spawn(async move {
                    let _begun = begun;
                    runner.try_batch_of_one(&runner.takers[taker], suspect).await;
                });
            }
        }
        // every handler has its time, and whatever blocks is abandoned
        stop.run_until_cancelled(self.idle()).await;
    }

    /// It came from where it is tried alone.
    fn is_suspect(&self, delivery: &Delivery) -> bool {
        *delivery.queue == *self.suspects
    }

    /// What the broker can't take now is sent to it until it can: given back, a suspect would be taken for one that has
    /// killed its worker.
    pub(crate) fn persists_with(&self, delivery: &Delivery) -> bool {
        self.is_suspect(delivery) && !self.stopping.is_cancelled() && !self.worn_out.is_cancelled()
    }

    /// It was delivered so often that it may be what killed its workers.
    pub(crate) fn is_suspicious(&self, delivery: &Delivery) -> bool {
        delivery.attempts >= self.suspicious
    }

    /// It is from a time that only some handlers take events of.
    pub(crate) fn is_too_old(&self, at: Option<Timestamp>) -> bool {
        at.is_some_and(|at| at.plus(STALE_AFTER) < self.ambient.now())
    }

    /// An event is skipped that is too old.
    pub(crate) fn skip_old(&self) {
        count(&self.counts.stale, "an event is skipped: it is more than an hour old");
    }

    /// Waits until nothing runs and the broker knows what has become of everything: whatever kills this process now takes
    /// nothing along, and what was moved to where it is tried alone is there once.
    /// While the guard is held, no batch runs either.
    async fn alone(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        let alone = async {
            self.idle().await;
            self.batching.write().await
        };
        let alone = tokio::time::timeout(ALONE_WITHIN, alone).await.ok();
        if alone.is_none() {
            tracing::warn!("handlers still run; what may have killed its worker is tried beside them");
        }
        if let Err(why) = self.broker.settled().await {
            tracing::warn!(%why, "what may have killed its worker is tried all the same; if it does, others come again");
        }
        alone
    }

    /// Remembers that a suspect is a dead letter.
    pub(crate) fn remember_buried(&self, delivery: &Delivery) {
        if self.is_suspect(delivery)
            && let Some(buried) = buried(delivery)
        {
            self.buried.remember(buried);
        }
    }

    /// Waits until everything that was begun is settled.
    async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Finds an event's handlers. Without any it is done with, here and now.
    fn take(self: &Arc<Self>, delivery: Delivery, found: &mut Found, alone: bool) {
        let past = Past::of(&delivery);
        let Incoming { event, chat, at } = match Incoming::read(&delivery, &past) {
            Ok(incoming) => incoming,
            Err(why) => return self.set_aside(delivery, &why),
        };
        let only = match past.handler.map(|name| self.by_name.get(name).copied().ok_or(name)) {
            None => None,
            Some(Ok(handler)) => Some(handler),
            Some(Err(name)) => {
                let name = name.to_owned();
                return self.no_handler(delivery, &name);
            }
        };
        if self.seen.knows(&(event.id, only)) {
            count(&self.counts.repeated, "an event came that was done already");
            return delivery.acknowledge();
        }
        let mut hits = self.matcher.find(&event.key, chat.as_ref(), found);
        if let Some(only) = only {
            hits.retain(|hit| hit.handler == only);
        }
        if chat.as_ref().is_some_and(|chat| chat.replayed) {
            hits.retain(|hit| self.handlers[hit.handler].replayed);
        } else if hits.iter().any(|hit| !self.handlers[hit.handler].any_age) && self.is_too_old(at) {
            hits.retain(|hit| self.handlers[hit.handler].any_age);
            if hits.is_empty() {
                self.skip_old();
            }
        }
        #[cfg(feature = "store")]
        self.leave_out_what_is_off(&mut hits, &event, chat.as_ref());
        if hits.is_empty() {
            return delivery.acknowledge();
        }
        if self.is_suspicious(&delivery) && !alone {
            return self.suspect(delivery);
        }
        let lane = self.lane(&event.key, chat.as_ref());
        let work = Work {
            delivery,
            event,
            chat: chat.map(Arc::new),
            only,
            hits: hits.into_iter(),
            running: 0,
            confirms: Vec::new(),
            failures: Vec::new(),
            begun: self.tasks.token(),
        };
        if let Some((work, seat)) = self.lanes.enter(lane, Box::new(work), || self.executor.threads()) {
            self.executor.spawn(self.clone().drive(lane, seat, work));
        }
    }

    /// Whether a plugin is on where the event happened.
    #[cfg(feature = "store")]
    pub(crate) fn is_on(&self, plugin: &str, event: &protocol::Event, chat: Option<&Chat>) -> bool {
        let settings = self.settings.as_ref().map(crate::LiveSettings::now);
        let Some(settings) = settings.filter(|settings| settings.switches(plugin)) else { return true };
        crate::live::scope(event, chat).is_none_or(|scope| settings.is_on(plugin, &scope))
    }

    /// Leaves out the handlers of plugins that are off where the event happened.
    #[cfg(feature = "store")]
    fn leave_out_what_is_off(&self, hits: &mut Vec<Hit>, event: &protocol::Event, chat: Option<&Chat>) {
        hits.retain(|hit| self.is_on(self.handlers[hit.handler].plugin, event, chat));
    }

    /// Sets an event aside that is for a handler which is not here.
    pub(crate) fn no_handler(self: &Arc<Self>, delivery: Delivery, name: &str) {
        let letter = DeadLetter::new(&delivery, self.home(&delivery), format!("there is no handler {name} any more"));
        tracing::warn!(key = letter.key, why = letter.error, "an event is set aside with the dead letters");
        self.bury(delivery, letter);
    }

    pub(crate) fn set_aside(self: &Arc<Self>, delivery: Delivery, why: &str) {
        let count = self.counts.malformed.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(key = &*delivery.key, why, count, "a malformed event is set aside with the dead letters");
        let letter = DeadLetter::new(&delivery, self.home(&delivery), why);
        self.bury(delivery, letter);
    }

    fn bury(self: &Arc<Self>, delivery: Delivery, letter: DeadLetter) {
        let (runner, begun) = (self.clone(), self.tasks.token());
        self.main.spawn(async move {
            let _begun = begun;
            runner.bury_with(delivery, letter).await;
        });
    }

    /// Moves an event to where it is tried alone.
    pub(crate) fn suspect(self: &Arc<Self>, delivery: Delivery) {
        let (runner, begun) = (self.clone(), self.tasks.token());
        self.main.spawn(async move {
            let _begun = begun;
            runner.move_to(delivery, &runner.suspects).await;
        });
    }

    /// What happens in one channel stays in order; other events stay in order among those of their first word.
    fn lane(&self, key: &RoutingKey, chat: Option<&Chat>) -> Lane {
        let network = chat.map(|chat| chat.head.network.as_str());
        let place = match key.chat_kind() {
            Some(_) => key.as_str().rsplit_once('.').map_or(key.as_str(), |(place, _)| place),
            None => key.words().next().unwrap_or_default(),
        };
        self.hasher.hash_one((network, place))
    }
}

/// Waits until all batches that were begun are settled. What takes too long is given back.
async fn finish_batches(takers: Vec<AbortOnDropHandle<()>>) {
    if tokio::time::timeout(DRAIN_WITHIN, join_all(takers)).await.is_err() {
        tracing::warn!("handlers of batches still run; their events are given back");
    }
}

/// By what a suspect is known again; `None` when it can't be read.
fn buried(delivery: &Delivery) -> Option<Buried> {
    let past = Past::of(delivery);
    let incoming = Incoming::read(delivery, &past).ok()?;
    Some((incoming.event.id, past.handler.map(str::to_owned), past.retried))
}

/// Counts something, and tells the first time and then less and less often.
fn count(counter: &AtomicU64, what: &'static str) {
    let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
    if count.is_power_of_two() {
        tracing::warn!(count, "{what}");
    }
}

/// All handlers with their full names, in the order of the plugins.
fn ready(plugins: Vec<Plugin>, group: &str) -> Result<Vec<Ready>, BuildError> {
    let mut handlers: Vec<Ready> = Vec::new();
    for plugin in plugins {
        let states = Arc::new(plugin.states);
        for entry in plugin.entries {
            let name = format!("{group}/{}/{}", plugin.name, entry.name);
            if handlers.iter().any(|other| other.name == name) {
                return Err(BuildError::NameTwice { name: format!("{}/{}", plugin.name, entry.name) });
            }
            handlers.push(Ready {
                name,
                handler: entry.handler,
                states: states.clone(),
                timeout: entry.spec.timeout,
                role: entry.spec.role,
                any_age: entry.spec.any_age,
                replayed: entry.spec.replayed,
                #[cfg(feature = "store")]
                plugin: plugin.name,
                #[cfg(feature = "store")]
                transactional: entry.spec.transactional,
            });
        }
    }
    Ok(handlers)
}
