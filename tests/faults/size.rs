//! How much is tried: a little with every run of the tests, all of it with `scripts/test --faults`.

use std::time::Duration;

/// How often, and for how long.
#[derive(Clone, Copy)]
pub struct Size {
    /// Lines that are said in a test.
    pub lines: usize,
    /// How many of them a second.
    pub rate: u32,
    /// How often a worker is killed, or a role told to stop.
    pub kills: usize,
    /// How often a connector is killed.
    pub hard_kills: usize,
    /// How often a broker is killed.
    pub broker_kills: usize,
    /// How long something is away.
    pub outage: Duration,
    /// How long a holder of the lock is stopped.
    pub freeze: Duration,
}

const FAST: Size = Size {
    lines: 1_000,
    rate: 200,
    kills: 5,
    hard_kills: 3,
    broker_kills: 1,
    outage: Duration::from_secs(6),
    freeze: Duration::from_secs(30),
};

const FULL: Size = Size {
    lines: 10_000,
    rate: 300,
    kills: 20,
    hard_kills: 10,
    broker_kills: 3,
    outage: Duration::from_secs(60),
    freeze: Duration::from_secs(60),
};

/// As `PUBBOT_TEST_FAULTS` says: `full`, or anything else.
pub fn size() -> Size {
    #[expect(clippy::disallowed_methods, reason = "the test's own switch")]
    let full = std::env::var("PUBBOT_TEST_FAULTS").is_ok_and(|value| value == "full");
    if full { FULL } else { FAST }
}
