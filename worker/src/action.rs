//! What a handler wants done beside saying something, before it is known where.

use std::collections::BTreeMap;

use protocol::{Deed, Target};

use crate::Reply;
use crate::reply::{Place, What};

/// The tag of a reaction (IRCv3 client tag `react`).
pub(crate) const REACT: &str = "+draft/react";
/// The tag of who is typing (IRCv3 client tag `typing`).
const TYPING: &str = "+typing";

/// Something to do. Without more it is done in the channel that the event came from. It is done once, however often the
/// handler runs, and only if the connector's configuration allows it to the worker's group.
///
/// What the server refuses (the bot is no operator, nobody is there by that nick) is a dead letter with the server's reason;
/// the handler is not told.
///
/// ```
/// use worker::{Action, Plugin, Sender, testing::FakeChat, trigger};
///
/// async fn out(sender: Sender) -> (Action, String) {
///     (Action::kick(&sender.nick).reason("no spam here"), format!("{} had to go", sender.nick))
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let mut chat = FakeChat::with([Plugin::new("guard").on(trigger("cheap watches"), out)]).await;
/// chat.says("mallory", "buy cheap watches").await;
/// chat.does(Action::kick("mallory").reason("no spam here")).hears("mallory had to go");
/// # });
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a handler does what it returns"]
pub struct Action {
    pub(crate) deed: Deed,
    pub(crate) to: Place,
}

impl Action {
    /// Comes into a channel of the network that the event came from, and stays there until the bot's process ends.
    pub fn join(channel: impl Into<String>) -> Self {
        let to = Place::Beside(channel.into());
        Action { deed: Deed::Join { channel: String::new(), key: None }, to }
    }

    /// Leaves the channel, until the bot's process ends.
    pub fn part() -> Self {
        Action::here(Deed::Part { channel: String::new(), reason: None })
    }

    /// Sets the channel's topic; an empty one removes it.
    pub fn topic(topic: impl Into<String>) -> Self {
        Action::here(Deed::Topic { channel: String::new(), topic: topic.into() })
    }

    /// Changes the channel's modes, as in `Action::mode("+ov", ["alice", "bob"])`; 20 parameters at most.
    pub fn mode(modes: impl Into<String>, parameters: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let parameters = parameters.into_iter().map(Into::into).collect();
        Action::here(Deed::Mode { channel: String::new(), modes: modes.into(), parameters })
    }

    /// Throws somebody out of the channel.
    pub fn kick(nick: impl Into<String>) -> Self {
        Action::here(Deed::Kick { channel: String::new(), nick: nick.into(), reason: None })
    }

    /// Invites somebody to the channel.
    pub fn invite(nick: impl Into<String>) -> Self {
        Action::here(Deed::Invite { channel: String::new(), nick: nick.into() })
    }

    /// Goes by another nick until the connection ends: with the embedded broker only. Elsewhere the bot goes by its own.
    pub fn nick(nick: impl Into<String>) -> Self {
        Action::here(Deed::Nick { nick: nick.into() })
    }

    /// Reacts to what was said (IRCv3 `+draft/react`), where the network has message tags; nothing elsewhere.
    pub fn react(reaction: impl Into<String>) -> Self {
        Action::tags([(REACT, reaction.into())])
    }

    /// Shows for some seconds that the bot is typing (IRCv3 `+typing`), where the network has message tags.
    pub fn typing() -> Self {
        Action::tags([(TYPING, "active")])
    }

    /// Sends client-only tags without a text (IRCv3 `TAGMSG`); their names begin with `+`.
    pub fn tags(tags: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        let tags: BTreeMap<String, String> =
            tags.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Action::here(Deed::Tag { channel: String::new(), tags })
    }

    /// Sends a line as it is, if the configuration lets this group.
    pub fn raw(line: impl Into<String>) -> Self {
        Action::here(Deed::Raw { line: line.into() })
    }

    /// Why: of a kick and a part.
    pub fn reason(mut self, why: impl Into<String>) -> Self {
        if let Deed::Kick { reason, .. } | Deed::Part { reason, .. } = &mut self.deed {
            *reason = Some(why.into());
        }
        self
    }

    /// The channel's key: of a join.
    pub fn key(mut self, word: impl Into<String>) -> Self {
        if let Deed::Join { key, .. } = &mut self.deed {
            *key = Some(word.into());
        }
        self
    }

    /// In another channel of the network that the event came from.
    pub fn in_channel(self, channel: impl Into<String>) -> Self {
        Action { to: Place::Beside(channel.into()), ..self }
    }

    /// In this channel, of whichever network.
    pub fn to(self, target: Target) -> Self {
        Action { to: Place::Elsewhere(target), ..self }
    }

    fn here(deed: Deed) -> Self {
        Action { deed, to: Place::Back }
    }
}

impl From<Action> for Reply {
    fn from(Action { deed, to }: Action) -> Self {
        Reply { what: What::Do(deed), to, rank: 0 }
    }
}

/// Says where it is done.
pub(crate) fn in_channel(mut deed: Deed, place: String) -> Deed {
    match &mut deed {
        Deed::Join { channel, .. }
        | Deed::Part { channel, .. }
        | Deed::Topic { channel, .. }
        | Deed::Mode { channel, .. }
        | Deed::Kick { channel, .. }
        | Deed::Invite { channel, .. }
        | Deed::Tag { channel, .. } => *channel = place,
        Deed::Nick { .. } | Deed::Raw { .. } => {}
    }
    deed
}
