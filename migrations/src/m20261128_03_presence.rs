//! Presence: who is in which channel, what is known of the channel, and how far each network has come.

use sea_orm_migration::prelude::*;

use crate::run;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Versions are 24 bytes, session and number, that sort as they count: see `store::presence::Version`.
const SQLITE: [&str; 4] = [
    "CREATE TABLE member_networks (
        network TEXT NOT NULL PRIMARY KEY,
        floor BLOB NOT NULL,
        lost BLOB NOT NULL,
        lost_ms INTEGER NOT NULL,
        tidied_ms INTEGER NOT NULL
    ) WITHOUT ROWID",
    "CREATE TABLE member_channels (
        network TEXT NOT NULL,
        channel TEXT NOT NULL,
        floor BLOB NOT NULL,
        state INTEGER NOT NULL,
        heard BLOB NOT NULL,
        heard_ms INTEGER NOT NULL,
        gap BLOB NOT NULL,
        gap_ms INTEGER NOT NULL,
        PRIMARY KEY (network, channel)
    ) WITHOUT ROWID",
    "CREATE TABLE members (
        network TEXT NOT NULL,
        channel TEXT NOT NULL,
        nick_key TEXT NOT NULL,
        folded TEXT NOT NULL,
        nick TEXT NOT NULL,
        here BOOLEAN NOT NULL,
        version BLOB NOT NULL,
        prefix TEXT NOT NULL,
        prefix_version BLOB NOT NULL,
        account TEXT,
        account_version BLOB NOT NULL,
        since_ms INTEGER NOT NULL,
        seen_ms INTEGER NOT NULL,
        seen INTEGER NOT NULL,
        PRIMARY KEY (network, channel, nick_key)
    ) WITHOUT ROWID",
    "CREATE INDEX members_of_nick ON members (network, folded)",
];

const POSTGRES: [&str; 4] = [
    "CREATE TABLE member_networks (
        network TEXT NOT NULL PRIMARY KEY,
        floor BYTEA NOT NULL,
        lost BYTEA NOT NULL,
        lost_ms BIGINT NOT NULL,
        tidied_ms BIGINT NOT NULL
    )",
    "CREATE TABLE member_channels (
        network TEXT NOT NULL,
        channel TEXT NOT NULL,
        floor BYTEA NOT NULL,
        state BIGINT NOT NULL,
        heard BYTEA NOT NULL,
        heard_ms BIGINT NOT NULL,
        gap BYTEA NOT NULL,
        gap_ms BIGINT NOT NULL,
        PRIMARY KEY (network, channel)
    )",
    "CREATE TABLE members (
        network TEXT NOT NULL,
        channel TEXT NOT NULL,
        nick_key TEXT COLLATE \"C\" NOT NULL,
        folded TEXT NOT NULL,
        nick TEXT NOT NULL,
        here BOOLEAN NOT NULL,
        version BYTEA NOT NULL,
        prefix TEXT NOT NULL,
        prefix_version BYTEA NOT NULL,
        account TEXT,
        account_version BYTEA NOT NULL,
        since_ms BIGINT NOT NULL,
        seen_ms BIGINT NOT NULL,
        seen BIGINT NOT NULL,
        PRIMARY KEY (network, channel, nick_key)
    )",
    "CREATE INDEX members_of_nick ON members (network, folded)",
];

const BACK: [&str; 3] = ["DROP TABLE members", "DROP TABLE member_channels", "DROP TABLE member_networks"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &SQLITE, &POSTGRES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &BACK, &BACK).await
    }
}
