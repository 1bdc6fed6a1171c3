//! Hosts' names: what can be one, so that a slip in the configuration is told at once and not by a resolver at night.

use std::net::IpAddr;

use thiserror::Error;

/// The longest name, in bytes (RFC 1035, section 2.3.4).
const MAX_BYTES: usize = 253;
/// The longest part of one between its dots, in bytes.
const MAX_LABEL_BYTES: usize = 63;

/// What a host's name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostname {
    /// An address of IPv4 or IPv6 (without brackets).
    Address,
    /// A name that is the same everywhere: `irc.libera.chat`.
    Qualified,
    /// One that only this machine's own resolver may know: `localhost`, or a container's.
    Local,
}

/// Why a text is no host's name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HostnameError {
    /// There is nothing.
    #[error("it names no host")]
    Empty,
    /// It has too many bytes.
    #[error("a host's name has at most {MAX_BYTES} bytes, and {MAX_LABEL_BYTES} between its dots")]
    TooLong,
    /// Two dots, or one at the beginning.
    #[error("{0:?} is no host name: there is nothing between two of its dots")]
    EmptyLabel(String),
    /// A hyphen at the edge of a part.
    #[error("{0:?} is no host name: {1:?} may not begin or end with a hyphen")]
    Hyphen(String, String),
    /// It has letters that DNS has not.
    #[error("{0:?} is no host name: names have letters from a to z; write an international one as xn--…")]
    International(String),
    /// It has other characters.
    #[error("{0:?} is no host name: names have letters, digits, hyphens and dots; {1:?} is none of these")]
    Character(String, char),
    /// It looks like an IPv4 address.
    #[error("{0:?} is no IPv4 address: that has four numbers from 0 to 255")]
    NoAddress(String),
}

impl Hostname {
    /// What this text is (RFC 952, RFC 1123, section 2.1). The last dot of a name may be written. A local name may have
    /// underscores, as containers' names do.
    ///
    /// # Errors
    /// When it can't be a host's name.
    pub fn of(text: &str) -> Result<Self, HostnameError> {
        if text.parse::<IpAddr>().is_ok() {
            return Ok(Hostname::Address);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(HostnameError::Empty);
        }
        if name.len() > MAX_BYTES {
            return Err(HostnameError::TooLong);
        }
        let is_local = !name.contains('.');
        for label in name.split('.') {
            check_label(text, label, is_local)?;
        }
        // no top-level domain is a number (RFC 3696, section 2)
        if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(HostnameError::NoAddress(text.to_owned()));
        }
        Ok(if is_local { Hostname::Local } else { Hostname::Qualified })
    }
}

fn check_label(text: &str, label: &str, is_local: bool) -> Result<(), HostnameError> {
    let text = || text.to_owned();
    let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || is_local && c == '_';
    match label.chars().find(|c| !is_legal(*c)) {
        Some(c) if c.is_alphabetic() && !c.is_ascii() => return Err(HostnameError::International(text())),
        Some(c) => return Err(HostnameError::Character(text(), c)),
        None => {}
    }
    match label {
        "" => Err(HostnameError::EmptyLabel(text())),
        label if label.len() > MAX_LABEL_BYTES => Err(HostnameError::TooLong),
        label if label.starts_with('-') || label.ends_with('-') => Err(HostnameError::Hyphen(text(), label.to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_a_name_or_a_local_name() {
        for (text, expected) in [
            ("irc.libera.chat", Hostname::Qualified),
            ("irc.libera.chat.", Hostname::Qualified),
            ("4.3.2.1.example", Hostname::Qualified),
            ("xn--mnchen-3ya.example", Hostname::Qualified),
            ("localhost", Hostname::Local),
            ("my_ircd_1", Hostname::Local),
            ("127.0.0.1", Hostname::Address),
            ("2001:db8::1", Hostname::Address),
        ] {
            assert_eq!(Hostname::of(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_name_is_told() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = "a.".repeat(127) + "example";
        for (text, expected) in [
            ("", "no host"),
            (".", "no host"),
            ("irc..chat", "nothing between two of its dots"),
            (".chat", "nothing between"),
            ("-irc.chat", "\"-irc\" may not begin or end with a hyphen"),
            ("irc-.chat", "hyphen"),
            ("irc_1.chat", "'_' is none of these"),
            ("irc/chat", "'/' is none of these"),
            ("münchen.example", "xn--"),
            ("300.1.1.1", "IPv4"),
            ("6667", "IPv4"),
            (&long, "at most 253 bytes, and 63"),
            (&longer, "at most 253 bytes"),
        ] {
            let why = Hostname::of(text).unwrap_err().to_string();
            assert!(why.contains(expected), "{text}: {why}");
        }
    }
}
