//! How fast a server lets us speak, learned from how soon it proves that it took a line. Servers that limit us delay
//! what we send, and so their proofs: a proof that is late tells that what was written is waiting in a queue there. So
//! the pace grows a little with each line that is proved soon, and shrinks by a part when a proof is late. Of servers
//! that throw out instead, we learn by that: half the pace for a day.

use std::time::Duration;

use tokio::time::Instant;

/// At first: what public networks bear. RFC 1459, section 8.10, grants one line per 2 s after a burst of 5.
const START: Pace = Pace { burst: 4.0, per_second: 0.5 };
/// No faster and no slower than this is ever learned, in lines a second: twice what most public servers grant, and a
/// line every 8 s.
const FASTEST: f64 = 2.0;
const SLOWEST: f64 = 0.125;
/// So much is added, in lines a second, for each line that was proved soon while the pace held us back.
const QUICKER: f64 = 0.025;
/// What is left of the pace after a late proof, and after too much.
const SLOWER: f64 = 0.85;
const HALF: f64 = 0.5;
/// A proof is late when it takes so much longer than the soonest on this connection.
const LATE: Duration = Duration::from_millis(400);
/// No server is so far away: when the soonest proof takes longer, it was in a queue, too.
const FARTHEST: Duration = Duration::from_secs(1);
/// For so long after a halving the pace stays at half of what was too much, or below.
const CAUTIOUS_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// The slowest rate that can be configured, in lines a second: a smaller or senseless one means this one.
const SLOWEST_FIXED: f64 = 0.001;

/// How fast to speak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// How many lines may go out at once after a silence.
    pub burst: f64,
    /// How many lines a second may follow.
    pub per_second: f64,
}

impl Pace {
    /// One that makes sense, however senseless the numbers are.
    pub fn new(burst: f64, per_second: f64) -> Self {
        let per_second = if per_second.is_finite() { per_second.max(SLOWEST_FIXED) } else { SLOWEST_FIXED };
        Pace { burst: burst.max(1.0), per_second }
    }
}

/// The pace, and what was learned of it. It outlives the connection.
pub(crate) struct Learner {
    pace: Pace,
    learns: bool,
    /// How soon the server has proved something at best, on this connection.
    soonest: Duration,
    /// When the pace shrank last: what was asked before tells nothing of the new one.
    slowed: Instant,
    /// What not to exceed for now, and until when.
    limit: Option<(f64, Instant)>,
}

impl Default for Learner {
    fn default() -> Self {
        Learner { learns: true, ..Learner::fixed(START) }
    }
}

impl Learner {
    /// One that learns nothing.
    pub fn fixed(pace: Pace) -> Self {
        Learner { pace, learns: false, soonest: FARTHEST, slowed: Instant::now(), limit: None }
    }

    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// A new connection begins, perhaps to another server of the network.
    pub fn connected(&mut self) {
        self.soonest = FARTHEST;
    }

    /// The server has proved that it took so many lines, asked at that time; `scarce` if more could have been said.
    /// Whether that was late.
    pub fn proved(&mut self, asked_at: Instant, lines: usize, scarce: bool) -> bool {
        let took = asked_at.elapsed();
        self.soonest = self.soonest.min(took);
        if !self.learns || asked_at < self.slowed {
            return false;
        }
        let late = took > self.soonest + LATE;
        if late {
            self.slow(SLOWER);
        } else if scarce {
            let lines = u16::try_from(lines).map_or(f64::from(u16::MAX), f64::from);
            self.pace.per_second = (self.pace.per_second + lines * QUICKER).min(self.fastest());
        }
        late
    }

    /// The server says that something written at that time was too much; the new pace, if that was not known.
    pub fn halve(&mut self, written_at: Instant) -> Option<Pace> {
        if !self.learns || written_at < self.slowed {
            return None;
        }
        self.slow(HALF);
        self.pace.burst = (self.pace.burst * HALF).max(1.0);
        self.limit = Some((self.pace.per_second, self.slowed + CAUTIOUS_FOR));
        Some(self.pace)
    }

