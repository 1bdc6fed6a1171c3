//! Actions: what a worker wants done beside saying something: a channel joined, somebody kicked, a topic set. They travel
//! like replies, on the same queues, and each is done once.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::{MAX_TARGET_BYTES, Malformed, ReplyContext, Timestamp, check_destination, foreign_reply_id};

/// The most parameters of one change of modes.
pub const MAX_MODE_PARAMETERS: usize = 20;
/// The most bytes of the tags that a client may put on one message (IRCv3 `message-tags`, size limit).
pub const MAX_CLIENT_TAG_BYTES: usize = 4094;
/// The most letters and signs of one change of modes.
const MAX_MODES_BYTES: usize = 64;
/// The most bytes of a raw line, without its end (RFC 2812, section 2.3).
const MAX_RAW_BYTES: usize = 510;
/// What channels' names begin with (RFC 2812, section 1.3).
const CHANNEL_TYPES: [char; 4] = ['#', '&', '+', '!'];
/// So much of a bad value is told.
const TOLD_CHARS: usize = 60;

/// Something to be done, complete.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Action {
    /// What is done under one id is done once.
    pub id: Uuid,
    /// The event that it follows from; null when it follows from none.
    pub in_reply_to: Option<Uuid>,
    /// The network's name as configured.
    pub network: String,
    /// What to do.
    #[serde(flatten)]
    pub deed: Deed,
    /// Who asks: `group/plugin/name`.
    pub handler: Option<String>,
    /// Not to be done after this; null: the speaker's own limit.
    pub expires_at: Option<Timestamp>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Deed {
    /// Come into a channel, and stay there until the bot's process ends.
    Join {
        /// The channel.
        channel: String,
        /// Its key, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Leave a channel, and stay away until the bot's process ends.
    Part {
        /// The channel.
        channel: String,
        /// The parting words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Set a channel's topic.
    Topic {
        /// The channel.
        channel: String,
        /// The new topic; empty to remove it.
        topic: String,
    },
    /// Change a channel's modes, or somebody's rank in it.
    Mode {
        /// The channel.
        channel: String,
        /// Signs and letters: `+ov-b`.
        modes: String,
        /// What the letters need, in their order: nicks, masks, numbers. 20 at most.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parameters: Vec<String>,
    },
    /// Throw somebody out of a channel.
    Kick {
        /// The channel.
        channel: String,
        /// Who has to go; one nick.
        nick: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Invite somebody to a channel.
    Invite {
        /// The channel.
        channel: String,
        /// Who is invited.
        nick: String,
    },
    /// Go by another nick.
    Nick {
        /// The nick.
        nick: String,
    },
    /// Send tags without a text: a reaction, that somebody is typing (IRCv3 `TAGMSG`).
    Tag {
        /// The channel or nick to send them to.
        channel: String,
        /// Client-only tags, whose names begin with `+`, and their values.
        tags: BTreeMap<String, String>,
    },
    /// Send a line as it is.
    Raw {
        /// The line, without its end and without tags.
        line: String,
    },
}

/// The kinds of actions, by the words that stand in the field `do`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeedKind {
    /// [`Deed::Join`]
    Join,
    /// [`Deed::Part`]
    Part,
    /// [`Deed::Topic`]
    Topic,
    /// [`Deed::Mode`]
    Mode,
    /// [`Deed::Kick`]
    Kick,
    /// [`Deed::Invite`]
    Invite,
    /// [`Deed::Nick`]
    Nick,
    /// [`Deed::Tag`]
    Tag,
    /// [`Deed::Raw`]
    Raw,
}

impl DeedKind {
    /// All of them.
    pub const ALL: [DeedKind; 9] = [
        DeedKind::Join,
        DeedKind::Part,
        DeedKind::Topic,
        DeedKind::Mode,
        DeedKind::Kick,
        DeedKind::Invite,
        DeedKind::Nick,
        DeedKind::Tag,
        DeedKind::Raw,
    ];

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            DeedKind::Join => "join",
            DeedKind::Part => "part",
            DeedKind::Topic => "topic",
            DeedKind::Mode => "mode",
            DeedKind::Kick => "kick",
            DeedKind::Invite => "invite",
            DeedKind::Nick => "nick",
            DeedKind::Tag => "tag",
            DeedKind::Raw => "raw",
        }
    }
}

/// A field of an action that could leave its place on the line, or names nothing.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the action {:?} can't be done: {field} is {value:?}, and {why}", kind.word())]
pub struct ActionError {
    /// What was to be done.
    pub kind: DeedKind,
    /// The field.
    pub field: &'static str,
    /// What it holds, its first 60 characters.
    pub value: String,
    /// What it should be.
    pub why: &'static str,
}

