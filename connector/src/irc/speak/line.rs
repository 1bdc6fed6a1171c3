//! A line for the server. Everything that goes out is put together here, and nothing that is put in can end the line or
//! leave its place on it: CR, LF and NUL are left out of every part, spaces out of all but the last.

use std::borrow::Cow;

use protocol::{IrcText, MAX_CLIENT_TAG_BYTES, ReplyKind, client_tags};

use crate::Secret;
use crate::irc::hear::framing::{MAX_LINE_BYTES, MAX_LINELEN};

/// What CTCP puts around an action (CTCP, "ACTION").
const ACTION: (&str, &str) = ("\x01ACTION ", "\x01");
/// What stands before the lines of one message, and before those that go on where the one before it ended.
const PART: &[u8] = b"@batch=m ";
const GOES_ON: &[u8] = b"@batch=m;draft/multiline-concat ";
/// A line has at least so many bytes for text, however long the server says our own address is.
const MIN_TEXT_BYTES: usize = 64;

/// What limits how much can be said on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The longest line that the server passes on, in bytes, CR LF included.
    pub line: usize,
    /// The length of our own address, `nick!user@host`, which receivers see before each line.
    pub identity: usize,
}

impl Default for Frame {
    fn default() -> Self {
        Frame { line: MAX_LINE_BYTES, identity: 0 }
    }
}

/// A complete line, its CR LF included; or several that must not be parted. It has no `Debug`, since it may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Tags for those who get it, without the `@`: empty for most.
    tags: String,
    bytes: Vec<u8>,
}

impl Line {
    pub fn pass(password: &Secret) -> Self {
        Line::new("PASS", &[], Some(&[password.expose()]))
    }

    pub fn nick(nick: &str) -> Self {
        Line::new("NICK", &[nick], None)
    }

    /// Asks whether somebody has this nick.
    pub fn ison(nick: &str) -> Self {
        Line::new("ISON", &[nick], None)
    }

    /// Has the server tell when somebody takes this nick or leaves it (`+`), or no more (`-`) (IRCv3 `monitor`).
    pub fn monitor(sign: char, nick: &str) -> Self {
        Line::new("MONITOR", &[sign.encode_utf8(&mut [0; 4]), nick], None)
    }

    pub fn user(user: &str, realname: &str) -> Self {
        Line::new("USER", &[user, "0", "*"], Some(&[realname]))
    }

    /// Joins channels; the keys belong to the first of them.
    pub fn join(channels: &str, keys: &str) -> Self {
        match keys {
            "" => Line::new("JOIN", &[channels], None),
            keys => Line::new("JOIN", &[channels, keys], None),
        }
    }

    pub fn ping(token: &str) -> Self {
        Line::new("PING", &[], Some(&[token]))
    }

    pub fn pong(token: &str) -> Self {
        Line::new("PONG", &[], Some(&[token]))
    }

    pub fn quit(reason: &str) -> Self {
        Line::new("QUIT", &[], Some(&[reason]))
    }

    pub fn capabilities() -> Self {
        Line::new("CAP", &["LS", "302"], None)
    }

    /// Asks for capabilities, separated by spaces.
    pub fn request(capabilities: &str) -> Self {
        Line::new("CAP", &["REQ"], Some(&[capabilities]))
    }

    pub fn capabilities_end() -> Self {
        Line::new("CAP", &["END"], None)
    }

    /// A part of a SASL message, in base64, or a mechanism's name (IRCv3 `sasl-3.1`).
    pub fn authenticate(part: &str) -> Self {
        Line::new("AUTHENTICATE", &[part], None)
    }

    /// Asks who somebody is.
    pub fn whois(nick: &str) -> Self {
        Line::new("WHOIS", &[nick], None)
    }

    /// Asks for a channel's modes.
    pub fn ask_for_modes(channel: &str) -> Self {
        Line::new("MODE", &[channel], None)
    }

    /// Changes our own modes.
    pub fn mode(nick: &str, modes: &str) -> Self {
        Line::new("MODE", &[nick, modes], None)
    }

    /// Asks for what was said in a channel, or to and by a nick, after a message (IRCv3 `chathistory`).
    pub fn history_after(target: &str, reference: &str, most: usize) -> Self {
        Line::new("CHATHISTORY", &["AFTER", target, reference, &most.to_string()], None)
    }

    /// Asks where something was said between two times.
    pub fn history_targets(from: &str, to: &str, most: usize) -> Self {
        Line::new("CHATHISTORY", &["TARGETS", from, to, &most.to_string()], None)
    }

