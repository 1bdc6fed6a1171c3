//! Logs of WeeChat: time, prefix and text with tabs between them. The prefix is a nick, or `-->`, `<--`, `--`, ` *`.

use super::Why;
use super::clock::Stamp;
use super::entry::{Deed, Entry, action, belongs, deed, unranked, within};
use crate::archive::Kind;

/// How texts begin, after `--`, in which the client speaks of itself, or the network answers it.
const NOISE: [&str; 9] = [
    "Channel ",
    "Nicks ",
    "Topic for ",
    "Topic set ",
    "No topic set for ",
    "URL for ",
    "irc: ",
    "Notice -> ",
    "Unknown CTCP requested by ",
];

/// What the line says. `channel` is the one into which the log is read; `None` takes any.
pub(super) fn read(line: &str, channel: Option<&str>) -> Result<Entry, Why> {
    let (stamp, rest) = Stamp::read(line).filter(|(stamp, _)| stamp.has_day()).ok_or(Why::NoTime)?;
    let rest = rest.strip_prefix('\t').ok_or(Why::Unknown)?;
    if rest.trim_start().starts_with("****") {
        return Ok(Entry::Noise);
    }
    let (prefix, text) = rest.split_once('\t').ok_or(Why::Unknown)?;
    let said = match prefix.trim() {
        "-->" => read_join(text, channel),
        "<--" => read_leave(text, channel),
        "--" => return read_network(stamp, text, channel),
        "*" => action(text),
        "=!=" => return Ok(Entry::Noise),
        nick => Deed::new(Kind::Chat, unranked(within(nick, '<', '>')), text),
    };
    Ok(deed(stamp, said?))
}

/// `bob (~bob@host) has joined #c`; account and real name may stand before the host.
fn read_join(text: &str, channel: Option<&str>) -> Result<Deed, Why> {
    let (nick, named) = text.rsplit_once(" has joined ").ok_or(Why::Unknown)?;
    belongs(named, channel)?;
    Deed::new(Kind::Join, first_word(nick), "")
}

/// `bob (~bob@host) has left #c (reason)`, `bob (~bob@host) has quit (reason)`, `alice has kicked bob (reason)`.
fn read_leave(text: &str, channel: Option<&str>) -> Result<Deed, Why> {
    let (nick, did) = text.split_once(' ').ok_or(Why::Unknown)?;
    let nick = unranked(nick);
    if let Some(kick) = did.strip_prefix("has kicked ") {
        let (whom, reason) = kick.split_once(' ').unwrap_or((kick, ""));
        return Deed::kick(nick, whom, within(reason, '(', ')'));
    }
    let did = did.strip_prefix('(').and_then(|host| host.split_once(") ")).map_or(did, |(_host, did)| did);
    if let Some(part) = did.strip_prefix("has left ") {
        let (named, reason) = part.split_once(' ').unwrap_or((part, ""));
        belongs(named, channel)?;
        return Deed::new(Kind::Part, nick, old_quotes(within(reason, '(', ')')));
    }
    let reason = did.strip_prefix("has quit").ok_or(Why::Unknown)?;
    Deed::new(Kind::Quit, nick, within(reason.strip_prefix(' ').unwrap_or(reason), '(', ')'))
}

/// What comes after `--`.
fn read_network(stamp: Stamp, text: &str, channel: Option<&str>) -> Result<Entry, Why> {
    if NOISE.iter().any(|noise| text.starts_with(noise)) {
        return Ok(Entry::Noise);
    }
    if text.starts_with("You are now known as ") {
        return Err(Why::OwnNick);
    }
    if text.starts_with("PvNotice(") {
        return Err(Why::Private);
    }
    if let Some(mode) = text.strip_prefix("Mode ") {
        return Ok(read_mode(mode, channel)?.map_or(Entry::Noise, |mode| deed(stamp, mode)));
    }
    let said = match text.strip_prefix("Notice(") {
        Some(said) => read_notice(said, channel),
        None => read_deed(text, channel),
    };
    Ok(deed(stamp, said?))
}

