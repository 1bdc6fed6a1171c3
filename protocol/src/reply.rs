//! Replies: what a worker wants said, and how a reply from a worker in any language is completed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Malformed, Timestamp, foreign_reply_id, foreign_uuid};

/// Something to be said, complete.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reply {
    /// What is said under one id is said once.
    pub id: Uuid,
    /// The event that it answers; null when it answers none.
    pub in_reply_to: Option<Uuid>,
    /// The network's name as configured.
    pub network: String,
    /// The channel or nick to say it to.
    pub channel: String,
    /// The line, or the lines.
    pub content: Lines,
    /// How to say it.
    pub kind: ReplyKind,
    /// Who answers: `group/plugin/name`.
    pub handler: Option<String>,
    /// Not to be said after this; null: the speaker's own limit.
    pub expires_at: Option<Timestamp>,
    /// How good an answer this is, where only the best one is said. Higher is better.
    pub rank: i64,
    /// The network's id of the message that it answers (IRCv3 `msgid`), which shows people what it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msgid: Option<String>,
}

/// How something is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplyKind {
    /// As a message.
    #[default]
    Chat,
    /// As an action (`/me`).
    Action,
    /// As a notice, which no bot answers.
    Notice,
}

impl ReplyKind {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            ReplyKind::Chat => "chat",
            ReplyKind::Action => "action",
            ReplyKind::Notice => "notice",
        }
    }
}

/// What is said in place of lines that are left out: `… 9,996 more lines`.
pub fn more_lines(left_out: usize) -> String {
    format!("… {} more lines", thousands(left_out))
}

/// `9,996`
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One line or several; on the wire a string or a list of strings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "LinesOnTheWire")]
#[schemars(with = "LinesOnTheWire")]
pub struct Lines(pub Vec<String>);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum LinesOnTheWire {
    One(String),
    Many(Vec<String>),
}

impl From<LinesOnTheWire> for Lines {
    fn from(lines: LinesOnTheWire) -> Self {
        match lines {
            LinesOnTheWire::One(line) => Lines(vec![line]),
            LinesOnTheWire::Many(lines) => Lines(lines),
        }
    }
}

impl Serialize for Lines {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [line] => serializer.serialize_str(line),
            lines => serializer.collect_seq(lines),
        }
    }
}

impl<T: Into<String>> From<T> for Lines {
    fn from(line: T) -> Self {
        Lines(vec![line.into()])
    }
}

/// What the message around a reply says, from which missing fields are filled in.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyContext<'a> {
    /// The network whose reply queue it came through.
    pub network: &'a str,
    /// The AMQP `correlation_id`: the event that is answered.
    pub correlation_id: Option<&'a str>,
    /// The AMQP `message_id`.
    pub message_id: Option<&'a str>,
    /// The AMQP `app_id`: who answers.
    pub app_id: Option<&'a str>,
    /// The id of a reply that neither has one nor answers anything.
    pub random_id: Uuid,
}

/// A reply as anybody may send it: only `channel` and `content` are needed.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Reply")]
pub(crate) struct ReplyOnTheWire {
    /// Default: from `in_reply_to`, the sender's name and the content; else the message's id; else random.
    id: Option<Uuid>,
    /// Default: the message's `correlation_id`.
    in_reply_to: Option<Uuid>,
    /// Default: the network whose reply queue this is.
    network: Option<String>,
    /// The channel or nick to say it to.
    channel: String,
    /// A line, or a list of lines.
    content: Lines,
    /// How to say it.
    #[serde(default)]
    kind: ReplyKind,
    /// Who answers: `group/plugin/name`. Default: the message's `app_id`.
    handler: Option<String>,
    /// Not to be said after this. Default: the speaker's own limit.
    expires_at: Option<Timestamp>,
    /// How good an answer this is, where only the best one is said. Higher is better.
    #[serde(default)]
    rank: i64,
    /// The event's `msgid`: where the network has message tags, the answer refers to that message (IRCv3 `+reply`).
    msgid: Option<String>,
}

impl ReplyContext<'_> {
    /// The event that is answered, if that is said.
    pub(crate) fn event(&self) -> Option<Uuid> {
        self.correlation_id.map(foreign_uuid)
    }

    /// The id of what answers nothing.
    pub(crate) fn message(&self) -> Uuid {
        self.message_id.map_or(self.random_id, foreign_uuid)
    }
}

