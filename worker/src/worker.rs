//! A worker: the plugins it runs, put together and attached to its group's queue.

use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, Consumer, Delay, Error, Queue, System};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use protocol::{Ambient, Pattern};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::batches::{self, ONE_EVENT};
use crate::executor::Executor;
use crate::matcher::Matcher;
use crate::publish::Networks;
use crate::runner::Runner;
use crate::{BuildError, Plugin, RunError};

/// What a command begins with, unless the worker says otherwise.
pub const DEFAULT_COMMAND_PREFIX: &str = "!";

/// Events that a worker holds unsettled at most: enough to keep it busy, few enough to be shared among workers.
const PREFETCH: u16 = 256;
/// The same for each of the 16 partitions of an ordered group, of which four workers have four each.
const ORDERED_PREFETCH: u16 = PREFETCH / 4;
/// Suspects are tried one by one.
const ONE_SUSPECT: u16 = 1;
/// How long a suspect that waits may take to come before other events do.
const SUSPECT_WITHIN: Duration = Duration::from_millis(500);

/// One of the processes of a worker group, with the plugins it runs.
pub struct Worker {
    pub(crate) group: String,
    pub(crate) plugins: Vec<Plugin>,
    pub(crate) networks: Networks,
    pub(crate) prefix: String,
    pub(crate) ambient: Arc<dyn Ambient>,
    pub(crate) threads: Threads,
    pub(crate) ordered: bool,
    #[cfg(feature = "store")]
    pub(crate) database: Option<store::Store>,
}

/// On which threads handlers run.
#[derive(Clone, Copy)]
pub(crate) enum Threads {
    /// Those of the runtime that the worker runs in, for tests.
    Here,
    /// Their own, of which there may be new ones so often.
    Own { replacements: u32 },
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
            ambient: Arc::new(System),
            threads: Threads::Own { replacements: 0 },
            ordered: false,
            #[cfg(feature = "store")]
            database: None,
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

    /// Whether the order of each channel is kept across all workers of the group. All of them must agree. Over RabbitMQ,
    /// a channel's events go to one worker at a time then; one worker alone always keeps the order. What a handler
    /// failed on and is tried again comes when it comes.
    #[must_use]
    pub fn ordered(self, ordered: bool) -> Self {
        Worker { ordered, ..self }
    }

    /// Where its handlers remember things ([`Database`](crate::Database)).
    #[cfg(feature = "store")]
    #[must_use]
    pub fn database(self, database: store::Store) -> Self {
        Worker { database: Some(database), ..self }
    }

    /// The clock by which events are too old; the system's unless set.
    #[must_use]
    pub fn ambient(self, ambient: Arc<dyn Ambient>) -> Self {
        Worker { ambient, ..self }
    }

    /// Handlers run on threads of their own: one for each processor and 8 more. When 8 of them are blocked by handlers
    /// that don't come back, the worker ends, unless it may start new ones so often: for processes that are more than a
    /// worker, and had better not end. None unless set.
    #[must_use]
    pub fn new_threads(self, times: u32) -> Self {
        Worker { threads: Threads::Own { replacements: times }, ..self }
    }

    /// Handlers run in the runtime that the worker is in, whose clock a test may have paused.
    pub(crate) fn here(self) -> Self {
        Worker { threads: Threads::Here, ..self }
    }

    /// The group's name.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The patterns that the group's queue must be bound to. Handlers of batches have queues of their own, see
    /// [`bindings`](Worker::bindings).
    ///
    /// # Errors
    /// When the plugins can't be put together.
    pub fn patterns(&self) -> Result<Vec<Pattern>, BuildError> {
        batches::takers(&self.plugins, &self.group)?;
        Ok(Matcher::build(&self.plugins, &self.prefix)?.patterns())
    }

