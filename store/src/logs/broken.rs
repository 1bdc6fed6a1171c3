//! Lines that can't be imported: which, and why. They are for a person to look at, so they are short and safe to print.

use std::fmt;

/// How much of a broken line is shown, in characters.
const MAX_SHOWN: usize = 120;

/// A line that was left out. Reading goes on after it, unless the reason is [`Why::Unreadable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The line's number in its file, counted from 1.
    pub line: u64,
    /// How it begins: at most 120 characters, without control characters.
    pub text: String,
    /// What is wrong with it.
    pub why: Why,
}

/// Why a line was left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Longer than [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES).
    #[error("it is longer than 64 KiB")]
    TooLong,
    /// No time where this format has one.
    #[error("it does not begin with a time")]
    NoTime,
    /// A time, and no word of the day.
    #[error("nothing says which day it was: give the day, or name the file for it, as in 2026-11-28.log")]
    NoDay,
    /// A line that should name the day, and can't be read. What follows has no day until the next one.
    #[error("it names no day that can be read, such as “Sat Nov 28 2026”")]
    BadDay,
    /// The clock was set forward over this time.
    #[error("there was no such time in this time zone: is it the log's?")]
    NoSuchTime,
    /// Nothing that this format has in a channel.
    #[error("such a line is not known in this format")]
    Unknown,
    /// It tells what the log's owner did without saying by which name.
    #[error("it does not say whose nick changed")]
    OwnNick,
    /// Private messages are not archived.
    #[error("private messages are not archived")]
    Private,
    /// It is about another channel than the one into which the log is read.
    #[error("it belongs to {0}")]
    Elsewhere(String),
    /// More lines than [`MAX_LINES_OF_A_MOMENT`](super::MAX_LINES_OF_A_MOMENT) have the same time.
    #[error("more than 65,536 lines have the same time")]
    TooMany,
    /// Not the JSON that [`json`](super::json) describes.
    #[error("{0}")]
    Json(String),
    /// The source failed; nothing after this line was read.
    #[error("the rest can't be read: {0}")]
    Unreadable(String),
}

impl Broken {
    pub(super) fn new(line: u64, text: &str, why: Why) -> Self {
        Broken { line, text: shortened(text), why }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.why, self.text)
    }
}

impl std::error::Error for Broken {}

/// The beginning of `text`. A terminal obeys control characters, so they become `�`.
fn shortened(text: &str) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut shown: String = text.chars().take(MAX_SHOWN).map(printable).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_is_shown_short_and_without_control_characters() {
        let broken = Broken::new(7, &format!("\u{1b}[2J{}", "ä".repeat(200)), Why::NoTime);
        assert_eq!(broken.text.chars().count(), MAX_SHOWN);
        let shown = broken.to_string();
        assert!(shown.starts_with("line 7: it does not begin with a time: �[2Jä") && shown.ends_with("ä…"), "{shown}");
        assert_eq!(Broken::new(1, &"a".repeat(MAX_SHOWN), Why::Unknown).text, "a".repeat(MAX_SHOWN));
    }
}
