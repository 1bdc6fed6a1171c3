//! The rows that changes are about, read, changed by the rules of [`room`](super::room), and written, many at once. On
//! PostgreSQL one transaction at a time has a network; on SQLite there is no other.

use std::collections::{BTreeMap, HashMap};

use protocol::Timestamp;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult, Value};
use uuid::Uuid;

use super::change::{Change, Deed, How, Version, What};
use super::fold::key;
use super::room::{Network, Room, Row, Rows, State};
use super::{FORGOTTEN_AFTER, Seen};
use crate::Engine;
use crate::sql::{all, execute, one};

/// Rows that one statement reads or writes: as many as fit, then fewer, so that few statements are to be prepared.
const AT_ONCE: [usize; 3] = [256, 16, 1];
/// How often what is too old is looked for, in ms.
const TIDIED_EVERY_MS: i64 = 86_400_000;
/// How much of it is forgotten at once.
const FORGOTTEN_AT_ONCE: u64 = 10_000;
/// The number of [`State::Complete`].
pub(super) const COMPLETE: i64 = 1;

const COLUMNS: &str = "network, channel, nick_key, folded, nick, here, version, prefix, prefix_version, account, \
                       account_version, since_ms, seen_ms, seen";
const VALUES_OF_A_ROW: usize = 14;

/// Writes the changes of one network in a transaction.
pub(super) struct Writer<'a> {
    pub on: &'a DatabaseTransaction,
    pub engine: Engine,
    pub network: &'a str,
}

/// A channel with those of its rows that the changes are about.
#[derive(Default)]
struct Channel {
    room: Room,
    rows: Loaded,
}

/// Rows by the keys of their nicks, as they were and as they are.
#[derive(Default)]
struct Loaded {
    before: HashMap<String, Row>,
    rows: HashMap<String, Row>,
    /// Rows that were not read are gone, too, when they are older.
    gone: Option<(Version, Room)>,
}

impl Rows for Loaded {
    fn of(&mut self, nick: &str) -> &mut Row {
        self.rows.entry(key(nick)).or_insert_with(|| Row::new(nick))
    }

    fn older_are_gone(&mut self, version: Version, room: &Room) {
        self.rows.values_mut().for_each(|row| row.vanish(version, room));
        self.gone = Some((version, room.clone()));
    }
}

impl Loaded {
    fn changed(&self) -> impl Iterator<Item = (&String, &Row)> {
        self.rows.iter().filter(|(key, row)| self.before.get(*key) != Some(row))
    }
}

