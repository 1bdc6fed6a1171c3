//! `[networks.<name>]`: an IRC network, and who the bot is there. What is checked here is what no server could take, so
//! that it is told at the start and not in a log at night.

use std::fmt::Display;
use std::time::Duration;

use connector::irc::{
    ANSWERS_WINDOW, Answers, Channel, ClientCertificate, FileError, Fingerprint, Flood, Invites, Login, Network,
    Server, Tls, Trust, UNPROVED,
};
use connector::{Expiry, Permits, Secret};
use protocol::{check_destination, check_network};

use super::address::{Address, IrcUrl, checked_key, is_channel};
use super::login::{checked_modes, login};
use super::section::{Found, Section};
use super::tree::{Entry, Node, Origin, Value};
use crate::nearest::did_you_mean;

/// The keys of a network, for the names of environment variables.
pub const KEYS: [&str; 25] = [
    "url",
    "ca_file",
    "fingerprint",
    "client_cert_file",
    "client_key_file",
    "nick",
    "user",
    "realname",
    "password",
    "password_file",
    "account",
    "account_password",
    "account_password_file",
    "sasl",
    "sasl_mechanisms",
    "nickserv_password",
    "nickserv_password_file",
    "modes",
    "channels",
    "invites",
    "flood",
    "unproved",
    "answers_expire",
    "notices_expire",
    "answers_window",
];

/// The console's name: no IRC network can have it.
pub const CONSOLE: &str = "console";

const NICK: &str = "pubbot";
const USER: &str = "pubbot";
const REALNAME: &str = "pubbot, a chat bot";
/// More servers than this are none that anybody has chosen: 16.
const MAX_SERVERS: usize = 16;
/// So many certificates can be pinned, as many as there can be servers, and each one's next.
const MAX_PINNED: usize = 2 * MAX_SERVERS;
/// More lines at once than this are no budget: 1,000.
const MAX_BURST: i64 = 1000;

/// Reads `[networks]`; also returns the names of those that are wrong.
pub fn networks(mut section: Section<'_>) -> (Vec<Network>, Vec<String>) {
    let table = section.names();
    let names = table.keys().cloned().collect();
    let networks = table.into_iter().filter_map(|(name, entry)| network(&mut section, &name, entry)).collect();
    (networks, names)
}

fn network(parent: &mut Section<'_>, name: &str, Entry { key, node }: Entry) -> Option<Network> {
    if let Err(why) = network_name(name) {
        parent.complain(&key, why);
        return None;
    }
    let path = parent.path(name);
    let table = parent.as_table(&path, node)?;
    read(name, &key, Section::new(path, table, parent.reading()))
}

fn network_name(name: &str) -> Result<(), String> {
    match name {
        CONSOLE => Err(format!("{CONSOLE:?} is the chat at the terminal: give the network another name")),
        name => check_network(name).map_err(|why| why.to_string()),
    }
}

fn read(name: &str, key: &Origin, mut section: Section<'_>) -> Option<Network> {
    let servers = servers(&mut section, key);
    let tls = tls(&mut section);
    let login = login(&mut section, tls.certificate.is_some());
    let network = Network {
        tls,
        nick: section.parsed("nick", checked_nick).unwrap_or_else(|| NICK.to_owned()),
        user: section.parsed("user", checked_user).unwrap_or_else(|| USER.to_owned()),
        realname: section.parsed("realname", checked_line).unwrap_or_else(|| REALNAME.to_owned()),
        password: secret(&mut section, "password", "password_file", |text| checked_line(text).map(Secret::new)),
        login,
        modes: section.parsed("modes", checked_modes),
        channels: channels(&mut section),
        invites: section.parsed("invites", invites).unwrap_or_default(),
        flood: flood(&mut section),
        unproved: unproved(&mut section),
        expiry: expiry(&mut section),
        answers_window: answers_window(&mut section),
        ..at(name, Vec::new())
    };
    section.finish();
    Some(Network { servers: servers?, ..network })
}

/// A network of which nothing is known but its servers.
fn at(name: &str, servers: Vec<Server>) -> Network {
    Network {
        name: name.to_owned(),
        servers,
        tls: Tls::default(),
        nick: NICK.to_owned(),
        user: USER.to_owned(),
        realname: REALNAME.to_owned(),
        password: None,
        login: Login::default(),
        modes: None,
        channels: Vec::new(),
        invites: Invites::default(),
        flood: Flood::default(),
        unproved: UNPROVED,
        expiry: Expiry::default(),
        answers_window: ANSWERS_WINDOW,
        permits: Permits::default(),
        linger: Duration::ZERO,
        place: 0,
    }
}

