//! Logs of irssi, read and written: `10:00 < alice> hi`, `10:00 -!- bob [~bob@host] has joined #c`, and lines between
//! that say which day it is.
//!
//! What a log of irssi can't hold is lost on the way out: event id, account, msgid, network, milliseconds, and the channel
//! but for joins, parts, kicks, modes, topics and notices. It has a `user@host` that the archive has not: `?@?`.

use std::io::{Result as IoResult, Write};

use chrono::NaiveDateTime;

use super::Why;
use super::clock::{Stamp, day_in_words, words_of_day, words_of_moment};
use super::entry::{Deed, Entry, action, belongs, chat, deed, notice, unranked, within};
use super::writer::UNKNOWN_HOST;
use crate::archive::{Kind, Record};

/// How lines begin (after `-!- `) in which the client speaks of itself, or answers a question of its user.
const NOISE: [&str; 16] = [
    "Irssi:",
    "Topic for ",
    "Topic set by ",
    "Topic: ",
    "No topic set for ",
    "Home page for ",
    "URL for ",
    "Channel ",
    "Keepnick:",
    "Server: ",
    "You are now talking in ",
    "You have been marked as being away",
    "You are no longer marked as being away",
    "Day changed to ",
    "Disconnected from ",
    "Connection ",
];

/// What the line says. `channel` is the one into which the log is read; `None` takes any.
pub(super) fn read(line: &str, channel: Option<&str>) -> Result<Entry, Why> {
    if let Some(mark) = line.strip_prefix("--- ") {
        return read_mark(mark);
    }
    let (stamp, rest) = Stamp::read(line).ok_or(Why::NoTime)?;
    let rest = rest.strip_prefix(' ').ok_or(Why::Unknown)?;
    if let Some(event) = rest.strip_prefix("-!-") {
        return read_event(stamp, event.trim_start(), channel);
    }
    let said = match rest.split_at_checked(1) {
        Some(("<", rest)) => chat(rest, channel),
        Some(("-", rest)) => notice(rest, channel),
        Some(("[", rest)) if is_names(rest) => return Ok(Entry::Noise),
        _ => rest.trim_start().strip_prefix("* ").ok_or(Why::Unknown).and_then(action),
    };
    Ok(deed(stamp, said?))
}

/// `--- Log opened …`, `--- Day changed …`, `--- Log closed …`.
fn read_mark(mark: &str) -> Result<Entry, Why> {
    let day = ["Log opened ", "Day changed "].iter().find_map(|mark_of_day| mark.strip_prefix(mark_of_day));
    match day {
        Some(day) => Ok(Entry::Day(day_in_words(day).ok_or(Why::BadDay)?)),
        None if mark.starts_with("Log closed") => Ok(Entry::Noise),
        None => Err(Why::NoTime),
    }
}

/// The list of who is there: `[Users #c]`, `[@alice] [ bob  ]`.
fn is_names(rest: &str) -> bool {
    rest.ends_with(']') && (rest.starts_with("Users ") || rest.starts_with([' ', '@', '+', '%']))
}

fn read_event(stamp: Stamp, event: &str, channel: Option<&str>) -> Result<Entry, Why> {
    if NOISE.iter().any(|noise| event.starts_with(noise)) {
        return Ok(Entry::Noise);
    }
    if event.starts_with("You're now known as ") {
        return Err(Why::OwnNick);
    }
    if let Some(split) = event.strip_prefix("Netsplit ") {
        return Ok(Entry::Deeds(stamp, read_netsplit(split)?));
    }
    if let Some(mode) = event.strip_prefix("mode/").or_else(|| event.strip_prefix("ServerMode/")) {
        return Ok(read_mode(mode, channel)?.map_or(Entry::Noise, |mode| deed(stamp, mode)));
    }
    if let Some(unset) = event.strip_prefix("Topic unset by ") {
        let (nick, named) = unset.split_once(" on ").ok_or(Why::Unknown)?;
        belongs(named, channel)?;
        return Ok(deed(stamp, Deed::new(Kind::Topic, nick, "")?));
    }
    let (nick, did) = event.split_once(' ').ok_or(Why::Unknown)?;
    Ok(deed(stamp, read_deed(nick, did, channel)?))
}

/// What comes after a nick.
fn read_deed(nick: &str, did: &str, channel: Option<&str>) -> Result<Deed, Why> {
    if let Some(new) = did.strip_prefix("is now known as ") {
        return Deed::renamed(nick, new);
    }
    if let Some(topic) = did.strip_prefix("changed the topic of ") {
        let (named, topic) = topic.split_once(" to:").ok_or(Why::Unknown)?;
        belongs(named, channel)?;
        return Deed::new(Kind::Topic, nick, topic.strip_prefix(' ').unwrap_or(topic));
    }
    if let Some(kick) = did.strip_prefix("was kicked from ") {
        let (named, kick) = kick.split_once(" by ").ok_or(Why::Unknown)?;
        belongs(named, channel)?;
        let (kicker, reason) = kick.split_once(' ').unwrap_or((kick, ""));
        return Deed::kick(kicker, nick, within(reason, '[', ']'));
    }
    let (_host, did) = did.strip_prefix('[').and_then(|host| host.split_once("] ")).ok_or(Why::Unknown)?;
    read_coming_or_going(nick, did, channel)
}

