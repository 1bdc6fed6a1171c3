//! Opens the configured database, and sees to its tables: `up` brings them up to date by itself, the other roles want that to
//! have been done. A database that is away stops nobody: chat goes on, and what needs it waits.

use std::time::Duration;

use store::{Engine, Error, Store};
use tokio_util::sync::CancellationToken;

use crate::cli::Options;
use crate::config::{Config, Environment};
use crate::failure::Failure;
use crate::{logs, runtime};

/// How often a database that is away is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The database; nothing is connected yet.
pub fn open(config: &Config) -> Result<Store, Failure> {
    Ok(Store::open(config.database.expose())?)
}

/// For a role that doesn't change tables with something in them: they may be another process's, of another version. An empty
/// database gets its tables.
///
/// # Errors
/// When they are older than this version.
pub async fn require(store: &Store) -> Result<(), Failure> {
    let checked = match store.schema().await {
        Ok(schema) if schema.is_empty() => migrate(store).await,
        Ok(schema) => schema.fits(store.place()),
        Err(_) if store.engine() == Engine::Sqlite => migrate(store).await,
        Err(why) => Err(why),
    };
    match checked {
        Err(why @ Error::Old { .. }) => Err(why.into()),
        checked => {
            checked.unwrap_or_else(|why| warn(&why));
            Ok(())
        }
    }
}

/// For `up`: brings the tables up to date. What hinders that is told, and chat goes on; [`keep_trying`] goes on with it.
///
/// # Errors
/// When a step fails.
pub async fn prepare(store: &Store) -> Result<(), Failure> {
    match migrate(store).await {
        Err(why @ (Error::Refused { .. } | Error::Url(_))) => Err(why.into()),
        checked => {
            checked.unwrap_or_else(|why| warn(&why));
            Ok(())
        }
    }
}

/// Runs a command from another shell on the database, and closes that in the end.
///
/// # Errors
/// The command's, and what is wrong with the configuration or the database.
pub fn command(
    options: &Options,
    environment: &Environment,
    open: fn(&Config) -> Result<Store, Failure>,
    work: impl AsyncFnOnce(&Config, &Store) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let config = Config::load(environment, &options.overrides_without_secrets())?;
    logs::start(options, environment, logs::Default::Quiet)?;
    runtime::block_on(async {
        let store = open(&config)?;
        let done = work(&config, &store).await;
        store.close().await;
        done
    })
}

/// Whether there is anything to connect to: a server may be, a file is or is not.
pub fn is_there(store: &Store) -> bool {
    store.engine() != Engine::Sqlite || std::fs::exists(store.place()).unwrap_or(true)
}

/// For a command that works with what there is.
///
/// # Errors
/// When it is a file that is not there.
pub fn existing(config: &Config) -> Result<Store, Failure> {
    let store = open(config)?;
    if !is_there(&store) {
        return Err(Failure::failed(format!(
            "there is no database at {}: `pubbot up` and `pubbot migrate` make one; --database-url says where another is",
            store.place()
        )));
    }
    Ok(store)
}

/// Goes on trying until the tables are up to date, or we are to stop.
pub async fn keep_trying(store: Store, stop: CancellationToken) -> Result<(), Failure> {
    let mut again = tokio::time::interval(AGAIN_AFTER);
    while let Err(why) = checked(&store).await {
        if stop.run_until_cancelled(again.tick()).await.is_none() {
            break;
        }
        match migrate(&store).await {
            Ok(()) => tracing::info!(database = store.place(), "the database is there"),
            // what is newer than this version stays so
            Err(Error::Newer { .. }) => stop.cancelled().await,
            Err(again) => tracing::debug!(%why, %again, "the database is still not there"),
        }
    }
    Ok(())
}

async fn checked(store: &Store) -> Result<(), Error> {
    store.schema().await?.fits(store.place())
}

async fn migrate(store: &Store) -> Result<(), Error> {
    for step in store.migrate().await? {
        tracing::info!(step, database = store.place(), "the database took a step");
    }
    Ok(())
}

fn warn(why: &Error) {
    tracing::warn!(%why, "chat goes on without a memory; what is to be remembered waits");
}
