//! The same rows by hand: what a good engineer writes with sqlx for these tables and no others. What a row is made of is ready
//! before the clock runs; a statement takes a whole batch, and one that is there already is left alone.

use std::collections::BTreeMap;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, Postgres, QueryBuilder, Sqlite};
use store::archive::{Kind, Record, key};
use store::words;
use uuid::Uuid;

use crate::failure::{Context, Result};

/// The cache of the store's writer, for a fair comparison.
const CACHE: &str = "-16000";
const QUARTER_MS: i64 = 15 * 60 * 1_000;

/// A connection of one's own.
pub(crate) enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A record with all that has to be reckoned out for it.
pub(crate) struct Row {
    id: i64,
    place: i64,
    kind: i16,
    nick: String,
    account: Option<String>,
    whom: Option<String>,
    text: String,
    msgid: Option<String>,
    event_id: Uuid,
    /// As the engine wants them.
    words: String,
}

/// Rows, and how much was said in each quarter of an hour of a place.
pub(crate) struct Batch {
    rows: Vec<Row>,
    counts: BTreeMap<(i64, i64), i64>,
}

/// The numbers of the channels, by network and name.
#[derive(Default)]
pub(crate) struct Places(BTreeMap<(String, String), i64>);

impl Raw {
    /// Connects to a database that has its tables.
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let options = SqliteConnectOptions::new()
                .filename(path)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Normal)
                .foreign_keys(true)
                .pragma("cache_size", CACHE);
            let connection = SqliteConnection::connect_with(&options).await;
            return connection.map(Raw::Sqlite).context("SQLite, by hand");
        }
        let options: PgConnectOptions = url.parse().context("the URL of PostgreSQL")?;
        PgConnection::connect_with(&options).await.map(Raw::Postgres).context("PostgreSQL, by hand")
    }

    /// Makes rows of records, and the places of them.
    pub(crate) async fn prepare(&mut self, records: &[Record], places: &mut Places) -> Result<Batch> {
        let (mut rows, mut counts) = (Vec::with_capacity(records.len()), BTreeMap::new());
        for record in records {
            let place = self.place(record, places).await?;
            let row = self.row(record, place);
            if record.kind.is_said() {
                *counts.entry((place, record.at.millis().div_euclid(QUARTER_MS))).or_default() += 1;
            }
            rows.push(row);
        }
        rows.sort_by_key(|row| row.id);
        Ok(Batch { rows, counts })
    }

    /// Writes a batch in one transaction.
    pub(crate) async fn write(&mut self, batch: &Batch) -> Result<()> {
        match self {
            Raw::Sqlite(connection) => sqlite(connection, batch).await,
            Raw::Postgres(connection) => postgres(connection, batch).await,
        }
        .context("rows written by hand")
    }

    fn row(&self, record: &Record, place: i64) -> Row {
        let text = if record.kind.is_said() { &*record.text } else { "" };
        let words = words::document(&record.network, &record.channel, &record.nick, text);
        let words = match self {
            Raw::Sqlite(_) => words.fts5().to_owned(),
            Raw::Postgres(_) => words.tsvector(),
        };
        Row {
            id: key::of(record),
            place,
            kind: number(record.kind),
            nick: record.nick.clone(),
            account: record.account.clone(),
            whom: record.whom.clone(),
            text: record.text.clone(),
            msgid: record.msgid.clone(),
            event_id: record.event_id,
            words,
        }
    }

    async fn place(&mut self, record: &Record, places: &mut Places) -> Result<i64> {
        let name = (record.network.clone(), record.channel.clone());
        if let Some(place) = places.0.get(&name) {
            return Ok(*place);
        }
        let sql = "INSERT INTO places (network, channel, name) VALUES ($1, $2, $2) RETURNING id";
        let place: i64 = match self {
            Raw::Sqlite(on) => sqlx::query_scalar(sql).bind(&name.0).bind(&name.1).fetch_one(on).await,
            Raw::Postgres(on) => sqlx::query_scalar(sql).bind(&name.0).bind(&name.1).fetch_one(on).await,
        }
        .context("a place made by hand")?;
        places.0.insert(name, place);
        Ok(place)
    }
}

