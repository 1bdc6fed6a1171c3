//! Locks: an exclusive queue belongs to one connection, and the broker deletes it when that connection ends. Whoever has
//! declared it has the lock.
//!
//! All locks of a process share one connection that does nothing else, so that nothing delays the probes. The broker
//! gives the lock of a silent holder away after two to three heartbeats; the holder itself no longer counts on it one
//! heartbeat after the start of the last probe that was answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeleteOptions;
use protocol::Ambient;
use tokio::sync::{Mutex as Turns, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{close_channel, explain, short};
use super::declare;
use super::link::{Link, Live};
use crate::lock::boot_time;
use crate::{Error, Lease, Lock, Topology};

/// The heartbeat that is asked for on the connection of locks, in seconds.
pub(super) const HEARTBEAT: u16 = 6;
/// How long a probe's answer counts, from the moment of asking on; less where the broker wants a shorter heartbeat.
const COUNTS_FOR: Duration = Duration::from_secs(HEARTBEAT as u64);
/// How often the holder asks whether the lock is still its own.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How often a lock that another process has is asked for, at least: each refusal is a line in the broker's log.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// What is added by chance, at most, so that standbys don't ask in step.
const ASK_SPREAD: Duration = Duration::from_millis(400);
/// How often a holder asks for the lock that it lost with its connection, and for how long. Its own former connection
/// may be all that has it.
const REGAIN_EVERY: Duration = Duration::from_millis(200);
const REGAIN_FOR: Duration = Duration::from_secs(5);
/// How long others leave it alone after their own connection came back. A connection is tried again after 5 s at the
/// latest; and a holder that has not noticed yet that the broker is another one has fallen silent by then.
const LEAVE_TO_HOLDER_FOR: Duration = Duration::from_secs(6);

/// All locks of a process.
pub(super) struct Locks {
    link: Link,
    /// Cancelled when the connection is wanted for the first time.
    wanted: CancellationToken,
    topology: Topology,
    ambient: Arc<dyn Ambient>,
    stop: CancellationToken,
    /// By the locks' names. One at a time may ask for a lock, since the broker would grant it to all of this process.
    turns: Mutex<HashMap<String, Arc<Turns<History>>>>,
}

/// What is known of a lock between two of its holders.
#[derive(Default)]
struct History {
    /// This process had it last, and has lost it.
    was_ours: bool,
}

impl Locks {
    pub(super) fn new(
        link: Link,
        wanted: CancellationToken,
        topology: Topology,
        ambient: Arc<dyn Ambient>,
        stop: CancellationToken,
    ) -> Self {
        Locks { link, wanted, topology, ambient, stop, turns: Mutex::default() }
    }

    /// Waits until the lock is ours. What asks for it, keeps it and gives it back runs beside, so that whoever stops
    /// waiting leaves nothing locked.
    pub(super) async fn lock(&self, name: &str, tasks: &TaskTracker) -> Result<Lock, Error> {
        self.wanted.cancel();
        let released = CancellationToken::new();
        let candidate = Candidate {
            name: name.to_owned(),
            topology: self.topology.clone(),
            link: self.link.clone(),
            ambient: self.ambient.clone(),
            stop: self.stop.clone(),
            released: released.clone(),
            asked: None,
        };
        let (tell, granted) = oneshot::channel();
        tasks.spawn(candidate.run(self.turns(name), tell));
        let release = released.drop_guard();
        let lease = granted.await.map_err(|_| Error::Closed)?;
        Ok(Lock::new(lease, release))
    }

    fn turns(&self, name: &str) -> Arc<Turns<History>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(name.to_owned()).or_default().clone()
    }
}

/// Asks for a lock, keeps it, gives it back.
struct Candidate {
    name: String,
    topology: Topology,
    link: Link,
    ambient: Arc<dyn Ambient>,
    stop: CancellationToken,
    /// Cancelled when nobody wants the lock any more.
    released: CancellationToken,
    /// The connection that was asked last: the lock may be its, also when no answer has come.
    asked: Option<Live>,
}

/// The lock is ours as long as this connection lives.
struct Granted {
    live: Live,
    channel: Channel,
    lease: Lease,
    lasts: Duration,
}

/// Why we don't have it.
enum Refusal {
    /// Another connection has it.
    Taken,
    Failed(Error),
}

impl Candidate {
    async fn run(mut self, turns: Arc<Turns<History>>, tell: oneshot::Sender<Lease>) {
        let (stop, released) = (self.stop.clone(), self.released.clone());
        let over = async {
            tokio::select! { () = stop.cancelled() => {} () = released.cancelled() => {} }
        };
        tokio::pin!(over);
        let mut history = tokio::select! {
            history = turns.lock_owned() => history,
            () = &mut over => return,
        };
        let granted = tokio::select! {
            granted = self.obtain(&mut history) => granted,
            () = &mut over => None,
        };
        if let Some(granted) = granted
            && tell.send(granted.lease.clone()).is_ok()
        {
            tracing::info!(lock = self.name, "the lock is ours");
            let lost = tokio::select! {
                why = self.keep(&granted) => Some(why),
                () = &mut over => None,
            };
            granted.lease.lose();
            history.was_ours = lost.is_some();
            if let Some(why) = lost {
                tracing::warn!(lock = self.name, why, "the lock is lost");
            }
            close_channel(&granted.channel).await;
        }
        self.give_back().await;
    }

