//! A log read line by line into records: an iterator that holds one line, whatever the log's size.

use std::collections::VecDeque;
use std::io::BufRead;

use chrono::{NaiveDate, TimeZone, Utc};
use uuid::Uuid;

use super::clock::{Calendar, Stamp};
use super::entry::{Deed, Entry};
use super::lines::{Line, Lines};
use super::numbering::Numbering;
use super::{Broken, Format, Why, day_in_name, json};
use crate::archive::Record;

/// What a log does not say of itself.
///
/// `zone` is that of the clock by which the log was written: a `FixedOffset`, or any other `TimeZone`, such as one of the
/// IANA's with its summer times.
#[derive(Clone, Debug)]
pub struct Context<Z = Utc> {
    /// The network into whose archive the log goes.
    pub network: String,
    /// The channel. A line that names another is [`Broken`].
    pub channel: String,
    /// The day on which the log begins, if neither it nor the file's name says so, or the name lies.
    pub day: Option<NaiveDate>,
    /// The time zone of the times in the log. Of no use where they come with their own.
    pub zone: Z,
    /// The file's name, for the day in it ([`day_in_name`]). No part of any id: a file may be moved and imported again.
    pub source_name: String,
}

impl Context {
    /// A log of `channel` on `network`, in UTC, without name.
    pub fn new(network: &str, channel: &str) -> Self {
        let (network, channel) = (network.to_owned(), channel.to_owned());
        Context { network, channel, day: None, zone: Utc, source_name: String::new() }
    }
}

impl<Z> Context<Z> {
    /// The same, in another time zone.
    #[must_use]
    pub fn in_zone<Y: TimeZone>(self, zone: Y) -> Context<Y> {
        let Context { network, channel, day, source_name, .. } = self;
        Context { network, channel, day, zone, source_name }
    }
}

/// Reads a log: an iterator of its records, in the order of the file, and of the lines that are none.
///
/// Empty lines, and what a client writes of itself, are passed over. The same log gives the same records with the same ids
/// each time, and a log that has grown gives them again, and then what is new. What can't be known from a log is left
/// out: accounts, msgids, and who is behind “You are now known as”.
///
/// ```
/// use store::logs::{Context, Format, Reader};
///
/// let log = "--- Log opened Sat Nov 28 10:00:00 2026\n10:00 < alice> hi\n";
/// let mut reader = Reader::new(Format::Irssi, log.as_bytes(), Context::new("libera", "#rust"));
/// let record = reader.next().unwrap().unwrap();
/// assert_eq!((record.nick.as_str(), record.text.as_str()), ("alice", "hi"));
/// ```
pub struct Reader<R, Z = Utc> {
    format: Format,
    lines: Lines<R>,
    network: String,
    channel: String,
    calendar: Calendar<Z>,
    numbering: Numbering,
    /// The rest of the records of a line that has several.
    waiting: VecDeque<Record>,
    ended: bool,
}

impl<R: BufRead, Z: TimeZone> Reader<R, Z> {
    /// Reads `source` as `format`.
    pub fn new(format: Format, source: R, context: Context<Z>) -> Self {
        let Context { network, channel, day, zone, source_name } = context;
        let calendar = Calendar::new(zone, day.or_else(|| day_in_name(&source_name)));
        let (lines, numbering) = (Lines::new(source), Numbering::default());
        Reader { format, lines, network, channel, calendar, numbering, waiting: VecDeque::new(), ended: false }
    }

    /// How many bytes have been read; of the file's size, that is the progress.
    pub fn bytes(&self) -> u64 {
        self.lines.bytes()
    }

    /// The number of the line that was read last, from 1.
    pub fn line(&self) -> u64 {
        self.lines.number()
    }

    fn take(&mut self, line: &Line) -> Result<(), Why> {
        if line.too_long {
            return Err(Why::TooLong);
        }
        if line.text.trim_ascii().is_empty() {
            return Ok(());
        }
        if self.format == Format::Json {
            return self.take_json(&line.text);
        }
        match self.format.read(&line.text, Some(&self.channel)) {
            Ok(Entry::Noise) => Ok(()),
            Ok(Entry::Day(day)) => {
                self.calendar.turn_to(Some(day));
                Ok(())
            }
            Ok(Entry::Deeds(stamp, deeds)) => self.take_deeds(stamp, deeds),
            Err(why) => {
                if why == Why::BadDay {
                    self.calendar.turn_to(None);
                }
                Err(why)
            }
        }
    }

    fn take_json(&mut self, line: &str) -> Result<(), Why> {
        let (mut record, has_id) = json::read(line, &self.network, &self.channel)?;
        if !has_id {
            self.numbering.number(&mut record)?;
        }
        self.waiting.push_back(record);
        Ok(())
    }

    fn take_deeds(&mut self, stamp: Stamp, deeds: Vec<Deed>) -> Result<(), Why> {
        let at = self.calendar.moment(stamp)?;
        for Deed { kind, nick, whom, text } in deeds {
            let mut record = Record {
                event_id: Uuid::nil(),
                at,
                seq: None,
                network: self.network.clone(),
                channel: self.channel.clone(),
                kind,
                nick,
                account: None,
                msgid: None,
                whom,
                text,
            };
            self.numbering.number(&mut record)?;
            self.waiting.push_back(record);
        }
        Ok(())
    }
}

