//! What a handler says, before it is known where that goes.

use protocol::{Lines, ReplyKind, Target};

/// Something to say. Without more it goes, as a message, to where the event came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub(crate) content: Lines,
    pub(crate) kind: ReplyKind,
    pub(crate) to: Place,
    pub(crate) rank: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    Back,
    Private,
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
        Reply { content, kind: ReplyKind::Chat, to: Place::Back, rank: 0 }
    }

    /// As an action (`/me`).
    #[must_use]
    pub fn action(self) -> Self {
        Reply { kind: ReplyKind::Action, ..self }
    }

    /// As a notice, which no bot answers.
    #[must_use]
    pub fn notice(self) -> Self {
        Reply { kind: ReplyKind::Notice, ..self }
    }

    /// As one of the kinds.
    #[must_use]
    pub fn kind(self, kind: ReplyKind) -> Self {
        Reply { kind, ..self }
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
