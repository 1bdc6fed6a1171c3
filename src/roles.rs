//! The roles that run in one process, side by side: when one of them fails, or the process is told to stop, all stop.
//! `up` has several, over either broker; `connector` and `worker` are one each, over RabbitMQ.

use std::sync::Arc;
use std::time::Duration;

use bus::Broker;
use connector::Secret;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::failure::Failure;
use crate::{broker, notify, signals};

/// How long the roles may take to end once they were told to stop: as long as a worker for what it has begun. With the
/// broker's 5 s for goodbye that makes 30 s.
const STOP_WITHIN: Duration = Duration::from_secs(25);

/// Roles that run, each in a task of its own.
pub struct Roles {
    stop: CancellationToken,
    tasks: JoinSet<Result<(), Failure>>,
    /// Of those that have ended, the first failure.
    result: Result<(), Failure>,
}

impl Roles {
    /// No roles yet; `stop` will end them.
    pub fn new(stop: CancellationToken) -> Self {
        Roles { stop, tasks: JoinSet::new(), result: Ok(()) }
    }

    /// Starts one.
    pub fn start<E: Into<Failure>>(&mut self, role: impl Future<Output = Result<(), E>> + Send + 'static) {
        self.tasks.spawn(async move { role.await.map_err(Into::into) });
    }

    /// Waits until all have ended: by themselves, or because one of them failed or `stop` was cancelled, within 25 s.
    ///
    /// # Errors
    /// The first failure.
    pub async fn run(mut self) -> Result<(), Failure> {
        let stop = self.stop.clone();
        notify::ready();
        tokio::select! {
            biased;
            () = stop.cancelled() => notify::stopping(),
            () = self.end() => return self.result,
        }
        if tokio::time::timeout(STOP_WITHIN, self.end()).await.is_err() {
            tracing::warn!("not everything has stopped within {} s", STOP_WITHIN.as_secs());
        }
        self.result
    }

    /// Waits for all; the first failure tells the others to stop.
    async fn end(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.unwrap_or_else(|why| Err(panicked(&why)));
            if self.result.is_ok() && ended.is_err() {
                self.result = ended;
                self.stop.cancel();
            }
        }
    }
}

/// A process of its own: connects to RabbitMQ under `name`, starts roles there, and runs them until they are stopped.
pub async fn over_rabbitmq(
    config: &Config,
    url: &Secret,
    name: &str,
    start: impl FnOnce(&mut Roles, &Arc<dyn Broker>, &CancellationToken),
) -> Result<(), Failure> {
    let stop = signals::stop()?;
    let connecting = broker::rabbitmq(config, url, name);
    let Some(connected) = stop.run_until_cancelled(connecting).await else { return Ok(()) };
    let broker: Arc<dyn Broker> = Arc::new(connected?);
    let mut roles = Roles::new(stop.clone());
    start(&mut roles, &broker, &stop);
    let result = roles.run().await;
    broker.close().await;
    result
}

fn panicked(why: &JoinError) -> Failure {
    Failure::failed(format!("a part of pubbot has crashed, please report it: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until_stopped(stop: CancellationToken) -> Result<(), Failure> {
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn a_role_that_fails_stops_the_others_and_is_the_result() {
        let stop = CancellationToken::new();
        let mut roles = Roles::new(stop.clone());
        roles.start(until_stopped(stop.clone()));
        roles.start(async { Err(Failure::failed("no")) });
        assert!(matches!(roles.run().await, Err(Failure::Failed(why)) if why == "no"));
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn all_end_well_when_told_to_stop() {
        let stop = CancellationToken::new();
        let mut roles = Roles::new(stop.clone());
        roles.start(until_stopped(stop.clone()));
        stop.cancel();
        assert!(roles.run().await.is_ok());
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let mut roles = Roles::new(CancellationToken::new());
        roles.start(async {
            assert!(std::hint::black_box(false), "ouch");
            Ok::<(), Failure>(())
        });
        assert!(matches!(roles.run().await, Err(Failure::Failed(_))));
    }
}
