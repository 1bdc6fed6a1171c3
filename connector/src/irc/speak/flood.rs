//! The flood budget: how much may be written before a server throws the bot out for flooding. Servers count what each
//! command costs, let so much be run up, and forgive it at a rate; so does this, for all that is written.

use std::time::Duration;

use tokio::time::Instant;

use crate::irc::speak::line::Line;
use crate::irc::speak::pace::{Learner, Pace};

/// How fast to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Flood {
    /// As fast as the server reads: for a server of one's own that has no limit.
    Off,
    /// At first as slowly as every public network bears, then as fast as the server proves to take it: between a line
    /// in 8 s and two a second.
    #[default]
    Learned,
    /// Always the same. A line said costs one, and so does nearly everything else that is written.
    Budget {
        /// How many lines may go out at once after a silence.
        burst: u32,
        /// How many lines a second may follow.
        per_second: f64,
    },
}

/// What a reply is, to the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Somebody waits for it.
    Answer,
    /// Nobody does: it leaves a line for an answer that may come.
    Notice,
}

/// Notices leave so many lines in the bucket, if it can hold more than that.
const FOR_ANSWERS: f64 = 1.0;
/// What is written without asking can be paid for later, so much of it. Servers, too, let no more than 10 s be run up
/// before they wait (RFC 1459, section 8.10).
const DEBT: Duration = Duration::from_secs(10);

/// A bucket of tokens, one for each line.
pub(crate) struct Budget {
    /// How fast it fills; `None` without a limit.
    learner: Option<Learner>,
    /// Below 0 is a debt.
    tokens: f64,
    /// When the tokens were counted.
    at: Instant,
    /// A line had to wait for its token, and it is still so: the pace is what holds us back.
    scarce: bool,
}

impl Budget {
    pub fn new(flood: Flood) -> Self {
        let learner = match flood {
            Flood::Off => None,
            Flood::Learned => Some(Learner::default()),
            Flood::Budget { burst, per_second } => Some(Learner::fixed(Pace::new(f64::from(burst), per_second))),
        };
        let mut budget = Budget { learner, tokens: 0.0, at: Instant::now(), scarce: false };
        budget.connected();
        budget
    }

    /// A new connection begins, of which the server has no account yet. What was learned stays.
    pub fn connected(&mut self) {
        if let Some(learner) = &mut self.learner {
            learner.connected();
            (self.tokens, self.at, self.scarce) = (learner.pace().burst, Instant::now(), false);
        }
    }

    /// Takes a token for a reply's line; false if there is none for it.
    pub fn take(&mut self, urgency: Urgency) -> bool {
        let Some(pace) = self.refill() else { return true };
        let price = price(urgency, pace);
        let granted = self.tokens >= price;
        if granted {
            self.tokens -= 1.0;
        }
        if !granted {
            self.scarce = true;
        } else if self.tokens >= price {
            self.scarce = false;
        }
        granted
    }

    /// A line went out that waits for no budget; later ones pay for it.
    pub fn charge(&mut self, line: &Line) {
        if let Some(pace) = self.refill() {
            self.tokens = (self.tokens - cost(line)).max(-pace.per_second * DEBT.as_secs_f64());
        }
    }

    /// A line was granted, and is written: what it costs beyond that is paid later.
    pub fn charge_rest(&mut self, line: &Line) {
        let rest = cost(line) - 1.0;
        if rest > 0.0
            && let Some(pace) = self.refill()
        {
            self.tokens = (self.tokens - rest).max(-pace.per_second * DEBT.as_secs_f64());
        }
    }

    /// When there will be a token: now, if there is one.
    pub fn next(&mut self, urgency: Urgency) -> Instant {
        match self.refill() {
            Some(pace) if self.tokens < price(urgency, pace) => {
                let missing = (price(urgency, pace) - self.tokens) / pace.per_second;
                // a millisecond more, so that rounding never wakes us a moment too early
                self.at + Duration::from_secs_f64(missing) + Duration::from_millis(1)
            }
            _ => Instant::now(),
        }
    }

    /// The server has proved that it took so many lines, asked at that time.
    pub fn proved(&mut self, asked_at: Instant, lines: usize) {
        self.refill();
        let Some(learner) = &mut self.learner else { return };
        if learner.proved(asked_at, lines, self.scarce) {
            // what it had left for us is used up
            self.tokens = self.tokens.min(0.0);
        }
    }

    /// The server says that something written at that time was too much; the new pace, if that was not known.
    pub fn halve(&mut self, written_at: Instant) -> Option<Pace> {
        self.refill();
        let learner = self.learner.as_mut()?;
        let pace = learner.halve(written_at)?;
        self.tokens = self.tokens.min(0.0);
        Some(pace)
    }