    /// Asks which modes a channel has.
    pub fn ask_modes(channel: &str) -> Self {
        Line::new("MODE", &[channel], None)
    }

    /// Asks who is in a channel; `fields` says what is to be told of them (WHOX).
    pub fn who(channel: &str, fields: &str) -> Self {
        Line::new("WHO", &[channel, fields], None)
    }

    /// Changes a channel's modes.
    pub fn modes(channel: &str, modes: &str, parameters: &[&str]) -> Self {
        Line::new("MODE", &[&[channel, modes], parameters].concat(), None)
    }

    pub fn part(channel: &str, reason: Option<&str>) -> Self {
        Line::with_words("PART", &[channel], reason)
    }

    pub fn topic(channel: &str, topic: &str) -> Self {
        Line::with_words("TOPIC", &[channel], Some(topic))
    }

    pub fn kick(channel: &str, nick: &str, reason: Option<&str>) -> Self {
        Line::with_words("KICK", &[channel, nick], reason)
    }

    pub fn invite(nick: &str, channel: &str) -> Self {
        Line::new("INVITE", &[nick, channel], None)
    }

    /// Says nothing, but for the tags that it gets (IRCv3 `message-tags`).
    pub fn tags(target: &str) -> Self {
        Line::new("TAGMSG", &[target], None)
    }

    /// A line as it is.
    pub fn raw(line: &str) -> Self {
        let mut bytes = Vec::with_capacity(line.len() + 2);
        push_text(&mut bytes, line);
        Line::ended(bytes, MAX_LINE_BYTES)
    }

    /// The same line with further client-only tags; as it is, if there would be too many of them.
    pub fn tagged<'a>(self, tags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let new = client_tags(tags);
        let tags = if self.tags.is_empty() { new } else { format!("{};{new}", self.tags) };
        if tags.len() > MAX_CLIENT_TAG_BYTES { self } else { Line { tags, ..self } }
    }

    /// Adds the line to what is to be written, with a label, which the server repeats in its answer (IRCv3
    /// `labeled-response`), and with its tags where the server takes any.
    pub fn write(&self, label: Option<u64>, takes_tags: bool, out: &mut Vec<u8>) {
        let label = label.map(|label| format!("label={label}"));
        let tags = Some(self.tags.as_str()).filter(|tags| takes_tags && !tags.is_empty());
        let all: Vec<&str> = label.as_deref().into_iter().chain(tags).collect();
        if !all.is_empty() {
            out.extend_from_slice(format!("@{} ", all.join(";")).as_bytes());
        }
        out.extend_from_slice(&self.bytes);
    }

    /// Its command and its words; not the text behind them.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let head = self.bytes.windows(2).position(|two| two == b" :").unwrap_or(self.bytes.len());
        std::str::from_utf8(&self.bytes[..head]).unwrap_or_default().split_ascii_whitespace()
    }

    /// Says a text somewhere, for which there is [`Line::room`].
    pub fn say(kind: ReplyKind, target: &str, text: &str) -> Self {
        match kind {
            ReplyKind::Chat => Line::within(MAX_LINELEN, "PRIVMSG", &[target], Some(&[text])),
            ReplyKind::Notice => Line::within(MAX_LINELEN, "NOTICE", &[target], Some(&[text])),
            ReplyKind::Action => Line::within(MAX_LINELEN, "PRIVMSG", &[target], Some(&[ACTION.0, text, ACTION.1])),
        }
    }

    /// Several lines of text that are one message (IRCv3 `draft/multiline`); true for those that go on where the one before
    /// it ended.
    pub fn multiline<'a>(target: &str, texts: impl Iterator<Item = (&'a str, bool)>) -> Self {
        let mut bytes = Line::new("BATCH", &["+m", "draft/multiline", target], None).bytes;
        for (text, goes_on) in texts {
            bytes.extend_from_slice(if goes_on { GOES_ON } else { PART });
            bytes.extend_from_slice(&Line::say(ReplyKind::Chat, target, text).bytes);
        }
        bytes.extend_from_slice(b"BATCH -m\r\n");
        Line { tags: String::new(), bytes }
    }

    /// A CTCP message that nobody answers; `text` has its frame.
    pub fn ctcp(target: &str, text: &str) -> Self {
        Line::new("NOTICE", &[target], Some(&[text]))
    }

    /// How many bytes of text fit on one line, as its receiver sees it: `:nick!user@host PRIVMSG #c :…`.
    pub fn room(kind: ReplyKind, target: &str, frame: Frame) -> usize {
        let around = match kind {
            ReplyKind::Chat => ": PRIVMSG  :\r\n".len(),
            ReplyKind::Notice => ": NOTICE  :\r\n".len(),
            ReplyKind::Action => ": PRIVMSG  :\r\n".len() + ACTION.0.len() + ACTION.1.len(),
        };
        frame.line.saturating_sub(around + frame.identity + target.len()).max(MIN_TEXT_BYTES)
    }

    /// What stands behind the first colon, without the line's end: of something said, its text. Of a message of several
    /// lines it is that of all, put together.
    pub fn text(&self) -> Cow<'_, [u8]> {
        if !self.bytes.starts_with(b"BATCH +") {
            return Cow::Borrowed(behind_colon(&self.bytes));
        }
        let mut text = Vec::new();
        for line in self.bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.starts_with(b"@")) {
            if !text.is_empty() && !line.starts_with(GOES_ON) {
                text.push(b'\n');
            }
            text.extend_from_slice(behind_colon(line));
        }
        Cow::Owned(text)
    }

    /// The line without tags.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Words, and free text behind them, of which a line end becomes a space.
    fn with_words(command: &str, words: &[&str], text: Option<&str>) -> Self {
        match text.map(IrcText::one_line) {
            Some(text) => Line::new(command, words, Some(&[&text])),
            None => Line::new(command, words, None),
        }
    }

    fn new(command: &str, words: &[&str], text: Option<&[&str]>) -> Self {
        Line::within(MAX_LINE_BYTES, command, words, text)
    }

    /// A line that is cut at so many bytes.
    fn within(limit: usize, command: &str, words: &[&str], text: Option<&[&str]>) -> Self {
        let mut line = Vec::with_capacity(128);
        line.extend_from_slice(command.as_bytes());
        for word in words {
            line.push(b' ');
            push_word(&mut line, word);
        }
        if let Some(parts) = text {
            line.extend_from_slice(b" :");
            parts.iter().for_each(|part| push_text(&mut line, part));
        }
        Line::ended(line, limit)
    }

    /// Cuts what is too long, between characters, and ends it.
    fn ended(mut bytes: Vec<u8>, limit: usize) -> Self {
        if bytes.len() > limit - 2 {
            let is_within = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
            let end = (0..=limit - 2).rev().find(|end| !is_within(bytes[*end])).unwrap_or(0);
            bytes.truncate(end);
        }
        bytes.extend_from_slice(b"\r\n");
        Line { tags: String::new(), bytes }
    }
}

