//! Text that fits on one IRC line: the one type that can't hold a carriage return, a line feed or a NUL.

use std::fmt;
use std::ops::Deref;

/// Text without CR, LF and NUL (RFC 2812, section 2.3). Everything that goes out to a chat network passes through this
/// type, so text can never begin a second line, whatever it came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IrcText(String);

const FORBIDDEN: [char; 3] = ['\r', '\n', '\0'];

impl IrcText {
    /// `text` as one line: runs of CR and LF become one space, NUL vanishes.
    pub fn one_line(text: &str) -> Self {
        if !text.contains(FORBIDDEN) {
            return IrcText(text.to_owned());
        }
        let words: Vec<String> =
            text.split(['\r', '\n']).filter(|part| !part.is_empty()).map(|part| part.replace('\0', "")).collect();
        IrcText(words.join(" "))
    }

    /// `text` as the lines it consists of, ended by CR, LF or both. Empty lines are left out, since IRC has none.
    pub fn lines(text: &str) -> impl Iterator<Item = IrcText> {
        text.split(['\r', '\n']).map(|line| IrcText(line.replace('\0', ""))).filter(|line| !line.is_empty())
    }

    /// A piece of this text; `None` if the range does not lie on character boundaries within it.
    pub fn get(&self, range: std::ops::Range<usize>) -> Option<IrcText> {
        self.0.get(range).map(|part| IrcText(part.to_owned()))
    }
}

impl Deref for IrcText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IrcText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_line_turns_line_ends_into_a_space_and_drops_nul() {
        assert_eq!(&*IrcText::one_line("a\r\nQUIT :b\0c\rd"), "a QUIT :bc d");
    }

    #[test]
    fn lines_ends_at_any_of_cr_lf_and_crlf_and_leaves_empty_lines_out() {
        let lines: Vec<_> = IrcText::lines("a\r\nb\rc\n\n\0\nd").map(|line| line.to_string()).collect();
        assert_eq!(lines, ["a", "b", "c", "d"]);
    }

    proptest! {
        #[test]
        fn no_text_gets_a_line_end_through(text in "\\PC*|[a-c\r\n\0 ]*") {
            prop_assert!(!IrcText::one_line(&text).contains(FORBIDDEN));
            for line in IrcText::lines(&text) {
                prop_assert!(!line.contains(FORBIDDEN) && !line.is_empty());
            }
        }
    }
}
