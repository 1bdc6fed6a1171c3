//! What one line of a log says before its day is known; and the words of which the formats are made.

use chrono::NaiveDate;

use super::Why;
use super::clock::Stamp;
use crate::archive::Kind;

/// What stands before a nick to tell its rank (the prefixes that `PREFIX` in RPL_ISUPPORT commonly has), or that it has
/// none. No nick begins with one of them.
const RANKS: [char; 7] = ['~', '&', '@', '%', '+', '!', ' '];

/// How the names of channels begin (RFC 2812, section 1.3).
pub(super) const CHANNELS: [char; 4] = ['#', '&', '+', '!'];

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Nothing that happened in the channel: the client speaks of itself.
    Noise,
    /// From here on it is this day.
    Day(NaiveDate),
    /// What was done, and when; several deeds where one line tells of a netsplit.
    Deeds(Stamp, Vec<Deed>),
}

/// What somebody did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Deed {
    pub(super) kind: Kind,
    pub(super) nick: String,
    pub(super) whom: Option<String>,
    pub(super) text: String,
}

impl Deed {
    /// `nick` did it. An error where that is not one word.
    pub(super) fn new(kind: Kind, nick: &str, text: &str) -> Result<Self, Why> {
        Ok(Deed { kind, nick: word(nick)?.to_owned(), whom: None, text: text.to_owned() })
    }

    /// `nick` threw `whom` out.
    pub(super) fn kick(nick: &str, whom: &str, reason: &str) -> Result<Self, Why> {
        let whom = Some(word(unranked(whom))?.to_owned());
        Ok(Deed { whom, ..Deed::new(Kind::Kick, nick, reason)? })
    }

    /// `nick` is now known as `text`.
    pub(super) fn renamed(nick: &str, text: &str) -> Result<Self, Why> {
        Deed::new(Kind::Nick, nick, word(unranked(text))?)
    }
}

/// One deed, at the time that the line has.
pub(super) fn deed(stamp: Stamp, deed: Deed) -> Entry {
    Entry::Deeds(stamp, vec![deed])
}

/// `<nick> text`, `<@nick> text`, `< nick> text`; `rest` comes after the `<`.
pub(super) fn chat(rest: &str, channel: Option<&str>) -> Result<Deed, Why> {
    let (nick, text) = named(rest, '>')?;
    Deed::new(Kind::Chat, here(unranked(nick), channel)?, text)
}

/// `-nick- text`, `-nick:#channel- text`; `rest` comes after the first `-`.
pub(super) fn notice(rest: &str, channel: Option<&str>) -> Result<Deed, Why> {
    let (nick, text) = named(rest, '-')?;
    Deed::new(Kind::Notice, here(unranked(nick), channel)?, text)
}

/// `nick text`; the text may be missing.
pub(super) fn action(rest: &str) -> Result<Deed, Why> {
    let (nick, text) = rest.split_once(' ').unwrap_or((rest, ""));
    Deed::new(Kind::Action, unranked(nick), text)
}

/// A nick without what shows its rank.
pub(super) fn unranked(nick: &str) -> &str {
    nick.trim_start_matches(RANKS)
}

/// An error unless `named` is the channel into which the log is read; `None` takes any.
pub(super) fn belongs(named: &str, channel: Option<&str>) -> Result<(), Why> {
    let named = word(named)?;
    match channel {
        Some(channel) if !channel.eq_ignore_ascii_case(named) => Err(Why::Elsewhere(named.to_owned())),
        _ => Ok(()),
    }
}

/// What stands between `open` at the beginning of `text` and `close` at its end; all of it where they do not.
pub(super) fn within(text: &str, open: char, close: char) -> &str {
    text.strip_prefix(open).and_then(|text| text.strip_suffix(close)).unwrap_or(text)
}

/// The name before `end` and a space, and the text after it. Names have no spaces but the one that stands for no rank.
fn named(rest: &str, end: char) -> Result<(&str, &str), Why> {
    let close = rest.match_indices(end).map(|(at, _)| at);
    let mut close = close.filter(|at| rest[at + 1..].is_empty() || rest[at + 1..].starts_with(' '));
    let at = close.next().ok_or(Why::Unknown)?;
    let text = &rest[at + 1..];
    Ok((&rest[..at], text.strip_prefix(' ').unwrap_or(text)))
}

/// The nick of `nick:#channel`, or of `nick:@#channel`, which only some of that channel saw.
fn here<'a>(name: &'a str, channel: Option<&str>) -> Result<&'a str, Why> {
    match name.split_once(':') {
        Some((nick, named)) if named.starts_with(RANKS) || named.starts_with(CHANNELS) => {
            belongs(named, channel)?;
            Ok(nick)
        }
        _ => Ok(name),
    }
}

fn word(text: &str) -> Result<&str, Why> {
    if text.is_empty() || text.contains(char::is_whitespace) { Err(Why::Unknown) } else { Ok(text) }
}
