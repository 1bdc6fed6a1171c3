//! Lines as they arrive from a reader thread, and waiting for one of them.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Transcript {
    state: Mutex<State>,
    grew: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Transcript {
    /// Reads until the end of `from`; `each` sees a line (with its end) before it is kept.
    pub(crate) fn record(self: &Arc<Self>, from: impl Read, mut each: impl FnMut(&str)) {
        let mut from = BufReader::with_capacity(64 * 1024, from);
        let mut bytes = Vec::new();
        while from.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let line = String::from_utf8_lossy(&bytes).into_owned();
            bytes.clear();
            each(&line);
            self.lock().lines.push(line);
            self.grew.notify_all();
        }
        self.lock().ended = true;
        self.grew.notify_all();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// All lines from the index on, without their ends.
    pub(crate) fn lines(&self, from: usize) -> Vec<String> {
        self.lock().lines[from..].iter().map(|line| trimmed(line).to_owned()).collect()
    }

    pub(crate) fn text(&self) -> String {
        self.lock().lines.concat()
    }

    /// The first line from the index on that `wanted` accepts, and its index.
    pub(crate) fn wait(
        &self,
        from: usize,
        limit: Duration,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<(usize, String), &'static str> {
        let until = Instant::now() + limit;
        let mut next = from;
        let mut state = self.lock();
        loop {
            while let Some(line) = state.lines.get(next) {
                if wanted(trimmed(line)) {
                    return Ok((next, trimmed(line).to_owned()));
                }
                next += 1;
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.ended {
                return Err("it ended");
            }
            if left.is_zero() {
                return Err("it did not come in time");
            }
            state = self.grew.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until the reader came to the end.
    pub(crate) fn wait_for_end(&self, limit: Duration) {
        let guard = self.grew.wait_timeout_while(self.lock(), limit, |state| !state.ended);
        drop(guard);
    }

    // A panicking closure of a test leaves the lines as they were.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn trimmed(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// The last 40 lines, for a panic's message.
pub(crate) fn last(lines: &[String]) -> String {
    let from = lines.len().saturating_sub(40);
    format!("{} lines so far, the last of them:\n{}", lines.len(), lines[from..].join("\n"))
}
