//! From bytes to messages: finds the lines, decodes them (what is not UTF-8 is replaced, never fatal), parses them.
//! Whatever a server sends, the worst it gets is a line left out and a line in the log.

use std::borrow::Cow;

use irc_proto::{Command, Message};

use crate::line_buffer::LineBuffer;

/// The longest part with tags, in bytes, `@` and the space behind it included (IRCv3 message tags, "Size limit").
const MAX_TAG_BYTES: usize = 8191;
/// The longest line without its tags, in bytes, CR LF included (RFC 2812, section 2.3), unless the server says otherwise.
pub(crate) const MAX_LINE_BYTES: usize = 512;
/// The longest line that a server is believed to have (005 ISUPPORT, LINELEN): each connection may have to hold one.
pub(crate) const MAX_LINELEN: usize = 16 * 1024;

/// Finds messages in what a server sends.
pub(crate) struct Framing {
    network: String,
    lines: LineBuffer,
    /// The longest line without its tags, CR LF included.
    line_bytes: usize,
    overlong: u64,
    unparsable: u64,
}

impl Framing {
    pub fn new(network: &str) -> Self {
        let lines = LineBuffer::new(MAX_TAG_BYTES + MAX_LINE_BYTES - 2);
        Framing { network: network.to_owned(), lines, line_bytes: MAX_LINE_BYTES, overlong: 0, unparsable: 0 }
    }

    /// The server says that its lines have so many bytes at most, CR LF included and tags not.
    pub fn expect_lines_of(&mut self, bytes: usize) {
        self.line_bytes = bytes.clamp(MAX_LINE_BYTES, MAX_LINELEN);
        self.lines.allow(MAX_TAG_BYTES + self.line_bytes - 2);
    }

    /// Takes what was read. Call [`Framing::next_message`] until it has no more, before more is fed.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.lines.feed(bytes);
    }

    /// The next message.
    pub fn next_message(&mut self) -> Option<Message> {
        loop {
            let before = self.lines.discarded();
            let read = self.lines.next_line().map(|line| read(line, self.line_bytes));
            let discarded = self.lines.discarded() - before;
            self.note_overlong(discarded);
            match read? {
                Ok(message) => return Some(message),
                Err(Fault::TooLong) => self.note_overlong(1),
                Err(Fault::Unparsable(line)) => self.note_unparsable(&line),
            }
        }
    }

    fn note_overlong(&mut self, lines: u64) {
        if self.overlong == 0 && lines > 0 {
            tracing::warn!(network = self.network, "a line was too long and left out; further ones are only counted");
        }
        self.overlong += lines;
    }

    fn note_unparsable(&mut self, line: &str) {
        if self.unparsable == 0 {
            tracing::warn!(network = self.network, line, "a line made no sense; further ones are only counted");
        }
        self.unparsable += 1;
    }
}

impl Drop for Framing {
    fn drop(&mut self) {
        if self.overlong + self.unparsable > 1 {
            let (overlong, unparsable) = (self.overlong, self.unparsable);
            tracing::warn!(network = self.network, overlong, unparsable, "lines were left out of this session");
        }
    }
}

/// Why a line is left out.
enum Fault {
    TooLong,
    Unparsable(String),
}

fn read(line: &[u8], line_bytes: usize) -> Result<Message, Fault> {
    if !fits(line, line_bytes) {
        return Err(Fault::TooLong);
    }
    let text = decode(line);
    normalise(&text).parse().map_err(|_| Fault::Unparsable(text.to_string()))
}

/// Whether both the tags and the rest keep to their limits.
fn fits(line: &[u8], line_bytes: usize) -> bool {
    let tags = match line.first() {
        Some(b'@') => line.iter().position(|&byte| byte == b' ').map_or(line.len(), |space| space + 1),
        _ => 0,
    };
    tags <= MAX_TAG_BYTES && line.len() - tags <= line_bytes - 2
}

/// The number of an answer and its parameters, of which the first is our own nick. The parser knows some numbers by
/// name, and others not.
pub(crate) fn numbered(command: &Command) -> Option<(u16, &[String])> {
    match command {
        Command::Response(numeric, parameters) => Some((*numeric as u16, parameters)),
        Command::Raw(number, parameters) if number.len() == 3 => Some((number.parse().ok()?, parameters)),
        _ => None,
    }
}

fn decode(line: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(line);
    if text.contains('\0') { Cow::Owned(text.replace('\0', "")) } else { text }
}

/// How a MODE reaches us: the parser would take it apart by the modes of RFC 1459, whatever the server's are, and refuse
/// what it doesn't know. So it is given a command that it leaves alone.
pub(crate) const MODE: &str = "X-MODE";

