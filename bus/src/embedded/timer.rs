//! The task that lets delayed messages go on when their time has come, and tries a disk again that could not be written.
//! There is none as long as nothing is due.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Shared;

/// How often it looks, at least: a disk may have begun to fail meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Shared {
    /// Has the task run, if something is due. What was found on disk may be due before anybody publishes.
    pub(super) fn tend_timer(self: &Arc<Self>) {
        if !self.is_due.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut state = self.lock();
        let running = state.timer.as_ref().is_some_and(|timer| !timer.is_finished());
        if running || state.next_due().is_none() {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => state.timer = Some(runtime.spawn(run(Arc::downgrade(self), self.timer.clone()))),
            Err(_) => self.is_due.store(true, Ordering::Relaxed),
        }
    }

    /// Does what is due. When to look again; `None`: nothing is due, and the task ends.
    fn tick(&self) -> Option<Instant> {
        self.change(|state, loose| state.release_due(self.now_ms(), loose));
        let mut state = self.lock();
        let next = state.next_due();
        if next.is_none() {
            // under the same lock, so that whoever adds something knows that it needs another
            state.timer = None;
        }
        next
    }
}

async fn run(shared: Weak<Shared>, look_again: Arc<Notify>) {
    loop {
        let Some(next) = shared.upgrade().and_then(|shared| shared.tick()) else { return };
        tokio::select! {
            () = tokio::time::sleep_until(next.min(Instant::now() + LOOK_EVERY)) => {}
            () = look_again.notified() => {}
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.timer.notify_one();
    }
}
