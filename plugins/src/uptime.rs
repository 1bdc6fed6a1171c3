//! `!uptime`: how long the worker that answers has been running.

use tokio::time::Instant;
use worker::{Plugin, Sender, State, command};

struct Started(Instant);

pub(crate) fn plugin() -> Plugin {
    let spec = command("uptime").help("how long I have been running");
    Plugin::new("uptime").state(Started(Instant::now())).on(spec, uptime)
}

async fn uptime(sender: Sender, started: State<Started>) -> String {
    sender.answer(in_words(started.0.0.elapsed().as_secs()))
}

const UNITS: [(&str, u64); 5] =
    [("year", 365 * 86_400), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];

/// `1 hour and 2 seconds`: every unit that there is, from years (of 365 days) to seconds.
fn in_words(seconds: u64) -> String {
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        let count = rest / length;
        rest %= length;
        match count {
            0 => {}
            1 => parts.push(format!("1 {unit}")),
            _ => parts.push(format!("{count} {unit}s")),
        }
    }
    match parts.as_slice() {
        [] => "0 seconds".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use worker::testing::FakeChat;

    #[tokio::test(start_paused = true)]
    async fn tells_the_time_since_it_was_started() {
        let mut chat = FakeChat::with([plugin()]).await;
        tokio::time::advance(Duration::from_secs(3602)).await;
        chat.says("alice", "!uptime").await.hears("alice: 1 hour and 2 seconds");
    }

    #[test]
    fn durations_are_told_in_the_units_there_are() {
        assert_eq!(in_words(0), "0 seconds");
        assert_eq!(in_words(61), "1 minute and 1 second");
        assert_eq!(in_words(2 * 86_400 + 7_200 + 5), "2 days, 2 hours and 5 seconds");
    }
}
