//! What holds for all formats: no bytes make a reader fail, and what is written is read back.

use chrono::FixedOffset;
use proptest::prelude::*;
use protocol::Timestamp;
use uuid::Uuid;

use super::clock::tests::Berlin;
use super::reader::samples::read;
use super::{Context, Format, Place, Reader, Style, Why, Writer, day_in_name};
use crate::archive::{Kind, Record};

const FORMATS: [Format; 5] = [Format::Irssi, Format::Weechat, Format::Energymech, Format::Znc, Format::Json];

const KINDS: [Kind; 10] = [
    Kind::Chat,
    Kind::Action,
    Kind::Notice,
    Kind::Join,
    Kind::Part,
    Kind::Quit,
    Kind::Kick,
    Kind::Nick,
    Kind::Topic,
    Kind::Mode,
];

/// Parts of lines, with `|` between them, so that what is made at random gets past the first test.
const PARTS: &str = "10:00|[10:00:05]|2026-11-28 10:00:05|2026-11-28T10:00:05.5Z|--- Log opened |--- Day changed |\
    Sat Nov 28 2026|Session Time: |<|> |<@| * |-|-!- |*** |-->|<--|--|alice|[bob]|#c|:#c|#d|[~b@h]|(~b@h)| has joined |\
     has quit | has left |was kicked from | by | was kicked by |mode/#c [+o bob]|sets mode: |is now known as |\
    changes topic to '|changed the topic of #c to: |has changed topic for #c from \"|\" to \"|Joins: |, |\
    Netsplit a <-> b quits: |Notice(alice) -> #c: |{\"at\":\"2026-11-28T10:00:05Z\",| |\t|ü€";

fn part() -> impl Strategy<Value = String> {
    prop::sample::select(PARTS.split('|').map(str::to_owned).collect::<Vec<_>>())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => part().prop_map(String::into_bytes),
        2 => prop::sample::select(vec![b"\n".to_vec(), b"\r\n".to_vec()]),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

fn nick() -> impl Strategy<Value = String> {
    "[a-zA-Z\\[\\]\\\\`_^{|}][a-zA-Z0-9\\[\\]\\\\`_^{|}-]{0,8}"
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof!["\\PC{0,12}", "[\u{2}\u{3}\u{f}\u{1f}\t ]{0,3}", part()];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn modes() -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["+o", "-v", "+b", "+o-v"]), nick()).prop_map(|(modes, nick)| format!("{modes} {nick}"))
}

/// Records at rising times, which every format can hold but for their ids, accounts and the like.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (0..3_000_000_i64, prop::sample::select(&KINDS[..]), nick(), nick(), text(), modes());
    let optional = (any::<u128>(), any::<Option<u64>>(), prop::option::of(text()), prop::option::of(text()));
    // times rise from January 2026, through both changes of the clock
    prop::collection::vec((one, optional), 0..40).prop_map(|parts| {
        let mut at = 1_767_225_600_000;
        let record = |((step, kind, nick, other, text, modes), (id, seq, account, msgid))| {
            at += step * 1000;
            let (whom, text) = match kind {
                Kind::Join => (None, String::new()),
                Kind::Nick => (None, other),
                Kind::Mode => (None, modes),
                Kind::Kick => (Some(other), text),
                _ => (None, text),
            };
            let (event_id, at) = (Uuid::from_u128(id), Timestamp::from_millis(at));
            let (network, channel) = ("libera".to_owned(), "#c".to_owned());
            Record { event_id, at, seq, network, channel, kind, nick, account, msgid, whom, text }
        };
        parts.into_iter().map(record).collect()
    })
}

fn written<Z: chrono::TimeZone>(style: Style, records: &[Record], zone: Z) -> String {
    let mut writer = Writer::new(style, Vec::new(), zone);
    records.iter().for_each(|record| writer.write(record).unwrap());
    String::from_utf8(writer.finish().unwrap()).unwrap()
}

/// What a text keeps of a record.
type Content<'a> = (Timestamp, Kind, &'a str, Option<&'a str>, &'a str);

fn content(record: &Record) -> Content<'_> {
    (record.at, record.kind, &record.nick, record.whom.as_deref(), &record.text)
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_fail(bytes in bytes(), name in "\\PC{0,20}") {
        for format in FORMATS {
            let context = Context { source_name: "2026-11-28.log".into(), ..Context::new("libera", "#c") };
            let lines = bytes.split(|&byte| byte == b'\n').count() as u64;
            let mut reader = Reader::new(format, &bytes[..], context);
            for record in reader.by_ref() {
                match record {
                    Ok(record) => prop_assert!(!record.nick.is_empty() && !record.text.contains(['\n', '\r', '\0'])),
                    Err(broken) => prop_assert!(broken.line <= lines && broken.why != Why::TooLong),
                }
            }
            prop_assert_eq!(reader.bytes(), bytes.len() as u64);
            Place::of(format, &name);
        }
        Format::guess(&bytes, &name);
        day_in_name(&name);
    }

    #[test]
    fn json_lines_come_back_as_they_were(records in records()) {
        let (read, broken) = read(Format::Json, &written(Style::Json, &records, chrono::Utc), Context::new("", ""));
        prop_assert!(broken.is_empty(), "{:?}", broken);
        prop_assert_eq!(read, records);
    }

    #[test]
    fn texts_come_back_but_for_what_they_cannot_hold(records in records(), hours in -12..14_i32) {
        let zone = FixedOffset::east_opt(hours * 3600).unwrap();
        for (style, format) in [(Style::Irssi, Format::Irssi), (Style::Mirc, Format::Energymech)] {
            let log = written(style, &records, zone);
            let (read, broken) = read(format, &log, Context::new("libera", "#c").in_zone(zone));
            prop_assert!(broken.is_empty(), "{:?}", broken);
            let expected: Vec<_> = records.iter().map(content).collect();
            prop_assert_eq!(read.iter().map(content).collect::<Vec<_>>(), expected, "{}", log);
        }
    }

    #[test]
    fn the_clocks_changes_for_summer_and_winter_lose_no_line(steps in prop::collection::vec(1..3_000_i64, 1..20)) {
        // 25 October 2026, 00:30 in Berlin
        let mut at = 1_792_881_000_000;
        let record = |step: i64| {
            at += step * 1000;
            let text = format!("{step}");
            Record { at: Timestamp::from_millis(at), text, ..read(Format::Irssi, "10:00 < a> b", in_2026()).0.remove(0) }
        };
        let records: Vec<Record> = steps.into_iter().map(record).collect();
        let log = written(Style::Irssi, &records, Berlin);
        let (read, broken) = read(Format::Irssi, &log, in_2026().in_zone(Berlin));
        prop_assert!(broken.is_empty(), "{:?}", broken);
        let expected: Vec<_> = records.iter().map(content).collect();
        prop_assert_eq!(read.iter().map(content).collect::<Vec<_>>(), expected, "{}", log);
    }
}

fn in_2026() -> Context {
    Context { day: day_in_name("2026-10-25"), ..Context::new("libera", "#c") }
}