impl<R: BufRead, Z: TimeZone> Iterator for Reader<R, Z> {
    type Item = Result<Record, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.waiting.pop_front() {
                return Some(Ok(record));
            }
            if self.ended {
                return None;
            }
            let line = match self.lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => {
                    self.ended = true;
                    return None;
                }
                Err(error) => {
                    self.ended = true;
                    let why = Why::Unreadable(error.to_string());
                    return Some(Err(Broken::new(self.lines.number(), "", why)));
                }
            };
            if let Err(why) = self.take(&line) {
                return Some(Err(Broken::new(self.lines.number(), &line.text, why)));
            }
        }
    }
}

/// Logs for the tests of the formats.
#[cfg(test)]
pub(super) mod samples {
    use super::*;
    use crate::archive::Kind;

    /// `#c` on `libera`, on 28 November 2026.
    pub(in crate::logs) fn context() -> Context {
        Context { source_name: "2026-11-28.log".into(), ..Context::new("libera", "#c") }
    }

    pub(in crate::logs) fn read<Z: TimeZone>(
        format: Format,
        log: &str,
        context: Context<Z>,
    ) -> (Vec<Record>, Vec<Broken>) {
        let (records, broken): (Vec<_>, Vec<_>) = Reader::new(format, log.as_bytes(), context).partition(Result::is_ok);
        (records.into_iter().map(Result::unwrap).collect(), broken.into_iter().map(Result::unwrap_err).collect())
    }

    /// The broken lines of a log: number and reason.
    pub(in crate::logs) fn broken(format: Format, log: &str) -> Vec<(u64, Why)> {
        let broken = read(format, log, Context { source_name: no_day_for_irssi(format), ..context() }).1;
        broken.into_iter().map(|broken| (broken.line, broken.why)).collect()
    }

    fn no_day_for_irssi(format: Format) -> String {
        if format == Format::Irssi { "#c.log".into() } else { context().source_name }
    }

    /// `log` reads as these records (time in UTC, `seq`, kind, nick, whom or nothing, text) and has no broken line.
    pub(in crate::logs) fn assert_reads(format: Format, log: &str, expected: &[(&str, u64, Kind, &str, &str, &str)]) {
        let (records, broken) = read(format, log, context());
        assert!(broken.is_empty(), "{broken:?}");
        let times: Vec<String> = records.iter().map(time).collect();
        let found: Vec<_> = (records.iter().zip(&times))
            .map(|(record, at)| {
                let whom = record.whom.as_deref().unwrap_or_default();
                (&**at, record.seq.unwrap(), record.kind, &*record.nick, whom, &*record.text)
            })
            .collect();
        assert_eq!(found, expected);
        assert!(records.iter().all(|record| record.network == "libera" && record.channel == "#c"));
        let ids: std::collections::HashSet<_> = records.iter().map(|record| record.event_id).collect();
        assert_eq!(ids.len(), records.len());
    }

    fn time(record: &Record) -> String {
        record.at.to_string().replace('T', " ").trim_end_matches('Z').trim_end_matches(".000").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{context, read};
    use super::*;
    use std::io::{BufReader, Read};

    #[test]
    fn a_log_that_is_imported_again_or_has_grown_gives_the_same_ids() {
        let log = "10:00 < alice> hi\n10:00 < alice> hi\n10:01 < bob> ho\n";
        let grown = format!("{log}10:01 < bob> ho\n10:02 < bob> hi\n");
        let (first, _) = read(Format::Irssi, log, context());
        let moved = Context { day: context().day.or(day_in_name("2026-11-28")), source_name: "x".into(), ..context() };
        assert_eq!(read(Format::Irssi, log, moved).0, first);
        let (second, _) = read(Format::Irssi, &grown, context());
        assert_eq!((second.len(), &second[..3]), (5, &first[..]));
    }

    #[test]
    fn the_day_that_the_importer_gives_counts_more_than_the_files_name() {
        let told = Context { day: day_in_name("2020-01-01"), ..context() };
        assert_eq!(read(Format::Irssi, "10:00 < a> b", told).0[0].at.to_string(), "2020-01-01T10:00:00.000Z");
    }

    #[test]
    fn times_are_of_the_logs_zone_unless_they_have_their_own() {
        let log = "2026-11-28 10:00:00\ta\tb\n2026-11-28T10:00:00Z\ta\tb\n";
        let zone = chrono::FixedOffset::west_opt(5 * 3600).unwrap();
        let (records, _) = read(Format::Weechat, log, context().in_zone(zone));
        let times: Vec<String> = records.iter().map(|record| record.at.to_string()).collect();
        assert_eq!(times, ["2026-11-28T15:00:00.000Z", "2026-11-28T10:00:00.000Z"]);
    }

    #[test]
    fn a_source_that_fails_ends_the_log_and_says_so() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("the disk is gone"))
            }
        }
        let source = BufReader::new(b"10:00 < a> b\n".chain(Fails));
        let mut reader = Reader::new(Format::Irssi, source, context());
        assert!(reader.next().unwrap().is_ok());
        let broken = reader.next().unwrap().unwrap_err();
        assert_eq!((broken.line, broken.why), (2, Why::Unreadable("the disk is gone".into())));
        assert!(reader.next().is_none());
    }

    #[test]
    fn the_progress_is_in_bytes() {
        let mut reader = Reader::new(Format::Irssi, &b"10:00 < a> b\n\n"[..], context());
        while reader.next().is_some() {}
        assert_eq!(reader.bytes(), 14);
    }

    #[test]
    fn a_line_that_is_too_long_is_broken_and_the_next_is_read() {
        let log = format!("10:00 < a> {}\n10:00 < a> b\n", "x".repeat(70_000));
        let (records, broken) = read(Format::Irssi, &log, context());
        assert_eq!((records.len(), broken[0].line, broken[0].why.clone()), (1, 1, Why::TooLong));
    }
}
