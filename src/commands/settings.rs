//! `pubbot settings`: what can be changed while the bot runs. It is written into the database, over what the file says;
//! workers notice within a few seconds.

use std::io::{self, Write};

use bus::System;
use clap::{Args, Subcommand};
use protocol::Ambient;
use store::Store;
use store::settings::{Change, Name, Scope, Snapshot, Value};

use crate::cli::Options;
use crate::config::{Config, Environment};
use crate::failure::{Failure, unless_closed};
use crate::{bot, database};

const EXAMPLES: &str = "\
Examples:
  pubbot settings list
  pubbot settings set --in libera/#quiet plugin echo off
  pubbot settings set route news libera/#pubbot,oftc/#pubbot
  pubbot settings set --in libera/#rust subscribe github:rust-lang,default
  pubbot settings set --in libera/#rust block github:rust-lang/rust
  pubbot settings unset --in libera/#quiet plugin echo
  pubbot settings history

Settings: plugin NAME on|off, route NAME TARGETS, subscribe TAGS, block TAGS. What is set in a channel counts more than what
is set everywhere, and in one place the database more than the file. Workers notice within a few seconds. Admins have the
same in chat: !set and !unset.";
const LIST_EXAMPLES: &str = "\
Example:
  pubbot settings list --in libera/#rust";
const GET_EXAMPLES: &str = "\
Example:
  pubbot settings get --in libera/#rust subscribe";
const SET_EXAMPLES: &str = "\
Examples:
  pubbot settings set plugin music off
  pubbot settings set --in libera/#music plugin music on";
const UNSET_EXAMPLES: &str = "\
Example:
  pubbot settings unset route news";
const HISTORY_EXAMPLES: &str = "\
Examples:
  pubbot settings history
  pubbot settings history --in libera/#rust --limit 5
  pubbot settings history plugin echo";

/// Who has changed it, unless somebody says.
const WHO: &str = "command line";
/// The longest name of who did, in bytes.
const MAX_WHO_BYTES: usize = 100;

/// See and change what can be changed while the bot runs
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Settings {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Get(Get),
    Set(Set),
    Unset(Unset),
    History(History),
}

/// Where.
#[derive(Args, Debug)]
struct Where {
    /// In this channel, or with this person in private [default: everywhere]
    #[arg(long = "in", value_name = "network/#channel")]
    scope: Option<Scope>,
}

/// List what is set: where, what, and whether the database or the file says so
#[derive(Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
struct List {
    /// In this channel only
    #[arg(long = "in", value_name = "network/#channel")]
    scope: Option<Scope>,
}

/// Print one setting's value; status 1 if it is not set there
#[derive(Args, Debug)]
#[command(after_help = GET_EXAMPLES)]
struct Get {
    #[command(flatten)]
    place: Where,
    /// Which: plugin NAME, route NAME, subscribe or block
    #[arg(value_name = "SETTING", required = true)]
    words: Vec<String>,
}

/// Set something
#[derive(Args, Debug)]
#[command(after_help = SET_EXAMPLES)]
struct Set {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    by: By,
    /// plugin NAME on|off, route NAME TARGETS, subscribe TAGS, or block TAGS
    #[arg(value_name = "SETTING VALUE", required = true)]
    words: Vec<String>,
}

/// Take a setting back to what the file says
#[derive(Args, Debug)]
#[command(after_help = UNSET_EXAMPLES)]
struct Unset {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    by: By,
    /// Which: plugin NAME, route NAME, subscribe or block
    #[arg(value_name = "SETTING", required = true)]
    words: Vec<String>,
}

#[derive(Args, Debug)]
struct By {
    /// Who does it, for the history
    #[arg(long, value_name = "NAME", default_value = WHO)]
    by: String,
}

/// List changes, the newest first: when, who, where, what, from what to what
#[derive(Args, Debug)]
#[command(after_help = HISTORY_EXAMPLES)]
struct History {
    /// In this place only; `everywhere` is one, too
    #[arg(long = "in", value_name = "network/#channel")]
    scope: Option<Scope>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Of this setting only
    #[arg(value_name = "SETTING")]
    words: Vec<String>,
}

