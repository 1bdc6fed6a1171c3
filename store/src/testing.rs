//! Databases for tests: SQLite in a temporary folder that goes with the value. For PostgreSQL a test brings the URL.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::ops::Deref;

use tempfile::TempDir;

use crate::Store;

/// A migrated database.
#[derive(Debug)]
pub struct Temporary {
    store: Store,
    _folder: TempDir,
}

impl Temporary {
    /// An empty SQLite database with all tables.
    ///
    /// # Panics
    /// When it can't be made.
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite:{}", folder.path().join("pubbot.db").display());
        let store = migrated(&url).await;
        Temporary { store, _folder: folder }
    }
}

impl Deref for Temporary {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// The database at this URL, with all tables.
///
/// # Panics
/// When it can't be migrated.
pub async fn migrated(url: &str) -> Store {
    let store = Store::open(url).expect("a URL");
    store.migrate().await.expect("a migrated database");
    store
}
