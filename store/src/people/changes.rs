//! What changes who somebody is or what they may do: grants, merges, and taking an account away. Each is written down with
//! who did it, when, and what was before.

use protocol::Timestamp;
use sea_orm::{ConnectionTrait, DbErr};
use serde_json::json;
use uuid::Uuid;

use super::{Found, People, Profile, alone, rows};
use crate::Error;
use crate::sql::{all, execute};

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Who: an account, or `the operator`.
    pub by: String,
    /// The profile that was changed.
    pub profile: i64,
    /// What was done: `grant admin`, `merge 7`.
    pub what: String,
    /// What was before, as JSON: accounts and roles.
    pub before: String,
}

impl People<'_> {
    /// Gives a profile a role. If an account was named, its roles count again, should they have rested. `false`: it had the
    /// role before.
    ///
    /// # Errors
    /// The database's.
    pub async fn grant(&self, whom: Found, role: &str, by: &str, now: Timestamp) -> Result<bool, Error> {
        self.change(async |on: &_| {
            let before = rows::profile(on, whom.profile).await?;
            let sql = "INSERT INTO roles (profile_id, role, granted_by, granted_at) VALUES ($1, $2, $3, $4)
                       ON CONFLICT (profile_id, role) DO NOTHING";
            let values = [whom.profile.into(), role.into(), by.into(), now.millis().into()];
            let new = execute(on, sql, values).await? > 0;
            if let Some(source_id) = whom.identity {
                let known = "UPDATE identities SET known_at = $2 WHERE source_id = $1";
                execute(on, known, [source_id.into(), now.millis().into()]).await?;
            }
            note(on, &before, &format!("grant {role}"), by, now).await?;
            Ok(new)
        })
        .await
    }

    /// Takes a role from a profile. `false`: it did not have it.
    ///
    /// # Errors
    /// The database's.
    pub async fn revoke(&self, profile: i64, role: &str, by: &str, now: Timestamp) -> Result<bool, Error> {
        self.change(async |on: &_| {
            let before = rows::profile(on, profile).await?;
            let sql = "DELETE FROM roles WHERE profile_id = $1 AND role = $2";
            let gone = execute(on, sql, [profile.into(), role.into()]).await? > 0;
            if gone {
                note(on, &before, &format!("revoke {role}"), by, now).await?;
            }
            Ok(gone)
        })
        .await
    }

    /// Makes two profiles one, which has the accounts and the roles of both. The older one, of the lower number, stays, and
    /// the other's number leads there. The number that stays.
    ///
    /// # Errors
    /// The database's.
    pub async fn merge(&self, one: i64, other: i64, by: &str, now: Timestamp) -> Result<i64, Error> {
        self.change(async |on: &_| join(on, one, other, by, now).await).await
    }

    /// Takes an account out of its profile, into one of its own without roles. What it leaves stays with the rest, even if
    /// that is no account at all. The number of the new profile.
    ///
    /// # Errors
    /// The database's.
    pub async fn unlink(&self, source_id: Uuid, by: &str, now: Timestamp) -> Result<i64, Error> {
        self.change(async |on: &_| {
            let row = rows::row(on, source_id).await?.ok_or(DbErr::RecordNotFound("the account".to_owned()))?;
            let before = rows::profile(on, row.profile).await?;
            let profile = rows::make_profile(on, now).await?;
            let sql = "UPDATE identities SET profile_id = $2, known_at = $3 WHERE source_id = $1";
            execute(on, sql, [source_id.into(), profile.into(), now.millis().into()]).await?;
            note(on, &before, &format!("unlink {}/{}", row.who().network, row.account), by, now).await?;
            Ok(profile)
        })
        .await
    }

    /// The last changes, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn changes(&self, limit: u16) -> Result<Vec<Change>, Error> {
        let sql = "SELECT at, changed_by, profile_id, what, before FROM people_changes ORDER BY id DESC LIMIT $1";
        let rows = all(self.0.read().await?, sql, [i64::from(limit).into()]).await.map_err(|why| self.0.error(&why))?;
        let change = |row: &sea_orm::QueryResult| {
            Ok(Change {
                at: Timestamp::from_millis(row.try_get_by_index(0)?),
                by: row.try_get_by_index(1)?,
                profile: row.try_get_by_index(2)?,
                what: row.try_get_by_index(3)?,
                before: row.try_get_by_index(4)?,
            })
        };
        rows.iter().map(change).collect::<Result<_, DbErr>>().map_err(|why| self.0.error(&why))
    }

    /// Makes a change while nobody else does.
    async fn change<T>(
        &self,
        make: impl AsyncFnOnce(&sea_orm::DatabaseTransaction) -> Result<T, DbErr>,
    ) -> Result<T, Error> {
        let writing = self.0.write().await?;
        alone(&writing).await.map_err(|why| self.0.error(&why))?;
        let made = make(writing.on()).await.map_err(|why| self.0.error(&why))?;
        writing.commit().await?;
        Ok(made)
    }
}

/// Makes two profiles one; the number of the one that stays.
pub(super) async fn join(
    on: &impl ConnectionTrait,
    one: i64,
    other: i64,
    by: &str,
    now: Timestamp,
) -> Result<i64, DbErr> {
    if one == other {
        return Ok(one);
    }
    let (stays, goes) = (one.min(other), one.max(other));
    let before = [rows::profile(on, stays).await?, rows::profile(on, goes).await?];
    for sql in [
        "UPDATE identities SET profile_id = $1 WHERE profile_id = $2",
        "INSERT INTO roles (profile_id, role, granted_by, granted_at)
         SELECT $1, role, granted_by, granted_at FROM roles WHERE profile_id = $2
         ON CONFLICT (profile_id, role) DO NOTHING",
        "UPDATE profiles SET merged_into = $1 WHERE id = $2 OR merged_into = $2",
    ] {
        execute(on, sql, [stays.into(), goes.into()]).await?;
    }
    execute(on, "DELETE FROM roles WHERE profile_id = $1", [goes.into()]).await?;
    note(on, &before[0], &format!("merge {goes}"), by, now).await?;
    note(on, &before[1], &format!("merge into {stays}"), by, now).await?;
    Ok(stays)
}

/// Writes a change down.
async fn note(on: &impl ConnectionTrait, before: &Profile, what: &str, by: &str, now: Timestamp) -> Result<(), DbErr> {
    let accounts: Vec<String> =
        before.identities.iter().map(|identity| format!("{}/{}", identity.network, identity.account)).collect();
    let text = json!({"accounts": accounts, "roles": before.roles}).to_string();
    let sql = "INSERT INTO people_changes (at, changed_by, profile_id, what, before) VALUES ($1, $2, $3, $4, $5)";
    let values = [now.millis().into(), by.into(), before.id.into(), what.into(), text.into()];
    execute(on, sql, values).await.map(drop)
}
