//! A test's own way to the broker, beside the bot: what is published, how much waits in a queue.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Broker, Delivery, Message, RabbitMq, System, Topology};
use bytes::Bytes;
use protocol::{Event, RoutingKey};

use crate::world::{Kind, World};

/// Dead letters that are looked at at a time.
const PREFETCH: u16 = 1_000;

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

    /// Publishes an event with this body as it is, and waits for the confirm.
    pub fn publish(&self, key: &str, id: Option<&str>, body: &[u8]) {
        let event =
            Event { key: RoutingKey::parse(key).unwrap(), id: Default::default(), body: Bytes::copy_from_slice(body) };
        let mut message = Message::event(event, "test", None);
        message.properties.message_id = id.map(str::to_owned);
        self.runtime.block_on(async { self.broker.publish(message).await.await }).unwrap();
    }

    /// Collects the dead letters, those there are and those to come; they come back when it is dropped.
    pub fn dead_letters(&self) -> DeadLetters {
        let letters = Arc::new(Mutex::new(Vec::new()));
        let queue = self.broker.topology().dead();
        let mut dead = self.runtime.block_on(self.broker.consume(queue, PREFETCH)).unwrap();
        let collected = letters.clone();
        let collecting = self.runtime.spawn(async move {
            while let Some(letter) = dead.next().await {
                collected.lock().unwrap().push(letter);
            }
        });
        DeadLetters { letters, collecting }
    }
}

/// Dead letters, unsettled.
pub struct DeadLetters {
    letters: Arc<Mutex<Vec<Delivery>>>,
    collecting: tokio::task::JoinHandle<()>,
}

impl DeadLetters {
    pub fn count(&self) -> usize {
        self.letters.lock().unwrap().len()
    }

    /// The bodies, as text.
    pub fn bodies(&self) -> Vec<String> {
        let letters = self.letters.lock().unwrap();
        letters.iter().map(|letter| String::from_utf8_lossy(&letter.body).into_owned()).collect()
    }

    /// The values of a header, where it is a text.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let letters = self.letters.lock().unwrap();
        letters.iter().filter_map(|letter| letter.properties.word(name).map(str::to_owned)).collect()
    }
}

impl Drop for DeadLetters {
    fn drop(&mut self) {
        self.collecting.abort();
    }
}

/// The broker of such a bot, seen from outside of it.
pub async fn connect(kind: Kind, url: &str, prefix: &str, socket: &str) -> Arc<dyn Broker> {
    match kind {
        Kind::Up => Arc::new(reach(Path::new(socket)).await),
        Kind::Spread => {
            let topology = Topology::new(prefix);
            Arc::new(RabbitMq::connect(url, topology, "test", Arc::new(System)).await.unwrap())
        }
    }
}

/// `up` opens its socket beside all else that it begins with.
async fn reach(socket: &Path) -> bus::socket::Remote {
    for _ in 0..300 {
        match bus::socket::connect(socket).await {
            Err(bus::Error::NotRunning { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
            connected => return connected.unwrap(),
        }
    }
    panic!("nobody listens on {} after 30 s", socket.display())
}

/// A small runtime for a test's own tasks.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}
