//! Messages as they were said, in pages: by key, so that a page is found at once however far back it is.

use protocol::Timestamp;
use sea_orm::{DbErr, QueryResult, Value};

use super::{Archive, Kind, Record, key, place};
use crate::Error;
use crate::sql::all;

/// Messages of one page at most.
pub const MAX_PAGE: u16 = 1_000;

/// What is read of a message, from `messages m JOIN places p`.
pub(crate) const COLUMNS: &str =
    "m.id, m.kind, m.nick, m.account, m.whom, m.msgid, m.text, m.event_id, p.network, p.name";

/// A record with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its permalink, and its place in time: see [`key`].
    pub key: i64,
    /// What happened.
    pub record: Record,
}

impl Message {
    pub(crate) fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let key: i64 = row.try_get_by_index(0)?;
        let number: i16 = row.try_get_by_index(1)?;
        let kind = Kind::numbered(number).ok_or_else(|| DbErr::Type(format!("message {key} is of kind {number}")))?;
        let record = Record {
            event_id: row.try_get_by_index(7)?,
            at: key::time(key),
            seq: Some(key::seq(key)),
            network: row.try_get_by_index(8)?,
            channel: row.try_get_by_index(9)?,
            kind,
            nick: row.try_get_by_index(2)?,
            account: row.try_get_by_index(3)?,
            msgid: row.try_get_by_index(5)?,
            whom: row.try_get_by_index(4)?,
            text: row.try_get_by_index(6)?,
        };
        Ok(Message { key, record })
    }
}

impl Archive<'_> {
    /// The message with this key.
    ///
    /// # Errors
    /// When the database is away, locked, or another version's.
    pub async fn message(&self, key: i64) -> Result<Option<Message>, Error> {
        let mut found = self.messages("m.id = $1", "m.id", 1, vec![key.into()]).await?;
        Ok(found.pop())
    }

    /// What happened in a channel before this key (`i64::MAX`: up to now), the newest first, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// As [`message`](Archive::message).
    pub async fn before(&self, network: &str, channel: &str, key: i64, limit: u16) -> Result<Vec<Message>, Error> {
        let Some(place) = self.place(network, channel).await? else { return Ok(Vec::new()) };
        self.messages("m.place_id = $1 AND m.id < $2", "m.id DESC", limit, vec![place.into(), key.into()]).await
    }

    /// What happened in a channel from `after` on (exclusive), and before `until`: the oldest first, at most [`MAX_PAGE`]. The
    /// first page of a day begins after `key::first(midnight) - 1`, the next one after the key of its last message.
    ///
    /// # Errors
    /// As [`message`](Archive::message).
    pub async fn after(
        &self,
        network: &str,
        channel: &str,
        after: i64,
        until: Timestamp,
        limit: u16,
    ) -> Result<Vec<Message>, Error> {
        let Some(place) = self.place(network, channel).await? else { return Ok(Vec::new()) };
        let values = vec![place.into(), after.into(), key::first(until).into()];
        self.messages("m.place_id = $1 AND m.id > $2 AND m.id < $3", "m.id", limit, values).await
    }

    /// Every channel of which there is something, by network and name.
    ///
    /// # Errors
    /// As [`message`](Archive::message).
    pub async fn channels(&self) -> Result<Vec<(String, String)>, Error> {
        let sql = "SELECT network, name FROM places p
            WHERE EXISTS (SELECT 1 FROM messages m WHERE m.place_id = p.id) ORDER BY network, channel";
        let rows = self.rows(sql, Vec::new()).await?;
        let read = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
        rows.iter().map(read).collect::<Result<_, DbErr>>().map_err(|why| self.0.error(&why))
    }

    /// The first and the last message of a channel.
    ///
    /// # Errors
    /// As [`message`](Archive::message).
    pub async fn first_and_last(&self, network: &str, channel: &str) -> Result<Option<(Message, Message)>, Error> {
        let Some(place) = self.place(network, channel).await? else { return Ok(None) };
        let mut first = self.messages("m.place_id = $1", "m.id", 1, vec![place.into()]).await?;
        let mut last = self.messages("m.place_id = $1", "m.id DESC", 1, vec![place.into()]).await?;
        Ok(first.pop().zip(last.pop()))
    }

    /// The number of a channel, if there is anything of it.
    pub(crate) async fn place(&self, network: &str, channel: &str) -> Result<Option<i64>, Error> {
        let (network, channel) = place::name(network, channel);
        let sql = "SELECT id FROM places WHERE network = $1 AND channel = $2";
        let rows = self.rows(sql, vec![network.into(), channel.into()]).await?;
        let id = rows.first().map(|row| row.try_get_by_index(0)).transpose();
        id.map_err(|why| self.0.error(&why))
    }

    async fn messages(
        &self,
        condition: &str,
        order: &str,
        limit: u16,
        values: Vec<Value>,
    ) -> Result<Vec<Message>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let sql = format!(
            "SELECT {COLUMNS} FROM messages m JOIN places p ON p.id = m.place_id
             WHERE {condition} ORDER BY {order} LIMIT {limit}"
        );
        let rows = self.rows(&sql, values).await?;
        rows.iter().map(Message::read).collect::<Result<_, _>>().map_err(|why| self.0.error(&why))
    }

    /// Asks.
    pub(crate) async fn rows(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, Error> {
        all(self.0.read().await?, sql, values).await.map_err(|why| self.0.error(&why))
    }
}
