//! The relay that has the IRC connection: lines become events, replies become lines.

use futures_util::StreamExt;
use lapin::PublisherConfirm;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::{Link, Mode, NETWORK, WINDOW, confirmed, properties};
use crate::echo::raw::{Heard, Said, heard, hello, say};
use crate::failure::{Context, Result};

/// As pubbot's for replies.
const PREFETCH: u16 = 64;

/// The body of an event: as long as one of ours.
#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    at: &'a str,
    network: &'a str,
    channel: &'a str,
    session: &'a str,
    seq: u64,
    source: &'a str,
    content: &'a str,
    source_id: Option<&'a str>,
    direct: bool,
    private: bool,
    account: Option<&'a str>,
    msgid: Option<&'a str>,
}

/// What is needed of a reply's body.
#[derive(Deserialize)]
struct Reply<'a> {
    channel: &'a str,
    content: &'a str,
}

/// Runs until something fails.
pub(super) async fn run(link: Link, irc: u16, channels: &str) -> Result<()> {
    let reply_queue = link.topology.replies("irc", NETWORK);
    let mut replies = link.consume(&reply_queue, PREFETCH).await.context("the reply queue")?;
    let (reader, mut writer) = join(irc, channels).await.context("IRC")?.into_split();
    let (window, confirms) = mpsc::channel(WINDOW);
    let say_replies = async {
        while let Some(batch) = replies.next().await {
            let batch: Vec<_> = batch.into_iter().collect::<lapin::Result<_>>().context("a reply")?;
            write(&batch, &mut writer).await?;
            if let Some(last) = batch.last() {
                link.acknowledge(last.delivery_tag).await.context("an acknowledgement")?;
            }
        }
        Ok(())
    };
    let mut events = Events { link: &link, reply_to: reply_queue.name.clone(), number: 0, body: Vec::new() };
    tokio::try_join!(events.publish_all(reader, window), await_all(confirms), say_replies).map(drop)
}

/// Registers and joins. The bench's server says nothing else until then.
async fn join(irc: u16, channels: &str) -> std::io::Result<TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", irc)).await?;
    socket.set_nodelay(true)?;
    socket.write_all(hello("relay").as_bytes()).await?;
    let mut received = Vec::new();
    while socket.read_buf(&mut received).await? > 0 {
        if received.split(|byte| *byte == b'\n').any(|line| matches!(heard(line), Heard::Welcome)) {
            socket.write_all(format!("JOIN {channels}\r\n").as_bytes()).await?;
            return Ok(socket);
        }
    }
    Err(std::io::ErrorKind::UnexpectedEof.into())
}

struct Events<'a> {
    link: &'a Link,
    reply_to: String,
    number: u64,
    body: Vec<u8>,
}

impl Events<'_> {
    async fn publish_all(&mut self, mut reader: OwnedReadHalf, window: mpsc::Sender<PublisherConfirm>) -> Result<()> {
        let mut received = Vec::with_capacity(64 * 1024);
        while reader.read_buf(&mut received).await.context("reading from IRC")? > 0 {
            let mut taken = 0;
            while let Some(length) = received[taken..].iter().position(|byte| *byte == b'\n') {
                if let Heard::Said(said) = heard(&received[taken..taken + length]) {
                    let confirm = self.publish(&said).await?;
                    match self.link.mode {
                        Mode::Serial => confirmed(confirm).await?,
                        Mode::Pipelined => window.send(confirm).await.context("the window")?,
                    }
                }
                taken += length + 1;
            }
            received.drain(..taken);
        }
        Ok(())
    }

    async fn publish(&mut self, said: &Said<'_>) -> Result<PublisherConfirm> {
        let text = |bytes| std::str::from_utf8(bytes).context("a line that is not UTF-8");
        let channel = text(said.channel)?;
        self.number += 1;
        let id = format!("01a0c0de-0000-7000-8000-{:012x}", self.number);
        let event = Event {
            id: &id,
            at: "2026-01-01T00:00:00.000Z",
            network: NETWORK,
            channel,
            session: "01a0c0de-0000-7000-8000-000000000000",
            seq: self.number,
            source: text(said.nick)?,
            content: text(said.text)?,
            source_id: None,
            direct: false,
            private: false,
            account: None,
            msgid: None,
        };
        self.body.clear();
        serde_json::to_writer(&mut self.body, &event).context("an event")?;
        let key = format!("chat.irc.{channel}.chat");
        let properties = properties(&id, &key, "relay").with_reply_to(self.reply_to.as_str().into());
        let sent = self.link.publish(self.link.exchange.clone(), key.into(), &self.body, properties);
        sent.await.context("publishing an event")
    }
}

/// Awaits the confirms in their order.
async fn await_all(mut confirms: mpsc::Receiver<PublisherConfirm>) -> Result<()> {
    while let Some(confirm) = confirms.recv().await {
        confirmed(confirm).await?;
    }
    Ok(())
}

/// Says a batch of replies with one write.
async fn write(batch: &[lapin::message::Delivery], writer: &mut OwnedWriteHalf) -> Result<()> {
    let mut lines = Vec::with_capacity(100 * batch.len());
    for delivery in batch {
        let reply: Reply = serde_json::from_slice(&delivery.data).context("a reply's body")?;
        say(reply.channel.as_bytes(), reply.content.as_bytes(), &mut lines);
    }
    writer.write_all(&lines).await.context("writing to IRC")
}