impl Writer<'_> {
    /// Takes changes in the order of their versions.
    pub async fn write(&self, changes: &[&Change]) -> Result<(), DbErr> {
        let (before, mut channels) = (self.network().await?, self.read(changes).await?);
        let mut network = before.clone();
        for change in changes {
            network.note(change);
            if let What::In(channel, deed) = &change.what
                && let Some(Channel { room, rows }) = channels.get_mut(channel.as_str())
            {
                room.apply(&network, change.at, change.version, deed, rows);
            }
        }
        for (name, channel) in &channels {
            self.write_channel(name, channel).await?;
        }
        self.write_members(&channels).await?;
        if let Some(latest) = changes.iter().map(|change| change.at).max() {
            self.tidy(&mut network, latest).await?;
        }
        if network != before { self.write_network(&network).await } else { Ok(()) }
    }

    /// Everything that the changes are about.
    async fn read<'c>(&self, changes: &[&'c Change]) -> Result<BTreeMap<&'c str, Channel>, DbErr> {
        let mut channels: BTreeMap<&str, Channel> = BTreeMap::new();
        let mut keys: Vec<(&str, String)> = Vec::new();
        for change in changes {
            let What::In(channel, deed) = &change.what else { continue };
            channels.entry(channel).or_default();
            keys.extend(nicks(deed).into_iter().map(|nick| (channel.as_str(), key(nick))));
        }
        keys.sort_unstable();
        keys.dedup();
        let names: Vec<&str> = channels.keys().copied().collect();
        for names in in_chunks(&names) {
            self.read_rooms(names, &mut channels).await?;
        }
        for keys in in_chunks(&keys) {
            self.read_members(keys, &mut channels).await?;
        }
        Ok(channels)
    }

    /// How far the network has come. Nobody else may change it from here on.
    async fn network(&self) -> Result<Network, DbErr> {
        let Network { floor, lost, lost_ms, tidied_ms } = Network::default();
        let insert =
            "INSERT INTO member_networks (network, floor, lost, lost_ms, tidied_ms) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (network) DO NOTHING";
        let lost = lost.as_bytes().to_vec();
        let values = [self.network.into(), floor.to_bytes().into(), lost.into(), lost_ms.into(), tidied_ms.into()];
        execute(self.on, insert, values).await?;
        let select = "SELECT floor, lost, lost_ms, tidied_ms FROM member_networks WHERE network = $1";
        let select = match self.engine {
            Engine::Sqlite => select.to_owned(),
            Engine::Postgres => format!("{select} FOR UPDATE"),
        };
        let Some(row) = one(self.on, &select, [self.network.into()]).await? else { return Ok(Network::default()) };
        let (floor, lost) = (version(&row, 0)?, session(&row, 1)?);
        Ok(Network { floor, lost, lost_ms: row.try_get_by_index(2)?, tidied_ms: row.try_get_by_index(3)? })
    }

    async fn write_network(&self, network: &Network) -> Result<(), DbErr> {
        let update =
            "UPDATE member_networks SET floor = $2, lost = $3, lost_ms = $4, tidied_ms = $5 WHERE network = $1";
        let (floor, lost) = (network.floor.to_bytes(), network.lost.as_bytes().to_vec());
        let values = [self.network.into(), floor.into(), lost.into(), network.lost_ms.into(), network.tidied_ms.into()];
        execute(self.on, update, values).await.map(drop)
    }

    async fn read_rooms(&self, names: &[&str], channels: &mut BTreeMap<&str, Channel>) -> Result<(), DbErr> {
        let places = list(names.len(), 1, 2);
        let select = format!(
            "SELECT channel, floor, state, heard, heard_ms, gap, gap_ms FROM member_channels
             WHERE network = $1 AND channel IN ({})",
            places.replace(['(', ')'], "")
        );
        let values = std::iter::once(self.network).chain(names.iter().copied()).map(Value::from);
        for row in all(self.on, &select, values.collect::<Vec<_>>()).await? {
            let name: String = row.try_get_by_index(0)?;
            if let Some(channel) = channels.get_mut(name.as_str()) {
                channel.room = read_room(&row)?;
            }
        }
        Ok(())
    }

    async fn read_members(&self, keys: &[(&str, String)], channels: &mut BTreeMap<&str, Channel>) -> Result<(), DbErr> {
        let select = format!(
            "SELECT {COLUMNS} FROM members WHERE network = $1 AND (channel, nick_key) IN (VALUES {})",
            list(keys.len(), 2, 2)
        );
        let pairs = keys.iter().flat_map(|(channel, key)| [*channel, key.as_str()]);
        let values = std::iter::once(self.network).chain(pairs).map(Value::from);
        for row in all(self.on, &select, values.collect::<Vec<_>>()).await? {
            let (name, key): (String, String) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
            if let Some(Channel { rows, .. }) = channels.get_mut(name.as_str()) {
                let row = read_row(&row)?;
                rows.before.insert(key.clone(), row.clone());
                rows.rows.insert(key, row);
            }
        }
        Ok(())
    }

    /// Writes what is known of a channel; who was not named in it is gone.
    async fn write_channel(&self, name: &str, Channel { room, rows }: &Channel) -> Result<(), DbErr> {
        let upsert = "INSERT INTO member_channels (network, channel, floor, state, heard, heard_ms, gap, gap_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (network, channel) DO UPDATE SET floor = excluded.floor, state = excluded.state,
                 heard = excluded.heard, heard_ms = excluded.heard_ms, gap = excluded.gap, gap_ms = excluded.gap_ms";
        let state = if room.state == State::Complete { COMPLETE } else { 0 };
        let (floor, heard, gap) = (room.floor.to_bytes(), room.heard.as_bytes().to_vec(), room.gap.to_bytes());
        let place = || [Value::from(self.network), name.into()];
        let values: [Value; 6] =
            [floor.into(), state.into(), heard.into(), room.heard_ms.into(), gap.into(), room.gap_ms.into()];
        execute(self.on, upsert, place().into_iter().chain(values).collect::<Vec<_>>()).await?;
        let Some((version, room)) = &rows.gone else { return Ok(()) };
        // the same as `Row::vanish`, for rows that were not read
        let sweep = "UPDATE members SET here = FALSE, version = $3,
                 seen = CASE WHEN version < $4 AND seen_ms < $5 THEN $6 ELSE seen END,
                 seen_ms = CASE WHEN version < $4 AND seen_ms < $5 THEN $5 ELSE seen_ms END
             WHERE network = $1 AND channel = $2 AND here AND version < $3";
        let values: [Value; 4] =
            [version.to_bytes().into(), room.gap.to_bytes().into(), room.gap_ms.into(), How::There.number().into()];
        execute(self.on, sweep, place().into_iter().chain(values).collect::<Vec<_>>()).await.map(drop)
    }

    async fn write_members(&self, channels: &BTreeMap<&str, Channel>) -> Result<(), DbErr> {
        let changed = channels
            .iter()
            .flat_map(|(name, channel)| channel.rows.changed().map(move |(key, row)| self.values(name, key, row)));
        let updates: Vec<String> =
            COLUMNS.split(", ").skip(3).map(|column| format!("{column} = excluded.{column}")).collect();
        let updates = updates.join(", ");
        for rows in in_chunks(&changed.collect::<Vec<_>>()) {
            let upsert = format!(
                "INSERT INTO members ({COLUMNS}) VALUES {}
                 ON CONFLICT (network, channel, nick_key) DO UPDATE SET {updates}",
                list(rows.len(), VALUES_OF_A_ROW, 1)
            );
            execute(self.on, &upsert, rows.iter().flatten().cloned().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    fn values(&self, channel: &str, key: &str, row: &Row) -> [Value; VALUES_OF_A_ROW] {
        [
            self.network.into(),
            channel.into(),
            key.into(),
            row.folded().into(),
            row.nick.as_str().into(),
            row.here.into(),
            row.version.to_bytes().into(),
            row.prefix.as_str().into(),
            row.prefix_version.to_bytes().into(),
            row.account.clone().into(),
            row.account_version.to_bytes().into(),
            row.since_ms.into(),
            row.seen_ms.into(),
            row.seen.number().into(),
        ]
    }

    /// Forgets, once a day, who was not seen for a year and is not here.
    async fn tidy(&self, network: &mut Network, now: Timestamp) -> Result<(), DbErr> {
        if now.millis() - network.tidied_ms < TIDIED_EVERY_MS {
            return Ok(());
        }
        let delete = format!(
            "DELETE FROM members WHERE (network, channel, nick_key) IN (
                 SELECT network, channel, nick_key FROM members
                 WHERE network = $1 AND seen_ms < $2 AND (NOT here OR version < $3) LIMIT {FORGOTTEN_AT_ONCE})"
        );
        let floor = network.floor.to_bytes();
        let values = [self.network.into(), now.minus(FORGOTTEN_AFTER).millis().into(), floor.into()];
        if execute(self.on, &delete, values).await? < FORGOTTEN_AT_ONCE {
            network.tidied_ms = now.millis();
        }
        Ok(())
    }
}

/// The nicks that something is about.
fn nicks(deed: &Deed) -> Vec<&str> {
    match deed {
        Deed::Joined { nick, .. } | Deed::Left { nick, .. } | Deed::LoggedIn { nick, .. } | Deed::Said { nick, .. } => {
            vec![nick]
        }
        Deed::Renamed { from, to } => vec![from, &to.nick],
        Deed::Ranked(members) | Deed::Named(members) => members.iter().map(|member| member.nick.as_str()).collect(),
    }
}

/// Slices of few different lengths.
fn in_chunks<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let length = AT_ONCE.into_iter().find(|length| *length <= rest.len())?;
        let (chunk, others) = rest.split_at(length);
        rest = others;
        Some(chunk)
    })
}

