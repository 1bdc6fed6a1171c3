//! The environment: `PUBBOT_…` variables, laid over what the file says. This is the one place that reads it. A variable
//! that sets nothing is an error, as an unknown key is.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::network;
use super::report::Problem;
use super::tree::{Entry, Node, Origin, Table, Value};
use crate::nearest::nearest;

const PREFIX: &str = "PUBBOT_";

/// Variables that set a key, and the key.
const KEYS: [(&str, &[&str]); 7] = [
    ("PUBBOT_DATA_DIR", &["data_dir"]),
    ("PUBBOT_DURABILITY", &["durability"]),
    ("PUBBOT_BROKER_URL", &["broker", "url"]),
    ("PUBBOT_BROKER_PREFIX", &["broker", "prefix"]),
    ("PUBBOT_WORKER_GROUP", &["worker", "group"]),
    ("PUBBOT_WORKER_ORDERED", &["worker", "ordered"]),
    ("PUBBOT_WORKER_PLUGINS", &["worker", "plugins"]),
];
/// Variables that others read.
const OTHERS: [&str; 3] = ["PUBBOT_CONFIG", "PUBBOT_LOG", "PUBBOT_BIN"];
/// Variables of our tests.
const TESTS: &str = "PUBBOT_TEST_";
const NETWORKS: &str = "PUBBOT_NETWORKS_";
const ROUTES: &str = "PUBBOT_ROUTES_";
/// Keys of which a network can have one only.
const EITHER: [[&str; 2]; 8] = [
    ["password", "password_file"],
    ["password_file", "password"],
    ["account_password", "account_password_file"],
    ["account_password_file", "account_password"],
    ["nickserv_password", "nickserv_password_file"],
    ["nickserv_password_file", "nickserv_password"],
    ["ca_file", "fingerprint"],
    ["fingerprint", "ca_file"],
];

/// The variables that are meant for us.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Those that this process was started with.
    pub fn of_this_process() -> Self {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect()
    }

    /// A variable that is read at the very beginning. An empty one counts as none.
    pub fn get(&self, name: &str) -> Option<&OsString> {
        self.variables.get(name).filter(|value| !value.is_empty())
    }

    /// Lays the variables over the file's table; returns what is wrong with them.
    pub fn overlay(&self, table: &mut Table) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, value) in &self.variables {
            if OTHERS.contains(&name.as_str()) || name.starts_with(TESTS) {
                continue;
            }
            let origin = Origin::Variable(name.clone());
            match (path(name, table), value.to_str()) {
                (Err(problem), _) => problems.push(problem),
                (_, None) => problems.push(Problem::new(origin, "its value is no UTF-8")),
                (Ok(path), Some(value)) => set(table, &path, value, &origin),
            }
        }
        problems
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Environment { variables: variables.filter(|(name, _): &(String, _)| name.starts_with(PREFIX)).collect() }
    }
}

/// Sets a key of the tree. What stands in the way and is no table stays: its own error is more telling.
pub fn set(table: &mut Table, path: &[String], value: &str, origin: &Origin) {
    let node = |value| Entry { key: origin.clone(), node: Node { value, origin: origin.clone() } };
    match path {
        [] => {}
        [key] => {
            for [set, other] in EITHER {
                let from_file = |entry: &Entry| matches!(entry.key, Origin::File(_));
                if key == set && table.get(other).is_some_and(from_file) {
                    table.remove(other);
                }
            }
            table.insert(key.clone(), node(Value::Text(value.to_owned())));
        }
        [key, rest @ ..] => {
            let entry = table.entry(key.clone()).or_insert_with(|| node(Value::Table(Table::new())));
            if let Value::Table(inner) = &mut entry.node.value {
                set(inner, rest, value, origin);
            }
        }
    }
}

/// The key that a variable sets.
fn path(variable: &str, table: &Table) -> Result<Vec<String>, Problem> {
    if let Some((_, path)) = KEYS.iter().find(|(known, _)| *known == variable) {
        return Ok(path.iter().map(|&key| key.to_owned()).collect());
    }
    if let Some((name, key)) = variable.strip_prefix(NETWORKS).and_then(network_key) {
        return Ok(vec!["networks".to_owned(), named(table, "networks", name), key.to_owned()]);
    }
    match variable.strip_prefix(ROUTES) {
        Some(name) if !name.is_empty() => Ok(vec!["routes".to_owned(), named(table, "routes", name)]),
        _ => Err(unknown(variable)),
    }
}

/// `LIBERA_PASSWORD_FILE` is the key `password_file` of `LIBERA`: the longest key that fits.
fn network_key(name_and_key: &str) -> Option<(&str, &'static str)> {
    let fitting = network::KEYS.into_iter().filter_map(|key| {
        let name = name_and_key.strip_suffix(&key.to_uppercase())?.strip_suffix('_')?;
        (!name.is_empty()).then_some((name, key))
    });
    fitting.max_by_key(|(_, key)| key.len())
}

/// The name in the file that is written so in a variable; else the same in small letters.
fn named(table: &Table, section: &str, name: &str) -> String {
    let known = match table.get(section).map(|entry| &entry.node.value) {
        Some(Value::Table(names)) => {
            names.keys().find(|key| key.to_uppercase().replace(|c: char| !c.is_alphanumeric(), "_") == name)
        }
        _ => None,
    };
    known.cloned().unwrap_or_else(|| name.to_lowercase())
}

fn unknown(variable: &str) -> Problem {
    let mut known: Vec<String> = KEYS.iter().map(|(name, _)| (*name).to_owned()).collect();
    known.extend(OTHERS.into_iter().filter(|name| *name != "PUBBOT_BIN").map(str::to_owned));
    if let Some(name) = variable.strip_prefix(NETWORKS).and_then(|rest| rest.split('_').next()) {
        known.extend(network::KEYS.map(|key| format!("{NETWORKS}{name}_{}", key.to_uppercase())));
    }
    // all of them begin alike, which is no likeness
    let begin = if variable.starts_with(NETWORKS) { NETWORKS } else { PREFIX };
    let known = known.iter().filter_map(|name| name.strip_prefix(begin));
    let near = nearest(variable.strip_prefix(begin).unwrap_or(variable), known);
    let meant = near.map(|near| format!(": did you mean {begin}{near}?")).unwrap_or_default();
    let message = format!("it sets nothing{meant}");
    let names: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
    let network_keys = network::KEYS.map(str::to_uppercase).join("|");
    Problem::new(Origin::Variable(variable.to_owned()), message)
        .hint(format!("known: {}, {NETWORKS}<NAME>_<{network_keys}>, {ROUTES}<NAME>", names.join(", ")))
}
