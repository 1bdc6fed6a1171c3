//! Makes what the topology says be there: the exchange of events, the queue of dead letters, a queue with its
//! bindings. All of it may be declared again at any time; what exists already stays as it is.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ErrorKind, ExchangeKind};
use tokio::time::timeout;

use super::connection::{ANSWER_WITHIN, Connection, explain, short};
use super::properties;
use crate::{Error, Queue, Topology};

/// Declares the exchange of events.
pub(super) async fn exchange(connection: &Connection, channel: &Channel, topology: &Topology) -> Result<(), Error> {
    let name = short(&topology.events_exchange())?;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(name, ExchangeKind::Topic, options, FieldTable::default());
    connection.answer("declare an exchange", declared).await
}

/// Declares a queue with everything it needs, and gives back its name, which the broker may have chosen.
///
/// # Errors
/// [`Error::Queue`] when the broker refuses it; the channel is closed then.
pub(super) async fn queue(
    connection: &Connection,
    channel: &Channel,
    topology: &Topology,
    queue: &Queue,
) -> Result<ShortString, Error> {
    exchange(connection, channel, topology).await?;
    declare(connection, channel, &topology.dead()).await?;
    let name = declare(connection, channel, queue).await?;
    for pattern in &queue.bindings {
        let (exchange, pattern) = (short(&topology.events_exchange())?, short(pattern.as_str())?);
        let bound =
            channel.queue_bind(name.clone(), exchange, pattern, QueueBindOptions::default(), FieldTable::default());
        answer(connection, queue, "bind a queue", bound).await?;
    }
    if let Some(fanout) = &queue.fanout {
        bind_fanout(connection, channel, queue, fanout).await?;
    }
    Ok(name)
}

/// A fanout exchange, and the queue that it leads to.
async fn bind_fanout(connection: &Connection, channel: &Channel, queue: &Queue, name: &str) -> Result<(), Error> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(short(name)?, ExchangeKind::Fanout, options, FieldTable::default());
    connection.answer("declare an exchange", declared).await?;
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    let bound = channel.queue_bind(short(&queue.name)?, short(name)?, ShortString::default(), options, arguments);
    answer(connection, queue, "bind a queue", bound).await
}

async fn declare(connection: &Connection, channel: &Channel, queue: &Queue) -> Result<ShortString, Error> {
    let options = QueueDeclareOptions {
        durable: !queue.exclusive,
        exclusive: queue.exclusive,
        // the connection outlives the consumer, with whom the queue is to go
        auto_delete: queue.exclusive,
        ..QueueDeclareOptions::default()
    };
    let arguments = properties::table(queue.arguments.iter().map(|(name, value)| (*name, value)))?;
    let declared = channel.queue_declare(short(&queue.name)?, options, arguments);
    Ok(answer(connection, queue, "declare a queue", declared).await?.name().clone())
}

/// Waits for an answer that may be a refusal of this queue.
pub(super) async fn answer<T>(
    connection: &Connection,
    queue: &Queue,
    what: &'static str,
    request: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Error> {
    match timeout(ANSWER_WITHIN, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) if concerns_channel(&why) => Err(Error::Queue { queue: queue.name.clone(), why: explain(&why) }),
        Ok(Err(why)) => Err(connection.away(&why)),
        Err(_) => Err(Error::TimedOut { what, after: ANSWER_WITHIN }),
    }
}

/// The broker closed the channel over what was asked, not the connection.
fn concerns_channel(why: &lapin::Error) -> bool {
    matches!(why.kind(), ErrorKind::ProtocolError(_)) && why.is_amqp_soft_error()
}
