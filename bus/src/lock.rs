//! A lock that one process on a broker has at a time: who may speak on a network, whose timers tick.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::mutants::{self, Mutant};

/// A lock that is ours, for as long as the broker is known to know that. Dropped, it is given back.
///
/// Whoever does what only one may do asks [`Lock::holds`] just before. The answer is no before the broker could give
/// the lock to somebody else: it doesn't ask the broker, but compares the time until which the broker was last heard to
/// grant it. That time is measured by CLOCK_BOOTTIME (clock_gettime(2)), which goes on while this process, or the
/// whole machine, is stopped.
#[derive(Debug)]
pub struct Lock {
    lease: Lease,
    /// Whatever has to live as long as the lock.
    _keeper: Box<dyn Any + Send + Sync>,
}

/// What a lock's keeper knows of it, and tells.
#[derive(Clone, Debug)]
pub struct Lease {
    /// In ms of CLOCK_BOOTTIME.
    until: Arc<AtomicU64>,
    lost: CancellationToken,
}

impl Lock {
    /// A lock as this lease says; `keeper` is dropped with it.
    pub fn new(lease: Lease, keeper: impl Any + Send + Sync) -> Self {
        Lock { lease, _keeper: Box::new(keeper) }
    }

    /// It is certainly ours at this moment. May be no for a moment, and yes again, while the broker is slow.
    pub fn holds(&self) -> bool {
        self.lease.holds()
    }

    /// Waits until it is lost for good: somebody else may have it, and only a new [`Broker::lock`](crate::Broker::lock)
    /// gets it back.
    pub async fn lost(&self) {
        if mutants::is(Mutant::NoFence) {
            std::future::pending().await
        }
        self.lease.lost.cancelled().await;
    }

    /// The same question, for others to ask.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }
}

/// Nobody who asks its lease takes it for ours any more, when it is given back.
impl Drop for Lock {
    fn drop(&mut self) {
        self.lease.lose();
    }
}

impl Lease {
    /// Granted until told otherwise: within one process nobody else can have it.
    pub fn endless() -> Self {
        Lease { until: Arc::new(AtomicU64::new(u64::MAX)), lost: CancellationToken::new() }
    }

    /// Nobody else can have it.
    pub fn is_endless(&self) -> bool {
        self.until.load(Ordering::Acquire) == u64::MAX
    }

    /// Granted until so long after `since` (see [`boot_time`]).
    pub fn starting(since: Duration, lasts: Duration) -> Self {
        let lease = Lease { until: Arc::new(AtomicU64::new(0)), lost: CancellationToken::new() };
        lease.extend(since, lasts);
        lease
    }

    /// The same lease, lost when `token` is cancelled.
    #[must_use]
    pub fn within(self, token: &CancellationToken) -> Self {
        Lease { lost: token.child_token(), ..self }
    }

    /// The broker granted it again: until so long after `since`, the moment at which it was asked.
    pub fn extend(&self, since: Duration, lasts: Duration) {
        let until = u64::try_from((since + lasts).as_millis()).unwrap_or(u64::MAX);
        self.until.store(until, Ordering::Release);
    }

    /// Lost for good.
    pub fn lose(&self) {
        self.lost.cancel();
    }

    /// As [`Lock::holds`].
    pub fn holds(&self) -> bool {
        if mutants::is(Mutant::NoFence) {
            return true;
        }
        let until = self.until.load(Ordering::Acquire);
        !self.lost.is_cancelled() && (until == u64::MAX || boot_time().as_millis() < u128::from(until))
    }
}

/// The time since the system started, time asleep included (CLOCK_BOOTTIME).
pub fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_by_itself_and_can_be_extended_until_it_is_lost() {
        let lease = Lease::starting(boot_time(), Duration::from_secs(60));
        assert!(lease.holds());
        lease.extend(boot_time(), Duration::ZERO);
        assert!(!lease.holds());
        lease.extend(boot_time(), Duration::from_secs(60));
        assert!(lease.holds());
        lease.lose();
        lease.extend(boot_time(), Duration::from_secs(60));
        assert!(!lease.holds());
    }
}
