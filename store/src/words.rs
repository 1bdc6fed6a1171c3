//! The words of a message, as both engines index them: SQLite's FTS5 and PostgreSQL's tsvector would each split
//! `rust-lang` or a URL in a way of its own, so the text is split here, once, and they are fed the result.
//!
//! Who said it, and where, stand in the same index, as tokens that no word can be: a rare nick with a common word is an
//! intersection of two lists then, and no walk through all that has the word.

use std::collections::HashMap;
use std::fmt::Write as _;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::fold_char;

mod formatting;

pub use formatting::without_formatting;

/// The longest word, in bytes; the rest of a longer one is left out. Few words have more than 30, a SHA-256 has 64.
/// PostgreSQL takes less than 2,048.
pub const MAX_WORD_BYTES: usize = 64;
/// The longest name of a person, a channel or a network in the index, in bytes; IRC itself stops at 200.
pub const MAX_NAME_BYTES: usize = 256;
/// So many words of a message are indexed, from its beginning on. A line of IRC has 255 at most, several sent as one
/// message have more. PostgreSQL counts positions up to 16,383.
pub const MAX_WORDS: usize = 2_000;
/// So many times a word of one message is indexed: PostgreSQL forgets the positions after the first 256.
pub const MAX_REPEATS: usize = 255;

/// Begin the tokens of names. No word begins with them, since they are neither letters nor digits.
const NICK: char = '=';
const CHANNEL: char = '#';
const NETWORK: char = '@';
/// Keeps the place of a word that is left out, so that what was around it does not become a phrase.
const GAP: &str = ".";

/// Tokens in their order; the index of each is its position. None is empty, or has white space or a control character
/// in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tokens {
    /// Joined by one space each.
    joined: String,
}

/// The words of a text: runs of letters and digits, in one spelling: no formatting, small letters, no accents (`Café` is
/// `cafe`). Whatever else there is separates words. Where a script puts no spaces between words (Chinese, Japanese, Thai,
/// …), each letter is one.
pub fn words(text: &str) -> Tokens {
    let mut splitter = Splitter::with_room_for(text.len());
    splitter.add(text);
    splitter.tokens()
}

/// What the index gets of a message: the tokens of network, channel and nick, then the words of its text.
pub fn document(network: &str, channel: &str, nick: &str, text: &str) -> Tokens {
    let mut splitter = Splitter::with_room_for(text.len() + network.len() + channel.len() + nick.len() + 6);
    for name in [network_token(network), channel_token(channel), nick_token(nick)] {
        splitter.add_whole(&name);
    }
    splitter.add(text);
    splitter.tokens()
}

/// The token of a nick.
pub fn nick_token(nick: &str) -> String {
    name_token(NICK, nick)
}

/// The token of a channel, on whichever network.
pub fn channel_token(channel: &str) -> String {
    name_token(CHANNEL, channel)
}

/// The token of a network.
pub fn network_token(network: &str) -> String {
    name_token(NETWORK, network)
}

fn name_token(kind: char, name: &str) -> String {
    let mut token = String::with_capacity(1 + name.len());
    token.push(kind);
    for c in name.chars().flat_map(token_char) {
        if token.len() + c.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        token.push(c);
    }
    token
}

/// A name's letter as names are compared; what may not be in a token becomes U+FFFD.
fn token_char(c: char) -> impl Iterator<Item = char> {
    fold_char(if c.is_control() || c.is_whitespace() { char::REPLACEMENT_CHARACTER } else { c })
}

impl Tokens {
    /// Each token, in its order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.joined.split(' ').filter(|token| !token.is_empty())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }

    /// What FTS5 is given to index, by a table that splits at spaces only: the tokens with a space between them.
    pub fn fts5(&self) -> &str {
        &self.joined
    }

    /// What PostgreSQL is given to index, as text to cast to `tsvector`: `'tok':1 'tok2':2`.
    pub fn tsvector(&self) -> String {
        let mut literal = String::with_capacity(self.joined.len() * 2);
        for (index, token) in self.iter().enumerate().filter(|(_, token)| *token != GAP) {
            if !literal.is_empty() {
                literal.push(' ');
            }
            push_lexeme(&mut literal, token);
            // a String can be written to
            let _ = write!(literal, ":{}", index + 1);
        }
        literal
    }
}

/// Writes a token as PostgreSQL reads it in a `tsvector` and in a `tsquery`: quoted, with quotes and backslashes doubled.
pub(crate) fn push_lexeme(literal: &mut String, token: &str) {
    literal.push('\'');
    for c in token.chars() {
        if matches!(c, '\'' | '\\') {
            literal.push(c);
        }
        literal.push(c);
    }
    literal.push('\'');
}

