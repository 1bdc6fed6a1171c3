//! Time and chance, given to whoever needs them, so that a test can fix both.

use crate::Timestamp;

/// Where wall time and randomness come from. The executable passes the system's; a test passes its own.
///
/// Durations and time-outs use the runtime's own clock instead, which tests can pause.
pub trait Ambient: Send + Sync {
    /// The wall clock's time now, UTC.
    fn now(&self) -> Timestamp;

    /// 64 random bits.
    fn random(&self) -> u64;
}
