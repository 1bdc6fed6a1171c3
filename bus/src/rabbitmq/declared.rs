//! The queues that were declared without a consumer, who would do so again: a broker that lost its data, or whose
//! queue somebody deleted, needs them again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::declare;
use super::link::{Link, Live};
use crate::{Queue, Topology};

/// As many queues as the roles of a process know by name.
#[derive(Clone, Default)]
pub(super) struct Declared(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    queues: Vec<Queue>,
    fanouts: Vec<String>,
}

impl Declared {
    pub(super) fn remember(&self, queue: Queue) {
        let queues = &mut self.lock().queues;
        queues.retain(|known| known.name != queue.name);
        queues.push(queue);
    }

    /// A fanout exchange, to which we publish, while the queues behind it are others' business.
    pub(super) fn remember_fanout(&self, exchange: String) {
        let fanouts = &mut self.lock().fanouts;
        if !fanouts.contains(&exchange) {
            fanouts.push(exchange);
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.lock().queues.iter().any(|known| known.name == name)
    }

    /// Declares all of them again after each loss of the connection.
    pub(super) async fn redeclare(self, mut link: Link, topology: Topology, stop: CancellationToken) {
        let again = async {
            while let Ok(live) = link.live().await {
                let queues = self.lock().queues.clone();
                declare_all(&live, &topology, queues).await;
                link.lost(&live).await;
            }
        };
        tokio::select! {
            () = again => {}
            () = stop.cancelled() => {}
        }
    }

    /// Declares those again that are reached through an exchange of their own: publishing to one that is not there
    /// ends the channel.
    pub(super) async fn redeclare_exchanges(&self, live: &Live, topology: &Topology) {
        let (queues, fanouts) = {
            let known = self.lock();
            let queues: Vec<Queue> = known.queues.iter().filter(|queue| queue.fanout.is_some()).cloned().collect();
            (queues, known.fanouts.clone())
        };
        declare_all(live, topology, queues).await;
        for exchange in fanouts {
            if let Err(why) = declare::fanout_alone(live, &exchange).await {
                tracing::warn!("{why}");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn declare_all(live: &Live, topology: &Topology, queues: Vec<Queue>) {
    for queue in queues {
        if let Err(why) = declare::alone(live.clone(), topology, &queue).await {
            tracing::warn!("{why}");
        }
    }
}