fn number(kind: Kind) -> i16 {
    match kind {
        Kind::Action => 1,
        Kind::Join => 3,
        Kind::Part => 4,
        _ => 0,
    }
}

async fn sqlite(on: &mut SqliteConnection, batch: &Batch) -> sqlx::Result<()> {
    let mut transaction = on.begin_with("BEGIN IMMEDIATE").await?;
    let mut messages: QueryBuilder<Sqlite> =
        QueryBuilder::new("INSERT INTO messages (id, place_id, kind, nick, account, whom, text, msgid, event_id) ");
    messages.push_values(&batch.rows, |mut values, row| {
        values.push_bind(row.id).push_bind(row.place).push_bind(row.kind).push_bind(&row.nick);
        values.push_bind(&row.account).push_bind(&row.whom).push_bind(&row.text).push_bind(&row.msgid);
        values.push_bind(row.event_id);
    });
    messages.push(" ON CONFLICT DO NOTHING").build().execute(&mut *transaction).await?;
    let mut words: QueryBuilder<Sqlite> = QueryBuilder::new("INSERT INTO message_words (rowid, words) ");
    words.push_values(&batch.rows, |mut values, row| {
        values.push_bind(row.id).push_bind(&row.words);
    });
    words.build().execute(&mut *transaction).await?;
    if !batch.counts.is_empty() {
        let mut activity: QueryBuilder<Sqlite> =
            QueryBuilder::new("INSERT INTO activity (place_id, quarter, messages) ");
        activity.push_values(&batch.counts, |mut values, ((place, quarter), count)| {
            values.push_bind(place).push_bind(quarter).push_bind(count);
        });
        activity.push(ADD_UP).build().execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

const ADD_UP: &str = " ON CONFLICT (place_id, quarter) DO UPDATE SET messages = activity.messages + excluded.messages";

async fn postgres(on: &mut PgConnection, batch: &Batch) -> sqlx::Result<()> {
    const MESSAGES: &str =
        "INSERT INTO messages (id, place_id, kind, nick, account, whom, text, msgid, event_id, words)
        SELECT id, place_id, kind, nick, account, whom, text, msgid, event_id, words::tsvector
        FROM UNNEST($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::uuid[], $10::text[])
            AS t (id, place_id, kind, nick, account, whom, text, msgid, event_id, words)
        ON CONFLICT DO NOTHING";
    let rows = &batch.rows;
    let mut transaction = on.begin().await?;
    sqlx::query::<Postgres>(MESSAGES)
        .bind(column(rows, |row| row.id))
        .bind(column(rows, |row| row.place))
        .bind(column(rows, |row| row.kind))
        .bind(column(rows, |row| &*row.nick))
        .bind(column(rows, |row| row.account.as_deref()))
        .bind(column(rows, |row| row.whom.as_deref()))
        .bind(column(rows, |row| &*row.text))
        .bind(column(rows, |row| row.msgid.as_deref()))
        .bind(column(rows, |row| row.event_id))
        .bind(column(rows, |row| &*row.words))
        .execute(&mut *transaction)
        .await?;
    const ACTIVITY: &str = "INSERT INTO activity (place_id, quarter, messages)
        SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[])
        ON CONFLICT (place_id, quarter) DO UPDATE SET messages = activity.messages + excluded.messages";
    sqlx::query::<Postgres>(ACTIVITY)
        .bind(batch.counts.keys().map(|(place, _)| *place).collect::<Vec<i64>>())
        .bind(batch.counts.keys().map(|(_, quarter)| *quarter).collect::<Vec<i64>>())
        .bind(batch.counts.values().copied().collect::<Vec<i64>>())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

fn column<'b, T>(rows: &'b [Row], value: impl Fn(&'b Row) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}
