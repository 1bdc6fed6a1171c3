//! Cuts a text into pieces that fit on a line: between words where possible, never within what is read as one character
//! (a grapheme cluster: a letter with its accents, an emoji made of several) unless that alone is too long. Formatting
//! goes on: a piece begins with the codes of what was on where the one before it was cut.

use std::borrow::Cow;

use protocol::formatting::{begins_code, code_length};
use unicode_segmentation::UnicodeSegmentation;

use crate::irc::speak::formatting::Formatting;

/// Pieces of `text` of at most `room` bytes each, codes included; `room` is at least 64.
///
/// A text is `p1 s1 p2 s2 … pn sn`, in which each `s` holds nothing but spaces, and the last one perhaps codes: these vanish. A
/// piece is a `p`, behind the codes of what is on there. Where `s` is empty, a word is cut that is too long for a line; `p` has no
/// other before it. No unit (see [`units`]) is cut that is shorter than the room.
pub(crate) fn split(text: &str, room: usize) -> impl Iterator<Item = Cow<'_, str>> {
    pieces(text, room).map(|Piece { codes, text, .. }| match codes.as_str() {
        "" => Cow::Borrowed(text),
        _ => Cow::Owned(codes + text),
    })
}

/// A piece of a text.
pub(crate) struct Piece<'a> {
    /// The codes of what was on where the one before it was cut.
    pub codes: String,
    pub text: &'a str,
    /// There were spaces behind it, where it was cut.
    pub between_words: bool,
}

/// The same with what makes one text of them again.
pub(crate) fn pieces(text: &str, room: usize) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = Rest { text, formatting: Formatting::default() };
    std::iter::from_fn(move || {
        let is_first = rest.text.len() == text.len();
        while !rest.text.is_empty() && (is_first || !shows_nothing(rest.text)) {
            let codes = rest.formatting.codes(rest.text);
            let (text, between_words) = rest.cut(room.saturating_sub(codes.len()));
            if !text.is_empty() {
                return Some(Piece { codes, text, between_words });
            }
        }
        None
    })
}

/// What is left to be cut, and what is on at its beginning.
struct Rest<'a> {
    text: &'a str,
    formatting: Formatting<'a>,
}

/// A place between two units of a text, and what is on there.
#[derive(Clone, Copy)]
struct Place<'a> {
    at: usize,
    formatting: Formatting<'a>,
}

impl<'a> Rest<'a> {
    /// Takes as much as fits from the beginning; whether there were spaces behind it.
    fn cut(&mut self, room: usize) -> (&'a str, bool) {
        if self.text.len() <= room {
            return (std::mem::take(&mut self.text), false);
        }
        let end = self.end(room);
        let (piece, behind) = self.text.split_at(end.at);
        (self.text, self.formatting) = (after_spaces(behind), end.formatting);
        let between_words = self.text.len() < behind.len();
        (if between_words { before_spaces(piece) } else { piece }, between_words)
    }

    /// Where the piece ends: before the last space that lies within the room or right behind it; else behind the last
    /// unit that fits; else within the first one, which is too long.
    fn end(&self, room: usize) -> Place<'a> {
        let (mut here, mut fits, mut between_words) = (Place { at: 0, formatting: self.formatting }, None, None);
        let mut in_word = false;
        for unit in units(self.text) {
            if unit == " " && in_word {
                between_words = Some(here);
            }
            here.at += unit.len();
            if here.at > room {
                break;
            }
            match code_length(unit) {
                0 => in_word |= unit != " ",
                _ => here.formatting.take(unit),
            }
            fits = Some(here);
        }
        between_words.or(fits).unwrap_or_else(|| Place { at: window(self.text, room), formatting: self.formatting })
    }
}

/// The units of a text that are not to be cut: codes, and what is read as one character.
fn units(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    // the graphemes of the part up to the next code
    let mut graphemes = "".graphemes(true);
    std::iter::from_fn(move || {
        if let Some(grapheme) = graphemes.next() {
            return Some(grapheme);
        }
        let (code, behind) = rest.split_at(code_length(rest));
        if !code.is_empty() {
            rest = behind;
            return Some(code);
        }
        let plain = rest.bytes().position(begins_code).unwrap_or(rest.len());
        graphemes = rest[..plain].graphemes(true);
        rest = &rest[plain..];
        graphemes.next()
    })
}

/// Nothing but codes and spaces.
fn shows_nothing(text: &str) -> bool {
    units(text).all(|unit| unit == " " || code_length(unit) > 0)
}

/// A space with an accent on it is none.
fn after_spaces(text: &str) -> &str {
    let spaces = text.graphemes(true).take_while(|grapheme| *grapheme == " ").count();
    &text[spaces..]
}

fn before_spaces(text: &str) -> &str {
    let spaces = text.graphemes(true).rev().take_while(|grapheme| *grapheme == " ").count();
    &text[..text.len() - spaces]
}

