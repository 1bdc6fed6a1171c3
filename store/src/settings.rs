//! Settings that change at run time, over those of the configuration's file: where they apply, what may be set, and all
//! their changes.

mod snapshot;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use protocol::{Target, Timestamp};
use sea_orm::{ConnectionTrait, DbErr, QueryResult};

pub use self::snapshot::{Snapshot, Takers};
use crate::{Engine, Error, Store, Writing, fold, sql};

/// The most settings that can be set, in all channels together: all of them are kept in the memory of every worker.
pub const MAX_SETTINGS: i64 = 10_000;
/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 4 * 1024;
/// The longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 200;
/// The most changes that are told at a time.
pub const MAX_HISTORY: u32 = 1_000;
/// How many changes are remembered; the oldest are forgotten.
const MAX_CHANGES: i64 = 100_000;
/// The tag of what no channel took under its own tags.
pub const DEFAULT_TAG: &str = "default";

/// Where a setting applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// In all channels of all networks.
    Everywhere,
    /// In one channel, or with one person in private.
    In(Place),
}

/// A channel on a network, or a nick. Two are the same if their names are so when they are [folded](crate::fold).
#[derive(Clone, Debug)]
pub struct Place {
    target: Target,
    folded: String,
}

impl Place {
    /// Where something can be said: the name as it was written.
    pub fn target(&self) -> &Target {
        &self.target
    }

    fn key(&self) -> (&str, &str) {
        (&self.target.network, &self.folded)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Place {}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Scope {
    /// A channel on a network, or a nick.
    pub fn of(network: &str, channel: &str) -> Self {
        let target = Target { network: network.to_owned(), channel: channel.to_owned() };
        Scope::In(Place { folded: fold(channel), target })
    }

    /// By what it is found in the database.
    fn stored(&self) -> String {
        match self {
            Scope::Everywhere => String::new(),
            Scope::In(place) => format!("{}/{}", place.target.network, place.folded),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Everywhere => f.write_str("everywhere"),
            Scope::In(place) => place.target.fmt(f),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    /// `everywhere`, or `network/#channel`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "everywhere" {
            return Ok(Scope::Everywhere);
        }
        let target: Target = text.parse().map_err(|why| format!("{why}, or everywhere"))?;
        Ok(Scope::of(&target.network, &target.channel))
    }
}

/// What can be set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// `plugin.<name>`: whether a plugin is on.
    Plugin(String),
    /// `route.<name>`: where a route leads.
    Route(String),
    /// `subscribe`: the tags of what a channel wants to hear.
    Subscribe,
    /// `block`: the tags of what it does not want to hear.
    Block,
}

/// All names, for people.
pub const NAMES: &str = "plugin.<name> on|off, route.<name> network/#channel,…, subscribe tag,…, block tag,…";

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Plugin(plugin) => write!(f, "plugin.{plugin}"),
            Name::Route(route) => write!(f, "route.{route}"),
            Name::Subscribe => f.write_str("subscribe"),
            Name::Block => f.write_str("block"),
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("there is no setting {text:?}; settings: {NAMES}");
        match text.split_once('.') {
            Some(("plugin", plugin)) if is_word(plugin) => Ok(Name::Plugin(plugin.to_owned())),
            Some(("route", route)) => check_route(route).map(|()| Name::Route(route.to_owned())),
            None if text == "subscribe" => Ok(Name::Subscribe),
            None if text == "block" => Ok(Name::Block),
            _ => Err(unknown()),
        }
    }
}

/// Whether a text can be a route's name.
///
/// # Errors
/// What is wrong with it.
pub fn check_route(name: &str) -> Result<(), String> {
    if !is_word(name) || name.contains('/') {
        return Err(format!("{name:?} is no route's name: use 1 to 64 characters, no '/' and no spaces"));
    }
    match name {
        "tags" => Err("no route can be called tags: say.tags is what is said by tags".to_owned()),
        _ => Ok(()),
    }
}

/// Whether a text can be a tag.
///
/// # Errors
/// What is wrong with it.
pub fn check_tag(tag: &str) -> Result<(), String> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == ',';
    if tag.is_empty() || tag.len() > MAX_TAG_BYTES || tag.contains(bad) {
        return Err(format!("{tag:?} is no tag: use 1 to {MAX_TAG_BYTES} bytes, no commas and no spaces"));
    }
    Ok(())
}

fn is_word(name: &str) -> bool {
    (1..=64).contains(&name.len()) && !name.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of a plugin.
    On(bool),
    /// Of a route.
    Targets(Vec<Target>),
    /// Of `subscribe` and `block`.
    Tags(BTreeSet<String>),
}

