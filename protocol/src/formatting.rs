//! The codes of formatting within a text, as mIRC began them and most clients show them: bold, colours and so on. What they
//! mean is the business of whoever shows them; here is what they are, and how long.

/// Each of these is on until it comes again, or until a reset.
pub const BOLD: u8 = 0x02;
/// A colour of the text, and of what is behind it, by numbers of up to two digits with a comma between them; without any, the
/// colours end.
pub const COLOUR: u8 = 0x03;
/// The same, by six hexadecimal digits.
pub const HEX_COLOUR: u8 = 0x04;
/// All formatting ends.
pub const RESET: u8 = 0x0f;
const MONOSPACE: u8 = 0x11;
const REVERSE: u8 = 0x16;
const ITALIC: u8 = 0x1d;
const STRIKETHROUGH: u8 = 0x1e;
const UNDERLINE: u8 = 0x1f;

/// What is on or off.
pub const SWITCHES: [u8; 6] = [BOLD, ITALIC, UNDERLINE, STRIKETHROUGH, MONOSPACE, REVERSE];
/// A number of a colour has so many digits at most, a hex colour exactly so many.
const DIGITS: usize = 2;
const HEX_DIGITS: usize = 6;

/// Whether a byte begins a code; none of these is a part of another character.
pub fn begins_code(byte: u8) -> bool {
    byte < b' ' && (matches!(byte, COLOUR | HEX_COLOUR | RESET) || SWITCHES.contains(&byte))
}

/// The length of the code that this text begins with, the digits of a colour included; 0 if it begins with none.
pub fn code_length(text: &str) -> usize {
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
}
