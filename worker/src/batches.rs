//! Who takes events in batches: each has a queue of its own, so that nothing else waits for it. Here are their names and
//! queues, how a batch is run, and one event alone; [`work`](self::work) takes the events.

mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bus::{Delivery, Past, Topology};
use protocol::{Pattern, RoutingKey};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

use crate::batch::{Batch, BatchEvent, Erased};
use crate::drive::{self, GRACE, LOOK_EVERY};
use crate::error::Failure;
use crate::incoming::Incoming;
use crate::lanes::Seat;
use crate::plugin::{BatchEntry, States};
use crate::runner::Runner;
use crate::{BuildError, Error, Plugin, Source};

pub(crate) use self::work::ONE_EVENT;

/// An event that was delivered so often before is tried where suspects are, while nothing else runs; one that is merely
/// suspicious is a batch of its own. Whatever is given back counts as delivered, and so does what lay beside a killer.
const VERY_SUSPICIOUS: u32 = 8;

/// A handler of batches, ready to run.
pub(crate) struct Taker {
    /// `group/plugin/name`.
    pub(crate) name: String,
    /// The worker group that its queue is named for.
    pub(crate) group: String,
    pub(crate) pattern: Pattern,
    /// Its handler fails, and the events wait.
    pub(crate) waits: Waits,
    handler: Erased,
    states: Arc<States>,
    #[cfg(feature = "store")]
    plugin: &'static str,
    timeout: Duration,
    any_age: bool,
    replayed: bool,
}

/// Whether somebody waits before trying again.
#[derive(Default)]
pub(crate) struct Waits {
    waits: AtomicBool,
    until_told: AtomicBool,
    now: Notify,
}

/// A delivery that is for a handler of batches.
struct Item {
    delivery: Delivery,
    /// What it holds; `None` once it was handed to the handler.
    event: Option<BatchEvent>,
    /// It is to be run alone.
    alone: bool,
}

/// All handlers of batches with their full names, in the order of the plugins.
pub(crate) fn takers(plugins: &[Plugin], group: &str) -> Result<Vec<Taker>, BuildError> {
    let mut takers: Vec<Taker> = Vec::new();
    for plugin in plugins {
        let states = Arc::new(plugin.states.clone());
        for entry in &plugin.batches {
            let taker = taker(plugin, entry, group, states.clone())?;
            let short = format!("{}/{}", plugin.name, entry.name);
            let is_taken = plugin.entries.iter().any(|other| other.name == entry.name)
                || takers.iter().any(|other| other.name == taker.name);
            if is_taken {
                return Err(BuildError::NameTwice { name: short });
            }
            if let Some(other) = takers.iter().find(|other| other.group == taker.group) {
                let first = other.name.split_once('/').map_or(&*other.name, |(_, name)| name).to_owned();
                return Err(BuildError::BatchesTwice { group: taker.group, first, second: short });
            }
            takers.push(taker);
        }
    }
    Ok(takers)
}

fn taker(plugin: &Plugin, entry: &BatchEntry, group: &str, states: Arc<States>) -> Result<Taker, BuildError> {
    let (name, spec) = (plugin.name, &entry.spec);
    let named = || (name.to_owned(), entry.name.clone());
    let pattern = match &spec.source {
        Source::Event(Ok(pattern)) => pattern.clone(),
        Source::Event(Err((pattern, why))) => {
            let ((plugin, handler), pattern, why) = (named(), pattern.clone(), why.clone());
            return Err(BuildError::Pattern { plugin, handler, pattern, why });
        }
        Source::Trigger(_) | Source::Command(_) => {
            let (plugin, handler) = named();
            return Err(BuildError::BatchOfWhat { plugin, handler });
        }
    };
    if let Some(role) = spec.role {
        let (plugin, handler) = named();
        return Err(BuildError::BatchForRole { plugin, handler, role });
    }
    if let Some((_, state)) = entry.needs.iter().find(|(id, _)| !states.contains_key(id)) {
        let (plugin, handler) = named();
        return Err(BuildError::NoState { plugin, handler, state });
    }
    let group_of_its_own = match spec.name {
        Some(word) => format!("{group}-{name}-{word}"),
        None => format!("{group}-{name}"),
    };
    protocol::check_network(&group_of_its_own).map_err(|_| BuildError::Group(group_of_its_own.clone()))?;
    Ok(Taker {
        name: format!("{group}/{name}/{}", entry.name),
        group: group_of_its_own,
        pattern,
        waits: Waits::default(),
        handler: entry.handler.clone(),
        states,
        #[cfg(feature = "store")]
        plugin: plugin.name,
        timeout: spec.timeout,
        any_age: spec.any_age,
        replayed: spec.replayed,
    })
}

impl Taker {
    /// Its queue's name.
    pub(crate) fn queue(&self, topology: &Topology) -> String {
        topology.worker(&self.group, Vec::new()).name
    }
}

