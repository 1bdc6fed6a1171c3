//! What can go wrong in a handler, when plugins are put together, and while a worker runs.

use protocol::Malformed;
use thiserror::Error;

use crate::index::TriggerError;

/// A handler's error says what happens next.
#[derive(Debug)]
pub enum Error {
    /// The person asked for something that can't be: they are told so, and that is the end of it.
    Tell(String),
    /// What came in is not for this handler after all: nothing happens.
    NotForMe,
    /// The handler failed: it is logged, and the event is set aside with the dead letters.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Tells the person who asked.
    pub fn tell(text: impl Into<String>) -> Self {
        Error::Tell(text.into())
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Error::Failed(Box::new(error))
    }
}

/// Why plugins can't be put together to a worker.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A trigger is no regular expression, or too large a one.
    #[error("plugin {plugin}, handler {handler}: {why}")]
    Trigger {
        /// The plugin's name.
        plugin: String,
        /// The handler's name.
        handler: String,
        /// What is wrong with it.
        why: TriggerError,
    },
    /// An event's pattern is none.
    #[error("plugin {plugin}, handler {handler}: the pattern {pattern:?} can't be: {why}")]
    Pattern {
        /// The plugin's name.
        plugin: String,
        /// The handler's name.
        handler: String,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: protocol::PatternError,
    },
    /// A command belongs to one handler.
    #[error("the command {command:?} is taken twice: by {first} and by {second}")]
    CommandTwice {
        /// The command's word.
        command: String,
        /// `plugin/handler` of the first.
        first: String,
        /// `plugin/handler` of the second.
        second: String,
    },
    /// A command is one word.
    #[error("plugin {plugin}: {command:?} is no command: use one word without spaces")]
    BadCommand {
        /// The plugin's name.
        plugin: String,
        /// The command's word.
        command: String,
    },
    /// Replies are told apart by their handlers' names.
    #[error("two handlers are called {name}: give one of them another name with .named(…)")]
    NameTwice {
        /// `plugin/handler`.
        name: String,
    },
    /// The group's name is a word of its queue's name.
    #[error("{0:?} is no worker group's name: use 1 to 64 letters, digits, '_' or '-'")]
    Group(String),
}

/// Why a worker ended that was not told to.
#[derive(Debug, Error)]
pub enum RunError {
    /// Its plugins can't be put together.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Its queue can't be consumed.
    #[error(transparent)]
    Broker(#[from] bus::Error),
}

/// Why one handler did not answer one event.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Handler(Box<dyn std::error::Error + Send + Sync>),
    #[error("it panicked: {0}")]
    Panic(String),
    #[error("its reply could not be sent: {0}")]
    Unsent(#[from] bus::Error),
    #[error("the reply names no place, and the event comes from none: use Reply::to")]
    Nowhere,
    #[error("the reply is for the network {0}, which is not configured")]
    UnknownNetwork(String),
}