/// What comes after a nick and its host. A host has no spaces, but newer versions put account and real name behind it.
fn read_coming_or_going(nick: &str, did: &str, channel: Option<&str>) -> Result<Deed, Why> {
    if let Some(reason) = did.strip_prefix("has quit") {
        return Deed::new(Kind::Quit, nick, within(reason.strip_prefix(' ').unwrap_or(reason), '[', ']'));
    }
    if let Some(part) = did.strip_prefix("has left ") {
        let (named, reason) = part.split_once(' ').unwrap_or((part, ""));
        belongs(named, channel)?;
        return Deed::new(Kind::Part, nick, within(reason, '[', ']'));
    }
    let (_, named) = did.rsplit_once("has joined ").ok_or(Why::Unknown)?;
    belongs(named, channel)?;
    Deed::new(Kind::Join, nick, "")
}

/// `#c [+o bob] by alice`; without a name it answers a question. Changes that the client summed up have several names,
/// of which the first is taken.
fn read_mode(mode: &str, channel: Option<&str>) -> Result<Option<Deed>, Why> {
    let (named, change) = mode.split_once(' ').ok_or(Why::Unknown)?;
    belongs(named, channel)?;
    let Some((change, nicks)) = change.strip_prefix('[').and_then(|change| change.rsplit_once("] by ")) else {
        return if within(change, '[', ']') == change { Err(Why::Unknown) } else { Ok(None) };
    };
    let nick = nicks.split(", ").next().unwrap_or(nicks);
    Deed::new(Kind::Mode, nick, change).map(Some)
}

/// `a.net <-> b.net quits: alice, @bob`, `over, joins: alice, bob`. Of many, the client names the first.
fn read_netsplit(split: &str) -> Result<Vec<Deed>, Why> {
    let (kind, reason, nicks) = match split.strip_prefix("over, joins: ") {
        Some(nicks) => (Kind::Join, String::new(), nicks),
        None => {
            let (servers, nicks) = split.split_once(" quits: ").ok_or(Why::Unknown)?;
            (Kind::Quit, servers.replace(" <-> ", " "), nicks)
        }
    };
    let nicks = nicks.split(" (+").next().unwrap_or(nicks);
    nicks.split(", ").map(|nick| Deed::new(kind, unranked(nick), &reason)).collect()
}

/// The line that opens a log.
pub(super) fn write_opening(out: &mut impl Write, now: NaiveDateTime) -> IoResult<()> {
    writeln!(out, "--- Log opened {}", words_of_moment(now))
}

/// The line that begins a day.
pub(super) fn write_day(out: &mut impl Write, now: NaiveDateTime) -> IoResult<()> {
    writeln!(out, "--- Day changed {}", words_of_day(now.date()))
}

/// The line that ends a log.
pub(super) fn write_closing(out: &mut impl Write, now: NaiveDateTime) -> IoResult<()> {
    writeln!(out, "--- Log closed {}", words_of_moment(now))
}

