//! The language of searches: words, "phrases", `-` before what must not be there, and filters such as `from:alice`.

use protocol::{Timestamp, check_network};
use thiserror::Error;

use super::date::Here;
use crate::words::{Tokens, without_formatting, words};

/// The longest search, in bytes: two lines of IRC.
pub const MAX_QUERY_BYTES: usize = 1_000;
/// So many words, phrases and filters a search has at most; each is one more list for the engine to walk.
pub const MAX_QUERY_WORDS: usize = 32;
/// So many characters of what was typed are shown in an error.
const SHOWN_CHARS: usize = 40;

/// Words that follow one another; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase(Tokens);

impl Phrase {
    /// The phrase that a text is; `None` if it has neither letters nor digits.
    pub fn of(text: &str) -> Option<Self> {
        let tokens = words(text);
        (!tokens.is_empty()).then_some(Phrase(tokens))
    }

    /// Its words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter()
    }
}

/// A channel as it was typed, on one network or on any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The network; `None` for any.
    pub network: Option<String>,
    /// The channel. Without a sign before its name, the channel with `#` before it is meant, too.
    pub channel: String,
}

/// A search. Names are as they were typed: [`nick_token`](crate::words::nick_token) and its like say which are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Each must be there.
    pub all: Vec<Phrase>,
    /// None of these may be there.
    pub none: Vec<Phrase>,
    /// One of these said it; anybody if there are none.
    pub from: Vec<String>,
    /// None of these said it.
    pub not_from: Vec<String>,
    /// It was said in one of these; anywhere if there are none.
    pub channels: Vec<Place>,
    /// It was said in none of these.
    pub not_channels: Vec<Place>,
    /// It was said on one of these; on any if there are none.
    pub networks: Vec<String>,
    /// It was said on none of these.
    pub not_networks: Vec<String>,
    /// It was said then or later: `after:2026-11-28` includes that day, `after:2026` that year.
    pub after: Option<Timestamp>,
    /// It was said earlier: `before:2026-11-28` ends with the day before.
    pub before: Option<Timestamp>,
}

/// Why a text is no search. Each is one sentence for whoever typed it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum QueryError {
    /// Nothing was typed.
    #[error("a search needs something to look for: a word, a \"phrase\", or a filter such as from:alice or in:#rust")]
    Empty,
    /// What was typed has no letter and no digit in it.
    #[error(
        "{0:?} can't be searched for: a search needs a word with letters or digits, or a filter such as from:alice"
    )]
    NoLetters(String),
    /// There are only words that must not be there.
    #[error("{0:?} only says what must not be there: add a word, or a filter such as from:alice or after:7d")]
    OnlyNegative(String),
    /// It has this many bytes.
    #[error("the search has {0} bytes, and at most {MAX_QUERY_BYTES} are allowed")]
    TooLong(usize),
    /// It has more than [`MAX_QUERY_WORDS`] words.
    #[error("the search has more than {MAX_QUERY_WORDS} words, phrases and filters, which is the most that is allowed")]
    TooManyWords,
    /// A filter with nothing behind it.
    #[error(
        "{filter:?} needs a value right behind it, as in {filter}{example}; to look for the word itself, write it without the colon"
    )]
    NoValue {
        /// `from:` and so on.
        filter: &'static str,
        /// What may stand behind it.
        example: &'static str,
    },
    /// No date that we know.
    #[error(
        "{0:?}: expected a date such as 2026-11-28, 2026-11 or 2026-11-28T10:00, or today, yesterday, 3h, 7d or 2w"
    )]
    Date(String),
    /// `-before:` or `-after:`.
    #[error("{0:?} can't have a minus: before: and after: are each other's opposite")]
    NegativeDate(String),
    /// The period ends before it begins.
    #[error("no time is both after {after} and before {before}")]
    NoTime {
        /// From then on.
        after: Timestamp,
        /// Up to then.
        before: Timestamp,
    },
}

/// What can be filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    From,
    In,
    On,
    Before,
    After,
}

impl Filter {
    const ALL: [Filter; 5] = [Filter::From, Filter::In, Filter::On, Filter::Before, Filter::After];

    fn word(self) -> &'static str {
        match self {
            Filter::From => "from:",
            Filter::In => "in:",
            Filter::On => "on:",
            Filter::Before => "before:",
            Filter::After => "after:",
        }
    }

    fn example(self) -> &'static str {
        match self {
            Filter::From => "alice",
            Filter::In => "#rust",
            Filter::On => "libera",
            Filter::Before | Filter::After => "2026-11-28",
        }
    }
}