/// The servers, one at least: `url` is one, or a list.
fn servers(section: &mut Section<'_>, key: &Origin) -> Option<Vec<Server>> {
    let what = section.path("url");
    if !section.has("url") {
        section.complain(key, format!("{what} is missing: for example \"ircs://irc.libera.chat\""));
    }
    let urls = section.texts("url", MAX_SERVERS)?;
    let servers: Vec<Option<Server>> = urls.into_iter().map(|url| server(section, &what, &url)).collect();
    servers.into_iter().collect()
}

fn server(section: &mut Section<'_>, what: &str, Found { value, origin }: &Found<String>) -> Option<Server> {
    let address = value.parse::<Address>().map_err(|why| section.complain(origin, format!("{what}: {why}")));
    address.ok().map(|address| address.server())
}

/// How the servers prove who they are, and how we do.
fn tls(section: &mut Section<'_>) -> Tls {
    Tls { trust: trust(section).unwrap_or_default(), certificate: client_certificate(section) }
}

fn trust(section: &mut Section<'_>) -> Option<Trust> {
    let (file, pinned) = (section.text("ca_file"), section.texts("fingerprint", MAX_PINNED));
    match (file, pinned) {
        (Some(_), Some(pinned)) => {
            let message = format!("{} and ca_file: only one of them can be", section.path("fingerprint"));
            section.complain(&pinned.first()?.origin, message);
            None
        }
        (Some(Found { value, origin }), None) => {
            let trust = Trust::File(value.into());
            let checked = if section.reading().secrets { trust.check() } else { Ok(()) };
            checked.map_err(|why| complain_of_file(section, "ca_file", &origin, &why)).ok()?;
            Some(trust)
        }
        (None, Some(pinned)) => {
            let what = section.path("fingerprint");
            let pinned: Vec<Option<Fingerprint>> =
                pinned.into_iter().map(|text| fingerprint(section, &what, &text)).collect();
            pinned.into_iter().collect::<Option<Vec<_>>>().map(Trust::Pinned)
        }
        (None, None) => None,
    }
}

fn fingerprint(section: &mut Section<'_>, what: &str, Found { value, origin }: &Found<String>) -> Option<Fingerprint> {
    value.parse().map_err(|why| section.complain(origin, format!("{what}: {why}"))).ok()
}

fn client_certificate(section: &mut Section<'_>) -> Option<ClientCertificate> {
    let (file, key_file) = (section.text("client_cert_file"), section.text("client_key_file"));
    let Some(file) = file else {
        let message = format!("{} is for a certificate: name it as client_cert_file", section.path("client_key_file"));
        section.complain(&key_file?.origin, message);
        return None;
    };
    let key = key_file.as_ref().unwrap_or(&file);
    let certificate = ClientCertificate { file: file.value.clone().into(), key_file: key.value.clone().into() };
    if section.reading().secrets
        && let Err(why) = certificate.check()
    {
        let (name, origin) = match key_file {
            Some(key) if why.path == certificate.key_file => ("client_key_file", key.origin),
            _ => ("client_cert_file", file.origin),
        };
        complain_of_file(section, name, &origin, &why);
        return None;
    }
    Some(certificate)
}

fn complain_of_file(section: &mut Section<'_>, key: &str, origin: &Origin, why: &FileError) {
    let message = format!("{}: {why}", section.path(key));
    section.complain(origin, message);
}

/// A nick that a server could take; it has the last word.
pub fn checked_nick(nick: &str) -> Result<String, String> {
    let bad = is_channel(nick)
        || nick.starts_with(|c: char| matches!(c, '~' | '%' | '-' | '$') || c.is_ascii_digit())
        || nick.contains(['!', '@', '*', '?', '.']);
    match check_destination(nick) {
        Ok(()) if !bad => Ok(nick.to_owned()),
        _ => Err(format!("{nick:?} is no nick: it begins with a letter, and has no spaces and none of , ! @ * ? .")),
    }
}

fn checked_user(user: &str) -> Result<String, String> {
    if user.is_empty()
        || user.starts_with(':')
        || user.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@')
    {
        return Err("a user name is one word without '@'".to_owned());
    }
    Ok(user.to_owned())
}

