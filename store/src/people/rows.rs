//! The rows of people's tables: read, made when they are needed, and kept up to date.

use std::collections::BTreeMap;

use protocol::Timestamp;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Value};
use uuid::Uuid;

use super::{Identity, Profile, RESTS_AFTER, SEEN_AGAIN_AFTER, Who};
use crate::sql::{all, execute, one};

/// What [`Row::read`] reads.
pub(super) const IDENTITY: &str =
    "SELECT source_id, network, account, profile_id, nick, first_seen, last_seen, known_at FROM identities";

/// A row of `identities`.
pub(super) struct Row {
    pub(super) source_id: Uuid,
    network: String,
    pub(super) account: String,
    pub(super) profile: i64,
    nick: Option<String>,
    first_seen: Option<i64>,
    last_seen: Option<i64>,
    known_at: i64,
}

impl Row {
    pub(super) fn read(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Row {
            source_id: row.try_get_by_index(0)?,
            network: row.try_get_by_index(1)?,
            account: row.try_get_by_index(2)?,
            profile: row.try_get_by_index(3)?,
            nick: row.try_get_by_index(4)?,
            first_seen: row.try_get_by_index(5)?,
            last_seen: row.try_get_by_index(6)?,
            known_at: row.try_get_by_index(7)?,
        })
    }

    pub(super) fn who(&self) -> Who<'_> {
        let Row { source_id, network, account, nick, .. } = self;
        Who { source_id: *source_id, network, account, nick: nick.as_deref() }
    }

    /// It was out of sight for too long.
    pub(super) fn rests(&self, now: Timestamp) -> bool {
        self.known_at < now.minus(RESTS_AFTER).millis()
    }

    /// There is nothing new to write down.
    pub(super) fn is_as_told(&self, who: &Who<'_>, now: Timestamp) -> bool {
        let fresh = self.last_seen.is_some_and(|at| at >= now.minus(SEEN_AGAIN_AFTER).millis());
        fresh && self.account == who.account && (who.nick.is_none() || self.nick.as_deref() == who.nick)
    }

    fn identity(self) -> Identity {
        Identity {
            source_id: self.source_id,
            network: self.network,
            account: self.account,
            nick: self.nick,
            first_seen: self.first_seen.map(Timestamp::from_millis),
            last_seen: self.last_seen.map(Timestamp::from_millis),
            rests_from: Timestamp::from_millis(self.known_at).plus(RESTS_AFTER),
        }
    }
}

/// The identity's row.
pub(super) async fn row(on: &impl ConnectionTrait, source_id: Uuid) -> Result<Option<Row>, DbErr> {
    let found = one(on, &format!("{IDENTITY} WHERE source_id = $1"), [source_id.into()]).await?;
    found.as_ref().map(Row::read).transpose()
}

/// The row of somebody who is here now: made, or with what is new.
pub(super) async fn ensure(on: &impl ConnectionTrait, who: &Who<'_>, now: Timestamp) -> Result<Row, DbErr> {
    let found = match row(on, who.source_id).await? {
        Some(row) => row,
        None => make(on, who, Some(now), now).await?,
    };
    touch(on, &found, who, now).await?;
    row(on, who.source_id).await?.ok_or_else(gone)
}

/// Makes the row with a profile of its own, unless somebody was faster.
pub(super) async fn make(
    on: &impl ConnectionTrait,
    who: &Who<'_>,
    seen: Option<Timestamp>,
    now: Timestamp,
) -> Result<Row, DbErr> {
    let profile = make_profile(on, now).await?;
    let seen = Value::BigInt(seen.map(Timestamp::millis));
    let made = execute(
        on,
        "INSERT INTO identities (source_id, network, account, profile_id, nick, first_seen, last_seen, known_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6, $7) ON CONFLICT (source_id) DO NOTHING",
        [
            who.source_id.into(),
            who.network.into(),
            who.account.into(),
            profile.into(),
            who.nick.map(str::to_owned).into(),
            seen,
            now.millis().into(),
        ],
    )
    .await?;
    if made == 0 {
        execute(on, "DELETE FROM profiles WHERE id = $1", [profile.into()]).await?;
    }
    row(on, who.source_id).await?.ok_or_else(gone)
}

