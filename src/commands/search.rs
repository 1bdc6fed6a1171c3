//! `pubbot search`: what was said, found by its words, the newest first. It reads the database and needs no running bot.

use std::fmt::Write as _;
use std::io::{self, Write};

use bus::System;
use clap::Args;
use protocol::Ambient;
use store::archive::{Kind, Message, Record};
use store::logs::json::write_json;
use store::words::without_formatting;

use crate::cli::Options;
use crate::config::{Config, Environment};
use crate::failure::{Failure, unless_closed};
use crate::terminal::{harmless, harmless_json, tell};
use crate::zone::Zone;
use crate::{database, logs, runtime};

const EXAMPLES: &str = "\
Examples:
  pubbot search borrow checker                            both words
  pubbot search '\"borrow checker\" -lifetime from:alice'   a phrase, but no lifetimes, of alice's
  pubbot search 'release in:libera/#rust after:7d'        in a channel, in the last seven days
  pubbot search 'from:bob before:2026-11-28' --json       for a program: all that bob said till then
  pubbot search release --before 1883078492160100353      the next page: what is older

Filters: from:NICK, in:#CHANNEL, in:NETWORK/#CHANNEL, on:NETWORK, and after: and before: with 2026, 2026-11, \
2026-11-28, 2026-11-28T10:00, today, yesterday, 3h, 7d or 2w. A minus before a word, a phrase or from:, in: and on: \
leaves out what has it. Put a search with phrases or a minus into single quotes; before one that begins with a minus \
write --.

The number at the end of a line is its key, which stays the same for good. Nothing found is no failure: the status is 0.";

/// So many are shown in one go: one less than a page of the archive, which tells whether there are more.
const MAX_SHOWN: i64 = store::archive::MAX_PAGE as i64 - 1;

/// Find what was said, the newest first
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Search {
    /// Words, "phrases", -without, and filters such as from:alice and in:#rust
    #[arg(required = true, value_name = "WORDS")]
    pub words: Vec<String>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=MAX_SHOWN))]
    pub limit: u16,
    /// Only what is older than the line with this key: for the next page
    #[arg(long, value_name = "KEY", value_parser = clap::value_parser!(i64).range(0..))]
    before: Option<i64>,
    /// Print each as one JSON object, with times in UTC
    #[arg(long)]
    json: bool,
    /// The time zone of dates: an offset such as +01:00, or UTC [default: that of this computer]
    #[arg(long, value_name = "ZONE", default_value = "local", hide_default_value = true, value_parser = Zone::parse, allow_hyphen_values = true)]
    zone: Zone,
}

impl Search {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        let config = Config::load(environment, &options.overrides_without_secrets())?;
        logs::start(options, environment, logs::Default::Quiet)?;
        let query = self.zone.query(&self.words.join(" "), System.now()).map_err(Failure::usage)?;
        runtime::block_on(async {
            let store = database::existing(&config)?;
            let found = store.archive().search(&query, self.before.unwrap_or(i64::MAX), self.limit + 1).await;
            store.close().await;
            self.show(found?)
        })
    }

    fn show(&self, mut found: Vec<Message>) -> Result<(), Failure> {
        let has_more = found.len() > self.limit.into();
        found.truncate(self.limit.into());
        let line = |message| if self.json { json(message) } else { human(message, self.zone) };
        let lines: String = found.iter().map(line).collect();
        unless_closed(io::stdout().write_all(lines.as_bytes()))?;
        match found.last() {
            None if self.before.is_some() => tell("nothing more was found"),
            None => tell("nothing was found"),
            Some(last) if has_more => tell(&format!("there is more: the same with --before {}", last.key)),
            Some(_) => {}
        }
        Ok(())
    }
}

