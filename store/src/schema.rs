//! Which steps a database's tables have had: forward, back, and whether they are those of this version.

use migrations::Migrator;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};
use sea_orm_migration::MigratorTrait;

use crate::{Engine, Error, Store, connect};

/// The shape of a database's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// All steps, in order: those that this version knows, then those that it doesn't.
    pub steps: Vec<Step>,
}

/// A step of its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name: the day, a number, and what it brought.
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
        taken(store.engine(), store.unchecked()).await.map(Self::from_taken).map_err(|why| store.error(&why))
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
        let transaction = store.begin().await?;
        // another process may be about to do the same, and be done by now: then no step is left
        alone(&transaction).await.map_err(|why| store.error(&why))?;
        let before =
            taken(store.engine(), &transaction).await.map(Self::from_taken).map_err(|why| store.error(&why))?;
        Migrator::up(&transaction, None).await.map_err(|why| store.error(&why))?;
        transaction.commit().await.map_err(|why| store.error(&why))?;
        Ok(before.steps.into_iter().filter(|step| !step.taken).map(|step| step.name).collect())
    }

    pub(crate) async fn back(store: &Store, steps: u32) -> Result<Vec<String>, Error> {
        let before = Self::of(store).await?;
        if let Err(why @ Error::Newer { .. }) = before.fits(store.place()) {
            return Err(why);
        }
        let transaction = store.begin().await?;
        alone(&transaction).await.map_err(|why| store.error(&why))?;
        Migrator::down(&transaction, Some(steps)).await.map_err(|why| store.error(&why))?;
        transaction.commit().await.map_err(|why| store.error(&why))?;
        let taken = before.steps.into_iter().rev().filter(|step| step.taken);
        Ok(taken.take(steps as usize).map(|step| step.name).collect())
    }

    fn from_taken(taken: Vec<String>) -> Self {
        let known = migrations::names();
        let step = |name: &String| Step { name: name.clone(), taken: taken.contains(name), known: true };
        let foreign = taken.iter().filter(|name| !known.contains(name));
        let foreign = foreign.map(|name| Step { name: name.clone(), taken: true, known: false });
        Schema { steps: known.iter().map(step).chain(foreign).collect() }
    }
}

/// Lets no other process of ours change the tables until this transaction ends. SQLite lets nobody else write anyway.
async fn alone(on: &DatabaseTransaction) -> Result<(), DbErr> {
    // any number that is always the same: "pubbot" in ASCII
    const LOCK: &str = "SELECT pg_advisory_xact_lock(123657032359796)";
    match on.get_database_backend() {
        DbBackend::Postgres => on.execute_unprepared(LOCK).await.map(drop),
        _ => Ok(()),
    }
}

/// The names of the steps that a database has had; none if it is empty.
async fn taken(engine: Engine, on: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    let is_there = match engine {
        Engine::Sqlite => "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'",
        Engine::Postgres => "SELECT 1 WHERE to_regclass('migrations') IS NOT NULL",
    };
    let backend = on.get_database_backend();
    if on.query_one_raw(Statement::from_string(backend, is_there)).await?.is_none() {
        return Ok(Vec::new());
    }
    let names = Statement::from_string(backend, "SELECT version FROM migrations ORDER BY version");
    on.query_all_raw(names).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}
