//! The moments that a search may name: a year, a month, a day, a minute, or how long ago.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use protocol::Timestamp;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The years that are understood: before 1970 there is nothing, and a year has four digits.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9999;
/// Ahead of or behind UTC nobody is more than this, in minutes.
const MAX_OFFSET_MINUTES: i32 = 24 * 60;

/// When and where the search is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here {
    now: Timestamp,
    /// How far the clock on the wall is ahead of UTC, in milliseconds.
    offset: i64,
}

impl Here {
    pub fn new(now: Timestamp, offset_minutes: i32) -> Self {
        let minutes = offset_minutes.clamp(-MAX_OFFSET_MINUTES, MAX_OFFSET_MINUTES);
        Here { now, offset: i64::from(minutes) * MINUTE_MS }
    }

    /// The first moment of what is named: `2026`, `2026-11`, `2026-11-28`, `2026-11-28T10:00`, `today`, `yesterday`, or
    /// so many hours, days or weeks ago: `3h`, `7d`, `2w`.
    pub fn first_moment(self, text: &str) -> Option<Timestamp> {
        let text = text.to_ascii_lowercase();
        match text.as_str() {
            "today" => self.day(0),
            "yesterday" => self.day(1),
            _ => self.ago(&text).or_else(|| self.on_the_wall(moment(&text)?)),
        }
    }

    /// The beginning of the day so many days ago.
    fn day(self, ago: i64) -> Option<Timestamp> {
        let today = (self.now.millis() + self.offset).div_euclid(DAY_MS);
        Some(Timestamp::from_millis((today - ago) * DAY_MS - self.offset))
    }

    fn ago(self, text: &str) -> Option<Timestamp> {
        let unit = match text.as_bytes().last()? {
            b'h' => HOUR_MS,
            b'd' => DAY_MS,
            b'w' => 7 * DAY_MS,
            _ => return None,
        };
        let count: i64 = digits(&text[..text.len() - 1])?;
        let millis = self.now.millis().checked_sub(count.checked_mul(unit)?)?;
        (millis >= 0).then(|| Timestamp::from_millis(millis))
    }

    fn on_the_wall(self, moment: NaiveDateTime) -> Option<Timestamp> {
        Some(Timestamp::from_millis(moment.and_utc().timestamp_millis() - self.offset))
    }
}

/// A date as the clock on the wall has it.
fn moment(text: &str) -> Option<NaiveDateTime> {
    let (date, time) = match text.split_once(['t', ' ']) {
        None => (text, NaiveTime::MIN),
        Some((date, time)) if date.len() == "2026-11-28".len() => (date, time_of_day(time)?),
        Some(_) => return None,
    };
    let mut parts = date.split('-');
    let year: i32 = parts.next().filter(|year| year.len() == 4).and_then(digits)?;
    let (month, day) = (part(&mut parts)?, part(&mut parts)?);
    if !YEARS.contains(&year) || parts.next().is_some() {
        return None;
    }
    Some(NaiveDate::from_ymd_opt(year, month, day)?.and_time(time))
}

/// A month or a day, of two digits; the first where the date ends before it.
fn part<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<u32> {
    match parts.next() {
        None => Some(1),
        Some(part) if part.len() == 2 => digits(part),
        Some(_) => None,
    }
}

fn time_of_day(text: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(text, "%H:%M").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M:%S")).ok()
}

/// A number of digits only: no sign, no space.
fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn first_moment(text: &str, offset_minutes: i32) -> Option<String> {
        let here = Here::new(at("2026-11-28T01:30:00Z"), offset_minutes);
        here.first_moment(text).map(|moment| moment.to_string())
    }

    #[test]
    fn a_date_means_its_first_moment() {
        let cases = [
            ("2026", "2026-01-01T00:00:00.000Z"),
            ("2026-11", "2026-11-01T00:00:00.000Z"),
            ("2024-02-29", "2024-02-29T00:00:00.000Z"),
            ("2026-11-28T10:05", "2026-11-28T10:05:00.000Z"),
            ("2026-11-28t10:05:06", "2026-11-28T10:05:06.000Z"),
            ("2026-11-28 10:05", "2026-11-28T10:05:00.000Z"),
            ("Today", "2026-11-28T00:00:00.000Z"),
            ("yesterday", "2026-11-27T00:00:00.000Z"),
            ("3h", "2026-11-27T22:30:00.000Z"),
            ("7D", "2026-11-21T01:30:00.000Z"),
            ("2w", "2026-11-14T01:30:00.000Z"),
            ("0d", "2026-11-28T01:30:00.000Z"),
        ];
        for (text, moment) in cases {
            assert_eq!(first_moment(text, 0).as_deref(), Some(moment), "{text}");
        }
    }

    #[test]
    fn days_begin_where_the_person_is() {
        assert_eq!(first_moment("today", 60).as_deref(), Some("2026-11-27T23:00:00.000Z"));
        assert_eq!(first_moment("today", -300).as_deref(), Some("2026-11-27T05:00:00.000Z"));
        assert_eq!(first_moment("2026-11-28", 330).as_deref(), Some("2026-11-27T18:30:00.000Z"));
        assert_eq!(first_moment("2026-11-28T10:00", -60).as_deref(), Some("2026-11-28T11:00:00.000Z"));
        assert_eq!(first_moment("3h", 60), first_moment("3h", 0));
        assert_eq!(first_moment("today", i32::MAX).as_deref(), Some("2026-11-28T00:00:00.000Z"));
    }

    #[test]
    fn whatever_else_is_no_date() {
        for text in [
            "",
            "yesterdayish",
            "26",
            "20261128",
            "2026-",
            "2026-1",
            "2026-13",
            "2026-02-30",
            "2026-11-28-01",
            "2026T10:00",
            "2026-11T00:00",
            "2026-11-28T",
            "2026-11-28T25:00",
            "1969",
            "0000",
            "+026",
            "d",
            "-7d",
            "+7d",
            "7m",
            "99999999999999999999d",
            "9999999999w",
            "é",
            "７d",
        ] {
            assert_eq!(first_moment(text, 0), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_at_any_time_is_a_moment_or_none(text in "\\PC*|[0-9tdhw: -]{0,20}", now: i64, offset: i32) {
            let _ = Here::new(Timestamp::from_millis(now), offset).first_moment(&text);
        }
    }
}
