//! Opens the configured database, and sees to its tables: `up` brings them up to date by itself, the other roles want that to
//! have been done. A database that is away stops nobody: chat goes on, and what needs it waits.

use std::time::Duration;

use store::{Engine, Error, Store};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::failure::Failure;

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
