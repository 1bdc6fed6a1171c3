//! The end of the broker's log. Changes are put down in their order while the broker's state is locked, which is quick,
//! and written when it is not: whoever finds the file free writes for everybody who came meanwhile.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::sync::oneshot;

use crate::Error;
use crate::journal::{Failure, Log};

/// A buffer that has grown beyond this shrinks again: 1 MiB.
const MAX_KEPT_BUFFER: usize = 1024 * 1024;

/// The log, and what is to be appended to it.
pub(super) struct Tail {
    log: Mutex<Log>,
    pending: Mutex<Vec<u8>>,
    /// Why something could not be written, until the broker has taken note.
    failure: Failure,
}

impl Tail {
    pub fn new(log: Log) -> Self {
        let failure = log.failure();
        Tail { log: Mutex::new(log), pending: Mutex::default(), failure }
    }

    /// Puts down the steps of one change; they are written with the next flush.
    pub fn put_down(&self, steps: &mut Vec<u8>) {
        let mut pending = lock(&self.pending);
        if pending.is_empty() {
            std::mem::swap(&mut *pending, steps);
        } else {
            pending.append(steps);
        }
    }

    /// Writes what was put down; when it returns, all of it is with the operating system, or has failed.
    pub fn flush(&self) {
        self.write(&mut lock(&self.log));
        self.flush_if_free();
    }

    /// The same without waiting: whoever writes just now goes on with what is put down meanwhile.
    pub fn flush_if_free(&self) {
        // one who comes while the file is about to be given back leaves his steps to us: look once more
        while !lock(&self.pending).is_empty() {
            match self.log.try_lock() {
                Ok(mut log) => self.write(&mut log),
                Err(TryLockError::Poisoned(poisoned)) => self.write(&mut poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => return,
            }
        }
    }

    fn write(&self, log: &mut Log) {
        let mut steps = std::mem::take(&mut *lock(&self.pending));
        if steps.is_empty() {
            return;
        }
        if let Err(why) = log.append(|buffer| buffer.extend_from_slice(&steps)) {
            lock(&self.failure).get_or_insert(why);
        }
        steps.clear();
        steps.shrink_to(MAX_KEPT_BUFFER);
        // kept for the next, so that not every flush allocates
        let mut pending = lock(&self.pending);
        if pending.capacity() == 0 {
            *pending = steps;
        }
    }

    /// The log, when everything that was put down is written, or has failed.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        let mut log = lock(&self.log);
        self.write(&mut log);
        log
    }

    /// Forgets what was put down and not written.
    pub fn forget(&self) {
        lock(&self.pending).clear();
    }

    /// Why something could not be written since this was asked last.
    pub fn failure(&self) -> Option<io::Error> {
        lock(&self.failure).take()
    }

    /// Resolves when all that was written is as safe as was asked for; `None`: it is already.
    pub fn safe(&self) -> Option<oneshot::Receiver<Result<(), Error>>> {
        let safe = lock(&self.log).safe();
        self.flush_if_free();
        safe
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
