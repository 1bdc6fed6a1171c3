//! The receiving end: a stream of deliveries, each of which is settled exactly once.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::Properties;

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done with: the broker forgets it.
    Acknowledge,
    /// Given back: the broker delivers it again, to anybody.
    Requeue,
    /// Set aside in the queue of dead letters.
    Bury,
}

/// Takes back what becomes of deliveries; never waits.
pub trait Settle: Send + Sync {
    /// Settles the delivery with this tag. A tag of a connection that is gone settles nothing: it is delivered again.
    fn settle(&self, tag: u64, outcome: Outcome);
}

/// A message that was handed to a consumer. Dropped unsettled, it is given back.
pub struct Delivery {
    /// The routing key it was published with; for a reply its queue's name.
    pub key: Arc<str>,
    /// What travelled beside the body.
    pub properties: Properties,
    /// The body.
    pub body: Bytes,
    /// How often it was delivered before this; RabbitMQ counts since the queue took it.
    pub attempts: u32,
    settle: Option<(Arc<dyn Settle>, u64)>,
}

impl Delivery {
    /// Makes a delivery whose settlement goes to `settle` under `tag`.
    pub fn new(
        key: Arc<str>,
        properties: Properties,
        body: Bytes,
        attempts: u32,
        settle: Arc<dyn Settle>,
        tag: u64,
    ) -> Self {
        Delivery { key, properties, body, attempts, settle: Some((settle, tag)) }
    }

    /// Done with: the broker forgets it.
    pub fn acknowledge(self) {
        self.settle(Outcome::Acknowledge);
    }

    /// Given back: the broker delivers it again, to anybody.
    pub fn requeue(self) {
        self.settle(Outcome::Requeue);
    }

    /// Set aside in the queue of dead letters.
    pub fn bury(self) {
        self.settle(Outcome::Bury);
    }

    /// Settles it.
    pub fn settle(mut self, outcome: Outcome) {
        self.settle_once(outcome);
    }

    fn settle_once(&mut self, outcome: Outcome) {
        if let Some((settle, tag)) = self.settle.take() {
            settle.settle(tag, outcome);
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.settle_once(Outcome::Requeue);
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("key", &self.key)
            .field("properties", &self.properties)
            .field("body", &String::from_utf8_lossy(&self.body))
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// The deliveries of one queue. Dropped, it stops consuming, and what is unsettled is given back.
#[derive(Debug)]
pub struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
}

impl Consumer {
    /// The next delivery; `None` when the broker was closed.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }

    /// Waits for deliveries and takes up to `limit` of them; none when the broker was closed.
    pub async fn next_many(&mut self, buffer: &mut Vec<Delivery>, limit: usize) -> usize {
        self.deliveries.recv_many(buffer, limit).await
    }
}

/// A consumer, and the end that a broker feeds it through. It holds as many deliveries as the prefetch allows.
pub fn consumer(prefetch: u16) -> (mpsc::Sender<Delivery>, Consumer) {
    let (sender, deliveries) = mpsc::channel(usize::from(prefetch.max(1)));
    (sender, Consumer { deliveries })
}
