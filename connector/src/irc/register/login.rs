//! How the bot logs in to its services account: by SASL while it registers, or by a word to NickServ after that.

use std::fmt;

use crate::Secret;

/// A network's services account, and the ways to it.
#[derive(Clone, Debug)]
pub struct Login {
    /// The account's name, one word.
    pub account: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Whether to log in by SASL.
    pub sasl: Sasl,
    /// Which SASL mechanisms may be used; their order does not matter.
    pub mechanisms: Vec<Mechanism>,
    /// The connection shows a client certificate, so SASL EXTERNAL can be tried.
    pub has_client_certificate: bool,
    /// Said to NickServ after the welcome, unless SASL has worked.
    pub nickserv_password: Option<Secret>,
}

impl Default for Login {
    /// No account, and no way to one.
    fn default() -> Self {
        Login {
            account: None,
            password: None,
            sasl: Sasl::Off,
            mechanisms: Mechanism::ALL.to_vec(),
            has_client_certificate: false,
            nickserv_password: None,
        }
    }
}

/// Whether to log in by SASL (IRCv3 `sasl`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sasl {
    /// Without it the bot joins nothing and hangs up.
    Required,
    /// If it can't be done, the bot goes on without an account.
    Preferred,
    /// Not at all.
    #[default]
    Off,
}

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// By the client certificate of the connection (RFC 4422, appendix A).
    External,
    /// By the password, which the server is not shown; the server has to prove that it knows it, too (RFC 7677).
    ScramSha256,
    /// By the password as it is (RFC 4616).
    Plain,
}

impl Mechanism {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Mechanism; 3] = [Mechanism::External, Mechanism::ScramSha256, Mechanism::Plain];

    /// By its registered name, in capital letters.
    pub fn from_name(name: &str) -> Option<Self> {
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::External => "EXTERNAL",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
