//! The end of the socket that has a broker. Each connection has one task that reads its requests in order; what has to
//! be waited for waits beside it, so that publishing is pipelined.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::Listener;
use super::wire::{Answer, Request, Unreadable, VERSION, frame, frames};
use crate::{Broker, Consumer, Delivery, Error, Message};

/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 64;
/// Consumers of one connection.
const CONSUMERS: usize = 64;
/// Requests of one connection that are not yet answered; further ones wait.
const UNANSWERED: usize = 1_000;
/// Answers that wait to be written; whoever has more to say waits.
const UNWRITTEN: usize = 64;
/// How long the last answers may take to be written.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);
/// The pause after a connection could not be accepted, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Listener {
    /// Serves the broker to whoever connects, until `stop`. What a connection holds is given back when it ends.
    pub async fn serve(self, broker: Arc<dyn Broker>, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut conversations = JoinSet::new();
        while let Ok(seat) = room.clone().acquire_owned().await {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (broker, stop) = (broker.clone(), stop.child_token());
                        conversations.spawn(async move {
                            converse(stream, broker, stop).await;
                            drop(seat);
                        });
                    }
                    Err(why) => {
                        tracing::warn!(%why, "a connection to the socket could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = stop.cancelled() => break,
            }
            while conversations.try_join_next().is_some() {}
        }
        while conversations.join_next().await.is_some() {}
    }
}

type Waiting = Pin<Box<dyn Future<Output = (u64, Result<(), Error>)> + Send>>;

/// Talks with one client until it goes, errs, or we stop.
async fn converse(stream: UnixStream, broker: Arc<dyn Broker>, stop: CancellationToken) {
    let (reader, writer) = stream.into_split();
    let (answers, unwritten) = mpsc::channel(UNWRITTEN);
    let mut writing = tokio::spawn(write(writer, unwritten));
    let (consumers, forwarding) = (Mutex::default(), TaskTracker::new());
    let session = Arc::new(Session { broker, answers, consumers, forwarding, over: stop.clone() });
    tokio::select! {
        () = session.run(BufReader::new(reader)) => {}
        () = stop.cancelled() => {}
        // nobody listens any more
        _ = &mut writing => {}
    }
    session.end().await;
    drop(session);
    if timeout(GOODBYE_WITHIN, &mut writing).await.is_err() {
        writing.abort();
    }
}

