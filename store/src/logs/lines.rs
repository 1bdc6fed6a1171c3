//! Lines of a file of any size: one at a time, none longer than a limit, as text whatever its bytes are.
//!
//! Old logs mix encodings line by line. A line that is UTF-8, or has a character of several bytes that is, is read as
//! UTF-8 (what a client cut off in the middle becomes `�`); any other is Windows-1252, which contains ISO 8859-1.

use std::io::{BufRead, ErrorKind, Result};

/// The longest line that is read, in bytes. A message of IRC has at most 512, and 8,191 with its tags; a line of JSON
/// holds one with every character escaped.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// How much of a line that is too long is kept, in bytes, to show it.
const KEPT_BYTES: usize = 1024;

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// What the bytes 0x80 to 0x9F are in Windows-1252; five are nothing.
const WINDOWS_1252: [char; 32] = [
    '€', '�', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '�', 'Ž', '�', //
    '�', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '�', 'ž', 'Ÿ',
];

/// The lines of a source.
pub(super) struct Lines<R> {
    source: R,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
}

/// One of them, without its end.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) too_long: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Lines { source, line: Vec::new(), number: 0, bytes: 0 }
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes have been read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Line>> {
        let before = self.bytes;
        self.line.clear();
        self.number += 1;
        while !self.piece()? {}
        if self.bytes == before {
            return Ok(None);
        }
        let too_long = self.line.len() > MAX_LINE_BYTES;
        if too_long {
            self.line.truncate(KEPT_BYTES);
        }
        let text = decoded(&self.line);
        let text = if self.number == 1 { text.trim_start_matches(BYTE_ORDER_MARK) } else { &text };
        Ok(Some(Line { text: text.replace(['\r', '\0'], ""), too_long }))
    }

    /// Takes what the source has at hand, up to the line's end; whether that was reached. Of a line that is too long no
    /// more is kept than shows that it is.
    fn piece(&mut self) -> Result<bool> {
        let chunk = match self.source.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            chunk => chunk?,
        };
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let piece = &chunk[..end.unwrap_or(chunk.len())];
        let room = (MAX_LINE_BYTES + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        let taken = piece.len() + usize::from(end.is_some());
        self.source.consume(taken);
        self.bytes += taken as u64;
        Ok(end.is_some() || taken == 0)
    }
}

/// `bytes` as text; no bytes are an error.
pub(super) fn decoded(bytes: &[u8]) -> String {
    let is_utf8 = bytes.utf8_chunks().all(|chunk| chunk.invalid().is_empty());
    let has_utf8 = bytes.utf8_chunks().any(|chunk| !chunk.valid().is_ascii());
    if is_utf8 || has_utf8 {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    bytes.iter().map(|&byte| windows_1252(byte)).collect()
}

fn windows_1252(byte: u8) -> char {
    match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read, repeat};

    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(BufReader::with_capacity(3, bytes));
        std::iter::from_fn(|| lines.next().unwrap()).map(|line| line.text).collect()
    }

    #[test]
    fn lines_end_with_lf_or_crlf_and_the_last_may_lack_it() {
        assert_eq!(lines(b"one\r\ntwo\n\nth\0r\ree"), ["one", "two", "", "three"]);
        assert_eq!(lines(b"one\n"), ["one"]);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn a_byte_order_mark_opens_no_line() {
        assert_eq!(lines("\u{feff}10:00\n\u{feff}10:01".as_bytes()), ["10:00", "\u{feff}10:01"]);
    }

    #[test]
    fn text_is_utf_8_where_it_can_be_and_windows_1252_where_not() {
        assert_eq!(decoded("grüße".as_bytes()), "grüße");
        assert_eq!(decoded(b"gr\xfc\xdfe \x80 5 \x93so\x94 caf\xe9"), "grüße € 5 “so” café");
        assert_eq!(decoded(b"gr\xc3\xbc\xc3\x9fe cut of\xc3"), "grüße cut of�");
        assert_eq!(decoded(b"\x02bold\x02 \x0304red"), "\u{2}bold\u{2} \u{3}04red");
    }

    #[test]
    fn a_line_without_end_is_too_long_and_takes_no_memory() {
        let endless = BufReader::new(repeat(b'a').take(8 << 20).chain(&b"\nshort"[..]));
        let mut lines = Lines::new(endless);
        let line = lines.next().unwrap().unwrap();
        assert!(line.too_long && line.text.len() == KEPT_BYTES);
        assert!(lines.line.capacity() <= 4 * MAX_LINE_BYTES);
        let line = lines.next().unwrap().unwrap();
        assert!(!line.too_long && line.text == "short");
        assert_eq!((lines.number(), lines.bytes()), (2, (8 << 20) + 6));
    }

    #[test]
    fn a_line_of_just_the_limit_is_read() {
        let mut text = vec![b'a'; MAX_LINE_BYTES];
        assert!(!Lines::new(&text[..]).next().unwrap().unwrap().too_long);
        text.push(b'a');
        assert!(Lines::new(&text[..]).next().unwrap().unwrap().too_long);
    }
}
