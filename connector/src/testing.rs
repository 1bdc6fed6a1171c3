//! What tests are made of: a wall clock that stands still, or goes with the runtime's, and chance that repeats.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::{Ambient, Timestamp};
#[cfg(test)]
use tokio::time::Instant;

/// The moment at which every test happens.
pub(crate) const NOW: i64 = 1_800_000_000_000;

/// Time that stands still, and numbers that are never the same but the same in each run.
#[derive(Default)]
pub(crate) struct TestAmbient(AtomicU64);

impl TestAmbient {
    pub fn arc() -> Arc<dyn Ambient> {
        Arc::new(TestAmbient::default())
    }
}

impl Ambient for TestAmbient {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW)
    }

    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// The same with a time that goes on from there as the runtime's clock does.
#[cfg(test)]
pub(crate) struct MovingAmbient {
    still: TestAmbient,
    since: Instant,
}

#[cfg(test)]
impl MovingAmbient {
    pub fn arc() -> Arc<dyn Ambient> {
        Arc::new(MovingAmbient { still: TestAmbient::default(), since: Instant::now() })
    }
}

#[cfg(test)]
impl Ambient for MovingAmbient {
    fn now(&self) -> Timestamp {
        self.still.now().plus(self.since.elapsed())
    }

    fn random(&self) -> u64 {
        self.still.random()
    }
}
