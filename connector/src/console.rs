//! A chat of one person at a terminal, without any network: each line typed is an event like one from IRC, and what
//! workers reply is printed.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, Consumer};
use protocol::{
    Action, Ambient, Chat, ChatKind, Event, Head, IrcText, Reply, ReplyKind, Request, RoutingKey, event_id,
};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Expiry;
use crate::address::said_to;
use crate::line_buffer::LineBuffer;
use crate::outbox::Outbox;
use crate::replies::{PREFETCH, Replies, ToSay};

/// The protocol's name in keys and queues.
const PROTO: &str = "console";
/// The network's name in events and replies.
const NETWORK: &str = "console";
/// The only channel.
const CHANNEL: &str = "#console";
/// The bot's nick.
const NICK: &str = "pubbot";
/// Longer lines are left out: 64 KiB.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// How long the events may take to be confirmed once the input has ended.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Why the console's input could not be taken.
#[derive(Debug, Error)]
pub enum Error {
    /// It can't be read.
    #[error("the input can't be read: {0}")]
    Reading(#[from] io::Error),
    /// The broker did not take everything.
    #[error("the broker did not confirm {lines} of the lines within {} s", SETTLE_WITHIN.as_secs())]
    Unconfirmed {
        /// How many.
        lines: usize,
    },
}

/// Opens the console for a person of this nick: what is typed goes through the [`Input`], what is replied through the
/// [`Output`]. Replies wait in their queue from now on, so the output may begin to print whenever it likes.
///
/// # Errors
/// When the broker refuses the reply queues or is away.
pub async fn open(
    broker: Arc<dyn Broker>,
    ambient: Arc<dyn Ambient>,
    user: &str,
) -> Result<(Input, Output), bus::Error> {
    let replies = Replies::new(broker.clone(), ambient.clone(), PROTO, NETWORK);
    replies.declare().await?;
    let outbox = Outbox::open(broker, ambient.clone(), PROTO, NETWORK, None);
    Ok((Input::new(outbox, ambient, user), Output { replies }))
}

/// What is typed, on its way to the broker.
pub struct Input {
    outbox: Outbox,
    ambient: Arc<dyn Ambient>,
    user: String,
    key: RoutingKey,
    session: Uuid,
    seq: u64,
}

impl Input {
    fn new(outbox: Outbox, ambient: Arc<dyn Ambient>, user: &str) -> Self {
        let (session, key) = (event_id(&*ambient), RoutingKey::chat(PROTO, CHANNEL, ChatKind::Chat));
        Input { outbox, ambient, user: user.to_owned(), key, session, seq: 0 }
    }

    /// Reads lines until the input ends; returns when the broker has confirmed all of them.
    ///
    /// # Errors
    /// When reading fails, or the broker does not confirm in time.
    pub async fn read(mut self, mut input: impl AsyncRead + Unpin + Send) -> Result<(), Error> {
        let (mut lines, mut bytes) = (LineBuffer::new(MAX_LINE_BYTES), vec![0; READ_BYTES]);
        loop {
            let length = input.read(&mut bytes).await?;
            lines.feed(&bytes[..length]);
            while let Some(line) = lines.next_line() {
                self.say(line).await;
            }
            if length == 0 {
                break;
            }
        }
        if let Some(line) = lines.last_line() {
            self.say(line).await;
        }
        if lines.discarded() > 0 {
            tracing::warn!(lines = lines.discarded(), "lines of more than {MAX_LINE_BYTES} bytes were left out");
        }
        self.outbox.close(SETTLE_WITHIN).await.map_err(|lines| Error::Unconfirmed { lines })
    }

    async fn say(&mut self, line: &[u8]) {
        let chat = self.chat(&String::from_utf8_lossy(line));
        match Event::new(self.key.clone(), chat.head.id, &chat) {
            Ok(event) => self.outbox.put_patiently(event).await,
            Err(why) => tracing::error!(%why, "an event can't be written"),
        }
    }

    fn chat(&mut self, text: &str) -> Chat {
        let said = said_to(NICK, text, str::eq_ignore_ascii_case);
        let (raw, direct) = (said.map(|_| text.to_owned()), said.is_some());
        Chat { raw, direct, ..Chat::new(self.head(), &self.user, said.unwrap_or(text)) }
    }

    fn head(&mut self) -> Head {
        self.seq += 1;
        Head {
            id: event_id(&*self.ambient),
            at: self.ambient.now(),
            network: NETWORK.to_owned(),
            channel: CHANNEL.to_owned(),
            session: Some(self.session),
            seq: Some(self.seq),
        }
    }
}

/// What is replied, on its way to the terminal.
pub struct Output {
    replies: Replies,
}

impl Output {
    /// Prints replies until `stop`.
    ///
    /// # Errors
    /// When writing fails. What could not be written stays in its queue.
    pub async fn print(
        mut self,
        mut output: impl AsyncWrite + Unpin + Send,
        stop: CancellationToken,
    ) -> Result<(), io::Error> {
        let printing = async {
            let mut consumers = self.replies.consume(false).await;
            loop {
                let mut deliveries = Vec::new();
                next_deliveries(&mut consumers.answers, &mut consumers.notices, &mut deliveries).await;
                let replies: Vec<ToSay> = deliveries.into_iter().filter_map(|it| self.read(it)).collect();
                let text: String = replies.iter().map(|reply| shown(&reply.request)).collect();
                output.write_all(text.as_bytes()).await?;
                output.flush().await?;
                replies.into_iter().for_each(|reply| self.replies.printed(reply));
            }
        };
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            failed = printing => failed,
        }
    }

    fn read(&mut self, delivery: bus::Delivery) -> Option<ToSay> {
        self.replies.read(delivery, Expiry::default().notices)
    }
}

