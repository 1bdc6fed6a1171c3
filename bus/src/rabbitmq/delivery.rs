//! A message as RabbitMQ delivers it becomes ours. Any client may have published it: whatever is odd about it is left
//! out, nothing is taken for granted.

use std::sync::Arc;

use lapin::types::{AMQPValue, FieldTable};

use super::properties;
use crate::{Delivery, Settle};

/// Counts how often a quorum queue delivered a message that then came back.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// The same since RabbitMQ 4.3, where `x-delivery-count` counts failures only.
const ACQUIRED_COUNT: &str = "x-acquired-count";
/// The story of a dead letter, the latest death first.
const DEATHS: &str = "x-death";

/// Makes a delivery from this queue that is settled through `settle`.
pub(super) fn delivery(delivery: lapin::message::Delivery, queue: Arc<str>, settle: Arc<dyn Settle>) -> Delivery {
    let headers = delivery.properties.headers().as_ref();
    let key = headers.and_then(first_key).unwrap_or_else(|| delivery.routing_key.as_str().into());
    let attempts = attempts(headers, delivery.redelivered);
    let properties = properties::ours(&delivery.properties);
    Delivery::new(key, properties, delivery.data.into(), attempts, settle, delivery.delivery_tag).from_queue(queue)
}

fn attempts(headers: Option<&FieldTable>, redelivered: bool) -> u32 {
    let counted = |name| headers.and_then(|headers| headers.inner().get(name)).and_then(number).unwrap_or(0);
    counted(DELIVERY_COUNT).max(counted(ACQUIRED_COUNT)).max(u32::from(redelivered))
}

/// The key that a dead letter was first published with.
fn first_key(headers: &FieldTable) -> Option<Arc<str>> {
    let AMQPValue::FieldArray(deaths) = headers.inner().get(DEATHS)? else { return None };
    let AMQPValue::FieldTable(first) = deaths.as_slice().last()? else { return None };
    let AMQPValue::FieldArray(keys) = first.inner().get("routing-keys")? else { return None };
    match keys.as_slice().first()? {
        AMQPValue::LongString(key) => std::str::from_utf8(key.as_bytes()).ok().map(Arc::from),
        _ => None,
    }
}

fn number(value: &AMQPValue) -> Option<u32> {
    match value {
        AMQPValue::LongLongInt(number) => u32::try_from(*number).ok(),
        AMQPValue::LongInt(number) => u32::try_from(*number).ok(),
        AMQPValue::LongUInt(number) => Some(*number),
        AMQPValue::ShortInt(number) => u32::try_from(*number).ok(),
        AMQPValue::ShortUInt(number) => Some(u32::from(*number)),
        AMQPValue::ShortShortInt(number) => u32::try_from(*number).ok(),
        AMQPValue::ShortShortUInt(number) => Some(u32::from(*number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(count: AMQPValue) -> FieldTable {
        let mut headers = FieldTable::default();
        headers.insert(DELIVERY_COUNT.into(), count);
        headers
    }

    #[test]
    fn attempts_are_counted_by_the_queue_else_known_from_the_mark_of_redelivery() {
        assert_eq!(attempts(None, false), 0);
        assert_eq!(attempts(None, true), 1);
        assert_eq!(attempts(Some(&headers(AMQPValue::LongLongInt(3))), true), 3);
    }

    #[test]
    fn odd_headers_are_left_out() {
        for odd in [AMQPValue::LongLongInt(-1), AMQPValue::Void, AMQPValue::LongString("7".into())] {
            assert_eq!(attempts(Some(&headers(odd.clone())), true), 1);
            let mut headers = FieldTable::default();
            headers.insert(DEATHS.into(), odd);
            assert_eq!(first_key(&headers), None);
        }
    }
}