impl Query {
    /// Reads what was typed. `now` and `offset_minutes`, by which the person's clock is ahead of UTC, are what `today` and
    /// `7d` are reckoned from, and where days begin.
    ///
    /// - `rust lang`: both words; `"rust lang"` or `rust-lang`: one behind the other. A quote without end ends with the text.
    /// - `-word`, `-"a phrase"`, `-from:bob`: without it.
    /// - `from:alice from:bob`: either said it. `in:#rust`, `in:libera/#rust`, `on:libera`: there; several: in any of them.
    /// - `after:2026-11-28`: that day or later; `before:2026-11-28`: not on that day, but earlier. Also `2026-11`, `2026`,
    ///   `2026-11-28T10:00`, `today`, `yesterday`, `3h`, `7d`, `2w`. Several narrow each other.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn parse(text: &str, now: Timestamp, offset_minutes: i32) -> Result<Query, QueryError> {
        if text.len() > MAX_QUERY_BYTES {
            return Err(QueryError::TooLong(text.len()));
        }
        let plain = without_formatting(text);
        let here = Here::new(now, offset_minutes);
        let mut query = Query::default();
        for (index, term) in Terms(&plain).enumerate() {
            if index >= MAX_QUERY_WORDS {
                return Err(QueryError::TooManyWords);
            }
            query.add(term, here)?;
        }
        query.check(&plain)?;
        Ok(query)
    }

    fn add(&mut self, term: Term, here: Here) -> Result<(), QueryError> {
        let value = term.value.to_owned();
        let Some(filter) = term.filter else {
            let phrases = if term.is_negative { &mut self.none } else { &mut self.all };
            phrases.extend(Phrase::of(term.value));
            return Ok(());
        };
        if value.trim().is_empty() {
            return Err(QueryError::NoValue { filter: filter.word(), example: filter.example() });
        }
        match (filter, term.is_negative) {
            (Filter::From, false) => self.from.push(value),
            (Filter::From, true) => self.not_from.push(value),
            (Filter::In, false) => self.channels.push(place(&value)),
            (Filter::In, true) => self.not_channels.push(place(&value)),
            (Filter::On, false) => self.networks.push(value),
            (Filter::On, true) => self.not_networks.push(value),
            (Filter::Before | Filter::After, true) => return Err(QueryError::NegativeDate(shown(term.typed))),
            (Filter::Before, false) => {
                let moment = moment(&term, here)?;
                self.before = Some(self.before.map_or(moment, |before| before.min(moment)));
            }
            (Filter::After, false) => self.after = self.after.max(Some(moment(&term, here)?)),
        }
        Ok(())
    }

    fn check(&self, typed: &str) -> Result<(), QueryError> {
        if let (Some(after), Some(before)) = (self.after, self.before)
            && after >= before
        {
            return Err(QueryError::NoTime { after, before });
        }
        if self.asks_for_something() {
            Ok(())
        } else if self.forbids_something() {
            Err(QueryError::OnlyNegative(shown(typed)))
        } else if typed.trim().is_empty() {
            Err(QueryError::Empty)
        } else {
            Err(QueryError::NoLetters(shown(typed)))
        }
    }

    fn asks_for_something(&self) -> bool {
        let has_words = !self.all.is_empty() || !self.from.is_empty();
        let has_place = !self.channels.is_empty() || !self.networks.is_empty();
        has_words || has_place || self.after.is_some() || self.before.is_some()
    }

    fn forbids_something(&self) -> bool {
        let has_words = !self.none.is_empty() || !self.not_from.is_empty();
        has_words || !self.not_channels.is_empty() || !self.not_networks.is_empty()
    }
}

fn moment(term: &Term, here: Here) -> Result<Timestamp, QueryError> {
    here.first_moment(term.value).ok_or_else(|| QueryError::Date(shown(term.typed)))
}

/// A channel, with a network before it if what stands before the slash can be one: a channel may have slashes of its own.
fn place(typed: &str) -> Place {
    match typed.split_once('/') {
        Some((network, channel)) if check_network(network).is_ok() && !channel.is_empty() => {
            Place { network: Some(network.to_owned()), channel: channel.to_owned() }
        }
        _ => Place { network: None, channel: typed.to_owned() },
    }
}

/// What was typed, short enough for one sentence.
fn shown(typed: &str) -> String {
    let typed = typed.trim();
    match typed.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &typed[..end]),
        None => typed.to_owned(),
    }
}

/// One word, phrase or filter.
#[derive(Debug)]
struct Term<'a> {
    is_negative: bool,
    filter: Option<Filter>,
    value: &'a str,
    /// All of it.
    typed: &'a str,
}

/// The terms of what is left of a search.
struct Terms<'a>(&'a str);

impl<'a> Iterator for Terms<'a> {
    type Item = Term<'a>;

    fn next(&mut self) -> Option<Term<'a>> {
        let typed = self.0.trim_start();
        if typed.is_empty() {
            return None;
        }
        let positive = typed.strip_prefix('-');
        let (filter, behind) = filter_before(positive.unwrap_or(typed));
        let (value, rest) = value_before(behind);
        self.0 = rest;
        Some(Term { is_negative: positive.is_some(), filter, value, typed: &typed[..typed.len() - rest.len()] })
    }
}

/// The filter that this begins with, and what follows it.
fn filter_before(text: &str) -> (Option<Filter>, &str) {
    let begins_with = |filter: &Filter| {
        let head = text.get(..filter.word().len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(filter.word()))
    };
    match Filter::ALL.into_iter().find(begins_with) {
        Some(filter) => (Some(filter), &text[filter.word().len()..]),
        None => (None, text),
    }
}

/// The phrase or the word that this begins with, and what follows it. A quote within a word begins the next one.
fn value_before(text: &str) -> (&str, &str) {
    match text.strip_prefix(is_quote) {
        Some(quoted) => match quoted.split_once(is_quote) {
            Some((phrase, rest)) => (phrase, rest),
            None => (quoted, ""),
        },
        None => text.split_at(text.find(|c: char| c.is_whitespace() || is_quote(c)).unwrap_or(text.len())),
    }
}

/// Straight quotes, and those that telephones make of them.
fn is_quote(c: char) -> bool {
    matches!(c, '"' | '“' | '”' | '„')
}
