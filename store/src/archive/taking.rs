//! How records come into the archive: many at once, in one transaction, in the order of their keys, each of them once.

use std::collections::{BTreeMap, HashMap};

use protocol::Timestamp;
use sea_orm::{DbErr, Value};
use uuid::Uuid;

use super::forgetting::{forgotten, is_forgotten};
use super::{Archive, Kind, Record, key, place};
use crate::sql::{all, execute, one};
use crate::words::{self, Tokens};
use crate::{Engine, Error, Writing};

/// Rows of one statement for SQLite, which takes 32,766 values.
const ROWS: usize = 512;
/// Rows of one statement for PostgreSQL, a few MB.
const COLUMN_ROWS: usize = 4_096;
/// How long a quarter of an hour is, which all time zones have in common, in ms.
pub(crate) const QUARTER_MS: i64 = 15 * 60 * 1_000;

/// A record on its way.
struct Row<'r> {
    key: i64,
    place: i64,
    record: &'r Record,
    words: Tokens,
}

impl Archive<'_> {
    /// Takes records in; how many of them are new. One whose event is there already changes nothing, so whoever does not know
    /// whether it worked does it again. All of them, or none. What somebody said who does not want to be remembered
    /// ([`forget`](Archive::forget)) is left out.
    ///
    /// # Errors
    /// When the database is away, locked or full, or another version's.
    pub async fn store(&self, records: &[Record]) -> Result<usize, Error> {
        if records.is_empty() {
            return Ok(0);
        }
        // before the database is locked
        let words: Vec<Tokens> = records.iter().map(document).collect();
        let names: Vec<place::Name> = records.iter().map(place::of).collect();
        let writing = self.0.write().await?;
        let failed = |why: DbErr| self.0.error(&why);
        let places = self.0.places().of(records, &names, &writing).await.map_err(failed)?;
        let forgotten = forgotten(records, &writing).await.map_err(failed)?;
        let mut rows: Vec<Row<'_>> = Vec::with_capacity(records.len());
        for ((record, name), words) in records.iter().zip(&names).zip(words) {
            if is_forgotten(record, &forgotten) {
                continue;
            }
            let place = places.get(name).copied().unwrap_or_default();
            rows.push(Row { key: key::of(record), place, record, words });
        }
        let taken = take(rows, &writing).await.map_err(failed)?;
        writing.commit().await?;
        self.0.places().remember(places);
        Ok(taken)
    }
}

/// What is searched of a record: where, who, and what was said. Of joins and the like only who and where.
fn document(record: &Record) -> Tokens {
    let text = match record.kind {
        Kind::Chat | Kind::Action | Kind::Notice | Kind::Topic => &*record.text,
        _ => "",
    };
    words::document(&record.network, &record.channel, &record.nick, text)
}

/// Writes the rows, and what counts and finds them.
async fn take(mut rows: Vec<Row<'_>>, writing: &Writing) -> Result<usize, DbErr> {
    rows.sort_by_key(|row| row.key);
    let mut taken = Vec::with_capacity(rows.len());
    for chunk in chunks(&rows, writing.engine()) {
        let mut new = insert(chunk, writing).await?;
        if new.len() < chunk.len() {
            new.extend(insert_beside(chunk, &new, writing).await?);
        }
        // an event that came twice in one go is there once
        taken.extend(chunk.iter().filter_map(|row| new.remove(&row.record.event_id).map(|key| (key, row))));
    }
    // an index that is written in order grows at its end
    taken.sort_by_key(|(key, _)| *key);
    if writing.engine() == Engine::Sqlite {
        for chunk in chunks(&taken, Engine::Sqlite) {
            index(chunk, writing).await?;
        }
    }
    count(&taken, writing).await?;
    Ok(taken.len())
}

/// What one statement takes. On PostgreSQL its text is the same for any number; for SQLite in as few sizes as there are, so that
/// it knows most of the statements already.
fn chunks<T>(mut rows: &[T], engine: Engine) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = match engine {
            Engine::Postgres => rows.len().min(COLUMN_ROWS),
            Engine::Sqlite if rows.len() >= ROWS => ROWS,
            Engine::Sqlite => (rows.len() + 1).next_power_of_two() / 2,
        };
        let (chunk, rest) = rows.split_at_checked(size).filter(|(chunk, _)| !chunk.is_empty())?;
        rows = rest;
        Some(chunk)
    })
}