impl Waits {
    pub(crate) fn is_waiting(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    /// Waits so long, or until somebody says that it's time.
    async fn pause(&self, pause: Duration) {
        self.waits.store(true, Ordering::Release);
        match self.until_told.load(Ordering::Acquire) {
            true => self.now.notified().await,
            false => drop(timeout(pause, self.now.notified()).await),
        }
        self.waits.store(false, Ordering::Release);
    }

    /// Each wait is over when somebody says so, and not before: for tests.
    pub(crate) fn until_told(&self) {
        self.until_told.store(true, Ordering::Release);
    }

    /// Says that it's time.
    pub(crate) fn end(&self) {
        if self.waits.swap(false, Ordering::AcqRel) {
            self.now.notify_one();
        }
    }
}

impl Item {
    /// What is handed to the handler: read again for each further try, since the handler owns what it gets.
    fn event(&mut self) -> Option<BatchEvent> {
        let read_again = || Incoming::read(&self.delivery, &Past::of(&self.delivery)).ok();
        self.event.take().or_else(|| read_again().map(|Incoming { event, chat, .. }| BatchEvent { event, chat }))
    }
}

impl Runner {
    /// Reads a delivery for a handler of batches. What is not for it is settled here and now.
    fn sort(self: &Arc<Self>, taker: &Taker, delivery: Delivery, alone: bool) -> Option<Item> {
        let past = Past::of(&delivery);
        let stranger = past.handler.filter(|name| *name != taker.name).map(str::to_owned);
        match (Incoming::read(&delivery, &past), stranger) {
            (Err(_), _) if self.has_another_copy(taker, &past) => delivery.acknowledge(),
            (Err(why), _) => self.set_aside(delivery, &why),
            (Ok(_), Some(name)) => self.no_handler(delivery, &name),
            (Ok(incoming), _) if !self.is_wanted(taker, &incoming) => delivery.acknowledge(),
            (Ok(_), _) if delivery.attempts >= VERY_SUSPICIOUS && !alone => self.suspect(delivery),
            (Ok(Incoming { event, chat, .. }), _) => {
                let alone = alone || self.is_suspicious(&delivery);
                return Some(Item { delivery, event: Some(BatchEvent { event, chat }), alone });
            }
        }
        None
    }

    /// Another queue of this worker sets its copy of a malformed event aside: one dead letter is enough. It is the worker's own
    /// queue, if that is bound to it, else that of the first handler of batches that is.
    fn has_another_copy(&self, taker: &Taker, past: &Past<'_>) -> bool {
        let (None, Ok(key)) = (past.handler, RoutingKey::parse(past.key)) else { return false };
        let first = self.takers.iter().find(|other| other.pattern.matches(&key));
        self.patterns().iter().any(|pattern| pattern.matches(&key))
            || first.is_some_and(|first| first.name != taker.name)
    }

    /// The handler asks for events of this key, time and origin.
    fn is_wanted(&self, taker: &Taker, Incoming { event, chat, at }: &Incoming) -> bool {
        let is_replayed = chat.as_ref().is_some_and(|chat| chat.replayed);
        let is_old = !is_replayed && !taker.any_age && self.is_too_old(*at);
        if is_old {
            self.skip_old();
        }
        let fits = !is_old && (taker.replayed || !is_replayed) && taker.pattern.matches(&event.key);
        #[cfg(feature = "store")]
        let fits = fits && self.is_on(taker.plugin, event, chat.as_ref());
        fits
    }

    /// Tries an event alone that came to a handler of batches again and again. If it fails and has killed nobody, it
    /// waits with the others, as if it had just come.
    pub(crate) async fn try_batch_of_one(self: &Arc<Self>, taker: &Taker, suspect: Delivery) {
        let Some(mut item) = self.sort(taker, suspect, true) else { return };
        match self.run_batch(taker, std::slice::from_mut(&mut item)).await {
            Ok(()) => item.delivery.acknowledge(),
            Err(failure) if is_waited_for(&failure) => {
                self.move_to(item.delivery, &taker.queue(self.broker.topology())).await;
            }
            Err(failure) => self.send_on_alone(item.delivery, &taker.name, &failure).await,
        }
    }

    /// Runs a handler for a batch, on the handlers' threads, within its time.
    async fn run_batch(&self, taker: &Taker, items: &mut [Item]) -> Result<(), Failure> {
        let batch = Batch::of(items.iter_mut().filter_map(Item::event).collect());
        let running = (taker.handler)(batch, taker.states.clone());
        let (limit, seat) = (taker.timeout, Arc::new(Seat::new(self.executor.threads())));
        let (returns, mut returned) = oneshot::channel();
        let until = Instant::now() + limit + GRACE;
        seat.put((), until);
        let task_seat = seat.clone();
        self.executor.spawn(async move {
            let result = drive::run(&task_seat, limit, running).await;
            if task_seat.take().is_some() {
                returns.send(result).ok();
            }
        });
        while Instant::now() < until {
            match timeout(LOOK_EVERY, &mut returned).await {
                Ok(Ok(result)) => return outcome(result),
                // its task ended with its threads
                Ok(Err(_)) => break,
                Err(_) => self.executor.nudge(),
            }
        }
        Err(self.abandon(taker, &seat))
    }

    /// The handler does not return: nobody waits for it any more.
    fn abandon(&self, taker: &Taker, seat: &Seat<()>) -> Failure {
        let Some(((), Some(threads))) = seat.abandon_at_once() else { return Failure::TimedOut(taker.timeout) };
        let (handler, limit) = (&taker.name, taker.timeout);
        tracing::error!(handler, "a handler blocks its thread for longer than {limit:?}: it is abandoned");
        let loss = self.executor.lose(&threads);
        self.tell(&loss);
        Failure::Blocked(limit)
    }
}

/// What a handler's return means. There is nobody to tell anything.
fn outcome(returned: Result<Result<(), Error>, Failure>) -> Result<(), Failure> {
    match returned? {
        Ok(()) | Err(Error::NotForMe) => Ok(()),
        Err(Error::Tell(text)) => Err(Failure::GaveUp(text.into())),
        Err(Error::Failed(why)) => Err(Failure::Handler(why)),
        Err(Error::GaveUp(why)) => Err(Failure::GaveUp(why)),
    }
}

/// Nothing is wrong with the events: what the handler works with is away, or slow.
fn is_waited_for(failure: &Failure) -> bool {
    !failure.is_final() && matches!(failure, Failure::Handler(_) | Failure::TimedOut(_))
}
