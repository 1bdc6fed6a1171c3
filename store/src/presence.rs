//! Presence: who is in which channel now, with rank and account, and when somebody was seen last.
//!
//! Several workers write here, so events come in any order, and some twice. That makes no difference: what is known of
//! somebody, of a channel and of a network has the [`Version`] of the event that told it, and only a greater one changes
//! it. Nothing is deleted when somebody leaves: that row keeps older events from bringing them back, and tells when
//! they were seen last. A list of names (`names`) tells all of a channel; until there is one in the session at hand, the
//! channel is unknown, and nobody counts as being there who was heard of in an earlier session only.

mod change;
mod fold;
mod room;
mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{Member, Timestamp};
use sea_orm::QueryResult;

pub use self::change::{Change, Deed, How, Version, What};
use self::fold::to_the_letter;
use self::rows::Writer;
use crate::sql::{all, one};
use crate::{Error, Store};

/// Whoever was not seen for so long is forgotten.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(365 * 86_400);
/// The most members of a channel that are told; as many as a connector keeps track of.
pub const MOST_MEMBERS: usize = 50_000;
/// The most channels of a nick that are told; as many as a connector keeps track of.
const MOST_CHANNELS: i64 = 1_000;

/// A row that counts: told by the session at hand, and not before the channel's last list of names.
const NOW: &str = "m.here AND m.version >= c.floor AND m.version >= n.floor";
/// Members with their channel and their network.
const WHERE_THEY_ARE: &str = "FROM members m
     JOIN member_channels c ON c.network = m.network AND c.channel = m.channel
     JOIN member_networks n ON n.network = m.network";

/// The questions about who is where. A channel is named as in routing keys: folded by its network.
#[derive(Clone, Copy, Debug)]
pub struct Presence<'a>(&'a Store);

/// When and where somebody was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The channel's word in routing keys.
    pub channel: String,
    /// The nick as it was written then.
    pub nick: String,
    /// When.
    pub at: Timestamp,
    /// Doing what.
    pub how: How,
    /// They are there now; since when, as far as that was seen.
    pub here_since: Option<Timestamp>,
}

/// Somebody in a channel now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// The channel's word in routing keys.
    pub channel: String,
    /// Nick, rank and account.
    pub member: Member,
    /// Since when, as far as that was seen.
    pub since: Timestamp,
}

impl Store {
    /// Who is where.
    pub fn presence(&self) -> Presence<'_> {
        Presence(self)
    }
}

