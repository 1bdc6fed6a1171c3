//! Settings that change at run time, and all their changes: who, when, and what stood there before.

use sea_orm_migration::prelude::*;

use crate::run;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// `scope` is `network/#channel` with the channel folded, or empty for everywhere; `spelling` is the same as somebody has
/// written it, since a folded name may be another channel's on some networks. The greatest `number` tells whether anything has changed.
const SQLITE: [&str; 2] = [
    "CREATE TABLE settings (
        scope TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        spelling TEXT NOT NULL,
        PRIMARY KEY (scope, name)
    ) WITHOUT ROWID",
    "CREATE TABLE setting_changes (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at BIGINT NOT NULL,
        who TEXT NOT NULL,
        scope TEXT NOT NULL,
        name TEXT NOT NULL,
        before TEXT,
        after TEXT
    )",
];

const POSTGRES: [&str; 2] = [
    "CREATE TABLE settings (
        scope TEXT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        spelling TEXT NOT NULL,
        PRIMARY KEY (scope, name)
    )",
    "CREATE TABLE setting_changes (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at BIGINT NOT NULL,
        who TEXT NOT NULL,
        scope TEXT NOT NULL,
        name TEXT NOT NULL,
        before TEXT,
        after TEXT
    )",
];

const BACK: [&str; 2] = ["DROP TABLE setting_changes", "DROP TABLE settings"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &SQLITE, &POSTGRES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &BACK, &BACK).await
    }
}