/// The longest part within the room that ends between characters; at least one character.
fn window(text: &str, room: usize) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    text.floor_char_boundary(room).max(first)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str, room: usize) -> Vec<String> {
        split(text, room).map(Cow::into_owned).collect()
    }

    #[test]
    fn a_text_that_fits_stays_as_it_is() {
        assert_eq!(pieces("  hello \x02world ", 15), ["  hello \x02world "]);
        assert_eq!(pieces("", 5), Vec::<String>::new());
    }

    #[test]
    fn a_long_text_is_cut_between_words() {
        assert_eq!(pieces("the quick brown fox", 9), ["the quick", "brown fox"]);
        assert_eq!(pieces("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(pieces("the   quick", 8), ["the", "quick"]);
    }

    #[test]
    fn a_long_word_is_cut_between_characters() {
        assert_eq!(pieces("äöü", 3), ["ä", "ö", "ü"]);
        assert_eq!(pieces("ab cdefgh", 4), ["ab", "cdef", "gh"]);
        assert_eq!(pieces("     abcdefgh", 6), ["     a", "bcdefg", "h"]);
    }

    #[test]
    fn what_is_read_as_one_character_stays_whole_unless_it_is_too_long_alone() {
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!(pieces(&format!("abc{family}"), family.len() + 2), ["abc", family]);
        assert_eq!(pieces("🇩🇪🇫🇷", 12), ["🇩🇪", "🇫🇷"]);
        assert_eq!(pieces("abce\u{301}\u{302}", 6), ["abc", "e\u{301}\u{302}"]);
        assert_eq!(pieces("e\u{301}\u{302}\u{303}", 5), ["e\u{301}\u{302}", "\u{303}"]);
        // a space with an accent is none
        assert_eq!(pieces("abcd \u{301}efgh", 6), ["abcd", " \u{301}efg", "h"]);
    }

    #[test]
    fn formatting_goes_on_in_the_next_piece() {
        assert_eq!(pieces("\x02bold text\x02 and not", 10), ["\x02bold", "\x02text\x02 and", "not"]);
        assert_eq!(pieces("\x0304red and so on", 9), ["\x0304red", "\x0304and so", "\x0304on"]);
        assert_eq!(pieces("\x034,5red 5 and", 7), ["\x034,5red", "\x034,5\x02\x025", "\x034,5and"]);
        assert_eq!(pieces("\x1done \x0f two", 6), ["\x1done \x0f", "two"]);
        assert_eq!(pieces("abcdef\x0312gh", 8), ["abcdef", "\x0312gh"]);
    }

    #[test]
    fn what_is_left_and_shows_nothing_is_no_piece_of_its_own() {
        assert_eq!(pieces("\x02bold\x02", 5), ["\x02bold"]);
        assert_eq!(pieces("\x02bold\x02  \x0f ", 5), ["\x02bold"]);
        assert_eq!(pieces("\x02 \x02", 64), ["\x02 \x02"]);
    }

    /// How a client shows a text: each character, and what is on there.
    fn shown(text: &str) -> Vec<(char, String)> {
        let (mut shown, mut on, mut colours) = (Vec::new(), BTreeSet::new(), [""; 2]);
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\x0f' => (on, colours) = Default::default(),
                '\x03' => rest = coloured(rest, 1..=2, char::is_ascii_digit, &mut colours),
                '\x04' => rest = coloured(rest, 6..=6, char::is_ascii_hexdigit, &mut colours),
                '\x02' | '\x1d' | '\x1f' | '\x1e' | '\x11' | '\x16' if on.remove(&c) => {}
                '\x02' | '\x1d' | '\x1f' | '\x1e' | '\x11' | '\x16' => _ = on.insert(c),
                c => shown.push((c, format!("{on:?} {colours:?}"))),
            }
        }
        shown
    }

    /// Takes one colour or two, or none at all.
    fn coloured<'a>(
        text: &'a str,
        digits: std::ops::RangeInclusive<usize>,
        is_digit: fn(&char) -> bool,
        colours: &mut [&'a str; 2],
    ) -> &'a str {
        let number = |text: &'a str| {
            let found = text.chars().take(*digits.end()).take_while(is_digit).count();
            text.split_at(if digits.contains(&found) { found } else { 0 })
        };
        let (front, rest) = number(text);
        if front.is_empty() {
            *colours = [""; 2];
            return rest;
        }
        colours[0] = front;
        match rest.strip_prefix(',').map(number) {
            Some((back, rest)) if !back.is_empty() => {
                colours[1] = back;
                rest
            }
            _ => rest,
        }
    }

    fn without_spaces(text: &str) -> Vec<(char, String)> {
        shown(text).into_iter().filter(|(c, _)| *c != ' ').collect()
    }

    const SWITCH: &str = "\x02|\x1d|\x1f|\x1e|\x11|\x16|\x0f";
    const COLOUR: &str = "\x03(,|[0-9]{1,3}|[0-9]{1,2},[0-9]{1,3})?";
    const HEX_COLOUR: &str = "\x04([0-9a-fA-F]{5,7}|[0-9a-f]{6},[0-9a-f]{6})?";

    /// Words, emoji made of several, letters with accents, flags.
    fn part() -> impl Strategy<Value = String> {
        "[a-z0-9,äß€]{1,8}|[e \u{301}\u{302}]{1,6}|👨\u{200d}👩\u{200d}👧|(🇩🇪){1,3}| {1,4}|\\PC{1,5}"
    }

    fn plain_text() -> impl Strategy<Value = String> {
        proptest::collection::vec(part(), 0..80).prop_map(|parts| parts.concat())
    }

    /// The same with formatting of every kind.
    pub(in crate::irc::speak) fn formatted_text() -> impl Strategy<Value = String> {
        let part = prop_oneof![3 => part(), 1 => SWITCH, 1 => COLOUR, 1 => HEX_COLOUR];
        proptest::collection::vec(part, 0..80).prop_map(|parts| parts.concat())
    }

    /// Whether these are the pieces of the text, by what is promised of [`split`].
    pub(in crate::irc::speak) fn check(text: &str, room: usize, pieces: &[String]) -> Result<(), TestCaseError> {
        let boundaries: BTreeSet<usize> =
            units(text).scan(0, |at, unit| Some(std::mem::replace(at, *at + unit.len()))).collect();
        let is_cut_in_units = units(text).any(|unit| unit.len() + 29 > room);
        let mut at = 0;
        for (number, piece) in pieces.iter().enumerate() {
            prop_assert!(!piece.is_empty() && piece.len() <= room, "{piece:?}");
            let mut formatting = Formatting::default();
            units(&text[..at]).filter(|unit| code_length(unit) > 0).for_each(|code| formatting.take(code));
            let codes = formatting.codes(&text[at..]);
            prop_assert!(piece.starts_with(&codes), "{piece:?} does not begin with {codes:?}");
            let piece = &piece[codes.len()..];
            if number == 0 && !text.starts_with(piece) {
                at = text.len() - after_spaces(text).len();
            }
            prop_assert!(text[at..].starts_with(piece), "{piece:?} is not at {at}");
            at += piece.len();
            let behind = after_spaces(&text[at..]);
            if number + 1 < pieces.len() && behind.len() == text.len() - at {
                let first_word = units(piece).skip_while(|unit| *unit == " " || code_length(unit) > 0);
                prop_assert!(!first_word.into_iter().any(|unit| unit == " "), "a word is cut behind others: {piece:?}");
                prop_assert!(is_cut_in_units || boundaries.contains(&at), "a character is cut behind {piece:?}");
            }
            at = text.len() - behind.len();
        }
        prop_assert!(shows_nothing(&text[at..]), "{:?} is left out", &text[at..]);
        Ok(())
    }

    fn characters(text: &str) -> impl Iterator<Item = &str> {
        text.graphemes(true).filter(|character| *character != " ")
    }

    proptest! {
        #[test]
        fn every_piece_fits_and_together_they_show_what_the_text_shows(text in formatted_text(), room in 64..120_usize) {
            let pieces = pieces(&text, room);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= room));
            let together: Vec<_> = pieces.iter().flat_map(|piece| without_spaces(piece)).collect();
            prop_assert_eq!(together, without_spaces(&text));
        }

        #[test]
        fn pieces_are_what_is_promised(text in formatted_text(), long in "[a-zé]{0,300}", room in 64..500_usize) {
            let text = format!("{text}{long} {text}");
            check(&text, room, &pieces(&text, room))?;
        }

        #[test]
        fn without_formatting_nothing_is_lost_but_spaces(text in "[a-zäß€🎉 ]{0,200}|\\PC{0,100}", room in 4..40_usize) {
            let pieces = pieces(&text, room);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= room));
            prop_assert_eq!(pieces.concat().replace(' ', ""), text.replace(' ', ""));
        }

        #[test]
        fn words_that_fit_stay_whole(words in proptest::collection::vec("[a-zäß]{1,8}", 0..30), room in 16..40_usize) {
            let text = words.join(" ");
            let found: Vec<String> =
                pieces(&text, room).iter().flat_map(|piece| piece.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
            prop_assert_eq!(found, words);
        }

        #[test]
        fn what_is_read_as_one_character_is_never_cut(text in plain_text(), room in 64..120_usize) {
            prop_assume!(characters(&text).all(|character| character.len() <= room));
            let pieces = pieces(&text, room);
            let together: Vec<&str> = pieces.iter().flat_map(|piece| characters(piece)).collect();
            prop_assert_eq!(together, characters(&text).collect::<Vec<_>>());
        }
    }
}