pub(super) fn checked_line(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err("it may not be empty or hold a line end or another control character".to_owned());
    }
    Ok(text.to_owned())
}

/// A secret that stands here or in a file.
pub(super) fn secret(
    section: &mut Section<'_>,
    here: &'static str,
    in_file: &'static str,
    check: impl Fn(&str) -> Result<Secret, String>,
) -> Option<Secret> {
    let (text, file) = (section.text(here), section.text(in_file));
    if let (Some(_), Some(Found { origin, .. })) = (&text, &file) {
        let message = format!("{} and {in_file}: only one of them can be", section.path(here));
        section.complain(origin, message);
        return None;
    }
    let (found, origin, key) = match (text, file) {
        (Some(Found { value, origin }), _) => (check(&value), origin, here),
        (None, Some(Found { value, origin })) if section.reading().secrets => {
            (from_file(&value, check), origin, in_file)
        }
        _ => return None,
    };
    let what = section.path(key);
    found.map_err(|why| section.complain(&origin, format!("{what}: {why}"))).ok()
}

/// The first line of a file.
fn from_file(path: &str, check: impl Fn(&str) -> Result<Secret, String>) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("{path} can't be read: {why}"))?;
    check(text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line)))
        .map_err(|why| format!("{path}: {why}"))
}

fn channels(section: &mut Section<'_>) -> Vec<Channel> {
    let what = section.path("channels");
    let Some(list) = section.list("channels") else { return Vec::new() };
    list.value.into_iter().filter_map(|node| channel(section, &what, node)).collect()
}

/// `"#pubbot"`, or `{ name = "#secret", key = "…" }`.
fn channel(section: &mut Section<'_>, what: &str, node: Node) -> Option<Channel> {
    let origin = node.origin.clone();
    match node.value {
        Value::Text(value) => {
            let name = checked_channel(section, what, Found { value, origin })?;
            Some(Channel { name, key: None, answers: Answers::All })
        }
        Value::Table(table) => keyed_channel(&origin, Section::new(what.to_owned(), table, section.reading())),
        other => section.wrong(what, &origin, "a channel's name, or { name = \"#…\", key = \"…\" }", &other),
    }
}

fn keyed_channel(origin: &Origin, mut section: Section<'_>) -> Option<Channel> {
    let (what, name) = (section.path("name"), section.text("name"));
    let key = secret(&mut section, "key", "key_file", checked_key);
    if name.is_none() {
        section.complain(origin, format!("{what}: expected a channel's name in quotes"));
    }
    let name = name.and_then(|name| checked_channel(&mut section, &what, name));
    let answers = section.parsed("answers", answers).unwrap_or_default();
    section.finish();
    Some(Channel { name: name?, key, answers })
}

fn answers(word: &str) -> Result<Answers, String> {
    match word {
        "all" => Ok(Answers::All),
        "best" => Ok(Answers::Best),
        word => Err(format!("{word:?} is not known; expected \"all\" or \"best\"")),
    }
}

fn invites(word: &str) -> Result<Invites, String> {
    match word {
        "configured" => Ok(Invites::Configured),
        "anywhere" => Ok(Invites::Anywhere),
        word => Err(format!("{word:?} is not known; expected \"configured\" or \"anywhere\"")),
    }
}

fn checked_channel(section: &mut Section<'_>, what: &str, Found { value, origin }: Found<String>) -> Option<String> {
    let why = match check_destination(&value) {
        Err(why) => why.to_string(),
        Ok(()) if !is_channel(&value) => format!("{value:?} is no channel: did you mean {:?}?", format!("#{value}")),
        Ok(()) => return Some(value),
    };
    section.complain(&origin, format!("{what}: {why}"));
    None
}

/// How many lines may be unproved: one at a time is slow and safe, more than a hundred would be a flood after a crash.
fn unproved(section: &mut Section<'_>) -> usize {
    let what = section.path("unproved");
    match section.take("unproved").and_then(|node| section.written_out(node)) {
        None => UNPROVED,
        Some(Node { value: Value::Whole(lines @ 1..=100), .. }) => usize::try_from(lines).unwrap_or(UNPROVED),
        Some(Node { origin, .. }) => {
            section.complain(&origin, format!("{what}: expected a whole number of lines from 1 to 100"));
            UNPROVED
        }
    }
}

fn expiry(section: &mut Section<'_>) -> Expiry {
    let usual = Expiry::default();
    Expiry {
        answers: section.parsed("answers_expire", duration).unwrap_or(usual.answers),
        notices: section.parsed("notices_expire", duration).unwrap_or(usual.notices),
    }
}