/// A new profile's number.
pub(super) async fn make_profile(on: &impl ConnectionTrait, now: Timestamp) -> Result<i64, DbErr> {
    let made = one(on, "INSERT INTO profiles (made_at) VALUES ($1) RETURNING id", [now.millis().into()]).await?;
    made.ok_or_else(gone)?.try_get_by_index(0)
}

/// Writes down that they were seen. One that rests goes on resting, unless there is nothing that it could get by it.
pub(super) async fn touch(on: &impl ConnectionTrait, row: &Row, who: &Who<'_>, now: Timestamp) -> Result<(), DbErr> {
    let known_at = match row.rests(now) && has_more(on, row).await? {
        true => row.known_at,
        false => now.millis(),
    };
    let sql = "UPDATE identities SET account = $2, nick = COALESCE($3, nick), first_seen = COALESCE(first_seen, $4),
               last_seen = $4, known_at = $5 WHERE source_id = $1";
    let nick: Value = who.nick.map(str::to_owned).into();
    let values = [row.source_id.into(), who.account.into(), nick, now.millis().into(), known_at.into()];
    execute(on, sql, values).await.map(drop)
}

/// The profile has roles, or other accounts.
async fn has_more(on: &impl ConnectionTrait, row: &Row) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM roles WHERE profile_id = $1
               UNION ALL SELECT 1 FROM identities WHERE profile_id = $1 AND source_id <> $2";
    Ok(one(on, sql, [row.profile.into(), row.source_id.into()]).await?.is_some())
}

/// The profile of that number.
pub(super) async fn profile(on: &impl ConnectionTrait, id: i64) -> Result<Profile, DbErr> {
    let mut people = within(on, id, id).await?;
    let (identities, roles) = people.remove(&id).unwrap_or_default();
    Ok(Profile { id, identities, roles })
}

/// So many profiles behind a number.
pub(super) async fn profiles(on: &impl ConnectionTrait, behind: i64, limit: u16) -> Result<Vec<Profile>, DbErr> {
    let sql = "SELECT id FROM profiles WHERE id > $1 AND merged_into IS NULL ORDER BY id LIMIT $2";
    let ids = all(on, sql, [behind.into(), i64::from(limit).into()]).await?;
    let ids: Vec<i64> = ids.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(Vec::new()) };
    let mut people = within(on, *first, *last).await?;
    let profile = |id| {
        let (identities, roles) = people.remove(&id).unwrap_or_default();
        Profile { id, identities, roles }
    };
    Ok(ids.into_iter().map(profile).collect())
}

/// The identities and the roles of each profile from one number to another.
async fn within(
    on: &impl ConnectionTrait,
    first: i64,
    last: i64,
) -> Result<BTreeMap<i64, (Vec<Identity>, Vec<String>)>, DbErr> {
    let mut people: BTreeMap<i64, (Vec<Identity>, Vec<String>)> = BTreeMap::new();
    let identities = format!("{IDENTITY} WHERE profile_id BETWEEN $1 AND $2 ORDER BY network, account, source_id");
    for row in all(on, &identities, [first.into(), last.into()]).await? {
        let row = Row::read(&row)?;
        people.entry(row.profile).or_default().0.push(row.identity());
    }
    let roles = "SELECT profile_id, role FROM roles WHERE profile_id BETWEEN $1 AND $2 ORDER BY role";
    for row in all(on, roles, [first.into(), last.into()]).await? {
        people.entry(row.try_get_by_index(0)?).or_default().1.push(row.try_get_by_index(1)?);
    }
    Ok(people)
}

fn gone() -> DbErr {
    DbErr::Custom("a row that was just written is not there".to_owned())
}
