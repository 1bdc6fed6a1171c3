//! Says what is to be said: the session's lines at once, replies as the flood budget allows, answers before notices.
//! It alone writes to the socket. A reply is acknowledged once all its lines are written; what is not, is given back
//! when the connection is lost, and said on the next one.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bus::{Consumer, Delivery};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use protocol::{IrcText, Reply};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Network;
use super::dial::Writer;
use super::flood::Budget;
use super::line::Line;
use super::split::split;
use crate::replies::{Consumers, PREFETCH, Replies, ToSay};

/// How long a write may take until the connection counts as lost.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// A write is not filled with further lines once it has so many bytes.
const WRITE_BYTES: usize = 16 * 1024;

/// What the session tells the speaker.
pub(super) enum Order {
    /// Write this line.
    Write(Line),
    /// Our own address, `nick!user@host`, has so many bytes.
    Identity { bytes: usize },
    /// We are registered: replies may be said.
    Speak,
    /// Write this line as the last one.
    Leave(Line),
}

/// What outlives a connection.
pub(super) struct Speaker {
    replies: Replies,
    network: Arc<Network>,
}

impl Speaker {
    pub fn new(replies: Replies, network: Arc<Network>) -> Self {
        Speaker { replies, network }
    }

    /// Speaks on one connection until the session gives no more orders or hangs up, or a write fails; that is told
    /// through `hang_up`. Gives itself back for the next connection.
    pub async fn speak(mut self, writer: Writer, orders: mpsc::Receiver<Order>, hang_up: CancellationToken) -> Self {
        let mut turn = Turn::new(&mut self.replies, &self.network, writer, orders);
        tokio::select! {
            biased;
            () = hang_up.cancelled() => {}
            outcome = turn.run() => if let Err(why) = outcome {
                tracing::warn!(network = self.network.name, %why, "writing failed");
                hang_up.cancel();
            }
        }
        turn.give_back();
        self
    }
}

/// Speaking on one connection.
struct Turn<'a> {
    replies: &'a mut Replies,
    writer: Writer,
    orders: mpsc::Receiver<Order>,
    /// No more orders will come.
    dismissed: bool,
    /// Consumers on their way from the broker.
    consuming: Option<BoxFuture<'static, Consumers>>,
    answers: Source,
    notices: Source,
    budget: Budget,
    /// The length of our own address, which receivers see before each line.
    identity: usize,
    /// The next write.
    write: Vec<u8>,
    /// Replies whose last line is in the next write.
    written: Vec<ToSay>,
}

/// One of the reply queues.
#[derive(Default)]
struct Source {
    consumer: Option<Consumer>,
    waiting: VecDeque<Delivery>,
    /// The reply whose lines are being said.
    saying: Option<Saying>,
}

struct Saying {
    reply: ToSay,
    lines: VecDeque<Line>,
}

impl<'a> Turn<'a> {
    fn new(replies: &'a mut Replies, network: &'a Network, writer: Writer, orders: mpsc::Receiver<Order>) -> Self {
        Turn {
            replies,
            writer,
            orders,
            dismissed: false,
            consuming: None,
            answers: Source::default(),
            notices: Source::default(),
            budget: Budget::new(network.flood),
            identity: 0,
            write: Vec::with_capacity(WRITE_BYTES + 512),
            written: Vec::new(),
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        while !self.dismissed {
            self.gather();
            if self.write.is_empty() {
                self.wait().await;
            } else {
                self.write_out().await?;
            }
        }
        self.write_out().await?;
        self.writer.shutdown().await
    }

    /// Fills the next write with all that may be said now: orders first, then answers, then notices.
    fn gather(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
        while !self.dismissed && self.write.len() < WRITE_BYTES && self.has_line() && self.budget.take() {
            self.say_line();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Write(line) => self.add(&line),
            Order::Identity { bytes } => self.identity = bytes,
            Order::Speak => self.consuming = Some(self.replies.consume().boxed()),
            Order::Leave(line) => {
                self.add(&line);
                self.dismissed = true;
            }
        }
    }

    fn add(&mut self, line: &Line) {
        self.budget.charge();
        self.write.extend_from_slice(line.bytes());
    }

    fn has_line(&mut self) -> bool {
        self.answers.has_line(self.replies, self.identity) || self.notices.has_line(self.replies, self.identity)
    }

    fn say_line(&mut self) {
        let source = if self.answers.saying.is_some() { &mut self.answers } else { &mut self.notices };
        if let Some(line) = source.next_line() {
            self.write.extend_from_slice(line.bytes());
        }
        self.written.extend(source.take_finished());
    }

    async fn write_out(&mut self) -> io::Result<()> {
        match timeout(WRITE_WITHIN, write_all(&mut self.writer, &self.write)).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        self.write.clear();
        for reply in self.written.drain(..) {
            self.replies.done(reply);
        }
        Ok(())
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) {
        let affordable = if self.has_line() { Some(self.budget.next()) } else { None };
        tokio::select! {
            biased;
            order = self.orders.recv() => match order {
                Some(order) => self.obey(order),
                None => self.dismissed = true,
            },
            consumers = arrival(&mut self.consuming) => {
                self.consuming = None;
                self.answers.consumer = Some(consumers.answers);
                self.notices.consumer = Some(consumers.notices);
            }
            () = self.answers.fill() => {}
            () = self.notices.fill() => {}
            () = moment(affordable) => {}
        }
    }

    /// Gives back what was not written.
    fn give_back(mut self) {
        // first of all no more deliveries, lest what is given back comes again at once
        (self.answers.consumer, self.notices.consumer) = (None, None);
        let begun = [self.answers.saying, self.notices.saying].into_iter().flatten().map(|saying| saying.reply);
        for unsaid in self.written.into_iter().chain(begun) {
            self.replies.give_back(unsaid);
        }
    }
}

impl Source {
    /// Waits for deliveries, unless there are some.
    async fn fill(&mut self) {
        let Some(consumer) = self.consumer.as_mut().filter(|_| self.saying.is_none() && self.waiting.is_empty()) else {
            return pending().await;
        };
        let mut deliveries = Vec::new();
        if consumer.next_many(&mut deliveries, usize::from(PREFETCH)).await == 0 {
            self.consumer = None;
        }
        self.waiting.extend(deliveries);
    }

