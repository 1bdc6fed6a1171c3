//! The time zone in which a command reads and shows times: that of this computer with its summer times, or an offset from
//! UTC.

use chrono::{DateTime, FixedOffset, Local, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc};
use protocol::Timestamp;
use store::search::{Query, QueryError};

/// What `--zone` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// That of this computer, which `TZ` in the environment sets.
    Local,
    /// So far ahead of UTC.
    Fixed(FixedOffset),
}

impl Zone {
    /// `+01:00`, `UTC` or `local`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "local" => Ok(Zone::Local),
            "utc" | "z" => Ok(Zone::Fixed(Utc.fix())),
            offset => offset.parse().map(Zone::Fixed).map_err(|_| {
                "expected an offset from UTC such as +01:00 or -05:30, UTC, or local for this computer's time zone"
                    .to_owned()
            }),
        }
    }

    /// What the clock on the wall says.
    pub fn clock(self, at: Timestamp) -> NaiveDateTime {
        self.there(at).naive_local()
    }

    /// How far it is ahead of UTC at that moment.
    pub fn offset(self, at: Timestamp) -> FixedOffset {
        *self.there(at).offset()
    }

    /// Reads a search whose dates are those of this zone.
    pub fn query(self, text: &str, now: Timestamp) -> Result<Query, QueryError> {
        let parsed = |at| Query::parse(text, now, self.offset(at).local_minus_utc() / 60);
        let mut query = parsed(now)?;
        // it may be winter now, and have been summer then
        if let Some(before) = query.before {
            query.before = parsed(before)?.before;
        }
        if let Some(after) = query.after {
            query.after = parsed(after)?.after;
        }
        Ok(query)
    }

    /// The first moment of a date as in searches: `2026-11-28`, `2026-11`, `yesterday` and so on.
    pub fn first_moment(self, date: &str, now: Timestamp) -> Option<Timestamp> {
        if date.contains(['"', '“', '”', '„']) {
            return None;
        }
        self.query(&format!("after:\"{date}\""), now).ok()?.after
    }

    fn there(self, at: Timestamp) -> DateTime<Self> {
        DateTime::from_timestamp_millis(at.millis()).unwrap_or_default().with_timezone(&self)
    }
}

impl TimeZone for Zone {
    type Offset = FixedOffset;

    fn from_offset(offset: &FixedOffset) -> Self {
        Zone::Fixed(*offset)
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<FixedOffset> {
        match self {
            Zone::Local => Local.offset_from_local_date(local),
            Zone::Fixed(offset) => offset.offset_from_local_date(local),
        }
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        match self {
            Zone::Local => Local.offset_from_local_datetime(local),
            Zone::Fixed(offset) => offset.offset_from_local_datetime(local),
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
        match self {
            Zone::Local => Local.offset_from_utc_date(utc),
            Zone::Fixed(offset) => *offset,
        }
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
        match self {
            Zone::Local => Local.offset_from_utc_datetime(utc),
            Zone::Fixed(offset) => *offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_utc_and_this_computers_zone_are_zones() {
        let at = Timestamp::parse("2026-11-28T10:00:00Z").unwrap();
        let clock = |zone: &str| Zone::parse(zone).unwrap().clock(at).to_string();
        assert_eq!(clock("+01:00"), "2026-11-28 11:00:00");
        assert_eq!(clock("-0530"), "2026-11-28 04:30:00");
        assert_eq!([clock("UTC"), clock("z")], ["2026-11-28 10:00:00"; 2]);
        assert_eq!(Zone::parse("Local"), Ok(Zone::Local));
        for none in ["", "Europe/Berlin", "1", "+25:00", "CET"] {
            assert!(Zone::parse(none).is_err(), "{none}");
        }
    }

    #[test]
    fn dates_are_those_of_the_zone() {
        let now = Timestamp::parse("2026-11-28T23:30:00Z").unwrap();
        let zone = Zone::parse("+01:00").unwrap();
        let moment = |date| zone.first_moment(date, now).map(|moment| moment.to_string());
        assert_eq!(moment("2026-11").as_deref(), Some("2026-10-31T23:00:00.000Z"));
        assert_eq!(moment("today").as_deref(), Some("2026-11-28T23:00:00.000Z"));
        assert_eq!(moment("2026-11-28 10:00").as_deref(), Some("2026-11-28T09:00:00.000Z"));
        for none in ["", "yesterdayish", "\" x", "2026-11-28\" from:bob"] {
            assert_eq!(moment(none), None, "{none}");
        }
        let query = zone.query("x before:2026-11-28", now).unwrap();
        assert_eq!(query.before.unwrap().to_string(), "2026-11-27T23:00:00.000Z");
    }
}