/// `alice) -> #c: text`; older versions leave the channel out.
fn read_notice(said: &str, channel: Option<&str>) -> Result<Deed, Why> {
    let (nick, text) = said.split_once(')').ok_or(Why::Unknown)?;
    let (named, text) = text.split_once(": ").or_else(|| text.split_once(':')).ok_or(Why::Unknown)?;
    if let Some(named) = named.strip_prefix(" -> ") {
        belongs(named, channel)?;
    } else if !named.is_empty() {
        return Err(Why::Unknown);
    }
    Deed::new(Kind::Notice, unranked(nick), text)
}

/// `#c [+o bob] by alice`; without a name it answers a question.
fn read_mode(mode: &str, channel: Option<&str>) -> Result<Option<Deed>, Why> {
    let (named, change) = mode.split_once(' ').ok_or(Why::Unknown)?;
    belongs(named, channel)?;
    let Some((change, nick)) = change.strip_prefix('[').and_then(|change| change.rsplit_once("] by ")) else {
        return if within(change, '[', ']') == change { Err(Why::Unknown) } else { Ok(None) };
    };
    Deed::new(Kind::Mode, unranked(nick), change).map(Some)
}

/// `alice is now known as al`, `alice has changed topic for #c from "old" to "new"`, `alice has unset topic for #c`.
fn read_deed(text: &str, channel: Option<&str>) -> Result<Deed, Why> {
    let (nick, did) = text.split_once(' ').ok_or(Why::Unknown)?;
    let nick = unranked(nick);
    if let Some(new) = did.strip_prefix("is now known as ") {
        return Deed::renamed(nick, new);
    }
    if let Some(topic) = did.strip_prefix("has unset topic for ") {
        belongs(first_word(topic), channel)?;
        return Deed::new(Kind::Topic, nick, "");
    }
    let topic = did.strip_prefix("has changed topic for ").ok_or(Why::Unknown)?;
    let (named, topic) = topic.split_once(' ').ok_or(Why::Unknown)?;
    belongs(named, channel)?;
    Deed::new(Kind::Topic, nick, new_topic(topic).ok_or(Why::Unknown)?)
}

/// The new topic of `to "new"` and `from "old" to "new"`. Nothing tells where an old one ends that has `" to "` in it: it
/// counts as ended there.
fn new_topic(topic: &str) -> Option<&str> {
    let new = match topic.strip_prefix("from \"") {
        Some(old) => old.split_once("\" to ")?.1,
        None => topic.strip_prefix("to ")?,
    };
    Some(within(new, '"', '"'))
}

/// Versions before 0.3 put a reason in quotes.
fn old_quotes(reason: &str) -> &str {
    within(reason, '"', '"')
}

