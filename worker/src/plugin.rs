//! A plugin: a name, its handlers with their specs, and what they share.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use crate::batch::{self, BatchHandler};
use crate::handler::{Erased, Handler, erase};
use crate::{Source, Spec};

/// Values that a plugin's handlers share, by type.
pub(crate) type States = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// Something that a bot can do: handlers that belong together.
pub struct Plugin {
    pub(crate) name: &'static str,
    pub(crate) entries: Vec<PluginEntry>,
    pub(crate) batches: Vec<BatchEntry>,
    pub(crate) states: States,
    #[cfg(feature = "store")]
    steps: Option<store::PluginSteps>,
}

pub(crate) struct PluginEntry {
    pub(crate) name: String,
    pub(crate) spec: Spec,
    pub(crate) handler: Erased,
}

/// A handler that takes events in batches.
pub(crate) struct BatchEntry {
    pub(crate) name: String,
    pub(crate) spec: Spec,
    pub(crate) handler: batch::Erased,
    /// The states that it takes, and their names.
    pub(crate) needs: Vec<(TypeId, &'static str)>,
}

impl Plugin {
    /// A plugin without handlers.
    pub fn new(name: &'static str) -> Self {
        Plugin {
            name,
            entries: Vec::new(),
            batches: Vec::new(),
            states: States::new(),
            #[cfg(feature = "store")]
            steps: None,
        }
    }

    /// Adds a handler beside what it reacts to.
    #[must_use]
    pub fn on<A>(mut self, spec: Spec, handler: impl Handler<A>) -> Self {
        let name = spec.name.map(str::to_owned).unwrap_or_else(|| default_name(&spec.source, &handler));
        self.entries.push(PluginEntry { name, spec, handler: erase(handler) });
        self
    }

    /// Adds a handler that takes events in batches, for what costs less for many at once than for each alone: a database
    /// that is written to. Its spec is an [`event`](crate::event); it says nothing to anybody.
    ///
    /// ```
    /// use worker::testing::FakeChat;
    /// use worker::{Batch, Error, Plugin, State, event};
    /// # use std::sync::{Arc, Mutex};
    /// # #[derive(Default)] struct Lines(Mutex<Vec<String>>);
    /// # impl Lines { async fn insert(&self, lines: Vec<String>) -> Result<(), std::io::Error> { self.0.lock().unwrap().extend(lines); Ok(()) } }
    ///
    /// async fn store_all(batch: Batch, lines: State<Arc<Lines>>) -> Result<(), Error> {
    ///     let said = batch.into_iter().filter_map(|event| event.chat);
    ///     lines.insert(said.map(|chat| format!("<{}> {}", chat.source, chat.content)).collect()).await?;
    ///     Ok(())
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let lines = Arc::new(Lines::default());
    /// let plugin = Plugin::new("archive")
    ///     .state(lines.clone())
    ///     .in_batches(event("chat.#").any_age().replayed(), store_all);
    /// let mut chat = FakeChat::with([plugin]).await;
    /// chat.says("alice", "hello").await;
    /// assert_eq!(*lines.0.lock().unwrap(), ["<alice> hello"]);
    /// # });
    /// ```
    ///
    /// **Its queue** is its own: that of the worker group `<group>-<plugin>`, or `<group>-<plugin>-<name>` with
    /// [`Spec::named`], which a second one in a plugin must have. So no other handler waits for it, and it gets its own
    /// copy of each event. The workers of a group compete for it; there is no order among them, also in an ordered group.
    ///
    /// **A batch** is what is there, up to [`LARGEST_BATCH`](crate::LARGEST_BATCH) events in the order of their delivery;
    /// nothing waits for it to fill. One batch is worked on at a time, and all of it is acknowledged when the handler has
    /// returned `Ok`. An event may come again, after the process was killed for example: what is done twice must come to
    /// the same as if it were done once.
    ///
    /// **[`Error::Failed`](crate::Error::Failed)**, and taking longer than [its time](Spec::timeout), mean that what the
    /// handler works with is away: a database that is locked or can't be reached. Nothing is acknowledged; the events
    /// wait in their queue, however long that takes, and the handler is tried again with one of them, after 1 s, 2 s, 4 s
    /// … 30 s. That is logged once when it begins, and once when it is over.
    ///
    /// **[`Error::GaveUp`](crate::Error::GaveUp)** and a panic mean that an event can't be: the batch is tried once more
    /// one by one. The one that gives up is a dead letter. The one that panics, or blocks its thread, is tried alone after
    /// 1 s, 10 s, 60 s and 10 min, and is a dead letter when it fails for the fifth time; others overtake it. So is an
    /// event that ends the whole process, again and again. An event of which a handler says `Failed` for ever holds up
    /// all behind it for up to 10 minutes at a time: say `GaveUp` where waiting won't help.
    ///
    /// **What is malformed** is one dead letter, however many queues of the worker have a copy: the handler does not see it.
    ///
    /// **Stopping**: the batch in hand is finished within 24 s, everything else given back.
    ///
    /// A handler that blocks its thread instead of awaiting can't be cancelled: a second after its time it is abandoned,
    /// and its events go on as above while it may still be writing. Work that blocks belongs into
    /// `tokio::task::spawn_blocking`; what was begun there goes on when the handler is cancelled.
    #[must_use]
    pub fn in_batches<A, H: BatchHandler<A>>(mut self, spec: Spec, handler: H) -> Self {
        let name = spec.name.map(str::to_owned).unwrap_or_else(|| default_name(&spec.source, &handler));
        let needs = handler.needs();
        self.batches.push(BatchEntry { name, spec, handler: batch::erase(handler), needs });
        self
    }

    /// A value that handlers take as [`State<T>`](crate::State): one for each type.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(TypeId::of::<T>(), Arc::new(value));
        self
    }

    /// The plugin has tables of its own, whose names begin with its name and `_`: these steps make them, in order, and can
    /// be taken back. `pubbot up` and `pubbot migrate` take them with the bot's own; see [`Transaction`](crate::Transaction).
    #[cfg(feature = "store")]
    #[must_use]
    pub fn migrations(self, steps: fn() -> Vec<Box<dyn store::sea_orm_migration::MigrationTrait>>) -> Self {
        Plugin { steps: Some(store::PluginSteps { plugin: self.name, steps }), ..self }
    }

    /// The steps to its own tables, if it has any: for [`Store::expect`](store::Store::expect).
    #[cfg(feature = "store")]
    pub fn steps(&self) -> Option<store::PluginSteps> {
        self.steps
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The specs of its handlers.
    pub fn specs(&self) -> impl Iterator<Item = &Spec> {
        self.entries.iter().map(|entry| &entry.spec).chain(self.batches.iter().map(|entry| &entry.spec))
    }
}

/// A command's word, otherwise the last part of the function's path.
fn default_name<H>(source: &Source, _: &H) -> String {
    match source {
        Source::Command(word) => word.clone(),
        _ => std::any::type_name::<H>().rsplit("::").next().unwrap_or("handler").to_owned(),
    }
}
