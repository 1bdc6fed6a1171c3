//! Events: what happened, as a routing key and one flat JSON object. One type for each body, and [`Event`] around them.

use std::collections::BTreeMap;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::{Lines, ReplyKind, RoutingKey, Timestamp};

/// An event on its way: key, id and body. The body stays the bytes that were published, so fields that this version
/// does not know reach whoever does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub key: RoutingKey,
    /// Unique; the same however often the event is delivered.
    pub id: Uuid,
    /// A flat JSON object.
    pub body: Bytes,
}

/// A message that is not what its key says.
#[derive(Debug, Error)]
#[error("malformed {what}: {why}")]
pub struct Malformed {
    /// What it should have been.
    pub what: String,
    /// What the JSON parser says is wrong with it, and where.
    pub why: serde_json::Error,
}

impl Event {
    /// Puts an event together; `body` should carry the same id in a field `id`.
    ///
    /// # Errors
    /// [`Malformed`] when the body can't be written as JSON (a map with keys that are no strings, for example).
    pub fn new(key: RoutingKey, id: Uuid, body: &impl Serialize) -> Result<Self, Malformed> {
        let body = serde_json::to_vec(body).map_err(|why| Malformed { what: key.to_string(), why })?;
        Ok(Event { key, id, body: body.into() })
    }

    /// Reads the body as what the key promises.
    ///
    /// # Errors
    /// [`Malformed`] when it is no JSON, nested more than 128 deep, or lacks a field that `T` needs.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Malformed> {
        serde_json::from_slice(&self.body).map_err(|why| Malformed { what: self.key.to_string(), why })
    }
}

/// What every chat event begins with: when and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Head {
    /// UUIDv7: unique, and sorts by time. Of a message to which the network has given an id, always the same.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// The network's name as configured.
    pub network: String,
    /// The channel as said, not case-folded; in a private message the sender's nick.
    pub channel: String,
    /// The connector's session with the network; new at each connection.
    #[serde(default)]
    pub session: Option<Uuid>,
    /// Counts the session's events from 1 without a gap: a gap proves a loss.
    #[serde(default)]
    pub seq: Option<u64>,
}

/// Body of `chat.<proto>.<channel>.chat`, `.action` and `.notice`: somebody said something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Chat {
    /// When and where.
    #[serde(flatten)]
    pub head: Head,
    /// The speaker's nick.
    pub source: String,
    /// What was said, without the bot's nick where it was addressed; of a message of several lines (IRCv3 `multiline`) with
    /// `\n` between them.
    pub content: String,
    /// What was said, to the letter; only when a prefix was removed from `content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The key of the speaker's identity (network and services account); null without an account.
    #[serde(default)]
    pub source_id: Option<Uuid>,
    /// The bot was spoken to: by name at the beginning of the line, or in private.
    #[serde(default)]
    pub direct: bool,
    /// Said to the bot alone.
    #[serde(default)]
    pub private: bool,
    /// The speaker's services account; null when not logged in or not known.
    #[serde(default)]
    pub account: Option<String>,
    /// The network's id of the message (IRCv3 `msgid`); null where it has none.
    #[serde(default)]
    pub msgid: Option<String>,
    /// Said to those of the channel alone who have this rank, or a higher one: its mark, as in `@`. Left out when
    /// said to all. An answer for the same people goes to the mark and the channel: `@#rust`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The network says that the speaker is a bot (IRCv3 `bot-mode`); absent if it doesn't.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bot: bool,
    /// It was not heard when it was said, but comes out of the network's history (IRCv3 `chathistory`); absent if it was
    /// heard. Handlers don't get it unless they ask for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

impl Chat {
    /// A line said in a channel, to nobody in particular, by somebody of whom only the nick is known.
    pub fn new(head: Head, source: &str, content: &str) -> Self {
        Chat {
            head,
            source: source.to_owned(),
            content: content.to_owned(),
            raw: None,
            source_id: None,
            direct: false,
            private: false,
            account: None,
            msgid: None,
            status: None,
            bot: false,
            replayed: false,
        }
    }
}

/// Body of `chat.<proto>.<channel>.join`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Join {
    /// When and where.
    #[serde(flatten)]
    pub head: Head,
    /// Who came in.
    pub user: String,
    /// It was the bot itself.
    #[serde(default)]
    pub is_me: bool,
    /// Their services account; absent when not logged in or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// Body of `chat.<proto>.<channel>.leave`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Leave {
    /// When and where.
    #[serde(flatten)]
    pub head: Head,
    /// Who left.
    pub user: String,
    /// How.
    #[serde(rename = "type")]
    pub kind: LeaveKind,
    /// Who kicked them; null otherwise.
    #[serde(default)]
    pub by: Option<String>,
    /// The parting words; null where there were none.
    #[serde(default)]
    pub reason: Option<String>,
    /// It was the bot itself, which learns nothing more of the channel; absent if it was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_me: bool,
}

/// How somebody left a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LeaveKind {
    /// Left the channel.
    Part,
    /// Left the network.
    Quit,
    /// Was thrown out of the channel.
    Kicked,
}

