//! What travels beside a body, in our words and in AMQP's.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use protocol::Timestamp;

use crate::{Argument, Error, Properties};

/// The delivery mode of a message that survives the broker's restart.
const PERSISTENT: u8 = 2;

/// A message's properties as AMQP has them: persistent, JSON, published `at`.
///
/// # Errors
/// [`Error::TooLarge`] when one has more than 255 bytes.
pub(super) fn amqp(properties: &Properties, at: Timestamp) -> Result<BasicProperties, Error> {
    let at = properties.published_at.unwrap_or(at);
    let seconds = u64::try_from(at.millis() / 1000).unwrap_or(0);
    let mut amqp = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(seconds);
    if let Some(value) = &properties.message_id {
        amqp = amqp.with_message_id(short(value)?);
    }
    if let Some(value) = &properties.kind {
        amqp = amqp.with_type(short(value)?);
    }
    if let Some(value) = &properties.correlation_id {
        amqp = amqp.with_correlation_id(short(value)?);
    }
    if let Some(value) = &properties.reply_to {
        amqp = amqp.with_reply_to(short(value)?);
    }
    if let Some(value) = &properties.app_id {
        amqp = amqp.with_app_id(short(value)?);
    }
    if !properties.headers.is_empty() {
        amqp = amqp.with_headers(table(properties.headers.iter().map(|(name, value)| (name.as_str(), value)))?);
    }
    Ok(amqp)
}

/// Named values as AMQP has them.
///
/// # Errors
/// [`Error::TooLarge`] when a name has more than 255 bytes.
pub(super) fn table<'a>(values: impl Iterator<Item = (&'a str, &'a Argument)>) -> Result<FieldTable, Error> {
    let mut table = FieldTable::default();
    for (name, value) in values {
        let value = match value {
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
            Argument::Word(word) => AMQPValue::LongString(LongString::from(word.as_str())),
            Argument::Flag(flag) => AMQPValue::Boolean(*flag),
        };
        table.insert(short(name)?, value);
    }
    Ok(table)
}

/// The headers that we have a type for.
fn headers(table: &FieldTable) -> BTreeMap<String, Argument> {
    let header = |(name, value): (&ShortString, &AMQPValue)| {
        let value = match value {
            AMQPValue::LongString(word) => Argument::Word(String::from_utf8_lossy(word.as_bytes()).into_owned()),
            AMQPValue::ShortString(word) => Argument::Word(word.as_str().to_owned()),
            AMQPValue::Boolean(flag) => Argument::Flag(*flag),
            AMQPValue::LongLongInt(number) => Argument::Number(*number),
            AMQPValue::LongInt(number) => Argument::Number(i64::from(*number)),
            AMQPValue::LongUInt(number) => Argument::Number(i64::from(*number)),
            AMQPValue::ShortInt(number) => Argument::Number(i64::from(*number)),
            AMQPValue::ShortUInt(number) => Argument::Number(i64::from(*number)),
            AMQPValue::ShortShortInt(number) => Argument::Number(i64::from(*number)),
            AMQPValue::ShortShortUInt(number) => Argument::Number(i64::from(*number)),
            _ => return None,
        };
        Some((name.as_str().to_owned(), value))
    };
    table.inner().iter().filter_map(header).collect()
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

/// What we keep of a message's properties.
pub(super) fn ours(amqp: &BasicProperties) -> Properties {
    let text = |value: &Option<ShortString>| value.as_ref().map(|value| value.as_str().to_owned());
    Properties {
        message_id: text(amqp.message_id()),
        kind: text(amqp.kind()),
        correlation_id: text(amqp.correlation_id()),
        reply_to: text(amqp.reply_to()),
        app_id: text(amqp.app_id()),
        published_at: amqp.timestamp().and_then(|seconds| i64::try_from(seconds).ok()).map(seconds),
        headers: amqp.headers().as_ref().map(headers).unwrap_or_default(),
    }
}

fn short(value: &str) -> Result<ShortString, Error> {
    let too_large = |_| Error::TooLarge { what: "a property of a message".to_owned(), bytes: value.len(), limit: 255 };
    ShortString::try_new(value).map_err(too_large)
}
