//! Where one of a network's servers is.

use std::fmt;

/// One of a network's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its host name, or an IPv4 or IPv6 address (without brackets). With TLS, its certificate must name it, unless it
    /// is pinned.
    pub host: String,
    /// Its port: 6697 is usual with TLS, 6667 without.
    pub port: u16,
    /// Speak to it through TLS only. What is spoken to in plain may still ask for TLS: see [`crate::irc::Sts`].
    pub tls: bool,
}

impl Server {
    /// One that is spoken to through TLS.
    pub fn encrypted(host: impl Into<String>, port: u16) -> Self {
        Server { host: host.into(), port, tls: true }
    }

    /// One that is spoken to in plain.
    pub fn plain(host: impl Into<String>, port: u16) -> Self {
        Server { host: host.into(), port, tls: false }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} port {}", self.host, self.port)
    }
}
