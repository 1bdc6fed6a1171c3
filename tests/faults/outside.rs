//! A test's own way to the broker, beside the bot: what is published, how much waits in a queue.

use std::path::Path;
use std::sync::Arc;

use bus::{Broker, Message, RabbitMq, System, Topology};
use bytes::Bytes;
use protocol::{Event, RoutingKey};

use crate::world::{Kind, World};

/// A connection to the broker of a world.
pub struct Outside {
    runtime: tokio::runtime::Runtime,
    broker: Arc<dyn Broker>,
}

impl Outside {
    /// Connects; `up` must run.
    pub fn connect(world: &World) -> Self {
        let runtime = runtime();
        let broker = runtime.block_on(connect(
            world.kind(),
            world.broker_url(),
            world.prefix(),
            &world.path("data/pubbot.sock"),
        ));
        Outside { runtime, broker }
    }

    /// The names on it.
    pub fn topology(&self) -> &Topology {
        self.broker.topology()
    }

    /// Publishes an event with this body as it is, and waits for the confirm.
    pub fn publish(&self, key: &str, id: Option<&str>, body: &[u8]) {
        let event =
            Event { key: RoutingKey::parse(key).unwrap(), id: Default::default(), body: Bytes::copy_from_slice(body) };
        let mut message = Message::event(event, "test", None);
        message.properties.message_id = id.map(str::to_owned);
        self.runtime.block_on(async { self.broker.publish(message).await.await }).unwrap();
    }

    /// How many messages wait in a queue.
    pub fn depth(&self, queue: &str) -> u64 {
        self.runtime.block_on(self.broker.depth(queue)).unwrap().unwrap_or(0)
    }

    /// Takes what is in the queue of dead letters now.
    pub fn dead(&self) -> u64 {
        let queue = self.topology().dead().name;
        self.depth(&queue)
    }
}

/// The broker of such a bot, seen from outside of it.
pub async fn connect(kind: Kind, url: &str, prefix: &str, socket: &str) -> Arc<dyn Broker> {
    match kind {
        Kind::Up => Arc::new(bus::socket::connect(Path::new(socket)).await.unwrap()),
        Kind::Spread => {
            let topology = Topology::new(prefix);
            Arc::new(RabbitMq::connect(url, topology, "test", Arc::new(System)).await.unwrap())
        }
    }
}

/// A small runtime for a test's own tasks.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}
