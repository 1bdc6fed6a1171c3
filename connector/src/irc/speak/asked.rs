//! What actions ask for that changes what the session keeps: where the bot is to be, and under which nick. It is noted before
//! the line is written, so that the session knows of it when it hears the server's answer.

use std::sync::{Arc, Mutex, PoisonError};

use protocol::Deed;

use crate::Secret;
use crate::irc::{Answers, Channel};

/// The session looks at every message, and no more lines than this can be under way before it hears one.
const MAX_CHANGES: usize = 1_000;

/// Something that was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// To be in this channel from now on.
    Join(Channel),
    /// To be there no longer.
    Part(String),
    /// To go by this nick.
    Nick(String),
}

impl Change {
    /// What doing this changes, if it changes anything.
    pub fn of(deed: &Deed) -> Option<Self> {
        match deed {
            Deed::Join { channel, key } => {
                let key = key.as_deref().map(Secret::new);
                Some(Change::Join(Channel { name: channel.clone(), key, answers: Answers::All }))
            }
            Deed::Part { channel, .. } => Some(Change::Part(channel.clone())),
            Deed::Nick { nick } => Some(Change::Nick(nick.clone())),
            _ => None,
        }
    }
}

/// What was asked for and the session has not seen yet; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<Change>>>);

impl Asked {
    /// The line that asks for it is about to be written.
    pub fn note(&self, change: Change) {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() < MAX_CHANGES {
            changes.push(change);
        }
    }

    /// What is new since the last look.
    pub fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
