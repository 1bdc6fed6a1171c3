//! Who may speak on a network: the one process that has its lock. Whoever has it not waits, without a connection to
//! the network, until it is free.

use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, Lease};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::irc::PROTO;

/// Who waits longer than this for the lock is a standby, and says so.
const STANDBY_AFTER: Duration = Duration::from_secs(2);
/// A lost lock that was not got back while the broker answered for so long is somebody else's. It may be held by our own
/// connection of before, which the broker gives up after 18 s; and after an outage the former holder asks first.
const TAKEN_AFTER: Duration = Duration::from_secs(22);
/// How often the broker is asked whether it answers.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often a lock that is not certain for the moment is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long to wait before a lock is asked for again that could not be asked for.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// A permission to speak.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// Holds as long as it is certain.
    pub lease: Lease,
    /// Which one this is of those that this process had.
    pub number: u64,
}

/// How things stand with the lock.
#[derive(Clone, Debug)]
enum Standing {
    /// It is ours.
    Granted(Grant),
    /// It is not ours for now, and nobody else is known to have it.
    Waiting,
    /// Somebody else has it.
    Taken,
}

/// Asks for a network's lock, again whenever it was lost. Dropped, it gives the lock back.
pub(crate) struct Voice {
    standing: watch::Receiver<Standing>,
    _keeper: AbortOnDropHandle<()>,
}

/// For others to look at.
#[derive(Clone)]
pub(crate) struct Permission(watch::Receiver<Standing>);

impl Voice {
    pub fn ask(broker: Arc<dyn Broker>, network: &str) -> Self {
        let (sender, standing) = watch::channel(Standing::Waiting);
        let keeper = keep(broker, network.to_owned(), sender);
        Voice { standing, _keeper: AbortOnDropHandle::new(tokio::spawn(keeper)) }
    }

    /// Waits until the lock is certainly ours.
    pub async fn granted(&mut self) -> Grant {
        let permission = self.permission();
        loop {
            if let Some(grant) = permission.get() {
                return grant;
            }
            // the keeper never ends before us
            timeout(LOOK_EVERY, self.standing.changed()).await.ok();
        }
    }

    /// Waits until somebody else has the lock.
    pub async fn taken(&mut self) {
        // the keeper never ends before us
        self.standing.wait_for(|standing| matches!(standing, Standing::Taken)).await.ok();
    }

    pub fn permission(&self) -> Permission {
        Permission(self.standing.clone())
    }
}

impl Permission {
    /// A permission that this grant gives.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn of(grant: Grant) -> Self {
        Permission(watch::channel(Standing::Granted(grant)).1)
    }

    /// The permission, if there is one at this moment.
    pub fn get(&self) -> Option<Grant> {
        self.look(Grant::clone)
    }

    /// Its number: which is asked for before each line.
    pub fn number(&self) -> Option<u64> {
        self.look(|grant| grant.number)
    }

    fn look<T>(&self, at: impl FnOnce(&Grant) -> T) -> Option<T> {
        match &*self.0.borrow() {
            Standing::Granted(grant) if grant.lease.holds() => Some(at(grant)),
            _ => None,
        }
    }
}

async fn keep(broker: Arc<dyn Broker>, network: String, standing: watch::Sender<Standing>) {
    let name = format!("{PROTO}.{network}");
    let mut number = 0;
    loop {
        let asking = broker.lock(&name);
        tokio::pin!(asking);
        let lock = tokio::select! {
            lock = &mut asking => lock,
            () = sleep(STANDBY_AFTER), if number == 0 => {
                tracing::info!(network, "standing by: another connector speaks on this network");
                asking.await
            }
            () = answers_for(&*broker, &network, TAKEN_AFTER), if number > 0 => {
                standing.send_replace(Standing::Taken);
                asking.await
            }
        };
        match lock {
            Ok(lock) => {
                number += 1;
                tracing::debug!(network, "the lock is ours");
                standing.send_replace(Standing::Granted(Grant { lease: lock.lease(), number }));
                lock.lost().await;
                tracing::warn!(network, "the lock is lost: silent until it is ours again");
                standing.send_replace(Standing::Waiting);
            }
            Err(bus::Error::Closed) => std::future::pending().await,
            Err(why) => {
                tracing::warn!(network, %why, "the lock can't be asked for; trying again");
                sleep(AGAIN_AFTER).await;
            }
        }
    }
}

/// Waits until the broker has answered all the time for so long.
async fn answers_for(broker: &dyn Broker, network: &str, long: Duration) {
    let queue = broker.topology().replies_name(PROTO, network);
    let mut since = Instant::now();
    while since.elapsed() < long {
        sleep(ASK_EVERY).await;
        // a broker that is away is waited for: an answer that comes late is none
        let answer = timeout(ASK_EVERY, broker.depth(&queue)).await;
        if !matches!(answer, Ok(Ok(_))) {
            since = Instant::now();
        }
    }
}
