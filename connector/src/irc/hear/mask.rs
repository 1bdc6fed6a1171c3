//! Masks: whom an operator means by `*!*@spam.example`. What people say who fit one of the network's `ignore` list is
//! passed over.

use std::fmt;
use std::str::FromStr;

use irc_proto::{Command, Message, Prefix};
use thiserror::Error;

use crate::irc::hear::casemap::CaseMapping;

/// The longest mask, in bytes: no address that it could fit is longer, since it stands on a line of 512 bytes.
const MAX_BYTES: usize = 512;

/// A mask for `nick!user@host`: `*` stands for any text, an empty one too, `?` for one character (RFC 2812, section 2.5,
/// without its escapes, since `\` may be a part of a nick). Letters are compared by the network's CASEMAPPING.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask(String);

/// Why a text is no mask.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MaskError {
    /// Without both marks it can fit nobody, or everybody.
    #[error("{0:?} is no mask: write nick!user@host with * and ?, as in \"{0}!*@*\" or \"*!*@{0}\"")]
    Incomplete(String),
    /// Nobody's address holds these.
    #[error("{0:?} is no mask: it may not hold a space or a control character")]
    Space(String),
    /// No address is so long.
    #[error("a mask has at most {MAX_BYTES} bytes, this one has {0}")]
    TooLong(usize),
}

impl FromStr for Mask {
    type Err = MaskError;

    fn from_str(text: &str) -> Result<Self, MaskError> {
        match text {
            text if text.len() > MAX_BYTES => Err(MaskError::TooLong(text.len())),
            text if text.contains(|c: char| c == ' ' || c.is_control()) => Err(MaskError::Space(text.to_owned())),
            text if !text.contains(['!', '@']) => Err(MaskError::Incomplete(text.to_owned())),
            text => Ok(Mask(text.to_owned())),
        }
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Mask {
    /// Whether an address, `nick!user@host`, fits. It takes no longer than both lengths multiplied.
    pub(crate) fn fits(&self, address: &str, casemapping: CaseMapping) -> bool {
        let same = |a, b| casemapping.fold_char(a) == casemapping.fold_char(b);
        let (mut mask, mut rest) = (self.0.chars(), address.chars());
        // what stands behind the last star, and what that has not taken
        let mut star = None;
        loop {
            let before = rest.clone();
            match (mask.next(), rest.next()) {
                (None, None) => return true,
                (Some('*'), _) => {
                    star = Some((mask.clone(), before.clone()));
                    rest = before;
                }
                (Some(wanted), Some(found)) if wanted == '?' || same(wanted, found) => {}
                // the last star takes one character more
                _ => {
                    let Some((behind, left)) = &mut star else { return false };
                    if left.next().is_none() {
                        return false;
                    }
                    (mask, rest) = (behind.clone(), left.clone());
                }
            }
        }
    }
}

/// The mask by which what this message says is passed over: of what people say and ask (PRIVMSG, NOTICE, INVITE, TAGMSG).
/// That they come and go is noted all the same.
pub(crate) fn ignored_by<'a>(masks: &'a [Mask], message: &Message, casemapping: CaseMapping) -> Option<&'a Mask> {
    let says = match &message.command {
        Command::PRIVMSG(..) | Command::NOTICE(..) | Command::INVITE(..) => true,
        Command::Raw(command, _) => command.eq_ignore_ascii_case("TAGMSG"),
        _ => false,
    };
    match &message.prefix {
        Some(Prefix::Nickname(nick, user, host)) if says && !masks.is_empty() => {
            let address = format!("{nick}!{user}@{host}");
            masks.iter().find(|mask| mask.fits(&address, casemapping))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(mask: &str, address: &str) -> bool {
        Mask(mask.to_owned()).fits(address, CaseMapping::Rfc1459)
    }

    #[test]
    fn stars_and_question_marks_stand_for_what_the_rfc_says() {
        for mask in ["*!*@*", "a*!*@*", "*@spam.example", "?l?ce!*", "*a*l*i*c*e*!*u*@*", "alice!u@spam.example"] {
            assert!(fits(mask, "alice!u@spam.example"), "{mask}");
        }
        for mask in
            ["?!*@*", "*!*@spam.exampl", "*!*@pam.example", "alice!?u@*", "alice", "", "*z*", "alice!u@spam.example?"]
        {
            assert!(!fits(mask, "alice!u@spam.example"), "{mask}");
        }
    }

    #[test]
    fn letters_are_compared_by_the_casemapping_of_the_network() {
        let mask: Mask = "[Bad]!*@*".parse().unwrap();
        assert!(mask.fits("{bAD}!u@h", CaseMapping::Rfc1459));
        assert!(!mask.fits("{bAD}!u@h", CaseMapping::Ascii));
        assert!(mask.fits("[bAD]!u@h", CaseMapping::Ascii));
    }

    #[test]
    fn a_mask_of_many_stars_takes_no_time() {
        assert!(!fits(&"*a".repeat(250), &"a".repeat(249)));
        assert!(!fits(&format!("{}b!*@*", "*a".repeat(200)), &"a".repeat(5000)));
    }

    #[test]
    fn what_is_no_mask_is_told_with_what_to_write() {
        let why = |text: &str| text.parse::<Mask>().unwrap_err().to_string();
        assert!(why("badbot").contains("\"badbot!*@*\" or \"*!*@badbot\""));
        assert!(why("*").contains("nick!user@host"));
        assert!(why("").contains("nick!user@host"));
        assert!(why("a b!*@*").contains("space"));
        assert!(why(&"a@".repeat(300)).contains("600"));
    }

    #[test]
    fn only_what_people_say_is_passed_over() {
        let masks = ["*!*@spam.example".parse().unwrap()];
        let ignored = |line: &str| ignored_by(&masks, &line.parse().unwrap(), CaseMapping::Ascii).is_some();
        for said in ["PRIVMSG #a :x", "NOTICE pubbot :x", "INVITE pubbot #a", "TAGMSG #a"] {
            assert!(ignored(&format!(":a!u@SPAM.example {said}")), "{said}");
            assert!(!ignored(&format!(":a!u@ham.example {said}")), "{said}");
            assert!(!ignored(&format!(":spam.example {said}")), "{said}");
        }
        for done in ["JOIN #a", "PART #a", "QUIT :x", "NICK b", "KICK #a b", "TOPIC #a :x"] {
            assert!(!ignored(&format!(":a!u@spam.example {done}")), "{done}");
        }
        assert!(!ignored("PRIVMSG #a :x"));
    }

    /// The same by the definition.
    fn by_definition(mask: &[char], text: &[char]) -> bool {
        match (mask.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', behind)), next) => {
                by_definition(behind, text) || next.is_some_and(|(_, rest)| by_definition(mask, rest))
            }
            (Some((wanted, behind)), Some((found, rest))) => {
                (*wanted == '?' || wanted == found) && by_definition(behind, rest)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_fits_exactly_what_its_definition_says(mask in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let (mask_chars, chars): (Vec<char>, Vec<char>) = (mask.chars().collect(), text.chars().collect());
            prop_assert_eq!(fits(&mask, &text), by_definition(&mask_chars, &chars));
        }
    }
}