/// Waits for deliveries of either queue, answers first; for ever when the broker was closed.
async fn next_deliveries(answers: &mut Consumer, notices: &mut Consumer, deliveries: &mut Vec<bus::Delivery>) {
    let mut others = Vec::new();
    let limit = usize::from(PREFETCH);
    tokio::select! {
        biased;
        count = answers.next_many(deliveries, limit) => if count > 0 { return },
        count = notices.next_many(&mut others, limit) => if count > 0 {
            deliveries.append(&mut others);
            return;
        },
    }
    std::future::pending().await
}

/// What was asked for as lines of text. There is nothing to do at a terminal: it is told what would be done.
fn shown(request: &Request) -> String {
    match request {
        Request::Say(reply) => printed(reply),
        Request::Do(Action { deed, .. }) => {
            let deed = serde_json::to_string(deed).unwrap_or_default();
            format!("* {NICK} would do {}\n", harmless(&deed))
        }
    }
}

/// A reply as lines of text.
fn printed(reply: &Reply) -> String {
    let mut text = String::new();
    for line in reply.content.0.iter().flat_map(|content| IrcText::lines(content)) {
        let line = harmless(&line);
        let printed = match reply.kind {
            ReplyKind::Chat => writeln!(text, "<{NICK}> {line}"),
            ReplyKind::Action => writeln!(text, "* {NICK} {line}"),
            ReplyKind::Notice => writeln!(text, "-{NICK}- {line}"),
        };
        if let Err(why) = printed {
            tracing::debug!(%why, "a line can't be printed");
        }
    }
    text
}

/// Replaces every control character: an escape sequence in a reply must not reach the terminal.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestAmbient;
    use bus::{Address, Embedded, Message, Properties, Topology};
    use protocol::Pattern;
    use serde_json::{Value, json};
    use tokio::io::{AsyncBufReadExt, BufReader};

    async fn console() -> (Embedded, Input, Output) {
        let broker = Embedded::new(Topology::default());
        let (input, output) = open(Arc::new(broker.clone()), TestAmbient::arc(), "you").await.unwrap();
        (broker, input, output)
    }

    /// The bodies of the events that these bytes make.
    async fn typed(bytes: &[u8]) -> Vec<Value> {
        let (broker, input, _) = console().await;
        let chat = Pattern::parse("chat.console.#console.chat").unwrap();
        let mut tail = broker.consume(broker.topology().tail(vec![chat]), 1000).await.unwrap();
        input.read(bytes).await.unwrap();
        broker.close().await;
        let mut events = Vec::new();
        while let Some(delivery) = tail.next().await {
            events.push(serde_json::from_slice(&delivery.body).unwrap());
            delivery.acknowledge();
        }
        events
    }

    async fn reply(broker: &Embedded, body: Value) {
        let to = Address::Queue(broker.topology().replies_name(PROTO, NETWORK));
        let body = body.to_string().into();
        broker.publish(Message { to, mandatory: true, properties: Properties::default(), body }).await.await.unwrap();
    }

    #[tokio::test]
    async fn each_line_typed_is_an_event_like_one_from_a_channel() {
        let events = typed(b"!ping\n\npubbot: hi\r\ngr\xfc\xdfe").await;
        assert_eq!(events.len(), 3);
        let said: Vec<&Value> = events.iter().map(|event| &event["content"]).collect();
        assert_eq!(said, ["!ping", "hi", "gr\u{fffd}\u{fffd}e"]);
        assert_eq!((&events[1]["direct"], &events[1]["raw"]), (&json!(true), &json!("pubbot: hi")));
        let first = &events[0];
        assert_eq!(
            (&first["source"], &first["channel"], &first["seq"]),
            (&json!("you"), &json!("#console"), &json!(1))
        );
        assert_eq!((&first["network"], &first["direct"]), (&json!("console"), &json!(false)));
    }

    #[tokio::test]
    async fn a_line_without_measure_is_left_out() {
        let mut bytes = vec![b'x'; 200_000];
        bytes.extend_from_slice(b"\nok\n");
        assert_eq!(typed(&bytes).await.len(), 1);
    }

    #[tokio::test]
    async fn replies_are_printed_until_it_is_stopped_also_after_the_input_has_ended() {
        let (broker, input, output) = console().await;
        input.read(b"".as_slice()).await.unwrap();
        let (stop, (ours, theirs)) = (CancellationToken::new(), tokio::io::duplex(4096));
        let printing = tokio::spawn(output.print(theirs, stop.clone()));
        let mut lines = BufReader::new(ours).lines();
        reply(&broker, json!({"channel": "#console", "content": ["one", "two\nthree"]})).await;
        for line in ["<pubbot> one", "<pubbot> two", "<pubbot> three"] {
            assert_eq!(lines.next_line().await.unwrap().unwrap(), line);
        }
        reply(&broker, json!({"channel": "#console", "content": "waves", "kind": "action"})).await;
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "* pubbot waves");
        reply(&broker, json!({"channel": "you", "content": "psst", "kind": "notice"})).await;
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "-pubbot- psst");
        broker.idle().await;
        stop.cancel();
        printing.await.unwrap().unwrap();
        assert_eq!(lines.next_line().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_reply_can_send_no_escape_sequence_to_the_terminal() {
        let bad = json!({"channel": "#console", "content": "\u{1b}[2J\u{7}\u{9b}31mred\u{2}bold\ttab"});
        let reply = Reply::read(bad.to_string().as_bytes(), protocol::ReplyContext::default()).unwrap();
        assert_eq!(printed(&reply), "<pubbot> \u{fffd}[2J\u{fffd}\u{fffd}31mred\u{fffd}bold\ttab\n");
    }
}
