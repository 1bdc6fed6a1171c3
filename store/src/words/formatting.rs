//! Formatting within a text, as mIRC began it and most clients show it: bold, colours and so on. Here it is left out.

use std::borrow::Cow;

const COLOUR: u8 = 0x03;
const HEX_COLOUR: u8 = 0x04;
/// Bold, reset, monospace, reverse, italic, strikethrough, underline.
const SINGLE: [u8; 7] = [0x02, 0x0f, 0x11, 0x16, 0x1d, 0x1e, 0x1f];
/// A number of a colour has so many digits at most, a hex colour exactly so many.
const DIGITS: usize = 2;
const HEX_DIGITS: usize = 6;

/// The text without its formatting codes, and without the digits of its colours.
pub fn without_formatting(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(begins_code) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.bytes().position(begins_code) {
        // codes are ASCII, so both cuts lie between characters
        let (before, code) = rest.split_at(at);
        plain.push_str(before);
        rest = &code[code_length(code)..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

fn begins_code(byte: u8) -> bool {
    byte < b' ' && (byte == COLOUR || byte == HEX_COLOUR || SINGLE.contains(&byte))
}

/// The length of the code that this text begins with, the digits of a colour included.
fn code_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(&COLOUR) => 1 + colours(&bytes[1..], number),
        Some(&HEX_COLOUR) => 1 + colours(&bytes[1..], hex_number),
        _ => 1,
    }
}

/// The length of a colour, or of two with a comma between them.
fn colours(bytes: &[u8], number: fn(&[u8]) -> usize) -> usize {
    let front = number(bytes);
    let back = bytes[front..].strip_prefix(b",").map_or(0, number);
    if front > 0 && back > 0 { front + 1 + back } else { front }
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().take(DIGITS).take_while(|byte| byte.is_ascii_digit()).count()
}

fn hex_number(bytes: &[u8]) -> usize {
    let digits = bytes.iter().take(HEX_DIGITS).take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == HEX_DIGITS { digits } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_with_their_digits_and_nothing_else_does() {
        let cases = [
            ("plain", "plain"),
            ("\x02bold\x02 \x1di\x1d \x1fu\x1f \x1es\x1e \x11m\x11 \x16r\x16\x0f", "bold i u s m r"),
            ("\x034red \x0304,12on blue\x03 off", "red on blue off"),
            ("\x031234 \x034,x \x03,5", "34 ,x ,5"),
            ("\x04ff00AAhex \x04ff00aa,00ff00two \x04ffno", "hex two ffno"),
            ("caf\x02é\x03", "café"),
            ("\x03", ""),
            ("\x01ACTION\x01", "\x01ACTION\x01"),
        ];
        for (text, plain) in cases {
            assert_eq!(without_formatting(text), plain, "{text:?}");
        }
    }
}
