//! What comes in, read: an event with its id and time, and what was said. Anybody may publish events, so nothing is
//! taken for granted; what can't be read is told in words.

use bus::{Delivery, Past};
use protocol::{Chat, ChatKind, Event, RoutingKey, Timestamp, foreign_uuid};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A delivery that makes sense.
pub(crate) struct Incoming {
    pub(crate) event: Event,
    /// Its body, where somebody said something.
    pub(crate) chat: Option<Chat>,
    /// When it happened, or was published, or was taken from the dead letters to be tried again.
    pub(crate) at: Option<Timestamp>,
}

/// What every event must be: an object, which may have an id and a time.
#[derive(Deserialize)]
struct Identified {
    id: Option<String>,
    #[serde(default)]
    at: Option<When>,
}

/// Foreign events may have anything there.
#[derive(Deserialize)]
#[serde(untagged)]
enum When {
    At(Timestamp),
    Other(IgnoredAny),
}

impl Incoming {
    /// Reads a delivery.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(delivery: &Delivery, past: &Past<'_>) -> Result<Self, String> {
        let key = RoutingKey::parse(past.key).map_err(|why| format!("its key {:?}: {why}", past.key))?;
        let said = matches!(key.chat_kind(), Some(ChatKind::Chat | ChatKind::Action | ChatKind::Notice));
        let named = delivery.properties.message_id.as_deref().map(foreign_uuid);
        // the body stays as it came: whatever is in it besides is the handlers' business
        let mut event = Event { key, id: named.unwrap_or_default(), body: delivery.body.clone() };
        let (chat, at) = if said {
            let chat: Chat = event.decode().map_err(|why| why.to_string())?;
            event.id = named.unwrap_or(chat.head.id);
            let at = chat.head.at;
            (Some(chat), Some(at))
        } else {
            let body: Identified = event.decode().map_err(|why| why.to_string())?;
            if named.is_none() {
                let id = body.id.ok_or("it has no id: neither a message_id nor a field id")?;
                event.id = foreign_uuid(&id);
            }
            let at = body.at.and_then(|at| if let When::At(at) = at { Some(at) } else { None });
            (None, at.or(delivery.properties.published_at))
        };
        Ok(Incoming { event, chat, at: past.retried.max(at) })
    }
}
