//! Two functions for a fuzzer, which takes any bytes to them and waits for a panic: bytes into the line parser, and a script
//! of a conversation into a session with its speaker. Not part of an ordinary build: see `fuzz/` and CONTRIBUTING.md.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bus::{
    Address, Broker, Confirm, Consumer, Delivery, Lease, Lock, Outcome, Properties, Queue, Settle, Topology, consumer,
};
use bytes::Bytes;
use irc_proto::{Command, Message, Response};
use protocol::Ambient;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::irc::handover::Handover;
use crate::irc::hear::batches::Batches;
use crate::irc::hear::framing::{Framing, MAX_LINELEN};
use crate::irc::hear::refusal::refusal;
use crate::irc::hear::tags::Tags;
use crate::irc::session::{Known, NickFence, Session};
use crate::irc::speak::speaker::Speaker;
use crate::irc::voice::{Grant, Permission};
use crate::irc::{
    ANSWERS_WINDOW, Answers, Channel, Flood, Invites, Login, Mechanism, Network, PROTO, Sasl, Server, Sts, Tls,
    UNPROVED,
};
use crate::outbox::Outbox;
use crate::replies::Replies;
use crate::testing::TestAmbient;
use crate::{Expiry, Secret};

/// The tags that we put before a line ourselves are shorter than this.
const MAX_OWN_TAG_BYTES: usize = 64;
/// How long a script lets time pass at most: longer than a server may take to answer anything.
const MOST_WAITED: Duration = Duration::from_secs(180);
/// How many replies wait for a session.
const REPLIES: u64 = 12;

/// Reads lines out of these bytes, whole and in pieces, and asks of each what is asked of every line.
///
/// # Panics
/// When the pieces make a difference, or when there are more messages than lines.
pub fn line(bytes: &[u8]) {
    let whole = messages([bytes]);
    assert!(whole.len() <= bytes.iter().filter(|byte| **byte == b'\n').count(), "more messages than lines");
    // in at most eight, since each is looked through with what is left of those before
    let piece = (bytes.len() / 8).max(1 + usize::from(bytes.first().copied().unwrap_or_default() % 16));
    assert_eq!(messages(bytes.chunks(piece)), whole, "in pieces of {piece} bytes");
    let (mut batches, now) = (Batches::default(), TestAmbient::default().now());
    for message in whole {
        Tags::of(&message, now);
        if let Some(taken) = batches.take(message) {
            refusal(&taken.message, taken.labelled, false);
        }
    }
}

fn messages<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Message> {
    let (mut framing, mut messages) = (Framing::new("fuzz"), Vec::new());
    for piece in pieces {
        framing.feed(piece);
        messages.extend(std::iter::from_fn(|| framing.next_message()));
    }
    messages
}

/// Has a session converse with a server that says these bytes. The first chooses what the network is like. Of the others,
/// four stand for something that happens, since no text has them: `0xff` and the byte behind it let time pass, half a
/// second for each of its counts, 3 min in all; at `0xfe` a read ends; at `0xfd` writing stands still, and goes on at the next; `0xfc`
/// tells the bot to leave. Then the server hangs up. Returns how many of 12 replies were said and proved, or refused.
///
/// # Panics
/// When a line that goes out is no whole line or comes before the welcome, when a reply is acknowledged that was neither
/// said nor refused, or when one is lost.
pub fn session(script: &[u8]) -> u64 {
    thread_local! {
        static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap_or_else(|why| panic!("no runtime: {why}"));
    }
    RUNTIME.with(|runtime| runtime.block_on(converse(script)))
}

async fn converse(script: &[u8]) -> u64 {
    let (first, script) = script.split_first().map_or((0, script), |(first, rest)| (*first, rest));
    let network = Arc::new(network(first));
    let ambient = TestAmbient::arc();
    let wire = Arc::new(Wire::default());
    let desk = Arc::new(Desk::new(wire.clone()));
    let tray = desk.tray.clone();
    let (stop, hang_up, known) = (CancellationToken::new(), CancellationToken::new(), Known::default());
    let permission = Permission::of(Grant { lease: Lease::endless(), number: 1 });
    let mut outbox = Outbox::open(desk.clone(), ambient.clone(), PROTO, &network.name, None);
    let replies = Replies::new(desk.clone(), ambient.clone(), PROTO, &network.name);
    let speaker = Speaker::new(replies, network.clone(), permission.clone(), &known);
    let (orders, receiver) = mpsc::channel(256);
    let writer = Box::new(Pen(wire.clone()));
    let speaking = tokio::spawn(speaker.speak(writer, receiver, hang_up.clone()));

    let fence = if first & 1 == 0 { NickFence::Down { under: 1 } } else { NickFence::Up };
    let handover = Handover::new(Uuid::from_u128(1), Some(Uuid::from_u128(2)), permission);
    let sts = Sts::in_memory(ambient.clone());
    let rest = script.to_vec().into();
    let reader = Script { rest, waited: Duration::ZERO, waiting: None, wire: wire.clone(), stop: stop.clone() };
    let mut session = Session::new(network, ambient, orders, &mut outbox, fence, handover, known)
        .with(Server::plain("irc.fuzz", 6667), sts);
    session.run(Box::new(reader), &stop, &hang_up).await;
    drop(session);
    hang_up.cancel();
    let speaker = speaking.await.unwrap_or_else(|panic| std::panic::resume_unwind(Box::new(panic)));
    speaker.remember().await;
    outbox.close(Duration::from_secs(5)).await.unwrap_or_else(|lost| panic!("{lost} events are left"));
    if wire.was_entered.load(Ordering::Relaxed) {
        assert!(welcomes(script), "it speaks without a welcome");
    }
    let (waiting, settled) = (lock(&tray.waiting).len() as u64, tray.acknowledged.load(Ordering::Relaxed));
    assert_eq!(waiting + settled, REPLIES, "{waiting} replies wait, and {settled} are settled");
    settled
}

