//! IRC addresses: `ircs://irc.libera.chat` in the configuration, `ircs://irc.libera.chat/#pubbot` on the command line.
//! No error repeats the address, since people write passwords into it.

use std::str::FromStr;

use connector::Secret;
use connector::irc::{Answers, Channel, Hostname, Server};
use protocol::check_destination;

/// The usual port with TLS (RFC 7194).
const TLS_PORT: u16 = 6697;
/// The usual port without.
const PLAIN_PORT: u16 = 6667;

/// Where a network's server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

/// Where a network's server is, and the channels to be in: what `--irc` takes.
#[derive(Clone, Debug)]
pub struct IrcUrl {
    pub address: Address,
    pub channels: Vec<Channel>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        match split(url)? {
            (address, "" | "/") => Ok(address),
            _ => Err("an address ends with the host or the port; channels belong into `channels`".to_owned()),
        }
    }
}

impl FromStr for IrcUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let (address, rest) = split(url)?;
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let (names, key) = match rest.split_once("?key=") {
            Some((names, key)) => (names, Some(checked_key(&percent_decoded(key)?)?)),
            None => (rest, None),
        };
        let names = names.split(',').filter(|name| !name.is_empty());
        let channels: Result<Vec<Channel>, String> = names.map(|name| named(name, key.clone())).collect();
        match channels?.as_slice() {
            [] => Err("it names no channel: add one, as in ircs://irc.libera.chat/#pubbot".to_owned()),
            [_, _, ..] if key.is_some() => Err("a key is for one channel: give each its own --irc".to_owned()),
            channels => Ok(IrcUrl { address, channels: channels.to_vec() }),
        }
    }
}

/// A channel of a URL: the `#` may be missing or escaped.
fn named(name: &str, key: Option<Secret>) -> Result<Channel, String> {
    let name = percent_decoded(name)?;
    let name = if is_channel(&name) { name } else { format!("#{name}") };
    check_destination(&name).map_err(|why| why.to_string())?;
    Ok(Channel { name, key, answers: Answers::All })
}

/// Begins as a channel does (RFC 2812, section 1.3).
pub fn is_channel(name: &str) -> bool {
    name.starts_with(['#', '&', '+', '!'])
}

/// A channel's key, if it can be one (RFC 2812, section 3.2.1).
pub fn checked_key(key: &str) -> Result<Secret, String> {
    let bad = |c: char| c == ' ' || c == ',' || c.is_control();
    if key.is_empty() || key.starts_with(':') || key.contains(bad) {
        return Err(
            "a key may not be empty, begin with ':', or hold a space, a comma or a control character".to_owned()
        );
    }
    Ok(Secret::new(key))
}

/// The address, and what follows it. Errors don't repeat the URL: it may hold a password.
fn split(url: &str) -> Result<(Address, &str), String> {
    let (tls, rest) = match url.split_once("://") {
        Some(("ircs", rest)) => (true, rest),
        Some(("irc", rest)) => (false, rest),
        _ => return Err("an IRC address begins with ircs:// (encrypted) or irc:// (not)".to_owned()),
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("an address holds no user and password: use `nick`, and `password_file` or `password`".to_owned());
    }
    let (host, port) = host_and_port(authority)?;
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(format!("{port:?} is no port"))?,
        None if tls => TLS_PORT,
        None => PLAIN_PORT,
    };
    Ok((Address { host: host.to_owned(), port, tls }, rest))
}

/// `host`, `host:port`, `[::1]` or `[::1]:port`; the brackets are removed.
fn host_and_port(authority: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']').ok_or("the IPv6 address's ] is missing")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| format!("{host:?} is no IPv6 address"))?;
        return match (after, after.strip_prefix(':')) {
            ("", _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            _ => Err("a port follows the ] after a colon, as in [::1]:6697".to_owned()),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if port.is_some_and(|port| port.contains(':')) {
        return Err("an IPv6 address stands in brackets, as in ircs://[::1]:6697".to_owned());
    }
    Hostname::of(host).map_err(|why| why.to_string())?;
    Ok((host, port))
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "its escapes are no UTF-8".to_owned())
}

impl Address {
    /// The server there.
    pub fn server(&self) -> Server {
        Server { host: self.host.clone(), port: self.port, tls: self.tls }
    }

