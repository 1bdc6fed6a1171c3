//! What travels beside a body, in our words and in AMQP's.

use lapin::BasicProperties;
use lapin::types::ShortString;
use protocol::Timestamp;

use crate::{Error, Properties};

/// The delivery mode of a message that survives the broker's restart.
const PERSISTENT: u8 = 2;

/// A message's properties as AMQP has them: persistent, JSON, published `at`.
///
/// # Errors
/// [`Error::TooLarge`] when one has more than 255 bytes.
pub(super) fn amqp(properties: &Properties, at: Timestamp) -> Result<BasicProperties, Error> {
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
    Ok(amqp)
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
    }
}

fn short(value: &str) -> Result<ShortString, Error> {
    let too_large = |_| Error::TooLarge { what: "a property of a message".to_owned(), bytes: value.len(), limit: 255 };
    ShortString::try_new(value).map_err(too_large)
}
