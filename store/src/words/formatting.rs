//! Formatting within a text, as mIRC began it and most clients show it: bold, colours and so on. Here it is left out.

use std::borrow::Cow;

use protocol::formatting::{begins_code, code_length};

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
