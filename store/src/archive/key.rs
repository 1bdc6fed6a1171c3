//! The key of a message: a number that holds its time, so the newest is the highest, on both engines. It is the message's
//! permalink, too, and means the same in every time zone.
//!
//! ```text
//! bit 62          20 19      10 9       0
//! ms since 1970      seq        event id
//! ```
//! Messages of one millisecond keep the order of their session (`seq`, modulo 1,024); the last bits are those of the event's
//! id. Two that agree in all of it are told apart by adding 1.

use protocol::Timestamp;

use super::Record;

/// The bits below the time.
const BELOW_TIME: u32 = 20;
const BELOW_SEQ: u32 = 10;
const SEQ_MASK: u64 = 0x3FF;
const ID_MASK: u128 = 0x3FF;
/// The latest time that a key can hold: in the year 2248. One that is later counts as this, one before 1970 as 1970.
const LATEST: i64 = (1 << (63 - BELOW_TIME)) - 1;

/// The key that a record should have.
pub fn of(record: &Record) -> i64 {
    let seq = record.seq.unwrap_or_default() & SEQ_MASK;
    let id = record.event_id.as_u128() & ID_MASK;
    first(record.at) | (seq << BELOW_SEQ) as i64 | id as i64
}

/// The lowest key that a message of this time can have.
pub fn first(at: Timestamp) -> i64 {
    at.millis().clamp(0, LATEST) << BELOW_TIME
}

/// Which of the messages of its millisecond it is, by its session, modulo 1,024.
pub fn seq(key: i64) -> u64 {
    (key >> BELOW_SEQ) as u64 & SEQ_MASK
}

/// When a message was said.
pub fn time(key: i64) -> Timestamp {
    Timestamp::from_millis(key >> BELOW_TIME)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::archive::Kind;

    fn record(at: i64, seq: u64, id: u128) -> Record {
        Record {
            event_id: Uuid::from_u128(id),
            at: Timestamp::from_millis(at),
            seq: Some(seq),
            network: "n".into(),
            channel: "#c".into(),
            kind: Kind::Chat,
            nick: "alice".into(),
            account: None,
            msgid: None,
            whom: None,
            text: String::new(),
        }
    }

    #[test]
    fn keys_are_in_the_order_of_time_then_of_the_session() {
        let records =
            [record(1_000, 4_100, 9), record(1_000, 4_101, 1), record(1_001, 0, 0), record(1_700_000_000_000, 1, 2)];
        let keys: Vec<i64> = records.iter().map(of).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        assert!(keys.iter().zip(&records).all(|(key, record)| time(*key) == record.at));
        assert!(keys[0] >= first(records[0].at) && keys[1] < first(records[2].at));
    }

    #[test]
    fn times_that_no_key_can_hold_are_the_nearest_that_one_can() {
        assert_eq!(first(Timestamp::from_millis(-5)), 0);
        assert!(of(&record(253_402_300_799_000, u64::MAX, u128::MAX)) == i64::MAX);
    }
}
