//! Bytes to lines, within a fixed amount of memory. A line ends at LF; a CR before it belongs to the end. A line that is
//! too long is left out whole, and counted when it becomes too long: so one that never ends costs no memory.

/// Cuts a stream of bytes into lines.
pub(crate) struct LineBuffer {
    max_bytes: usize,
    buffer: Vec<u8>,
    /// Up to here the buffer was given out.
    start: usize,
    /// Within a line that is too long.
    discarding: bool,
    discarded: u64,
}

impl LineBuffer {
    /// For lines of at most `max_bytes` bytes, their end not counted.
    pub fn new(max_bytes: usize) -> Self {
        LineBuffer { max_bytes, buffer: Vec::new(), start: 0, discarding: false, discarded: 0 }
    }

    /// Lines may have so many bytes from now on, their end not counted.
    pub fn allow(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Takes what was read. Call [`LineBuffer::next_line`] until it has no more, before more is fed.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete line that is not empty.
    pub fn next_line(&mut self) -> Option<&[u8]> {
        loop {
            let rest = &self.buffer[self.start..];
            let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
                self.keep_unfinished();
                return None;
            };
            let (from, to) = (self.start, self.start + length);
            self.start = to + 1;
            let end = if self.buffer[from..to].ends_with(b"\r") { to - 1 } else { to };
            if !std::mem::take(&mut self.discarding) && !self.too_long(end - from) && end > from {
                return Some(&self.buffer[from..end]);
            }
        }
    }

    /// What is left when the stream has ended: a last line without an end.
    pub fn last_line(&mut self) -> Option<&[u8]> {
        let from = std::mem::replace(&mut self.start, self.buffer.len());
        Some(&self.buffer[from..]).filter(|line| !line.is_empty())
    }

    /// How many lines were too long.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    fn keep_unfinished(&mut self) {
        let unfinished = self.buffer.len() - self.start;
        // one more for the CR
        if !self.discarding && unfinished > self.max_bytes + 1 {
            self.discarding = true;
            self.discarded += 1;
        }
        if self.discarding {
            self.start = self.buffer.len();
        }
    }

    fn too_long(&mut self, length: usize) -> bool {
        let too_long = length > self.max_bytes;
        self.discarded += u64::from(too_long);
        too_long
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 8;

    fn lines<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, u64, usize) {
        let (mut lines, mut out, mut held) = (LineBuffer::new(MAX), Vec::new(), 0);
        for chunk in chunks {
            lines.feed(chunk);
            held = held.max(lines.buffer.len().saturating_sub(chunk.len()));
            while let Some(line) = lines.next_line() {
                out.push(line.to_vec());
            }
        }
        (out, lines.discarded(), held)
    }

    #[test]
    fn crlf_and_bare_lf_end_a_line_and_empty_lines_are_left_out() {
        let (found, discarded, _) = lines([b"a\r\nb\n\r\n\nc\r\nrest".as_slice()]);
        assert_eq!((found, discarded), (vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()], 0));
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_whole_and_the_next_one_is_not() {
        let long = [b'x'; 100];
        let (found, discarded, _) = lines([&long, long.as_slice(), b"tail\nok\n12345678\r\n123456789\n"]);
        assert_eq!((found, discarded), (vec![b"ok".to_vec(), b"12345678".to_vec()], 2));
    }

    #[test]
    fn a_line_that_never_ends_is_counted_at_once_and_holds_no_memory() {
        let chunk = [b'x'; 1000];
        let (found, discarded, held) = lines(std::iter::repeat_n(chunk.as_slice(), 1000));
        assert_eq!((found, discarded, held), (vec![], 1, 0));
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let mut lines = LineBuffer::new(MAX);
        lines.feed(b"a\nb");
        assert_eq!(lines.next_line(), Some(b"a".as_slice()));
        assert_eq!(lines.next_line(), None);
        assert_eq!(lines.last_line(), Some(b"b".as_slice()));
        assert_eq!(lines.last_line(), None);
    }

    proptest! {
        #[test]
        fn bytes_in_any_chunks_give_the_same_lines_within_bounded_memory(
            soup in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(1..20_usize, 1..50),
        ) {
            let (whole, discarded, _) = lines([soup.as_slice()]);
            let (mut rest, mut chunks) = (soup.as_slice(), Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            let (found, in_chunks, held) = lines(chunks);
            prop_assert_eq!(&found, &whole);
            prop_assert!(found.iter().all(|line| line.len() <= MAX && !line.contains(&b'\n')));
            prop_assert!(held <= MAX + 1);
            // a line too long at the very end may be seen as such only once there is more of it
            prop_assert!(in_chunks.abs_diff(discarded) <= 1);
        }
    }
}