impl Settings {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        database::command(options, environment, database::open, async |config, store| {
            let text = match self.command {
                Command::List(list) => list.run(config, store).await,
                Command::Get(get) => get.run(config, store).await,
                Command::Set(set) => set.run(config, store).await,
                Command::Unset(unset) => unset.run(config, store).await,
                Command::History(history) => history.run(store).await,
            };
            unless_closed(io::stdout().write_all(text?.as_bytes()))
        })
    }
}

impl List {
    async fn run(self, config: &Config, store: &Store) -> Result<String, Failure> {
        let database = store.settings().all().await?;
        let all = bot::file_settings(config).under(&database);
        let here = |scope: &Scope| self.scope.as_ref().is_none_or(|wanted| wanted == scope);
        let line = |(scope, name, value): (&Scope, &Name, &Value)| {
            let origin = if database.get(scope, name).is_some() { "database" } else { "file" };
            format!("{scope}\t{name}\t{value}\t{origin}\n")
        };
        Ok(all.iter().filter(|(scope, ..)| here(scope)).map(line).collect())
    }
}

impl Get {
    async fn run(self, config: &Config, store: &Store) -> Result<String, Failure> {
        let (scope, name) = (self.place.scope(), whole_name(&self.words)?);
        let all: Snapshot = bot::file_settings(config).under(&store.settings().all().await?);
        match all.get(&scope, &name) {
            Some(value) => Ok(format!("{value}\n")),
            None => Err(Failure::failed(format!("{name} is not set ({scope})"))),
        }
    }
}

impl Set {
    async fn run(self, config: &Config, store: &Store) -> Result<String, Failure> {
        let (name, rest) = name(&self.words)?;
        if rest.is_empty() {
            return Err(Failure::usage(format!("to what shall {name} be set? settings: {}", store::settings::NAMES)));
        }
        let value = name.value(&rest.join(" ")).map_err(Failure::usage)?;
        change(config, store, &self.by, (self.place.scope(), name, Some(value))).await
    }
}

impl Unset {
    async fn run(self, config: &Config, store: &Store) -> Result<String, Failure> {
        change(config, store, &self.by, (self.place.scope(), whole_name(&self.words)?, None)).await
    }
}

impl History {
    async fn run(self, store: &Store) -> Result<String, Failure> {
        let name = if self.words.is_empty() { None } else { Some(whole_name(&self.words)?) };
        let changes = store.settings().history(self.scope.as_ref(), name.as_ref(), self.limit).await?;
        Ok(changes.iter().map(line).collect())
    }
}

impl Where {
    fn scope(&self) -> Scope {
        self.scope.clone().unwrap_or(Scope::Everywhere)
    }
}

async fn change(
    config: &Config,
    store: &Store,
    By { by }: &By,
    (scope, name, value): (Scope, Name, Option<Value>),
) -> Result<String, Failure> {
    if by.is_empty() || by.len() > MAX_WHO_BYTES || by.contains(char::is_control) {
        return Err(Failure::usage(format!("{by:?} is nobody's name: use 1 to {MAX_WHO_BYTES} bytes")));
    }
    bot::known(config).check(&scope, &name, value.as_ref()).map_err(Failure::usage)?;
    Ok(match store.settings().set(&scope, &name, value.as_ref(), by, System.now()).await? {
        Some(change) => line(&change),
        None => "nothing to do: it is so already\n".to_owned(),
    })
}

/// `2026-11-28T12:00:00.000Z  libera/alice  libera/#rust  plugin.echo  on → off`
fn line(Change { at, who, scope, name, before, after, .. }: &Change) -> String {
    let [before, after] = [before, after].map(|value| value.as_deref().unwrap_or("(not set)"));
    format!("{at}\t{who}\t{scope}\t{name}\t{before} → {after}\n")
}

/// The setting that the words begin with, and the rest of them.
fn name(words: &[String]) -> Result<(Name, Vec<&str>), Failure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (name, taken) = plugins::settings::name(&words).map_err(Failure::usage)?;
    Ok((name, words[taken..].to_vec()))
}

fn whole_name(words: &[String]) -> Result<Name, Failure> {
    match name(words)? {
        (name, rest) if rest.is_empty() => Ok(name),
        (name, rest) => Err(Failure::usage(format!("{name} takes no value here, found {:?}", rest.join(" ")))),
    }
}
