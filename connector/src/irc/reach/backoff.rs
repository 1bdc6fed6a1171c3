//! How long to wait before the next try: for each reason from its shortest pause on, twice as long each time, and never
//! quite the same for two bots that were thrown out together. What a server could take amiss is tried ten times an hour
//! at most, whatever happens in between.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::Ambient;
use tokio::time::Instant;

use crate::irc::reach::reason::Reason;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// In so long there are at most [`MAX_TRIES`] of those that are counted.
const WINDOW: Duration = HOUR;
/// How many tries may fail within [`WINDOW`] because of a name, a throttle, a ban, a login or TLS.
const MAX_TRIES: usize = 10;

/// How far apart networks dial that are started together: up to a second.
const STAGGER: Duration = SECOND;
/// The last of them waits no longer than this: 30 s.
const MAX_STAGGER: Duration = Duration::from_secs(30);

/// How tries are paused after a failure.
struct Pauses {
    first: Duration,
    longest: Duration,
    /// They are counted.
    counted: bool,
}

/// The pauses for each reason.
fn pauses(reason: Reason) -> Pauses {
    let (first, longest, counted) = match reason {
        Reason::Lost => (SECOND, 5 * MINUTE, false),
        // resolvers and their operators count, too
        Reason::Dns => (15 * SECOND, 10 * MINUTE, true),
        Reason::Nick => (30 * SECOND, 10 * MINUTE, false),
        // servers forget after one to a few minutes
        Reason::Throttled => (MINUTE, 30 * MINUTE, true),
        // only people can help here, so it is not urgent
        Reason::Tls | Reason::Login => (MINUTE, HOUR, true),
        Reason::Banned => (10 * MINUTE, 3 * HOUR, true),
    };
    Pauses { first, longest, counted }
}

/// Pauses between tries.
pub(crate) struct Backoff {
    ambient: Arc<dyn Ambient>,
    /// The next step for each reason there was since the last success.
    steps: BTreeMap<Reason, Duration>,
    /// When the last tries failed that are counted, the oldest first.
    counted: VecDeque<Instant>,
}

impl Backoff {
    pub fn new(ambient: Arc<dyn Ambient>) -> Self {
        Backoff { ambient, steps: BTreeMap::new(), counted: VecDeque::with_capacity(MAX_TRIES) }
    }

    /// A try has failed: the pause until the next one, from half of its step to all of it.
    pub fn next_pause(&mut self, reason: Reason) -> Duration {
        let Pauses { first, longest, counted } = pauses(reason);
        let step = self.steps.get(&reason).copied().unwrap_or(first);
        self.steps.insert(reason, (step * 2).min(longest));
        let pause = self.some_of(step);
        if counted { pause.max(self.until_there_is_room()) } else { pause }
    }

    /// It worked: the next pauses are the shortest again. What was counted stays.
    pub fn reset(&mut self) {
        self.steps.clear();
    }

    /// How long a network waits before its first dial, of those that are started together; the first doesn't wait.
    pub fn stagger(&self, place: usize) -> Duration {
        match u32::try_from(place) {
            Ok(0) => Duration::ZERO,
            Ok(place) => self.some_of((STAGGER * place).min(MAX_STAGGER)),
            Err(_) => MAX_STAGGER,
        }
    }

    /// From half of it to all of it.
    fn some_of(&self, step: Duration) -> Duration {
        // 0 to 1000 thousandths
        let part = u32::try_from(self.ambient.random() % 1001).unwrap_or(0);
        step / 2 + step / 2000 * part
    }

    /// Counts a try that failed now; how long until one more is allowed.
    fn until_there_is_room(&mut self) -> Duration {
        if self.counted.len() == MAX_TRIES {
            self.counted.pop_front();
        }
        self.counted.push_back(Instant::now());
        match self.counted.front() {
            Some(oldest) if self.counted.len() == MAX_TRIES => WINDOW.saturating_sub(oldest.elapsed()),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestAmbient;

    const ALL: [Reason; 7] =
        [Reason::Lost, Reason::Dns, Reason::Nick, Reason::Throttled, Reason::Tls, Reason::Login, Reason::Banned];

    #[track_caller]
    fn pauses_for(backoff: &mut Backoff, reason: Reason, step: Duration) {
        let pause = backoff.next_pause(reason);
        assert!(pause >= step / 2 && pause <= step, "{pause:?} of {step:?}");
    }

    #[test]
    fn pauses_double_within_their_jitter_up_to_five_minutes_and_begin_again_after_a_success() {
        let mut backoff = Backoff::new(TestAmbient::arc());
        for step in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            pauses_for(&mut backoff, Reason::Lost, Duration::from_secs(step));
        }
        backoff.reset();
        pauses_for(&mut backoff, Reason::Lost, SECOND);
    }

    #[test]
    fn each_reason_has_its_own_pauses_and_the_others_do_not_make_them_longer() {
        for reason in ALL.into_iter().skip(1) {
            let mut backoff = Backoff::new(TestAmbient::arc());
            for _ in 0..3 {
                backoff.next_pause(Reason::Lost);
            }
            pauses_for(&mut backoff, reason, pauses(reason).first);
            pauses_for(&mut backoff, reason, 2 * pauses(reason).first);
        }
        assert!(ALL.map(|reason| pauses(reason).first).is_sorted());
        assert!(ALL.map(|reason| pauses(reason).longest).is_sorted());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_counted_is_tried_ten_times_an_hour_at_most_even_with_successes_in_between() {
        let mut backoff = Backoff::new(TestAmbient::arc());
        let mut failed = Vec::new();
        let counted = ALL.into_iter().filter(|reason| pauses(*reason).counted);
        for reason in counted.cycle().take(100) {
            failed.push(Instant::now());
            tokio::time::sleep(backoff.next_pause(reason)).await;
            backoff.reset();
        }
        assert!(failed.windows(11).all(|some| some[10] - some[0] >= HOUR), "{failed:?}");
        assert!(failed[99] - failed[0] < 12 * HOUR, "it waits longer than it has to");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_is_not_counted() {
        let mut backoff = Backoff::new(TestAmbient::arc());
        for _ in 0..30 {
            assert!(backoff.next_pause(Reason::Lost) <= SECOND);
            backoff.reset();
        }
    }

    #[test]
    fn networks_that_are_started_together_dial_one_after_the_other_the_first_at_once() {
        let backoff = Backoff::new(TestAmbient::arc());
        assert_eq!(backoff.stagger(0), Duration::ZERO);
        for place in [1, 2, 3, 29] {
            let stagger = backoff.stagger(place);
            let most = STAGGER * u32::try_from(place).unwrap();
            assert!(stagger >= most / 2 && stagger <= most, "{stagger:?}");
        }
        assert!(backoff.stagger(1_000_000) <= MAX_STAGGER && backoff.stagger(usize::MAX) <= MAX_STAGGER);
    }
}
