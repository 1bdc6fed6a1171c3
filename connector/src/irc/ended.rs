//! Why a session is over, in words for those who read the log.

use std::io;

use thiserror::Error;

use crate::irc::register::registration::{NEGOTIATE_WITHIN, WELCOME_WITHIN};
use crate::irc::register::sasl::SaslError;
use crate::irc::session::PONG_WITHIN;
use crate::irc::speak::flood::is_flood;

/// What servers say to whom they throw out for somebody else.
const KILLS: [&str; 3] = ["killed", "ghost command", "regained by services"];

/// Why a session is over.
#[derive(Debug, Error)]
pub(crate) enum Ended {
    /// By us, on purpose.
    #[error("stopped")]
    Stopped,
    /// The server closed the connection; what it said about it.
    #[error("the server closed the connection{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Closed(Option<String>),
    /// The socket failed.
    #[error("reading failed: {0}")]
    Reading(io::Error),
    /// The speaker could not write, and has said why.
    #[error("writing failed")]
    Writing,
    /// Nothing was heard, not even an answer to PING.
    #[error("the server is silent, and did not answer PING within {} s", PONG_WITHIN.as_secs())]
    Silent,
    /// The server never said `001`.
    #[error("the server did not welcome us within {} s", WELCOME_WITHIN.as_secs())]
    NotWelcomed,
    /// It began to offer capabilities, and never came to an end.
    #[error("the server did not come to an end with its capabilities within {} s", NEGOTIATE_WITHIN.as_secs())]
    NotNegotiated,
    /// We are not logged in, and have to be, or the server is not to be trusted.
    #[error(transparent)]
    Sasl(#[from] SaslError),
    /// Its host is to be spoken to through TLS only (IRCv3 `sts`).
    #[error("the server wants TLS, on port {0}")]
    WantsTls(u16),
    /// The nick and all others like it were refused.
    #[error("every nick was refused, the last one with: {0}")]
    NoNick(String),
}

impl Ended {
    /// Whether the server threw us out because we said too much.
    pub fn is_flood(&self) -> bool {
        matches!(self, Ended::Closed(Some(last_words)) if is_flood(last_words))
    }

    /// Whether somebody had the server throw us out: an operator, or services for whoever has our account.
    pub fn is_kill(&self) -> bool {
        let Ended::Closed(Some(last_words)) = self else { return false };
        let last_words = last_words.to_lowercase();
        KILLS.iter().any(|words| last_words.contains(words))
    }
}