impl Deed {
    /// Which kind it is.
    pub fn kind(&self) -> DeedKind {
        match self {
            Deed::Join { .. } => DeedKind::Join,
            Deed::Part { .. } => DeedKind::Part,
            Deed::Topic { .. } => DeedKind::Topic,
            Deed::Mode { .. } => DeedKind::Mode,
            Deed::Kick { .. } => DeedKind::Kick,
            Deed::Invite { .. } => DeedKind::Invite,
            Deed::Nick { .. } => DeedKind::Nick,
            Deed::Tag { .. } => DeedKind::Tag,
            Deed::Raw { .. } => DeedKind::Raw,
        }
    }

    /// The channel, or in [`Deed::Tag`] perhaps the nick, that it is about; `None` when it is about none.
    pub fn channel(&self) -> Option<&str> {
        match self {
            Deed::Join { channel, .. }
            | Deed::Part { channel, .. }
            | Deed::Topic { channel, .. }
            | Deed::Mode { channel, .. }
            | Deed::Kick { channel, .. }
            | Deed::Invite { channel, .. }
            | Deed::Tag { channel, .. } => Some(channel),
            Deed::Nick { .. } | Deed::Raw { .. } => None,
        }
    }

    /// Checks that each word stays in its place on the line. Reasons and topics may hold anything: their line ends become
    /// spaces.
    ///
    /// # Errors
    /// [`ActionError`] names the first field that is wrong.
    pub fn check(&self) -> Result<(), ActionError> {
        let bad = |field, value: &str, why| {
            let value = value.chars().take(TOLD_CHARS).collect();
            Err(ActionError { kind: self.kind(), field, value, why })
        };
        let channel = |name: &str| match is_channel(name) {
            true => Ok(()),
            false => bad("channel", name, "no channel: it begins with #, has 200 bytes at most, no space and no comma"),
        };
        let nick = |name: &str| match check_destination(name).is_ok() && !name.starts_with(CHANNEL_TYPES) {
            true => Ok(()),
            false => bad("nick", name, "no nick: it is one word of 200 bytes at most, without a comma"),
        };
        match self {
            Deed::Part { channel: name, .. } | Deed::Topic { channel: name, .. } => channel(name),
            Deed::Kick { channel: name, nick: whom, .. } | Deed::Invite { channel: name, nick: whom } => {
                channel(name).and_then(|()| nick(whom))
            }
            Deed::Nick { nick: name } => nick(name),
            Deed::Join { channel: name, key } => channel(name).and_then(|()| match key {
                // what it holds is told to nobody
                Some(key) if !is_word(key) || key.contains(',') => bad("key", "…", "no key: it is one word"),
                _ => Ok(()),
            }),
            Deed::Mode { channel: name, modes, parameters } => channel(name).and_then(|()| {
                let letters = modes.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-'));
                if !letters || !(1..=MAX_MODES_BYTES).contains(&modes.len()) {
                    return bad("modes", modes, "no modes: write signs and letters, as in +ov-b");
                }
                if let Some(more) = parameters.get(MAX_MODE_PARAMETERS) {
                    return bad("parameters", more, "the 21st: an action has 20 at most");
                }
                match parameters.iter().find(|parameter| !is_word(parameter)) {
                    Some(parameter) => bad("parameters", parameter, "no word of 200 bytes at most"),
                    None => Ok(()),
                }
            }),
            Deed::Tag { channel, tags } => {
                if check_destination(channel).is_err() {
                    return bad("channel", channel, "no channel or nick of 200 bytes at most");
                }
                if let Some((name, _)) = tags.iter().find(|(name, value)| !is_client_tag(name) || value.contains('\0'))
                {
                    return bad("tags", name, "no client-only tag: its name begins with +, as in +draft/react");
                }
                match client_tags(tags.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
                    text if text.is_empty() => bad("tags", "", "there is none"),
                    text if text.len() > MAX_CLIENT_TAG_BYTES => bad("tags", &text, "longer than 4094 bytes"),
                    _ => Ok(()),
                }
            }
            Deed::Raw { line } => {
                let starts = line.starts_with(|c: char| c.is_ascii_alphanumeric());
                if starts && line.len() <= MAX_RAW_BYTES && !line.contains(['\r', '\n', '\0']) {
                    return Ok(());
                }
                bad("line", line, "no line: it begins with a command, ends nowhere within, and has 510 bytes at most")
            }
        }
    }
}

/// Whether it stays in its place as one channel on a line.
fn is_channel(name: &str) -> bool {
    check_destination(name).is_ok() && name.starts_with(CHANNEL_TYPES)
}

/// Whether it stays in its place as one middle parameter of a command.
fn is_word(word: &str) -> bool {
    let bad = |c: char| c == ' ' || c.is_control();
    !word.is_empty() && !word.starts_with(':') && word.len() <= MAX_TARGET_BYTES && !word.contains(bad)
}

