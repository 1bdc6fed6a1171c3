//! How long to wait before trying again: longer each time, and never the same for two who lost the same broker.

use std::sync::Arc;
use std::time::Duration;

use protocol::Ambient;

/// The first pause is at most this.
const FIRST: Duration = Duration::from_millis(100);
/// No pause is longer: a broker that came back is found within it.
const LONGEST: Duration = Duration::from_secs(5);

/// The pauses between tries.
pub(super) struct Backoff {
    next: Duration,
    ambient: Arc<dyn Ambient>,
}

impl Backoff {
    pub(super) fn new(ambient: Arc<dyn Ambient>) -> Self {
        Backoff { next: FIRST, ambient }
    }

    /// Begins again with the shortest pause.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next pause: between half and all of what doubles with each call.
    pub(super) fn pause(&mut self) -> Duration {
        let most = self.next;
        self.next = (most * 2).min(LONGEST);
        let micros = u64::try_from(most.as_micros() / 2).unwrap_or(u64::MAX).max(1);
        most / 2 + Duration::from_micros(self.ambient.random() % micros)
    }

    /// Sleeps for the next pause.
    pub(super) async fn sleep(&mut self) {
        tokio::time::sleep(self.pause()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Timestamp;

    struct Chance(u64);
    impl Ambient for Chance {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }
        fn random(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn pauses_double_up_to_five_seconds_and_are_spread_over_their_upper_half() {
        for chance in [0, 49_999, u64::MAX] {
            let mut backoff = Backoff::new(Arc::new(Chance(chance)));
            let mut most = FIRST;
            for _ in 0..12 {
                let pause = backoff.pause();
                assert!(most / 2 <= pause && pause <= most, "{pause:?} of {most:?}");
                most = (most * 2).min(LONGEST);
            }
            backoff.reset();
            assert!(backoff.pause() <= FIRST);
        }
    }
}
