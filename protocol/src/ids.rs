//! How ids are made. An id that can be computed again is what lets a handler run twice and say one thing.

use uuid::Uuid;

use crate::{Ambient, RoutingKey, Timestamp};

/// A new event's id: UUIDv7 (RFC 9562, section 5.7), so ids sort by the time they were made.
pub fn event_id(ambient: &dyn Ambient) -> Uuid {
    let millis = u64::try_from(ambient.now().millis()).unwrap_or(0);
    let (high, low) = (ambient.random().to_be_bytes(), ambient.random().to_be_bytes());
    let random = [high[0], high[1], high[2], high[3], high[4], high[5], high[6], high[7], low[0], low[1]];
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// The id of the event of a message to which its network has given an id: a UUIDv7 of when it was said, whose random part
/// is the beginning of the UUIDv5 of network, routing key and that id. So whoever hears of the message, at any time, makes
/// the same event of it.
pub fn message_event_id(at: Timestamp, network: &str, key: &RoutingKey, msgid: &str) -> Uuid {
    let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, [network, key.as_str(), msgid].join("\0").as_bytes());
    let beginning = name.as_bytes().first_chunk().copied().unwrap_or_default();
    let millis = u64::try_from(at.millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &beginning).into_uuid()
}

/// A reply's id: UUIDv5 of the event, the handler (`group/plugin/name`) and the reply's place among that handler's
/// replies, counted from 0. The same handler run again on the same event makes the same ids.
pub fn reply_id(event: Uuid, handler: &str, ordinal: usize) -> Uuid {
    Uuid::new_v5(&event, format!("{handler}\0{ordinal}").as_bytes())
}

/// The id of a reply that came without one: UUIDv5 of what it answers and of everything a listener could tell it by.
pub fn foreign_reply_id(in_reply_to: Uuid, app_id: &str, content: &str, kind: &str, target: &str) -> Uuid {
    Uuid::new_v5(&in_reply_to, [app_id, content, kind, target].join("\0").as_bytes())
}

/// An id for a foreign name that should be a UUID and isn't: the same name always gives the same id.
pub fn foreign_uuid(name: &str) -> Uuid {
    Uuid::parse_str(name).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
}

/// The key of an identity: UUIDv5 of a network's name and a services account, both as given.
pub fn source_id(network: &str, account: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{network}\0{account}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChatKind;

    struct Fixed;
    impl Ambient for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1_700_000_000_000)
        }
        fn random(&self) -> u64 {
            7
        }
    }

    #[test]
    fn an_event_id_is_a_version_7_uuid_that_begins_with_the_time() {
        let id = event_id(&Fixed);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.as_u128() >> 80, 1_700_000_000_000);
    }

    #[test]
    fn the_id_of_a_message_depends_on_network_place_and_msgid_and_begins_with_the_time() {
        let key = |channel| RoutingKey::chat("irc", channel, ChatKind::Chat);
        let at = Timestamp::from_millis(1_700_000_000_000);
        let id = message_event_id(at, "libera", &key("#a"), "x");
        assert_eq!((id.get_version_num(), id.as_u128() >> 80), (7, 1_700_000_000_000));
        assert_eq!(message_event_id(at, "libera", &key("#a"), "x"), id);
        for other in [("oftc", "#a", "x"), ("libera", "#b", "x"), ("libera", "#a", "y")] {
            assert_ne!(message_event_id(at, other.0, &key(other.1), other.2), id, "{other:?}");
        }
    }

    #[test]
    fn a_reply_id_depends_on_event_handler_and_ordinal_only() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(reply_id(a, "main/ping/ping", 0), reply_id(a, "main/ping/ping", 0));
        let others =
            [reply_id(b, "main/ping/ping", 0), reply_id(a, "main/ping/pong", 0), reply_id(a, "main/ping/ping", 1)];
        assert!(!others.contains(&reply_id(a, "main/ping/ping", 0)));
    }
}