/// Whether the server says a welcome.
fn welcomes(script: &[u8]) -> bool {
    let (mut said, mut bytes) = (Vec::new(), script.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            0xff => _ = bytes.next(),
            0xfc.. => {}
            byte => said.push(*byte),
        }
    }
    let is_welcome = |message: &Message| matches!(message.command, Command::Response(Response::RPL_WELCOME, _));
    messages([said.as_slice()]).iter().any(is_welcome)
}

/// A network, as this byte chooses it.
fn network(choice: u8) -> Network {
    let is = |bit: u8| choice & (1 << bit) != 0;
    let sasl = match (is(1), is(2)) {
        (true, _) => Sasl::Required,
        (false, true) => Sasl::Preferred,
        (false, false) => Sasl::Off,
    };
    let login = Login {
        account: Some("pub".to_owned()),
        password: (sasl != Sasl::Off).then(|| Secret::new("sesame")),
        sasl,
        // a fuzzer would wait for SCRAM's rounds all day
        mechanisms: vec![Mechanism::External, Mechanism::Plain],
        has_client_certificate: is(3),
        nickserv_password: is(4).then(|| Secret::new("sesame")),
    };
    let answers = if is(5) { Answers::Best } else { Answers::All };
    let channel = |name: &str, key: Option<&str>| Channel { name: name.to_owned(), key: key.map(Secret::new), answers };
    Network {
        name: "fuzz".to_owned(),
        servers: vec![Server::plain("irc.fuzz", 6667)],
        tls: Tls::default(),
        nick: "pubbot".to_owned(),
        user: "pub".to_owned(),
        realname: "A bot".to_owned(),
        password: None,
        login,
        modes: is(6).then(|| "+i".to_owned()),
        channels: vec![channel("#a", None), channel("#secret", Some("sesame"))],
        invites: if is(6) { Invites::Anywhere } else { Invites::Configured },
        ignore: "*!*@spam.example".parse().into_iter().collect(),
        permits: Default::default(),
        flood: if is(7) { Flood::Learned } else { Flood::Off },
        expiry: Expiry::default(),
        unproved: UNPROVED,
        answers_window: ANSWERS_WINDOW,
        linger: Duration::from_secs(u64::from(is(7))),
        place: 0,
    }
}

/// What the bot writes.
#[derive(Default)]
struct Wire {
    /// No line goes out any more, as with a server that does not read.
    is_stuck: AtomicBool,
    was_stuck: AtomicBool,
    /// A line went out that only those may write who are welcome.
    was_entered: AtomicBool,
    /// What is written, and not yet a line.
    unfinished: Mutex<Vec<u8>>,
    /// How many lines were written that say a reply.
    said: AtomicU64,
}