/// `+name` or `+vendor/name` (IRCv3 `message-tags`, client-only tags).
fn is_client_tag(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/');
    name.strip_prefix('+')
        .is_some_and(|name| !name.is_empty() && name.len() <= MAX_TARGET_BYTES && name.chars().all(legal))
}

/// Tags as they stand on a line, values escaped: `+reply=a\sb;+typing=active` (IRCv3 `message-tags`, escaping values).
pub fn client_tags<'a>(tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in tags {
        if !text.is_empty() {
            text.push(';');
        }
        text.push_str(name);
        if !value.is_empty() {
            text.push('=');
        }
        for c in value.chars() {
            match c {
                ';' => text.push_str(r"\:"),
                ' ' => text.push_str(r"\s"),
                '\\' => text.push_str(r"\\"),
                '\r' => text.push_str(r"\r"),
                '\n' => text.push_str(r"\n"),
                '\0' => {}
                c => text.push(c),
            }
        }
    }
    text
}

/// An action as anybody may send it: only `do` and its own fields are needed.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Action")]
pub(crate) struct ActionOnTheWire {
    /// Default: from `in_reply_to`, the sender's name and what is to be done; else the message's id; else random.
    id: Option<Uuid>,
    /// Default: the message's `correlation_id`.
    in_reply_to: Option<Uuid>,
    /// Default: the network whose reply queue this is.
    network: Option<String>,
    /// What to do.
    #[serde(flatten)]
    deed: Deed,
    /// Who asks: `group/plugin/name`. Default: the message's `app_id`. The group must be allowed to.
    handler: Option<String>,
    /// Not to be done after this. Default: the speaker's own limit.
    expires_at: Option<Timestamp>,
}

