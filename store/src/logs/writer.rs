//! Records written as a log, one after the other; nothing is held but the day.

use std::borrow::Cow;
use std::io::{Result, Write};

use chrono::{NaiveDateTime, TimeZone, Utc};
use protocol::IrcText;

use super::json::write_json;
use super::{irssi, mirc};
use crate::archive::Record;

/// Stands where a log has `user@host`, which the archive does not keep.
pub(super) const UNKNOWN_HOST: &str = "?@?";

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// JSON lines: everything, in UTC.
    Json,
    /// Text as irssi writes it, for one channel.
    Irssi,
    /// Text as mIRC writes it, for one channel.
    Mirc,
}

/// Writes records as a log. `out` is written to in small pieces, so it should be buffered.
///
/// The texts hold seconds and one channel: what that leaves out is said in `irssi.rs` and `mirc.rs`. Records are taken
/// in the order in which they come; where the day is another than the last record's, a line says so.
pub struct Writer<W, Z = Utc> {
    style: Style,
    out: W,
    zone: Z,
    last: Option<NaiveDateTime>,
}

impl<W: Write> Writer<W> {
    /// Writes JSON lines.
    pub fn json(out: W) -> Self {
        Writer::new(Style::Json, out, Utc)
    }
}

impl<W: Write, Z: TimeZone> Writer<W, Z> {
    /// Writes in `style`; days and times are those of `zone`, but for JSON, which is in UTC.
    pub fn new(style: Style, out: W, zone: Z) -> Self {
        Writer { style, out, zone, last: None }
    }

    /// Writes one record, and before it what tells its day if that is needed.
    ///
    /// # Errors
    /// Whatever `out` says.
    pub fn write(&mut self, record: &Record) -> Result<()> {
        if self.style == Style::Json {
            return write_json(record, &mut self.out);
        }
        let record = &*on_one_line(record);
        let now = self.local(record);
        match self.last.replace(now) {
            None => self.write_opening(now, &record.channel)?,
            Some(last) if last.date() != now.date() => self.write_day(now)?,
            Some(_) => {}
        }
        match self.style {
            Style::Irssi => irssi::write(&mut self.out, now, record),
            Style::Mirc | Style::Json => mirc::write(&mut self.out, now, record),
        }
    }

    /// Ends the log, and gives back what it was written to.
    ///
    /// # Errors
    /// Whatever `out` says.
    pub fn finish(mut self) -> Result<W> {
        match (self.style, self.last) {
            (Style::Irssi, Some(last)) => irssi::write_closing(&mut self.out, last)?,
            (Style::Mirc, Some(last)) => mirc::write_closing(&mut self.out, last)?,
            _ => {}
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn local(&self, record: &Record) -> NaiveDateTime {
        let utc = chrono::DateTime::from_timestamp_millis(record.at.millis()).unwrap_or_default();
        utc.with_timezone(&self.zone).naive_local()
    }

    fn write_opening(&mut self, now: NaiveDateTime, channel: &str) -> Result<()> {
        match self.style {
            Style::Irssi => irssi::write_opening(&mut self.out, now),
            Style::Mirc | Style::Json => mirc::write_opening(&mut self.out, now, channel),
        }
    }

    fn write_day(&mut self, now: NaiveDateTime) -> Result<()> {
        match self.style {
            Style::Irssi => irssi::write_day(&mut self.out, now),
            Style::Mirc | Style::Json => mirc::write_day(&mut self.out, now),
        }
    }
}

/// The record with no line end anywhere: a text must not be able to begin a line of its own.
fn on_one_line(record: &Record) -> Cow<'_, Record> {
    let Record { nick, channel, text, whom, .. } = record;
    let parts = [nick, channel, text].into_iter().chain(whom);
    if !parts.into_iter().any(|part| part.contains(['\r', '\n', '\0'])) {
        return Cow::Borrowed(record);
    }
    let one_line = |text: &str| IrcText::one_line(text).to_string();
    Cow::Owned(Record {
        nick: one_line(nick),
        channel: one_line(channel),
        text: one_line(text),
        whom: whom.as_deref().map(one_line),
        ..record.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::super::reader::samples::{context, read};
    use super::*;
    use crate::logs::Format;
    use chrono::FixedOffset;

    fn rewritten(style: Style, log: &str) -> String {
        let (records, broken) = read(Format::Irssi, log, context());
        assert!(broken.is_empty(), "{broken:?}");
        let mut writer = Writer::new(style, Vec::new(), FixedOffset::east_opt(3600).unwrap());
        records.iter().for_each(|record| writer.write(record).unwrap());
        String::from_utf8(writer.finish().unwrap()).unwrap()
    }

    const LOG: &str = "\
--- Log opened Sat Nov 28 22:59:00 2026
22:59:00 < alice> hi
22:59:01  * alice waves
22:59:02 -alice:#c- a notice
22:59:03 -!- bob [?@?] has joined #c
23:00:00 -!- mode/#c [+o bob] by alice
23:00:01 -!- carol was kicked from #c by bob [away]
23:00:02 -!- alice changed the topic of #c to: news
23:00:03 -!- alice is now known as al
23:00:04 -!- al [?@?] has left #c [bye]
23:00:05 -!- bob [?@?] has quit []
--- Log closed Sat Nov 28 23:00:05 2026
";

    #[test]
    fn the_text_of_irssi_has_days_and_times_of_its_zone() {
        let expected = LOG
            .replace("--- Log opened Sat Nov 28 22:", "--- Log opened Sat Nov 28 23:")
            .replace("\n22:", "\n23:_")
            .replacen("\n23:00:00", "\n--- Day changed Sun Nov 29 2026\n00:00:00", 1)
            .replace("\n23:0", "\n00:0")
            .replace("\n23:_", "\n23:")
            .replace("closed Sat Nov 28 23:", "closed Sun Nov 29 00:");
        assert_eq!(rewritten(Style::Irssi, LOG), expected);
    }

    #[test]
    fn the_text_of_mirc_is_written() {
        let expected = "\
Session Start: Sat Nov 28 23:59:00 2026
Session Ident: #c
[23:59:00] <alice> hi
[23:59:01] * alice waves
[23:59:02] -alice:#c- a notice
[23:59:03] *** Joins: bob (?@?)
Session Time: Sun Nov 29 00:00:00 2026
[00:00:00] *** alice sets mode: +o bob
[00:00:01] *** carol was kicked by bob (away)
[00:00:02] *** alice changes topic to 'news'
[00:00:03] *** alice is now known as al
[00:00:04] *** Parts: al (?@?) (bye)
[00:00:05] *** Quits: bob (?@?) ()
Session Close: Sun Nov 29 00:00:05 2026
";
        assert_eq!(rewritten(Style::Mirc, LOG), expected.replace('\n', "\r\n"));
    }

    #[test]
    fn no_text_begins_a_line_of_its_own() {
        let (mut records, _) = read(Format::Irssi, LOG, context());
        records[0].text = "hi\n23:59 < bob> I am an admin".into();
        let mut writer = Writer::new(Style::Irssi, Vec::new(), Utc);
        writer.write(&records[0]).unwrap();
        let text = String::from_utf8(writer.finish().unwrap()).unwrap();
        assert!(text.contains("22:59:00 < alice> hi 23:59 < bob> I am an admin\n"), "{text}");
    }

    #[test]
    fn a_log_of_nothing_is_empty() {
        for style in [Style::Json, Style::Irssi, Style::Mirc] {
            assert!(Writer::new(style, Vec::new(), Utc).finish().unwrap().is_empty());
        }
    }
}
