//! A pause that doubles each time, from a first one up to a longest one.

use std::time::Duration;

/// Pauses in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubling {
    first: Duration,
    longest: Duration,
    times: u32,
}

impl Doubling {
    /// Both in seconds.
    pub const fn new(first: u64, longest: u64) -> Self {
        Doubling { first: Duration::from_secs(first), longest: Duration::from_secs(longest), times: 0 }
    }

    /// The pause after so many others.
    pub fn after(self, times: u32) -> Duration {
        self.first.saturating_mul(1 << times.min(16)).min(self.longest)
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.after(self.times);
        self.times = self.times.saturating_add(1);
        pause
    }

    /// Begins with the first one again.
    pub fn reset(&mut self) {
        self.times = 0;
    }
}
