//! A worker as a whole process of its own: connect, work, stop when told to.

use std::sync::Arc;

use bus::{Broker, RabbitMq, System, Topology};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{RunError, Worker};

impl Worker {
    /// Connects to the RabbitMQ at `url` (`amqp://user:password@host:5672/vhost`) and works until SIGTERM or Ctrl-C;
    /// then finishes what it began, for at most 24 s. What it has to tell is logged with `tracing`.
    ///
    /// # Errors
    /// When the URL, the user or the password are wrong, or the plugins can't be put together. A broker that is away is
    /// waited for.
    pub async fn serve(self, url: &str) -> Result<(), RunError> {
        self.patterns()?;
        let name = format!("pubbot worker {}", self.group());
        let broker = Arc::new(RabbitMq::connect(url, Topology::default(), &name, Arc::new(System)).await?);
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone()));
        let result = self.run(broker.clone(), stop).await;
        broker.close().await;
        result
    }
}

async fn cancel_on_signal(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
}
