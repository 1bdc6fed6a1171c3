//! Formatting within a text, as mIRC began it and most clients show it: bold, colours and so on. Each code is on until
//! it comes again, or until a reset; all end with the line.

use protocol::formatting::{BOLD, COLOUR, HEX_COLOUR, RESET, SWITCHES};

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
