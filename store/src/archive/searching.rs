//! Finding messages by their words: the newest first, a page at a time, the same ones on both engines.

use sea_orm::{DbErr, Value};

use super::page::COLUMNS;
use super::{Archive, MAX_PAGE, Message, key};
use crate::search::{Fts5, Query, to_fts5, to_tsquery};
use crate::words::network_token;
use crate::{Engine, Error};

/// A statement in the making: its conditions, and the values in them.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    values: Vec<Value>,
}

/// Where a page begins: which end of what is found comes first, and the key of the page before.
#[derive(Clone, Copy)]
enum Page {
    Newest(i64),
    Oldest(i64),
}

impl Conditions {
    /// Adds one; `?` in it is the value.
    fn add(&mut self, sql: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.sql.push(sql.replace('?', &format!("${}", self.values.len())));
    }

    /// The period, and what is behind the page before.
    fn add_keys(&mut self, column: &str, query: &Query, page: Page) {
        let (before, after) = match page {
            Page::Newest(before) => (before, i64::MIN),
            Page::Oldest(after) => (i64::MAX, after.saturating_add(1)),
        };
        self.add(&format!("{column} < ?"), query.before.map_or(i64::MAX, key::first).min(before));
        let since = query.after.map_or(i64::MIN, key::first).max(after);
        if since > i64::MIN {
            self.add(&format!("{column} >= ?"), since);
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
        self.find(query, Page::Newest(before), limit).await
    }

    /// The same the other way round: what a search finds after this key (`-1` for the first page), the oldest first.
    ///
    /// # Errors
    /// As [`search`](Archive::search).
    pub async fn search_onward(&self, query: &Query, after: i64, limit: u16) -> Result<Vec<Message>, Error> {
        self.find(query, Page::Oldest(after), limit).await
    }

    async fn find(&self, query: &Query, page: Page, limit: u16) -> Result<Vec<Message>, Error> {
        let mut conditions = Conditions::default();
        let (table, column) = match self.0.engine() {
            Engine::Sqlite => {
                let words = match to_fts5(query) {
                    Fts5::Matching(words) => Some(words),
                    Fts5::NotMatching(words) => self.anything_but(&words).await?,
                    Fts5::Everything => None,
                };
                sqlite(words, query, page, &mut conditions)
            }
            Engine::Postgres => postgres(query, page, &mut conditions),
        };
        let order = if matches!(page, Page::Newest(_)) { "DESC" } else { "ASC" };
        let Conditions { sql, values } = conditions;
        let sql = format!(
            "SELECT {COLUMNS} FROM {table} JOIN places p ON p.id = m.place_id WHERE {} ORDER BY {column} {order} LIMIT {}",
            sql.join(" AND "),
            limit.clamp(1, MAX_PAGE)
        );
        let rows = self.rows(&sql, values).await?;
        rows.iter().map(Message::read).collect::<Result<_, DbErr>>().map_err(|why| self.0.error(&why))
    }

    /// What FTS5 is asked for all but some: every message has the token of its network, so it can walk through both lists from
    /// the newest on, and need not know all that are left out before it begins.
    async fn anything_but(&self, words: &str) -> Result<Option<String>, Error> {
        let rows = self.rows("SELECT DISTINCT network FROM places", Vec::new()).await?;
        let networks: Result<Vec<String>, DbErr> = rows.iter().map(|row| row.try_get_by_index(0)).collect();
        let networks = networks.map_err(|why| self.0.error(&why))?;
        let token = |network: &String| format!("\"{}\"", network_token(network).replace('"', "\"\""));
        let anything = networks.iter().map(token).collect::<Vec<_>>().join(" OR ");
        Ok((!networks.is_empty()).then(|| format!("({anything}) NOT {words}")))
    }
}

/// From where, and what is ordered by: the index of words has the same keys, and hands them out in their order.
fn sqlite(
    words: Option<String>,
    query: &Query,
    page: Page,
    conditions: &mut Conditions,
) -> (&'static str, &'static str) {
    let Some(words) = words else {
        conditions.add_keys("m.id", query, page);
        return ("messages m", "m.id");
    };
    conditions.add("message_words MATCH ?", words);
    conditions.add_keys("w.rowid", query, page);
    ("message_words w CROSS JOIN messages m ON m.id = w.rowid", "w.rowid")
}

fn postgres(query: &Query, page: Page, conditions: &mut Conditions) -> (&'static str, &'static str) {
    if let Some(words) = to_tsquery(query) {
        conditions.add("m.words @@ ?::tsquery", words);
    }
    conditions.add_keys("m.id", query, page);
    ("messages m", "m.id")
}
