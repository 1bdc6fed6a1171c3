//! Finding messages by their words: the newest first, a page at a time, the same ones on both engines.

use sea_orm::{DbErr, Value};

use super::page::COLUMNS;
use super::{Archive, MAX_PAGE, Message, key};
use crate::search::{Fts5, Query, to_fts5, to_tsquery};
use crate::{Engine, Error};

/// A statement in the making: its conditions, and the values in them.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds one; `?` in it is the value.
    fn add(&mut self, sql: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.sql.push(sql.replace('?', &format!("${}", self.values.len())));
    }

    /// The period, and what is behind the page before.
    fn add_keys(&mut self, column: &str, query: &Query, before: i64) {
        let until = query.before.map_or(i64::MAX, key::first).min(before);
        self.add(&format!("{column} < ?"), until);
        if let Some(after) = query.after {
            self.add(&format!("{column} >= ?"), key::first(after));
        }
    }
}

impl Archive<'_> {
    /// What a search finds before this key (`i64::MAX` for the first page, then the last one's key), the newest first, at most
    /// [`MAX_PAGE`].
    ///
    /// # Errors
    /// When the database is away, locked, too slow, or another version's.
    pub async fn search(&self, query: &Query, before: i64, limit: u16) -> Result<Vec<Message>, Error> {
        let mut conditions = Conditions::default();
        let (table, column) = match self.0.engine() {
            Engine::Sqlite => sqlite(query, before, &mut conditions),
            Engine::Postgres => postgres(query, before, &mut conditions),
        };
        let Conditions { sql, values } = conditions;
        let sql = format!(
            "SELECT {COLUMNS} FROM {table} JOIN places p ON p.id = m.place_id WHERE {} ORDER BY {column} DESC LIMIT {}",
            sql.join(" AND "),
            limit.clamp(1, MAX_PAGE)
        );
        let rows = self.rows(sql, values).await?;
        rows.iter().map(Message::read).collect::<Result<_, DbErr>>().map_err(|why| self.0.error(&why))
    }
}

/// From where, and what is ordered by: the index of words has the same keys, and hands them out in their order.
fn sqlite(query: &Query, before: i64, conditions: &mut Conditions) -> (&'static str, &'static str) {
    match to_fts5(query) {
        Fts5::Matching(words) => {
            conditions.add("message_words MATCH ?", words);
            conditions.add_keys("w.rowid", query, before);
            return ("message_words w CROSS JOIN messages m ON m.id = w.rowid", "w.rowid");
        }
        Fts5::NotMatching(words) => {
            conditions.add("m.id NOT IN (SELECT rowid FROM message_words WHERE message_words MATCH ?)", words);
        }
        Fts5::Everything => {}
    }
    conditions.add_keys("m.id", query, before);
    ("messages m", "m.id")
}

fn postgres(query: &Query, before: i64, conditions: &mut Conditions) -> (&'static str, &'static str) {
    if let Some(words) = to_tsquery(query) {
        conditions.add("m.words @@ ?::tsquery", words);
    }
    conditions.add_keys("m.id", query, before);
    ("messages m", "m.id")
}
