//! People: profiles, the accounts that belong to each, their roles, the codes by which two are joined, and what was changed.

use sea_orm_migration::prelude::*;

use crate::run;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Times are ms since 1970. A profile that was merged stays, so that its number leads to the other for ever.
/// `identities.known_at`: when an account was last certain to be theirs; see `store::people`. Of a code there is the SHA-256 only.
const SQLITE: [&str; 9] = [
    "CREATE TABLE profiles (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        made_at INTEGER NOT NULL,
        merged_into INTEGER REFERENCES profiles (id)
    )",
    "CREATE TABLE identities (
        source_id BLOB PRIMARY KEY,
        network TEXT NOT NULL,
        account TEXT NOT NULL,
        profile_id INTEGER NOT NULL REFERENCES profiles (id),
        nick TEXT,
        first_seen INTEGER,
        last_seen INTEGER,
        known_at INTEGER NOT NULL
    ) WITHOUT ROWID",
    "CREATE INDEX identities_of_profile ON identities (profile_id)",
    "CREATE INDEX identities_by_account ON identities (network, account)",
    "CREATE TABLE roles (
        profile_id INTEGER NOT NULL REFERENCES profiles (id),
        role TEXT NOT NULL,
        granted_by TEXT NOT NULL,
        granted_at INTEGER NOT NULL,
        PRIMARY KEY (profile_id, role)
    ) WITHOUT ROWID",
    "CREATE TABLE link_codes (
        hash BLOB PRIMARY KEY,
        source_id BLOB NOT NULL REFERENCES identities (source_id),
        expires_at INTEGER NOT NULL,
        used_by BLOB,
        spent BOOLEAN NOT NULL DEFAULT FALSE
    ) WITHOUT ROWID",
    "CREATE TABLE link_tries (
        id INTEGER PRIMARY KEY,
        source_id BLOB NOT NULL,
        at INTEGER NOT NULL
    )",
    "CREATE INDEX link_tries_of_identity ON link_tries (source_id, at)",
    "CREATE TABLE people_changes (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        changed_by TEXT NOT NULL,
        profile_id INTEGER NOT NULL REFERENCES profiles (id),
        what TEXT NOT NULL,
        before TEXT NOT NULL
    )",
];

const POSTGRES: [&str; 9] = [
    "CREATE TABLE profiles (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        made_at BIGINT NOT NULL,
        merged_into BIGINT REFERENCES profiles (id)
    )",
    "CREATE TABLE identities (
        source_id UUID PRIMARY KEY,
        network TEXT NOT NULL,
        account TEXT NOT NULL,
        profile_id BIGINT NOT NULL REFERENCES profiles (id),
        nick TEXT,
        first_seen BIGINT,
        last_seen BIGINT,
        known_at BIGINT NOT NULL
    )",
    "CREATE INDEX identities_of_profile ON identities (profile_id)",
    "CREATE INDEX identities_by_account ON identities (network, account)",
    "CREATE TABLE roles (
        profile_id BIGINT NOT NULL REFERENCES profiles (id),
        role TEXT NOT NULL,
        granted_by TEXT NOT NULL,
        granted_at BIGINT NOT NULL,
        PRIMARY KEY (profile_id, role)
    )",
    "CREATE TABLE link_codes (
        hash BYTEA PRIMARY KEY,
        source_id UUID NOT NULL REFERENCES identities (source_id),
        expires_at BIGINT NOT NULL,
        used_by UUID,
        spent BOOLEAN NOT NULL DEFAULT FALSE
    )",
    "CREATE TABLE link_tries (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        source_id UUID NOT NULL,
        at BIGINT NOT NULL
    )",
    "CREATE INDEX link_tries_of_identity ON link_tries (source_id, at)",
    "CREATE TABLE people_changes (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at BIGINT NOT NULL,
        changed_by TEXT NOT NULL,
        profile_id BIGINT NOT NULL REFERENCES profiles (id),
        what TEXT NOT NULL,
        before TEXT NOT NULL
    )",
];

const BACK: [&str; 6] = [
    "DROP TABLE people_changes",
    "DROP TABLE link_tries",
    "DROP TABLE link_codes",
    "DROP TABLE roles",
    "DROP TABLE identities",
    "DROP TABLE profiles",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &SQLITE, &POSTGRES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &BACK, &BACK).await
    }
}
