//! What waits for handlers of batches that fail: a test says when they are tried again, and nothing else waits for that.

use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, Embedded};

use super::NETWORK;
use crate::runner::Runner;

/// How often it is looked whether all else is settled.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The handlers of batches, and what else there is to work on.
pub(super) struct Waiting {
    broker: Embedded,
    runner: Arc<Runner>,
    /// The queues of all else.
    queues: Vec<String>,
}

impl Waiting {
    /// For the worker of this group. From now on its handlers of batches wait until they are told to try again.
    pub(super) fn of(runner: Arc<Runner>, broker: Embedded, group: &str) -> Self {
        runner.takers.iter().for_each(|taker| taker.waits.until_told());
        let topology = broker.topology();
        let queues = vec![
            topology.worker(group, Vec::new()).name,
            topology.suspect(group).name,
            topology.replies_name("irc", NETWORK),
            topology.notices_name("irc", NETWORK),
        ];
        Waiting { broker, runner, queues }
    }

    /// Something waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.runner.takers.iter().any(|taker| taker.waits.is_waiting())
    }

    /// Has them all tried again.
    pub(super) fn end(&self) {
        self.runner.takers.iter().for_each(|taker| taker.waits.end());
    }

    /// Waits until something waits, and everything else is settled.
    pub(super) async fn all_else_settled(&self) {
        if self.runner.takers.is_empty() {
            return std::future::pending().await;
        }
        while !(self.is_waiting() && self.is_all_else_settled()) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn is_all_else_settled(&self) -> bool {
        let is_settled = |queue: &str| self.broker.held(queue) == 0;
        let topology = self.broker.topology();
        let mut takers = self.runner.takers.iter();
        takers.all(|taker| taker.waits.is_waiting() || is_settled(&taker.queue(topology)))
            && self.queues.iter().all(|queue| is_settled(queue))
    }
}
