//! Several lines as one message (IRCv3 `draft/multiline`), where the server takes that: whoever understands it sees one message,
//! the others the lines.

use std::borrow::Cow;
use std::collections::VecDeque;

use protocol::{Reply, ReplyKind};

use crate::irc::speak::line::{Frame, Line};
use crate::irc::speak::lines::texts;
use crate::irc::speak::split::pieces;

/// How much one message may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Multiline {
    /// Bytes of text, with a byte between two lines.
    bytes: usize,
    lines: usize,
}

/// Turns all formatting off.
const RESET: char = '\x0f';

impl Multiline {
    /// What stands behind the `=` of the capability; `None` without a limit for the bytes, which there must be.
    pub fn parse(value: &str) -> Option<Self> {
        let limit = |name: &str| value.split(',').find_map(|token| token.strip_prefix(name)?.strip_prefix('='));
        let bytes = limit("max-bytes")?.parse().ok()?;
        Some(Multiline { bytes, lines: limit("max-lines").and_then(|lines| lines.parse().ok()).unwrap_or(usize::MAX) })
    }

    /// A reply's lines as one message, if they are several and no more than the server takes; else as they were. A text that
    /// was too long for one line goes on in the next; `is_cut` says that there is more of it than may be said.
    pub fn join(self, reply: &Reply, lines: VecDeque<Line>, is_cut: bool, frame: Frame) -> VecDeque<Line> {
        if lines.len() < 2 || reply.kind != ReplyKind::Chat {
            return lines;
        }
        let parts = if is_cut { each_alone(&lines) } else { whole(reply, frame) };
        let bytes: usize = parts.iter().map(|part| part.text.len() + 1).sum();
        if parts.len() > self.lines || bytes > self.bytes {
            return lines;
        }
        let parts = parts.iter().map(|part| (part.text.as_ref(), part.goes_on));
        VecDeque::from([Line::multiline(&reply.channel, parts)])
    }
}

/// A line of a message.
struct Part<'a> {
    text: Cow<'a, str>,
    /// Without a line's end before it.
    goes_on: bool,
}

fn each_alone(lines: &VecDeque<Line>) -> Vec<Part<'_>> {
    let text = |line| String::from_utf8_lossy(Line::text(line).as_ref()).into_owned();
    lines.iter().map(|line| Part { text: text(line).into(), goes_on: false }).collect()
}

/// The lines of a reply. Where one goes on, the space that it was cut at stays at the end of the one before it, and its
/// formatting begins anew: that is right together and apart.
fn whole(reply: &Reply, frame: Frame) -> Vec<Part<'static>> {
    // a space, and what turns formatting off
    let room = Line::room(reply.kind, &reply.channel, frame) - 2;
    let mut parts = Vec::new();
    for text in texts(reply) {
        for (index, piece) in pieces(&text, room).enumerate() {
            let mut part = String::with_capacity(piece.text.len() + 8);
            if !piece.codes.is_empty() {
                part.push(RESET);
                part.push_str(&piece.codes);
            }
            part.push_str(piece.text);
            if piece.between_words {
                part.push(' ');
            }
            parts.push(Part { text: part.into(), goes_on: index > 0 });
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irc::speak::lines::lines;
    use proptest::prelude::*;
    use protocol::ReplyContext;

    const FRAME: Frame = Frame { line: 512, identity: 40 };
    const MULTILINE: Multiline = Multiline { bytes: 4_096, lines: 10 };

    fn reply(content: &str, kind: ReplyKind) -> Reply {
        let reply = Reply::read(br##"{"channel":"#a","content":"x"}"##, ReplyContext::default()).unwrap();
        Reply { content: content.into(), kind, ..reply }
    }

    fn joined(multiline: Multiline, content: &str) -> Vec<String> {
        let reply = reply(content, ReplyKind::Chat);
        let lines = multiline.join(&reply, lines(&reply, FRAME).0, false, FRAME);
        lines.iter().map(|line| String::from_utf8(line.bytes().to_vec()).unwrap()).collect()
    }

    #[test]
    fn the_capability_says_how_much_there_may_be() {
        assert_eq!(Multiline::parse("max-bytes=4096,max-lines=24"), Some(Multiline { bytes: 4_096, lines: 24 }));
        assert_eq!(Multiline::parse("x,max-bytes=1"), Some(Multiline { bytes: 1, lines: usize::MAX }));
        for none in ["", "max-lines=3", "max-bytes=x", "max-bytes"] {
            assert_eq!(Multiline::parse(none), None, "{none}");
        }
    }

    #[test]
    fn several_lines_are_one_message_and_one_line_is_a_line() {
        assert_eq!(
            joined(MULTILINE, "one\ntwo"),
            ["BATCH +m draft/multiline #a\r\n@batch=m PRIVMSG #a :one\r\n@batch=m PRIVMSG #a :two\r\nBATCH -m\r\n"]
        );
        assert_eq!(joined(MULTILINE, "one"), ["PRIVMSG #a :one\r\n"]);
        assert_eq!(joined(Multiline { lines: 1, ..MULTILINE }, "one\ntwo").len(), 2);
        assert_eq!(joined(Multiline { bytes: 7, ..MULTILINE }, "one\ntwo").len(), 2);
        let notice = reply("one\ntwo", ReplyKind::Notice);
        assert_eq!(MULTILINE.join(&notice, lines(&notice, FRAME).0, false, FRAME).len(), 2);
    }

    #[test]
    fn what_is_cut_goes_on_with_its_space_and_its_formatting() {
        let text = format!("\x02{}", "word ".repeat(150));
        let one = joined(MULTILINE, &text).remove(0);
        assert!(one.contains("word \r\n@batch=m;draft/multiline-concat PRIVMSG #a :\x0f\x02word "), "{one}");
        assert!(one.split("\r\n").all(|line| line.len() < 512));
    }

    proptest! {
        #[test]
        fn put_together_the_lines_say_what_was_to_be_said(text in "([a-z]{1,20} ?|\n){0,400}") {
            let reply = reply(&text, ReplyKind::Chat);
            let multiline = Multiline { bytes: usize::MAX, lines: usize::MAX };
            let joined = multiline.join(&reply, lines(&reply, FRAME).0, false, FRAME);
            prop_assert!(joined.len() <= 1);
            if let Some(line) = joined.front() {
                let expected = texts(&reply).collect::<Vec<_>>().join("\n");
                let said = String::from_utf8(line.text().into_owned()).unwrap();
                prop_assert_eq!(said.trim_end(), expected.trim_end());
                for line in line.bytes().split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"@")) {
                    let line = &line[line.iter().position(|byte| *byte == b' ').unwrap() + 1..];
                    prop_assert!(":".len() + FRAME.identity + " ".len() + line.len() < 512);
                }
            }
        }
    }
}
