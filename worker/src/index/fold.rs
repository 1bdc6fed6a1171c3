//! Folding: what a line and a literal are put through before they are compared.
//!
//! ASCII letters become lower case; so do the long s and the Kelvin sign, which Unicode folds to `s` and `k`; all
//! digits become `0`. Characters are folded one by one, so a line that contains something, when folded, contains
//! it folded. That alone makes it sound, whatever more the patterns' own case folding does. It makes one literal
//! of `(?i)thanks`, and one of `\d{4}-\d\d`.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Dot, Hir, HirKind, Repetition};

/// The most characters that a class may fold to and still be spelt out in literals; a larger class ends a literal.
pub(super) const MAX_CLASS: usize = 16;

const LONG_S: char = '\u{17F}';
const KELVIN: char = '\u{212A}';

fn fold(char: char) -> char {
    match char {
        LONG_S => 's',
        KELVIN => 'k',
        _ if char.is_numeric() => '0',
        _ => char.to_ascii_lowercase(),
    }
}

fn fold_byte(byte: u8) -> u8 {
    if byte.is_ascii_digit() { b'0' } else { byte.to_ascii_lowercase() }
}

/// True for what folds to a character of another length.
fn moves(char: char) -> bool {
    !char.is_ascii() && fold(char) != char
}

/// Folds a line into `folded`, in place of what was there. True when every byte kept its place.
pub(super) fn line(line: &str, folded: &mut Vec<u8>) -> bool {
    folded.clear();
    if line.is_ascii() || !line.chars().any(moves) {
        folded.extend(line.bytes().map(fold_byte));
        return true;
    }
    let mut bytes = [0; 4];
    for char in line.chars() {
        folded.extend_from_slice(fold(char).encode_utf8(&mut bytes).as_bytes());
    }
    false
}

/// Folds a literal.
pub(super) fn literal(literal: &[u8]) -> Box<[u8]> {
    match std::str::from_utf8(literal) {
        Ok(text) => text.chars().map(fold).collect::<String>().into_bytes().into(),
        Err(_) => literal.iter().map(|byte| fold_byte(*byte)).collect(),
    }
}

/// A pattern for folded lines: it matches at least the folded form of everything that `pattern` matches.
pub(super) fn pattern(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Hir::empty(),
        HirKind::Literal(text) => Hir::literal(literal(&text.0)),
        HirKind::Class(class) => match folded_class(class) {
            Some(chars) => {
                let ranges = chars.into_iter().map(|char| ClassUnicodeRange::new(char, char));
                Hir::class(Class::Unicode(ClassUnicode::new(ranges)))
            }
            None => Hir::dot(Dot::AnyChar),
        },
        HirKind::Repetition(Repetition { min, max, greedy, sub }) => {
            let sub = Box::new(pattern(sub));
            Hir::repetition(Repetition { min: *min, max: *max, greedy: *greedy, sub })
        }
        HirKind::Capture(capture) => pattern(&capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(pattern).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(pattern).collect()),
    }
}

/// True when folding loses nothing: a line whose bytes keep their places matches whenever the folded line matches
/// the folded pattern.
pub(super) fn loses_nothing(pattern: &Hir) -> bool {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(text) => literal(&text.0) == text.0 && !text.0.iter().any(u8::is_ascii_alphanumeric),
        HirKind::Class(class) => folded_class(class).is_some_and(|chars| {
            let ranges = ranges(class);
            let contains = |char: char| ranges.iter().any(|(start, end)| (*start..=*end).contains(&char));
            chars.into_iter().all(|char| match char {
                '0' => ('0'..='9').all(contains),
                _ => contains(char) && contains(char.to_ascii_uppercase()),
            })
        }),
        HirKind::Repetition(repetition) => loses_nothing(&repetition.sub),
        HirKind::Capture(capture) => loses_nothing(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(loses_nothing),
    }
}

/// What the characters of a class fold to; none when that is more than [`MAX_CLASS`].
fn folded_class(class: &Class) -> Option<Vec<char>> {
    let mut folded = Vec::new();
    for char in ranges(class).into_iter().flat_map(|(start, end)| start..=end) {
        let char = fold(char);
        if folded.last() == Some(&char) || folded.contains(&char) {
            continue;
        }
        if folded.len() == MAX_CLASS {
            return None;
        }
        folded.push(char);
    }
    Some(folded)
}

/// The ranges of a class. One of bytes is ASCII, since patterns match text.
fn ranges(class: &Class) -> Vec<(char, char)> {
    match class {
        Class::Unicode(class) => class.ranges().iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> (String, bool) {
        let mut folded = Vec::new();
        let in_place = line(text, &mut folded);
        (String::from_utf8(folded).unwrap(), in_place)
    }

    #[test]
    fn ascii_and_most_other_text_keeps_its_places() {
        assert_eq!(folded("Build 407: ÄRGER 🎉"), ("build 000: Ärger 🎉".to_owned(), true));
    }

    #[test]
    fn what_folds_to_a_shorter_character_moves_the_rest() {
        assert_eq!(folded("\u{212A}iſſ ٣ ½"), ("kiss 0 0".to_owned(), false));
    }

    #[test]
    fn every_digit_that_a_pattern_knows_folds_to_zero() {
        let digit = regex_syntax::parse(r"\d").unwrap();
        assert_eq!(pattern(&digit), Hir::literal(*b"0"));
        assert!(loses_nothing(&digit));
    }

    #[test]
    fn folding_loses_what_a_pattern_distinguishes() {
        let loses_nothing = |pattern: &str| loses_nothing(&regex_syntax::parse(pattern).unwrap());
        assert!(loses_nothing("(?i)thanks?"));
        assert!(loses_nothing("(?i-u)[a-f] #[0-9]"));
        assert!(!loses_nothing("thanks"));
        assert!(!loses_nothing("(?i)thanks 2"));
        assert!(!loses_nothing("[1-9]"));
        assert!(!loses_nothing("ſ"));
        assert!(!loses_nothing("[½²]"));
    }
}
