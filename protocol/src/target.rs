//! Where something is to be said: a network, and a channel or a nick on it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest channel or nick, in bytes: with it, any command still has room for text on a 512-byte line.
pub const MAX_TARGET_BYTES: usize = 200;

/// A network's name as configured, and a channel or nick there: `libera/#rust`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, PartialOrd, Ord)]
#[serde(try_from = "String", into = "String")]
pub struct Target {
    /// The network's name as configured.
    pub network: String,
    /// A channel or a nick.
    pub channel: String,
}

/// Why a text names no place to say something.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// There is no `/`.
    #[error("{0:?} is no target: write network/#channel or network/nick")]
    NoSlash(String),
    /// A network's name is a word of letters, digits, `_` and `-`.
    #[error("{0:?} is no network's name: use 1 to 64 letters, digits, '_' or '-'")]
    Network(String),
    /// It could leave its place on the line, name several targets, or be too long.
    #[error(
        "{0:?} is no channel or nick: it may not be empty, begin with ':', have more than {MAX_TARGET_BYTES} bytes, \
         or hold a space, a comma or a control character"
    )]
    Channel(String),
}

impl Target {
    /// Puts both parts together after checking them.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn new(network: &str, channel: &str) -> Result<Self, TargetError> {
        check_network(network)?;
        check_destination(channel)?;
        Ok(Target { network: network.to_owned(), channel: channel.to_owned() })
    }
}

/// Checks that a text can be a network's name, and so a word of a queue's name.
///
/// # Errors
/// [`TargetError::Network`].
pub fn check_network(name: &str) -> Result<(), TargetError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=64).contains(&name.len()) && name.chars().all(legal) {
        Ok(())
    } else {
        Err(TargetError::Network(name.to_owned()))
    }
}

/// Checks that a channel or nick stays in its place as one middle parameter of one IRC command.
///
/// # Errors
/// [`TargetError::Channel`].
pub fn check_destination(name: &str) -> Result<(), TargetError> {
    let bad = name.is_empty()
        || name.starts_with(':')
        || name.len() > MAX_TARGET_BYTES
        || name.contains(|c: char| c == ' ' || c == ',' || c.is_control());
    if bad { Err(TargetError::Channel(name.to_owned())) } else { Ok(()) }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (network, channel) = text.split_once('/').ok_or_else(|| TargetError::NoSlash(text.to_owned()))?;
        Target::new(network, channel)
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_network_and_a_channel_or_nick() {
        let target: Target = "libera/#a/b".parse().unwrap();
        assert_eq!((target.network.as_str(), target.channel.as_str()), ("libera", "#a/b"));
        assert_eq!(target.to_string(), "libera/#a/b");
    }

    #[test]
    fn targets_that_could_leave_their_place_on_the_line_are_refused() {
        for text in
            ["", "#c", "libera/", "libera/#a,#b", "libera/#a :x", "libera/:x", "libera/#a\rQUIT", "li.b/#c", "/#c"]
        {
            assert!(text.parse::<Target>().is_err(), "{text:?}");
        }
        assert!(format!("libera/#{}", "x".repeat(200)).parse::<Target>().is_err());
    }
}
