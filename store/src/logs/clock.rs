//! The time in front of a line, and the moment that it means: most logs write a clock, and the day elsewhere.
//!
//! The day is told by the line itself, by the last line that named one, by whoever imports the log, or by the file's
//! name. Where the clock jumps back by more than twelve hours and no line named the day, midnight has passed. Where the
//! clock was set back for winter, an hour comes twice: a time means its first pass unless the log is past it.

use chrono::{DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};
use protocol::Timestamp;

use super::Why;

/// IRC began in 1988; a number that looks like a day before that, or long after, is none.
const YEARS: std::ops::RangeInclusive<i32> = 1988..=2199;

/// A clock that goes back by more has passed midnight; by less it was set.
const MIDNIGHT: TimeDelta = TimeDelta::hours(12);

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time in front of a line: `10:00`, `[10:00:05]`, `2026-11-28 10:00:05`, `2026-11-28T10:00:05.123456Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    day: Option<NaiveDate>,
    time: NaiveTime,
    /// The line says `Z`: the time zone of the log does not matter.
    utc: bool,
}

impl Stamp {
    /// The time at the beginning of `line`, and what follows it. Brackets are optional.
    pub(super) fn read(line: &str) -> Option<(Stamp, &str)> {
        let Some(inner) = line.strip_prefix('[') else { return Stamp::bare(line) };
        let (stamp, rest) = Stamp::bare(inner)?;
        Some((stamp, rest.strip_prefix(']')?))
    }

    fn bare(text: &str) -> Option<(Stamp, &str)> {
        let (day, text) = match leading_day(text) {
            Some((day, rest)) => (Some(day), rest.strip_prefix([' ', 'T'])?),
            None => (None, text),
        };
        let (time, rest) = leading_time(text)?;
        let (utc, rest) = rest.strip_prefix('Z').map_or((false, rest), |rest| (true, rest));
        Some((Stamp { day, time, utc }, rest))
    }

    pub(super) fn has_day(self) -> bool {
        self.day.is_some()
    }
}

/// Which day it is in a log, and in which time zone.
pub(super) struct Calendar<Z> {
    zone: Z,
    day: Option<NaiveDate>,
    clock: Option<NaiveTime>,
    last: Option<i64>,
}

impl<Z: TimeZone> Calendar<Z> {
    pub(super) fn new(zone: Z, day: Option<NaiveDate>) -> Self {
        Calendar { zone, day, clock: None, last: None }
    }

    /// The log says which day it is, or something about it that can't be read.
    pub(super) fn turn_to(&mut self, day: Option<NaiveDate>) {
        (self.day, self.clock) = (day, None);
    }

    /// The moment of a line.
    pub(super) fn moment(&mut self, stamp: Stamp) -> Result<Timestamp, Why> {
        let day = stamp.day.or_else(|| self.day_of(stamp.time)).ok_or(Why::NoDay)?;
        (self.day, self.clock) = (Some(day), Some(stamp.time));
        let local = day.and_time(stamp.time);
        let millis = if stamp.utc { local.and_utc().timestamp_millis() } else { self.universal(local)? };
        self.last = Some(millis);
        Ok(Timestamp::from_millis(millis))
    }

    fn day_of(&self, time: NaiveTime) -> Option<NaiveDate> {
        let midnight_passed = self.clock.is_some_and(|clock| clock - time > MIDNIGHT);
        if midnight_passed { self.day?.succ_opt() } else { self.day }
    }

    fn universal(&self, local: NaiveDateTime) -> Result<i64, Why> {
        match self.zone.from_local_datetime(&local).map(|moment: DateTime<Z>| moment.timestamp_millis()) {
            LocalResult::Single(moment) => Ok(moment),
            LocalResult::Ambiguous(one, other) => {
                let (first, second) = (one.min(other), one.max(other));
                Ok(if self.last.is_some_and(|last| last > first) { second } else { first })
            }
            LocalResult::None => Err(Why::NoSuchTime),
        }
    }
}

/// The day in a file's name: `YYYY-MM-DD` (or with `_` or `.`) or `YYYYMMDD`, the first that exists in the calendar. Of
/// a path only the last part counts.
///
/// ```
/// let day = store::logs::day_in_name("logs/#rust/2026-11-28.log");
/// assert_eq!(day, chrono::NaiveDate::from_ymd_opt(2026, 11, 28));
/// ```
pub fn day_in_name(name: &str) -> Option<NaiveDate> {
    let name = name.rsplit(['/', '\\']).next()?;
    let starts = name.char_indices().filter(|&(at, _)| !name[..at].ends_with(|c: char| c.is_ascii_digit()));
    let mut days = starts.filter_map(|(at, _)| leading_day(&name[at..]));
    days.find(|(_, rest)| !rest.starts_with(|c: char| c.is_ascii_digit())).map(|(day, _)| day)
}

