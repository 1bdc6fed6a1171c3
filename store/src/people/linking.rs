//! Linking two accounts of one person by a code: asked for with one account, said with the other. Of a code only its SHA-256
//! is kept.
//!
//! Somebody may be talked into saying a code that is not theirs. So who says it may have no role that whoever asked for it
//! hasn't: nobody gets roles by making others say something.

use std::time::Duration;

use protocol::Timestamp;
use ring::digest::{SHA256, digest};
use sea_orm::{ConnectionTrait, DbErr};
use uuid::Uuid;

use super::changes::join;
use super::rows::{self, Row};
use super::{People, Profile, Who, alone};
use crate::Error;
use crate::sql::{all, execute, one};

/// How long a code may be used.
pub const CODE_LASTS: Duration = Duration::from_secs(600);
/// Codes that one account may have open at a time.
const MOST_CODES: usize = 5;
/// Wrong codes that one account may say in [`TRIES_WITHIN`].
const MOST_TRIES: usize = 5;
const TRIES_WITHIN: Duration = Duration::from_secs(600);
/// Letters of a code, 5 bits each: Crockford's base 32, in which nothing looks like anything else.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// So many of them: 60 bits.
const LENGTH: u32 = 12;

/// What comes of asking for a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The code, as it is to be said within 10 minutes: `7ZQ4-0F3M-K2AB`.
    Code(String),
    /// There are five of theirs that can still be used.
    TooMany,
}

/// What comes of saying a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Both accounts belong to this profile now, or did before.
    Joined(Profile),
    /// It is their own code, to be said with the other account.
    Own,
    /// There is no such code, or it was used, or it is too old.
    Wrong,
    /// They have said five wrong ones in 10 minutes.
    TooManyTries,
    /// They have roles that whoever asked for the code hasn't: to be done the other way round.
    HasRoles,
    /// One of both accounts was out of sight for 30 days, and the other side has roles or it has itself.
    Rests,
}

impl People<'_> {
    /// A code to be said with the other account. `random`: 64 random bits.
    ///
    /// # Errors
    /// The database's.
    pub async fn offer(&self, who: &Who<'_>, random: u64, now: Timestamp) -> Result<Offer, Error> {
        let error = |why: DbErr| self.0.error(&why);
        let writing = self.0.write().await?;
        let on = writing.on();
        alone(&writing).await.map_err(error)?;
        rows::ensure(on, who, now).await.map_err(error)?;
        execute(on, "DELETE FROM link_codes WHERE expires_at < $1", [now.millis().into()]).await.map_err(error)?;
        let open = "SELECT 1 FROM link_codes WHERE source_id = $1 AND NOT spent";
        if all(on, open, [who.source_id.into()]).await.map_err(error)?.len() >= MOST_CODES {
            return Ok(Offer::TooMany);
        }
        let code = spelled(random);
        let sql = "INSERT INTO link_codes (hash, source_id, expires_at) VALUES ($1, $2, $3)";
        let values = [hash(&code).into(), who.source_id.into(), now.plus(CODE_LASTS).millis().into()];
        execute(on, sql, values).await.map_err(error)?;
        writing.commit().await?;
        Ok(Offer::Code(code))
    }

    /// They say a code that another account has asked for: both belong to one profile from now on. Said once more by the same
    /// account, a code does nothing more, and comes to the same.
    ///
    /// # Errors
    /// The database's.
    pub async fn link(&self, who: &Who<'_>, code: &str, now: Timestamp) -> Result<Link, Error> {
        let error = |why: DbErr| self.0.error(&why);
        let writing = self.0.write().await?;
        alone(&writing).await.map_err(error)?;
        let link = link(writing.on(), who, code, now).await.map_err(error)?;
        writing.commit().await?;
        Ok(link)
    }

    /// A code was said where others read it: nobody can use it any more. Whether there was one.
    ///
    /// # Errors
    /// The database's.
    pub async fn burn(&self, code: &str) -> Result<bool, Error> {
        let writing = self.0.write().await?;
        let sql = "UPDATE link_codes SET spent = TRUE WHERE hash = $1 AND NOT spent";
        let burnt = execute(writing.on(), sql, [hash(code).into()]).await.map_err(|why| self.0.error(&why))?;
        writing.commit().await?;
        Ok(burnt > 0)
    }
}

/// A code that can still be used, or that this account has used.
struct Code {
    source_id: Uuid,
    used: bool,
}

