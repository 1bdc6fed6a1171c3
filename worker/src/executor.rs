//! Where handlers run: on threads of their own, so that one which blocks its thread takes nothing from the rest of the
//! process. A thread that doesn't come back is counted as lost; when too many are, there is a new set of threads, so
//! often as is allowed, or none.
//!
//! What tokio 1.54 does when a task blocks its thread (`runtime/scheduler/multi_thread/worker.rs`): other threads steal
//! what waits in that thread's queue, but not the one task in its LIFO slot, which is the one that the blocking task
//! woke last. Nothing that is ours is woken or started there: events come from other threads, and whatever is awaited
//! after a handler is awaited elsewhere. (What handlers wake of each other, they may hold up.) And the thread that was the
//! last to wait for timers and sockets may be the one that blocks; then nobody waits for them until another thread has had
//! something to do: hence [`Executor::nudge`].

use std::num::NonZero;
use std::sync::atomic::{AtomicIsize, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;

/// Threads beyond one for each processor: so many may be lost, and there are still enough.
pub(crate) const SPARE_THREADS: usize = 8;

/// How long a task may wait for a thread until all of them count as blocked.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Runs tasks in which handlers run.
pub(crate) enum Executor {
    /// In the runtime that we are in, for tests: nothing is watched there.
    Here,
    /// On threads of their own.
    Own(Own),
}

/// Threads for handlers alone.
pub(crate) struct Own {
    current: Mutex<Arc<Threads>>,
    /// How many more sets of threads there may be.
    left: AtomicU32,
    /// Sets that have lost too many of theirs: what still runs there goes on.
    former: Mutex<Vec<Arc<Threads>>>,
}

/// A set of threads.
pub(crate) struct Threads {
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
    lost: AtomicIsize,
}

/// What follows from the loss of a thread.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// So many are lost; there are enough others.
    Bearable(isize),
    /// Too many: there are new ones.
    Replaced,
    /// Too many, and there are no more.
    TooMany,
}

impl Executor {
    /// Threads of its own, of which new ones may be had so often.
    ///
    /// # Errors
    /// When the system gives none.
    pub(crate) fn own(replacements: u32) -> io::Result<Self> {
        let (current, left) = (Mutex::new(Threads::start()?), AtomicU32::new(replacements));
        Ok(Executor::Own(Own { current, left, former: Mutex::default() }))
    }

    /// Starts a task, and tells on which threads.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self {
            Executor::Here => drop(tokio::spawn(task)),
            Executor::Own(own) => drop(lock(&own.current).handle.spawn(task)),
        }
    }

    /// The threads that tasks are started on now; `None` where nothing is watched.
    pub(crate) fn threads(&self) -> Option<Arc<Threads>> {
        match self {
            Executor::Here => None,
            Executor::Own(own) => Some(lock(&own.current).clone()),
        }
    }

    /// Makes some thread look for timers and sockets that nobody waits for.
    pub(crate) fn nudge(&self) {
        if let Executor::Own(own) = self {
            drop(lock(&own.current).handle.spawn(async {}));
        }
    }

    /// Whether a thread is free to work, or is so within a second.
    pub(crate) async fn answers(&self) -> bool {
        let Executor::Own(own) = self else { return true };
        let probe = lock(&own.current).handle.spawn(async {});
        timeout(ANSWER_WITHIN, probe).await.is_ok()
    }

    /// One of these threads did not come back in time.
    pub(crate) fn lose(&self, threads: &Arc<Threads>) -> Loss {
        let Executor::Own(own) = self else { return Loss::Bearable(0) };
        let lost = threads.lost.fetch_add(1, Ordering::AcqRel) + 1;
        let is_current = Arc::ptr_eq(threads, &lock(&own.current));
        if !is_current || usize::try_from(lost).unwrap_or(0) < SPARE_THREADS {
            return Loss::Bearable(lost);
        }
        own.replace().unwrap_or(Loss::TooMany)
    }
}

impl Own {
    /// `None` when there are no more.
    fn replace(&self) -> Option<Loss> {
        let used = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        used.ok()?;
        let threads =
            Threads::start().inspect_err(|why| tracing::error!(%why, "no new threads can be started")).ok()?;
        let former = std::mem::replace(&mut *lock(&self.current), threads);
        lock(&self.former).push(former);
        Some(Loss::Replaced)
    }
}

impl Threads {
    fn start() -> io::Result<Arc<Self>> {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let mut builder = Builder::new_multi_thread();
        let runtime =
            builder.worker_threads(processors + SPARE_THREADS).thread_name("handlers").enable_all().build()?;
        let (handle, runtime) = (runtime.handle().clone(), Mutex::new(Some(runtime)));
        Ok(Arc::new(Threads { handle, runtime, lost: AtomicIsize::new(0) }))
    }

    /// One that was lost has come back.
    pub(crate) fn came_back(&self) {
        self.lost.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // not waited for: one of them may never come back, and this may be one of them
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
        }
    }
}

/// Locks; what panicked with it has left nothing half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn eight_lost_threads_are_too_many_and_replaced_so_often_as_is_allowed() {
        let executor = Executor::own(1).unwrap();
        let first = executor.threads().unwrap();
        for lost in 1..8 {
            assert_eq!(executor.lose(&first), Loss::Bearable(lost));
        }
        first.came_back();
        assert_eq!(executor.lose(&first), Loss::Bearable(7));
        assert_eq!(executor.lose(&first), Loss::Replaced);
        assert_eq!(executor.lose(&first), Loss::Bearable(9), "those of before don't count");
        let second = executor.threads().unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        (1..8).for_each(|lost| assert_eq!(executor.lose(&second), Loss::Bearable(lost)));
        assert_eq!(executor.lose(&second), Loss::TooMany);
    }

    #[tokio::test]
    async fn tasks_run_beside_one_that_blocks_its_thread() {
        let executor = Executor::own(0).unwrap();
        executor.spawn(async { thread::sleep(std::time::Duration::from_secs(3600)) });
        let (done, is_done) = tokio::sync::oneshot::channel();
        executor.spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            done.send(()).ok();
        });
        executor.nudge();
        tokio::time::timeout(std::time::Duration::from_secs(30), is_done).await.unwrap().unwrap();
    }
}
