//! What can go wrong with a database, in words that say what to do.

use sea_orm::{DbErr, RuntimeErr};
use thiserror::Error;

/// Why the database did not do what it was asked.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The URL is none of a database.
    #[error("database.url: {0}")]
    Url(String),
    /// Nobody answers there, all connections are in use, or the connection broke.
    #[error("the database at {database} is away: {why}")]
    Away {
        /// Where, without its password.
        database: String,
        /// What the connection said.
        why: String,
    },
    /// Another process or statement has what we need, and did not give it back in time.
    #[error("the database at {database} is locked by another process: {why}")]
    Locked {
        /// Where.
        database: String,
        /// What it said.
        why: String,
    },
    /// There is no room for more.
    #[error("the disk of the database at {database} is full: make room ({why})")]
    Full {
        /// Where.
        database: String,
        /// What it said.
        why: String,
    },
    /// Its tables are older than this executable.
    #[error("the database at {database} lacks {missing} of the steps that this version needs: run `pubbot migrate`")]
    Old {
        /// Where.
        database: String,
        /// How many steps.
        missing: usize,
    },
    /// Its tables are newer than this executable.
    #[error(
        "the database at {database} is newer than this version of pubbot (it has the step {step}): start a newer one"
    )]
    Newer {
        /// Where.
        database: String,
        /// The first step that this version does not know.
        step: String,
    },
    /// What was to be remembered is too long, or is none of what it should be.
    #[error("{what}: {why}")]
    Unfit {
        /// What.
        what: String,
        /// Why it is not taken.
        why: String,
    },
    /// The transaction had taken too long, and was taken back.
    #[error("the transaction took longer than {limit:?}, so it was taken back: nothing of it is changed")]
    TooLong {
        /// How long it may take.
        limit: std::time::Duration,
    },
    /// It refused something that should have been right.
    #[error("the database at {database} refused: {why}")]
    Refused {
        /// Where.
        database: String,
        /// What it said.
        why: String,
    },
}

impl Error {
    /// It may go by itself: the database is away, locked or full. Whoever waits and asks again does right.
    pub fn passes(&self) -> bool {
        matches!(self, Error::Away { .. } | Error::Locked { .. } | Error::Full { .. })
    }

    /// What a database said, by what it means.
    pub(crate) fn of(database: &str, error: &DbErr) -> Self {
        let (database, why) = (database.to_owned(), words(error));
        match meaning(error) {
            Meaning::Away => Error::Away { database, why },
            Meaning::Locked => Error::Locked { database, why },
            Meaning::Full => Error::Full { database, why },
            Meaning::Refused => Error::Refused { database, why },
        }
    }
}

enum Meaning {
    Away,
    Locked,
    Full,
    Refused,
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

fn words(error: &DbErr) -> String {
    sqlx_error(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn meaning(error: &DbErr) -> Meaning {
    match sqlx_error(error) {
        None if matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) => Meaning::Away,
        None => Meaning::Refused,
        Some(sqlx::Error::Database(said)) => said.code().map_or(Meaning::Refused, |code| by_code(&code)),
        Some(
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed,
        ) => Meaning::Away,
        Some(_) => Meaning::Refused,
    }
}

/// By `SQLITE_…` codes (extended ones have the plain one in their lowest byte) or PostgreSQL's SQLSTATE of five characters.
fn by_code(code: &str) -> Meaning {
    if code.len() == 5 {
        return match code {
            "53100" => Meaning::Full,
            "55P03" | "57014" | "40P01" | "40001" => Meaning::Locked,
            _ if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => Meaning::Away,
            _ => Meaning::Refused,
        };
    }
    // SQLITE_BUSY, _LOCKED, _FULL, _IOERR, _CANTOPEN
    match code.parse::<u32>().map(|code| code & 0xFF) {
        Ok(5 | 6) => Meaning::Locked,
        Ok(13) => Meaning::Full,
        Ok(10 | 14) => Meaning::Away,
        _ => Meaning::Refused,
    }
}
