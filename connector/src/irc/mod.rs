//! One IRC network: dials, registers, joins; what is heard becomes events, and replies are said. Begins again whenever
//! the connection is lost, until it is stopped.
//!
//! For each connection a `Session` reads the socket and a `Speaker` writes it, each in a task of its own. The session
//! never waits for the broker: its events go to the outbox. The speaker alone waits for replies. What they are made of
//! stands in four folders: how a server is reached (`reach`), how a session begins (`register`), what is made of what the
//! server says (`hear`), and how things are said (`speak`).

mod connector;
mod doubling;
mod ended;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handover;
mod hear;
mod network;
mod reach;
mod register;
mod session;
mod speak;
#[cfg(test)]
mod tests;
mod visit;
mod voice;

pub use self::connector::run;
pub use self::hear::mask::{Mask, MaskError};
pub use self::network::{ANSWERS_WINDOW, Answers, Channel, Invites, Network, UNPROVED};
pub use self::reach::check::{Reached, Unreachable, reach};
pub use self::reach::dial::DialError;
pub use self::reach::fingerprint::Fingerprint;
pub use self::reach::hostname::{Hostname, HostnameError};
pub use self::reach::pem::FileError;
pub use self::reach::server::Server;
pub use self::reach::sts::{Sts, StsAnswer};
pub use self::reach::tls::{ClientCertificate, Tls};
pub use self::reach::trust::{Certificate, Distrust, Trust};
pub use self::register::login::{Login, Mechanism, Sasl};
pub use self::speak::flood::Flood;
pub use self::speak::proof::Means;
pub use self::visit::{Door, Found, Holder, Visit, visit};

/// This network's protocol, in routing keys and names of queues.
const PROTO: &str = "irc";
