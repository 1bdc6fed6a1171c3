//! The system's clock and random source, for executables: the one place that may ask for the time of day.

use protocol::{Ambient, Timestamp};

/// The real time and real randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Ambient for System {
    #[expect(clippy::disallowed_methods, reason = "this is where wall time comes in")]
    fn now(&self) -> Timestamp {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}
