//! The end of the socket that has no broker: [`Remote`] is one by asking.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::wire::{Answer, Request, Unreadable, VERSION, frame, frames};
use crate::{Broker, Confirm, Consumer, Delivery, Error, Lock, Message, Outcome, Queue, Settle, Topology, consumer};

/// Messages that are not yet confirmed; further ones wait.
const UNCONFIRMED: u32 = 1_000;
/// How long the other end may take for its first word, and for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long confirms may still come when we close.
const FINISH_WITHIN: Duration = Duration::from_secs(3);
/// How long the other end may then take to go.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// The broker of another process on this machine. It does not outlive its connection: when that ends, consumers end,
/// and whoever waits gets [`Error::Away`].
pub struct Remote {
    topology: Topology,
    path: String,
    asking: Arc<Asking>,
    room: Arc<Semaphore>,
}

/// What the tasks of a connection share.
struct Asking {
    requests: mpsc::UnboundedSender<Outgoing>,
    state: Mutex<State>,
    over: CancellationToken,
}

enum Outgoing {
    Frame(Vec<u8>),
    /// Nothing follows.
    End,
}

#[derive(Default)]
struct State {
    /// Why nothing more can be asked.
    over: Option<Error>,
    last_number: u64,
    unanswered: HashMap<u64, Unanswered>,
    consumers: HashMap<u64, Fed>,
}

struct Unanswered {
    asker: Asker,
    _room: Option<OwnedSemaphorePermit>,
}

/// Who waits for an answer.
enum Asker {
    Done(oneshot::Sender<Result<(), Error>>),
    Depth(oneshot::Sender<Result<Option<u64>, Error>>),
}

impl Asker {
    /// Tells how it went. Whoever stopped waiting does not need to know.
    fn done(self, result: Result<(), Error>) {
        match (self, result) {
            (Asker::Done(answer), result) => drop(answer.send(result)),
            (Asker::Depth(answer), Err(why)) => drop(answer.send(Err(why))),
            // no answer to what was asked
            (Asker::Depth(_), Ok(())) => {}
        }
    }
}

/// A consumer here, fed from there.
struct Fed {
    sender: mpsc::Sender<Delivery>,
    settle: Arc<dyn Settle>,
}

/// Connects to the process that listens on `path`.
///
/// # Errors
/// [`Error::NotRunning`] when none does; [`Error::Refused`] when we may not, or it is of another version;
/// [`Error::Away`] when it breaks off or says nothing for 30 s.
pub async fn connect(path: &Path) -> Result<Remote, Error> {
    let shown = path.display().to_string();
    let stream = UnixStream::connect(path).await.map_err(|why| unreachable(&shown, &why))?;
    let (reader, writer) = stream.into_split();
    let mut answers = Box::pin(frames::<Answer>(BufReader::new(reader)));
    let first = timeout(ANSWER_WITHIN, answers.next()).await;
    let prefix = match first {
        Ok(Some(Ok((Answer::Welcome { version: VERSION, prefix }, _)))) => prefix,
        Ok(Some(Ok((Answer::Welcome { version, .. }, _)))) => {
            let why = format!("it speaks version {version} of the socket's protocol, we speak {VERSION}");
            return Err(Error::Refused { broker: shown, why });
        }
        _ => return Err(Error::Away { broker: shown, why: "it does not answer".to_owned() }),
    };
    let (requests, outgoing) = mpsc::unbounded_channel();
    let over = CancellationToken::new();
    let asking = Arc::new(Asking { requests, state: Mutex::default(), over });
    tokio::spawn(write(writer, outgoing));
    tokio::spawn(listen(answers, asking.clone(), shown.clone()));
    let room = Arc::new(Semaphore::new(UNCONFIRMED as usize));
    Ok(Remote { topology: Topology::new(&prefix), path: shown, asking, room })
}

fn unreachable(path: &str, why: &io::Error) -> Error {
    match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NotRunning { path: path.to_owned() },
        _ => Error::Refused { broker: path.to_owned(), why: why.to_string() },
    }
}