fn behind_colon(line: &[u8]) -> &[u8] {
    let behind = line.windows(2).position(|two| two == b" :").map_or(0, |colon| colon + 2);
    line[behind..].strip_suffix(b"\r\n").unwrap_or_default()
}

/// Adds a word: it can't be empty, hold a space, or begin with the colon that would make it the last.
fn push_word(line: &mut Vec<u8>, word: &str) {
    let before = line.len();
    let word = word.trim_start_matches([':', ' ', '\r', '\n', '\0']);
    line.extend(word.bytes().filter(|byte| !matches!(byte, b' ' | b'\r' | b'\n' | b'\0')));
    if line.len() == before {
        line.push(b'*');
    }
}

fn push_text(line: &mut Vec<u8>, text: &str) {
    match text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | b'\0')) {
        false => line.extend_from_slice(text.as_bytes()),
        true => line.extend(text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | b'\0'))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(line: &Line) -> &str {
        std::str::from_utf8(line.bytes()).unwrap()
    }

    #[test]
    fn lines_are_what_the_rfc_says() {
        assert_eq!(text(&Line::pass(&Secret::new("a b"))), "PASS :a b\r\n");
        assert_eq!(text(&Line::nick("pubbot")), "NICK pubbot\r\n");
        assert_eq!(text(&Line::user("pub", "A bot")), "USER pub 0 * :A bot\r\n");
        assert_eq!(text(&Line::join("#a,#b", "k")), "JOIN #a,#b k\r\n");
        assert_eq!(text(&Line::join("#a", "")), "JOIN #a\r\n");
        assert_eq!(text(&Line::pong(":x y")), "PONG ::x y\r\n");
        assert_eq!(text(&Line::say(ReplyKind::Chat, "#c", "hi all")), "PRIVMSG #c :hi all\r\n");
        assert_eq!(text(&Line::say(ReplyKind::Notice, "#c", "hi")), "NOTICE #c :hi\r\n");
        assert_eq!(text(&Line::say(ReplyKind::Action, "#c", "waves")), "PRIVMSG #c :\u{1}ACTION waves\u{1}\r\n");
    }

    #[test]
    fn what_is_done_is_one_line_whatever_its_reason_holds() {
        assert_eq!(text(&Line::kick("#a", "bob", Some("a\r\nQUIT :b\0c"))), "KICK #a bob :a QUIT :bc\r\n");
        assert_eq!(text(&Line::kick("#a", "bob", None)), "KICK #a bob\r\n");
        assert_eq!(text(&Line::topic("#a", "")), "TOPIC #a :\r\n");
        assert_eq!(text(&Line::part("#a", Some("bye all"))), "PART #a :bye all\r\n");
        assert_eq!(text(&Line::modes("#a", "+ov", &["a", "b"])), "MODE #a +ov a b\r\n");
        assert_eq!(text(&Line::invite("bob", "#a")), "INVITE bob #a\r\n");
        assert_eq!(text(&Line::raw("PRIVMSG #a :x\r\nQUIT")), "PRIVMSG #a :xQUIT\r\n");
        let long = Line::topic("#a", &"ä".repeat(400));
        assert!(text(&long).len() <= MAX_LINE_BYTES, "cut between characters");
        assert_eq!(Line::kick("#a", "bob", Some("x")).words().collect::<Vec<_>>(), ["KICK", "#a", "bob"]);
    }

    fn written(line: &Line, label: Option<u64>, takes_tags: bool) -> String {
        let mut out = b"before\r\n".to_vec();
        line.write(label, takes_tags, &mut out);
        String::from_utf8(out).unwrap().strip_prefix("before\r\n").unwrap().to_owned()
    }

    #[test]
    fn label_and_tags_stand_before_a_line() {
        let line = Line::tags("#a").tagged([("+draft/react", "a b")]).tagged([("+reply", "1;2")]);
        assert_eq!(written(&line, None, false), "TAGMSG #a\r\n");
        assert_eq!(written(&line, Some(7), false), "@label=7 TAGMSG #a\r\n");
        assert_eq!(written(&line, None, true), "@+draft/react=a\\sb;+reply=1\\:2 TAGMSG #a\r\n");
        assert_eq!(written(&line, Some(7), true), "@label=7;+draft/react=a\\sb;+reply=1\\:2 TAGMSG #a\r\n");
        let long = "x".repeat(MAX_CLIENT_TAG_BYTES);
        assert!(line.clone().tagged([("+a", long.as_str())]) == line, "too many are left out");
    }

    #[test]
    fn an_empty_word_keeps_its_place() {
        assert_eq!(text(&Line::nick("")), "NICK *\r\n");
        assert_eq!(text(&Line::nick(": \r\n")), "NICK *\r\n");
    }

    proptest! {
        #[test]
        fn nothing_can_end_a_line_or_leave_its_place(word in "[a :\r\n\0]{0,8}|\\PC{0,600}", last in "[a :\r\n\0]{0,8}|\\PC{0,600}") {
            let line = Line::user(&word, &last);
            let bytes = line.bytes();
            prop_assert!(bytes.len() <= MAX_LINE_BYTES);
            prop_assert!(bytes.ends_with(b"\r\n"));
            prop_assert!(!bytes[..bytes.len() - 2].iter().any(|byte| matches!(byte, b'\r' | b'\n' | b'\0')));
            let words: Vec<&[u8]> = bytes.splitn(5, |&byte| byte == b' ').collect();
            prop_assert_eq!(words[0], b"USER");
            prop_assert!(word.len() > 300 || (!words[1].is_empty() && words[1][0] != b':' && words[2] == b"0" && words[3] == b"*"));
        }

        #[test]
        fn a_text_with_as_many_bytes_as_there_is_room_for_fits_exactly(
            target in "#[a-z]{1,50}", nick in "[a-z]{1,30}", length in MAX_LINE_BYTES..MAX_LINELEN
        ) {
            let identity = format!("{nick}!~user@some.host.example");
            for kind in [ReplyKind::Chat, ReplyKind::Action, ReplyKind::Notice] {
                let room = Line::room(kind, &target, Frame { line: length, identity: identity.len() });
                let line = Line::say(kind, &target, &"x".repeat(room));
                prop_assert_eq!(format!(":{identity} {}", text(&line)).len(), length);
            }
        }
    }
}
