//! Which of a group's partitions an event belongs to, so that one worker after the other sees what happens in a
//! channel.

use std::borrow::Cow;

use protocol::{Event, RoutingKey};
use serde::Deserialize;

/// How many partitions the events of an ordered group have.
pub const PARTITIONS: u32 = 16;

/// The header that tells the partition: a text, from `0` to `15`. An event without it belongs to partition 0.
pub const PARTITION_HEADER: &str = "partition";

/// The partition of what happens in a channel: the CRC-32 (that of zip and PNG) of the network's name, `/`, and the
/// channel as it is written in the routing key, modulo 16. In Python:
/// `str(zlib.crc32(f"{network}/{channel}".encode()) % 16)`.
pub fn partition(network: &str, channel: &str) -> u32 {
    let mut hash = crc32fast::Hasher::new();
    for part in [network, "/", channel] {
        hash.update(part.as_bytes());
    }
    hash.finalize() % PARTITIONS
}

/// The partition of an event; `None` for one that happened in no channel.
pub(crate) fn partition_of(event: &Event) -> Option<u32> {
    #[derive(Deserialize)]
    struct Somewhere<'a> {
        #[serde(borrow)]
        network: Cow<'a, str>,
    }
    event.key.chat_kind()?;
    // a body that makes no sense is the handlers' business
    let somewhere: Somewhere<'_> = event.decode().ok()?;
    partition_on(&somewhere.network, &event.key)
}

/// The partition of what happened on a network; `None` for what happened in no channel.
pub(crate) fn partition_on(network: &str, key: &RoutingKey) -> Option<u32> {
    key.chat_kind()?;
    key.words().nth(2).map(|channel| partition(network, channel))
}

#[cfg(test)]
mod tests {
    use protocol::{ChatKind, RoutingKey, foreign_uuid};

    use super::*;

    #[test]
    fn other_languages_come_to_the_same_partition() {
        // Python: zlib.crc32(f"{network}/{channel}".encode()) % 16
        let expected = [
            (("libera", "#rust"), 10),
            (("libera", "#rust%2Edev"), 11),
            (("oftc", "alice"), 14),
            (("test", "#c"), 5),
            (("", ""), 4),
        ];
        for ((network, channel), partition) in expected {
            assert_eq!(super::partition(network, channel), partition, "{network}/{channel}");
        }
    }

    #[test]
    fn what_happens_in_a_channel_has_its_partition_and_anything_else_none() {
        let event = |key: RoutingKey, body: serde_json::Value| Event::new(key, foreign_uuid("1"), &body).unwrap();
        let key = |kind| RoutingKey::chat("irc", "#rust.dev", kind);
        for kind in [ChatKind::Chat, ChatKind::Join, ChatKind::Names] {
            let body = serde_json::json!({ "network": "libera", "channel": "#Rust.dev" });
            assert_eq!(partition_of(&event(key(kind), body)), Some(11));
        }
        let nowhere = event(RoutingKey::parse("music.track").unwrap(), serde_json::json!({ "network": "libera" }));
        assert_eq!(partition_of(&nowhere), None);
        for odd in [serde_json::json!({}), serde_json::json!([1]), serde_json::json!({ "network": 7 })] {
            assert_eq!(partition_of(&event(key(ChatKind::Chat), odd)), None);
        }
    }
}