impl Presence<'_> {
    /// Takes changes, in any order, known ones among them: all of them or, with an error, none. A thousand at once take
    /// little longer than one.
    ///
    /// # Errors
    /// When the database does not take them.
    pub async fn apply(&self, changes: &[Change]) -> Result<(), Error> {
        let mut networks: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        for change in changes {
            networks.entry(&change.network).or_default().push(change);
        }
        let writing = self.0.write().await?;
        // always in one order, so that two workers never wait for each other
        for (network, mut changes) in networks {
            changes.sort_by_key(|change| change.version);
            let writer = Writer { on: writing.on(), engine: writing.engine(), network };
            writer.write(&changes).await.map_err(|why| writing.error(&why))?;
        }
        writing.commit().await
    }

    /// It is known who is in a channel: the bot is there, and was told the names.
    ///
    /// # Errors
    /// When the database can't be asked.
    pub async fn knows(&self, network: &str, channel: &str) -> Result<bool, Error> {
        let complete = format!(
            "SELECT 1 FROM member_channels c JOIN member_networks n ON n.network = c.network
             WHERE c.network = $1 AND c.channel = $2 AND c.state = {} AND c.floor >= n.floor",
            rows::COMPLETE
        );
        let found = one(self.0.read().await?, &complete, [network.into(), channel.into()]).await;
        found.map(|row| row.is_some()).map_err(|why| self.0.error(&why))
    }

    /// Who is in a channel now, by nick; at most [`MOST_MEMBERS`]. `None`: that is not [known](Presence::knows).
    ///
    /// # Errors
    /// When the database can't be asked.
    pub async fn members(&self, network: &str, channel: &str) -> Result<Option<Vec<Member>>, Error> {
        if !self.knows(network, channel).await? {
            return Ok(None);
        }
        let members = format!(
            "SELECT m.nick, m.prefix, m.account {WHERE_THEY_ARE}
             WHERE m.network = $1 AND m.channel = $2 AND {NOW} ORDER BY m.nick_key LIMIT {MOST_MEMBERS}"
        );
        let rows = all(self.0.read().await?, &members, [network.into(), channel.into()]).await;
        let members = rows.and_then(|rows| rows.iter().map(|row| member(row, 0)).collect());
        members.map(Some).map_err(|why| self.0.error(&why))
    }

    /// In which channels somebody is now.
    ///
    /// # Errors
    /// When the database can't be asked.
    pub async fn who(&self, network: &str, nick: &str) -> Result<Vec<Present>, Error> {
        let sql = format!(
            "SELECT m.channel, m.nick, m.prefix, m.account, m.since_ms {WHERE_THEY_ARE}
             WHERE m.network = $1 AND m.folded = $2 AND {NOW} ORDER BY m.channel LIMIT {MOST_CHANNELS}"
        );
        let on = self.0.read().await?;
        let read = |row: &QueryResult| {
            let (channel, member) = (row.try_get_by_index(0)?, member(row, 1)?);
            Ok(Present { channel, member, since: Timestamp::from_millis(row.try_get_by_index(4)?) })
        };
        let rows = all(on, &sql, [network.into(), crate::fold(nick).into()]).await.map_err(|why| self.0.error(&why))?;
        let found: Vec<Present> = rows.iter().map(read).collect::<Result<_, _>>().map_err(|why| self.0.error(&why))?;
        Ok(to_the_letter(found, nick, |present| &present.member.nick))
    }

    /// Since when somebody is in a channel, as far as that was seen; `None` if they are not, or that is not known.
    ///
    /// # Errors
    /// When the database can't be asked.
    pub async fn in_channel_since(&self, network: &str, channel: &str, nick: &str) -> Result<Option<Timestamp>, Error> {
        let places = self.who(network, nick).await?;
        Ok(places.into_iter().find(|present| present.channel == channel).map(|present| present.since))
    }

    /// Where somebody is or was seen, for each channel; who is there now first, then by time, latest first. What was said
    /// to the bot alone is no part of it.
    ///
    /// # Errors
    /// When the database can't be asked.
    pub async fn last_seen(&self, network: &str, nick: &str) -> Result<Vec<Seen>, Error> {
        let sql = format!(
            "SELECT m.channel, m.nick, m.seen_ms, m.seen, m.since_ms, m.here, m.version, {NOW} AS now,
                 c.heard_ms, c.gap, c.gap_ms, n.lost, n.lost_ms
             {WHERE_THEY_ARE}
             WHERE m.network = $1 AND m.folded = $2 ORDER BY now DESC, m.seen_ms DESC LIMIT {MOST_CHANNELS}"
        );
        let on = self.0.read().await?;
        let rows = all(on, &sql, [network.into(), crate::fold(nick).into()]).await.map_err(|why| self.0.error(&why))?;
        let mut found: Vec<Seen> =
            rows.iter().map(rows::seen).collect::<Result<_, _>>().map_err(|why| self.0.error(&why))?;
        found.sort_by_key(|seen| (seen.here_since.is_none(), std::cmp::Reverse(seen.at)));
        Ok(to_the_letter(found, nick, |seen| &seen.nick))
    }
}

fn member(row: &QueryResult, first: usize) -> Result<Member, sea_orm::DbErr> {
    let (nick, prefix) = (row.try_get_by_index(first)?, row.try_get_by_index(first + 1)?);
    Ok(Member { nick, prefix, account: row.try_get_by_index(first + 2)? })
}
