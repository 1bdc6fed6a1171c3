//! A reply becomes lines: as many as its text has, more where one would be too long for its receivers, and no more than
//! are allowed.

use std::borrow::Cow;
use std::collections::VecDeque;

use protocol::{IrcText, Reply, more_lines};

use crate::irc::speak::line::{Frame, Line};
use crate::irc::speak::split::split;

/// A reply's lines, each within the frame, and the first one's text.
pub(crate) fn lines(reply: &Reply, frame: Frame) -> (VecDeque<Line>, String) {
    let room = Line::room(reply.kind, &reply.channel, frame);
    let (mut lines, mut first) = (VecDeque::new(), None);
    for text in texts(reply) {
        lines.extend(split(&text, room).map(|piece| Line::say(reply.kind, &reply.channel, &piece)));
        first.get_or_insert(text);
    }
    (lines, first.unwrap_or_default())
}

/// What a reply says, line by line, however long they are.
pub(crate) fn texts(reply: &Reply) -> impl Iterator<Item = String> {
    let texts = reply.content.0.iter().flat_map(|content| IrcText::lines(content));
    texts.map(|text| without_ctcp(&text).into_owned())
}

/// The first of the lines, as many as are allowed; where some are cut, the last says how many.
pub(crate) fn cut(mut lines: VecDeque<Line>, allowed: u32, reply: &Reply, frame: Frame) -> VecDeque<Line> {
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    if lines.len() > allowed {
        let said = allowed.saturating_sub(1);
        let note = more_lines(lines.len() - said);
        lines.truncate(said);
        let room = Line::room(reply.kind, &reply.channel, frame);
        lines.extend(split(&note, room).next().map(|note| Line::say(reply.kind, &reply.channel, &note)));
    }
    lines
}

/// Only its kind makes a reply an action: its text can't begin or end a CTCP message.
fn without_ctcp(text: &str) -> Cow<'_, str> {
    if text.contains('\x01') { Cow::Owned(text.replace('\x01', "")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::{ReplyContext, ReplyKind};

    fn reply(kind: ReplyKind, channel: &str, content: &str) -> Reply {
        let body = format!(r#"{{"channel":"{channel}","content":"x","kind":"{}"}}"#, kind.word());
        Reply { content: content.into(), ..Reply::read(body.as_bytes(), ReplyContext::default()).unwrap() }
    }

    proptest! {
        #[test]
        fn whatever_is_said_reaches_its_receivers_whole_and_in_lines_of_the_servers_length(
            text in "[a-zäß€🎉 \r\n\0\x01]{0,900}|\\PC{0,400}",
            channel in "#[a-z]{0,60}",
            nick in "[a-z]{1,30}",
            kind in prop_oneof![Just(ReplyKind::Chat), Just(ReplyKind::Action), Just(ReplyKind::Notice)],
            length in 512_usize..3_000,
        ) {
            let identity = format!("{nick}!~user@host.example");
            let mut said = String::new();
            for line in lines(&reply(kind, &channel, &text), Frame { line: length, identity: identity.len() }).0 {
                let line = std::str::from_utf8(line.bytes()).expect("cut within a character");
                prop_assert!(":".len() + identity.len() + " ".len() + line.len() <= length);
                let (head, text) = line.split_once(" :").unwrap();
                let expected = if kind == ReplyKind::Notice { "NOTICE" } else { "PRIVMSG" };
                prop_assert_eq!(head, format!("{expected} {channel}"));
                let text = text.strip_suffix("\r\n").unwrap();
                let text = match kind {
                    ReplyKind::Action => text.strip_prefix("\x01ACTION ").and_then(|it| it.strip_suffix('\x01')).unwrap(),
                    _ => text,
                };
                prop_assert!(!text.is_empty() && !text.contains(['\r', '\n', '\0', '\x01']));
                said.push_str(text);
            }
            prop_assert_eq!(said.replace(' ', ""), text.replace([' ', '\r', '\n', '\0', '\x01'], ""));
        }

        #[test]
        fn formatted_text_fits_into_lines_of_512_bytes_too(
            text in "([a-z]{0,9}[ 5]|e\u{301}|👨\u{200d}👩|\x02|\x1d|\x034,15|\x0304|\x0455aaff,00ff00|\x0f){0,300}",
            channel in "#[a-z]{0,60}",
        ) {
            let identity = "pubbot!~user@host.example";
            for line in lines(&reply(ReplyKind::Action, &channel, &text), Frame { identity: identity.len(), ..Frame::default() }).0 {
                prop_assert!(":".len() + identity.len() + " ".len() + line.bytes().len() <= 512);
                prop_assert!(line.bytes().ends_with(b"\x01\r\n"));
            }
        }
    }
}
