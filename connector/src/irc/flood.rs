//! The flood budget: how fast the bot may speak before a server throws it out for flooding.

use std::time::Duration;

use tokio::time::Instant;

/// How fast to speak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Flood {
    /// As fast as the server reads: for a server of one's own that has no limit.
    Off,
    /// `burst` lines at once; after that, `per_second` lines a second.
    Budget {
        /// How many lines may go out at once after a silence.
        burst: u32,
        /// How many lines a second may follow.
        per_second: f64,
    },
}

impl Default for Flood {
    /// What public networks bear: RFC 1459, section 8.10, grants one line per 2 s after a burst of 5.
    fn default() -> Self {
        Flood::Budget { burst: 4, per_second: 0.5 }
    }
}

/// A bucket of tokens; each line takes one.
pub(super) struct Budget {
    flood: Flood,
    tokens: f64,
    /// When the tokens were counted.
    at: Instant,
}

/// The slowest rate, in lines a second: a smaller or senseless one in the configuration means this one.
const SLOWEST: f64 = 0.001;

impl Budget {
    pub fn new(flood: Flood) -> Self {
        let tokens = match flood {
            Flood::Off => 0.0,
            Flood::Budget { burst, .. } => f64::from(burst.max(1)),
        };
        Budget { flood, tokens, at: Instant::now() }
    }

    /// Takes a token; false if there is none.
    pub fn take(&mut self) -> bool {
        if self.flood == Flood::Off {
            return true;
        }
        self.refill();
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }

    /// A line went out that waits for no budget; later ones pay for it.
    pub fn charge(&mut self) {
        if !self.take() {
            self.tokens = 0.0;
        }
    }

    /// When there will be a token: now, if there is one.
    pub fn next(&mut self) -> Instant {
        self.refill();
        match self.flood {
            Flood::Budget { per_second, .. } if self.tokens < 1.0 => {
                let missing = (1.0 - self.tokens) / rate(per_second);
                // a millisecond more, so that rounding never wakes us a moment too early
                self.at + Duration::from_secs_f64(missing) + Duration::from_millis(1)
            }
            _ => Instant::now(),
        }
    }

    fn refill(&mut self) {
        let Flood::Budget { burst, per_second } = self.flood else { return };
        let now = Instant::now();
        let earned = now.duration_since(self.at).as_secs_f64() * rate(per_second);
        self.tokens = (self.tokens + earned).min(f64::from(burst.max(1)));
        self.at = now;
    }
}

fn rate(per_second: f64) -> f64 {
    if per_second.is_finite() { per_second.max(SLOWEST) } else { SLOWEST }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_out_at_once_and_the_rest_at_its_rate() {
        let mut budget = Budget::new(Flood::Budget { burst: 3, per_second: 0.5 });
        let start = Instant::now();
        let mut times = Vec::new();
        for _ in 0..5 {
            while !budget.take() {
                let next = budget.next();
                tokio::time::sleep_until(next).await;
            }
            times.push(start.elapsed().as_secs());
        }
        assert_eq!(times, [0, 0, 0, 2, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_ever_waits() {
        let mut budget = Budget::new(Flood::Off);
        assert!((0..100_000).all(|_| budget.take()));
        assert_eq!(budget.next(), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_senseless_rate_is_a_slow_one() {
        for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut budget = Budget::new(Flood::Budget { burst: 0, per_second });
            assert!(budget.take());
            assert!(!budget.take());
            assert!(budget.next() > Instant::now());
        }
    }
}