impl Action {
    /// Reads an action and fills in what it leaves out. What it holds is not checked: see [`Deed::check`].
    ///
    /// # Errors
    /// [`Malformed`] when the body is no JSON object, or `do` is no word of [`DeedKind`], or one of its fields is missing.
    pub fn read(body: &[u8], context: ReplyContext<'_>) -> Result<Self, Malformed> {
        let malformed = |why| Malformed { what: "action".to_owned(), why };
        let wire: ActionOnTheWire = serde_json::from_slice(body).map_err(malformed)?;
        let in_reply_to = wire.in_reply_to.or_else(|| context.event());
        let deed = serde_json::to_string(&wire.deed).map_err(malformed)?;
        let default_id = || {
            let app_id = context.app_id.unwrap_or_default();
            let computed =
                |event| foreign_reply_id(event, app_id, &deed, "do", wire.deed.channel().unwrap_or_default());
            in_reply_to.map_or_else(|| context.message(), computed)
        };
        Ok(Action {
            id: wire.id.unwrap_or_else(default_id),
            in_reply_to,
            network: wire.network.unwrap_or_else(|| context.network.to_owned()),
            deed: wire.deed,
            handler: wire.handler.or_else(|| context.app_id.map(str::to_owned)),
            expires_at: wire.expires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn deed(json: &str) -> Deed {
        serde_json::from_str(json).unwrap()
    }

    fn context() -> ReplyContext<'static> {
        ReplyContext { network: "libera", correlation_id: Some("an event"), app_id: Some("py"), ..Default::default() }
    }

    #[test]
    fn what_to_do_is_enough_and_the_same_asked_for_twice_has_the_same_id() {
        let read = |body: &str| Action::read(body.as_bytes(), context()).unwrap();
        let kick = read(r##"{"do":"kick","channel":"#c","nick":"bob"}"##);
        assert_eq!((kick.network.as_str(), kick.handler.as_deref()), ("libera", Some("py")));
        assert_eq!(kick.id, read(r##"{"nick":"bob","channel":"#c","do":"kick","mood":"bad"}"##).id);
        assert_ne!(kick.id, read(r##"{"do":"kick","channel":"#c","nick":"alice"}"##).id);
        assert_ne!(kick.id, read(r##"{"do":"invite","channel":"#c","nick":"bob"}"##).id);
        let written = serde_json::to_vec(&kick).unwrap();
        assert_eq!(Action::read(&written, ReplyContext::default()).unwrap(), kick);
    }

    #[test]
    fn what_nobody_can_do_is_told_with_what_can_be_done() {
        let why = Action::read(br##"{"do":"fly","channel":"#c"}"##, context()).unwrap_err().to_string();
        assert!(why.contains("`fly`") && why.contains("`kick`"), "{why}");
        let why = Action::read(br##"{"do":"kick","channel":"#c"}"##, context()).unwrap_err().to_string();
        assert!(why.contains("`nick`"), "{why}");
    }

    #[test]
    fn every_kind_is_called_what_stands_in_do() {
        for kind in DeedKind::ALL {
            let whole = format!(
                r##"{{"do":"{}","channel":"#c","nick":"n","topic":"","modes":"+m","tags":{{"+a":""}},"line":"WHO"}}"##,
                kind.word()
            );
            assert_eq!(deed(&whole).kind(), kind);
            assert_eq!(deed(&whole).check(), Ok(()));
        }
    }

    /// Row 2 of the inputs.
    #[test]
    fn a_target_that_is_several_or_none_is_refused_by_name() {
        for bad in ["#a,#b", "#a :x", "", " ", "   ", ":#a", "#a\rQUIT", "#a\nQUIT", "#a\0", "0", "alice"] {
            for action in ["join", "part", "kick", "mode", "topic", "invite"] {
                let body = serde_json::json!(
                    {"do": action, "channel": bad, "nick": "n", "topic": "t", "modes": "+m"});
                let why = deed(&body.to_string()).check().unwrap_err();
                assert_eq!((why.field, why.value.as_str()), ("channel", bad), "{why}");
            }
        }
        for bad in ["a,b", "a b", "", ":a", "a\r\nQUIT", "#a"] {
            let why = Deed::Kick { channel: "#a".into(), nick: bad.into(), reason: None }.check().unwrap_err();
            assert_eq!((why.field, why.value.as_str()), ("nick", bad), "{why}");
        }
        assert_eq!(
            deed(r##"{"do":"join","channel":"#a,#b"}"##).check().unwrap_err().to_string(),
            "the action \"join\" can't be done: channel is \"#a,#b\", and no channel: it begins with #, has 200 bytes \
             at most, no space and no comma"
        );
    }

    /// Row 3 of the inputs.
    #[test]
    fn a_channel_of_wildcards_is_a_channel_and_one_of_300_bytes_is_none() {
        for channel in ["#a.b.*", "#", "##", "#*"] {
            assert_eq!(Deed::Part { channel: channel.into(), reason: None }.check(), Ok(()), "{channel}");
        }
        let long = format!("#{}", "x".repeat(299));
        assert_eq!(Deed::Part { channel: long, reason: None }.check().unwrap_err().value.len(), TOLD_CHARS);
        assert!(Deed::Part { channel: "*".into(), reason: None }.check().is_err());
    }

    #[test]
    fn words_modes_tags_and_raw_lines_have_their_forms() {
        let mode = |modes: &str, parameters: &[&str]| {
            let parameters = parameters.iter().map(ToString::to_string).collect();
            Deed::Mode { channel: "#a".into(), modes: modes.into(), parameters }.check().map_err(|why| why.field)
        };
        assert_eq!(mode("+ov-b", &["a", "b", "*!*@h,x"]), Ok(()));
        assert_eq!(mode("+o b", &[]), Err("modes"));
        assert_eq!(mode("", &[]), Err("modes"));
        assert_eq!(mode("+o", &[":a"]), Err("parameters"));
        assert_eq!(mode("+o", &["a b"]), Err("parameters"));
        assert_eq!(mode("+o", &["a"; 20]), Ok(()));
        assert_eq!(mode("+o", &["a"; 21]), Err("parameters"));
        let raw = |line: &str| Deed::Raw { line: line.into() }.check().is_ok();
        assert!(raw("WHO #a") && raw("PRIVMSG #a :x"));
        for bad in ["", ":x QUIT", "@a=b QUIT", "WHO\r\nQUIT", "WHO\0", " WHO", &"x".repeat(511)] {
            assert!(!raw(bad), "{bad}");
        }
        let tag = |name: &str, value: &str| {
            let tags = [(name.to_owned(), value.to_owned())].into();
            Deed::Tag { channel: "#a".into(), tags }.check().map_err(|why| why.field)
        };
        assert_eq!(tag("+draft/react", "👍; \\"), Ok(()));
        for (name, value) in [("label", "1"), ("+", ""), ("+a b", ""), ("+a;b", ""), ("+a", "\0"), ("+a=b", "")] {
            assert_eq!(tag(name, value), Err("tags"), "{name}");
        }
        assert_eq!(tag("+a", &"x".repeat(MAX_CLIENT_TAG_BYTES)), Err("tags"));
        let key = |key: &str| Deed::Join { channel: "#a".into(), key: Some(key.into()) }.check().is_ok();
        assert!(key("sesame") && !key("a b") && !key("a,b") && !key("") && !key("a\rb"));
    }

    proptest! {
        #[test]
        fn tags_end_neither_themselves_nor_the_line(value in "[a; \\\\\r\n\0]{0,12}|\\PC{0,40}") {
            let text = client_tags([("+a", value.as_str()), ("+b", "c")]);
            prop_assert!(!text.contains(['\r', '\n', '\0', ' ']));
            prop_assert_eq!(text.split(';').count(), 2);
        }
    }
}