impl Name {
    /// Reads a value of this setting: `on` or `off`; a list with commas.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn value(&self, text: &str) -> Result<Value, String> {
        if text.len() > MAX_VALUE_BYTES {
            return Err(format!("{self}: a value has at most {MAX_VALUE_BYTES} bytes"));
        }
        let words = || text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
        match self {
            Name::Plugin(_) => match text.trim() {
                "on" => Ok(Value::On(true)),
                "off" => Ok(Value::On(false)),
                other => Err(format!("{self}: expected on or off, found {other:?}")),
            },
            Name::Route(_) => {
                let targets: Result<Vec<Target>, _> = words().map(str::parse).collect();
                targets.map(Value::Targets).map_err(|why| format!("{self}: {why}"))
            }
            Name::Subscribe | Name::Block => {
                words().try_for_each(check_tag).map_err(|why| format!("{self}: {why}"))?;
                Ok(Value::Tags(words().map(str::to_owned).collect()))
            }
        }
    }

    /// Whether it can be set there.
    ///
    /// # Errors
    /// Where it can be set.
    pub fn fits(&self, scope: &Scope) -> Result<(), String> {
        match (self, scope) {
            (Name::Route(_), Scope::In(_)) => {
                Err(format!("{self} leads to the same places everywhere: set it everywhere"))
            }
            (Name::Subscribe | Name::Block, Scope::Everywhere) => {
                Err(format!("{self} is a channel's own: say in which one, as network/#channel"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::On(on) => f.write_str(if *on { "on" } else { "off" }),
            Value::Targets(targets) => {
                f.write_str(&targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
            Value::Tags(tags) => f.write_str(&tags.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}

/// A change of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Counts up.
    pub number: i64,
    /// When.
    pub at: Timestamp,
    /// Who has changed it: an account on a network, or the command line.
    pub who: String,
    /// Where.
    pub scope: String,
    /// What.
    pub name: String,
    /// What stood there; `None`: nothing, so the file counted.
    pub before: Option<String>,
    /// What stands there now; `None`: nothing.
    pub after: Option<String>,
}

/// The settings in the database.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a>(&'a Store);

impl Store {
    /// The settings in it.
    pub fn settings(&self) -> Settings<'_> {
        Settings(self)
    }
}

impl Settings<'_> {
    /// The number of the last change; 0 before the first. A cheap question, for whoever has all settings and wants to know
    /// whether they are still so.
    ///
    /// # Errors
    /// When the database can't be asked.
    pub async fn latest(&self) -> Result<i64, Error> {
        let on = self.0.read().await?;
        let select = "SELECT COALESCE(MAX(number), 0) FROM setting_changes";
        let asked = async { sql::one(on, select, []).await?.map_or(Ok(0), |row| row.try_get_by_index(0)) };
        asked.await.map_err(|why| self.0.error(&why))
    }

    /// All settings, at most 10,000. What this version can't read is left out, and told in the log.
    ///
    /// # Errors
    /// When the database can't be asked.
    pub async fn all(&self) -> Result<Snapshot, Error> {
        let on = self.0.read().await?;
        let select = "SELECT spelling, name, value FROM settings ORDER BY scope, name LIMIT $1";
        let rows = sql::all(on, select, [MAX_SETTINGS.into()]).await.map_err(|why| self.0.error(&why))?;
        let mut settings = Vec::new();
        for row in &rows {
            let (scope, name, value): (String, String, String) = texts(row).map_err(|why| self.0.error(&why))?;
            match read(&scope, &name, &value) {
                Ok(setting) => settings.push(setting),
                Err(why) => tracing::warn!(scope, name, value, why, "a setting in the database is passed over"),
            }
        }
        Ok(settings.into_iter().collect())
    }

    /// Sets something, or takes it back to what the file says (`None`), and remembers who did. What was there already is no
    /// change: `None`.
    ///
    /// # Errors
    /// [`Error::Unfit`] for what can't be set there or is too much, and when the database does not take it.
    pub async fn set(
        &self,
        scope: &Scope,
        name: &Name,
        value: Option<&Value>,
        who: &str,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        name.fits(scope).map_err(|why| Error::Unfit { what: name.to_string(), why })?;
        let writing = self.0.write().await?;
        let (spelling, scope, name) = (scope.to_string(), scope.stored(), name.to_string());
        let after = value.map(ToString::to_string);
        let changed = async {
            let before = before(&writing, &scope, &name).await?;
            if before == after {
                return Ok(None);
            }
            put(&writing, [&scope, &name, &spelling], after.as_deref()).await?;
            let change = Change { number: 0, at: now, who: who.to_owned(), scope, name: name.clone(), before, after };
            remember(&writing, change).await.map(Some)
        };
        let changed = changed.await.map_err(|why| writing.error(&why))?;
        if is_full(&writing).await.map_err(|why| writing.error(&why))? {
            let why = format!("there are {MAX_SETTINGS} settings already, which is the most: unset some");
            return Err(Error::Unfit { what: name, why });
        }
        if changed.is_some() {
            writing.commit().await?;
        }
        Ok(changed)
    }

    /// The last changes, the newest first: of a scope, of a name, or of all.
    ///
    /// # Errors
    /// When the database can't be asked.
    pub async fn history(&self, scope: Option<&Scope>, name: Option<&Name>, limit: u32) -> Result<Vec<Change>, Error> {
        let on = self.0.read().await?;
        let conditions = [scope.map(|scope| ("scope", scope.stored())), name.map(|name| ("name", name.to_string()))];
        let (mut filter, mut values) = (String::new(), vec![i64::from(limit.min(MAX_HISTORY)).into()]);
        for (column, value) in conditions.into_iter().flatten() {
            values.push(value.into());
            filter += &format!(" AND {column} = ${}", values.len());
        }
        let select = format!(
            "SELECT number, at, who, scope, name, before, after FROM setting_changes WHERE 1 = 1{filter}
             ORDER BY number DESC LIMIT $1"
        );
        let asked = async {
            let rows = sql::all(on, &select, values).await?;
            rows.iter().map(change).collect::<Result<Vec<Change>, _>>()
        };
        asked.await.map_err(|why| self.0.error(&why))
    }
}

fn texts(row: &QueryResult) -> Result<(String, String, String), DbErr> {
    Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?))
}

fn read(scope: &str, name: &str, value: &str) -> Result<(Scope, Name, Value), String> {
    let name: Name = name.parse()?;
    let value = name.value(value)?;
    Ok((scope.parse()?, name, value))
}

fn change(row: &QueryResult) -> Result<Change, DbErr> {
    let scope: String = row.try_get_by_index(3)?;
    Ok(Change {
        number: row.try_get_by_index(0)?,
        at: Timestamp::from_millis(row.try_get_by_index(1)?),
        who: row.try_get_by_index(2)?,
        scope: if scope.is_empty() { Scope::Everywhere.to_string() } else { scope },
        name: row.try_get_by_index(4)?,
        before: row.try_get_by_index(5)?,
        after: row.try_get_by_index(6)?,
    })
}

/// What is set, once nobody else changes anything until the end of this transaction: whoever has seen the number of a change
/// can then see those before it, too.
async fn before(writing: &Writing, scope: &str, name: &str) -> Result<Option<String>, DbErr> {
    if writing.engine() == Engine::Postgres {
        writing.on().execute_unprepared("LOCK TABLE setting_changes IN EXCLUSIVE MODE").await?;
    }
    let select = "SELECT value FROM settings WHERE scope = $1 AND name = $2";
    let row = sql::one(writing.on(), select, [scope.into(), name.into()]).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}

async fn put(writing: &Writing, [scope, name, spelling]: [&str; 3], value: Option<&str>) -> Result<u64, DbErr> {
    let Some(value) = value else {
        let delete = "DELETE FROM settings WHERE scope = $1 AND name = $2";
        return sql::execute(writing.on(), delete, [scope.into(), name.into()]).await;
    };
    let upsert = "INSERT INTO settings (scope, name, value, spelling) VALUES ($1, $2, $3, $4)
                  ON CONFLICT (scope, name) DO UPDATE SET value = excluded.value, spelling = excluded.spelling";
    sql::execute(writing.on(), upsert, [scope.into(), name.into(), value.into(), spelling.into()]).await
}

/// Writes a change down, and forgets the oldest ones; the change with its number.
async fn remember(writing: &Writing, change: Change) -> Result<Change, DbErr> {
    let insert = "INSERT INTO setting_changes (at, who, scope, name, before, after) VALUES ($1, $2, $3, $4, $5, $6)
                  RETURNING number";
    let Change { at, who, scope, name, before, after, .. } = change.clone();
    let values = [at.millis().into(), who.into(), scope.into(), name.into(), before.into(), after.into()];
    let row = sql::one(writing.on(), insert, values).await?;
    let number: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    let forget = "DELETE FROM setting_changes WHERE number <= $1";
    sql::execute(writing.on(), forget, [(number - MAX_CHANGES).into()]).await?;
    Ok(Change { number, ..change })
}

async fn is_full(writing: &Writing) -> Result<bool, DbErr> {
    let row = sql::one(writing.on(), "SELECT COUNT(*) FROM settings", []).await?;
    Ok(row.map_or(Ok(0_i64), |row| row.try_get_by_index(0))? > MAX_SETTINGS)
}
