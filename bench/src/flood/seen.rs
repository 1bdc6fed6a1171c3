//! What an observer in the channel sees of somebody's lines.

use std::time::{Duration, Instant};

use servers::IrcUser;

/// From this line on a speaker should have found its pace.
pub(super) const SETTLED: usize = 20;

/// When each line was seen.
pub(super) struct Seen {
    times: Vec<Instant>,
    /// From the moment when all were due until the last was seen.
    pub(super) took: Duration,
    /// How often the speaker was thrown out meanwhile.
    pub(super) thrown_out: usize,
}

impl Seen {
    /// Watches until all lines were seen, each once and in order; `each` is told how many there are. Panics when nothing is seen for
    /// half a minute.
    pub(super) fn watch(observer: &IrcUser, nick: &str, lines: usize, mut each: impl FnMut(usize)) -> Self {
        let (start, mut times, mut thrown_out) = (Instant::now(), Vec::new(), 0);
        let (source, from) = (format!(":{nick}!"), format!(":{nick}"));
        while times.len() < lines {
            let line = observer
                .hears(|line| line.starts_with(&source) && (line.contains(" PRIVMSG #") || line.contains(" QUIT")));
            if line.contains(" QUIT") {
                eprintln!("bench: {from} was thrown out after {} lines: {line}", times.len());
                thrown_out += 1;
                continue;
            }
            assert!(line.contains(&super::text(times.len())), "{from} said after {} lines: {line}", times.len());
            times.push(Instant::now());
            each(times.len());
        }
        Seen { times, took: start.elapsed(), thrown_out }
    }

    /// Lines a second, from the first to the last.
    pub(super) fn rate(&self) -> f64 {
        rate(&self.times)
    }

    /// The same without those at the beginning.
    pub(super) fn settled_rate(&self) -> f64 {
        rate(&self.times[SETTLED..])
    }
}

fn rate(times: &[Instant]) -> f64 {
    match times {
        [first, .., last] => (times.len() - 1) as f64 / (*last - *first).as_secs_f64(),
        _ => f64::NAN,
    }
}
