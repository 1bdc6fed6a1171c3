//! How fast a server lets us speak, learned from how soon it proves that it took a line. Servers that limit us delay
//! what we send, and so their proofs: a proof that is late tells that what was written is waiting in a queue there. So
//! the pace grows a little with each line that is proved soon, shrinks by a part when a proof is late, and then returns
//! carefully to where that was. Of servers that throw out instead, we learn by that: half the pace for a day.

use std::time::Duration;

use tokio::time::Instant;

/// At first: what public networks bear. RFC 1459, section 8.10, grants one line per 2 s after a burst of 5.
const START: Pace = Pace { burst: 4.0, per_second: 0.5 };
/// No faster and no slower than this is ever learned, in lines a second: what servers grant that limit us by the second,
/// and a line every 8 s.
const FASTEST: f64 = 6.0;
const SLOWEST: f64 = 0.125;
/// The pace grows by this factor at most for each line that was proved soon while it held us back.
const QUICKER: f64 = 1.05;
/// Once the server has let us wait the pace follows a cubic curve (as in RFC 9438): soon back to what was too much, careful
/// around that, and faster and faster beyond. This is its bend, as a part of what was too much for each cubed second.
const BEND: f64 = 0.0015;
/// What is left of the pace after a late proof, and after too much.
const SLOWER: f64 = 0.85;
const HALF: f64 = 0.5;
/// After too much the pace is no more than this part of what was said a second since it held us back: a server adds up what
/// is too much, and throws out when we are far beyond what it grants.
const SAFELY: f64 = 2.0 / 3.0;
/// A proof is late when it takes so much longer than the soonest on this connection.
const LATE: Duration = Duration::from_millis(400);
/// A proof that is late for so long may not come at all, and nothing waits for it any more.
const MISSING_AFTER: Duration = Duration::from_secs(2);
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
    /// Since when all was proved soon while the pace held us back, and how many lines that were.
    run: Option<(Instant, f64)>,
    /// What made the server wait last; `None` while it has not.
    waited: Option<Waited>,
    /// What not to exceed for now, and until when.
    limit: Option<(f64, Instant)>,
}

/// A server has let us wait.
#[derive(Clone, Copy)]
struct Waited {
    /// How fast that was, in lines a second.
    at: f64,
    /// For how many seconds the pace has held us back since, while all was proved soon.
    since: f64,
}

impl Waited {
    /// The pace to try next, in lines a second.
    fn next(&self) -> f64 {
        let back_after = ((1.0 - 2.0 * SLOWER / (1.0 + SLOWER)) / BEND).cbrt();
        self.at * (1.0 + BEND * (self.since - back_after).powi(3))
    }
}

impl Default for Learner {
    fn default() -> Self {
        Learner { learns: true, ..Learner::fixed(START) }
    }
}

impl Learner {
    /// One that learns nothing.
    pub fn fixed(pace: Pace) -> Self {
        Learner { pace, learns: false, soonest: FARTHEST, slowed: Instant::now(), run: None, waited: None, limit: None }
    }

    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// A new connection begins, perhaps to another server of the network.
    pub fn connected(&mut self) {
        (self.soonest, self.run) = (FARTHEST, None);
    }

    /// Whether what was asked at that time is late already, and may still come: then more would only wait behind it.
    pub fn is_due(&self, asked_at: Instant) -> bool {
        let late_after = self.soonest + LATE;
        self.learns && (late_after..late_after + MISSING_AFTER).contains(&asked_at.elapsed())
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
            self.waited = Some(Waited { at: self.pace.per_second * (1.0 + SLOWER) / 2.0, since: 0.0 });
            self.slow(SLOWER);
        } else if scarce {
            let lines = u16::try_from(lines).unwrap_or(u16::MAX);
            self.run.get_or_insert((asked_at, 0.0)).1 += f64::from(lines);
            self.quicken(lines);
        } else {
            self.run = None;
        }
        late
    }

    /// So many lines were proved soon.
    fn quicken(&mut self, lines: u16) {
        let most = self.pace.per_second * QUICKER.powi(i32::from(lines));
        let next = match &mut self.waited {
            None => most,
            Some(waited) => {
                waited.since += f64::from(lines) / self.pace.per_second;
                waited.next().min(most)
            }
        };
        self.pace.per_second = next.clamp(SLOWEST, self.fastest());
    }

    /// The server says that something written at that time was too much; the new pace, if that was not known.
    pub fn halve(&mut self, written_at: Instant) -> Option<Pace> {
        if !self.learns || written_at < self.slowed {
            return None;
        }
        let borne = self.mean() * SAFELY;
        self.slow(HALF);
        self.pace.per_second = self.pace.per_second.min(borne).max(SLOWEST);
        self.waited = None;
        self.pace.burst = (self.pace.burst * HALF).max(1.0);
        self.limit = Some((self.pace.per_second, self.slowed + CAUTIOUS_FOR));
        Some(self.pace)
    }

    /// How many lines a second there were since the pace holds us back; endless while it doesn't.
    fn mean(&self) -> f64 {
        self.run.map_or(f64::INFINITY, |(since, lines)| lines / since.elapsed().as_secs_f64())
    }

    fn slow(&mut self, factor: f64) {
        self.run = None;
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
        assert!((learner.pace().per_second - 0.5 * QUICKER.powi(4)).abs() < 1e-9);
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
    async fn after_a_late_proof_it_is_soon_near_the_pace_before_and_careful_there() {
        let mut learner = Learner::default();
        while learner.pace().per_second < 1.0 {
            proves(&mut learner, SOON, 1).await;
        }
        let before = learner.pace().per_second;
        proves(&mut learner, Duration::from_secs(2), 1).await;
        let mut paces = Vec::new();
        for _ in 0..20 {
            proves(&mut learner, SOON, 1).await;
            paces.push(learner.pace().per_second / before);
        }
        assert!(paces[2] > 0.91 && paces[5] < 0.95, "{paces:.2?}");
        assert!(paces[19] > 1.2, "beyond it is faster and faster: {paces:.2?}");
        assert!(paces.windows(2).all(|two| two[0] <= two[1] && two[1] / two[0] <= QUICKER + 1e-9), "{paces:.2?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_late_holds_back_what_would_wait_behind_it_but_not_for_ever() {
        let mut learner = Learner::default();
        proves(&mut learner, SOON, 1).await;
        let asked_at = Instant::now();
        let mut due = Vec::new();
        for _ in 0..4 {
            due.push(learner.is_due(asked_at));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(due, [false, true, true, false]);
        assert!(!Learner::fixed(START).is_due(asked_at + Duration::from_secs(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_much_after_a_quick_growth_two_thirds_are_left_of_what_was_said_on_average() {
        let (mut learner, start) = (Learner::default(), Instant::now());
        for _ in 0..40 {
            let pause = Duration::from_secs_f64(1.0 / learner.pace().per_second);
            proves(&mut learner, pause.min(SOON), 1).await;
            tokio::time::sleep(pause.saturating_sub(SOON)).await;
        }
        let (pace, mean) = (learner.pace().per_second, 40.0 / start.elapsed().as_secs_f64());
        assert!(pace > 2.5 && mean < 1.5, "{pace} {mean}");
        let halved = learner.halve(Instant::now()).unwrap().per_second;
        assert!((halved - mean * SAFELY).abs() < 1e-9, "{halved} {mean}");
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