/// One record. Its texts have no line ends.
pub(super) fn write(out: &mut impl Write, now: NaiveDateTime, record: &Record) -> IoResult<()> {
    let Record { nick, channel, text, .. } = record;
    write!(out, "{} ", now.format("%H:%M:%S"))?;
    match record.kind {
        Kind::Chat => writeln!(out, "< {nick}> {text}"),
        Kind::Action => writeln!(out, " * {nick} {text}"),
        Kind::Notice => writeln!(out, "-{nick}:{channel}- {text}"),
        Kind::Join => writeln!(out, "-!- {nick} [{UNKNOWN_HOST}] has joined {channel}"),
        Kind::Part => writeln!(out, "-!- {nick} [{UNKNOWN_HOST}] has left {channel} [{text}]"),
        Kind::Quit => writeln!(out, "-!- {nick} [{UNKNOWN_HOST}] has quit [{text}]"),
        Kind::Kick => {
            let whom = record.whom.as_deref().unwrap_or("?");
            writeln!(out, "-!- {whom} was kicked from {channel} by {nick} [{text}]")
        }
        Kind::Nick => writeln!(out, "-!- {nick} is now known as {text}"),
        Kind::Topic => writeln!(out, "-!- {nick} changed the topic of {channel} to: {text}"),
        Kind::Mode => writeln!(out, "-!- mode/{channel} [{text}] by {nick}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::samples::{assert_reads, broken, read};
    use super::*;
    use crate::logs::{Context, Format};
    use Kind::*;

    #[test]
    fn a_log_of_irssi_is_read() {
        let log = "\
--- Log opened Sat Nov 28 09:59:58 2026
09:59 -!- pubbot [~pubbot@bot.example] has joined #c
09:59 -!- Topic for #c: all about #c
09:59 -!- Topic set by alice [~alice@example.org] [Fri Nov 27 12:00:00 2026]
09:59 [Users #c]
09:59 [@alice ] [ pubbot]
09:59 -!- Irssi: #c: Total of 2 nicks [1 ops, 0 halfops, 0 voices, 1 normal]
09:59 -!- Channel #c created Thu Nov 26 10:00:00 2026
09:59 -!- Irssi: Join to #c was synced in 1 secs

10:00 < alice> hi \u{2}all\u{2}
10:00 <@alice> hi again
10:00 <alice> and again
10:00  * alice waves
10:00 -alice:#c- look: a notice
10:00 -!- [bob] [~bob@host.example] has joined #c
10:00 -!- carol [~carol@host.example] (carol's) [Carol has joined #d] has joined #c
10:01 -!- mode/#c [+o-v [bob] carol] by alice
10:01 -!- ServerMode/#c [+nt] by irc.example.org
10:01 -!- mode/#c [+vv a b] by alice, [bob]
10:01 -!- mode/#c [+nt]
10:01 -!- alice changed the topic of #c to: new: topic [here]
10:01 -!- Topic unset by alice on #c
10:02:30 -!- carol was kicked from #c by alice [go [away]]
10:02:30 -!- [bob] is now known as bob
10:03 -!- Netsplit a.example <-> b.example quits: @dave, eve (+2 more, use /NETSPLIT to show all of them)
10:03 -!- Netsplit over, joins: dave
10:04 -!- bob [~bob@host.example] has left #c [bye]
10:04 -!- eve [~eve@host.example] has left #c []
10:04 -!- dave [~dave@host.example] has quit [Quit: has joined #c]
--- Log closed Sat Nov 28 10:05:00 2026
--- Day changed Sun Nov 29 2026
00:00 <+bob> morning
";
        assert_reads(
            Format::Irssi,
            log,
            &[
                ("2026-11-28 09:59:00", 0, Join, "pubbot", "", ""),
                ("2026-11-28 10:00:00", 0, Chat, "alice", "", "hi \u{2}all\u{2}"),
                ("2026-11-28 10:00:00", 1, Chat, "alice", "", "hi again"),
                ("2026-11-28 10:00:00", 2, Chat, "alice", "", "and again"),
                ("2026-11-28 10:00:00", 3, Action, "alice", "", "waves"),
                ("2026-11-28 10:00:00", 4, Notice, "alice", "", "look: a notice"),
                ("2026-11-28 10:00:00", 5, Join, "[bob]", "", ""),
                ("2026-11-28 10:00:00", 6, Join, "carol", "", ""),
                ("2026-11-28 10:01:00", 0, Mode, "alice", "", "+o-v [bob] carol"),
                ("2026-11-28 10:01:00", 1, Mode, "irc.example.org", "", "+nt"),
                ("2026-11-28 10:01:00", 2, Mode, "alice", "", "+vv a b"),
                ("2026-11-28 10:01:00", 3, Topic, "alice", "", "new: topic [here]"),
                ("2026-11-28 10:01:00", 4, Topic, "alice", "", ""),
                ("2026-11-28 10:02:30", 0, Kick, "alice", "carol", "go [away]"),
                ("2026-11-28 10:02:30", 1, Nick, "[bob]", "", "bob"),
                ("2026-11-28 10:03:00", 0, Quit, "dave", "", "a.example b.example"),
                ("2026-11-28 10:03:00", 1, Quit, "eve", "", "a.example b.example"),
                ("2026-11-28 10:03:00", 2, Join, "dave", "", ""),
                ("2026-11-28 10:04:00", 0, Part, "bob", "", "bye"),
                ("2026-11-28 10:04:00", 1, Part, "eve", "", ""),
                ("2026-11-28 10:04:00", 2, Quit, "dave", "", "Quit: has joined #c"),
                ("2026-11-29 00:00:00", 0, Chat, "bob", "", "morning"),
            ],
        );
    }

    #[test]
    fn what_is_no_line_of_the_channel_is_counted_with_its_reason() {
        let log = "\
10:00 < alice> too early
--- Log opened Sat Nov 28 10:00:00 2026
10:00 < alice> hi
no time
10:00
10:00 what is this
10:00 -!- something new happens
10:00 < > nobody
10:00 -!- bob [~bob@host] has joined #d
10:00 -alice:@#c- for operators
10:00 -!- You're now known as bob
10:00 <@alice:example.org> bridged
--- Day changed su marras 29 2026
10:00 < alice> on which day?
--- Day changed Mon Nov 30 2026
10:00 < alice> on this
";
        let why = [
            (1, Why::NoDay),
            (4, Why::NoTime),
            (5, Why::Unknown),
            (6, Why::Unknown),
            (7, Why::Unknown),
            (8, Why::Unknown),
            (9, Why::Elsewhere("#d".into())),
            (10, Why::Elsewhere("@#c".into())),
            (11, Why::OwnNick),
            (13, Why::BadDay),
            (14, Why::NoDay),
        ];
        assert_eq!(broken(Format::Irssi, log), why);
        let (records, _) = read(Format::Irssi, log, Context::new("libera", "#c"));
        let said: Vec<_> = records.into_iter().map(|record| record.text).collect();
        assert_eq!(said, ["hi", "bridged", "on this"]);
    }
}
