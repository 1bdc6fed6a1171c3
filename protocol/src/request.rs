//! What comes through a network's reply queue: something to be said, or something to be done.

use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use crate::{Action, Malformed, Reply, ReplyContext, Timestamp};

/// What a worker asks of a network.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// To say something.
    Say(Reply),
    /// To do something: it has a field `do`.
    Do(Action),
}

/// The one field by which they differ.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "do")]
    deed: Option<IgnoredAny>,
}

impl Request {
    /// Reads a request and fills in what it leaves out.
    ///
    /// # Errors
    /// Those of [`Reply::read`] and [`Action::read`].
    pub fn read(body: &[u8], context: ReplyContext<'_>) -> Result<Self, Malformed> {
        // nearly all are replies: only what could be something else is read twice
        let may_be_action = body.windows(4).any(|four| four == b"\"do\"");
        let kind = may_be_action.then(|| serde_json::from_slice::<Kind>(body));
        match kind {
            Some(Ok(Kind { deed: Some(_) })) => Action::read(body, context).map(Request::Do),
            _ => Reply::read(body, context).map(Request::Say),
        }
    }

    /// What is said or done under one id is so once.
    pub fn id(&self) -> Uuid {
        match self {
            Request::Say(reply) => reply.id,
            Request::Do(action) => action.id,
        }
    }

    /// The event that it answers or follows from.
    pub fn in_reply_to(&self) -> Option<Uuid> {
        match self {
            Request::Say(reply) => reply.in_reply_to,
            Request::Do(action) => action.in_reply_to,
        }
    }

    /// The network's name as configured.
    pub fn network(&self) -> &str {
        match self {
            Request::Say(reply) => &reply.network,
            Request::Do(action) => &action.network,
        }
    }

    /// The channel or nick that it is about; empty where it is about none.
    pub fn channel(&self) -> &str {
        match self {
            Request::Say(reply) => &reply.channel,
            Request::Do(action) => action.deed.channel().unwrap_or_default(),
        }
    }

    /// Who asks: `group/plugin/name`; empty if that is not known.
    pub fn handler(&self) -> &str {
        let handler = match self {
            Request::Say(reply) => &reply.handler,
            Request::Do(action) => &action.handler,
        };
        handler.as_deref().unwrap_or_default()
    }

    /// Not to be begun after this.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Request::Say(reply) => reply.expires_at,
            Request::Do(action) => action.expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_field_do_is_an_action_and_all_else_a_reply() {
        let read = |body: &str| Request::read(body.as_bytes(), ReplyContext::default());
        assert!(matches!(read(r##"{"do":"part","channel":"#c"}"##), Ok(Request::Do(_))));
        assert!(matches!(read(r##"{"do":null,"channel":"#c","content":"x"}"##), Ok(Request::Say(_))));
        assert!(matches!(read(r##"{"channel":"#c","content":"\"do\""}"##), Ok(Request::Say(_))));
        assert!(matches!(read(r##"{"channel":"#c","content":"x","mood":{"do":"part"}}"##), Ok(Request::Say(_))));
        assert_eq!(read(r#"{"do":"#).unwrap_err().what, "reply");
        assert_eq!(read(r#"{"do":7}"#).unwrap_err().what, "action");
    }
}