/// From a moment to what people still take for an answer.
fn answers_window(section: &mut Section<'_>) -> Duration {
    let read = |text: &str| match humantime::parse_duration(text) {
        Ok(window) if (Duration::from_millis(1)..=Duration::from_secs(10)).contains(&window) => Ok(window),
        _ => Err(format!("{text:?} can't be: write how long, from \"1ms\" to \"10s\"")),
    };
    section.parsed("answers_window", read).unwrap_or(ANSWERS_WINDOW)
}

/// A length of time as people write it.
fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= Duration::from_secs(1) => Ok(duration),
        _ => Err(format!("{text:?} is no length of time: write \"90s\", \"15m\" or \"1h 30m\", at least 1s")),
    }
}

const FLOOD: &str = "\"auto\", \"off\" (a server of your own), or { burst = 4, per_second = 0.5 }";

fn flood(section: &mut Section<'_>) -> Flood {
    let what = section.path("flood");
    let node = section.take("flood").and_then(|node| section.written_out(node));
    let Some(Node { value, origin }) = node else { return Flood::default() };
    let flood = match value {
        Value::Text(word) if word == "auto" => Some(Flood::Learned),
        Value::Text(word) if word == "off" => Some(Flood::Off),
        Value::Text(word) => {
            section.complain(&origin, format!("{what}: {word:?} is not known; expected {FLOOD}"));
            None
        }
        Value::Table(table) => budget(&origin, Section::new(what, table, section.reading())),
        other => section.wrong(&what, &origin, FLOOD, &other),
    };
    flood.unwrap_or_default()
}

fn budget(origin: &Origin, mut section: Section<'_>) -> Option<Flood> {
    let (burst, per_second) = (section.take("burst"), section.take("per_second"));
    let burst = match burst {
        Some(Node { value: Value::Whole(burst @ 1..=MAX_BURST), .. }) => u32::try_from(burst).ok(),
        other => complain_of(&mut section, origin, "burst", other, "a whole number of lines from 1 to 1000"),
    };
    let per_second = match per_second {
        Some(Node { value: Value::Whole(rate @ 1..=MAX_BURST), .. }) => i32::try_from(rate).ok().map(f64::from),
        Some(Node { value: Value::Fraction(rate), .. }) if (0.001..=1000.0).contains(&rate) => Some(rate),
        other => complain_of(&mut section, origin, "per_second", other, "lines a second, from 0.001 to 1000"),
    };
    section.finish();
    Some(Flood::Budget { burst: burst?, per_second: per_second? })
}

/// Complains of a number that is missing, of another type, or out of its range.
fn complain_of<T>(
    section: &mut Section<'_>,
    table: &Origin,
    key: &str,
    node: Option<Node>,
    expected: impl Display,
) -> Option<T> {
    let what = section.path(key);
    match node {
        None => section.complain(table, format!("{what} is missing: expected {expected}")),
        Some(node) => section.complain(&node.origin, format!("{what}: expected {expected}")),
    }
    None
}

/// Adds the networks of the command line: channels to a network that is there already, else a network of its own.
pub fn add(networks: &mut Vec<Network>, urls: &[IrcUrl]) {
    for IrcUrl { address, channels } in urls {
        let server = address.server();
        let same = |network: &Network| network.servers.contains(&server);
        let index = networks.iter().position(same).unwrap_or_else(|| {
            networks.push(at(&free_name(networks, &address.network_name()), vec![server.clone()]));
            networks.len() - 1
        });
        for channel in channels {
            let known = &mut networks[index].channels;
            known.retain(|other| other.name != channel.name);
            known.push(channel.clone());
        }
    }
}

/// The name, or with a number behind it if another network has it.
fn free_name(networks: &[Network], name: &str) -> String {
    let taken = |candidate: &str| candidate == CONSOLE || networks.iter().any(|network| network.name == candidate);
    let numbered = (2..).map(|number| format!("{name}{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|candidate| !taken(candidate)).unwrap_or_default()
}

/// Checks that a network which something else leads to is one of those, or the console.
pub fn check_known(name: &str, known: &[String]) -> Result<(), String> {
    if name == CONSOLE || known.iter().any(|known| known == name) {
        return Ok(());
    }
    let meant = did_you_mean(name, known.iter().map(String::as_str));
    Err(format!("there is no network {name:?} in [networks]{meant}"))
}
