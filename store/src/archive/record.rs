//! One line of the archive: who did what in which channel, and when. Plain data, the same for both engines, for search
//! and for export.

use protocol::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An event as the archive keeps it. Two records with the same `event_id` are the same event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Unique; what is stored twice under one id is there once.
    pub event_id: Uuid,
    /// When it happened, in milliseconds.
    pub at: Timestamp,
    /// The order among events of one moment, ascending.
    pub seq: Option<u64>,
    /// The network's name in the configuration.
    pub network: String,
    /// The channel's name.
    pub channel: String,
    /// What was done.
    pub kind: Kind,
    /// Who did it: for a kick, who kicked; for a change of nick, the old one.
    pub nick: String,
    /// The services account of who did it, if the network told it.
    pub account: Option<String>,
    /// The network's own id of the message.
    pub msgid: Option<String>,
    /// Who was kicked.
    pub whom: Option<String>,
    /// What was said with its formatting codes; the topic; the reason of a part, quit or kick; the new nick; for modes
    /// `+o-v alice bob`. Empty where there is none.
    pub text: String,
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Something said.
    Chat,
    /// `/me`.
    Action,
    /// A notice.
    Notice,
    /// Somebody came.
    Join,
    /// Somebody left the channel.
    Part,
    /// Somebody left the network.
    Quit,
    /// Somebody was thrown out.
    Kick,
    /// Somebody took another nick.
    Nick,
    /// The topic changed.
    Topic,
    /// Modes changed.
    Mode,
}

/// All kinds, by the number that they have in the database; a number is never given to another kind.
const NUMBERED: [(i16, Kind); 10] = [
    (0, Kind::Chat),
    (1, Kind::Action),
    (2, Kind::Notice),
    (3, Kind::Join),
    (4, Kind::Part),
    (5, Kind::Quit),
    (6, Kind::Kick),
    (7, Kind::Nick),
    (8, Kind::Topic),
    (9, Kind::Mode),
];

impl Kind {
    /// Somebody said something.
    pub fn is_said(self) -> bool {
        matches!(self, Kind::Chat | Kind::Action | Kind::Notice)
    }

    pub(crate) fn number(self) -> i16 {
        NUMBERED.iter().find(|(_, kind)| *kind == self).map_or(0, |(number, _)| *number)
    }

    pub(crate) fn numbered(number: i16) -> Option<Self> {
        NUMBERED.iter().find(|(other, _)| *other == number).map(|(_, kind)| *kind)
    }
}