async fn write(mut writer: OwnedWriteHalf, mut unwritten: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = unwritten.recv().await {
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// One connection.
struct Session {
    broker: Arc<dyn Broker>,
    answers: mpsc::Sender<Vec<u8>>,
    consumers: Mutex<HashMap<u64, Consuming>>,
    forwarding: TaskTracker,
    over: CancellationToken,
}

/// A consumer of a client, with what the client has not settled.
struct Consuming {
    unsettled: HashMap<u64, Delivery>,
    cancelled: CancellationToken,
}

impl Session {
    async fn run(self: &Arc<Self>, reader: BufReader<tokio::net::unix::OwnedReadHalf>) {
        self.say(&Answer::Welcome { version: VERSION, prefix: self.broker.topology().prefix().to_owned() }, &[]).await;
        let requests = frames::<Request>(reader);
        let mut waiting: FuturesUnordered<Waiting> = FuturesUnordered::new();
        tokio::pin!(requests);
        loop {
            tokio::select! {
                Some((n, done)) = waiting.next() => {
                    self.say(&Answer::Done { n, error: done.err().map(Into::into) }, &[]).await;
                }
                request = requests.next(), if waiting.len() < UNANSWERED => {
                    let refused = match request {
                        Some(Ok((request, body))) => self.handle(request, body, &mut waiting).await.err(),
                        Some(Err(Unreadable::Malformed(why))) => Some(why),
                        Some(Err(Unreadable::Over)) | None => return,
                    };
                    if let Some(why) = refused {
                        return self.say(&Answer::Malformed { why }, &[]).await;
                    }
                }
            }
        }
    }

    /// Does what is asked; what takes time waits beside. Fails when the request makes no sense.
    async fn handle(
        self: &Arc<Self>,
        request: Request,
        body: Bytes,
        waiting: &mut FuturesUnordered<Waiting>,
    ) -> Result<(), String> {
        let broker = self.broker.clone();
        match request {
            Request::Publish { n, to, mandatory, properties } => {
                let message = Message { to: to.address()?, mandatory, properties, body };
                let confirm = broker.publish(message).await;
                waiting.push(Box::pin(async move { (n, confirm.await) }));
            }
            Request::Declare { n, queue } => {
                let queue = queue.queue()?;
                waiting.push(Box::pin(async move { (n, broker.declare(queue).await) }));
            }
            Request::Consume { n, queue, prefetch } => {
                let queue = queue.queue()?;
                let cancelled = self.register(n)?;
                let session = self.clone();
                waiting.push(Box::pin(async move {
                    let consumed = broker.consume(queue, prefetch).await;
                    (n, consumed.map(|consumer| session.begin(n, consumer, cancelled)))
                }));
            }
            Request::Settle { consumer, tag, outcome } => {
                // settled twice, or after the connection that it came from: it has been given back
                let delivery = self.consumers().get_mut(&consumer).and_then(|held| held.unsettled.remove(&tag));
                if let Some(delivery) = delivery {
                    delivery.settle(outcome);
                }
            }
            Request::Cancel { consumer } => {
                if let Some(held) = self.consumers().get(&consumer) {
                    held.cancelled.cancel();
                }
            }
        }
        Ok(())
    }

    fn register(&self, number: u64) -> Result<CancellationToken, String> {
        let mut consumers = self.consumers();
        consumers.retain(|_, held| !held.cancelled.is_cancelled() || !held.unsettled.is_empty());
        if consumers.len() >= CONSUMERS {
            return Err(format!("more than {CONSUMERS} consumers"));
        }
        let cancelled = self.over.child_token();
        let held = Consuming { unsettled: HashMap::new(), cancelled: cancelled.clone() };
        match consumers.insert(number, held) {
            None => Ok(cancelled),
            Some(_) => Err(format!("there is a consumer {number} already")),
        }
    }

    /// Forwards what comes until the client or the broker has enough.
    fn begin(self: &Arc<Self>, number: u64, consumer: Consumer, cancelled: CancellationToken) {
        let session = self.clone();
        self.forwarding.spawn(async move {
            tokio::select! {
                () = session.forward_all(number, consumer, cancelled) => {}
                () = session.over.cancelled() => {}
            }
        });
    }

    async fn forward_all(&self, number: u64, mut consumer: Consumer, cancelled: CancellationToken) {
        let mut tag = 0;
        loop {
            // what came before the client had enough still goes to it: it alone can settle that
            let delivery = tokio::select! {
                biased;
                () = cancelled.cancelled() => return,
                delivery = consumer.next() => delivery,
            };
            let Some(delivery) = delivery else { break };
            tag += 1;
            self.forward(number, tag, delivery).await;
        }
        self.say(&Answer::Ended { consumer: number }, &[]).await;
    }

    async fn forward(&self, consumer: u64, tag: u64, delivery: Delivery) {
        let (key, properties) = (delivery.key.to_string(), delivery.properties.clone());
        let (queue, attempts) = (delivery.queue.to_string(), delivery.attempts);
        let answer = Answer::Delivery { consumer, tag, key, queue, properties, attempts };
        let frame = match frame(&answer, &delivery.body) {
            Ok(frame) => frame,
            Err(why) => {
                tracing::warn!(key = &*delivery.key, %why, "a message can't be handed on, and is buried");
                return delivery.bury();
            }
        };
        // when the connection is over, the delivery is given back as it is dropped
        let Some(()) = self.hold(consumer, tag, delivery) else { return };
        self.answers.send(frame).await.ok();
    }

    fn hold(&self, consumer: u64, tag: u64, delivery: Delivery) -> Option<()> {
        let mut consumers = self.consumers();
        // dropped in here, a delivery would only be given back to the broker: that takes no lock of ours
        consumers.get_mut(&consumer)?.unsettled.insert(tag, delivery);
        Some(())
    }

    async fn say(&self, answer: &Answer, body: &[u8]) {
        if let Ok(frame) = frame(answer, body) {
            // an error means that nobody listens any more
            self.answers.send(frame).await.ok();
        }
    }

    /// Consumes no more, then gives everything back: in this order, or it would be delivered to us once more.
    async fn end(&self) {
        self.over.cancel();
        self.forwarding.close();
        self.forwarding.wait().await;
        let consumers = std::mem::take(&mut *self.consumers());
        drop(consumers);
    }

    fn consumers(&self) -> MutexGuard<'_, HashMap<u64, Consuming>> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
