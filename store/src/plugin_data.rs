//! What plugins remember: values by key, each plugin's own, and the inbox by which a transactional handler runs once for an
//! event, however often that is delivered. Plugins with more to remember bring tables of their own: see
//! [`PluginSteps`](crate::PluginSteps).

use std::time::Duration;

use protocol::Timestamp;
use sea_orm::{ConnectionTrait, DbErr};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{Engine, Error, Store, Writing, sql};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 255;
/// The longest value, in bytes of its JSON.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
/// The most that [`Data::list`] returns.
pub const MAX_LISTED: usize = 1_000;
/// How long the inbox remembers an event. The broker delivers nothing again that is so old.
pub const INBOX_KEEPS: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How many old entries go for each new one: more than one, so that the inbox can't grow, and few, so that nobody waits.
const SWEPT_AT_ONCE: u32 = 4;

/// A plugin's values: outside a transaction each question is one of its own.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    plugin: &'a str,
    on: On<'a>,
}

#[derive(Clone, Copy, Debug)]
enum On<'a> {
    Store(&'a Store),
    Writing(&'a Writing),
}

/// What the inbox says of an event for a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbox {
    /// It was not there; now it is, if the transaction lasts.
    New,
    /// The handler has run for it; what it said.
    Done(String),
}

impl Store {
    /// The values of a plugin.
    pub fn data<'a>(&'a self, plugin: &'a str) -> Data<'a> {
        Data { plugin, on: On::Store(self) }
    }
}

impl Writing {
    /// The values of a plugin, in this transaction.
    pub fn data<'a>(&'a self, plugin: &'a str) -> Data<'a> {
        Data { plugin, on: On::Writing(self) }
    }

    /// Puts an event into the inbox of a handler (`group/plugin/name`), unless it is there. Whoever else is about to do the
    /// same is waited for. Takes out some that are older than 7 days.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn inbox(&self, event: Uuid, handler: &str, now: Timestamp) -> Result<Inbox, Error> {
        let asked = async {
            self.sweep_inbox(now).await?;
            let insert = "INSERT INTO plugin_inbox (event_id, handler, at, replies) VALUES ($1, $2, $3, '')
                          ON CONFLICT (event_id, handler) DO NOTHING";
            let values = [event.into(), handler.into(), now.millis().into()];
            if sql::execute(self.on(), insert, values).await? == 1 {
                return Ok(Inbox::New);
            }
            let select = "SELECT replies FROM plugin_inbox WHERE event_id = $1 AND handler = $2";
            let row = sql::one(self.on(), select, [event.into(), handler.into()]).await?;
            Ok(Inbox::Done(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default()))
        };
        asked.await.map_err(|why| self.error(&why))
    }

    /// Keeps what the handler said about an event that is new in its inbox.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn keep_replies(&self, event: Uuid, handler: &str, replies: &str) -> Result<(), Error> {
        let update = "UPDATE plugin_inbox SET replies = $1 WHERE event_id = $2 AND handler = $3";
        let updated = sql::execute(self.on(), update, [replies.into(), event.into(), handler.into()]).await;
        updated.map(drop).map_err(|why| self.error(&why))
    }

    async fn sweep_inbox(&self, now: Timestamp) -> Result<u64, DbErr> {
        // of two that sweep at the same time, one takes the next ones
        let skip = if self.engine() == Engine::Postgres { "FOR UPDATE SKIP LOCKED" } else { "" };
        let old = format!("SELECT event_id, handler FROM plugin_inbox WHERE at < $1 ORDER BY at LIMIT $2 {skip}");
        let delete = format!("DELETE FROM plugin_inbox WHERE (event_id, handler) IN ({old})");
        let before = now.minus(INBOX_KEEPS).millis();
        sql::execute(self.on(), &delete, [before.into(), i64::from(SWEPT_AT_ONCE).into()]).await
    }
}