    /// A name for the network: `irc.libera.chat` is `libera`; `irc` where the host says nothing.
    pub fn network_name(&self) -> String {
        let is_number = self.host.parse::<std::net::IpAddr>().is_ok();
        let labels: Vec<&str> = self.host.split('.').filter(|label| !label.is_empty()).collect();
        let telling = match labels.as_slice() {
            [alone] => alone,
            [.., name, _] => name,
            [] => "irc",
        };
        let fits = !is_number && telling != "localhost" && protocol::check_network(telling).is_ok();
        if fits { telling.to_ascii_lowercase() } else { "irc".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16, tls: bool) -> Address {
        Address { host: host.to_owned(), port, tls }
    }

    #[test]
    fn an_address_has_a_scheme_a_host_and_perhaps_a_port() {
        for (url, expected) in [
            ("ircs://irc.libera.chat", address("irc.libera.chat", 6697, true)),
            ("irc://localhost/", address("localhost", 6667, false)),
            ("irc://my_ircd", address("my_ircd", 6667, false)),
            ("irc://127.0.0.1:7000", address("127.0.0.1", 7000, false)),
            ("ircs://[2001:db8::1]", address("2001:db8::1", 6697, true)),
            ("irc://[::1]:7000", address("::1", 7000, false)),
        ] {
            assert_eq!(url.parse(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_told() {
        for (url, expected) in [
            ("irc.libera.chat", "begins with ircs://"),
            ("http://x", "begins with ircs://"),
            ("irc://", "no host"),
            ("irc://:6667", "no host"),
            ("irc://h:0", "\"0\" is no port"),
            ("irc://h:70000", "\"70000\" is no port"),
            ("irc://h:", "\"\" is no port"),
            ("irc://::1", "brackets"),
            ("irc://[::1", "] is missing"),
            ("irc://[::1]6667", "colon"),
            ("irc://[h]", "no IPv6"),
            ("irc://a b", "no host name"),
            ("irc://irc..chat", "two of its dots"),
            ("irc://-irc.chat", "hyphen"),
            ("irc://irc_1.chat", "'_'"),
            ("irc://münchen.example", "xn--"),
            ("irc://10.0.0.256", "no IPv4 address"),
            ("irc://h/#c", "`channels`"),
            ("irc://h?x", "`channels`"),
            ("irc://me:hunter2@h", "password_file"),
        ] {
            let why = url.parse::<Address>().unwrap_err();
            assert!(why.contains(expected) && !why.contains("hunter2"), "{url}: {why}");
        }
    }

    #[test]
    fn channels_stand_in_the_path_or_the_fragment() {
        for (url, expected) in [
            ("ircs://h/#a", vec!["#a"]),
            ("ircs://h#a", vec!["#a"]),
            ("ircs://h/a", vec!["#a"]),
            ("ircs://h/%23a", vec!["#a"]),
            ("ircs://h/##a,#b,c,&d", vec!["##a", "#b", "#c", "&d"]),
        ] {
            let url: IrcUrl = url.parse().unwrap();
            assert_eq!(url.channels.iter().map(|channel| &channel.name).collect::<Vec<_>>(), expected);
        }
        let keyed: IrcUrl = "ircs://h/#a?key=sesame".parse().unwrap();
        assert_eq!(keyed.channels[0].key, Some(Secret::new("sesame")));
    }

    #[test]
    fn an_irc_url_without_a_channel_or_with_one_that_cannot_be_is_refused() {
        for url in ["ircs://h", "ircs://h/", "ircs://h/,", "ircs://h/#a%20b", "ircs://h/%ff", "ircs://h/#a,#b?key=k"] {
            assert!(url.parse::<IrcUrl>().is_err(), "{url}");
        }
    }

    #[test]
    fn a_network_is_named_after_its_host() {
        for (host, expected) in [
            ("irc.libera.chat", "libera"),
            ("irc.eu.Libera.Chat", "libera"),
            ("localhost", "irc"),
            ("127.0.0.1", "irc"),
            ("::1", "irc"),
            ("ircd", "ircd"),
            ("münchen.example", "irc"),
        ] {
            assert_eq!(address(host, 1, true).network_name(), expected);
        }
    }
}
