//! Reads the last messages of a stream. A stream has no end that can be asked for: what it is said to hold is counted only
//! now and then. So a mark is put at its end, and what is before the mark is read. Marks have no body, and are left out.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::{sleep, timeout};

use super::connection::{ANSWER_WITHIN, short};
use super::declare;
use super::link::Live;
use super::properties;
use crate::{Address, Argument, Error, Message, Properties, Queue, STREAM_MESSAGES};

/// The header of a mark, which tells it from others.
const MARK: &str = "mark";
/// The number of a message in its stream, as the broker tells it: the first one has 0.
const OFFSET: &str = "x-stream-offset";
/// RabbitMQ 3.10 that has just started takes a stream for empty at times, and delivers only what comes from then on:
/// seen in 3 of 40 starts, within 0.3 s. So when nothing but the mark comes, it is asked again: so often, each time
/// after so long.
const DOUBTS: u32 = 6;
const DOUBT_FOR: Duration = Duration::from_millis(500);
/// How long the broker may take to say where the stream ends; then it is read from its beginning.
const END_WITHIN: Duration = Duration::from_secs(1);
/// Messages under way at a time.
const PREFETCH: u16 = 500;
/// Messages that are acknowledged together.
const ACK_EVERY: u32 = 100;

/// A mark for the end of a stream.
pub(super) fn mark(stream: &Queue, word: &str) -> Message {
    let properties = Properties { headers: [(MARK.to_owned(), Argument::from(word))].into(), ..Properties::default() };
    Message { to: Address::Queue(stream.name.clone()), mandatory: true, properties, body: Bytes::new() }
}

/// The last [`STREAM_MESSAGES`] that the stream holds before this mark, marks counted.
///
/// # Errors
/// [`Error::Away`] when the connection breaks, [`Error::TimedOut`] when nothing comes for 10 s.
pub(super) async fn read(live: Live, stream: &Queue, mark: &str) -> Result<Vec<Bytes>, Error> {
    let mut doubts = 0;
    loop {
        let contents = read_once(&live, stream, mark).await?;
        if !contents.is_doubtful || doubts == DOUBTS {
            return Ok(contents.bodies);
        }
        doubts += 1;
        sleep(DOUBT_FOR).await;
    }
}

struct Contents {
    bodies: Vec<Bytes>,
    /// Other messages were there before the mark, but none came.
    is_doubtful: bool,
}

async fn read_once(live: &Live, stream: &Queue, mark: &str) -> Result<Contents, Error> {
    let from = match end(live, stream).await? {
        Some(end) => AMQPValue::LongLongInt((end - STREAM_MESSAGES as i64).max(0)),
        None => AMQPValue::LongString("first".into()),
    };
    let read = async |channel: Channel| until(live, consume(live, &channel, stream, from).await?, mark).await;
    live.connection.on_a_channel(read).await
}

/// The number of a message close to the end: the first of the last chunk.
async fn end(live: &Live, stream: &Queue) -> Result<Option<i64>, Error> {
    let read = async |channel: Channel| {
        let mut deliveries = consume(live, &channel, stream, AMQPValue::LongString("last".into())).await?;
        Ok(timeout(END_WITHIN, deliveries.next()).await.ok().flatten())
    };
    let last = live.connection.on_a_channel(read).await?.transpose().map_err(|why| live.connection.away(&why))?;
    Ok(last.and_then(|last| properties::ours(&last.properties).number(OFFSET)))
}

async fn consume(live: &Live, channel: &Channel, stream: &Queue, from: AMQPValue) -> Result<Consumer, Error> {
    let connection = &live.connection;
    let qos = channel.basic_qos(PREFETCH, BasicQosOptions { global: false });
    connection.answer("limit the prefetch", qos).await?;
    let mut arguments = FieldTable::default();
    arguments.insert(OFFSET.into(), from);
    let name = short(&stream.name)?;
    let consume = channel.basic_consume(name, ShortString::default(), BasicConsumeOptions::default(), arguments);
    declare::answer(connection, &stream.name, "begin to deliver", consume).await
}

async fn until(live: &Live, mut deliveries: Consumer, mark: &str) -> Result<Contents, Error> {
    let (mut bodies, mut received) = (Vec::new(), 0);
    loop {
        let late = |_| Error::TimedOut { what: "hand out a stream", after: ANSWER_WITHIN };
        let next = timeout(ANSWER_WITHIN, deliveries.next()).await.map_err(late)?;
        let ended = || live.connection.gone("it ended the consumer of a stream");
        let delivery = next.ok_or_else(ended)?.map_err(|why| live.connection.away(&why))?;
        received += 1;
        if received % ACK_EVERY == 0 {
            let acked = delivery.acker.ack(BasicAckOptions { multiple: true });
            live.connection.answer("take acknowledgements", acked).await?;
        }
        let properties = properties::ours(&delivery.properties);
        match properties.word(MARK) {
            Some(word) if word == mark => {
                let is_doubtful = received == 1 && properties.number(OFFSET) != Some(0);
                return Ok(Contents { bodies, is_doubtful });
            }
            Some(_) => {}
            None => bodies.push(delivery.data.into()),
        }
    }
}
