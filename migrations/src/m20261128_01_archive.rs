//! The archive: where something was said, what was said, the words in it, and how much was said when.

use sea_orm_migration::prelude::*;

use crate::run;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// `messages.id` holds the time: see `store::archive::key`. `activity.quarter` counts quarters of an hour since 1970, which
/// all time zones have in common.
const SQLITE: [&str; 5] = [
    "CREATE TABLE places (
        id INTEGER PRIMARY KEY,
        network TEXT NOT NULL,
        channel TEXT NOT NULL,
        name TEXT NOT NULL,
        UNIQUE (network, channel)
    )",
    "CREATE TABLE messages (
        id INTEGER PRIMARY KEY,
        place_id INTEGER NOT NULL REFERENCES places (id),
        kind INTEGER NOT NULL,
        nick TEXT NOT NULL,
        account TEXT,
        whom TEXT,
        text TEXT NOT NULL,
        msgid TEXT,
        event_id BLOB NOT NULL UNIQUE
    )",
    "CREATE INDEX messages_of_place ON messages (place_id, id)",
    // split at spaces only: the words were made before
    "CREATE VIRTUAL TABLE message_words USING fts5 (
        words, content = '', contentless_delete = 1,
        tokenize = 'ascii tokenchars ''!\"#$%&''''()*+,-./:;<=>?@[\\]^_`{|}~'''
    )",
    "CREATE TABLE activity (
        place_id INTEGER NOT NULL REFERENCES places (id),
        quarter INTEGER NOT NULL,
        messages INTEGER NOT NULL,
        PRIMARY KEY (place_id, quarter)
    ) WITHOUT ROWID",
];

const POSTGRES: [&str; 5] = [
    "CREATE TABLE places (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        network TEXT NOT NULL,
        channel TEXT NOT NULL,
        name TEXT NOT NULL,
        UNIQUE (network, channel)
    )",
    "CREATE TABLE messages (
        id BIGINT PRIMARY KEY,
        place_id BIGINT NOT NULL REFERENCES places (id),
        kind SMALLINT NOT NULL,
        nick TEXT NOT NULL,
        account TEXT,
        whom TEXT,
        text TEXT NOT NULL,
        msgid TEXT,
        event_id UUID NOT NULL UNIQUE,
        words TSVECTOR NOT NULL
    )",
    "CREATE INDEX messages_of_place ON messages (place_id, id)",
    "CREATE INDEX messages_words ON messages USING gin (words)",
    "CREATE TABLE activity (
        place_id BIGINT NOT NULL REFERENCES places (id),
        quarter BIGINT NOT NULL,
        messages BIGINT NOT NULL,
        PRIMARY KEY (place_id, quarter)
    )",
];

const BACK_SQLITE: [&str; 4] =
    ["DROP TABLE activity", "DROP TABLE message_words", "DROP TABLE messages", "DROP TABLE places"];
const BACK_POSTGRES: [&str; 3] = ["DROP TABLE activity", "DROP TABLE messages", "DROP TABLE places"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &SQLITE, &POSTGRES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &BACK_SQLITE, &BACK_POSTGRES).await
    }
}
