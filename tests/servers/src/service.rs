//! A program that is started again whenever it ends, as systemd does it with `Restart=always`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Output, Program};

/// How long it stays ended before it is started again: systemd's `RestartSec`.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How many of its last ends are remembered with all that was printed.
const REMEMBERED: usize = 100;

/// A supervised program; it is killed (SIGKILL) when dropped.
pub struct Service {
    name: String,
    shared: Arc<Shared>,
    supervisor: Option<JoinHandle<()>>,
}

struct Shared {
    over: AtomicBool,
    state: Mutex<State>,
}

struct State {
    program: Program,
    starts: usize,
    /// What its former lives left behind, the oldest first.
    past: Vec<Output>,
}

impl Service {
    /// Starts it, and starts it again whenever it ends.
    pub fn start(name: &str, start: impl Fn() -> Program + Send + 'static) -> Self {
        let state = Mutex::new(State { program: start(), starts: 1, past: Vec::new() });
        let shared = Arc::new(Shared { over: AtomicBool::new(false), state });
        let supervisor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.supervise(start)
        });
        Self { name: name.to_owned(), shared, supervisor: Some(supervisor) }
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id of its present life.
    pub fn pid(&self) -> u32 {
        self.shared.state().program.pid()
    }

    /// How often it was started.
    pub fn starts(&self) -> usize {
        self.shared.state().starts
    }

    /// SIGKILL; it is started again.
    pub fn kill(&self) {
        self.shared.state().program.kill();
    }

    /// SIGTERM, and waits until it has ended of itself; it is started again. How long that took, or `None` when it had to be killed
    /// after the limit.
    pub fn terminate(&self, limit: Duration) -> Option<Duration> {
        let (start, starts) = (Instant::now(), self.starts());
        self.shared.state().program.terminate();
        while start.elapsed() < limit {
            let mut state = self.shared.state();
            if state.starts > starts || !state.program.is_running() {
                return Some(start.elapsed());
            }
            drop(state);
            thread::sleep(LOOK_EVERY);
        }
        self.kill();
        None
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        self.shared.state().program.freeze();
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.shared.state().program.thaw();
    }

    /// Standard error of all its lives.
    pub fn stderr(&self) -> String {
        let state = self.shared.state();
        let past = state.past.iter().map(|output| output.stderr.as_str());
        past.chain([state.program.stderr().as_str()]).collect()
    }

    /// How its former lives ended, the oldest first; of many only the last.
    pub fn past(&self) -> Vec<Output> {
        self.shared.state().past.clone()
    }

    /// Waits until its present life has printed this on standard error, or one that follows. Panics after the limit.
    pub fn wait_for_stderr(&self, text: &str, limit: Duration) {
        let start = Instant::now();
        while !self.shared.state().program.stderr().contains(text) {
            assert!(start.elapsed() < limit, "{} did not say {text:?} within {limit:?}", self.name);
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Ends it for good (SIGKILL): the supervisor lets it rest.
    pub fn stop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.supervisor.take().map(JoinHandle::join);
        self.kill();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
        if thread::panicking() {
            for (life, output) in self.past().iter().enumerate() {
                eprintln!(
                    "{}, life {} ({}), said at the end:\n{}",
                    self.name,
                    life + 1,
                    output.status,
                    last(&output.stderr)
                );
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn supervise(&self, start: impl Fn() -> Program) {
        while !self.over.load(Ordering::Relaxed) {
            let ended = !self.state().program.is_running();
            if ended {
                thread::sleep(PAUSE);
                self.start_again(&start);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn start_again(&self, start: &impl Fn() -> Program) {
        let mut state = self.state();
        let mut ended = std::mem::replace(&mut state.program, start());
        state.starts += 1;
        state.past.push(ended.wait());
        if state.past.len() > REMEMBERED {
            state.past.remove(0);
        }
    }
}

/// The last 20 lines.
fn last(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
