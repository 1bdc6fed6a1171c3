//! What people see: text that can't steer their terminal, and lines beside what a command prints. What somebody says in a
//! channel may hold anything.

use std::io::{self, Write};

/// Characters that turn the direction of what follows: with them, a line reads as if another had said it.
const TURNS: [char; 9] =
    ['\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}'];

/// Tells something on standard error.
pub fn tell(text: &str) {
    // who closed standard error wants to know nothing
    writeln!(io::stderr(), "{text}").ok();
}

/// Replaces every control character.
pub fn harmless(line: &str) -> String {
    line.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// JSON with every control character escaped; JSON itself escapes those of ASCII only, and not all of them.
pub fn harmless_json(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) {
            line += &format!("\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line
}

fn steers(c: char) -> bool {
    c.is_control() || TURNS.contains(&c)
}

/// A number as people read it: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Passes lines on to a terminal, harmless.
pub struct Harmless<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Harmless<W> {
    pub fn new(out: W) -> Self {
        Harmless { out, line: Vec::new() }
    }
}

impl<W: Write> Write for Harmless<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.line);
                writeln!(self.out, "{}", harmless(line.trim_end_matches(['\r', '\n'])))?;
                self.line.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_becomes_harmless() {
        assert_eq!(harmless("a\u{1b}[2J\u{9b}\u{202e}b"), "a�[2J��b");
        let json = harmless_json("\"\u{7f}\u{9b}\u{202e}\"");
        assert_eq!(json, "\"\\u007f\\u009b\\u202e\"");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "\u{7f}\u{9b}\u{202e}");
        let mut out = Harmless::new(Vec::new());
        out.write_all("é\u{1b}[2J\r\nb\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(out.out).unwrap(), "é�[2J\nb\n");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let numbers = [0, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
