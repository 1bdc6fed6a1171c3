//! A moment as it is written on the wire: RFC 3339, UTC, milliseconds.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in UTC. Written as RFC 3339 with milliseconds and `Z`; any RFC 3339 offset is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z. What lies outside chrono's range (± 262,000 years) becomes 1970.
    pub fn from_millis(millis: i64) -> Self {
        Timestamp(DateTime::from_timestamp_millis(millis).unwrap_or_default())
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn millis(self) -> i64 {
        self.0.timestamp_millis()
    }

    /// From RFC 3339, with any offset; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|moment| Timestamp(moment.with_timezone(&Utc)))
    }

    /// This moment moved by `by`; stays as it is where that would leave chrono's range.
    #[must_use]
    pub fn plus(self, by: std::time::Duration) -> Self {
        let moved = chrono::Duration::from_std(by).ok().and_then(|by| self.0.checked_add_signed(by));
        Timestamp(moved.unwrap_or(self.0))
    }

    /// The moment so long before this one; this one where that would leave chrono's range.
    #[must_use]
    pub fn minus(self, by: std::time::Duration) -> Self {
        let moved = chrono::Duration::from_std(by).ok().and_then(|by| self.0.checked_sub_signed(by));
        Timestamp(moved.unwrap_or(self.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let moment = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
        Ok(Timestamp(moment.with_timezone(&Utc)))
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "format": "date-time", "description": "RFC 3339, UTC, milliseconds"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_in_utc_with_milliseconds_and_reads_any_offset() {
        let at: Timestamp = serde_json::from_str("\"2026-11-21T13:00:00.5+01:00\"").unwrap();
        assert_eq!(serde_json::to_string(&at).unwrap(), "\"2026-11-21T12:00:00.500Z\"");
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
    }
}
