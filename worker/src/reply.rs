//! What a handler says, before it is known where that goes.

use protocol::{Deed, Lines, ReplyKind, Target};
use serde::{Deserialize, Serialize};

/// Something to say, or to do ([`Action`](crate::Action)). Without more it goes, as a message, to where the event came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    pub(crate) what: What,
    pub(crate) to: Place,
    pub(crate) rank: i64,
}

/// What a reply is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum What {
    Say {
        content: Lines,
        kind: ReplyKind,
    },
    /// In a channel that is named when it is published.
    Do(Deed),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Place {
    Back,
    Private,
    /// A channel on the network where the event comes from.
    Beside(String),
    Elsewhere(Target),
}

impl Reply {
    /// A message of one line. (A line end in it makes several.)
    pub fn text(content: impl Into<String>) -> Self {
        Reply::lines([content.into()])
    }

    /// A message of several lines, said together.
    pub fn lines(lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let content = Lines(lines.into_iter().map(Into::into).collect());
        Reply { what: What::Say { content, kind: ReplyKind::Chat }, to: Place::Back, rank: 0 }
    }

    /// As an action (`/me`).
    #[must_use]
    pub fn action(self) -> Self {
        self.kind(ReplyKind::Action)
    }

    /// As a notice, which no bot answers.
    #[must_use]
    pub fn notice(self) -> Self {
        self.kind(ReplyKind::Notice)
    }

    /// As one of the kinds.
    #[must_use]
    pub fn kind(mut self, new: ReplyKind) -> Self {
        if let What::Say { kind, .. } = &mut self.what {
            *kind = new;
        }
        self
    }

    /// To the sender alone.
    #[must_use]
    pub fn private(self) -> Self {
        Reply { to: Place::Private, ..self }
    }

    /// To another channel or person.
    #[must_use]
    pub fn to(self, target: Target) -> Self {
        Reply { to: Place::Elsewhere(target), ..self }
    }

    /// How good an answer this is, where only the best is said. Higher is better; 0 is usual.
    #[must_use]
    pub fn rank(self, rank: i64) -> Self {
        Reply { rank, ..self }
    }
}

impl<T: Into<String>> From<T> for Reply {
    fn from(text: T) -> Self {
        Reply::text(text)
    }
}