/// `2026-11-28 10:00:05 libera/#rust <alice> hi  1883078492160100353`
fn human(message: &Message, zone: Zone) -> String {
    let Message { key, record } = message;
    let time = zone.clock(record.at).format("%Y-%m-%d %H:%M:%S");
    let Record { network, channel, .. } = record;
    let line = format!("{time} {network}/{channel} {}  {key}", deed(record));
    harmless(&line) + "\n"
}

/// Who did what, on one line without formatting.
fn deed(Record { kind, nick, whom, text, .. }: &Record) -> String {
    let text = without_formatting(text).replace('\n', " ⏎ ");
    let reason = if text.is_empty() { String::new() } else { format!(" ({text})") };
    match kind {
        Kind::Chat => format!("<{nick}> {text}"),
        Kind::Action => format!("* {nick} {text}"),
        Kind::Notice => format!("-{nick}- {text}"),
        Kind::Join => format!("{nick} came"),
        Kind::Part => format!("{nick} left{reason}"),
        Kind::Quit => format!("{nick} quit{reason}"),
        Kind::Kick => format!("{nick} kicked {}{reason}", whom.as_deref().unwrap_or("somebody")),
        Kind::Nick => format!("{nick} is now {text}"),
        Kind::Topic if text.is_empty() => format!("{nick} took the topic away"),
        Kind::Topic => format!("{nick} set the topic: {text}"),
        Kind::Mode => format!("{nick} set {text}"),
    }
}

/// As in exports, with the key in front: a string, since many programs have no integers so large.
fn json(message: &Message) -> String {
    let mut line = Vec::new();
    // a Vec can be written to
    write_json(&message.record, &mut line).ok();
    let line = String::from_utf8_lossy(&line);
    let mut json = String::new();
    write!(json, "{{\"key\":\"{}\",{}", message.key, line.trim_end().trim_start_matches('{')).ok();
    harmless_json(&json) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Timestamp;

    fn message(kind: Kind, text: &str) -> Message {
        let record = Record {
            event_id: uuid::Uuid::from_u128(1),
            at: Timestamp::parse("2026-11-28T10:00:05Z").unwrap(),
            seq: Some(0),
            network: "libera".into(),
            channel: "#rust".into(),
            kind,
            nick: "alice".into(),
            account: None,
            msgid: None,
            whom: (kind == Kind::Kick).then(|| "bob".into()),
            text: text.into(),
        };
        Message { key: store::archive::key::of(&record), record }
    }

    fn shown(kind: Kind, text: &str) -> String {
        human(&message(kind, text), Zone::parse("+01:00").unwrap())
    }

    #[test]
    fn people_read_time_place_nick_text_and_key() {
        let key = message(Kind::Chat, "").key;
        assert_eq!(
            shown(Kind::Chat, "\u{2}hi\u{2} \u{3}04there"),
            format!("2026-11-28 11:00:05 libera/#rust <alice> hi there  {key}\n")
        );
        for (kind, text, expected) in [
            (Kind::Action, "waves", "* alice waves"),
            (Kind::Join, "", "alice came"),
            (Kind::Part, "bye", "alice left (bye)"),
            (Kind::Quit, "", "alice quit"),
            (Kind::Kick, "away", "alice kicked bob (away)"),
            (Kind::Nick, "al", "alice is now al"),
            (Kind::Topic, "", "alice took the topic away"),
            (Kind::Mode, "+o bob", "alice set +o bob"),
        ] {
            let line = shown(kind, text);
            assert!(line.contains(&format!("#rust {expected}  ")), "{line}");
        }
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let text = "\u{1b}[2J\u{9b}2J\u{7f}\r\nx\u{202e}";
        for line in [shown(Kind::Chat, text), json(&message(Kind::Chat, text))] {
            let line = line.strip_suffix('\n').unwrap();
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        }
        let back: serde_json::Value = serde_json::from_str(&json(&message(Kind::Chat, text))).unwrap();
        assert_eq!(back["text"], text);
        assert_eq!(back["key"], message(Kind::Chat, "").key.to_string());
    }
}
