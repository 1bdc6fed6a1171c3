//! How records come into the archive: many at once, in one transaction, in the order of their keys, each of them once.

use std::collections::{BTreeMap, HashMap};

use protocol::Timestamp;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, Value};
use uuid::Uuid;

use super::forgetting::{forgotten, is_forgotten};
use super::{Archive, Kind, Record, key, place};
use crate::words::{self, Tokens};
use crate::{Engine, Error, Writing};

/// Rows of one statement. SQLite takes 32,766 values, PostgreSQL 65,535.
const ROWS: usize = 512;
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
        let mut words: Vec<Tokens> = records.iter().map(document).collect();
        let writing = self.0.write().await?;
        let failed = |why: DbErr| self.0.error(&why);
        let places = self.0.places().of(records, &writing).await.map_err(failed)?;
        let forgotten = forgotten(records, &writing).await.map_err(failed)?;
        let mut rows: Vec<Row<'_>> = Vec::with_capacity(records.len());
        for (record, words) in records.iter().zip(words.drain(..)) {
            if is_forgotten(record, &forgotten) {
                continue;
            }
            let place = places.get(&place::name(&record.network, &record.channel)).copied().unwrap_or_default();
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
    for chunk in chunks(&rows) {
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
        for chunk in chunks(&taken) {
            index(chunk, writing).await?;
        }
    }
    count(&taken, writing).await?;
    Ok(taken.len())
}

/// In as few sizes as there are, so that the database knows most of the statements already.
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = if rows.len() >= ROWS { ROWS } else { (rows.len() + 1).next_power_of_two() / 2 };
        let (chunk, rest) = rows.split_at_checked(size).filter(|(chunk, _)| !chunk.is_empty())?;
        rows = rest;
        Some(chunk)
    })
}

/// Inserts the rows whose event and key are new: their events with their keys.
async fn insert(rows: &[Row<'_>], writing: &Writing) -> Result<HashMap<Uuid, i64>, DbErr> {
    let postgres = writing.engine() == Engine::Postgres;
    let columns = if postgres { 10 } else { 9 };
    let mut values: Vec<Value> = Vec::with_capacity(rows.len() * columns);
    for Row { key, place, record, words } in rows {
        let kind = record.kind.number();
        values.extend([(*key).into(), (*place).into(), kind.into(), text(&record.nick)]);
        values.extend([&record.account, &record.whom, &record.msgid].map(|field| field.as_deref().map(clean).into()));
        values.extend([text(&record.text), record.event_id.into()]);
        if postgres {
            values.push(words.tsvector().into());
        }
    }
    let table = "INSERT INTO messages (id, place_id, kind, nick, account, whom, msgid, text, event_id";
    let (table, cast) = if postgres { (format!("{table}, words)"), "::tsvector") } else { (format!("{table})"), "") };
    let sql =
        format!("{table} VALUES {} ON CONFLICT DO NOTHING RETURNING event_id, id", tuples(rows.len(), columns, cast));
    let inserted = writing.on().query_all_raw(statement(writing, sql, values)).await?;
    inserted.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
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
    let sql = "SELECT 1 FROM messages WHERE event_id = $1".to_owned();
    Ok(writing.on().query_one_raw(statement(writing, sql, vec![id.into()])).await?.is_some())
}

/// The words of rows for SQLite, which has an index of its own for them.
async fn index(rows: &[(i64, &Row<'_>)], writing: &Writing) -> Result<(), DbErr> {
    let sql = format!("INSERT INTO message_words (rowid, words) VALUES {}", tuples(rows.len(), 2, ""));
    let values = rows.iter().flat_map(|(key, row)| [(*key).into(), row.words.fts5().into()]).collect();
    writing.on().execute_raw(statement(writing, sql, values)).await.map(drop)
}

/// How much was said in each quarter of an hour.
async fn count(rows: &[(i64, &Row<'_>)], writing: &Writing) -> Result<(), DbErr> {
    let mut counts: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for (key, row) in rows.iter().filter(|(_, row)| row.record.kind.is_said()) {
        *counts.entry((row.place, quarter(key::time(*key)))).or_default() += 1;
    }
    let counts: Vec<((i64, i64), i64)> = counts.into_iter().collect();
    for chunk in chunks(&counts) {
        let sql = format!(
            "INSERT INTO activity (place_id, quarter, messages) VALUES {}
             ON CONFLICT (place_id, quarter) DO UPDATE SET messages = activity.messages + excluded.messages",
            tuples(chunk.len(), 3, "")
        );
        let values = chunk.iter().flat_map(|((place, quarter), count)| [*place, *quarter, *count]);
        writing.on().execute_raw(statement(writing, sql, values.map(Value::from).collect())).await?;
    }
    Ok(())
}

/// The quarter of an hour since 1970.
pub(crate) fn quarter(at: Timestamp) -> i64 {
    at.millis().div_euclid(QUARTER_MS)
}

fn statement(writing: &Writing, sql: String, values: Vec<Value>) -> Statement {
    let backend: DbBackend = writing.on().get_database_backend();
    Statement::from_sql_and_values(backend, sql, values)
}

/// `($1, $2), ($3, $4)`; the last value of each is cast.
fn tuples(rows: usize, columns: usize, cast: &str) -> String {
    use std::fmt::Write as _;
    let mut sql = String::with_capacity(rows * columns * 7);
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let comma = if column == 1 { "" } else { ", " };
            // a String can be written to
            write!(sql, "{comma}${}", row * columns + column).ok();
        }
        sql.push_str(cast);
        sql.push(')');
    }
    sql
}

fn text(text: &str) -> Value {
    clean(text).into()
}

/// PostgreSQL's text has no NUL, and nor has what came from IRC.
fn clean(text: &str) -> String {
    text.replace('\0', "")
}
