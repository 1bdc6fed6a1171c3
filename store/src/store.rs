//! The database of a process: what reads, what writes, and whether its tables are those of this version.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use crate::archive::Places;
use crate::connect::{self, Connections};
use crate::{Error, PluginSteps, Schema};

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

/// A database that is connected to when it is needed. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    place: String,
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    places: Places,
    /// Its tables were seen to be those of this version.
    fits: AtomicBool,
    /// The plugins that have tables of their own.
    plugins: Mutex<Vec<PluginSteps>>,
}

/// A transaction that writes. Dropped without [`commit`](Writing::commit), it has changed nothing.
#[derive(Debug)]
pub struct Writing {
    transaction: DatabaseTransaction,
    store: Store,
}

impl Writing {
    /// What statements are run on.
    pub fn on(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// The database's word for it.
    pub fn engine(&self) -> Engine {
        self.store.engine()
    }

    /// An error of a statement.
    pub fn error(&self, error: &DbErr) -> Error {
        self.store.error(error)
    }

    /// Makes it last.
    ///
    /// # Errors
    /// When the database does not take it; nothing is changed then, or it broke down just when it had answered.
    pub async fn commit(self) -> Result<(), Error> {
        let Writing { transaction, store } = self;
        transaction.commit().await.map_err(|why| store.error(&why))
    }
}

impl Store {
    /// Reads the URL: `sqlite:<path>` or `postgres://…`. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn open(url: &str) -> Result<Self, Error> {
        let Connections { engine, place, writer, reader } = connect::connections(url)?;
        Ok(Store {
            inner: Arc::new(Inner {
                engine,
                place,
                writer,
                reader,
                places: Places::default(),
                fits: AtomicBool::new(false),
                plugins: Mutex::default(),
            }),
        })
    }

    /// Which database it is.
    pub fn engine(&self) -> Engine {
        self.inner.engine
    }

    /// Where it is: a path, or `host:port/database`.
    pub fn place(&self) -> &str {
        &self.inner.place
    }

    /// What questions are asked on, once it is certain that the tables are those of this version. At most 3 (SQLite) or 5
    /// are asked at a time; whoever waits longer than 5 s gets [`Error::Away`].
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Locked`], and [`Error::Old`] or [`Error::Newer`] where the tables are those of another version.
    pub async fn read(&self) -> Result<&DatabaseConnection, Error> {
        self.check().await?;
        Ok(&self.inner.reader)
    }

    /// Begins to write: on SQLite one at a time (`BEGIN IMMEDIATE`), so that what is read in it stays true.
    ///
    /// # Errors
    /// As [`read`](Store::read).
    pub async fn write(&self) -> Result<Writing, Error> {
        self.check().await?;
        let transaction = self.begin().await?;
        Ok(Writing { transaction, store: self.clone() })
    }

    /// Expects a plugin's tables, too, from now on: its steps are taken with the others, and missed like them.
    pub fn expect(&self, steps: PluginSteps) {
        let mut plugins = self.inner.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.retain(|known| known.plugin != steps.plugin);
        plugins.push(steps);
        self.inner.fits.store(false, Ordering::Release);
    }

    /// Which steps its tables have had, and which are to come.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn schema(&self) -> Result<Schema, Error> {
        Schema::of(self).await
    }

    /// Takes all steps that are to come; which ones it took.
    ///
    /// # Errors
    /// When one of them fails: then none was taken. [`Error::Newer`] where it has steps that this version doesn't know.
    pub async fn migrate(&self) -> Result<Vec<String>, Error> {
        Schema::forward(self).await
    }

    /// Goes so many steps back, and with them what was in their tables; which ones.
    ///
    /// # Errors
    /// When one of them fails: then none was taken back.
    pub async fn migrate_back(&self, steps: u32) -> Result<Vec<String>, Error> {
        self.inner.fits.store(false, Ordering::Release);
        self.inner.places.forget();
        Schema::back(self, steps).await
    }

    /// The same for a plugin whose tables are [expected](Store::expect).
    ///
    /// # Errors
    /// As [`migrate_back`](Store::migrate_back), and when the plugin has no steps.
    pub async fn migrate_plugin_back(&self, plugin: &str, steps: u32) -> Result<Vec<String>, Error> {
        let plugins = self.plugins();
        let known = plugins.iter().find(|known| known.plugin == plugin).ok_or_else(|| Error::Unfit {
            what: format!("the plugin {plugin} brings no tables of its own"),
            why: match plugins.as_slice() {
                [] => "no plugin does".to_owned(),
                some => format!("those that do are {}", some.iter().map(|it| it.plugin).collect::<Vec<_>>().join(", ")),
            },
        })?;
        self.inner.fits.store(false, Ordering::Release);
        Schema::plugin_back(self, known, steps).await
    }

    /// Closes all connections: what is written is on the disk, and SQLite needs no second file any more.
    pub async fn close(&self) {
        let Inner { writer, reader, .. } = &*self.inner;
        // errors would mean that it is closed
        reader.close_by_ref().await.ok();
        writer.close_by_ref().await.ok();
    }

    /// An error of a statement.
    pub fn error(&self, error: &DbErr) -> Error {
        Error::of(&self.inner.place, error)
    }

    /// The plugins that have tables of their own.
    pub(crate) fn plugins(&self) -> Vec<PluginSteps> {
        self.inner.plugins.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The channels that the archive knows.
    pub(crate) fn places(&self) -> &Places {
        &self.inner.places
    }

    /// What writes, whatever the tables are.
    pub(crate) fn unchecked(&self) -> &DatabaseConnection {
        &self.inner.writer
    }

    /// A transaction whatever the tables are, for tests of their history.
    ///
    /// # Errors
    /// As [`read`](Store::read).
    #[cfg(feature = "testing")]
    pub async fn write_unchecked(&self) -> Result<Writing, Error> {
        Ok(Writing { transaction: self.begin().await?, store: self.clone() })
    }

    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, Error> {
        let immediate = Some(SqliteTransactionMode::Immediate);
        let options = TransactionOptions { sqlite_transaction_mode: immediate, ..TransactionOptions::default() };
        self.inner.writer.begin_with_options(options).await.map_err(|why| self.error(&why))
    }

    /// Looks until the tables were seen to fit; from then on they do.
    async fn check(&self) -> Result<(), Error> {
        if self.inner.fits.load(Ordering::Acquire) {
            return Ok(());
        }
        self.schema().await?.fits(self.place())?;
        self.inner.fits.store(true, Ordering::Release);
        Ok(())
    }
}