/// Body of `chat.<proto>.<channel>.nick`: one event for each channel that the bot shares with the user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Nick {
    /// When and where.
    #[serde(flatten)]
    pub head: Head,
    /// The nick before.
    pub user: String,
    /// The nick from now on.
    pub nick: String,
    /// It was the bot itself.
    #[serde(default)]
    pub is_me: bool,
    /// The marks of the rank that they have in the channel, before and after; absent without a rank.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Their services account; absent when not logged in or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// Body of `chat.<proto>.<channel>.topic`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Topic {
    /// When and where.
    #[serde(flatten)]
    pub head: Head,
    /// Who set it.
    pub user: String,
    /// The new topic; empty when it was removed.
    pub topic: String,
}

/// Body of `chat.<proto>.<channel>.mode`: the channel's modes were changed, or somebody's rank in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Mode {
    /// When and where.
    #[serde(flatten)]
    pub head: Head,
    /// Who changed them: a nick, or a server's name.
    pub user: String,
    /// What was changed, in order.
    pub modes: Vec<ModeChange>,
    /// Those of the channel whose rank was changed, as they are from now on; absent where it was nobody's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
}

/// A mode that was set or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModeChange {
    /// It was set; otherwise removed.
    pub set: bool,
    /// Its letter, whose meaning is the network's: `o` makes an operator.
    pub mode: char,
    /// Whom or what it is about, as the nick of `o` or the mask of `b`; null where it has none.
    #[serde(default)]
    pub parameter: Option<String>,
}

/// Body of `chat.<proto>.<channel>.account`: somebody in the channel logged in to a services account, or out of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// When and where.
    #[serde(flatten)]
    pub head: Head,
    /// Their nick.
    pub user: String,
    /// The account; null when they logged out.
    #[serde(default)]
    pub account: Option<String>,
    /// The key of the identity (network and account); null without an account.
    #[serde(default)]
    pub source_id: Option<Uuid>,
}

/// Body of `chat.<proto>.<channel>.invite`: the bot was invited to this channel, or somebody else to one that it is in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Invite {
    /// When and where to.
    #[serde(flatten)]
    pub head: Head,
    /// Who invited.
    pub by: String,
    /// Who was invited; absent when it was the bot itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Body of `chat.<proto>.<channel>.names`: who is here, a snapshot. After each join of the bot there is one as soon as the
/// list of names is complete (366), and one more when the server has told what was asked for then: the channel's modes, and,
/// where the server has WHOX, who is logged in to which account. What happens later is told by the other events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Names {
    /// When and where.
    #[serde(flatten)]
    pub head: Head,
    /// Everybody in the channel, the bot included, in no particular order.
    pub members: Vec<Member>,
    /// The topic; empty where there is none, null where it is not known.
    #[serde(default)]
    pub topic: Option<String>,
    /// Who has set it, as the network says it: a nick, an address or a server's name; null where it is not known.
    #[serde(default)]
    pub topic_by: Option<String>,
    /// When it was set; null where it is not known.
    #[serde(default)]
    pub topic_at: Option<Timestamp>,
    /// The modes that are set, lists as of bans left out; null where they are not known. The channel's key (`k`) is left
    /// out of its mode.
    #[serde(default)]
    pub modes: Option<Vec<ModeChange>>,
}

/// Somebody in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// The nick.
    pub nick: String,
    /// The marks of their rank as the network writes them (`@`, `+`, …), highest first; empty without a rank.
    pub prefix: String,
    /// Their services account; null when not logged in or not known.
    #[serde(default)]
    pub account: Option<String>,
}

/// Body of `connection.<proto>.<network>.up` and `.down`: the connector gained or lost a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// UUIDv7: unique, and sorts by time.
    pub id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// The network's name as configured.
    pub network: String,
    /// The bot's nick there.
    pub nick: String,
    /// The session that began or ended.
    pub session: Uuid,
    /// Why it ended; null when it began.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Body of `music.track`: a player began a track. (`music.stop` needs no field.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MusicTrack {
    /// The track's title.
    pub title: String,
    /// Who made it.
    #[serde(default)]
    pub artist: Option<String>,
    /// What it appeared on.
    #[serde(default)]
    pub album: Option<String>,
}

/// Body of `say.<route>`: anybody asks for this to be said where the route leads; and of `say.tags`: in every channel that
/// subscribes to one of its tags and blocks none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Say {
    /// A line, or a list of lines.
    pub content: Lines,
    /// How to say it.
    #[serde(default)]
    pub kind: ReplyKind,
    /// What it is about, as `github:org/repo`: only under the key `say.tags`. Without any it is said under `default`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// Body of `gap.<proto>.<network>`: events of this network were not kept, because the broker was away for longer than
/// the connector's journal has room. They are gone; this tells what was among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// UUIDv7.
    pub id: Uuid,
    /// When there was room again.
    pub at: Timestamp,
    /// The network's name as configured.
    pub network: String,
    /// When the first of them was not kept.
    pub first: Timestamp,
    /// When the last of them was not kept.
    pub last: Timestamp,
    /// How many of each type, by the last word of their routing keys: `join`, `leave`, `chat`, …
    pub shed: BTreeMap<String, u64>,
}
