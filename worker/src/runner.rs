//! The runner: takes events from the group's queue, finds their handlers, runs them, publishes what they say, and
//! settles the event last.

use std::any::Any;
use std::hash::BuildHasher;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::{Broker, Confirm, Consumer, Delivery, Outcome};
use futures_util::FutureExt;
use protocol::{Chat, ChatKind, Pattern, RoutingKey, foreign_uuid};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::Matched;
use crate::error::Failure;
use crate::handler::Erased;
use crate::index::Found;
use crate::lanes::{Lane, Lanes};
use crate::matcher::{Hit, Matcher};
use crate::plugin::States;
use crate::publish::{self, Networks, Origin};
use crate::{BuildError, Catalogue, Context, Error, Plugin, Reply, RunError};

/// What a command begins with, unless the worker says otherwise.
pub const DEFAULT_COMMAND_PREFIX: &str = "!";

/// Events that a worker holds unsettled at most: enough to keep it busy, few enough to be shared among workers.
const PREFETCH: u16 = 256;
/// Events taken from the consumer in one go.
const BATCH: usize = 64;
/// How long handlers may go on after the worker was told to stop.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);
/// How long a reply waits before its event is tried again when the reply queue is full.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// One of the processes of a worker group, with the plugins it runs.
pub struct Worker {
    group: String,
    plugins: Vec<Plugin>,
    networks: Networks,
    prefix: String,
}

impl Worker {
    /// A worker of the group without plugins. Workers of one group share its events, each event going to one of them;
    /// so they must have the same plugins. Every group gets a copy of each event.
    pub fn new(group: &str) -> Self {
        Worker {
            group: group.to_owned(),
            plugins: Vec::new(),
            networks: Networks::new(),
            prefix: DEFAULT_COMMAND_PREFIX.to_owned(),
        }
    }

    /// Adds a plugin.
    #[must_use]
    pub fn plugin(mut self, plugin: Plugin) -> Self {
        self.plugins.push(plugin);
        self
    }

    /// Adds plugins.
    #[must_use]
    pub fn plugins(mut self, plugins: impl IntoIterator<Item = Plugin>) -> Self {
        self.plugins.extend(plugins);
        self
    }

    /// The networks that replies to elsewhere may go to: name and protocol (`libera`, `irc`).
    #[must_use]
    pub fn networks(mut self, networks: impl IntoIterator<Item = (String, String)>) -> Self {
        self.networks.extend(networks);
        self
    }

    /// What a command begins with: `!` unless set.
    #[must_use]
    pub fn command_prefix(self, prefix: &str) -> Self {
        Worker { prefix: prefix.to_owned(), ..self }
    }

    /// The group's name.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The patterns that the group's queue must be bound to.
    ///
    /// # Errors
    /// When the plugins can't be put together.
    pub fn patterns(&self) -> Result<Vec<Pattern>, BuildError> {
        Ok(Matcher::build(&self.plugins, &self.prefix)?.patterns())
    }

    /// Puts the plugins together and begins to take events from the group's queue. From now on no event is missed.
    ///
    /// # Errors
    /// When the plugins can't be put together, or the group's queue can't be consumed.
    pub async fn attach(self, broker: Arc<dyn Broker>) -> Result<Attached, RunError> {
        let group = self.group.clone();
        let runner = Arc::new(Runner::build(self, broker.clone())?);
        let queue = broker.topology().worker(&group, runner.matcher.patterns());
        let consumer = broker.consume(queue, PREFETCH).await?;
        tracing::info!(group, handlers = runner.handlers.len(), "the worker is ready");
        Ok(Attached { group, runner, consumer })
    }

    /// [Attaches](Worker::attach) and [works](Attached::work).
    ///
    /// # Errors
    /// As [`Worker::attach`].
    pub async fn run(self, broker: Arc<dyn Broker>, stop: CancellationToken) -> Result<(), RunError> {
        self.attach(broker).await?.work(stop).await;
        Ok(())
    }
}

/// A worker whose events are waiting for it.
pub struct Attached {
    group: String,
    runner: Arc<Runner>,
    consumer: Consumer,
}