impl Data<'_> {
    /// The value of a key, if there is one.
    ///
    /// # Errors
    /// When the database can't be asked, and [`Error::Unfit`] for a key that can't be one or a value that is no `T`.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        check_key(key)?;
        let text = match self.on {
            On::Store(store) => select(store.read().await?, self.plugin, key).await.map_err(|why| store.error(&why)),
            On::Writing(writing) => self.selected(writing, key).await,
        };
        text?.map(|text| read(key, &text)).transpose()
    }

    /// Keys that begin with `prefix` and their values, by key: the first 1,000.
    ///
    /// # Errors
    /// As [`get`](Data::get).
    pub async fn list<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>, Error> {
        let rows = match self.on {
            On::Store(store) => list(store.read().await?, self.plugin, prefix).await.map_err(|why| store.error(&why)),
            On::Writing(writing) => list(writing.on(), self.plugin, prefix).await.map_err(|why| writing.error(&why)),
        };
        let rows = rows?.into_iter().map(|(key, text)| read(&key, &text).map(|value| (key, value)));
        rows.collect()
    }

    /// Gives a key a value, whatever it had before.
    ///
    /// # Errors
    /// When the database does not take it, and [`Error::Unfit`] for a key or a value that can't be one, or is too long.
    pub async fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), Error> {
        check_key(key)?;
        let text = written(key, value)?;
        match self.on {
            On::Writing(writing) => self.write(writing, key, &text).await,
            On::Store(store) => {
                let writing = store.write().await?;
                self.write(&writing, key, &text).await?;
                writing.commit().await
            }
        }
    }

    /// Forgets a key; whether it had a value.
    ///
    /// # Errors
    /// As [`set`](Data::set).
    pub async fn remove(&self, key: &str) -> Result<bool, Error> {
        check_key(key)?;
        match self.on {
            On::Writing(writing) => self.delete(writing, key).await,
            On::Store(store) => {
                let writing = store.write().await?;
                let removed = self.delete(&writing, key).await?;
                writing.commit().await?;
                Ok(removed)
            }
        }
    }

    /// Makes a new value of what a key has, in one transaction: nobody changes it in between. Returns the new value.
    ///
    /// # Errors
    /// As [`get`](Data::get) and [`set`](Data::set); nothing is changed then.
    pub async fn update<T, F>(&self, key: &str, change: F) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(Option<T>) -> T + Send,
    {
        check_key(key)?;
        match self.on {
            On::Writing(writing) => self.change(writing, key, change).await,
            On::Store(store) => {
                let writing = store.write().await?;
                let value = self.change(&writing, key, change).await?;
                writing.commit().await?;
                Ok(value)
            }
        }
    }

    async fn change<T, F>(&self, writing: &Writing, key: &str, change: F) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(Option<T>) -> T + Send,
    {
        self.lock(writing, key).await.map_err(|why| writing.error(&why))?;
        let before = self.selected(writing, key).await?;
        let value = change(before.map(|text| read(key, &text)).transpose()?);
        let text = written(key, &value)?;
        self.write(writing, key, &text).await?;
        Ok(value)
    }

    async fn selected(&self, writing: &Writing, key: &str) -> Result<Option<String>, Error> {
        select(writing.on(), self.plugin, key).await.map_err(|why| writing.error(&why))
    }

    async fn write(&self, writing: &Writing, key: &str, text: &str) -> Result<(), Error> {
        let upsert = "INSERT INTO plugin_data (plugin, key, value) VALUES ($1, $2, $3)
                      ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value";
        let written = async {
            self.lock(writing, key).await?;
            sql::execute(writing.on(), upsert, [self.plugin.into(), key.into(), text.into()]).await
        };
        written.await.map(drop).map_err(|why| writing.error(&why))
    }

    async fn delete(&self, writing: &Writing, key: &str) -> Result<bool, Error> {
        let delete = "DELETE FROM plugin_data WHERE plugin = $1 AND key = $2";
        let deleted = async {
            self.lock(writing, key).await?;
            sql::execute(writing.on(), delete, [self.plugin.into(), key.into()]).await
        };
        deleted.await.map(|rows| rows > 0).map_err(|why| writing.error(&why))
    }

    /// Until the transaction's end, nobody else writes this key. SQLite has one writer anyway; on PostgreSQL a row that is not
    /// there can't be locked, so its key is.
    async fn lock(&self, writing: &Writing, key: &str) -> Result<(), DbErr> {
        if writing.engine() == Engine::Postgres {
            let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
            sql::execute(writing.on(), lock, [format!("{}/{key}", self.plugin).into()]).await?;
        }
        Ok(())
    }
}

async fn select(on: &impl ConnectionTrait, plugin: &str, key: &str) -> Result<Option<String>, DbErr> {
    let select = "SELECT value FROM plugin_data WHERE plugin = $1 AND key = $2";
    sql::one(on, select, [plugin.into(), key.into()]).await?.map(|row| row.try_get_by_index(0)).transpose()
}

async fn list(on: &impl ConnectionTrait, plugin: &str, prefix: &str) -> Result<Vec<(String, String)>, DbErr> {
    let select =
        "SELECT key, value FROM plugin_data WHERE plugin = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4";
    let end = format!("{prefix}{}", char::MAX);
    let values = [plugin.into(), prefix.into(), end.into(), (MAX_LISTED as i64).into()];
    let rows = sql::all(on, select, values).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

fn check_key(key: &str) -> Result<(), Error> {
    let why = match key.len() {
        0 => "it is empty".to_owned(),
        bytes if bytes > MAX_KEY_BYTES => format!("it has {bytes} bytes; a key has at most {MAX_KEY_BYTES}"),
        _ if key.contains('\0') => "it has a NUL".to_owned(),
        _ => return Ok(()),
    };
    let begin = &key[..key.floor_char_boundary(40)];
    Err(Error::Unfit { what: format!("the key {begin:?} can't be one"), why })
}

fn written<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<String, Error> {
    let unfit = |why: String| Error::Unfit { what: format!("the value of {key:?} can't be kept"), why };
    let text = serde_json::to_string(value).map_err(|why| unfit(why.to_string()))?;
    match text.len() {
        bytes if bytes > MAX_VALUE_BYTES => {
            Err(unfit(format!("it has {bytes} bytes of JSON; a value has at most {MAX_VALUE_BYTES}")))
        }
        _ => Ok(text),
    }
}

fn read<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, Error> {
    let unfit = |why: serde_json::Error| Error::Unfit {
        what: format!("the value of {key:?} is no {}", std::any::type_name::<T>()),
        why: why.to_string(),
    };
    serde_json::from_str(text).map_err(unfit)
}