async fn write(mut writer: OwnedWriteHalf, mut outgoing: mpsc::UnboundedReceiver<Outgoing>) {
    while let Some(Outgoing::Frame(frame)) = outgoing.recv().await {
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
    // the other end reads all that was written, then answers by closing
    writer.shutdown().await.ok();
}

/// Passes on what the other end says until it goes, or we do.
async fn listen(
    mut answers: impl futures_util::Stream<Item = Result<(Answer, Bytes), Unreadable>> + Unpin,
    asking: Arc<Asking>,
    path: String,
) {
    let mut why = "it closed the connection".to_owned();
    loop {
        let answer = tokio::select! {
            answer = answers.next() => answer,
            () = asking.over.cancelled() => break,
        };
        match answer {
            Some(Ok((Answer::Malformed { why: said }, _))) => {
                why = said;
                break;
            }
            Some(Ok((answer, body))) => asking.hear(answer, body),
            Some(Err(Unreadable::Malformed(said))) => {
                why = said;
                break;
            }
            Some(Err(Unreadable::Over)) | None => break,
        }
    }
    asking.end(Error::Away { broker: path, why });
}

impl Asking {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, answer: Answer, body: Bytes) {
        match answer {
            Answer::Done { n, error } => {
                let unanswered = self.state().unanswered.remove(&n);
                if let Some(Unanswered { asker, _room }) = unanswered {
                    asker.done(error.map_or(Ok(()), |trouble| Err(trouble.into())));
                }
            }
            Answer::Depth { n, messages } => {
                let unanswered = self.state().unanswered.remove(&n);
                if let Some(Unanswered { asker: Asker::Depth(answer), .. }) = unanswered {
                    answer.send(Ok(messages)).ok();
                }
            }
            Answer::Delivery { consumer, tag, key, queue, properties, attempts } => {
                let fed = self.state().consumers.get(&consumer).map(|fed| (fed.sender.clone(), fed.settle.clone()));
                match fed {
                    Some((sender, settle)) => {
                        let delivery =
                            Delivery::new(key.into(), properties, body, attempts, settle, tag).from_queue(queue.into());
                        // one that finds no room is dropped, and so given back
                        sender.try_send(delivery).ok();
                    }
                    None => self.settle(consumer, tag, Outcome::Requeue),
                }
            }
            Answer::Ended { consumer } => drop(self.state().consumers.remove(&consumer)),
            Answer::Welcome { .. } | Answer::Malformed { .. } => {}
        }
    }

    /// Asks something. The number and the way of its answer.
    fn ask(
        &self,
        room: Option<OwnedSemaphorePermit>,
        request: impl FnOnce(u64) -> Request,
        body: &[u8],
    ) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let (answer, answered) = oneshot::channel();
        self.ask_for(Asker::Done(answer), room, request, body)?;
        Ok(answered)
    }

    fn ask_for(
        &self,
        asker: Asker,
        room: Option<OwnedSemaphorePermit>,
        request: impl FnOnce(u64) -> Request,
        body: &[u8],
    ) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(why) = &state.over {
            return Err(why.clone());
        }
        state.last_number += 1;
        let n = state.last_number;
        let frame = frame(&request(n), body)?;
        state.unanswered.insert(n, Unanswered { asker, _room: room });
        // under the lock, so that messages leave in the order of their numbers; an error ends up in `listen`
        self.requests.send(Outgoing::Frame(frame)).ok();
        Ok(())
    }

    fn tell(&self, request: &Request) {
        if let Ok(frame) = frame(request, &[]) {
            // an error means that the connection has ended, which `listen` tells
            self.requests.send(Outgoing::Frame(frame)).ok();
        }
    }

    fn settle(&self, consumer: u64, tag: u64, outcome: Outcome) {
        self.tell(&Request::Settle { consumer, tag, outcome });
    }

    /// Nothing more can be asked: tells everybody why.
    fn end(&self, why: Error) {
        let (unanswered, consumers) = {
            let mut state = self.state();
            state.over.get_or_insert(why.clone());
            (std::mem::take(&mut state.unanswered), std::mem::take(&mut state.consumers))
        };
        self.over.cancel();
        drop(consumers);
        for unanswered in unanswered.into_values() {
            unanswered.asker.done(Err(why.clone()));
        }
        self.requests.send(Outgoing::End).ok();
    }
}