/// The day in words: `Sat Nov 28 2026`, `Sat Nov 28 10:00:00 2026`, `2026-11-28`. The clients write English months
/// unless they are told otherwise.
pub(super) fn day_in_words(text: &str) -> Option<NaiveDate> {
    if let Some((day, _)) = leading_day(text) {
        return Some(day);
    }
    let mut words = text.split_ascii_whitespace();
    let month = words.find_map(|word| MONTHS.iter().position(|month| word.eq_ignore_ascii_case(month)))?;
    let day = words.next()?.parse().ok()?;
    let year = words.find_map(|word| word.parse().ok())?;
    real_day(year, month as u32 + 1, day)
}

/// `Sat Nov 28 2026`.
pub(super) fn words_of_day(day: NaiveDate) -> impl std::fmt::Display {
    day.format("%a %b %d %Y")
}

/// `Sat Nov 28 10:00:00 2026`.
pub(super) fn words_of_moment(moment: NaiveDateTime) -> impl std::fmt::Display {
    moment.format("%a %b %d %H:%M:%S %Y")
}

fn leading_day(text: &str) -> Option<(NaiveDate, &str)> {
    let (year, rest) = number(text, 4)?;
    let separator = rest.chars().next().filter(|c| ['-', '_', '.'].contains(c));
    let rest = rest.strip_prefix(['-', '_', '.']).unwrap_or(rest);
    let (month, rest) = number(rest, 2)?;
    let rest = separator.map_or(Some(rest), |separator| rest.strip_prefix(separator))?;
    let (day, rest) = number(rest, 2)?;
    Some((real_day(i32::try_from(year).ok()?, month, day)?, rest))
}

/// `10:00`, `10:00:05`, `10:00:05.123456`, of which milliseconds are kept. A leap second is the one before it.
fn leading_time(text: &str) -> Option<(NaiveTime, &str)> {
    let (hour, rest) = number(text, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2)?;
    let seconds = rest.strip_prefix(':').and_then(|rest| number(rest, 2));
    let (second, rest) = seconds.unwrap_or((0, rest));
    let (millis, rest) = if seconds.is_some() { fraction(rest) } else { (0, rest) };
    let second = if second == 60 { 59 } else { second };
    Some((NaiveTime::from_hms_milli_opt(hour, minute, second, millis)?, rest))
}

/// The milliseconds of `.1`, `.123`, `.123456`; 0 where there is no fraction.
fn fraction(text: &str) -> (u32, &str) {
    let Some(digits) = text.strip_prefix('.') else { return (0, text) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return (0, text);
    }
    let millis = digits[..end].bytes().chain(*b"000").take(3).fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    (millis, &digits[end..])
}

/// A number of just so many digits.
fn number(text: &str, digits: usize) -> Option<(u32, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok()?, rest))
}

