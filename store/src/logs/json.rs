//! JSON lines: the archive's own format, in which nothing is lost. One object a line, its members in this order:
//!
//! | member | what |
//! |---|---|
//! | `event_id` | a UUID; stored once |
//! | `at` | RFC 3339, UTC, milliseconds: `2026-11-28T10:00:05.000Z`; any offset is read |
//! | `seq` | the order among lines of one time, a number; may be missing |
//! | `network`, `channel` | names |
//! | `kind` | `chat`, `action`, `notice`, `join`, `part`, `quit`, `kick`, `nick`, `topic` or `mode` |
//! | `nick` | who did it; the kicker; the old nick |
//! | `account`, `msgid` | missing if unknown |
//! | `whom` | who was kicked, else missing |
//! | `text` | what was said, the topic, the reason, the new nick, the modes; empty if there is none |
//!
//! For logs that others turn into this format, `event_id` may be missing, and is made of the rest; so may `network` and
//! `channel`, which are then those into which the log is read, and `text`. Other members are passed over. A line end in
//! a text becomes a space: a channel's line has none.

use std::io::{Result as IoResult, Write};

use protocol::{IrcText, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Why;
use crate::archive::{Kind, Record};

#[derive(Serialize)]
struct Written<'a> {
    event_id: Uuid,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    network: &'a str,
    channel: &'a str,
    kind: Kind,
    nick: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msgid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    whom: Option<&'a str>,
    text: &'a str,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Line {
    event_id: Option<Uuid>,
    at: String,
    seq: Option<u64>,
    network: Option<String>,
    channel: Option<String>,
    kind: Kind,
    nick: String,
    account: Option<String>,
    msgid: Option<String>,
    whom: Option<String>,
    #[serde(default)]
    text: String,
}

/// Writes `record` as one line.
///
/// # Errors
/// Whatever `out` says.
pub fn write_json(record: &Record, mut out: impl Write) -> IoResult<()> {
    let line = Written {
        event_id: record.event_id,
        at: record.at,
        seq: record.seq,
        network: &record.network,
        channel: &record.channel,
        kind: record.kind,
        nick: &record.nick,
        account: record.account.as_deref(),
        msgid: record.msgid.as_deref(),
        whom: record.whom.as_deref(),
        text: &record.text,
    };
    serde_json::to_writer(&mut out, &line)?;
    out.write_all(b"\n")
}

/// The record of a line, and whether it has an id of its own. `network` and `channel` stand in where it names none.
pub(super) fn read(line: &str, network: &str, channel: &str) -> Result<(Record, bool), Why> {
    let line: Line = serde_json::from_str(line).map_err(reason)?;
    let at = Timestamp::parse(&line.at).ok_or_else(|| Why::Json("at is no time as in RFC 3339".into()))?;
    let nick = one_line(line.nick);
    if nick.is_empty() {
        return Err(Why::Json("nick is empty".into()));
    }
    let has_id = line.event_id.is_some();
    let record = Record {
        event_id: line.event_id.unwrap_or_default(),
        at: Timestamp::from_millis(at.millis()),
        seq: line.seq,
        network: line.network.map_or_else(|| network.to_owned(), one_line),
        channel: line.channel.map_or_else(|| channel.to_owned(), one_line),
        kind: line.kind,
        nick,
        account: line.account.map(one_line),
        msgid: line.msgid.map(one_line),
        whom: line.whom.map(one_line),
        text: one_line(line.text),
    };
    Ok((record, has_id))
}

fn one_line(text: String) -> String {
    if text.contains(['\r', '\n', '\0']) { IrcText::one_line(&text).to_string() } else { text }
}

/// What is wrong, without “at line 1”, which would be taken for the line of the file.
fn reason(error: serde_json::Error) -> Why {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    Why::Json(format!("{what} (column {})", error.column()))
}

#[cfg(test)]
mod tests {
    use super::super::reader::samples::{context, read};
    use super::*;
    use crate::logs::{Format, Writer};

    const LINES: &str = concat!(
        r#"{"event_id":"0190163d-8694-739b-aea5-966c26f8ad90","at":"2026-11-28T10:00:05.123Z","seq":3,"network":"libera","#,
        r##""channel":"#rust","kind":"chat","nick":"alice","account":"al","msgid":"x/1","text":"\u0002hi\u0002 “you”"}"##,
        "\n",
        r#"{"event_id":"0190163d-8694-739b-aea5-966c26f8ad91","at":"2026-11-28T10:00:06.000Z","network":"libera","#,
        r##""channel":"#rust","kind":"kick","nick":"alice","whom":"bob","text":""}"##,
        "\n",
    );

    #[test]
    fn what_is_read_is_written_as_it_was() {
        let (records, broken) = read(Format::Json, LINES, context());
        assert!(broken.is_empty(), "{broken:?}");
        assert_eq!(records[0].text, "\u{2}hi\u{2} “you”");
        assert_eq!((records[1].kind, records[1].whom.as_deref()), (Kind::Kick, Some("bob")));
        let mut writer = Writer::json(Vec::new());
        records.iter().for_each(|record| writer.write(record).unwrap());
        assert_eq!(String::from_utf8(writer.finish().unwrap()).unwrap(), LINES);
    }

    #[test]
    fn a_foreign_line_gets_what_it_lacks() {
        let line = r#"{"at":"2026-11-28T11:00:05+01:00","kind":"action","nick":"alice","text":"a\r\nb","mood":1}"#;
        let (records, broken) = read(Format::Json, &format!("{line}\n{line}\n"), context());
        assert!(broken.is_empty(), "{broken:?}");
        assert_eq!((&*records[0].network, &*records[0].channel, &*records[0].text), ("libera", "#c", "a b"));
        assert_eq!(records[0].at.to_string(), "2026-11-28T10:00:05.000Z");
        assert_eq!([records[0].seq, records[1].seq], [Some(0), Some(1)]);
        assert_ne!(records[0].event_id, records[1].event_id);
    }

    #[test]
    fn a_line_that_is_no_record_says_why() {
        for (line, why) in [
            ("{", "EOF while parsing an object (column 1)"),
            ("[]", "invalid length 0, expected an object (column 2)"),
            (r#"{"at":"2026-11-28T10:00:05Z","kind":"chat"}"#, "missing field `nick` (column 43)"),
            (r#"{"at":"2026-11-28T10:00:05Z","kind":"chat","nick":"\n"}"#, "nick is empty"),
            (r#"{"at":"yesterday","kind":"chat","nick":"a"}"#, "at is no time as in RFC 3339"),
        ] {
            let (records, broken) = read(Format::Json, line, context());
            assert!(records.is_empty());
            assert_eq!(broken[0].why, Why::Json(why.into()), "{line}");
        }
    }
}