/// The way back for the deliveries of one consumer.
struct WayBack {
    asking: Arc<Asking>,
    consumer: u64,
}

impl Settle for WayBack {
    fn settle(&self, tag: u64, outcome: Outcome) {
        self.asking.settle(self.consumer, tag, outcome);
    }

    fn is_current(&self) -> bool {
        !self.asking.over.is_cancelled()
    }
}

impl Remote {
    async fn answered<T>(&self, answer: oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
        let away = || Error::Away { broker: self.path.clone(), why: "it closed the connection".to_owned() };
        match timeout(ANSWER_WITHIN, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(away())),
            Err(_) => Err(Error::TimedOut { what: "answer", after: ANSWER_WITHIN }),
        }
    }

    /// Has the consumer's feed ready before the other end can send anything.
    fn expect_deliveries(&self, number: u64, prefetch: u16) -> Consumer {
        let (sender, consumer) = consumer(prefetch);
        let settle = Arc::new(WayBack { asking: self.asking.clone(), consumer: number });
        self.asking.state().consumers.insert(number, Fed { sender: sender.clone(), settle });
        let asking = self.asking.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {
                    asking.state().consumers.remove(&number);
                    asking.tell(&Request::Cancel { consumer: number });
                }
                () = asking.over.cancelled() => {}
            }
        });
        consumer
    }
}

#[async_trait]
impl Broker for Remote {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    async fn publish(&self, message: Message) -> Confirm {
        let Ok(room) = self.room.clone().acquire_owned().await else { return Confirm::known(Err(Error::Closed)) };
        let Message { to, mandatory, properties, body } = message;
        let request = |n| Request::Publish { n, to: (&to).into(), mandatory, properties };
        match self.asking.ask(Some(room), request, &body) {
            Ok(answer) => Confirm::awaited(answer),
            Err(why) => Confirm::known(Err(why)),
        }
    }

    async fn declare(&self, queue: Queue) -> Result<(), Error> {
        let answer = self.asking.ask(None, |n| Request::Declare { n, queue: (&queue).into() }, &[])?;
        self.answered(answer).await
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Consumer, Error> {
        let mut consumer = None;
        let request = |n| {
            consumer = Some(n);
            Request::Consume { n, queue: (&queue).into(), prefetch }
        };
        let answer = self.asking.ask(None, request, &[])?;
        let consumer = self.expect_deliveries(consumer.unwrap_or_default(), prefetch);
        self.answered(answer).await?;
        Ok(consumer)
    }

    async fn settled(&self) -> Result<(), Error> {
        // the other end takes requests in their order, and answers this one behind all that was settled
        self.depth("").await.map(drop)
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>, Error> {
        let (answer, answered) = oneshot::channel();
        let request = |n| Request::Depth { n, queue: queue.to_owned() };
        self.asking.ask_for(Asker::Depth(answer), None, request, &[])?;
        self.answered(answered).await
    }

    async fn read_stream(&self, _stream: Queue) -> Result<Vec<Bytes>, Error> {
        Err(Error::NotFromOutside("a stream"))
    }

    async fn lock(&self, _name: &str) -> Result<Lock, Error> {
        Err(Error::NotFromOutside("a lock"))
    }

    async fn close(&self) {
        // all room is free when everything is confirmed
        if timeout(FINISH_WITHIN, self.room.acquire_many(UNCONFIRMED)).await.is_err() {
            tracing::warn!("closing the connection to the socket before everything was confirmed");
        }
        self.asking.state().over.get_or_insert(Error::Closed);
        self.asking.requests.send(Outgoing::End).ok();
        if timeout(GOODBYE_WITHIN, self.asking.over.cancelled()).await.is_err() {
            self.asking.end(Error::Closed);
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // what was asked still leaves; then the other end closes, and with it everything ends
        self.asking.requests.send(Outgoing::End).ok();
    }
}