    /// Adds what was earned since; the pace, if there is a limit.
    fn refill(&mut self) -> Option<Pace> {
        let pace = self.learner.as_ref()?.pace();
        let now = Instant::now();
        let earned = now.duration_since(self.at).as_secs_f64() * pace.per_second;
        self.tokens = (self.tokens + earned).min(pace.burst);
        self.at = now;
        Some(pace)
    }
}

/// How many tokens must be there.
fn price(urgency: Urgency, pace: Pace) -> f64 {
    match urgency {
        Urgency::Answer => 1.0,
        Urgency::Notice => (1.0 + FOR_ANSWERS).min(pace.burst),
    }
}

/// What a line costs, in lines said, on the servers that count most: a JOIN as much as it has channels. What belongs to
/// the registration costs nothing: servers limit that by its time.
fn cost(line: &Line) -> f64 {
    let mut words = line.bytes().split(|byte| *byte == b' ');
    match words.next() {
        Some(b"CAP" | b"AUTHENTICATE" | b"PASS" | b"USER") => 0.0,
        Some(b"JOIN") => words.next().map_or(1.0, |channels| channels.split(|byte| *byte == b',').map(|_| 1.0).sum()),
        // several are written as one
        _ => line.bytes().iter().filter(|byte| **byte == b'\n').map(|_| 1.0).sum(),
    }
}

/// Whether a server's last words say that it closed the connection because of a flood: `Excess Flood` of nearly all of
/// them, `RecvQ exceeded` of InspIRCd's.
pub(crate) fn is_flood(last_words: &str) -> bool {
    let last_words = last_words.to_ascii_lowercase();
    last_words.contains("excess flood") || last_words.contains("recvq exceeded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn fixed(burst: u32, per_second: f64) -> Budget {
        Budget::new(Flood::Budget { burst, per_second })
    }

    /// When so many lines go out, in seconds.
    async fn times(budget: &mut Budget, urgency: Urgency, lines: usize) -> Vec<u64> {
        let start = Instant::now();
        let mut times = Vec::new();
        for _ in 0..lines {
            while !budget.take(urgency) {
                let next = budget.next(urgency);
                tokio::time::sleep_until(next).await;
            }
            times.push(start.elapsed().as_secs());
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_out_at_once_and_the_rest_at_its_rate() {
        assert_eq!(times(&mut fixed(3, 0.5), Urgency::Answer, 5).await, [0, 0, 0, 2, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn notices_leave_a_line_for_an_answer() {
        let mut budget = fixed(3, 0.5);
        assert_eq!(times(&mut budget, Urgency::Notice, 4).await, [0, 0, 2, 4]);
        assert!(budget.take(Urgency::Answer));
        assert_eq!(times(&mut fixed(1, 0.5), Urgency::Notice, 2).await, [0, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_wait_is_paid_for_later_ten_seconds_of_it_at_most() {
        let mut budget = fixed(2, 0.5);
        (0..4).for_each(|_| budget.charge(&Line::ping("x")));
        assert_eq!(times(&mut budget, Urgency::Answer, 2).await, [6, 8]);
        (0..100).for_each(|_| budget.charge(&Line::ping("x")));
        assert_eq!(times(&mut budget, Urgency::Answer, 1).await, [12]);
    }

    #[test]
    fn a_line_costs_what_servers_count() {
        let costs = [
            (Line::ping("x"), 1.0),
            (Line::pong("x"), 1.0),
            (Line::say(protocol::ReplyKind::Chat, "#a,#b", "x"), 1.0),
            (Line::join("#a", ""), 1.0),
            (Line::join("#a,#b,#c", "k"), 3.0),
            (Line::nick("x"), 1.0),
            (Line::user("x", "y"), 0.0),
            (Line::capabilities(), 0.0),
            (Line::pass(&Secret::new("x")), 0.0),
        ];
        for (line, expected) in costs {
            assert_eq!(cost(&line), expected, "{}", String::from_utf8_lossy(line.bytes()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_ever_waits() {
        let mut budget = Budget::new(Flood::Off);
        assert!((0..100_000).all(|_| budget.take(Urgency::Notice)));
        budget.charge(&Line::ping("x"));
        assert_eq!(budget.next(Urgency::Answer), Instant::now());
        assert!(budget.halve(Instant::now()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_senseless_rate_is_a_slow_one() {
        for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut budget = fixed(0, per_second);
            assert!(budget.take(Urgency::Answer));
            assert!(!budget.take(Urgency::Answer));
            assert!(budget.next(Urgency::Answer) > Instant::now());
        }
    }

    #[test]
    fn a_flood_is_known_by_the_servers_last_words() {
        assert!(is_flood("Closing Link: host (Excess Flood)") && is_flood("Closing link: (a@b) [RecvQ exceeded]"));
        assert!(!is_flood("Closing Link: host (Ping timeout)") && !is_flood("Throttled: Reconnecting too fast"));
    }
}
