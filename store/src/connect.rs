//! From a URL to connections: one that writes and some that read for SQLite, one pool for PostgreSQL. Nothing is connected
//! before it is needed, so a database may come later than the bot.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use sea_orm::{DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::{Engine, Error};

/// How long a connection may take to be there, also while others use all that there are.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process that writes.
const BUSY_WITHIN: Duration = Duration::from_secs(5);
/// How long PostgreSQL may take for a statement, and for a lock, in ms. Handlers have 30 s in all.
const STATEMENT_MS: &str = "20000";
const LOCK_MS: &str = "5000";
/// Connections of one process to PostgreSQL, of which a server has 100 unless it is told otherwise.
const POSTGRES_CONNECTIONS: u32 = 5;
/// Connections that read SQLite side by side.
const SQLITE_READERS: u32 = 3;
/// Pages that a connection to SQLite keeps in memory, in KiB; negative as its PRAGMA wants it.
const WRITER_CACHE: &str = "-16000";
const READER_CACHE: &str = "-4000";

/// What a URL leads to.
pub(crate) struct Connections {
    pub(crate) engine: Engine,
    /// Where it is, without a password.
    pub(crate) place: String,
    pub(crate) writer: DatabaseConnection,
    pub(crate) reader: DatabaseConnection,
}

/// Reads the URL.
///
/// # Errors
/// [`Error::Url`], which does not repeat the URL: it may hold a password.
pub(crate) fn connections(url: &str) -> Result<Connections, Error> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        return sqlite(path);
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return postgres(url);
    }
    Err(Error::Url("expected sqlite:path/to/file.db, or postgres://user:password@host:5432/database".to_owned()))
}

fn sqlite(path: &str) -> Result<Connections, Error> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
        return Err(Error::Url("expected the path of a file, as in sqlite:data/pubbot.db".to_owned()));
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(BUSY_WITHIN);
    let writer = pool(1).connect_lazy_with(options.clone().pragma("cache_size", WRITER_CACHE));
    let reader = options.pragma("cache_size", READER_CACHE).pragma("query_only", "ON");
    let reader = pool(SQLITE_READERS).connect_lazy_with(reader);
    Ok(Connections {
        engine: Engine::Sqlite,
        place: path.to_owned(),
        writer: SqlxSqliteConnector::from_sqlx_sqlite_pool(writer),
        reader: SqlxSqliteConnector::from_sqlx_sqlite_pool(reader),
    })
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_WITHIN)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// Makes the folder of a SQLite database, if it is not there. What people have said is for nobody else on this machine.
///
/// # Errors
/// [`Error::Away`] when it can't be made.
pub(crate) fn make_folder(path: &str) -> Result<(), Error> {
    let Some(folder) = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|why| Error::Away { database: path.to_owned(), why: format!("{}: {why}", folder.display()) })
}

fn postgres(url: &str) -> Result<Connections, Error> {
    let expected = |_| Error::Url("expected postgres://user:password@host:5432/database".to_owned());
    let options: PgConnectOptions = url.parse().map_err(expected)?;
    let place = format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default());
    let options = options.application_name("pubbot").options([
        ("statement_timeout", STATEMENT_MS),
        ("lock_timeout", LOCK_MS),
        ("timezone", "UTC"),
        // a plan for any search would walk the whole archive for a rare word
        ("plan_cache_mode", "force_custom_plan"),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(ACQUIRE_WITHIN)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options);
    let pool = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
    Ok(Connections { engine: Engine::Postgres, place, writer: pool.clone(), reader: pool })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_is_none_is_told_what_was_expected_and_never_repeated() {
        for url in [
            "",
            "mysql://root:hunter2@h/d",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a.db?mode=ro",
            "postgres://u:hunter2@[h/d",
        ] {
            let Err(Error::Url(why)) = connections(url) else { panic!("{url}") };
            assert!(why.starts_with("expected ") && !why.contains("hunter2"), "{why}");
        }
    }

    #[tokio::test]
    async fn where_a_database_is_can_be_told_without_its_password() {
        let there = connections("postgres://bot:hunter2@db.example:5433/chat").unwrap();
        assert_eq!((there.engine, there.place.as_str()), (Engine::Postgres, "db.example:5433/chat"));
    }
}