fn first_word(text: &str) -> &str {
    unranked(text).split(' ').next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::super::reader::samples::{assert_reads, broken};
    use super::*;
    use crate::logs::Format;
    use Kind::*;

    #[test]
    fn a_log_of_weechat_is_read() {
        let log = "\
2026-11-28 09:59:58\t\t****  Beginning of log  ****
2026-11-28 09:59:58\t****  Beginning of log  ****
2026-11-28 09:59:58\t-->\tpubbot (~pubbot@bot.example) has joined #c
2026-11-28 09:59:58\t--\tTopic for #c is \"all about #c\"
2026-11-28 09:59:58\t--\tChannel #c: 2 nicks (1 op, 0 voices, 1 normal)
2026-11-28 09:59:58\t--\tMode #c [+nt]
2026-11-28 09:59:59\t=!=\tirc: something went wrong
2026-11-28 10:00:00\talice\thi\tthere
2026-11-28 10:00:00\t@alice\thi
2026-11-28 10:00:00\t<+alice>\thi
2026-11-28 10:00:00\t *\t@alice waves
2026-11-28 10:00:00\t--\tNotice(alice) -> #c: look: a notice
2026-11-28 10:00:00\t--\tNotice(alice): older
2026-11-28 10:00:01\t-->\t[bob] [account] (Bob has joined #d) (~bob@host.example) has joined #c
2026-11-28 10:00:01\t-->\tcarol has joined #c
2026-11-28 10:00:02\t--\tMode #c [+o-v [bob] carol] by alice
2026-11-28 10:00:02\t--\talice has changed topic for #c from \"old\" to \"the \"new\" one\"
2026-11-28 10:00:02\t--\talice has changed topic for #c to \"new\"
2026-11-28 10:00:02\t--\talice has unset topic for #c (old topic: \"new\")
2026-11-28 10:00:03\t<--\t@alice has kicked +carol (go (away))
2026-11-28 10:00:03\t<--\talice has kicked dave
2026-11-28 10:00:03\t--\t[bob] is now known as bob
2026-11-28 10:00:04\t<--\tbob (~bob@host.example) has left #c (bye)
2026-11-28 10:00:04\t<--\tbob (~bob@host.example) has left #c (\"bye\")
2026-11-28 10:00:04\t<--\teve (~eve@host.example) has left #c
2026-11-28 10:00:04\t<--\tdave (~dave@host.example) has quit (Quit: has left #c (no))
2026-11-28 10:00:04\t<--\tfrank has quit
2026-11-28T10:00:05.123456Z\talice\tnewer
";
        let at = |second| {
            ["2026-11-28 10:00:00", "2026-11-28 10:00:01", "2026-11-28 10:00:02", "2026-11-28 10:00:03"][second]
        };
        assert_reads(
            Format::Weechat,
            log,
            &[
                ("2026-11-28 09:59:58", 0, Join, "pubbot", "", ""),
                (at(0), 0, Chat, "alice", "", "hi\tthere"),
                (at(0), 1, Chat, "alice", "", "hi"),
                (at(0), 2, Chat, "alice", "", "hi"),
                (at(0), 3, Action, "alice", "", "waves"),
                (at(0), 4, Notice, "alice", "", "look: a notice"),
                (at(0), 5, Notice, "alice", "", "older"),
                (at(1), 0, Join, "[bob]", "", ""),
                (at(1), 1, Join, "carol", "", ""),
                (at(2), 0, Mode, "alice", "", "+o-v [bob] carol"),
                (at(2), 1, Topic, "alice", "", "the \"new\" one"),
                (at(2), 2, Topic, "alice", "", "new"),
                (at(2), 3, Topic, "alice", "", ""),
                (at(3), 0, Kick, "alice", "carol", "go (away)"),
                (at(3), 1, Kick, "alice", "dave", ""),
                (at(3), 2, Nick, "[bob]", "", "bob"),
                ("2026-11-28 10:00:04", 0, Part, "bob", "", "bye"),
                ("2026-11-28 10:00:04", 1, Part, "bob", "", "bye"),
                ("2026-11-28 10:00:04", 2, Part, "eve", "", ""),
                ("2026-11-28 10:00:04", 3, Quit, "dave", "", "Quit: has left #c (no)"),
                ("2026-11-28 10:00:04", 4, Quit, "frank", "", ""),
                ("2026-11-28 10:00:05.123", 0, Chat, "alice", "", "newer"),
            ],
        );
    }

    #[test]
    fn what_is_no_line_of_the_channel_is_counted_with_its_reason() {
        let log = "\
10:00:00\talice\thi
2026-11-28 10:00:00 alice hi
2026-11-28 10:00:00\talice
2026-11-28 10:00:00\t\thi
2026-11-28 10:00:00\t--\talice [~alice@host] is idle
2026-11-28 10:00:00\t--\tPvNotice(bob): psst
2026-11-28 10:00:00\t--\tYou are now known as al
2026-11-28 10:00:00\t-->\tbob (~bob@host) has joined #d
2026-11-28 10:00:00\t--\tNotice(alice) -> @#c: for operators
2026-11-28 10:00:00\t<--\tYou were killed by bob
";
        let elsewhere = |name: &str| Why::Elsewhere(name.into());
        let why = [Why::NoTime, Why::Unknown, Why::Unknown, Why::Unknown, Why::Unknown, Why::Private, Why::OwnNick];
        let why = why.into_iter().chain([elsewhere("#d"), elsewhere("@#c"), Why::Unknown]);
        assert_eq!(broken(Format::Weechat, log), (1..).zip(why).collect::<Vec<_>>());
    }
}
