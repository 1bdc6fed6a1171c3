//! The receiving end: a stream of deliveries, each of which is settled exactly once.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::Properties;
use crate::dead::KEY;

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

    /// Settling still counts. Where it doesn't, the broker delivers again whatever was not settled in time.
    fn is_current(&self) -> bool {
        true
    }
}

/// A message that was handed to a consumer. Dropped unsettled, it is given back.
pub struct Delivery {
    /// The routing key it was published with; for a reply its queue's name. For what went through other queues since,
    /// it is what the header `key` tells.
    pub key: Arc<str>,
    /// The queue that it comes from; empty for a queue that the broker named.
    pub queue: Arc<str>,
    /// What travelled beside the body.
    pub properties: Properties,
    /// The body.
    pub body: Bytes,
    /// How often it was delivered before this; RabbitMQ counts since the queue took it.
    pub attempts: u32,
    settle: Option<(Arc<dyn Settle>, u64)>,
}

impl Delivery {
    /// Makes a delivery whose settlement goes to `settle` under `tag`. A header `key` is the key that counts.
    pub fn new(
        key: Arc<str>,
        properties: Properties,
        body: Bytes,
        attempts: u32,
        settle: Arc<dyn Settle>,
        tag: u64,
    ) -> Self {
        let key = properties.word(KEY).map_or(key, Arc::from);
        Delivery { key, queue: Arc::from(""), properties, body, attempts, settle: Some((settle, tag)) }
    }

    /// The same delivery, from the queue of this name.
    #[must_use]
    pub fn from_queue(mut self, queue: Arc<str>) -> Self {
        self.queue = queue;
        self
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

    /// It was lost with its connection before anybody looked at it, and comes again.
    fn is_stale(&self) -> bool {
        self.settle.as_ref().is_some_and(|(settle, _)| !settle.is_current())
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
            .field("queue", &self.queue)
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
        loop {
            let delivery = self.deliveries.recv().await?;
            if !delivery.is_stale() {
                return Some(delivery);
            }
        }
    }

    /// Waits for deliveries and takes up to `limit` of them; none when the broker was closed.
    pub async fn next_many(&mut self, buffer: &mut Vec<Delivery>, limit: usize) -> usize {
        let before = buffer.len();
        loop {
            if self.deliveries.recv_many(buffer, limit).await == 0 {
                return 0;
            }
            if buffer[before..].iter().any(Delivery::is_stale) {
                let received = buffer.split_off(before);
                buffer.extend(received.into_iter().filter(|delivery| !delivery.is_stale()));
            }
            if buffer.len() > before {
                return buffer.len() - before;
            }
        }
    }
}

/// A consumer, and the end that a broker feeds it through. It holds as many deliveries as the prefetch allows.
pub fn consumer(prefetch: u16) -> (mpsc::Sender<Delivery>, Consumer) {
    let (sender, deliveries) = mpsc::channel(usize::from(prefetch.max(1)));
    (sender, Consumer { deliveries })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Default)]
    struct Connection {
        gone: AtomicBool,
        settled: Mutex<Vec<(u64, Outcome)>>,
    }

    impl Settle for Connection {
        fn settle(&self, tag: u64, outcome: Outcome) {
            self.settled.lock().unwrap().push((tag, outcome));
        }
        fn is_current(&self) -> bool {
            !self.gone.load(Ordering::Relaxed)
        }
    }

    fn delivery(connection: &Arc<Connection>, tag: u64) -> Delivery {
        Delivery::new("a.b".into(), Properties::default(), Bytes::new(), 0, connection.clone(), tag)
    }

    #[tokio::test]
    async fn what_was_lost_with_its_connection_before_anybody_looked_at_it_is_left_out() {
        let (old, new) = (Arc::new(Connection::default()), Arc::new(Connection::default()));
        let (sender, mut consumer) = consumer(10);
        for tag in 1..=3 {
            sender.send(delivery(&old, tag)).await.unwrap();
        }
        assert_eq!(consumer.next().await.unwrap().settle.as_ref().unwrap().1, 1);
        old.gone.store(true, Ordering::Relaxed);
        sender.send(delivery(&new, 7)).await.unwrap();
        sender.send(delivery(&new, 8)).await.unwrap();
        let mut deliveries = vec![consumer.next().await.unwrap()];
        assert_eq!(consumer.next_many(&mut deliveries, 10).await, 1);
        let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.settle.as_ref().unwrap().1).collect();
        assert_eq!(tags, [7, 8]);
    }

    #[test]
    fn a_delivery_is_settled_once_and_given_back_when_dropped() {
        let connection = Arc::new(Connection::default());
        delivery(&connection, 1).acknowledge();
        delivery(&connection, 2).bury();
        drop(delivery(&connection, 3));
        let expected = [(1, Outcome::Acknowledge), (2, Outcome::Bury), (3, Outcome::Requeue)];
        assert_eq!(*connection.settled.lock().unwrap(), expected);
    }
}
