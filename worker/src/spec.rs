//! What stands beside a handler: what it reacts to and what people should know of it, as data.

use std::time::Duration;

use protocol::{Pattern, PatternError};

/// How long a handler may take, unless its spec says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a handler may take at most. RabbitMQ takes an event back, and its channel down, after 30 min.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// What a handler reacts to.
#[derive(Clone, Debug)]
pub enum Source {
    /// A regular expression found anywhere in what is said.
    Trigger(String),
    /// A word after the command prefix, or said to the bot by name or in private.
    Command(String),
    /// A routing key's pattern.
    Event(Result<Pattern, (String, PatternError)>),
}

/// Something to say and what the bot answers, for the help and for a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// What alice says.
    pub says: &'static str,
    /// What she hears.
    pub hears: &'static str,
}

/// A handler's entry: its source, its name, its help, its examples.
#[derive(Clone, Debug)]
pub struct Spec {
    pub(crate) source: Source,
    pub(crate) name: Option<&'static str>,
    pub(crate) usage: Option<&'static str>,
    pub(crate) help: Option<&'static str>,
    pub(crate) examples: Vec<Example>,
    pub(crate) hidden: bool,
    pub(crate) role: Option<&'static str>,
    pub(crate) timeout: Duration,
    pub(crate) any_age: bool,
    pub(crate) replayed: bool,
    #[cfg(feature = "store")]
    pub(crate) transactional: bool,
}

impl Spec {
    fn new(source: Source) -> Self {
        Spec {
            source,
            name: None,
            usage: None,
            help: None,
            examples: Vec::new(),
            hidden: false,
            role: None,
            timeout: DEFAULT_TIMEOUT,
            any_age: false,
            replayed: false,
            #[cfg(feature = "store")]
            transactional: false,
        }
    }

    /// The handler's name; otherwise a command's word or the function's name. It is part of the ids of its replies, so
    /// a handler that changes its name may repeat what was in flight.
    #[must_use]
    pub fn named(self, name: &'static str) -> Self {
        Spec { name: Some(name), ..self }
    }

    /// What follows the command, as `!help` shows it: `<city> [days]`.
    #[must_use]
    pub fn usage(self, usage: &'static str) -> Self {
        Spec { usage: Some(usage), ..self }
    }

    /// One line about what it does.
    #[must_use]
    pub fn help(self, help: &'static str) -> Self {
        Spec { help: Some(help), ..self }
    }

    /// Something that alice says in a channel, and what she hears. Checked by
    /// [`testing::check_examples`](crate::testing::check_examples).
    #[must_use]
    pub fn example(mut self, says: &'static str, hears: &'static str) -> Self {
        self.examples.push(Example { says, hears });
        self
    }

    /// Not to be listed by `!commands` and `!help`.
    #[must_use]
    pub fn hidden(self) -> Self {
        Spec { hidden: true, ..self }
    }

    /// It is for those who have this role, by the profile of their services account and never by nick: `admin`. Others are
    /// told what it needs, and it does not run; neither does it for events that nobody has said. Where the worker has no
    /// database, nobody has a role.
    #[must_use]
    pub fn role(self, role: &'static str) -> Self {
        Spec { role: Some(role), ..self }
    }

    /// The role that it needs.
    pub fn needs(&self) -> Option<&'static str> {
        self.role
    }

    /// How long it may take: 30 s unless set, at most 15 min. After that it is cancelled, which is a failure. One that
    /// blocks its thread can't be cancelled: it is abandoned, and what it may still return is dropped.
    #[must_use]
    pub fn timeout(self, limit: Duration) -> Self {
        Spec { timeout: limit.min(LONGEST_TIMEOUT), ..self }
    }

    /// It takes events of any age. Otherwise what is older than an hour is skipped: after a long outage nobody wants
    /// yesterday's questions answered.
    #[must_use]
    pub fn any_age(self) -> Self {
        Spec { any_age: true, ..self }
    }

    /// It also takes what was said while the bot was away and comes out of the network's history, however old
    /// ([`Chat::replayed`](protocol::Chat::replayed)). Otherwise that is skipped: somebody who asked then has long gone on.
    #[must_use]
    pub fn replayed(self) -> Self {
        Spec { replayed: true, ..self }
    }

    /// It runs in a transaction: what it changes in its [`Store`](crate::Store) or through its
    /// [`Transaction`](crate::Transaction), what it says, and that it has run for this event become true together when it
    /// returns `Ok`, or not at all. So an event that is delivered once more, within 7 days, changes nothing once more: the
    /// handler is not run again, and says what it said.
    ///
    /// The transaction may be open for 4 s; after that it is taken back, and the handler is tried again later. On SQLite
    /// nobody else can write meanwhile, this handler through [`Database`](crate::Database) included: be quick, and do slow
    /// things elsewhere.
    #[cfg(feature = "store")]
    #[must_use]
    pub fn transactional(self) -> Self {
        Spec { transactional: true, ..self }
    }
}

/// Reacts to lines in which the regular expression is found, anywhere; case matters unless it begins with `(?i)`.
/// Linear in the line's length, whatever the expression.
pub fn trigger(regex: &str) -> Spec {
    Spec::new(Source::Trigger(regex.to_owned()))
}

/// Reacts to `!word …`, and to `word …` said to the bot by name or in private. Case doesn't matter.
pub fn command(word: &str) -> Spec {
    Spec::new(Source::Command(word.to_ascii_lowercase()))
}

/// Reacts to events whose routing key matches the pattern (`*` one word, `#` zero or more).
pub fn event(pattern: &str) -> Spec {
    Spec::new(Source::Event(Pattern::parse(pattern).map_err(|why| (pattern.to_owned(), why))))
}