    /// Asks until it is granted; `None` when the connection was closed by us.
    async fn obtain(&mut self, history: &mut History) -> Option<Granted> {
        let mut said = None;
        loop {
            let live = self.link.live().await.ok()?;
            if live.is_again && !history.was_ours {
                tokio::select! {
                    () = sleep_until(live.since + LEAVE_TO_HOLDER_FOR) => {}
                    () = self.link.lost(&live) => continue,
                }
            }
            match self.ask(&live).await {
                Ok(granted) => return Some(granted),
                Err(Refusal::Taken) => {
                    if said.replace(String::new()).is_none() {
                        tracing::info!(lock = self.name, "another process has the lock; waiting for it");
                    }
                }
                Err(Refusal::Failed(why @ (Error::Queue { .. } | Error::OtherArguments { .. }))) => {
                    if said.replace(why.to_string()) != Some(why.to_string()) {
                        tracing::warn!(lock = self.name, "{why}; trying again");
                    }
                }
                Err(Refusal::Failed(why)) => {
                    tracing::debug!(lock = self.name, %why, "the lock can't be asked for yet");
                    if matches!(why, Error::TimedOut { .. }) {
                        live.doubt().await;
                    }
                }
            }
            sleep(self.pause(&live, history)).await;
        }
    }

    fn pause(&self, live: &Live, history: &mut History) -> Duration {
        if live.is_again && history.was_ours && live.since.elapsed() < REGAIN_FOR {
            return REGAIN_EVERY;
        }
        history.was_ours = false;
        let spread = u64::try_from(ASK_SPREAD.as_micros()).unwrap_or(u64::MAX).max(1);
        ASK_EVERY - Duration::from_micros(self.ambient.random() % spread)
    }

    /// Asks once.
    async fn ask(&mut self, live: &Live) -> Result<Granted, Refusal> {
        self.asked = Some(live.clone());
        let connection = &live.connection;
        let channel = connection.channel().await.map_err(Refusal::Failed)?;
        let asked = boot_time();
        match declare::exclusive(connection, &channel, &self.topology.lock(&self.name)).await {
            Ok(true) => {
                let lasts = connection.heartbeat().map_or(COUNTS_FOR, |agreed| agreed.min(COUNTS_FOR));
                let lease = Lease::starting(asked, lasts).within(&self.stop);
                Ok(Granted { live: live.clone(), channel, lease, lasts })
            }
            Ok(false) => Err(Refusal::Taken),
            Err(why) => {
                close_channel(&channel).await;
                Err(Refusal::Failed(why))
            }
        }
    }

    /// Probes and extends the lease until the lock is lost, and says why it is.
    async fn keep(&self, granted: &Granted) -> String {
        let mut link = self.link.clone();
        tokio::select! {
            why = self.probe(granted) => why,
            () = link.lost(&granted.live) => "the connection ended".to_owned(),
        }
    }

    async fn probe(&self, granted: &Granted) -> String {
        // a name that is too long would not have been granted
        let Ok(name) = short(&self.topology.lock_name(&self.name)) else { return "its name is too long".to_owned() };
        let mut due = interval(PROBE_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let asked = boot_time();
            match timeout(COUNTS_FOR, declare::count(&granted.channel, name.clone())).await {
                Ok(Ok(_)) => granted.lease.extend(asked, granted.lasts),
                Ok(Err(why)) => return explain(&why),
                Err(_) => tracing::warn!(lock = self.name, "the broker does not say whether the lock is still ours"),
            }
        }
    }

    /// Deletes the queue, if it may be ours. A connection that can't tell the broker so is ended: that frees it, too.
    async fn give_back(&self) {
        let Some(live) = self.asked.as_ref().filter(|live| live.connection.is_open()) else { return };
        if let Err(why) = self.delete(live).await {
            tracing::debug!(lock = self.name, %why, "the lock could not be given back; ending its connection");
            live.give_up();
        }
    }

    async fn delete(&self, live: &Live) -> Result<(), Error> {
        let connection = &live.connection;
        let queue = self.topology.lock(&self.name);
        let name = short(&queue.name)?;
        let delete = async |channel: Channel| {
            let deleted = channel.queue_delete(name, QueueDeleteOptions::default());
            declare::answer(connection, &queue.name, "delete a queue", deleted).await
        };
        match connection.on_a_channel(delete).await {
            // somebody else's already
            Ok(_) | Err(Error::Queue { .. }) => Ok(()),
            Err(why) => Err(why),
        }
    }
}
