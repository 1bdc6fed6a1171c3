//! Logs of EnergyMech, and of all that write as it does: `[10:00:00] <alice> hi`, `[10:00:00] *** Joins: bob (~bob@host)`.
//!
//! The day is in the file's name. Logs of mIRC that mark events with `***` are read, too, with their days
//! (`Session Time: …`), so that what [`Style::Mirc`](super::Style::Mirc) writes comes back.

use super::Why;
use super::clock::{Stamp, day_in_words};
use super::entry::{Deed, Entry, action, belongs, chat, deed, notice, within};
use crate::archive::Kind;

/// How lines begin (after `*** `) in which the client speaks of itself.
const NOISE: [&str; 6] =
    ["Now talking in ", "Topic is ", "Set by ", "Disconnected", "Attempting to rejoin", "Retrieving "];

/// What the line says. `channel` is the one into which the log is read; `None` takes any.
pub(super) fn read(line: &str, channel: Option<&str>) -> Result<Entry, Why> {
    if let Some(session) = line.strip_prefix("Session ") {
        return read_session(session);
    }
    let (stamp, rest) = bracketed(line).ok_or(Why::NoTime)?;
    let rest = rest.strip_prefix(' ').ok_or(Why::Unknown)?;
    if let Some(event) = rest.strip_prefix("*** ") {
        if NOISE.iter().any(|noise| event.starts_with(noise)) {
            return Ok(Entry::Noise);
        }
        return Ok(deed(stamp, read_event(event, channel)?));
    }
    let said = match rest.split_at_checked(1) {
        Some(("<", rest)) => chat(rest, channel),
        Some(("-", rest)) => notice(rest, channel),
        _ => rest.strip_prefix("* ").ok_or(Why::Unknown).and_then(action),
    };
    Ok(deed(stamp, said?))
}

/// The time that these logs have in brackets, and what follows it.
pub(super) fn bracketed(line: &str) -> Option<(Stamp, &str)> {
    if line.starts_with('[') { Stamp::read(line) } else { None }
}

/// `Session Start: …`, `Session Time: …` name the day; `Session Ident: …` and `Session Close: …` nothing of use.
fn read_session(session: &str) -> Result<Entry, Why> {
    match session.strip_prefix("Start: ").or_else(|| session.strip_prefix("Time: ")) {
        Some(day) => Ok(Entry::Day(day_in_words(day).ok_or(Why::BadDay)?)),
        None if session.starts_with("Ident: ") || session.starts_with("Close: ") => Ok(Entry::Noise),
        None => Err(Why::NoTime),
    }
}

fn read_event(event: &str, channel: Option<&str>) -> Result<Deed, Why> {
    let (first, rest) = event.split_once(' ').ok_or(Why::Unknown)?;
    match first {
        "Joins:" => Deed::new(Kind::Join, gone(rest).0, ""),
        "Parts:" => Deed::new(Kind::Part, gone(rest).0, gone(rest).1),
        "Quits:" => Deed::new(Kind::Quit, gone(rest).0, gone(rest).1),
        nick => read_deed(nick, rest, channel),
    }
}