/// Inserts the rows whose event and key are new: their events with their keys.
async fn insert(rows: &[Row<'_>], writing: &Writing) -> Result<HashMap<Uuid, i64>, DbErr> {
    let (sql, values) = match writing.engine() {
        Engine::Sqlite => by_row(rows),
        Engine::Postgres => by_column(rows),
    };
    let inserted = all(writing.on(), &sql, values).await?;
    inserted.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

fn by_row(rows: &[Row<'_>]) -> (String, Vec<Value>) {
    const COLUMNS: usize = 9;
    let mut values: Vec<Value> = Vec::with_capacity(rows.len() * COLUMNS);
    for Row { key, place, record, .. } in rows {
        values.extend([(*key).into(), (*place).into(), record.kind.number().into(), text(&record.nick)]);
        values.extend([&record.account, &record.whom, &record.msgid].map(optional));
        values.extend([text(&record.text), record.event_id.into()]);
    }
    let sql = format!(
        "INSERT INTO messages (id, place_id, kind, nick, account, whom, msgid, text, event_id) VALUES {}
         ON CONFLICT DO NOTHING RETURNING event_id, id",
        tuples(rows.len(), COLUMNS)
    );
    (sql, values)
}

/// For PostgreSQL an array for each column: one statement for any number of rows, and quickly read. No element can be NULL, so
/// an empty text stands for it.
fn by_column(rows: &[Row<'_>]) -> (String, Vec<Value>) {
    const SQL: &str = "INSERT INTO messages (id, place_id, kind, nick, account, whom, msgid, text, event_id, words)
        SELECT id, place_id, kind, nick, NULLIF(account, ''), NULLIF(whom, ''), NULLIF(msgid, ''), text, event_id, words::tsvector
        FROM UNNEST($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::uuid[], $10::text[]) AS t (id, place_id, kind, nick, account, whom, msgid, text, event_id, words)
        ON CONFLICT DO NOTHING RETURNING event_id, id";
    let empty_or = |field: &Option<String>| clean(field.as_deref().unwrap_or_default());
    let values = vec![
        column(rows, |row| row.key),
        column(rows, |row| row.place),
        column(rows, |row| row.record.kind.number()),
        column(rows, |row| clean(&row.record.nick)),
        column(rows, |row| empty_or(&row.record.account)),
        column(rows, |row| empty_or(&row.record.whom)),
        column(rows, |row| empty_or(&row.record.msgid)),
        column(rows, |row| clean(&row.record.text)),
        column(rows, |row| row.record.event_id),
        column(rows, |row| row.words.tsvector()),
    ];
    (SQL.to_owned(), values)
}

fn column<'r, T>(rows: &'r [Row<'r>], value: impl Fn(&'r Row<'r>) -> T) -> Value
where
    Vec<T>: Into<Value>,
{
    rows.iter().map(value).collect::<Vec<T>>().into()
}

/// Of rows that were not inserted the event is there already, or another one has their key: those get the next free one.
async fn insert_beside(
    rows: &[Row<'_>],
    inserted: &HashMap<Uuid, i64>,
    writing: &Writing,
) -> Result<HashMap<Uuid, i64>, DbErr> {
    let mut found = HashMap::new();
    for row in rows.iter().filter(|row| !inserted.contains_key(&row.record.event_id)) {
        let id = row.record.event_id;
        if found.contains_key(&id) || has_event(id, writing).await? {
            continue;
        }
        for key in (row.key..).skip(1) {
            let again = Row { key, place: row.place, record: row.record, words: row.words.clone() };
            let new = insert(&[again], writing).await?;
            if !new.is_empty() {
                found.extend(new);
                break;
            }
        }
    }
    Ok(found)
}

async fn has_event(id: Uuid, writing: &Writing) -> Result<bool, DbErr> {
    Ok(one(writing.on(), "SELECT 1 FROM messages WHERE event_id = $1", [id.into()]).await?.is_some())
}

/// The words of rows for SQLite, which has an index of its own for them.
async fn index(rows: &[(i64, &Row<'_>)], writing: &Writing) -> Result<(), DbErr> {
    let sql = format!("INSERT INTO message_words (rowid, words) VALUES {}", tuples(rows.len(), 2));
    let values: Vec<Value> = rows.iter().flat_map(|(key, row)| [(*key).into(), row.words.fts5().into()]).collect();
    execute(writing.on(), &sql, values).await.map(drop)
}

/// How much was said in each quarter of an hour.
async fn count(rows: &[(i64, &Row<'_>)], writing: &Writing) -> Result<(), DbErr> {
    let mut counts: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for (key, row) in rows.iter().filter(|(_, row)| row.record.kind.is_said()) {
        *counts.entry((row.place, quarter(key::time(*key)))).or_default() += 1;
    }
    let counts: Vec<((i64, i64), i64)> = counts.into_iter().collect();
    for chunk in chunks(&counts, writing.engine()) {
        let (source, values): (String, Vec<Value>) = match writing.engine() {
            Engine::Sqlite => {
                let values = chunk.iter().flat_map(|((place, quarter), count)| [*place, *quarter, *count]);
                (format!("VALUES {}", tuples(chunk.len(), 3)), values.map(Value::from).collect())
            }
            Engine::Postgres => {
                let column =
                    |value: fn(&((i64, i64), i64)) -> i64| chunk.iter().map(value).collect::<Vec<i64>>().into();
                let values = vec![column(|count| count.0.0), column(|count| count.0.1), column(|count| count.1)];
                ("SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[])".to_owned(), values)
            }
        };
        let sql = format!(
            "INSERT INTO activity (place_id, quarter, messages) {source}
             ON CONFLICT (place_id, quarter) DO UPDATE SET messages = activity.messages + excluded.messages"
        );
        execute(writing.on(), &sql, values).await?;
    }
    Ok(())
}

/// The quarter of an hour since 1970.
pub(crate) fn quarter(at: Timestamp) -> i64 {
    at.millis().div_euclid(QUARTER_MS)
}

/// `(?, ?), (?, ?)`: a parameter with a number would be a name to SQLite, which it looks for among all names before it.
fn tuples(rows: usize, columns: usize) -> String {
    let tuple = format!("({})", vec!["?"; columns].join(", "));
    vec![&*tuple; rows].join(", ")
}

fn text(text: &str) -> Value {
    clean(text).into()
}

/// An empty one is none.
fn optional(field: &Option<String>) -> Value {
    field.as_deref().map(clean).filter(|field| !field.is_empty()).into()
}

/// PostgreSQL's text has no NUL, and nor has what came from IRC.
fn clean(text: &str) -> String {
    text.replace('\0', "")
}
