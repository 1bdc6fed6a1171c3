//! An event as it is written in the journal: the length of its key in one byte, the key, the id, the body.

use bytes::Bytes;
use protocol::{Event, RoutingKey};
use uuid::Uuid;

const ID_BYTES: usize = 16;

/// Appends the event.
pub(super) fn write(event: &Event, buffer: &mut Vec<u8>) {
    let key = event.key.as_str().as_bytes();
    // a key has at most 255 bytes
    buffer.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    buffer.extend_from_slice(key);
    buffer.extend_from_slice(event.id.as_bytes());
    buffer.extend_from_slice(&event.body);
}

/// Reads the event; `None` when it was written by something else.
pub(super) fn read(record: &Bytes) -> Option<Event> {
    let key_end = 1 + usize::from(*record.first()?);
    let body = key_end + ID_BYTES;
    let key = std::str::from_utf8(record.get(1..key_end)?).ok()?;
    let id = Uuid::from_slice(record.get(key_end..body)?).ok()?;
    Some(Event { key: RoutingKey::parse(key).ok()?, id, body: record.slice(body..) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_it_was_written_and_nonsense_is_none() {
        let key = RoutingKey::parse(&format!("chat.{}", "x".repeat(250))).unwrap();
        let event = Event { key, id: Uuid::from_u128(7), body: Bytes::from_static(b"{\"a\":\"\\u0000\"}") };
        let mut buffer = Vec::new();
        write(&event, &mut buffer);
        let record = Bytes::from(buffer);
        assert_eq!(read(&record), Some(event));
        for length in 0..272 {
            assert_eq!(read(&record.slice(..length)), None, "{length}");
        }
        assert_eq!(read(&Bytes::from_static(b"\x03a..0123456789abcdef{}")), None);
    }
}
