//! Routing keys: what an event is about, in dot-separated words, and how a channel's name becomes one of those words.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use uuid::Uuid;

/// The longest routing key and pattern, in bytes: an AMQP 0-9-1 short string.
pub const MAX_KEY_BYTES: usize = 255;

/// The key of what is said by tags.
const SAY_TAGS: &str = "say.tags";

/// The longest channel word, in bytes. With `chat.`, a protocol's name and the longest type it stays within a key.
const MAX_CHANNEL_WORD_BYTES: usize = 200;

/// What happened in a channel: the last word of `chat.<proto>.<channel>.<type>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChatKind {
    /// Somebody said something.
    Chat,
    /// Somebody did something (`/me`, CTCP ACTION).
    Action,
    /// A notice, which no bot may answer (RFC 2812, section 3.3.2).
    Notice,
    /// Somebody came in.
    Join,
    /// Somebody left: parted, quit or was kicked.
    Leave,
    /// Somebody changed their nick.
    Nick,
    /// The topic was changed.
    Topic,
    /// The channel's modes, or somebody's rank, were changed.
    Mode,
    /// Somebody logged in to a services account, or out.
    Account,
    /// The bot was invited.
    Invite,
    /// Who is here: a snapshot after each join of the bot.
    Names,
}

impl ChatKind {
    /// Every kind, in the order of their documentation.
    pub const ALL: [ChatKind; 11] = [
        ChatKind::Chat,
        ChatKind::Action,
        ChatKind::Notice,
        ChatKind::Join,
        ChatKind::Leave,
        ChatKind::Nick,
        ChatKind::Topic,
        ChatKind::Mode,
        ChatKind::Account,
        ChatKind::Invite,
        ChatKind::Names,
    ];

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            ChatKind::Chat => "chat",
            ChatKind::Action => "action",
            ChatKind::Notice => "notice",
            ChatKind::Join => "join",
            ChatKind::Leave => "leave",
            ChatKind::Nick => "nick",
            ChatKind::Topic => "topic",
            ChatKind::Mode => "mode",
            ChatKind::Account => "account",
            ChatKind::Invite => "invite",
            ChatKind::Names => "names",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        ChatKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// An event's routing key: words separated by dots, at most [`MAX_KEY_BYTES`] bytes. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoutingKey(Arc<str>);

/// Why a text is no routing key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// More bytes than an AMQP short string takes.
    #[error("it has {0} bytes; at most 255 are allowed")]
    TooLong(usize),
    /// Two dots in a row, or one at an end, or nothing at all.
    #[error("it has an empty word: write words separated by single dots, as in music.track")]
    EmptyWord,
    /// `*` and `#` alone are for patterns.
    #[error("the word {0:?} stands for other words, so it belongs in a pattern, not in a key")]
    Wildcard(String),
    /// White space or a control character.
    #[error("it has the character {0:?}; white space and control characters are not allowed")]
    BadCharacter(char),
}

impl RoutingKey {
    /// Reads a key.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(key: &str) -> Result<Self, KeyError> {
        check_words(key)?;
        match key.split('.').find(|word| matches!(*word, "*" | "#")) {
            Some(word) => Err(KeyError::Wildcard(word.to_owned())),
            None => Ok(RoutingKey(key.into())),
        }
    }

    /// `chat.<proto>.<channel>.<type>`, for a channel's name that is already case-folded by its network's rules.
    /// In a private message the channel is the sender's nick.
    pub fn chat(proto: &str, folded_channel: &str, kind: ChatKind) -> Self {
        RoutingKey(format!("chat.{proto}.{}.{}", channel_word(folded_channel), kind.word()).into())
    }

    /// `gap.<proto>.<network>`: events of this network were not kept.
    ///
    /// # Errors
    /// When the network's name is not one word of a key.
    pub fn gap(proto: &str, network: &str) -> Result<Self, KeyError> {
        Self::parse(&format!("gap.{proto}.{}", channel_word(network)))
    }

    /// `say.<route>`: anybody asks for something to be said where the route leads. No route is called `tags`.
    ///
    /// # Errors
    /// When the route's name is not one word of a key.
    pub fn say(route: &str) -> Result<Self, KeyError> {
        Self::parse(&format!("say.{}", channel_word(route)))
    }

    /// `say.tags`: anybody asks for something to be said in the channels that subscribe to its tags.
    pub fn say_by_tags() -> Self {
        RoutingKey(SAY_TAGS.into())
    }

    /// What kind of chat event this is the key of; `None` for everything else.
    pub fn chat_kind(&self) -> Option<ChatKind> {
        let mut words = self.words();
        let (first, last) = (words.next()?, words.nth(2)?);
        if first == "chat" && words.next().is_none() { ChatKind::from_word(last) } else { None }
    }

    /// The words, in order.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// The key as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoutingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rules that keys and patterns share: length, characters, no empty word.
