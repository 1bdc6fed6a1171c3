//! The ids and the order of imported lines, made so that a log that is imported again, or has grown since, stores only
//! what is new.
//!
//! An id is made of what a line says, where and when, and of how many equal lines had the same time before it; never of
//! the file's name or the line's number. Only lines of the present time are remembered: where a log's clock was set back, a
//! line that equals one said at the same time before counts as that one.

use std::collections::HashMap;

use uuid::Uuid;

use super::Why;
use crate::archive::{Kind, Record};

/// How many lines may have the same time. Old logs have times of a minute: 1,000 lines a second are no chat.
pub const MAX_LINES_OF_A_MOMENT: u64 = 65_536;

/// A table that a busy moment let grow beyond this is not kept, since emptying it takes as long as it is large.
const KEPT_CAPACITY: usize = 1_024;

/// The lines that have the time of the last one.
#[derive(Default)]
pub(super) struct Numbering {
    at: Option<i64>,
    lines: u64,
    equal: HashMap<Uuid, u64>,
}

impl Numbering {
    /// Gives `record` its id, and its place among the lines of its time unless it has one.
    pub(super) fn number(&mut self, record: &mut Record) -> Result<(), Why> {
        self.turn_to(record.at.millis());
        if self.lines == MAX_LINES_OF_A_MOMENT {
            return Err(Why::TooMany);
        }
        let content = content_id(record);
        let ordinal = self.equal.entry(content).or_insert(0);
        record.event_id = if *ordinal == 0 { content } else { Uuid::new_v5(&content, &ordinal.to_be_bytes()) };
        record.seq = record.seq.or(Some(self.lines));
        *ordinal += 1;
        self.lines += 1;
        Ok(())
    }

    fn turn_to(&mut self, at: i64) {
        if self.at == Some(at) {
            return;
        }
        (self.at, self.lines) = (Some(at), 0);
        if self.equal.capacity() > KEPT_CAPACITY {
            self.equal = HashMap::new();
        }
        self.equal.clear();
    }
}

/// UUIDv5 of what a line says, where and when. `\0` is in none of the parts.
fn content_id(record: &Record) -> Uuid {
    let at = record.at.millis().to_string();
    let channel = record.channel.to_ascii_lowercase();
    let whom = record.whom.as_deref().unwrap_or_default();
    let parts = ["log", &record.network, &channel, &at, word(record.kind), &record.nick, whom, &record.text];
    Uuid::new_v5(&Uuid::NAMESPACE_OID, parts.join("\0").as_bytes())
}

/// Part of the ids of what has been imported: never change one.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Chat => "chat",
        Kind::Action => "action",
        Kind::Notice => "notice",
        Kind::Join => "join",
        Kind::Part => "part",
        Kind::Quit => "quit",
        Kind::Kick => "kick",
        Kind::Nick => "nick",
        Kind::Topic => "topic",
        Kind::Mode => "mode",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Timestamp;

    fn record(at: i64, text: &str) -> Record {
        Record {
            event_id: Uuid::nil(),
            at: Timestamp::from_millis(at),
            seq: None,
            network: "libera".into(),
            channel: "#c".into(),
            kind: Kind::Chat,
            nick: "alice".into(),
            account: None,
            msgid: None,
            whom: None,
            text: text.into(),
        }
    }

    fn numbered(lines: &[(i64, &str)]) -> Vec<Record> {
        let mut numbering = Numbering::default();
        let number = |&(at, text): &(i64, &str)| {
            let mut record = record(at, text);
            numbering.number(&mut record).unwrap();
            record
        };
        lines.iter().map(number).collect()
    }

    #[test]
    fn equal_lines_of_one_time_differ_and_are_numbered_in_their_order() {
        let lines = numbered(&[(0, "hi"), (0, "ho"), (0, "hi"), (60_000, "hi")]);
        let ids: std::collections::HashSet<_> = lines.iter().map(|line| line.event_id).collect();
        assert_eq!(ids.len(), 4);
        assert_eq!(lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [Some(0), Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn a_log_that_has_grown_keeps_the_ids_it_had() {
        let short = [(0, "hi"), (0, "hi"), (1, "ho")];
        let long = [&short[..], &[(1, "ho"), (2, "hi")]].concat();
        assert_eq!(numbered(&short), numbered(&long)[..3]);
    }

    #[test]
    fn the_id_is_that_of_earlier_versions() {
        assert_eq!(numbered(&[(0, "hi")])[0].event_id.to_string(), "95adc751-afdb-509d-a2f0-368c7a26791a");
    }

    #[test]
    fn the_case_of_a_channel_makes_no_other_event() {
        let mut other = record(0, "hi");
        other.channel = "#C".into();
        Numbering::default().number(&mut other).unwrap();
        assert_eq!(other.event_id, numbered(&[(0, "hi")])[0].event_id);
    }

    #[test]
    fn one_moment_has_a_limit_and_the_next_begins_anew() {
        let mut numbering = Numbering::default();
        for n in 0..MAX_LINES_OF_A_MOMENT {
            numbering.number(&mut record(0, &n.to_string())).unwrap();
        }
        assert_eq!(numbering.number(&mut record(0, "one more")), Err(Why::TooMany));
        assert_eq!(numbering.number(&mut record(1, "later")), Ok(()));
        assert!(numbering.equal.capacity() <= KEPT_CAPACITY);
    }
}
