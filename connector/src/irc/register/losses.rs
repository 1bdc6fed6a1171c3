//! Whether the nick was taken from us on purpose, by services, an operator or another bot that has our account: then we
//! keep our hands off it for a while, longer each time, so that nobody fights with us. Outlives a connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::irc::doubling::Doubling;

/// How long we leave it to others: at first, and at most. It doubles each time.
const PAUSES: Doubling = Doubling::new(30, 600);
/// After so long without another time it counts as the first time again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3600);

/// How often the nick was taken from us.
#[derive(Clone, Debug)]
pub(crate) struct Losses {
    pauses: Doubling,
    last: Option<Instant>,
    until: Option<Instant>,
}

impl Default for Losses {
    fn default() -> Self {
        Losses { pauses: PAUSES, last: None, until: None }
    }
}

impl Losses {
    /// It was taken just now: how long nothing is done about it.
    pub fn note(&mut self) -> Duration {
        let now = Instant::now();
        if self.last.is_none_or(|last| last + FORGIVEN_AFTER <= now) {
            self.pauses.reset();
        }
        let pause = self.pauses.pause();
        (self.last, self.until) = (Some(now), Some(now + pause));
        pause
    }

    /// Until when nothing is done about it.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn the_pauses_double_up_to_ten_minutes_until_all_is_forgiven() {
        let mut losses = Losses::default();
        assert_eq!(losses.until(), None);
        for pause in [30, 60, 120, 240, 480, 600, 600] {
            assert_eq!(losses.note().as_secs(), pause);
            assert_eq!(losses.until(), Some(Instant::now() + Duration::from_secs(pause)));
            advance(FORGIVEN_AFTER - Duration::from_secs(1)).await;
        }
        advance(FORGIVEN_AFTER).await;
        assert_eq!(losses.note().as_secs(), 30);
    }
}