impl Attached {
    /// Works until it is told to stop; then finishes what it began, for at most 30 s, and gives back the rest.
    pub async fn work(self, stop: CancellationToken) {
        self.runner.work(self.consumer, stop).await;
        tracing::info!(group = self.group, "the worker has stopped");
    }
}

struct Runner {
    broker: Arc<dyn Broker>,
    networks: Networks,
    matcher: Matcher,
    handlers: Vec<Ready>,
    catalogue: Arc<Catalogue>,
    lanes: Lanes<Work>,
    hasher: std::hash::RandomState,
    tasks: TaskTracker,
    malformed: AtomicU64,
    failed: AtomicU64,
}

/// A handler ready to run.
struct Ready {
    /// `group/plugin/name`.
    name: String,
    handler: Erased,
    states: Arc<States>,
}

/// An event with handlers to run.
struct Work {
    delivery: Delivery,
    event: protocol::Event,
    chat: Option<Arc<Chat>>,
    hits: Vec<Hit>,
}

impl Runner {
    fn build(worker: Worker, broker: Arc<dyn Broker>) -> Result<Self, BuildError> {
        protocol::check_network(&worker.group).map_err(|_| BuildError::Group(worker.group.clone()))?;
        let matcher = Matcher::build(&worker.plugins, &worker.prefix)?;
        let catalogue = Arc::new(Catalogue::of(&worker.plugins, &worker.prefix));
        let handlers = ready(worker.plugins, &worker.group)?;
        Ok(Runner {
            broker,
            networks: worker.networks,
            matcher,
            handlers,
            catalogue,
            lanes: Lanes::default(),
            hasher: std::hash::RandomState::new(),
            tasks: TaskTracker::new(),
            malformed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })
    }

    async fn work(self: &Arc<Self>, mut consumer: Consumer, stop: CancellationToken) {
        let mut found = Found::default();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                taken = consumer.next_many(&mut batch, BATCH) => if taken == 0 { break },
            }
            for delivery in batch.drain(..) {
                self.take(delivery, &mut found);
            }
        }
        self.tasks.close();
        if tokio::time::timeout(DRAIN_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("handlers still run; their events are given back");
        }
    }

    /// Finds an event's handlers. Without any it is done with, here and now.
    fn take(self: &Arc<Self>, delivery: Delivery, found: &mut Found) {
        let (event, chat) = match read(&delivery) {
            Ok(read) => read,
            Err(why) => return self.set_aside(delivery, &why),
        };
        let hits = self.matcher.find(&event.key, chat.as_ref(), found);
        if hits.is_empty() {
            return delivery.acknowledge();
        }
        let lane = self.lane(&event.key, chat.as_ref());
        let work = Work { delivery, event, chat: chat.map(Arc::new), hits };
        if let Some(first) = self.lanes.enter(lane, work) {
            let runner = self.clone();
            self.tasks.spawn(async move { runner.drive(lane, first).await });
        }
    }

    fn set_aside(&self, delivery: Delivery, why: &str) {
        let count = self.malformed.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(key = &*delivery.key, why, count, "a malformed event is set aside with the dead letters");
        delivery.bury();
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

    /// Works in a lane until nothing waits there.
    async fn drive(self: Arc<Self>, lane: Lane, first: Work) {
        let mut next = Some(first);
        while let Some(work) = next {
            self.handle(work).await;
            next = self.lanes.next(lane);
        }
    }

    /// Runs an event's handlers and publishes what they say; the confirms are awaited beside the lane's next event.
    async fn handle(&self, work: Work) {
        let Work { delivery, event, chat, hits } = work;
        let mut confirms = Vec::new();
        let mut outcome = Outcome::Acknowledge;
        for Hit { handler, matched } in hits {
            let handler = &self.handlers[handler];
            let replies = self.run(handler, &event, chat.clone(), matched).await;
            let sent = match replies {
                Ok(replies) => {
                    let reply_to = delivery.properties.reply_to.as_deref();
                    let origin = Origin { event: event.id, chat: chat.as_deref(), reply_to, handler: &handler.name };
                    self.publish(&origin, replies, &mut confirms).await
                }
                Err(failure) => Err(failure),
            };
            if let Err(failure) = sent {
                self.count_failure(&handler.name, &event, &failure);
                outcome = Outcome::Bury;
            }
        }
        let mut settling = Box::pin(settle(delivery, outcome, confirms));
        if futures_util::poll!(settling.as_mut()).is_pending() {
            self.tasks.spawn(settling);
        }
    }

    async fn run(
        &self,
        handler: &Ready,
        event: &protocol::Event,
        chat: Option<Arc<Chat>>,
        matched: Matched,
    ) -> Result<Vec<Reply>, Failure> {
        let context = Context {
            event: event.clone(),
            chat,
            matched,
            states: handler.states.clone(),
            catalogue: self.catalogue.clone(),
        };
        // the handler may panic when it is called and when it is polled
        let running = AssertUnwindSafe(async { (handler.handler)(context).await }).catch_unwind();
        match running.await {
            Ok(Ok(replies)) => Ok(replies),
            Ok(Err(Error::Tell(text))) => Ok(vec![Reply::text(text)]),
            Ok(Err(Error::NotForMe)) => Ok(Vec::new()),
            Ok(Err(Error::Failed(why))) => Err(Failure::Handler(why)),
            Err(panic) => Err(Failure::Panic(panic_text(&*panic))),
        }
    }

    async fn publish(
        &self,
        origin: &Origin<'_>,
        replies: Vec<Reply>,
        confirms: &mut Vec<(String, Confirm)>,
    ) -> Result<(), Failure> {
        for (ordinal, reply) in replies.into_iter().enumerate() {
            let confirm = publish::publish(&*self.broker, &self.networks, origin, ordinal, reply).await?;
            confirms.push((origin.handler.to_owned(), confirm));
        }
        Ok(())
    }

    fn count_failure(&self, handler: &str, event: &protocol::Event, failure: &Failure) {
        let count = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::error!(
            handler, event = %event.id, key = %event.key, why = %failure, count,
            "a handler failed: its event is set aside with the dead letters"
        );
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
            handlers.push(Ready { name, handler: entry.handler, states: states.clone() });
        }
    }
    Ok(handlers)
}

