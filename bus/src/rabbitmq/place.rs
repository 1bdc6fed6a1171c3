//! Where a broker is: its URL, read once. What is shown of it to people never has the password.

use std::fmt;

use lapin::uri::AMQPUri;

use crate::Error;

/// Heartbeat requested unless the URL says otherwise, in seconds. lapin gives a silent connection up after two of
/// them, and looks every half: a half-open connection is noticed within 16 to 20 s.
const HEARTBEAT: u16 = 8;
/// The largest frame, unless the URL says otherwise: 16 KiB. Larger messages take several. lapin keeps 32 frames of
/// this size for each direction of each connection, which with RabbitMQ's 128 KiB would be 16 MiB.
const FRAME_MAX_BYTES: u32 = 16 * 1024;

const EXPECTED: &str = "expected amqp://USER:PASSWORD@HOST:PORT/VHOST or amqps://…, where / in the virtual host is \
                        written %2f, for example amqp://guest:guest@localhost:5672/%2f";

/// A broker's address with everything needed to log in.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) uri: AMQPUri,
    shown: String,
}

impl Place {
    /// Reads an `amqp://` or `amqps://` URL.
    ///
    /// # Errors
    /// [`Error::Url`], without repeating the URL, since it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let refused = |why: &str| Error::Url(format!("{why}; {EXPECTED}"));
        let rest = url.strip_prefix("amqp://").or_else(|| url.strip_prefix("amqps://"));
        let rest = rest.ok_or_else(|| refused("it begins neither with amqp:// nor with amqps://"))?;
        let mut uri: AMQPUri = url.parse().map_err(|why: String| refused(&without_url(&why)))?;
        // the parser knows names and IPv4 addresses only: anything else would silently become localhost
        match host(rest) {
            "" => return Err(refused("it names no host")),
            host => uri.authority.host = host.to_owned(),
        }
        if uri.vhost.len() > 255 {
            return Err(refused("the virtual host is longer than 255 bytes"));
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        uri.query.frame_max.get_or_insert(FRAME_MAX_BYTES);
        let shown = shown(&uri);
        Ok(Place { uri, shown })
    }

    /// The same place, with this heartbeat asked for, in seconds.
    pub(super) fn with_heartbeat(mut self, seconds: u16) -> Self {
        self.uri.query.heartbeat = Some(seconds);
        self
    }
}

/// Host and port, and the virtual host unless it is the usual one.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The host between user information and port, without the brackets of an IPv6 address.
fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    match place.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((address, _)) => address,
        None => place.split(':').next().unwrap_or_default(),
    }
}

fn shown(uri: &AMQPUri) -> String {
    let (host, port) = (&uri.authority.host, uri.authority.port);
    let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    if uri.vhost == "/" { place } else { format!("{place}/{}", uri.vhost) }
}

/// The parser repeats the whole URL in one of its messages.
fn without_url(why: &str) -> String {
    if why.contains("://") { "it is no URL".to_owned() } else { why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        Place::parse(url).unwrap().to_string()
    }

    #[test]
    fn what_is_shown_is_host_port_and_an_unusual_virtual_host() {
        assert_eq!(shown("amqp://guest:secret@127.0.0.1:5673/%2f"), "127.0.0.1:5673");
        assert_eq!(shown("amqp://guest:secret@localhost"), "localhost:5672");
        assert_eq!(shown("amqps://broker.example/bots"), "broker.example:5671/bots");
        assert_eq!(shown("amqp://u:p@[::1]:5672/%2f"), "[::1]:5672");
    }

    #[test]
    fn an_ipv6_address_is_not_taken_for_localhost() {
        assert_eq!(Place::parse("amqp://[2001:db8::1]").unwrap().uri.authority.host, "2001:db8::1");
    }

    #[test]
    fn a_heartbeat_in_the_url_is_kept() {
        assert_eq!(Place::parse("amqp://h?heartbeat=30").unwrap().uri.query.heartbeat, Some(30));
        assert_eq!(Place::parse("amqp://h").unwrap().uri.query.heartbeat, Some(HEARTBEAT));
    }

    #[test]
    fn a_url_that_can_not_be_read_is_refused_with_what_is_expected_and_without_its_password() {
        for url in [
            "",
            "localhost",
            "http://u:secret@h/",
            "amqp:u:secret@h",
            "amqp://",
            "amqp://u:secret@",
            "amqp://u:secret@h:port/",
            "amqp://u:secret@h/?heartbeat=often",
        ] {
            let Err(Error::Url(why)) = Place::parse(url) else { panic!("{url:?} was taken") };
            assert!(why.contains("expected amqp://"), "{why}");
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