    fn slow(&mut self, factor: f64) {
        self.pace.per_second = (self.pace.per_second * factor).max(SLOWEST);
        self.slowed = Instant::now();
    }

    /// As fast as may be learned now.
    fn fastest(&mut self) -> f64 {
        if self.limit.take_if(|(_, until)| *until <= Instant::now()).is_some() {
            self.pace.burst = START.burst;
        }
        self.limit.map_or(FASTEST, |(per_second, _)| per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    /// A proof that took so long.
    async fn proves(learner: &mut Learner, took: Duration, lines: usize) -> bool {
        let asked_at = Instant::now();
        tokio::time::sleep(took).await;
        learner.proved(asked_at, lines, true)
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_with_every_line_that_is_proved_soon_up_to_its_limit() {
        let mut learner = Learner::default();
        assert_eq!(learner.pace(), Pace { burst: 4.0, per_second: 0.5 });
        assert!(!proves(&mut learner, SOON, 4).await);
        assert!((learner.pace().per_second - 0.6).abs() < 1e-9);
        for _ in 0..1_000 {
            proves(&mut learner, SOON, 4).await;
        }
        assert_eq!(learner.pace(), Pace { burst: 4.0, per_second: FASTEST });
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_that_holds_nobody_back_does_not_grow() {
        let mut learner = Learner::default();
        for _ in 0..1_000 {
            learner.proved(Instant::now(), 4, false);
        }
        assert_eq!(learner.pace(), START);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_proof_slows_it_down_once_for_all_that_was_asked_before() {
        let mut learner = Learner::default();
        proves(&mut learner, SOON, 1).await;
        let before = learner.pace().per_second;
        let asked_at = Instant::now();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(learner.proved(asked_at, 1, true));
        assert!(!learner.proved(asked_at + Duration::from_millis(500), 1, true));
        assert!((learner.pace().per_second - before * SLOWER).abs() < 1e-9);
        for _ in 0..100 {
            proves(&mut learner, Duration::from_secs(2), 1).await;
        }
        assert_eq!(learner.pace().per_second, SLOWEST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_late_is_measured_by_the_soonest_on_this_connection() {
        let mut learner = Learner::default();
        let far = Duration::from_millis(700);
        assert!(!proves(&mut learner, far, 1).await);
        assert!(!proves(&mut learner, SOON, 1).await);
        assert!(proves(&mut learner, far, 1).await);
        learner.connected();
        assert!(!proves(&mut learner, far, 1).await);
        assert!(proves(&mut learner, FARTHEST + LATE * 2, 1).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_too_much_halves_it_for_a_day() {
        let mut learner = Learner::default();
        let asked_at = Instant::now();
        tokio::time::sleep(SOON).await;
        assert_eq!(learner.halve(asked_at), Some(Pace { burst: 2.0, per_second: 0.25 }));
        // the next line of the same flood
        assert_eq!(learner.halve(asked_at), None);
        for _ in 0..100 {
            proves(&mut learner, SOON, 4).await;
        }
        assert_eq!(learner.pace(), Pace { burst: 2.0, per_second: 0.25 });
        tokio::time::sleep(CAUTIOUS_FOR).await;
        proves(&mut learner, SOON, 4).await;
        assert_eq!(learner.pace().burst, 4.0);
        assert!(learner.pace().per_second > 0.25);
        for _ in 0..10 {
            learner.halve(Instant::now());
        }
        assert_eq!(learner.pace(), Pace { burst: 1.0, per_second: SLOWEST });
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_pace_stays_as_it_is() {
        let mut learner = Learner::fixed(Pace::new(9.0, 3.0));
        proves(&mut learner, SOON, 4).await;
        proves(&mut learner, Duration::from_secs(5), 4).await;
        assert_eq!(learner.halve(Instant::now()), None);
        assert_eq!(learner.pace(), Pace { burst: 9.0, per_second: 3.0 });
    }
}
