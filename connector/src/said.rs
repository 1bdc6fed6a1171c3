//! Which replies were said, and how much of them: what is delivered twice is said once, and what was cut off goes on
//! where it ended.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::heard::Places;
use crate::recent::Recent;

/// How many replies are remembered: at 50 a second the last 20 minutes, in about 6 MB.
const REMEMBERED: usize = 65_536;

/// How much of a reply was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// So many of its lines, from the first on.
    Lines(u32),
    /// All there is to say.
    Whole,
}

/// The last replies said.
pub(crate) struct Said {
    known: Recent<Uuid, Progress>,
}

impl Default for Said {
    fn default() -> Self {
        Said { known: Recent::new(REMEMBERED) }
    }
}

impl Said {
    /// How much of it was said.
    pub fn progress(&self, id: Uuid) -> Progress {
        self.known.get(&id).copied().unwrap_or(Progress::Lines(0))
    }

    /// So much of it was said; less than before changes nothing.
    pub fn note(&mut self, id: Uuid, progress: Progress) {
        let known = self.known.note(id, || progress);
        *known = progress.max(*known);
    }
}

/// What one message on the stream of what was said tells.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Replies, or the beginnings of replies, that the server took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Entry>,
    /// Who writes from here on: a secret that whoever reads this later can call upon them with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Uuid>,
    /// Of all answers to an event, the one that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// Up to when everything was heard, in the places where that has changed.
    #[serde(default, skip_serializing_if = "Places::is_empty")]
    pub heard: Places,
}

/// A reply that was said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    id: Uuid,
    /// How many of its lines; without it the whole reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lines: Option<u32>,
}

/// Whose answer to an event is said, where only the best one is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chosen {
    /// The event.
    pub event: Uuid,
    /// The handler whose answer it is.
    pub handler: String,
}

impl Entry {
    pub fn new(id: Uuid, progress: Progress) -> Self {
        let lines = match progress {
            Progress::Lines(lines) => Some(lines),
            Progress::Whole => None,
        };
        Entry { id, lines }
    }

    pub fn id(&self) -> Uuid {
        self.id
    }

    pub fn progress(&self) -> Progress {
        self.lines.map_or(Progress::Whole, Progress::Lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_only_grows() {
        let (mut said, id) = (Said::default(), Uuid::from_u128(1));
        assert_eq!(said.progress(id), Progress::Lines(0));
        for (noted, known) in [(3, 3), (2, 3), (4, 4)] {
            said.note(id, Progress::Lines(noted));
            assert_eq!(said.progress(id), Progress::Lines(known));
        }
        said.note(id, Progress::Whole);
        said.note(id, Progress::Lines(9));
        assert_eq!(said.progress(id), Progress::Whole);
    }

    #[test]
    fn only_the_last_replies_are_remembered() {
        let mut said = Said::default();
        for n in 0..=REMEMBERED as u128 {
            said.note(Uuid::from_u128(n), Progress::Whole);
        }
        assert_eq!(said.known.len(), REMEMBERED);
        assert_eq!(said.progress(Uuid::from_u128(0)), Progress::Lines(0));
        assert_eq!(said.progress(Uuid::from_u128(REMEMBERED as u128)), Progress::Whole);
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let said =
            vec![Entry::new(Uuid::from_u128(1), Progress::Lines(2)), Entry::new(Uuid::from_u128(2), Progress::Whole)];
        let written = serde_json::to_string(&Record { said, ..Record::default() }).unwrap();
        let read: Record = serde_json::from_str(&written).unwrap();
        let read: Vec<_> = read.said.iter().map(|entry| (entry.id().as_u128(), entry.progress())).collect();
        assert_eq!(read, [(1, Progress::Lines(2)), (2, Progress::Whole)]);
    }
}