/// The event in a delivery, and its body where somebody said something.
fn read(delivery: &Delivery) -> Result<(protocol::Event, Option<Chat>), String> {
    let key = RoutingKey::parse(&delivery.key).map_err(|why| format!("its key {:?}: {why}", delivery.key))?;
    let said = matches!(key.chat_kind(), Some(ChatKind::Chat | ChatKind::Action | ChatKind::Notice));
    let named = delivery.properties.message_id.as_deref();
    // foreign events may carry their id in the body alone; whatever is there besides is the handler's business
    let mut event =
        protocol::Event { key, id: named.map(foreign_uuid).unwrap_or_default(), body: delivery.body.clone() };
    if said {
        let chat: Chat = event.decode().map_err(|why| why.to_string())?;
        event.id = if named.is_some() { event.id } else { chat.head.id };
        return Ok((event, Some(chat)));
    }
    let body: Identified = event.decode().map_err(|why| why.to_string())?;
    if named.is_none() {
        let id = body.id.ok_or("it has no id: neither a message_id nor a field id")?;
        event.id = foreign_uuid(&id);
    }
    Ok((event, None))
}

/// What every event must be: an object, which may have an id.
#[derive(serde::Deserialize)]
struct Identified {
    id: Option<String>,
}

/// Settles the event last, when every reply is confirmed.
async fn settle(delivery: Delivery, mut outcome: Outcome, confirms: Vec<(String, Confirm)>) {
    for (handler, confirm) in confirms {
        match confirm.await {
            Ok(()) => {}
            Err(why @ bus::Error::Unroutable(_)) => {
                tracing::error!(handler, %why, "a reply reaches nobody: its event is set aside with the dead letters");
                outcome = Outcome::Bury;
            }
            Err(why) => {
                tracing::warn!(handler, %why, "a reply could not be sent: its event is tried again");
                tokio::time::sleep(FULL_PAUSE).await;
                outcome = Outcome::Requeue;
            }
        }
    }
    delivery.settle(outcome);
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