pub(crate) fn check_words(text: &str) -> Result<(), KeyError> {
    if text.len() > MAX_KEY_BYTES {
        return Err(KeyError::TooLong(text.len()));
    }
    if let Some(bad) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(KeyError::BadCharacter(bad));
    }
    if text.split('.').any(str::is_empty) {
        return Err(KeyError::EmptyWord);
    }
    Ok(())
}

/// A case-folded channel's name as one word of a routing key: `%` and `.` are escaped, and so is a word that is just
/// `#` or `*`. A name of more than 200 bytes keeps its beginning and gets a digest (`%~…`), so that keys stay within
/// their limit and two long names still differ.
pub fn channel_word(folded: &str) -> String {
    let word = match folded {
        "" => "%".to_owned(),
        "#" => "%23".to_owned(),
        "*" => "%2A".to_owned(),
        name if name.contains(['%', '.']) => name.replace('%', "%25").replace('.', "%2E"),
        name => name.to_owned(),
    };
    if word.len() <= MAX_CHANNEL_WORD_BYTES {
        return word;
    }
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, folded.as_bytes()).simple();
    let kept = word.floor_char_boundary(MAX_CHANNEL_WORD_BYTES - 34);
    format!("{}%~{digest}", &word[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pattern;
    use proptest::prelude::*;

    #[test]
    fn a_dot_in_a_channel_is_escaped_so_that_it_stays_one_word() {
        let key = RoutingKey::chat("irc", "#rust.dev", ChatKind::Chat);
        assert_eq!(key.as_str(), "chat.irc.#rust%2Edev.chat");
        assert_eq!(key.chat_kind(), Some(ChatKind::Chat));
    }

    #[test]
    fn a_channel_named_like_a_wildcard_is_escaped() {
        assert_eq!(channel_word("#"), "%23");
        assert_eq!(channel_word("*"), "%2A");
        assert_eq!(channel_word("#a.b.*"), "#a%2Eb%2E*");
        assert_eq!(channel_word("100%"), "100%25");
    }

    #[test]
    fn keys_with_empty_words_spaces_wildcards_or_too_many_bytes_are_refused() {
        assert_eq!(RoutingKey::parse(""), Err(KeyError::EmptyWord));
        assert_eq!(RoutingKey::parse("music..track"), Err(KeyError::EmptyWord));
        assert_eq!(RoutingKey::parse("music track"), Err(KeyError::BadCharacter(' ')));
        assert_eq!(RoutingKey::parse("music.#"), Err(KeyError::Wildcard("#".into())));
        assert_eq!(RoutingKey::parse(&"a".repeat(256)), Err(KeyError::TooLong(256)));
        assert!(RoutingKey::parse("chat.irc.#rust.chat").is_ok());
    }

    #[test]
    fn only_a_chat_key_of_four_words_has_a_chat_kind() {
        for key in ["music.track", "chat.irc.chat", "chat.irc.#a.chat.chat", "chat.irc.#a.dance"] {
            assert_eq!(RoutingKey::parse(key).unwrap().chat_kind(), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn any_channel_makes_one_word_in_a_key_of_legal_length(name in ".{0,300}") {
            let key = RoutingKey::chat("irc", &name, ChatKind::Chat);
            prop_assert!(key.as_str().len() <= MAX_KEY_BYTES);
            prop_assert_eq!(key.words().count(), 4);
            prop_assert!(Pattern::parse("chat.irc.*.chat").unwrap().matches(&key));
        }

        #[test]
        fn two_channels_never_share_a_word(a in "[#*.%2E5a-c]{0,8}", b in "[#*.%2E5a-c]{0,8}") {
            prop_assert_eq!(a == b, channel_word(&a) == channel_word(&b));
        }
    }
}