/// Splits texts into tokens.
struct Splitter {
    joined: String,
    count: usize,
    /// So many words may still come.
    room: usize,
    /// Within a word, how many bytes more it may have.
    word: Option<usize>,
}

impl Splitter {
    fn with_room_for(bytes: usize) -> Self {
        Splitter { joined: String::with_capacity(bytes), count: 0, room: MAX_WORDS, word: None }
    }

    /// A token as it stands.
    fn add_whole(&mut self, token: &str) {
        self.separate();
        self.joined.push_str(token);
        self.count += 1;
    }

    /// The words of a text.
    fn add(&mut self, text: &str) {
        let plain = without_formatting(text);
        if plain.is_ascii() {
            self.add_ascii(&plain)
        } else {
            self.add_unicode(&plain)
        }
        self.word = None;
    }

    fn add_ascii(&mut self, text: &str) {
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() {
                self.letter(char::from(byte.to_ascii_lowercase()));
            } else {
                self.word = None;
            }
        }
    }

    fn add_unicode(&mut self, text: &str) {
        let mut is_alone = false;
        for c in in_one_spelling(text) {
            if is_combining_mark(c) {
                self.mark(c);
            } else if c.is_alphanumeric() {
                if is_alone || stands_alone(c) {
                    self.word = None;
                }
                is_alone = stands_alone(c);
                self.letter(c);
            } else {
                self.word = None;
            }
        }
    }

    /// A mark belongs to the letter before it, and is no word by itself.
    fn mark(&mut self, c: char) {
        if self.word.is_some() {
            self.letter(c);
        }
    }

    /// A letter or a digit comes next, or a mark on one.
    fn letter(&mut self, c: char) {
        let left = match self.word {
            Some(left) => left,
            None if self.room == 0 => return,
            None => self.begin(),
        };
        let left = left.checked_sub(c.len_utf8());
        if left.is_some() {
            self.joined.push(c);
        }
        self.word = Some(left.unwrap_or(0));
    }

    fn begin(&mut self) -> usize {
        self.separate();
        self.count += 1;
        self.room -= 1;
        MAX_WORD_BYTES
    }

    fn separate(&mut self) {
        if !self.joined.is_empty() {
            self.joined.push(' ');
        }
    }

    fn tokens(self) -> Tokens {
        let joined = if self.count > MAX_REPEATS { without_repeats(&self.joined) } else { self.joined };
        Tokens { joined }
    }
}

/// The tokens with a gap where one comes more often than it may.
fn without_repeats(joined: &str) -> String {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let kept: Vec<&str> = joined
        .split(' ')
        .map(|token| {
            let times = seen.entry(token).or_default();
            *times += 1;
            if *times > MAX_REPEATS { GAP } else { token }
        })
        .collect();
    kept.join(" ")
}

/// The text in small letters without accents, one sequence of characters for all that look alike (NFKC), and nothing of
/// what is not seen.
fn in_one_spelling(text: &str) -> impl Iterator<Item = char> {
    let mut base = ' ';
    let decomposed = text.nfkd().filter(move |&c| {
        if !is_combining_mark(c) {
            base = c;
        }
        !is_unseen(c) && !is_accent(c, base)
    });
    decomposed.flat_map(small).nfc()
}

fn small(c: char) -> impl Iterator<Item = char> {
    // the small sigma at a word's end is no other letter
    let c = if c == 'ς' { 'σ' } else { c };
    c.to_lowercase()
}

/// Accents, but for the breve on й and ў, which are letters of their own.
fn is_accent(mark: char, base: char) -> bool {
    const BREVE: char = '\u{306}';
    let is_letter_of_its_own = mark == BREVE && matches!(base, 'и' | 'И' | 'у' | 'У');
    matches!(mark, '\u{300}'..='\u{36f}') && !is_letter_of_its_own
}

/// What changes how a text is laid out or drawn, and may stand within a word: soft hyphens, joiners, directions, variations,
/// and the zero-width spaces by which bridges keep from calling people by their nick.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e01ef}' | '\u{20d0}'..='\u{20ff}')
}

/// Letters of scripts that put no spaces between words.
fn stands_alone(c: char) -> bool {
    c >= '\u{e00}'
        && matches!(c,
            // Thai and Lao; Burmese; Khmer
            '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
            // ideographs' iteration marks and zero, kana, bopomofo
            | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{312f}' | '\u{31a0}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}'
            // ideographs
            | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests;