/// `($2, $3), ($4, $5)`: so many tuples of so many values each, counted from `first`.
fn list(tuples: usize, values: usize, first: usize) -> String {
    let tuple = |number: usize| {
        let start = first + number * values;
        let values: Vec<String> = (start..start + values).map(|value| format!("${value}")).collect();
        format!("({})", values.join(", "))
    };
    (0..tuples).map(tuple).collect::<Vec<_>>().join(", ")
}

fn version(row: &QueryResult, index: usize) -> Result<Version, DbErr> {
    row.try_get_by_index::<Vec<u8>>(index).map(|bytes| Version::from_bytes(&bytes))
}

fn session(row: &QueryResult, index: usize) -> Result<Uuid, DbErr> {
    row.try_get_by_index::<Vec<u8>>(index).map(|bytes| Uuid::from_slice(&bytes).unwrap_or_default())
}

fn read_room(row: &QueryResult) -> Result<Room, DbErr> {
    let state = match row.try_get_by_index(2)? {
        COMPLETE => State::Complete,
        _ => State::Unknown,
    };
    let (floor, heard, heard_ms) = (version(row, 1)?, session(row, 3)?, row.try_get_by_index(4)?);
    Ok(Room { floor, state, heard, heard_ms, gap: version(row, 5)?, gap_ms: row.try_get_by_index(6)? })
}