/// Nick and reason of `bob (~bob@host) (reason)`, where host and reason may be missing.
fn gone(rest: &str) -> (&str, &str) {
    let (nick, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (_host, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    (nick, within(reason, '(', ')'))
}

/// What comes after a nick.
fn read_deed(nick: &str, did: &str, channel: Option<&str>) -> Result<Deed, Why> {
    if let Some(new) = did.strip_prefix("is now known as ") {
        return Deed::renamed(nick, new);
    }
    if let Some(modes) = did.strip_prefix("sets mode: ") {
        return Deed::new(Kind::Mode, nick, modes.trim_end());
    }
    if let Some(topic) = did.strip_prefix("changes topic to ") {
        return Deed::new(Kind::Topic, nick, within(topic, '\'', '\''));
    }
    if let Some(kick) = did.strip_prefix("was kicked by ") {
        let (kicker, reason) = kick.split_once(' ').unwrap_or((kick, ""));
        return Deed::kick(kicker, nick, within(reason, '(', ')'));
    }
    let (_host, did) = did.strip_prefix('(').and_then(|host| host.split_once(") ")).ok_or(Why::Unknown)?;
    read_long_form(nick, did, channel)
}

/// What mIRC writes after nick and host unless it is told to be short.
fn read_long_form(nick: &str, did: &str, channel: Option<&str>) -> Result<Deed, Why> {
    if let Some(named) = did.strip_prefix("has joined ") {
        belongs(named, channel)?;
        return Deed::new(Kind::Join, nick, "");
    }
    if let Some(part) = did.strip_prefix("has left ") {
        let (named, reason) = part.split_once(' ').unwrap_or((part, ""));
        belongs(named, channel)?;
        return Deed::new(Kind::Part, nick, within(reason, '(', ')'));
    }
    let reason = did.strip_prefix("Quit").ok_or(Why::Unknown)?;
    Deed::new(Kind::Quit, nick, within(reason.strip_prefix(' ').unwrap_or(reason), '(', ')'))
}

#[cfg(test)]
mod tests {
    use super::super::reader::samples::{assert_reads, broken, context, read};
    use super::*;
    use crate::logs::{Context, Format};
    use Kind::*;

    #[test]
    fn a_log_of_energymech_is_read() {
        let log = "\
[10:00:00] <alice> hi
[10:00:00] <@alice> hi
[10:00:01] * alice waves
[10:00:01] -alice- a notice
[10:00:02] *** Joins: [bob] (~bob@host.example)
[10:00:02] *** alice sets mode: +o-v [bob] carol
[10:00:02] *** alice changes topic to 'it's new'
[10:00:03] *** carol was kicked by alice (go (away))
[10:00:03] *** [bob] is now known as bob
[10:00:04] *** Parts: bob (~bob@host.example) (bye)
[10:00:04] *** Parts: eve (~eve@host.example)
[10:00:04] *** Quits: dave (~dave@host.example) (Quit: has joined #c)
[10:00:05] * eve
";
        assert_reads(
            Format::Energymech,
            log,
            &[
                ("2026-11-28 10:00:00", 0, Chat, "alice", "", "hi"),
                ("2026-11-28 10:00:00", 1, Chat, "alice", "", "hi"),
                ("2026-11-28 10:00:01", 0, Action, "alice", "", "waves"),
                ("2026-11-28 10:00:01", 1, Notice, "alice", "", "a notice"),
                ("2026-11-28 10:00:02", 0, Join, "[bob]", "", ""),
                ("2026-11-28 10:00:02", 1, Mode, "alice", "", "+o-v [bob] carol"),
                ("2026-11-28 10:00:02", 2, Topic, "alice", "", "it's new"),
                ("2026-11-28 10:00:03", 0, Kick, "alice", "carol", "go (away)"),
                ("2026-11-28 10:00:03", 1, Nick, "[bob]", "", "bob"),
                ("2026-11-28 10:00:04", 0, Part, "bob", "", "bye"),
                ("2026-11-28 10:00:04", 1, Part, "eve", "", ""),
                ("2026-11-28 10:00:04", 2, Quit, "dave", "", "Quit: has joined #c"),
                ("2026-11-28 10:00:05", 0, Action, "eve", "", ""),
            ],
        );
    }

    #[test]
    fn a_log_of_mirc_that_marks_its_events_is_read() {
        let log = "\
Session Start: Sat Nov 28 10:00:00 2026
Session Ident: #c
[10:00] *** Now talking in #c
[10:00] *** Topic is 'old'
[10:00] *** bob (~bob@host.example) has joined #c
[10:00] *** bob (~bob@host.example) has left #c (bye)
[10:00] -bob:#c- a notice
Session Time: Sun Nov 29 00:00:00 2026
[00:01] *** bob (~bob@host.example) Quit (gone)
Session Close: Sun Nov 29 00:02:00 2026
";
        assert_reads(
            Format::Energymech,
            log,
            &[
                ("2026-11-28 10:00:00", 0, Join, "bob", "", ""),
                ("2026-11-28 10:00:00", 1, Part, "bob", "", "bye"),
                ("2026-11-28 10:00:00", 2, Notice, "bob", "", "a notice"),
                ("2026-11-29 00:01:00", 0, Quit, "bob", "", "gone"),
            ],
        );
    }

    #[test]
    fn without_a_day_in_its_name_no_line_is_taken() {
        let log = "[10:00:00] <alice> hi\n";
        let nameless = Context { source_name: "#c.log".into(), ..context() };
        assert_eq!(read(Format::Energymech, log, nameless.clone()).1[0].why, Why::NoDay);
        let told = Context { day: chrono::NaiveDate::from_ymd_opt(2026, 1, 1), ..nameless };
        assert_eq!(read(Format::Energymech, log, told).0[0].at.to_string(), "2026-01-01T10:00:00.000Z");
    }

    #[test]
    fn what_is_no_line_of_the_channel_is_counted_with_its_reason() {
        let log = "\
10:00 <alice> hi
[10:00:00]
[10:00:00] hello
[10:00:00] *** alice
[10:00:00] *** alice dances
[10:00:00] *** Joins:
[10:00:00] *** bob (~bob@host) has joined #d
[10:00:00] -bob:#d- hi
Session Time: once
Session Over: yes
";
        let elsewhere = || Why::Elsewhere("#d".into());
        let why = [Why::NoTime, Why::Unknown, Why::Unknown, Why::Unknown, Why::Unknown, Why::Unknown, elsewhere()];
        let why = why.into_iter().chain([elsewhere(), Why::BadDay, Why::NoTime]);
        assert_eq!(broken(Format::Energymech, log), (1..).zip(why).collect::<Vec<_>>());
    }
}