fn real_day(year: i32, month: u32, day: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month, day).filter(|day| YEARS.contains(&day.year()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use chrono::{FixedOffset, MappedLocalTime, Utc};

    /// Central European time in 2026, without the years around it.
    #[derive(Clone, Copy)]
    pub(in crate::logs) struct Berlin;

    impl TimeZone for Berlin {
        type Offset = FixedOffset;

        fn from_offset(_: &FixedOffset) -> Self {
            Berlin
        }

        fn offset_from_local_date(&self, day: &NaiveDate) -> MappedLocalTime<FixedOffset> {
            self.offset_from_local_datetime(&day.and_time(NaiveTime::MIN))
        }

        fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
            let holds = |hours: i32| {
                let offset = FixedOffset::east_opt(hours * 3600).unwrap();
                (self.offset_from_utc_datetime(&(*local - offset)) == offset).then_some(offset)
            };
            match (holds(2), holds(1)) {
                (Some(summer), Some(winter)) => MappedLocalTime::Ambiguous(summer, winter),
                (Some(offset), None) | (None, Some(offset)) => MappedLocalTime::Single(offset),
                (None, None) => MappedLocalTime::None,
            }
        }

        fn offset_from_utc_date(&self, day: &NaiveDate) -> FixedOffset {
            self.offset_from_utc_datetime(&day.and_time(NaiveTime::MIN))
        }

        fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
            let change = |month, day| NaiveDate::from_ymd_opt(2026, month, day).unwrap().and_hms_opt(1, 0, 0).unwrap();
            let summer = (change(3, 29)..change(10, 25)).contains(utc);
            FixedOffset::east_opt(if summer { 7200 } else { 3600 }).unwrap()
        }
    }

    fn day(text: &str) -> Option<NaiveDate> {
        Some(text.parse().unwrap())
    }

    fn moments<Z: TimeZone>(zone: Z, first: Option<NaiveDate>, stamps: &[&str]) -> Vec<Result<String, Why>> {
        let mut calendar = Calendar::new(zone, first);
        let moment = |stamp: &&str| calendar.moment(Stamp::read(stamp).unwrap().0).map(|moment| moment.to_string());
        stamps.iter().map(moment).collect()
    }

    #[test]
    fn a_time_may_have_a_day_seconds_a_fraction_and_brackets() {
        for (text, rest, moment) in [
            ("10:00 < alice> hi", " < alice> hi", "2026-11-28T10:00:00.000Z"),
            ("10:00:05 x", " x", "2026-11-28T10:00:05.000Z"),
            ("[10:00:05.25] x", " x", "2026-11-28T10:00:05.250Z"),
            ("[2026-12-01 10:00:05] x", " x", "2026-12-01T10:00:05.000Z"),
            ("2026-12-01T10:00:05.123456Z\tx", "\tx", "2026-12-01T10:00:05.123Z"),
            ("23:59:60 leap", " leap", "2026-11-28T23:59:59.000Z"),
        ] {
            let (stamp, left) = Stamp::read(text).unwrap();
            assert_eq!(left, rest, "{text}");
            assert_eq!(Calendar::new(Utc, day("2026-11-28")).moment(stamp).unwrap().to_string(), moment, "{text}");
        }
        for text in ["", "hi", "1:00 x", "24:00 x", "10:60 x", "[10:00 x", "10.00 x", "2026-02-30 10:00 x", "ä10:00"] {
            assert!(Stamp::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_file_is_named_for_its_day_in_several_ways() {
        for (name, expected) in [
            ("2026-11-28.log", "2026-11-28"),
            ("/logs/2001-01-01/libera/#rust/2026-11-28.log", "2026-11-28"),
            ("user_libera_#rust_20261128.log", "2026-11-28"),
            (r"C:\logs\#rust.2026_11_28.txt", "2026-11-28"),
            ("ä-20269999-2026.11.28", "2026-11-28"),
        ] {
            assert_eq!(day_in_name(name), day(expected), "{name}");
        }
        for name in
            ["#rust.log", "", "2026-11.log", "120261128.log", "202611281.log", "2026-11_28", "17760704", "2026-13-01"]
        {
            assert_eq!(day_in_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_day_is_read_in_the_words_of_the_clients() {
        for text in ["Sat Nov 28 2026", "Sat Nov 28 10:00:00 2026", "Sa Nov 28 2026", "2026-11-28"] {
            assert_eq!(day_in_words(text), day("2026-11-28"), "{text}");
        }
        for text in ["", "Sat", "Sat Nov", "Sat Nov 28", "Sat Nov 31 2026", "Sa marras 28 2026", "Sat Nov x 2026"] {
            assert_eq!(day_in_words(text), None, "{text}");
        }
    }

    #[test]
    fn midnight_passes_where_the_clock_jumps_back_by_more_than_half_a_day() {
        let moments = moments(Utc, day("2026-11-28"), &["23:58", "23:57", "00:01", "12:00", "00:01"]);
        let days: Vec<String> = moments.into_iter().map(|moment| moment.unwrap()[..10].to_owned()).collect();
        assert_eq!(days, ["2026-11-28", "2026-11-28", "2026-11-29", "2026-11-29", "2026-11-29"]);
    }

    #[test]
    fn times_are_of_the_time_zone_that_the_log_was_written_in() {
        let offset = FixedOffset::east_opt(3600).unwrap();
        assert_eq!(moments(offset, day("2026-11-28"), &["00:30"]), [Ok("2026-11-27T23:30:00.000Z".to_owned())]);
        assert_eq!(moments(offset, None, &["00:30"]), [Err(Why::NoDay)]);
    }

    #[test]
    fn the_hour_that_comes_twice_is_told_apart_by_what_came_before() {
        let stamps = ["01:59", "02:00", "02:30", "02:00", "02:30", "03:00"];
        let utc = ["23:59", "00:00", "00:30", "01:00", "01:30", "02:00"];
        for (moment, expected) in moments(Berlin, day("2026-10-25"), &stamps).into_iter().zip(utc) {
            assert_eq!(&moment.unwrap()[11..16], expected);
        }
        assert_eq!(moments(Berlin, day("2026-03-29"), &["02:30"]), [Err(Why::NoSuchTime)]);
    }
}
