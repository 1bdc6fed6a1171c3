//! Formatting within a text, as mIRC began it and most clients show it: bold, colours and so on. Each code is on until
//! it comes again, or until a reset; all end with the line.

const BOLD: u8 = 0x02;
const COLOUR: u8 = 0x03;
const HEX_COLOUR: u8 = 0x04;
const RESET: u8 = 0x0f;
const MONOSPACE: u8 = 0x11;
const REVERSE: u8 = 0x16;
const ITALIC: u8 = 0x1d;
const STRIKETHROUGH: u8 = 0x1e;
const UNDERLINE: u8 = 0x1f;

/// What is on or off, in the order in which it is switched on again.
const SWITCHES: [u8; 6] = [BOLD, ITALIC, UNDERLINE, STRIKETHROUGH, MONOSPACE, REVERSE];
/// A number of a colour has so many digits at most, a hex colour exactly so many.
const DIGITS: usize = 2;
const HEX_DIGITS: usize = 6;

/// Whether a byte begins a code; none of these is a part of another character.
pub(crate) fn begins_code(byte: u8) -> bool {
    matches!(byte, COLOUR | HEX_COLOUR | RESET) || SWITCHES.contains(&byte)
}

/// The length of the code that this text begins with, the digits of a colour included; 0 if it begins with none.
pub(crate) fn code_length(text: &str) -> usize {
    match text.bytes().next() {
        Some(COLOUR) => 1 + colours(&text[1..], number),
        Some(HEX_COLOUR) => 1 + colours(&text[1..], hex_number),
        Some(byte) if begins_code(byte) => 1,
        _ => 0,
    }
}

/// The length of a colour, or of two with a comma between them.
fn colours(text: &str, number: fn(&str) -> usize) -> usize {
    let front = number(text);
    let back = text[front..].strip_prefix(',').map_or(0, number);
    if front > 0 && back > 0 { front + 1 + back } else { front }
}

fn number(text: &str) -> usize {
    text.bytes().take(DIGITS).take_while(u8::is_ascii_digit).count()
}

fn hex_number(text: &str) -> usize {
    let digits = text.bytes().take(HEX_DIGITS).take_while(u8::is_ascii_hexdigit).count();
    if digits == HEX_DIGITS { digits } else { 0 }
}

/// What is on at a place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Formatting<'a> {
    /// Of each switch, whether it is on.
    switches: [bool; SWITCHES.len()],
    /// The code that set the background, and the text's colour with it.
    both: Option<&'a str>,
    /// The code that set the text's colour alone since then.
    front: Option<&'a str>,
}

impl<'a> Formatting<'a> {
    /// This code comes.
    pub fn take(&mut self, code: &'a str) {
        match code.bytes().next() {
            Some(COLOUR | HEX_COLOUR) if code.len() == 1 => (self.both, self.front) = (None, None),
            Some(COLOUR | HEX_COLOUR) if code.contains(',') => (self.both, self.front) = (Some(code), None),
            Some(COLOUR | HEX_COLOUR) => self.front = Some(code),
            Some(RESET) => *self = Formatting::default(),
            byte => {
                for (on, switch) in self.switches.iter_mut().zip(SWITCHES) {
                    *on ^= byte == Some(switch);
                }
            }
        }
    }

    /// The codes that switch it on again before `next`: 27 bytes at most.
    pub fn codes(&self, next: &str) -> String {
        let mut codes: String = [self.both, self.front].into_iter().flatten().collect();
        let colours = codes.len();
        codes.extend(
            SWITCHES.into_iter().zip(self.switches).filter(|(_, on)| *on).map(|(switch, _)| char::from(switch)),
        );
        // else a text that begins with a digit or a comma would be taken for a part of the colour
        if codes.len() == colours && colours > 0 && next.starts_with(|c: char| c == ',' || c.is_ascii_digit()) {
            codes.extend([char::from(BOLD); 2]);
        }
        codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_has_its_digits_with_it() {
        let lengths = [
            ("\x03", 1),
            ("\x034", 2),
            ("\x0304", 3),
            ("\x03041", 3),
            ("\x034,", 2),
            ("\x034,5", 4),
            ("\x0304,056", 6),
            ("\x03,5", 1),
            ("\x04ff", 1),
            ("\x04ff00AAb", 7),
            ("\x04ff00aa,00ff00", 14),
            ("\x04ff00aa,00ff0", 7),
            ("\x02x", 1),
            ("x\x02", 0),
            ("é", 0),
            ("", 0),
        ];
        for (text, length) in lengths {
            assert_eq!(code_length(text), length, "{text:?}");
        }
    }

    fn codes_after(codes: &[&'static str], next: &str) -> String {
        let mut formatting = Formatting::default();
        codes.iter().for_each(|code| formatting.take(code));
        formatting.codes(next)
    }

    #[test]
    fn what_is_on_is_switched_on_again() {
        assert_eq!(codes_after(&["\x1f", "\x02", "\x1d", "\x1d"], "x"), "\x02\x1f");
        assert_eq!(codes_after(&["\x034,5", "\x037", "\x16"], "1"), "\x034,5\x037\x16");
        assert_eq!(codes_after(&["\x037", "\x034,5"], "x"), "\x034,5");
        assert_eq!(codes_after(&["\x034,5", "\x02", "\x03"], "x"), "\x02");
        assert_eq!(codes_after(&["\x04ff00aa", "\x02", "\x0f"], "x"), "");
    }

    #[test]
    fn a_text_is_not_taken_for_a_part_of_the_colour_before_it() {
        assert_eq!(codes_after(&["\x034"], "5 apples"), "\x034\x02\x02");
        assert_eq!(codes_after(&["\x0304"], ",5"), "\x0304\x02\x02");
        assert_eq!(codes_after(&["\x034"], "apples"), "\x034");
    }

    #[test]
    fn the_codes_are_never_longer_than_that() {
        let all = ["\x04ff00aa,00ff00", "\x04ff00aa", "\x02", "\x1d", "\x1f", "\x1e", "\x11", "\x16"];
        assert_eq!(codes_after(&all, "x").len(), 27);
    }
}