    /// The worker groups whose queues this worker takes events from, with the patterns that they must be bound to: its
    /// own group, and one for each handler of [batches](Plugin::in_batches).
    ///
    /// # Errors
    /// When the plugins can't be put together.
    pub fn bindings(&self) -> Result<Vec<(String, Vec<Pattern>)>, BuildError> {
        let own = (self.group.clone(), self.patterns()?);
        let batches = batches::takers(&self.plugins, &self.group)?.into_iter();
        Ok(std::iter::once(own).chain(batches.map(|taker| (taker.group, vec![taker.pattern]))).collect())
    }

    /// Puts the plugins together and begins to take events from the group's queue. From now on no event is missed.
    ///
    /// # Errors
    /// When the plugins can't be put together, or the group's queue can't be consumed.
    pub async fn attach(self, broker: Arc<dyn Broker>) -> Result<Attached, RunError> {
        let executor = match self.threads {
            Threads::Here => Executor::Here,
            Threads::Own { replacements } => Executor::own(replacements)?,
        };
        let group = self.group.clone();
        let ordered = self.ordered;
        let runner = Arc::new(Runner::build(self, broker.clone(), executor)?);
        let topology = broker.topology();
        try_join_all(Delay::ALL.map(|delay| broker.declare(topology.retry(delay)))).await?;
        let suspects = Suspects::consume(&*broker, topology.suspect(&group)).await?;
        let events = match ordered {
            true => broker.consume_ordered(&group, runner.patterns(), ORDERED_PREFETCH).await?,
            false => broker.consume(topology.worker(&group, runner.patterns()), PREFETCH).await?,
        };
        let batches = runner.takers.iter().map(|taker| {
            let queue = topology.worker(&taker.group, vec![taker.pattern.clone()]);
            broker.consume(queue, ONE_EVENT)
        });
        let batches = try_join_all(batches).await?;
        tracing::info!(group, handlers = runner.handlers(), "the worker is ready");
        Ok(Attached { group, runner, events, suspects, batches })
    }

    /// [Attaches](Worker::attach) and [works](Attached::work).
    ///
    /// # Errors
    /// As [`Worker::attach`] and [`Attached::work`].
    pub async fn run(self, broker: Arc<dyn Broker>, stop: CancellationToken) -> Result<(), RunError> {
        self.attach(broker).await?.work(stop).await
    }
}

/// A worker whose events are waiting for it.
pub struct Attached {
    group: String,
    pub(crate) runner: Arc<Runner>,
    events: Consumer,
    suspects: Suspects,
    batches: Vec<Consumer>,
}

impl Attached {
    /// Works until it is told to stop; then finishes what it began, for at most 24 s, and gives back the rest.
    ///
    /// # Errors
    /// [`RunError::LostThreads`] when too many handlers have blocked their threads.
    pub async fn work(self, stop: CancellationToken) -> Result<(), RunError> {
        let result = self.runner.work(self.events, self.suspects, self.batches, stop).await;
        tracing::info!(group = self.group, "the worker has stopped");
        result
    }
}

/// The events that may have killed their workers, to be tried alone. Of all workers of a group, one at a time gets them.
pub(crate) struct Suspects {
    consumer: Consumer,
    first: Option<bus::Delivery>,
}

impl Suspects {
    /// Begins to consume. When a suspect waits already, it comes before any other event: another killer among those
    /// would count as a death of the suspect.
    async fn consume(broker: &dyn Broker, queue: Queue) -> Result<Self, Error> {
        let waiting = broker.depth(&queue.name).await;
        let mut consumer = broker.consume(queue, ONE_SUSPECT).await?;
        let first = match waiting {
            Ok(Some(1..)) => timeout(SUSPECT_WITHIN, consumer.next()).await.ok().flatten(),
            _ => None,
        };
        Ok(Suspects { consumer, first })
    }

    /// The next; `None` when the broker was closed.
    pub(crate) async fn next(&mut self) -> Option<bus::Delivery> {
        match self.first.take() {
            Some(first) => Some(first),
            None => self.consumer.next().await,
        }
    }

    /// One that has come and that nobody has looked at.
    pub(crate) fn waiting(&mut self) -> Option<bus::Delivery> {
        self.next().now_or_never().flatten()
    }
}
