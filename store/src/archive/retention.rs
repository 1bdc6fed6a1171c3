//! What goes out of the archive again: what is older than it is to be kept, and what somebody does not want to be remembered.

use protocol::Timestamp;
use sea_orm::{DbErr, Value};

use super::taking::quarter;
use super::{Archive, key};
use crate::sql::{all, execute};
use crate::{Engine, Error, Writing};

/// So many messages go in one transaction, so that nobody waits long for it.
const AT_ONCE: u32 = 2_000;

impl Archive<'_> {
    /// Takes out what was said in a channel before that moment, a part of it: how many messages. Call it until there are none.
    ///
    /// # Errors
    /// When the database is away, locked or full, or another version's.
    pub async fn sweep(&self, network: &str, channel: &str, before: Timestamp) -> Result<u64, Error> {
        let Some(place) = self.place(network, channel).await? else { return Ok(0) };
        self.take_out("place_id = $1 AND id < $2", vec![place.into(), key::first(before).into()]).await
    }

    /// Takes out all that was said under a services account on a network, a part of it: how many messages. Call it until there
    /// are none.
    ///
    /// # Errors
    /// As [`sweep`](Archive::sweep).
    pub async fn take_out_account(&self, network: &str, account: &str) -> Result<u64, Error> {
        let account_column = match self.0.engine() {
            Engine::Sqlite => "lower(account)",
            Engine::Postgres => "lower(account COLLATE \"C\")",
        };
        let condition = format!("{account_column} = $1 AND place_id IN (SELECT id FROM places WHERE network = $2)");
        self.take_out(&condition, vec![account.to_ascii_lowercase().into(), network.into()]).await
    }

    /// Takes out one message; whether there was one.
    ///
    /// # Errors
    /// As [`sweep`](Archive::sweep).
    pub async fn take_out_message(&self, key: i64) -> Result<bool, Error> {
        Ok(self.take_out("id = $1", vec![key.into()]).await? > 0)
    }

    async fn take_out(&self, condition: &str, values: Vec<Value>) -> Result<u64, Error> {
        let writing = self.0.write().await?;
        let taken = delete(condition, values, &writing).await.map_err(|why| self.0.error(&why))?;
        writing.commit().await?;
        Ok(taken)
    }
}

/// Deletes messages, the words of them, and that they count.
async fn delete(condition: &str, values: Vec<Value>, writing: &Writing) -> Result<u64, DbErr> {
    let sql = format!(
        "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE {condition} ORDER BY id LIMIT {AT_ONCE})
         RETURNING id, place_id, kind"
    );
    let rows = all(writing.on(), &sql, values).await?;
    for row in &rows {
        let (id, place, kind): (i64, i64, i16) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        if writing.engine() == Engine::Sqlite {
            execute(writing.on(), "DELETE FROM message_words WHERE rowid = $1", [id.into()]).await?;
        }
        if super::Kind::numbered(kind).is_some_and(super::Kind::is_said) {
            let sql = "UPDATE activity SET messages = messages - 1 WHERE place_id = $1 AND quarter = $2";
            let values = [place.into(), quarter(key::time(id)).into()];
            execute(writing.on(), sql, values).await?;
        }
    }
    Ok(rows.len() as u64)
}
