//! How much is tried: a little with every run of the tests, all of it with `scripts/test --faults`.

use std::time::Duration;

use crate::world::test_environment;

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

/// Whether `PUBBOT_TEST_FAULTS` asks for all of it, `full`.
pub fn is_full() -> bool {
    test_environment("PUBBOT_TEST_FAULTS") == "full"
}

/// How much that is.
pub fn size() -> Size {
    if is_full() { FULL } else { FAST }
}
