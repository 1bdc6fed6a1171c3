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
    use crate::irc::speak::split::tests::{check, formatted_text};
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
        fn any_text_reaches_any_target_in_whole_lines_of_512_bytes_that_are_its_pieces(
            parts in proptest::collection::vec(prop_oneof![
                4 => formatted_text(),
                1 => "[a-z€]{200,700}",
                1 => "[\r\n\0\x01]{1,3}",
            ], 0..6),
            target in "[@+]?#\\PC{1,40}|[a-z]{1,30}|@#[a-z]{198}",
            identity in 3_usize..200,
            kind in prop_oneof![Just(ReplyKind::Chat), Just(ReplyKind::Action), Just(ReplyKind::Notice)],
        ) {
            prop_assume!(protocol::check_destination(&target).is_ok());
            let text = parts.concat();
            let reply = Reply { channel: target.clone(), ..reply(kind, "#c", &text) };
            let frame = Frame { identity, ..Frame::default() };
            let mut pieces = Vec::new();
            for line in lines(&reply, frame).0 {
                let line = std::str::from_utf8(line.bytes()).expect("cut within a character");
                prop_assert!(":".len() + identity + " ".len() + line.len() <= 512, "{}", line);
                let command = if kind == ReplyKind::Notice { "NOTICE" } else { "PRIVMSG" };
                let text = line.strip_prefix(&format!("{command} {target} :")).and_then(|text| text.strip_suffix("\r\n"));
                let text = match kind {
                    ReplyKind::Action => text.and_then(|text| text.strip_prefix("\x01ACTION ")?.strip_suffix('\x01')),
                    _ => text,
                };
                let text = text.expect("no whole line");
                prop_assert!(!text.contains(['\r', '\n', '\0', '\x01']));
                pieces.push(text.to_owned());
            }
            let (room, mut pieces) = (Line::room(kind, &target, frame), pieces.as_slice());
            for text in text.split(['\r', '\n']).map(|text| text.replace(['\0', '\x01'], "")) {
                let (own, others) = pieces.split_at(split(&text, room).count());
                check(&text, room, own)?;
                pieces = others;
            }
            prop_assert!(pieces.is_empty());
        }
    }
}
