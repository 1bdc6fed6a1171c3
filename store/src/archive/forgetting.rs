//! People who do not want to be remembered, by their services account: nothing of them is taken in any more, and what there
//! is goes. Who has no account can't be told from whoever takes their nick, so they can't be forgotten by themselves.

use std::collections::HashSet;

use protocol::Timestamp;
use sea_orm::{DbErr, QueryResult, Value};

use super::{Archive, Record};
use crate::sql::{all, execute};
use crate::{Error, Writing};

/// People that are cleared away in one go at most.
const AT_ONCE: u32 = 100;

/// Those who are forgotten: network and account, in small letters.
pub(crate) type Forgotten = HashSet<(String, String)>;

impl Archive<'_> {
    /// From now on nothing of this account is taken in; what there is goes with [`clear`](Archive::clear).
    ///
    /// # Errors
    /// When the database is away, locked or full, or another version's.
    pub async fn forget(&self, network: &str, account: &str, now: Timestamp) -> Result<(), Error> {
        let sql = "INSERT INTO forgotten (network, account, since, cleared) VALUES ($1, $2, $3, FALSE)
            ON CONFLICT (network, account) DO UPDATE SET cleared = FALSE";
        self.change(sql, vec![network.into(), account.to_ascii_lowercase().into(), now.millis().into()]).await.map(drop)
    }

    /// What this account says from now on is remembered again; whether it was forgotten before.
    ///
    /// # Errors
    /// As [`forget`](Archive::forget).
    pub async fn remember(&self, network: &str, account: &str) -> Result<bool, Error> {
        let sql = "DELETE FROM forgotten WHERE network = $1 AND account = $2";
        Ok(self.change(sql, vec![network.into(), account.to_ascii_lowercase().into()]).await? > 0)
    }

    /// Takes out what there still is of those who are to be forgotten; how many messages. What a worker had in hand when it
    /// was asked may come in a moment later, so call it every few seconds.
    ///
    /// # Errors
    /// As [`forget`](Archive::forget).
    pub async fn clear(&self) -> Result<u64, Error> {
        let sql = format!("SELECT network, account FROM forgotten WHERE NOT cleared LIMIT {AT_ONCE}");
        let mut taken = 0;
        for row in self.rows(&sql, Vec::new()).await? {
            let (network, account): (String, String) = read(&row).map_err(|why| self.0.error(&why))?;
            loop {
                let some = self.take_out_account(&network, &account).await?;
                taken += some;
                if some == 0 {
                    break;
                }
            }
            let sql = "UPDATE forgotten SET cleared = TRUE WHERE network = $1 AND account = $2";
            self.change(sql, vec![network.into(), account.into()]).await?;
        }
        Ok(taken)
    }

    async fn change(&self, sql: &str, values: Vec<Value>) -> Result<u64, Error> {
        let writing = self.0.write().await?;
        let rows = execute(writing.on(), sql, values).await.map_err(|why| self.0.error(&why))?;
        writing.commit().await?;
        Ok(rows)
    }
}

fn read(row: &QueryResult) -> Result<(String, String), DbErr> {
    Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))
}

/// Who of those that have said this is forgotten. Read in the transaction that takes it in, so that what comes after
/// [`Archive::forget`] has returned is left out.
pub(crate) async fn forgotten(records: &[Record], writing: &Writing) -> Result<Forgotten, DbErr> {
    if records.iter().all(|record| record.account.is_none()) {
        return Ok(Forgotten::new());
    }
    all(writing.on(), "SELECT network, account FROM forgotten", []).await?.iter().map(read).collect()
}

/// Whether this is of somebody who is forgotten.
pub(crate) fn is_forgotten(record: &Record, forgotten: &Forgotten) -> bool {
    !forgotten.is_empty()
        && record
            .account
            .as_ref()
            .is_some_and(|account| forgotten.contains(&(record.network.clone(), account.to_ascii_lowercase())))
}
