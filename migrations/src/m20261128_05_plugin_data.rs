//! What plugins remember: values by key, and which events their transactional handlers are done with.

use sea_orm_migration::prelude::*;

use crate::run;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// `plugin_inbox.replies` is what the handler returned, as JSON; `at` is when, in ms since 1970, so that it can be forgotten.
const SQLITE: [&str; 3] = [
    "CREATE TABLE plugin_data (
        plugin TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (plugin, key)
    ) WITHOUT ROWID",
    "CREATE TABLE plugin_inbox (
        event_id BLOB NOT NULL,
        handler TEXT NOT NULL,
        at BIGINT NOT NULL,
        replies TEXT NOT NULL,
        PRIMARY KEY (event_id, handler)
    )",
    "CREATE INDEX plugin_inbox_at ON plugin_inbox (at)",
];

// keys are listed in the order of their bytes, whatever the database's language
const POSTGRES: [&str; 3] = [
    r#"CREATE TABLE plugin_data (
        plugin TEXT NOT NULL,
        key TEXT COLLATE "C" NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (plugin, key)
    )"#,
    "CREATE TABLE plugin_inbox (
        event_id UUID NOT NULL,
        handler TEXT NOT NULL,
        at BIGINT NOT NULL,
        replies TEXT NOT NULL,
        PRIMARY KEY (event_id, handler)
    )",
    "CREATE INDEX plugin_inbox_at ON plugin_inbox (at)",
];

const BACK: [&str; 2] = ["DROP TABLE plugin_inbox", "DROP TABLE plugin_data"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &SQLITE, &POSTGRES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &BACK, &BACK).await
    }
}