    /// Whether there is a line to say; reads waiting deliveries until one has lines.
    fn has_line(&mut self, replies: &mut Replies, identity: usize) -> bool {
        while self.saying.is_none() {
            let Some(delivery) = self.waiting.pop_front() else { return false };
            let Some(reply) = replies.read(delivery) else { continue };
            let lines = lines(&reply.reply, identity);
            match lines.is_empty() {
                true => replies.done(reply),
                false => self.saying = Some(Saying { reply, lines }),
            }
        }
        true
    }

    fn next_line(&mut self) -> Option<Line> {
        self.saying.as_mut()?.lines.pop_front()
    }

    /// The reply being said, if its last line was taken.
    fn take_finished(&mut self) -> Option<ToSay> {
        self.saying.take_if(|saying| saying.lines.is_empty()).map(|saying| saying.reply)
    }
}

/// A reply's lines: as many as its text has, and more where one would be too long for its receivers.
fn lines(reply: &Reply, identity: usize) -> VecDeque<Line> {
    let room = Line::room(reply.kind, &reply.channel, identity);
    let mut lines = VecDeque::new();
    for content in &reply.content.0 {
        for text in IrcText::lines(content) {
            let text = without_ctcp(&text);
            lines.extend(split(&text, room).map(|piece| Line::say(reply.kind, &reply.channel, piece)));
        }
    }
    lines
}

/// Only its kind makes a reply an action: its text can't begin or end a CTCP message.
fn without_ctcp(text: &str) -> Cow<'_, str> {
    if text.contains('\x01') { Cow::Owned(text.replace('\x01', "")) } else { Cow::Borrowed(text) }
}

async fn write_all(writer: &mut Writer, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

async fn arrival(consuming: &mut Option<BoxFuture<'static, Consumers>>) -> Consumers {
    match consuming {
        Some(consumers) => consumers.await,
        None => pending().await,
    }
}

async fn moment(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::{ReplyContext, ReplyKind};

    fn reply(kind: ReplyKind, channel: &str, content: &str) -> Reply {
        let body = format!(r#"{{"channel":"{channel}","content":"x","kind":"{}"}}"#, kind.word());
        Reply { content: content.into(), ..Reply::read(body.as_bytes(), ReplyContext::default()).unwrap() }
    }

    proptest! {
        #[test]
        fn whatever_is_said_reaches_its_receivers_whole_and_in_lines_of_512_bytes(
            text in "[a-zäß€🎉 \r\n\0\x01]{0,900}|\\PC{0,400}",
            channel in "#[a-z]{0,60}",
            nick in "[a-z]{1,30}",
            kind in prop_oneof![Just(ReplyKind::Chat), Just(ReplyKind::Action), Just(ReplyKind::Notice)],
        ) {
            let identity = format!("{nick}!~user@host.example");
            let mut said = String::new();
            for line in lines(&reply(kind, &channel, &text), identity.len()) {
                let line = std::str::from_utf8(line.bytes()).expect("cut within a character");
                prop_assert!(":".len() + identity.len() + " ".len() + line.len() <= 512);
                let (head, text) = line.split_once(" :").unwrap();
                let expected = if kind == ReplyKind::Notice { "NOTICE" } else { "PRIVMSG" };
                prop_assert_eq!(head, format!("{expected} {channel}"));
                let text = text.strip_suffix("\r\n").unwrap();
                let text = match kind {
                    ReplyKind::Action => text.strip_prefix("\x01ACTION ").and_then(|it| it.strip_suffix('\x01')).unwrap(),
                    _ => text,
                };
                prop_assert!(!text.is_empty() && !text.contains(['\r', '\n', '\0', '\x01']));
                said.push_str(text);
            }
            prop_assert_eq!(said.replace(' ', ""), text.replace([' ', '\r', '\n', '\0', '\x01'], ""));
        }
    }
}
