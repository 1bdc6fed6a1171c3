//! The relay that answers: events come, `!echo` is answered, everything is acknowledged, in order.

use futures_util::StreamExt;
use lapin::PublisherConfirm;
use lapin::message::Delivery;
use lapin::types::ShortString;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Link, Mode, WINDOW, confirmed, properties, said};
use crate::failure::{Context, Result};

/// As pubbot's for events.
const PREFETCH: u16 = 256;
/// Who answers, in a reply's body.
const HANDLER: &str = "main/echo/echo";

/// What is needed of an event's body.
#[derive(Deserialize)]
struct Event<'a> {
    id: &'a str,
    network: &'a str,
    channel: &'a str,
    content: &'a str,
}

/// The body of a reply: as long as one of ours.
#[derive(Serialize)]
struct Reply<'a> {
    id: &'a str,
    in_reply_to: &'a str,
    network: &'a str,
    channel: &'a str,
    content: &'a str,
    kind: &'a str,
    handler: &'a str,
    expires_at: Option<&'a str>,
    rank: i64,
}

/// A delivery that is to be acknowledged when its reply, if it has one, is confirmed.
type Settling = (u64, Option<PublisherConfirm>);

/// Runs until something fails.
pub(super) async fn run(link: Link) -> Result<()> {
    let queue = link.topology.worker("main", vec![said()?]);
    let mut deliveries = link.consume(&queue, PREFETCH).await.context("the work queue")?;
    eprintln!("the worker is ready");
    let (window, settling) = mpsc::channel(WINDOW);
    let answer_all = async {
        let mut number = 0;
        while let Some(batch) = deliveries.next().await {
            for delivery in batch {
                let delivery = delivery.context("an event")?;
                number += 1;
                let confirm = answer(&link, &delivery, number).await?;
                let settle = (delivery.delivery_tag, confirm);
                match link.mode {
                    Mode::Serial => settle_one(&link, settle).await?,
                    Mode::Pipelined => window.send(settle).await.context("the window")?,
                }
            }
        }
        Ok(())
    };
    tokio::try_join!(answer_all, settle_all(&link, settling)).map(drop)
}

async fn answer(link: &Link, delivery: &Delivery, number: u64) -> Result<Option<PublisherConfirm>> {
    let event: Event = serde_json::from_slice(&delivery.data).context("an event's body")?;
    let Some(content) = event.content.strip_prefix("!echo ") else { return Ok(None) };
    let reply_to = delivery.properties.reply_to().clone().context("an event without a reply queue")?;
    let id = format!("01a0c0de-0000-5000-8000-{number:012x}");
    let reply = Reply {
        id: &id,
        in_reply_to: event.id,
        network: event.network,
        channel: event.channel,
        content,
        kind: "chat",
        handler: HANDLER,
        expires_at: None,
        rank: 0,
    };
    let body = serde_json::to_vec(&reply).context("a reply")?;
    let properties = properties(&id, "reply", HANDLER).with_correlation_id(event.id.into());
    let sent = link.publish(ShortString::default(), reply_to, &body, properties);
    sent.await.map(Some).context("publishing a reply")
}

async fn settle_one(link: &Link, (tag, confirm): Settling) -> Result<()> {
    if let Some(confirm) = confirm {
        confirmed(confirm).await?;
    }
    link.acknowledge(tag).await.context("an acknowledgement")
}

/// Acknowledges what is confirmed, many at once where many are.
async fn settle_all(link: &Link, mut settling: mpsc::Receiver<Settling>) -> Result<()> {
    let mut batch = Vec::new();
    while settling.recv_many(&mut batch, usize::from(PREFETCH)).await > 0 {
        let last = batch.last().map(|(tag, _)| *tag);
        for (_, confirm) in batch.drain(..) {
            if let Some(confirm) = confirm {
                confirmed(confirm).await?;
            }
        }
        if let Some(last) = last {
            link.acknowledge(last).await.context("an acknowledgement")?;
        }
    }
    Ok(())
}
