//! What pubbot is compared with over RabbitMQ: two processes of plain tokio and lapin, as one would write them in an
//! afternoon. One turns IRC lines into events and replies into IRC lines, the other answers `!echo`. The same queues,
//! bodies of the same size, persistent messages, confirms and acknowledgements as ours; and none of our features: no
//! reconnecting, no time-outs, no second look at anything.
//!
//! *Serial* is the usual first version: each confirm is awaited before the next message. *Pipelined* goes on while up to
//! 1,000 confirms are on their way, and acknowledges many deliveries at once.

mod connector;
mod worker;

use bus::{Argument, Queue, Topology};
use clap::{Args, ValueEnum};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind, PublisherConfirm};
use protocol::Pattern;

use crate::failure::{Context, Failure, Result};

/// Confirms on their way in a pipelined relay: as many as pubbot's.
const WINDOW: usize = 1_000;
/// The network's name in bodies and queues.
const NETWORK: &str = "bench";
const PERSISTENT: u8 = 2;

/// Options of the hidden `bench relay`.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(value_enum)]
    role: Role,
    #[arg(long, value_enum)]
    mode: Mode,
    /// The broker's URL.
    #[arg(long)]
    broker: String,
    /// What names on the broker begin with.
    #[arg(long)]
    prefix: String,
    /// The connector's IRC server on 127.0.0.1.
    #[arg(long, default_value_t = 0)]
    irc: u16,
    /// Separated by commas.
    #[arg(long, default_value = "")]
    channels: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Connector,
    Worker,
}

/// How confirms and acknowledgements are handled.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Serial,
    Pipelined,
}

pub(crate) fn run(options: Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let link = Link::open(&options).await.context("RabbitMQ")?;
        match options.role {
            Role::Connector => {
                connector::run(link, options.irc, &options.channels).await.context("the connector relay")
            }
            Role::Worker => worker::run(link).await.context("the worker relay"),
        }
    })
}

/// A connection with a channel to publish on and another to consume on.
struct Link {
    mode: Mode,
    topology: Topology,
    exchange: ShortString,
    publishing: Channel,
    consuming: Channel,
    _connection: Connection,
}

impl Link {
    async fn open(options: &Options) -> lapin::Result<Self> {
        let connection = Connection::connect(&options.broker, ConnectionProperties::default()).await?;
        let (publishing, consuming) = (connection.create_channel().await?, connection.create_channel().await?);
        publishing.confirm_select(ConfirmSelectOptions::default()).await?;
        let topology = Topology::new(&options.prefix);
        let exchange = ShortString::from(topology.events_exchange());
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        publishing.exchange_declare(exchange.clone(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
        Ok(Link { mode: options.mode, topology, exchange, publishing, consuming, _connection: connection })
    }

    /// Declares a queue with the arguments that pubbot's has.
    async fn declare(&self, queue: &Queue) -> lapin::Result<ShortString> {
        let name = ShortString::from(queue.name.as_str());
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.consuming.queue_declare(name.clone(), durable, arguments(queue)).await?;
        for pattern in &queue.bindings {
            let (exchange, key) = (self.exchange.clone(), ShortString::from(pattern.as_str()));
            let (options, none) = (QueueBindOptions::default(), FieldTable::default());
            self.consuming.queue_bind(name.clone(), exchange, key, options, none).await?;
        }
        Ok(name)
    }

    /// Consumes from a queue; what is there comes in batches, of one message where all is serial.
    async fn consume(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> lapin::Result<BoxStream<'static, Vec<lapin::Result<Delivery>>>> {
        let name = self.declare(queue).await?;
        self.consuming.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let deliveries = self.consuming.basic_consume(name, ShortString::default(), options, none).await?;
        let batch = if self.mode == Mode::Serial { 1 } else { usize::from(prefetch) };
        Ok(deliveries.ready_chunks(batch).boxed())
    }

    async fn publish(
        &self,
        exchange: ShortString,
        key: ShortString,
        body: &[u8],
        properties: BasicProperties,
    ) -> lapin::Result<PublisherConfirm> {
        self.publishing.basic_publish(exchange, key, BasicPublishOptions::default(), body, properties).await
    }

    /// Acknowledges a delivery and all before it.
    async fn acknowledge(&self, tag: u64) -> lapin::Result<()> {
        self.consuming.basic_ack(tag, BasicAckOptions { multiple: self.mode == Mode::Pipelined }).await
    }
}

fn arguments(queue: &Queue) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in &queue.arguments {
        let value = match value {
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
            Argument::Word(word) => AMQPValue::LongString(word.as_str().into()),
            Argument::Flag(flag) => AMQPValue::Boolean(*flag),
        };
        table.insert(ShortString::from(*name), value);
    }
    table
}

/// What every message has beside its body, as ours do.
fn properties(id: &str, kind: &str, app_id: &str) -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_timestamp(0)
        .with_message_id(id.into())
        .with_type(kind.into())
        .with_app_id(app_id.into())
}

async fn confirmed(confirm: PublisherConfirm) -> Result<()> {
    match confirm.await.context("a confirm")? {
        Confirmation::Ack(None) => Ok(()),
        other => Err(Failure::new(format!("not confirmed: {other:?}"))),
    }
}

/// The pattern of everything that is said.
fn said() -> Result<Pattern> {
    Pattern::parse("chat.irc.*.chat").context("the pattern of everything said")
}