fn read_row(row: &QueryResult) -> Result<Row, DbErr> {
    Ok(Row {
        nick: row.try_get_by_index(4)?,
        here: row.try_get_by_index(5)?,
        version: version(row, 6)?,
        prefix: row.try_get_by_index(7)?,
        prefix_version: version(row, 8)?,
        account: row.try_get_by_index(9)?,
        account_version: version(row, 10)?,
        since_ms: row.try_get_by_index(11)?,
        seen_ms: row.try_get_by_index(12)?,
        seen: How::from_number(row.try_get_by_index(13)?),
    })
}

/// A row of the question when somebody was seen last. Who was there when the bot lost sight of the channel was seen until then.
pub(super) fn seen(row: &QueryResult) -> Result<Seen, DbErr> {
    let (here, now): (bool, bool) = (row.try_get_by_index(5)?, row.try_get_by_index(7)?);
    let (told, gap, lost) = (version(row, 6)?, version(row, 9)?, session(row, 11)?);
    let (seen_ms, heard_ms): (i64, i64) = (row.try_get_by_index(2)?, row.try_get_by_index(8)?);
    let until = match () {
        () if !here || now => seen_ms,
        () if told < gap => row.try_get_by_index(10)?,
        () if told.session == lost => heard_ms.max(row.try_get_by_index(12)?),
        () => heard_ms,
    };
    let how = if until > seen_ms { How::There } else { How::from_number(row.try_get_by_index(3)?) };
    let since: i64 = row.try_get_by_index(4)?;
    Ok(Seen {
        channel: row.try_get_by_index(0)?,
        nick: row.try_get_by_index(1)?,
        at: Timestamp::from_millis(until.max(seen_ms)),
        how,
        here_since: now.then(|| Timestamp::from_millis(since)),
    })
}
