//! What crosses the broker: events, replies, actions, routing keys and patterns, their ids, and text that is safe on an IRC line.
//!
//! Pure data: no I/O, no async, no clock of its own. Every role of pubbot meets the others only here, so whatever is
//! written down in this crate is the contract that a worker in any language relies on (version 1).

mod action;
mod ambient;
mod event;
pub mod formatting;
mod ids;
mod irc_text;
mod key;
mod pattern;
mod reply;
mod request;
mod schema;
mod target;
mod timestamp;

pub use action::{Action, ActionError, Deed, DeedKind, MAX_CLIENT_TAG_BYTES, MAX_MODE_PARAMETERS, client_tags};
pub use ambient::Ambient;
pub use event::{
    Account, Chat, Connection, Event, Gap, Head, Invite, Join, Leave, LeaveKind, Malformed, Member, Mode, ModeChange,
    MusicTrack, Names, Nick, Say, Topic,
};
pub use ids::{event_id, foreign_reply_id, foreign_uuid, message_event_id, reply_id, source_id};
pub use irc_text::IrcText;
pub use key::{ChatKind, KeyError, MAX_KEY_BYTES, RoutingKey, channel_word};
pub use pattern::{Pattern, PatternError, PatternTree};
pub use reply::{Lines, Reply, ReplyContext, ReplyKind, more_lines};
pub use request::Request;
pub use schema::schemas;
pub use target::{MAX_TARGET_BYTES, Target, TargetError, check_destination, check_network};
pub use timestamp::Timestamp;