async fn link(on: &impl ConnectionTrait, who: &Who<'_>, code: &str, now: Timestamp) -> Result<Link, DbErr> {
    let theirs = rows::ensure(on, who, now).await?;
    if tries(on, who.source_id, now).await? >= MOST_TRIES {
        return Ok(Link::TooManyTries);
    }
    let hash = hash(code);
    let Some(Code { source_id, used }) = find(on, &hash, who.source_id, now).await? else {
        let sql = "INSERT INTO link_tries (source_id, at) VALUES ($1, $2)";
        execute(on, sql, [who.source_id.into(), now.millis().into()]).await?;
        return Ok(Link::Wrong);
    };
    if source_id == who.source_id {
        return Ok(Link::Own);
    }
    let Some(others) = rows::row(on, source_id).await? else { return Ok(Link::Wrong) };
    if !used && others.profile != theirs.profile {
        if let Some(refused) = refused(on, &theirs, &others, now).await? {
            return Ok(refused);
        }
        let by = format!("{}/{}", who.network, who.account);
        join(on, others.profile, theirs.profile, &by, now).await?;
    }
    let spend = "UPDATE link_codes SET spent = TRUE, used_by = $2 WHERE hash = $1";
    execute(on, spend, [hash.into(), who.source_id.into()]).await?;
    let row = rows::row(on, who.source_id).await?.map_or(theirs.profile, |row| row.profile);
    Ok(Link::Joined(rows::profile(on, row).await?))
}

/// How many wrong codes they have said lately.
async fn tries(on: &impl ConnectionTrait, source_id: Uuid, now: Timestamp) -> Result<usize, DbErr> {
    let since = now.minus(TRIES_WITHIN).millis();
    execute(on, "DELETE FROM link_tries WHERE at < $1", [since.into()]).await?;
    Ok(all(on, "SELECT 1 FROM link_tries WHERE source_id = $1", [source_id.into()]).await?.len())
}

async fn find(on: &impl ConnectionTrait, hash: &[u8], by: Uuid, now: Timestamp) -> Result<Option<Code>, DbErr> {
    let sql = "SELECT source_id, spent FROM link_codes
               WHERE hash = $1 AND expires_at >= $2 AND (NOT spent OR used_by = $3)";
    let row = one(on, sql, [hash.to_vec().into(), now.millis().into(), by.into()]).await?;
    row.map(|row| Ok(Code { source_id: row.try_get_by_index(0)?, used: row.try_get_by_index(1)? })).transpose()
}

/// Why these may not be joined by a code.
async fn refused(on: &impl ConnectionTrait, theirs: &Row, others: &Row, now: Timestamp) -> Result<Option<Link>, DbErr> {
    let roles = rows::profile(on, theirs.profile).await?.roles;
    let others_roles = rows::profile(on, others.profile).await?.roles;
    if roles.iter().any(|role| !others_roles.contains(role)) {
        return Ok(Some(Link::HasRoles));
    }
    let rests = theirs.rests(now) || others.rests(now);
    Ok(rests.then_some(Link::Rests))
}

/// `7ZQ4-0F3M-K2AB`
fn spelled(random: u64) -> String {
    let letter = |index: u32| char::from(LETTERS[usize::try_from(random >> (5 * index) & 31).unwrap_or(0)]);
    let letters: Vec<char> = (0..LENGTH).map(letter).collect();
    letters.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// Of what is meant by what was said: case doesn't matter, nor do hyphens, nor letters that look like digits.
fn hash(code: &str) -> Vec<u8> {
    let meant = |letter: char| match letter.to_ascii_uppercase() {
        'O' => Some('0'),
        'I' | 'L' => Some('1'),
        letter if letter.is_ascii_alphanumeric() => Some(letter),
        _ => None,
    };
    let code: String = code.chars().filter_map(meant).take(2 * LENGTH as usize).collect();
    digest(&SHA256, code.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_twelve_letters_that_can_be_mistyped_in_the_usual_ways() {
        assert_eq!(spelled(0), "0000-0000-0000");
        assert_eq!(spelled(u64::MAX), "ZZZZ-ZZZZ-ZZZZ");
        assert_ne!(spelled(1), spelled(2));
        let code = spelled(1 | 1 << 10);
        assert_eq!(code, "1010-0000-0000");
        for said in ["1010-0000-0000", "lolo 0000oooo", " IOIO00000000 "] {
            assert_eq!(hash(said), hash(&code), "{said}");
        }
        assert_ne!(hash("1010-0000-0001"), hash(&code));
    }
}
