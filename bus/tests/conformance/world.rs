//! A broker for a test, and what tests say to it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::socket::Listener;
use bus::{Broker, Consumer, Delivery, Durability, Embedded, Message, Queue, RabbitMq, Topology};
use protocol::{Ambient, Event, Pattern, RoutingKey, Timestamp, foreign_uuid};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Long enough for a broker on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for what should not happen to happen.
pub const A_WHILE: Duration = Duration::from_millis(300);

/// RabbitMQ 3.10 writes down that a quorum queue exists half a second after it was made. A queue that is younger when
/// the server is killed (kill -9) is begun anew: it has no leader, and what was confirmed in it is gone.
pub const QUEUE_IS_ON_DISK: Duration = Duration::from_secs(2);

/// A broker, and what has to live as long as it does.
pub struct World {
    pub broker: Arc<dyn Broker>,
    _folder: Option<TempDir>,
}

pub fn embedded() -> World {
    World { broker: Arc::new(Embedded::new(topology())), _folder: None }
}

/// An embedded broker whose queues are on disk.
pub fn durable() -> World {
    let folder = tempfile::tempdir().unwrap();
    let broker = Embedded::open(folder.path(), topology(), ambient(), Durability::Process).unwrap();
    World { broker: Arc::new(broker), _folder: Some(folder) }
}

/// The same, which a power failure does not harm either.
pub fn power() -> World {
    let folder = tempfile::tempdir().unwrap();
    let broker = Embedded::open(folder.path(), topology(), ambient(), Durability::Power).unwrap();
    World { broker: Arc::new(broker), _folder: Some(folder) }
}

/// An embedded broker that is reached through a socket.
pub async fn remote() -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = Listener::bind(&path).await.unwrap();
    tokio::spawn(listener.serve(Arc::new(Embedded::new(topology())), CancellationToken::new()));
    let broker = Arc::new(bus::socket::connect(&path).await.unwrap());
    World { broker, _folder: Some(folder) }
}

pub async fn rabbitmq() -> World {
    let server = tokio::task::spawn_blocking(servers::RabbitMq::shared).await.unwrap();
    World { broker: Arc::new(connect(server.url()).await), _folder: None }
}

/// Connects to RabbitMQ under names of its own.
pub async fn connect(url: &str) -> RabbitMq {
    RabbitMq::connect(url, topology(), "pubbot test", ambient()).await.unwrap()
}

/// Names that no other test has.
pub fn topology() -> Topology {
    Topology::new(&format!("test-{:016x}", RandomState::new().hash_one(0)))
}

pub fn ambient() -> Arc<dyn Ambient> {
    struct Fixed(AtomicU64);
    impl Ambient for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1_700_000_000_000)
        }
        fn random(&self) -> u64 {
            self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed)
        }
    }
    Arc::new(Fixed(AtomicU64::new(0)))
}

pub fn patterns(patterns: &[&str]) -> Vec<Pattern> {
    patterns.iter().map(|pattern| Pattern::parse(pattern).unwrap()).collect()
}

/// The event number `n` with this key.
pub fn event(key: &str, n: usize) -> Message {
    let id = foreign_uuid(&format!("{key} {n}"));
    let event = Event::new(RoutingKey::parse(key).unwrap(), id, &serde_json::json!({ "id": id, "n": n })).unwrap();
    Message::event(event, "test", None)
}

/// The number of an event.
pub fn number(delivery: &Delivery) -> usize {
    let body: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
    usize::try_from(body["n"].as_u64().unwrap()).unwrap()
}

/// Publishes, and waits until it is safe.
pub async fn publish(broker: &dyn Broker, message: Message) {
    broker.publish(message).await.await.unwrap();
}

/// Publishes the events `numbers` with this key.
pub async fn publish_all(broker: &dyn Broker, key: &str, numbers: std::ops::Range<usize>) {
    let mut confirms = Vec::new();
    for n in numbers {
        confirms.push(broker.publish(event(key, n)).await);
    }
    for confirm in confirms {
        confirm.await.unwrap();
    }
}

pub async fn consume(broker: &dyn Broker, queue: Queue, prefetch: u16) -> Consumer {
    broker.consume(queue, prefetch).await.unwrap()
}

pub async fn next(consumer: &mut Consumer) -> Delivery {
    timeout(PATIENCE, consumer.next()).await.expect("a delivery within 30 s").expect("an open consumer")
}

/// The next events' numbers, acknowledged.
pub async fn numbers(consumer: &mut Consumer, count: usize) -> Vec<usize> {
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        let delivery = next(consumer).await;
        numbers.push(number(&delivery));
        delivery.acknowledge();
    }
    numbers
}

/// Nothing comes for a while.
pub async fn nothing(consumer: &mut Consumer) {
    if let Ok(delivery) = timeout(A_WHILE, consumer.next()).await {
        panic!("it got {delivery:?}");
    }
}
