//! The configuration: `pubbot.toml`, the environment over it, options of the command line over both.
//!
//! All three are laid into one tree (`tree.rs`), which is then read key by key (`section.rs`), so that whatever is
//! wrong is told with the place it came from (`report.rs`). A key is added where its table is read, and in
//! `pubbot.example.toml`.

mod actions;
pub mod address;
mod archive;
mod environment;
mod login;
pub mod network;
mod report;
mod section;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bus::{Durability, JournalSettings, System};
use connector::Secret;
use connector::irc::{Network, Sts};
use plugins::archive::Keep;
use protocol::Target;
use store::Store;

pub use self::address::IrcUrl;
pub use self::environment::Environment;
pub use self::report::Report;
use self::report::{Problem, Source};
use self::section::{Found, Reading, Section};
use self::tree::{Entry, Origin};
use crate::nearest::did_you_mean;

/// The file that is read when none is named, if it is there.
const DEFAULT_FILE: &str = "pubbot.toml";
const DEFAULT_DATA_DIR: &str = "data";
const DEFAULT_GROUP: &str = "main";

/// Everything that can be configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the lock, the socket and whatever is kept are.
    pub data_dir: PathBuf,
    /// What accepted messages survive that are kept in the data folder.
    pub durability: Durability,
    pub broker: Broker,
    /// What the names of everything on the broker begin with.
    pub prefix: String,
    /// The URL of the database, which may hold a password.
    pub database: Secret,
    pub networks: Vec<Network>,
    /// Where each route leads.
    pub routes: BTreeMap<String, Vec<Target>>,
    /// How long what was said is kept.
    pub keep: Keep,
    /// The worker's group.
    pub group: String,
    /// The group keeps the order of each channel, however many workers it has.
    pub ordered: bool,
    /// The plugins to run; `None`: all.
    pub plugins: Option<Vec<String>>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// Which broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broker {
    /// The one inside `pubbot up`.
    Embedded,
    /// RabbitMQ at this URL, which holds a password.
    RabbitMq(Secret),
}

/// What the command line says over file and environment.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// Options with the key that each of them sets, and the value.
    pub keys: Vec<(&'static str, &'static [&'static str], String)>,
    /// `--irc`.
    pub networks: Vec<IrcUrl>,
    /// `--nick`.
    pub nick: Option<String>,
    /// Files with secrets need not be readable.
    pub without_secrets: bool,
}

impl Config {
    /// The journal of a network's events on their way to RabbitMQ; the embedded broker keeps its own.
    pub fn journal(&self, network: &str) -> Option<JournalSettings> {
        match self.broker {
            Broker::Embedded => None,
            Broker::RabbitMq(_) => {
                Some(JournalSettings::new(self.data_dir.join("journal").join(network), self.durability))
            }
        }
    }

    /// Where it is written down which hosts want TLS only.
    pub fn sts(&self) -> Sts {
        Sts::open(self.data_dir.join("sts.json"), Arc::new(System))
    }

    /// Reads file, environment and options.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(environment: &Environment, overrides: &Overrides) -> Result<Config, Report> {
        let file = file(environment, overrides)?;
        let source = file.clone().map(read).transpose()?.unwrap_or_default();
        let mut table = match tree::parse(&source.text) {
            Ok(table) => table,
            Err(problem) => return Err(Report::new(source, vec![problem])),
        };
        let problems = environment.overlay(&mut table);
        for (option, path, value) in &overrides.keys {
            let path: Vec<String> = path.iter().map(|&key| key.to_owned()).collect();
            environment::set(&mut table, &path, value, &Origin::Flag(option));
        }
        let mut reading = Reading { source, problems, secrets: !overrides.without_secrets };
        let config = Config { file, ..top(Section::new(String::new(), table, &mut reading), overrides) };
        if reading.problems.is_empty() { Ok(config) } else { Err(Report::new(reading.source, reading.problems)) }
    }
}

/// The file to read: the one that is named, else `pubbot.toml` if it is here.
fn file(environment: &Environment, overrides: &Overrides) -> Result<Option<PathBuf>, Report> {
    let variable = environment.get("PUBBOT_CONFIG").map(PathBuf::from);
    let (path, named_by) = match (&overrides.config, variable) {
        (Some(path), _) => (path.clone(), "--config"),
        (None, Some(path)) => (path, "PUBBOT_CONFIG"),
        (None, None) => return Ok(Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists())),
    };
    if path.exists() {
        return Ok(Some(path));
    }
    Err(Report::alone(format!("{named_by} names the file {}, which does not exist", path.display())))
}

fn read(path: PathBuf) -> Result<Source, Report> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Source { path, text }),
        Err(why) => Err(Report::alone(format!("{} can't be read: {why}", path.display()))),
    }
}

fn top(mut section: Section<'_>, overrides: &Overrides) -> Config {
    let data_dir = section.parsed("data_dir", not_empty).unwrap_or_else(|| DEFAULT_DATA_DIR.to_owned());
    let durability = section.parsed("durability", durability).unwrap_or_default();
    let (broker, prefix) = broker(section.section("broker"));
    let database = database(section.section("database"), &data_dir);
    let (mut networks, mut names) = network::networks(section.section("networks"));
    network::add(&mut networks, &overrides.networks);
    if let Some(nick) = &overrides.nick {
        networks.iter_mut().for_each(|network| network.nick.clone_from(nick));
    }
    names.extend(networks.iter().map(|network| network.name.clone()));
    let permits = actions::actions(section.section("actions"));
    networks.iter_mut().for_each(|network| network.permits = permits.clone());
    let routes = routes(section.section("routes"), &names);
    let keep = archive::archive(section.section("archive"), &names);
    let (group, ordered, plugins) = worker(section.section("worker"));
    section.finish();
    Config {
        data_dir: data_dir.into(),
        durability,
        broker,
        prefix,
        database,
        networks,
        routes,
        keep,
        group,
        ordered,
        plugins,
        file: None,
    }
}

fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("it may not be empty") } else { Ok(text.to_owned()) }
}

fn broker(mut section: Section<'_>) -> (Broker, String) {
    let broker = section.parsed("url", broker_url).unwrap_or(Broker::Embedded);
    let prefix = section.parsed("prefix", prefix).unwrap_or_else(|| bus::DEFAULT_PREFIX.to_owned());
    section.finish();
    (broker, prefix)
}

/// By default a file in the data folder.
fn database(mut section: Section<'_>, data_dir: &str) -> Secret {
    let url = section.parsed("url", database_url);
    section.finish();
    url.unwrap_or_else(|| Secret::new(format!("sqlite:{}", PathBuf::from(data_dir).join("pubbot.db").display())))
}

/// The error does not repeat the URL: it may hold a password.
fn database_url(url: &str) -> Result<Secret, String> {
    match Store::open(url) {
        Err(store::Error::Url(why)) => Err(why),
        _ => Ok(Secret::new(url)),
    }
}

fn durability(word: &str) -> Result<Durability, String> {
    match word {
        "process" => Ok(Durability::Process),
        "power" => Ok(Durability::Power),
        _ => Err(format!(
            "{word:?} is none: expected \"process\" (what is accepted survives kill -9) or \"power\" (a power failure, too)"
        )),
    }
}

/// The error does not repeat the URL: it may hold a password.
fn broker_url(url: &str) -> Result<Broker, &'static str> {
    match url {
        "embedded:" => Ok(Broker::Embedded),
        url if url.starts_with("amqp://") || url.starts_with("amqps://") => Ok(Broker::RabbitMq(Secret::new(url))),
        _ => Err("expected \"embedded:\", or amqp://user:password@host:5672/vhost, or amqps://…"),
    }
}

fn prefix(prefix: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if (1..=64).contains(&prefix.len()) && prefix.chars().all(legal) {
        return Ok(prefix.to_owned());
    }
    Err(format!("{prefix:?} is no prefix: use 1 to 64 letters, digits, '_', '-' or '.'"))
}

fn routes(mut section: Section<'_>, networks: &[String]) -> BTreeMap<String, Vec<Target>> {
    let names = section.names();
    names.into_iter().map(|(name, entry)| (name.clone(), route(&mut section, &name, entry, networks))).collect()
}

fn route(section: &mut Section<'_>, name: &str, Entry { key, node }: Entry, networks: &[String]) -> Vec<Target> {
    let what = section.path(name);
    let is_word = |c: char| c != '/' && !c.is_whitespace() && !c.is_control();
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_word) {
        section.complain(&key, format!("{name:?} is no route's name: use 1 to 64 characters, no '/' and no spaces"));
    }
    let Some(Found { value, .. }) = section.as_list(&what, node) else { return Vec::new() };
    let targets = value.into_iter().filter_map(|node| section.as_text(&what, node)).collect::<Vec<_>>();
    targets.into_iter().filter_map(|found| target(section, &what, &found, networks)).collect()
}

fn target(section: &mut Section<'_>, what: &str, found: &Found<String>, networks: &[String]) -> Option<Target> {
    let target = found.value.parse::<Target>().map_err(|why| why.to_string());
    let target = target.and_then(|target| network::check_known(&target.network, networks).map(|()| target));
    target.map_err(|why| section.complain(&found.origin, format!("{what}: {why}"))).ok()
}

fn worker(mut section: Section<'_>) -> (String, bool, Option<Vec<String>>) {
    let group = section.parsed("group", group).unwrap_or_else(|| DEFAULT_GROUP.to_owned());
    let ordered = section.flag("ordered").unwrap_or_default();
    let what = section.path("plugins");
    let list = section.list("plugins");
    let names = list.map(|list| list.value.into_iter().filter_map(|node| section.as_text(&what, node)).collect());
    let plugins = names.map(|names: Vec<Found<String>>| {
        names.into_iter().filter_map(|name| plugin(&mut section, &what, name)).collect()
    });
    section.finish();
    (group, ordered, plugins)
}

/// A worker group's name.
pub fn group(name: &str) -> Result<String, String> {
    match protocol::check_network(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(_) => Err(format!("{name:?} is no worker group's name: use 1 to 64 letters, digits, '_' or '-'")),
    }
}

fn plugin(section: &mut Section<'_>, what: &str, name: Found<String>) -> Option<String> {
    let known = plugins::NAMES;
    if known.contains(&name.value.as_str()) {
        return Some(name.value);
    }
    let message =
        format!("{what}: there is no plugin {:?}{}", name.value, did_you_mean(&name.value, known.iter().copied()));
    let problem = Problem::new(name.origin, message).hint(format!("plugins: {}", known.join(", ")));
    section.reading().problems.push(problem);
    None
}