/// The line as the parser is to read it: with single spaces around tags and prefix, since it takes a second one for an empty
/// command, and with [`MODE`].
fn normalise(line: &str) -> Cow<'_, str> {
    let rest = line.trim_start_matches(' ');
    let (tags, rest) = head(rest, '@');
    let (prefix, rest) = head(rest, ':');
    if let Some((command, parameters)) = rest.split_once(' ')
        && command.eq_ignore_ascii_case("MODE")
    {
        return Cow::Owned(joined([tags, prefix, MODE, parameters]));
    }
    let parts = [tags, prefix, rest];
    let spaces = usize::from(!tags.is_empty()) + usize::from(!prefix.is_empty());
    if parts.iter().map(|part| part.len()).sum::<usize>() + spaces == line.len() {
        return Cow::Borrowed(line);
    }
    Cow::Owned(joined(parts))
}

/// What is not empty of them, with single spaces between.
fn joined<const N: usize>(parts: [&str; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Splits off the first word if it begins with `mark`, with the spaces behind it.
fn head(text: &str, mark: char) -> (&str, &str) {
    match text.split_once(' ') {
        Some((word, rest)) if word.starts_with(mark) => (word, rest.trim_start_matches(' ')),
        _ => ("", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages(bytes: &[u8]) -> Vec<Message> {
        let mut framing = Framing::new("test");
        framing.feed(bytes);
        std::iter::from_fn(|| framing.next_message()).collect()
    }

    fn said(bytes: &[u8]) -> Vec<String> {
        let text = |message: Message| match message.command {
            Command::PRIVMSG(_, text) => Some(text),
            _ => None,
        };
        messages(bytes).into_iter().filter_map(text).collect()
    }

    #[test]
    fn what_is_not_utf8_is_replaced_and_nul_is_dropped() {
        assert_eq!(said(b":a!b@c PRIVMSG #c :gr\xfc\xdfe\0!\n"), ["gr\u{fffd}\u{fffd}e!"]);
    }

    #[test]
    fn a_line_may_have_512_bytes_with_its_end_and_tags_beside_that() {
        let line = |length: usize| {
            let head = ":a!b@c PRIVMSG #c :";
            format!("{head}{}\r\n", "x".repeat(length - head.len() - 2))
        };
        assert_eq!(said(line(512).as_bytes()).len(), 1);
        assert_eq!(said(line(513).as_bytes()).len(), 0);
        let tags = |length: usize| format!("@{} ", "t".repeat(length - 2));
        assert_eq!(said((tags(8191) + &line(512)).as_bytes()).len(), 1);
        assert_eq!(said((tags(8192) + &line(100)).as_bytes()).len(), 0);
        assert_eq!(said((tags(100) + &line(513)).as_bytes()).len(), 0);
    }

    #[test]
    fn lines_are_as_long_as_the_server_says_within_reason() {
        let line = |length: usize| {
            let head = ":a!b@c PRIVMSG #c :";
            format!("{head}{}\r\n", "x".repeat(length - head.len() - 2))
        };
        for (says, longest) in [(2_048, 2_048), (100, 512), (1_000_000, MAX_LINELEN)] {
            let mut framing = Framing::new("test");
            framing.expect_lines_of(says);
            framing.feed((line(longest) + &line(longest + 1)).as_bytes());
            assert_eq!(std::iter::from_fn(|| framing.next_message()).count(), 1, "{says}");
        }
    }

    #[test]
    fn a_line_of_a_megabyte_is_passed_over() {
        let mut bytes = vec![b'x'; 1024 * 1024];
        bytes.extend_from_slice(b"\r\n:a!b@c PRIVMSG #c :after\r\n");
        assert_eq!(said(&bytes), ["after"]);
    }

    #[test]
    fn superfluous_spaces_around_tags_and_prefix_change_nothing() {
        for line in ["@t=1   :a!b@c  PRIVMSG #c :x  y", "  :a!b@c    PRIVMSG  #c  :x  y", ":a!b@c PRIVMSG #c :x  y"] {
            assert_eq!(said(format!("{line}\n").as_bytes()), ["x  y"], "{line}");
        }
    }

    #[test]
    fn lines_without_sense_are_passed_over() {
        assert_eq!(said(b":\n@\n: \n:a\n   \nMODE #c x\n:a!b@c PRIVMSG #c :ok\n"), ["ok"]);
    }

    proptest! {
        #[test]
        fn no_bytes_can_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            messages(&bytes);
        }

        #[test]
        fn no_line_can_make_it_panic(line in "[@: ]{0,3}[a-z!@:]{0,5} {0,2}(PRIVMSG|MODE|JOIN|005|353|BATCH|CAP|FAIL)[ :a-z+#-]{0,30}") {
            messages(format!("{line}\n").as_bytes());
        }
    }
}
