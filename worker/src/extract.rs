//! Extractors: types of handlers' parameters that are taken from the event.

use std::any::TypeId;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::context::Matched;
use crate::plugin::States;
use crate::{Catalogue, Context, Error, captures};

/// A type that a handler may have as a parameter.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a handler's parameter",
    note = "handlers take Captures<T>, Args, Sender, Channel, Event<T>, State<T>, and types that implement `worker::Extract`"
)]
pub trait Extract: Sized {
    /// Takes it from the event.
    ///
    /// # Errors
    /// What the handler would return: see [`Error`].
    fn extract(context: &Context) -> Result<Self, Error>;
}

/// The named groups of a trigger's regular expression, as a struct (or map) of theirs. A line whose groups don't fit
/// `T` (letters where it has a number) is not for this handler.
#[derive(Clone, Debug)]
pub struct Captures<T>(pub T);

impl<T: DeserializeOwned> Extract for Captures<T> {
    fn extract(context: &Context) -> Result<Self, Error> {
        match &context.matched {
            Matched::Trigger(groups) => captures::read(groups).map(Captures).map_err(|why| {
                tracing::debug!(%why, "the captures don't fit what the handler takes");
                Error::NotForMe
            }),
            _ => Err(misuse("Captures", "a trigger")),
        }
    }
}

/// The text after a command, without surrounding white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args(pub String);

impl Args {
    /// The words of it.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split_whitespace()
    }
}

impl Deref for Args {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Extract for Args {
    fn extract(context: &Context) -> Result<Self, Error> {
        match &context.matched {
            Matched::Command(rest) => Ok(Args(rest.clone())),
            _ => Err(misuse("Args", "a command")),
        }
    }
}

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The nick, which anybody may take: never a proof of who it is.
    pub nick: String,
    /// The services account; `None` when not logged in or not known.
    pub account: Option<String>,
    /// The key of the identity (network and account).
    pub source_id: Option<Uuid>,
    /// They spoke to the bot alone.
    pub private: bool,
}

impl Sender {
    /// `text` said to them: `alice: text` in a channel, just `text` in private.
    pub fn answer(&self, text: impl std::fmt::Display) -> String {
        if self.private { text.to_string() } else { format!("{}: {text}", self.nick) }
    }
}

impl Extract for Sender {
    fn extract(context: &Context) -> Result<Self, Error> {
        let chat = context.chat.as_ref().ok_or_else(|| misuse("Sender", "what is said"))?;
        Ok(Sender {
            nick: chat.source.clone(),
            account: chat.account.clone(),
            source_id: chat.source_id,
            private: chat.private,
        })
    }
}

/// Where it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The network's name as configured.
    pub network: String,
    /// The channel; in private the sender's nick.
    pub name: String,
    /// It was said to the bot alone.
    pub private: bool,
}

impl Extract for Channel {
    fn extract(context: &Context) -> Result<Self, Error> {
        let chat = context.chat.as_ref().ok_or_else(|| misuse("Channel", "what is said"))?;
        Ok(Channel { network: chat.head.network.clone(), name: chat.head.channel.clone(), private: chat.private })
    }
}

/// The event's body as a type: one of `protocol`'s, or the handler's own. A body that does not fit is malformed, and
/// is set aside with the dead letters.
#[derive(Clone, Debug)]
pub struct Event<T> {
    /// Its routing key.
    pub key: protocol::RoutingKey,
    /// Its id.
    pub id: Uuid,
    /// Its body.
    pub body: T,
}

impl<T: DeserializeOwned> Extract for Event<T> {
    fn extract(context: &Context) -> Result<Self, Error> {
        let protocol::Event { key, id, .. } = &context.event;
        Ok(Event { key: key.clone(), id: *id, body: context.event.decode()? })
    }
}

/// What the plugin was given with [`Plugin::state`](crate::Plugin::state).
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> Extract for State<T> {
    fn extract(context: &Context) -> Result<Self, Error> {
        State::of(&context.states)
    }
}

impl<T: Send + Sync + 'static> State<T> {
    pub(crate) fn of(states: &States) -> Result<Self, Error> {
        let state = states.get(&TypeId::of::<T>()).cloned();
        match state.and_then(|state| state.downcast().ok()) {
            Some(state) => Ok(State(state)),
            None => Err(misuse(std::any::type_name::<T>(), "a plugin with .state(…) of that type")),
        }
    }
}

impl Extract for Arc<Catalogue> {
    fn extract(context: &Context) -> Result<Self, Error> {
        Ok(context.catalogue.clone())
    }
}

pub(crate) fn misuse(what: &str, needs: &str) -> Error {
    Error::give_up(format!("the handler's parameter {what} is only there for {needs}"))
}
