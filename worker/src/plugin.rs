//! A plugin: a name, its handlers with their specs, and what they share.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use crate::handler::{Erased, Handler, erase};
use crate::{Source, Spec};

/// Values that a plugin's handlers share, by type.
pub(crate) type States = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// Something that a bot can do: handlers that belong together.
pub struct Plugin {
    pub(crate) name: &'static str,
    pub(crate) entries: Vec<PluginEntry>,
    pub(crate) states: States,
    #[cfg(feature = "store")]
    steps: Option<store::PluginSteps>,
}

pub(crate) struct PluginEntry {
    pub(crate) name: String,
    pub(crate) spec: Spec,
    pub(crate) handler: Erased,
}

impl Plugin {
    /// A plugin without handlers.
    pub fn new(name: &'static str) -> Self {
        Plugin {
            name,
            entries: Vec::new(),
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
        self.entries.iter().map(|entry| &entry.spec)
    }
}

/// A command's word, otherwise the last part of the function's path.
fn default_name<H>(source: &Source, _: &H) -> String {
    match source {
        Source::Command(word) => word.clone(),
        _ => std::any::type_name::<H>().rsplit("::").next().unwrap_or("handler").to_owned(),
    }
}
