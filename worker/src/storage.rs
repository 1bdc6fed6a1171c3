//! What a plugin remembers, as a parameter of its handlers: values by key. A handler that is
//! [transactional](crate::Spec::transactional) changes them in its transaction.

use serde::Serialize;
use serde::de::DeserializeOwned;
use store::plugin_data::Data;
use store::{Error, Writing};
use tokio::sync::{MappedMutexGuard, MutexGuard};

use crate::extract::misuse;
use crate::transaction::Open;
use crate::{Context, Extract};

/// The plugin's own values, by keys of at most 255 bytes: anything that serde can write, as JSON of at most 64 KiB. Every
/// handler of the plugin, in every worker, sees the same.
///
/// ```
/// use worker::{Error, Plugin, Store, command};
///
/// async fn count(store: Store) -> Result<String, Error> {
///     let count = store.update("count", |count: Option<u64>| count.unwrap_or(0) + 1).await?;
///     Ok(format!("so far: {count}"))
/// }
///
/// // said twice for one event it would count twice, were it not transactional
/// let plugin = Plugin::new("counter").on(command("count").transactional(), count);
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    plugin: &'static str,
    database: store::Store,
    transaction: Option<Open>,
}

impl Store {
    /// The value of a key, if there is one.
    ///
    /// # Errors
    /// When the database can't be asked, and [`Error::Unfit`] for a key that can't be one or a value that is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        match &self.transaction {
            None => self.own().get(key).await,
            Some(open) => open.writing().await?.data(self.plugin).get(key).await,
        }
    }

    /// Keys that begin with `prefix` and their values, by key: the first 1,000.
    ///
    /// # Errors
    /// As [`get`](Store::get).
    pub async fn list<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>, Error> {
        match &self.transaction {
            None => self.own().list(prefix).await,
            Some(open) => open.writing().await?.data(self.plugin).list(prefix).await,
        }
    }

    /// Gives a key a value, whatever it had before.
    ///
    /// # Errors
    /// When the database does not take it, and [`Error::Unfit`] for a key or a value that can't be one, or is too long.
    pub async fn set<T: Serialize + Sync + ?Sized>(&self, key: &str, value: &T) -> Result<(), Error> {
        match &self.transaction {
            None => self.own().set(key, value).await,
            Some(open) => open.writing().await?.data(self.plugin).set(key, value).await,
        }
    }

    /// Forgets a key; whether it had a value.
    ///
    /// # Errors
    /// As [`set`](Store::set).
    pub async fn remove(&self, key: &str) -> Result<bool, Error> {
        match &self.transaction {
            None => self.own().remove(key).await,
            Some(open) => open.writing().await?.data(self.plugin).remove(key).await,
        }
    }

    /// Makes a new value of what a key has: nobody changes it in between. Returns the new value.
    ///
    /// # Errors
    /// As [`get`](Store::get) and [`set`](Store::set); nothing is changed then.
    pub async fn update<T, F>(&self, key: &str, change: F) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned + Send,
        F: FnOnce(Option<T>) -> T + Send,
    {
        match &self.transaction {
            None => self.own().update(key, change).await,
            Some(open) => open.writing().await?.data(self.plugin).update(key, change).await,
        }
    }

    fn own(&self) -> Data<'_> {
        self.database.data(self.plugin)
    }
}

impl Extract for Store {
    fn extract(context: &Context) -> Result<Self, crate::Error> {
        let database = context.database.clone().ok_or_else(|| misuse("Store", "a worker with .database(…)"))?;
        Ok(Store { plugin: context.plugin, database, transaction: context.transaction.clone() })
    }
}

/// The transaction of a [transactional](crate::Spec::transactional) handler, for what the plugin has in tables of its own.
#[derive(Clone, Debug)]
pub struct Transaction(Open);

impl Transaction {
    /// What statements are run on, one handler's at a time. Don't hold it while [`Store`] is asked: that waits for it.
    ///
    /// # Errors
    /// [`Error::TooLong`] when the transaction was taken back.
    pub async fn writing(&self) -> Result<MappedMutexGuard<'_, Writing>, Error> {
        self.0.writing().await
    }
}

impl Extract for Transaction {
    fn extract(context: &Context) -> Result<Self, crate::Error> {
        let open = context.transaction.clone();
        open.map(Transaction).ok_or_else(|| misuse("Transaction", "a handler whose spec is .transactional()"))
    }
}

/// What is in the guard, if there is anything.
pub(crate) fn inside(guard: MutexGuard<'_, Option<Writing>>) -> Option<MappedMutexGuard<'_, Writing>> {
    MutexGuard::try_map(guard, Option::as_mut).ok()
}
