//! Makes what the topology says be there: the exchange of events, the queue of dead letters, a queue with its
//! bindings. All of it may be declared again at any time; what exists already stays as it is.

use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ErrorKind, ExchangeKind};
use protocol::Pattern;
use tokio::time::timeout;

use super::connection::{ANSWER_WITHIN, Connection, explain, short};
use super::link::Live;
use super::properties;
use super::refusal;
use crate::{Argument, Error, PARTITION_HEADER, Queue, Topology};

/// AMQP's reply codes (AMQP 0-9-1, section 1.8) for a queue that is not there, and one of another connection.
const NOT_FOUND: u16 = 404;
const RESOURCE_LOCKED: u16 = 405;

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
/// [`Error::OtherArguments`] or [`Error::Queue`] when the broker refuses it; the channel is closed then.
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
        answer(connection, &queue.name, "bind a queue", bound).await?;
    }
    if let Some(fanout) = &queue.fanout {
        self::fanout(connection, channel, fanout).await?;
        bind_fanout(connection, channel, &name, fanout).await?;
    }
    Ok(name)
}

/// Declares a queue on a channel of its own, since a refusal closes the channel.
///
/// # Errors
/// As [`queue`].
pub(super) async fn alone(live: Live, topology: &Topology, queue: &Queue) -> Result<(), Error> {
    let connection = &live.connection;
    let declare = async |channel: Channel| self::queue(connection, &channel, topology, queue).await;
    connection.on_a_channel(declare).await.map(drop)
}

/// Declares a fanout exchange on a channel of its own.
pub(super) async fn fanout_alone(live: &Live, name: &str) -> Result<(), Error> {
    let connection = &live.connection;
    connection.on_a_channel(async |channel| fanout(connection, &channel, name).await).await
}

/// Declares a fanout exchange.
pub(super) async fn fanout(connection: &Connection, channel: &Channel, name: &str) -> Result<(), Error> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(short(name)?, ExchangeKind::Fanout, options, FieldTable::default());
    answer(connection, name, "declare an exchange", declared).await
}

async fn bind_fanout(
    connection: &Connection,
    channel: &Channel,
    queue: &ShortString,
    exchange: &str,
) -> Result<(), Error> {
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    let bound = channel.queue_bind(queue.clone(), short(exchange)?, ShortString::default(), options, arguments);
    answer(connection, queue.as_str(), "bind a queue", bound).await
}

/// Declares what leads the events of an ordered group to its partitions: by the header, and the rest to where
/// [`partition`] binds it.
pub(super) async fn group(
    connection: &Connection,
    channel: &Channel,
    topology: &Topology,
    group: &str,
    patterns: &[Pattern],
) -> Result<(), Error> {
    let (name, rest) = (topology.group_exchange(group), topology.rest_exchange(group));
    fanout(connection, channel, &rest).await?;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let alternate = Argument::Word(rest);
    let arguments = properties::table([("alternate-exchange", &alternate)].into_iter())?;
    let declared = channel.exchange_declare(short(&name)?, ExchangeKind::Headers, options, arguments);
    answer(connection, &name, "declare an exchange", declared).await?;
    for pattern in patterns {
        let (events, pattern) = (short(&topology.events_exchange())?, short(pattern.as_str())?);
        let (options, arguments) = (ExchangeBindOptions::default(), FieldTable::default());
        let bound = channel.exchange_bind(short(&name)?, events, pattern, options, arguments);
        answer(connection, &name, "bind an exchange", bound).await?;
    }
    Ok(())
}

/// Leads the events of a partition to its queue; to the first one also those that have none.
pub(super) async fn partition(
    connection: &Connection,
    channel: &Channel,
    topology: &Topology,
    group: &str,
    partition: u32,
) -> Result<(), Error> {
    let queue = topology.partition(group, partition).name;
    let (all, number) = (Argument::from("all"), Argument::Word(partition.to_string()));
    let arguments = properties::table([("x-match", &all), (PARTITION_HEADER, &number)].into_iter())?;
    let (exchange, options) = (short(&topology.group_exchange(group))?, QueueBindOptions::default());
    let bound = channel.queue_bind(short(&queue)?, exchange, ShortString::default(), options, arguments);
    answer(connection, &queue, "bind a queue", bound).await?;
    if partition == 0 {
        bind_fanout(connection, channel, &short(&queue)?, &topology.rest_exchange(group)).await?;
    }
    Ok(())
}

async fn declare(connection: &Connection, channel: &Channel, queue: &Queue) -> Result<ShortString, Error> {
    let options = QueueDeclareOptions {
        durable: !queue.exclusive,
        exclusive: queue.exclusive,
        // the connection outlives the consumer, with whom the queue is to go
        auto_delete: queue.exclusive,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(short(&queue.name)?, options, arguments(queue)?);
    Ok(answer(connection, &queue.name, "declare a queue", declared).await?.name().clone())
}

fn arguments(queue: &Queue) -> Result<FieldTable, Error> {
    properties::table(queue.arguments.iter().map(|(name, value)| (*name, value)))
}

/// Declares a queue that only this connection may use; false when another one has it. The channel is closed then.
///
/// # Errors
/// As [`queue`].
pub(super) async fn exclusive(connection: &Connection, channel: &Channel, queue: &Queue) -> Result<bool, Error> {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let (name, arguments) = (short(&queue.name)?, arguments(queue)?);
    let declared = async {
        match channel.queue_declare(name, options, arguments).await {
            Err(why) if has_code(&why, RESOURCE_LOCKED) => Ok(false),
            declared => declared.map(|_| true),
        }
    };
    answer(connection, &queue.name, "declare a queue", declared).await
}

/// How many messages are ready in the queue of this name, if it is there; asked on a channel of its own.
///
/// # Errors
/// As [`queue`].
pub(super) async fn depth(live: Live, queue: &str) -> Result<Option<u64>, Error> {
    let Ok(name) = short(queue) else { return Ok(None) };
    let connection = &live.connection;
    let counted = async |channel: Channel| match count(&channel, name).await {
        Err(why) if has_code(&why, NOT_FOUND) => Ok(None),
        counted => counted.map(Some),
    };
    let answered = async |channel| answer(connection, queue, "count the messages of a queue", counted(channel)).await;
    connection.on_a_channel(answered).await
}

/// How many messages are ready in the queue of this name. When there is none, or it is another connection's, the broker
/// closes the channel.
pub(super) async fn count(channel: &Channel, queue: ShortString) -> lapin::Result<u64> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue, options, FieldTable::default()).await?;
    Ok(declared.message_count().into())
}

/// The broker closed the channel, or the connection, with this code.
fn has_code(why: &lapin::Error, code: u16) -> bool {
    matches!(why.kind(), ErrorKind::ProtocolError(error) if error.get_id() == code)
}

/// Waits for an answer that may be a refusal of this queue.
pub(super) async fn answer<T>(
    connection: &Connection,
    queue: &str,
    what: &'static str,
    request: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Error> {
    match timeout(ANSWER_WITHIN, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) if concerns_channel(&why) => Err(refusal::of(queue, explain(&why))),
        Ok(Err(why)) => Err(connection.away(&why)),
        Err(_) => Err(Error::TimedOut { what, after: ANSWER_WITHIN }),
    }
}

/// The broker closed the channel over what was asked, not the connection. A stream whose broker has just started, or
/// whose node is down, is there again later.
fn concerns_channel(why: &lapin::Error) -> bool {
    let ErrorKind::ProtocolError(error) = why.kind() else { return false };
    why.is_amqp_soft_error() && !error.get_message().as_str().contains("is down or inaccessible")
}
