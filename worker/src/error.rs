//! What can go wrong in a handler, when plugins are put together, and while a worker runs.

use std::time::Duration;

use protocol::Malformed;
use thiserror::Error;

use crate::index::TriggerError;

/// A handler's error says what happens next.
///
/// With `?`, any other error becomes [`Error::Failed`]: it is tried again. A panic, and a handler that takes longer than
/// [its time](crate::Spec::timeout), are the same. Only the handler that failed is tried again, not the others that the
/// event is for: after 1 s, 10 s, 60 s and 10 min; what it then says has the same ids as before, so nothing is said
/// twice. When it fails for the fifth time, the event is set aside with the dead letters, where `pubbot dead` shows it
/// with its error, and can have it tried once more. While it waits, later events overtake it.
///
/// An event whose handlers end the whole process (by `abort`, or by taking all memory) comes to another worker. When that
/// has happened twice, it is tried alone, and after three more deaths it is a dead letter, too.
///
/// What its errors mean for a handler of batches stands at [`Plugin::in_batches`](crate::Plugin::in_batches).
#[derive(Debug)]
pub enum Error {
    /// The person asked for something that can't be: they are told so, and that is the end of it.
    Tell(String),
    /// What came in is not for this handler after all: nothing happens.
    NotForMe,
    /// The handler failed, and may do better later: it is logged and tried again.
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// The handler failed, and no waiting will help: the event is set aside with the dead letters at once.
    GaveUp(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Tells the person who asked.
    pub fn tell(text: impl Into<String>) -> Self {
        Error::Tell(text.into())
    }

    /// Gives up at once: trying again would be no use.
    pub fn give_up(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::GaveUp(why.into())
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
    /// Each handler of batches has a queue of its own.
    #[error(
        "{first} and {second} take batches from one queue, that of {group}: give one of them another name with .named(…)"
    )]
    BatchesTwice {
        /// The worker group that the queue is named for.
        group: String,
        /// `plugin/handler` of the first.
        first: String,
        /// `plugin/handler` of the second.
        second: String,
    },
    /// What people say to the bot comes one by one.
    #[error("plugin {plugin}, handler {handler}: only an event(…) can be taken in batches")]
    BatchOfWhat {
        /// The plugin's name.
        plugin: String,
        /// The handler's name.
        handler: String,
    },
    /// A handler of batches takes a state that its plugin does not have.
    #[error(
        "plugin {plugin}, handler {handler}: it takes a State<{state}>, so the plugin needs a .state(…) of that type"
    )]
    NoState {
        /// The plugin's name.
        plugin: String,
        /// The handler's name.
        handler: String,
        /// The type.
        state: &'static str,
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
    /// The system gives no threads for handlers.
    #[error("handlers can't have threads of their own: {0}")]
    Threads(#[from] std::io::Error),
    /// Too many handlers have blocked their threads and not come back; the log names them.
    #[error("{0} handlers block their threads and don't come back: the worker ends, to be started anew")]
    LostThreads(usize),
}

/// Why one handler did not answer one event.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Handler(Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    GaveUp(Box<dyn std::error::Error + Send + Sync>),
    #[error("it panicked: {0}")]
    Panic(String),
    #[error("it took longer than {0:?}")]
    TimedOut(Duration),
    #[error("it blocked its thread for longer than {0:?}")]
    Blocked(Duration),
    #[error("its reply could not be sent: {0}")]
    Unsent(#[from] bus::Error),
    #[error("the reply names no place, and the event comes from none: use Reply::to or Action::to")]
    Nowhere,
    #[error("the reply is for the network {0}, which is not configured")]
    UnknownNetwork(String),
}

impl Failure {
    /// No waiting will make it better.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Failure::GaveUp(_) | Failure::Nowhere | Failure::UnknownNetwork(_) => true,
            Failure::Unsent(why) => matches!(why, bus::Error::Unroutable(_) | bus::Error::TooLarge { .. }),
            Failure::Handler(why) => why.is::<Malformed>(),
            Failure::Panic(_) | Failure::TimedOut(_) | Failure::Blocked(_) => false,
        }
    }
}
