//! What a network is: its servers, who the bot is there, where it is to be, how it speaks.

use std::time::Duration;

use crate::irc::{Flood, Login, Server, Tls};
use crate::{Expiry, Permits, Secret};

/// An IRC network, and who the bot is there.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its name in events, replies and queues: a word of letters, digits, `_` and `-`.
    pub name: String,
    /// Its servers, one at least. They are tried in this order; after a lost connection the next one comes first.
    pub servers: Vec<Server>,
    /// How they prove who they are, and how we do, where TLS is spoken.
    pub tls: Tls,
    /// The nick to use. If it is taken, one much like it.
    pub nick: String,
    /// The user name, before the `@`.
    pub user: String,
    /// The real name, free text.
    pub realname: String,
    /// The server's password (PASS).
    pub password: Option<Secret>,
    /// How to log in to the services account.
    pub login: Login,
    /// The user modes to set after the welcome, as in `+iB-w`.
    pub modes: Option<String>,
    /// Where to be.
    pub channels: Vec<Channel>,
    /// Which invitations to follow.
    pub invites: Invites,
    /// How fast to speak.
    pub flood: Flood,
    /// How old a reply may be that is said.
    pub expiry: Expiry,
    /// How many lines may be written of which the server has not yet proved that it took them, 1 at least: so many may
    /// be said twice when this process is killed.
    pub unproved: usize,
    /// In channels where only the best answer is said: how long to wait for a better one, from the first on.
    pub answers_window: Duration,
    /// Which actions worker groups may ask for.
    pub permits: Permits,
    /// How long to go on with what is to be said once told to stop.
    pub linger: Duration,
    /// Which it is of the networks that are started together, from 0: the first dials at once, the others a moment later.
    pub place: usize,
}

/// The usual number of lines that may be unproved.
pub const UNPROVED: usize = 4;
/// How long is usually waited for a better answer.
pub const ANSWERS_WINDOW: Duration = Duration::from_millis(150);

/// A channel to be in.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name, with the `#`.
    pub name: String,
    /// Its key, if one is needed to get in (channel mode `k`).
    pub key: Option<Secret>,
    /// Which answers to a line are said.
    pub answers: Answers,
}

/// Which invitations are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Invites {
    /// To the channels that the bot should be in anyway.
    #[default]
    Configured,
    /// To any channel, of which 50 in a session at most; until the session ends.
    Anywhere,
}

/// Which answers to a line are said, when several handlers answer it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// All of them.
    #[default]
    All,
    /// Those of one handler: of the highest rank, and of those the first.
    Best,
}
