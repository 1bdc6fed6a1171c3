//! An embedded broker on which what is to be tried again waits until somebody asks for it: a test doesn't wait for minutes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bus::{Address, Broker, Confirm, Consumer, Embedded, Error, Lock, Message, Queue, Topology};
use bytes::Bytes;

/// The broker, and what waits.
pub(super) struct Retries {
    broker: Embedded,
    waiting: Mutex<VecDeque<Message>>,
}

impl Retries {
    pub(super) fn on(broker: Embedded) -> Self {
        Retries { broker, waiting: Mutex::default() }
    }

    /// Takes out what has waited longest, on its way to its queue.
    pub(super) fn take(&self) -> Option<Message> {
        self.waiting().pop_front()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Message>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Broker for Retries {
    fn topology(&self) -> &Topology {
        self.broker.topology()
    }

    async fn publish(&self, message: Message) -> Confirm {
        match message.to {
            Address::Later { queue, .. } => {
                self.waiting().push_back(Message { to: Address::Queue(queue), ..message });
                Confirm::known(Ok(()))
            }
            _ => self.broker.publish(message).await,
        }
    }

    async fn declare(&self, queue: Queue) -> Result<(), Error> {
        self.broker.declare(queue).await
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Consumer, Error> {
        self.broker.consume(queue, prefetch).await
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>, Error> {
        self.broker.depth(queue).await
    }

    async fn read_stream(&self, stream: Queue) -> Result<Vec<Bytes>, Error> {
        self.broker.read_stream(stream).await
    }

    async fn lock(&self, name: &str) -> Result<Lock, Error> {
        self.broker.lock(name).await
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}
