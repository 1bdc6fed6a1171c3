//! People: profiles, the identities (network and services account) that belong to each, and their roles. Nobody is known by
//! a nick: that is kept as a hint for those who read lists, and no question here takes one.
//!
//! An account's name is all that a network tells of it. One that was dropped, or that services let expire, may be registered
//! again by somebody else, and that looks the same. So what an identity may do by its profile's roles, and by others of the
//! profile, rests when it was not seen for 30 days, until an operator names it in a grant again: services that let accounts
//! expire do so later. Of an account that is dropped and registered again sooner, nothing can be known here.

mod changes;
mod linking;
mod rows;

use std::time::Duration;

use protocol::Timestamp;
use sea_orm::DbErr;
use uuid::Uuid;

pub use self::changes::Change;
pub use self::linking::{Link, Offer};
use self::rows::Row;
use crate::sql::{all, execute, one};
use crate::{Error, Store};

/// How long an identity may be out of sight before it rests: Atheme lets accounts expire after 30 days, others later.
pub const RESTS_AFTER: Duration = Duration::from_secs(30 * 86_400);
/// How often it is written down that somebody was seen.
const SEEN_AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// Accounts that are looked for with one statement.
const AT_ONCE: usize = 500;

/// Somebody who is logged in to a services account, as an event tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who<'a> {
    /// The identity's key.
    pub source_id: Uuid,
    /// The network's name.
    pub network: &'a str,
    /// The services account, as the network writes it.
    pub account: &'a str,
    /// The nick just now: a hint.
    pub nick: Option<&'a str>,
}

impl<'a> Who<'a> {
    /// Of a network and an account alone.
    pub fn of(network: &'a str, account: &'a str) -> Self {
        Who { source_id: protocol::source_id(network, account), network, account, nick: None }
    }
}

/// A person, as far as the bot knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The profile's number. A profile that was merged into another keeps leading there.
    pub id: i64,
    /// Their accounts, in the order of networks and names.
    pub identities: Vec<Identity>,
    /// What was granted, by name.
    pub roles: Vec<String>,
}

impl Profile {
    /// One of its accounts.
    pub fn identity(&self, source_id: Uuid) -> Option<&Identity> {
        self.identities.iter().find(|identity| identity.source_id == source_id)
    }
}

/// An account on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its key in events.
    pub source_id: Uuid,
    /// The network's name.
    pub network: String,
    /// The account, as the network writes it.
    pub account: String,
    /// The nick that it had when it was last seen: a hint, and nobody's name.
    pub nick: Option<String>,
    /// When it was seen first; `None`: an operator has named it, and it was not seen yet.
    pub first_seen: Option<Timestamp>,
    /// When it was seen last, give or take an hour.
    pub last_seen: Option<Timestamp>,
    /// Until when its profile's roles count for it, unless it is seen before.
    pub rests_from: Timestamp,
}

impl Identity {
    /// It was out of sight for so long that it may have another owner: roles don't count until they are granted again.
    pub fn rests(&self, now: Timestamp) -> bool {
        now > self.rests_from
    }
}

/// Whether somebody has a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They have it.
    Has,
    /// They had it; since then their account was not seen for 30 days.
    Rests,
    /// They don't have it.
    Lacks,
}

/// Where a name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The profile's number.
    pub profile: i64,
    /// The identity that was named, if one was.
    pub identity: Option<Uuid>,
}

/// The questions about people.
#[derive(Clone, Copy, Debug)]
pub struct People<'a>(&'a Store);

impl Store {
    /// People: profiles, identities, roles.
    pub fn people(&self) -> People<'_> {
        People(self)
    }
}