impl Reply {
    /// Reads a reply and fills in what it leaves out.
    ///
    /// # Errors
    /// [`Malformed`] when the body is no JSON object or lacks `channel` or `content`.
    pub fn read(body: &[u8], context: ReplyContext<'_>) -> Result<Self, Malformed> {
        let wire: ReplyOnTheWire =
            serde_json::from_slice(body).map_err(|why| Malformed { what: "reply".to_owned(), why })?;
        let in_reply_to = wire.in_reply_to.or_else(|| context.event());
        let id = wire.id.unwrap_or_else(|| wire.default_id(in_reply_to, context));
        Ok(Reply {
            id,
            in_reply_to,
            network: wire.network.unwrap_or_else(|| context.network.to_owned()),
            channel: wire.channel,
            content: wire.content,
            kind: wire.kind,
            handler: wire.handler.or_else(|| context.app_id.map(str::to_owned)),
            expires_at: wire.expires_at,
            rank: wire.rank,
            msgid: wire.msgid,
        })
    }
}

impl ReplyOnTheWire {
    fn default_id(&self, in_reply_to: Option<Uuid>, context: ReplyContext<'_>) -> Uuid {
        let Some(event) = in_reply_to else { return context.message() };
        let app_id = context.app_id.unwrap_or_default();
        foreign_reply_id(event, app_id, &self.content.0.join("\n"), self.kind.word(), &self.channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_in_thousands() {
        assert_eq!(more_lines(2), "… 2 more lines");
        assert_eq!(more_lines(9_996), "… 9,996 more lines");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    fn context() -> ReplyContext<'static> {
        ReplyContext {
            network: "libera",
            correlation_id: Some("0192f0c1-2345-7000-8000-000000000001"),
            message_id: None,
            app_id: Some("py"),
            random_id: Uuid::from_u128(9),
        }
    }

    #[test]
    fn channel_and_content_are_enough() {
        let reply = Reply::read(br##"{"channel":"#c","content":"hi"}"##, context()).unwrap();
        assert_eq!(reply.in_reply_to.unwrap().to_string(), "0192f0c1-2345-7000-8000-000000000001");
        assert_eq!(reply.network, "libera");
        assert_eq!(reply.handler.as_deref(), Some("py"));
        assert_eq!((reply.content, reply.kind, reply.rank), (Lines::from("hi"), ReplyKind::Chat, 0));
    }

    #[test]
    fn the_same_answer_sent_twice_has_the_same_id_and_another_answer_has_another() {
        let id = |body: &[u8]| Reply::read(body, context()).unwrap().id;
        let hi = id(br##"{"channel":"#c","content":"hi"}"##);
        assert_eq!(hi, id(br##"{"content":["hi"],"channel":"#c"}"##));
        assert_ne!(hi, id(br##"{"channel":"#c","content":"ho"}"##));
        assert_ne!(hi, id(br##"{"channel":"#d","content":"hi"}"##));
        assert_ne!(hi, id(br##"{"channel":"#c","content":"hi","kind":"notice"}"##));
    }

    #[test]
    fn without_a_correlation_the_message_id_is_the_id_else_a_random_one() {
        let alone = ReplyContext { correlation_id: None, ..context() };
        let body = br##"{"channel":"#c","content":"hi"}"##;
        assert_eq!(Reply::read(body, alone).unwrap().id, Uuid::from_u128(9));
        let named = ReplyContext { message_id: Some("0192f0c1-2345-7000-8000-000000000002"), ..alone };
        assert_eq!(Reply::read(body, named).unwrap().id.to_string(), "0192f0c1-2345-7000-8000-000000000002");
    }

    #[test]
    fn a_complete_reply_reads_back_as_it_was_written() {
        let reply = Reply::read(br##"{"channel":"#c","content":["a","b"],"rank":3}"##, context()).unwrap();
        let written = serde_json::to_vec(&reply).unwrap();
        assert_eq!(Reply::read(&written, ReplyContext::default()).unwrap(), reply);
    }

    #[test]
    fn a_reply_without_a_channel_or_with_deep_nesting_is_malformed() {
        assert!(Reply::read(br#"{"content":"hi"}"#, context()).is_err());
        let deep = format!("{{\"channel\":\"c\",\"content\":{}", "[".repeat(10_000));
        assert!(Reply::read(deep.as_bytes(), context()).is_err());
    }
}
