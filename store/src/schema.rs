//! Which steps a database's tables have had: forward, back, and whether they are those of this version.

use migrations::Migrator;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, Statement};
use sea_orm_migration::MigratorTrait;

use crate::{Engine, Error, PluginSteps, Store, connect};

/// Where it is written down which steps were taken.
const TABLE: &str = "migrations";

/// The shape of a database's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// All steps, in order: those that this version knows, then those that it doesn't; after them those of plugins.
    pub steps: Vec<Step>,
}

/// A step of its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name: the day, a number, and what it brought. One of a plugin has the plugin's name and `/` in front.
    pub name: String,
    /// The database has it.
    pub taken: bool,
    /// This version of pubbot knows it.
    pub known: bool,
}

impl Schema {
    /// How many steps are to come.
    pub fn missing(&self) -> usize {
        self.steps.iter().filter(|step| !step.taken).count()
    }

    /// Whether there is nothing in it yet.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| !step.taken)
    }

    /// Whether this version can work with it.
    ///
    /// # Errors
    /// [`Error::Newer`] or [`Error::Old`], for the database of that place.
    pub fn fits(&self, place: &str) -> Result<(), Error> {
        let database = place.to_owned();
        if let Some(step) = self.steps.iter().find(|step| !step.known) {
            return Err(Error::Newer { database, step: step.name.clone() });
        }
        match self.missing() {
            0 => Ok(()),
            missing => Err(Error::Old { database, missing }),
        }
    }

    pub(crate) async fn of(store: &Store) -> Result<Self, Error> {
        Self::read(store, store.unchecked()).await.map_err(|why| store.error(&why))
    }

    async fn read(store: &Store, on: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let mut steps = steps(migrations::names(), taken(store.engine(), on, TABLE).await?);
        for plugin in store.plugins() {
            let taken = taken(store.engine(), on, &plugin.table()).await?;
            let plugins = self::steps(plugin.names(), taken).into_iter();
            steps.extend(plugins.map(|step| Step { name: plugin.full_name(&step.name), ..step }));
        }
        Ok(Schema { steps })
    }

    pub(crate) async fn forward(store: &Store) -> Result<Vec<String>, Error> {
        if store.engine() == Engine::Sqlite {
            connect::make_folder(store.place())?;
        }
        match Self::of(store).await?.fits(store.place()) {
            Ok(()) => return Ok(Vec::new()),
            Err(Error::Old { .. }) => {}
            Err(why) => return Err(why),
        }
        let transaction = begin_alone(store).await?;
        let walk = async {
            // another process may have done the same just now: then no step is left
            let before = Self::read(store, &transaction).await?;
            Migrator::up(&transaction, None).await?;
            for plugin in store.plugins() {
                plugin.walk(&transaction, store.engine(), None).await?;
            }
            Ok(before)
        };
        let before: Schema = walk.await.map_err(|why| store.error(&why))?;
        commit(transaction, store).await?;
        Ok(before.steps.into_iter().filter(|step| !step.taken).map(|step| step.name).collect())
    }

    pub(crate) async fn back(store: &Store, steps: u32) -> Result<Vec<String>, Error> {
        let before = Self::of(store).await?;
        if let Err(why @ Error::Newer { .. }) = before.fits(store.place()) {
            return Err(why);
        }
        let transaction = begin_alone(store).await?;
        Migrator::down(&transaction, Some(steps)).await.map_err(|why| store.error(&why))?;
        commit(transaction, store).await?;
        Ok(last_taken(before, steps, |name| !name.contains('/')))
    }

    pub(crate) async fn plugin_back(store: &Store, plugin: &PluginSteps, steps: u32) -> Result<Vec<String>, Error> {
        let before = Self::of(store).await?;
        let transaction = begin_alone(store).await?;
        plugin.walk(&transaction, store.engine(), Some(steps)).await.map_err(|why| store.error(&why))?;
        commit(transaction, store).await?;
        let prefix = plugin.full_name("");
        Ok(last_taken(before, steps, |name| name.starts_with(&prefix)))
    }
}

/// Begins a transaction in which no other process of ours changes the tables. SQLite lets nobody else write anyway.
async fn begin_alone(store: &Store) -> Result<DatabaseTransaction, Error> {
    // any number that is always the same: "pubbot" in ASCII
    const LOCK: &str = "SELECT pg_advisory_xact_lock(123657032359796)";
    let transaction = store.begin().await?;
    if store.engine() == Engine::Postgres {
        transaction.execute_unprepared(LOCK).await.map_err(|why| store.error(&why))?;
    }
    Ok(transaction)
}

async fn commit(transaction: DatabaseTransaction, store: &Store) -> Result<(), Error> {
    transaction.commit().await.map_err(|why| store.error(&why))
}

/// The last steps that were taken, of those that count; the last first.
fn last_taken(before: Schema, steps: u32, counts: impl Fn(&str) -> bool) -> Vec<String> {
    let taken = before.steps.into_iter().rev().filter(|step| step.taken && counts(&step.name));
    taken.take(steps as usize).map(|step| step.name).collect()
}

fn steps(known: Vec<String>, taken: Vec<String>) -> Vec<Step> {
    let step = |name: &String| Step { name: name.clone(), taken: taken.contains(name), known: true };
    let foreign = taken.iter().filter(|name| !known.contains(name));
    let foreign = foreign.map(|name| Step { name: name.clone(), taken: true, known: false });
    known.iter().map(step).chain(foreign).collect()
}

/// The names of the steps that a database has had; none if it is empty.
async fn taken(engine: Engine, on: &impl ConnectionTrait, table: &str) -> Result<Vec<String>, DbErr> {
    let is_there = match engine {
        Engine::Sqlite => format!("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{table}'"),
        Engine::Postgres => format!("SELECT 1 WHERE to_regclass('\"{table}\"') IS NOT NULL"),
    };
    let backend = on.get_database_backend();
    if on.query_one_raw(Statement::from_string(backend, is_there)).await?.is_none() {
        return Ok(Vec::new());
    }
    let names = Statement::from_string(backend, format!("SELECT version FROM \"{table}\" ORDER BY version"));
    on.query_all_raw(names).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}