impl Wire {
    fn write(&self, bytes: &[u8]) {
        let mut unfinished = lock(&self.unfinished);
        unfinished.extend_from_slice(bytes);
        while let Some(end) = unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unfinished.drain(..=end).collect();
            self.check(&line);
        }
    }

    fn check(&self, line: &[u8]) {
        let shown = String::from_utf8_lossy(line);
        let tags =
            if line.starts_with(b"@") { line.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1) } else { 0 };
        let text = &line[tags..];
        assert!(text.ends_with(b"\r\n") && text.len() <= MAX_LINELEN && tags <= MAX_OWN_TAG_BYTES, "{shown:?}");
        let inner = &text[..text.len() - 2];
        assert!(!inner.is_empty() && !inner.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{shown:?}");
        let for_members = [b"JOIN ".as_slice(), b"PRIVMSG "].iter().any(|command| text.starts_with(command));
        self.was_entered.fetch_or(for_members, Ordering::Relaxed);
        if text.starts_with(b"PRIVMSG #a :answer ") {
            self.said.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The bot's writing end.
struct Pen(Arc<Wire>);

impl AsyncWrite for Pen {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // nobody wakes it: its own time-out does
        if self.0.is_stuck.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        self.0.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The server's side of the conversation.
struct Script {
    rest: VecDeque<u8>,
    waited: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    wire: Arc<Wire>,
    stop: CancellationToken,
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            while buffer.remaining() > 0
                && let Some(byte) = self.rest.pop_front_if(|byte| *byte < 0xfc)
            {
                buffer.put_slice(&[byte]);
            }
            if !buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            match self.rest.pop_front() {
                Some(0xff) => {
                    let halves = self.rest.pop_front().unwrap_or_default();
                    let wait = (Duration::from_millis(500) * u32::from(halves)).min(MOST_WAITED - self.waited);
                    self.waited += wait;
                    self.waiting = Some(Box::pin(sleep(wait)));
                }
                Some(0xfd) => {
                    self.wire.is_stuck.fetch_xor(true, Ordering::Relaxed);
                    self.wire.was_stuck.store(true, Ordering::Relaxed);
                }
                Some(0xfc) => self.stop.cancel(),
                Some(_) => {}
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// A broker that takes everything and forgets it, and has some replies to be said.
struct Desk {
    topology: Topology,
    tray: Arc<Tray>,
}

/// The replies: those that are not with the speaker, and what became of the others.
struct Tray {
    wire: Arc<Wire>,
    waiting: Mutex<VecDeque<u64>>,
    /// The other end of the speaker's last consumer.
    feeding: Mutex<Option<mpsc::Sender<Delivery>>>,
    acknowledged: AtomicU64,
    /// How many were refused by the server.
    buried: AtomicU64,
    itself: Weak<Tray>,
}

impl Desk {
    fn new(wire: Arc<Wire>) -> Self {
        let tray = Arc::new_cyclic(|itself| Tray {
            wire,
            waiting: Mutex::new((1..=REPLIES).collect()),
            feeding: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            buried: AtomicU64::new(0),
            itself: itself.clone(),
        });
        Desk { topology: Topology::default(), tray }
    }
}

impl Tray {
    /// Hands out what waits, if somebody consumes.
    fn hand_out(&self) {
        let feeding = lock(&self.feeding);
        let (Some(sender), Some(itself)) = (&*feeding, self.itself.upgrade()) else { return };
        let mut waiting = lock(&self.waiting);
        while let Some(number) = waiting.pop_front() {
            match sender.try_reserve() {
                Ok(place) => place.send(delivery(number, itself.clone())),
                Err(_) => {
                    waiting.push_front(number);
                    return;
                }
            }
        }
    }
}

fn delivery(number: u64, tray: Arc<Tray>) -> Delivery {
    let body = format!(r##"{{"channel":"#a","content":"answer {number}"}}"##);
    let properties =
        Properties { message_id: Some(Uuid::from_u128(number.into()).to_string()), ..Properties::default() };
    Delivery::new(Arc::from("replies"), properties, body.into(), 0, tray, number)
}

impl Settle for Tray {
    fn settle(&self, number: u64, outcome: Outcome) {
        if outcome == Outcome::Requeue {
            lock(&self.waiting).push_back(number);
            return self.hand_out();
        }
        let settled = self.acknowledged.fetch_add(1, Ordering::Relaxed) + 1;
        let (said, buried) = (self.wire.said.load(Ordering::Relaxed), self.buried.load(Ordering::Relaxed));
        // a server that answers what could not reach it yet may have anything for proved
        let lies = self.wire.was_stuck.load(Ordering::Relaxed);
        assert!(lies || settled <= said + buried, "{settled} replies are settled: {said} were said, {buried} refused");
    }
}

#[async_trait]
impl Broker for Desk {
    fn topology(&self) -> &Topology {
        &self.topology
    }

    async fn publish(&self, message: bus::Message) -> Confirm {
        let dead = self.topology.dead().name;
        let is_dead = matches!(&message.to, Address::Queue(queue) if *queue == dead);
        self.tray.buried.fetch_add(is_dead.into(), Ordering::Relaxed);
        Confirm::known(Ok(()))
    }

    fn takes_at_once(&self) -> bool {
        true
    }

    async fn declare(&self, _queue: Queue) -> Result<(), bus::Error> {
        Ok(())
    }

    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Consumer, bus::Error> {
        let (sender, consumer) = consumer(prefetch);
        if queue.name == self.topology.replies_name(PROTO, "fuzz") {
            *lock(&self.tray.feeding) = Some(sender);
            self.tray.hand_out();
        } else {
            // a consumer of nothing, that does not end
            tokio::spawn(async move { sender.closed().await });
        }
        Ok(consumer)
    }

    async fn depth(&self, _queue: &str) -> Result<Option<u64>, bus::Error> {
        Ok(Some(0))
    }

    async fn read_stream(&self, _stream: Queue) -> Result<Vec<Bytes>, bus::Error> {
        Ok(Vec::new())
    }

    async fn lock(&self, _name: &str) -> Result<Lock, bus::Error> {
        std::future::pending().await
    }

    async fn close(&self) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