impl People<'_> {
    /// The profile of somebody who is logged in. It is made when it is asked for the first time.
    ///
    /// # Errors
    /// The database's.
    pub async fn profile(&self, who: &Who<'_>, now: Timestamp) -> Result<Profile, Error> {
        if let Some(row) = self.row(who.source_id).await? {
            let profile = self.numbered(row.profile).await?;
            if row.is_as_told(who, now) {
                return Ok(profile);
            }
        }
        let writing = self.0.write().await?;
        let row = rows::ensure(writing.on(), who, now).await.map_err(|why| self.0.error(&why))?;
        let profile = rows::profile(writing.on(), row.profile).await.map_err(|why| self.0.error(&why))?;
        writing.commit().await?;
        Ok(profile)
    }

    /// Whether somebody who is logged in has a role.
    ///
    /// # Errors
    /// The database's.
    pub async fn standing(&self, who: &Who<'_>, role: &str, now: Timestamp) -> Result<Standing, Error> {
        let Some(row) = self.row(who.source_id).await? else { return Ok(Standing::Lacks) };
        let granted = "SELECT 1 FROM roles WHERE profile_id = $1 AND role = $2";
        let granted = one(self.0.read().await?, granted, [row.profile.into(), role.into()]).await;
        if granted.map_err(|why| self.0.error(&why))?.is_none() {
            return Ok(Standing::Lacks);
        }
        if row.rests(now) {
            return Ok(Standing::Rests);
        }
        if !row.is_as_told(who, now) {
            let writing = self.0.write().await?;
            rows::ensure(writing.on(), who, now).await.map_err(|why| self.0.error(&why))?;
            writing.commit().await?;
        }
        Ok(Standing::Has)
    }

    /// Whether somebody who is logged in has a role that counts now.
    ///
    /// # Errors
    /// The database's.
    pub async fn has_role(&self, who: &Who<'_>, role: &str, now: Timestamp) -> Result<bool, Error> {
        Ok(self.standing(who, role, now).await? == Standing::Has)
    }

    /// These accounts were seen on a network: those that are known don't rest. Nobody is made known by this.
    ///
    /// # Errors
    /// The database's.
    pub async fn seen(&self, network: &str, accounts: &[&str], now: Timestamp) -> Result<(), Error> {
        let error = |why: DbErr| self.0.error(&why);
        for accounts in accounts.chunks(AT_ONCE) {
            let ids = accounts.iter().map(|account| protocol::source_id(network, account).into());
            let list: Vec<String> = (2..accounts.len() + 2).map(|number| format!("${number}")).collect();
            let due = now.minus(SEEN_AGAIN_AFTER).millis();
            let sql = format!(
                "{} WHERE (last_seen IS NULL OR last_seen < $1) AND source_id IN ({})",
                rows::IDENTITY,
                list.join(", ")
            );
            let found = all(self.0.read().await?, &sql, std::iter::once(due.into()).chain(ids)).await.map_err(error)?;
            if found.is_empty() {
                continue;
            }
            let writing = self.0.write().await?;
            for row in found {
                let row = Row::read(&row).map_err(error)?;
                rows::touch(writing.on(), &row, &row.who(), now).await.map_err(error)?;
            }
            writing.commit().await?;
        }
        Ok(())
    }

    /// The profile of that number, or the one that it was merged into.
    ///
    /// # Errors
    /// The database's.
    pub async fn find(&self, number: i64) -> Result<Option<Found>, Error> {
        let sql = "SELECT COALESCE(merged_into, id) FROM profiles WHERE id = $1";
        let row = one(self.0.read().await?, sql, [number.into()]).await.map_err(|why| self.0.error(&why))?;
        let profile = row.map(|row| row.try_get_by_index(0)).transpose().map_err(|why| self.0.error(&why))?;
        Ok(profile.map(|profile| Found { profile, identity: None }))
    }

    /// The identities with that account on that network, compared letter for letter: one at most, unless a connector has
    /// keys of its own.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_account(&self, network: &str, account: &str) -> Result<Vec<Found>, Error> {
        let sql = format!("{} WHERE network = $1 AND account = $2 ORDER BY source_id LIMIT 10", rows::IDENTITY);
        let found = |row: Row| Found { profile: row.profile, identity: Some(row.source_id) };
        Ok(self.rows(&sql, [network.into(), account.into()]).await?.into_iter().map(found).collect())
    }

    /// The accounts on that network whose names are the same but for the case of letters.
    ///
    /// # Errors
    /// The database's.
    pub async fn twins(&self, network: &str, account: &str) -> Result<Vec<String>, Error> {
        let sql = format!("{} WHERE network = $1 AND LOWER(account) = LOWER($2) LIMIT 10", rows::IDENTITY);
        let rows = self.rows(&sql, [network.into(), account.into()]).await?;
        Ok(rows.into_iter().map(|row| row.account).filter(|twin| twin != account).collect())
    }

    /// So many profiles at most, by number, those behind a number: 0 for the first.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(&self, behind: i64, limit: u16) -> Result<Vec<Profile>, Error> {
        let on = self.0.read().await?;
        rows::profiles(on, behind, limit).await.map_err(|why| self.0.error(&why))
    }

    /// All roles that anybody has, by name.
    ///
    /// # Errors
    /// The database's.
    pub async fn roles(&self) -> Result<Vec<String>, Error> {
        let sql = "SELECT DISTINCT role FROM roles ORDER BY role LIMIT 1000";
        let rows = all(self.0.read().await?, sql, []).await.map_err(|why| self.0.error(&why))?;
        rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>().map_err(|why| self.0.error(&why))
    }

    /// The profile of that number as it is.
    ///
    /// # Errors
    /// The database's.
    pub async fn numbered(&self, profile: i64) -> Result<Profile, Error> {
        rows::profile(self.0.read().await?, profile).await.map_err(|why| self.0.error(&why))
    }

    /// Makes an account known that was never seen, as for an operator's first grant.
    ///
    /// # Errors
    /// The database's.
    pub async fn introduce(&self, network: &str, account: &str, now: Timestamp) -> Result<Found, Error> {
        let who = Who::of(network, account);
        let writing = self.0.write().await?;
        let row = rows::make(writing.on(), &who, None, now).await.map_err(|why| self.0.error(&why))?;
        writing.commit().await?;
        Ok(Found { profile: row.profile, identity: Some(who.source_id) })
    }

    async fn row(&self, source_id: Uuid) -> Result<Option<Row>, Error> {
        let sql = format!("{} WHERE source_id = $1", rows::IDENTITY);
        Ok(self.rows(&sql, [source_id.into()]).await?.pop())
    }

    async fn rows<const N: usize>(&self, sql: &str, values: [sea_orm::Value; N]) -> Result<Vec<Row>, Error> {
        let rows = all(self.0.read().await?, sql, values).await.map_err(|why| self.0.error(&why))?;
        rows.iter().map(Row::read).collect::<Result<_, _>>().map_err(|why| self.0.error(&why))
    }
}

/// Holds off whoever else wants to change who belongs to whom. On SQLite there is one who writes anyway.
async fn alone(writing: &crate::Writing) -> Result<(), DbErr> {
    if writing.engine() == crate::Engine::Postgres {
        execute(writing.on(), "LOCK TABLE profiles IN SHARE ROW EXCLUSIVE MODE", []).await?;
    }
    Ok(())
}
