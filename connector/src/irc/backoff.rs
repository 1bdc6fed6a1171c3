//! How long to wait before the next try: twice as long each time, and never quite the same for two bots that were
//! thrown out together.

use std::sync::Arc;
use std::time::Duration;

use protocol::Ambient;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Pauses between tries.
pub(super) struct Backoff {
    ambient: Arc<dyn Ambient>,
    next: Duration,
}

impl Backoff {
    pub fn new(ambient: Arc<dyn Ambient>) -> Self {
        Backoff { ambient, next: SHORTEST }
    }

    /// The next pause: from half of its step to all of it.
    pub fn next_pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(LONGEST);
        // 0 to 1000 thousandths
        let part = u32::try_from(self.ambient.random() % 1001).unwrap_or(0);
        step / 2 + step / 2000 * part
    }

    /// It worked: the next pause is the shortest again.
    pub fn reset(&mut self) {
        self.next = SHORTEST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestAmbient;

    #[test]
    fn pauses_double_within_their_jitter_up_to_five_minutes_and_begin_again_after_a_success() {
        let mut backoff = Backoff::new(TestAmbient::arc());
        for step in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let pause = backoff.next_pause();
            let step = Duration::from_secs(step);
            assert!(pause >= step / 2 && pause <= step, "{pause:?} of {step:?}");
        }
        backoff.reset();
        assert!(backoff.next_pause() <= SHORTEST);
    }
}
