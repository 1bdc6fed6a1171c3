//! What waits for a broker that is away: on disk, in order, under the same ids, and no more than there is room for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::{
    Broker, Confirm, Consumer, Durability, Embedded, JournalSettings, Lock, Message, Queue, RabbitMq, System, Topology,
};
use bytes::Bytes;
use protocol::{ChatKind, Event, Gap, Pattern, RoutingKey, foreign_uuid};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Outbox;
use crate::testing::TestAmbient;

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A broker that can be away: whoever publishes then waits.
struct Distant {
    inner: Embedded,
    there: AtomicBool,
    came: Notify,
    published: AtomicU32,
}

impl Distant {
    fn new(there: bool) -> Arc<Self> {
        let (inner, published) = (Embedded::new(Topology::default()), AtomicU32::new(0));
        Arc::new(Distant { inner, there: AtomicBool::new(there), came: Notify::new(), published })
    }

    fn comes(&self) {
        self.there.store(true, Ordering::Relaxed);
        self.came.notify_waiters();
    }
}

#[async_trait]
impl Broker for Distant {
    fn topology(&self) -> &Topology {
        self.inner.topology()
    }
    async fn publish(&self, message: Message) -> Confirm {
        loop {
            let came = self.came.notified();
            if self.there.load(Ordering::Relaxed) {
                self.published.fetch_add(1, Ordering::Relaxed);
                return self.inner.publish(message).await;
            }
            came.await;
        }
    }
    async fn declare(&self, queue: Queue) -> Result<(), bus::Error> {
        self.inner.declare(queue).await
    }
    async fn consume(&self, queue: Queue, prefetch: u16) -> Result<Consumer, bus::Error> {
        self.inner.consume(queue, prefetch).await
    }
    async fn depth(&self, queue: &str) -> Result<Option<u64>, bus::Error> {
        self.inner.depth(queue).await
    }
    async fn read_stream(&self, stream: Queue) -> Result<Vec<Bytes>, bus::Error> {
        self.inner.read_stream(stream).await
    }
    async fn lock(&self, name: &str) -> Result<Lock, bus::Error> {
        self.inner.lock(name).await
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

fn event(kind: ChatKind, n: usize) -> Event {
    let id = foreign_uuid(&n.to_string());
    Event::new(RoutingKey::chat("irc", "#a", kind), id, &json!({ "id": id, "n": n, "text": "x".repeat(200) })).unwrap()
}

fn chat(n: usize) -> Event {
    event(ChatKind::Chat, n)
}

fn settings(folder: &TempDir) -> JournalSettings {
    JournalSettings::new(folder.path().join("journal/test"), Durability::Process)
}

fn open(broker: Arc<dyn Broker>, journal: JournalSettings) -> Outbox {
    Outbox::open(broker, TestAmbient::arc(), "irc", "test", Some(journal))
}

/// Ends without a word, as a killed process does: nothing is written then that was not written before.
async fn die(outbox: Outbox, settings: &JournalSettings) {
    outbox.courier.abort();
    outbox.courier.await.unwrap_err();
    drop(outbox.store);
    // another test, which starts a process just now, may hold what is ours for a moment
    for number in 0..4 {
        let Ok(lock) = std::fs::File::open(settings.folder.join(number.to_string()).join("lock")) else { break };
        while lock.try_lock_shared().is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

async fn everything(broker: &dyn Broker) -> Consumer {
    let everything = broker.topology().worker("main", vec![Pattern::parse("#").unwrap()]);
    broker.consume(everything, 1000).await.unwrap()
}

/// The next event's key and body, acknowledged.
async fn next(consumer: &mut Consumer) -> (String, serde_json::Value) {
    let delivery = timeout(PATIENCE, consumer.next()).await.expect("an event").unwrap();
    let body: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
    assert_eq!(delivery.properties.message_id.as_deref(), body["id"].as_str());
    let key = delivery.key.to_string();
    delivery.acknowledge();
    (key, body)
}

async fn expect(consumer: &mut Consumer, numbers: impl IntoIterator<Item = usize>) {
    for n in numbers {
        let (_, body) = next(consumer).await;
        assert_eq!((&body["n"], body["id"].as_str()), (&json!(n), Some(&*foreign_uuid(&n.to_string()).to_string())));
    }
}

#[tokio::test]
async fn what_was_put_in_while_the_broker_was_away_arrives_in_order_with_its_ids() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Distant::new(false));
    let mut consumer = everything(&*broker).await;
    let mut outbox = open(broker.clone(), settings(&folder));
    for n in 0..5_000 {
        outbox.put(chat(n));
    }
    tokio::task::yield_now().await;
    broker.comes();
    expect(&mut consumer, 0..5_000).await;
    outbox.put(chat(5_000));
    expect(&mut consumer, [5_000]).await;
    outbox.close(PATIENCE).await.unwrap();
    assert_eq!(broker.published.load(Ordering::Relaxed), 5_001);
}

#[tokio::test]
async fn what_a_dead_process_left_is_published_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let away = Distant::new(false);
    let mut outbox = open(away, settings(&folder));
    for n in 0..100 {
        outbox.put(chat(n));
    }
    die(outbox, &settings(&folder)).await;
    let broker = Distant::new(true);
    let mut consumer = everything(&*broker).await;
    let mut outbox = open(broker.clone(), settings(&folder));
    outbox.put(chat(100));
    expect(&mut consumer, 0..=100).await;
    outbox.close(PATIENCE).await.unwrap();
    let again = open(broker.clone(), settings(&folder));
    again.close(PATIENCE).await.unwrap();
    assert_eq!(broker.published.load(Ordering::Relaxed), 101);
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_what_the_dead_one_left() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Distant::new(true));
    let mut consumer = everything(&*broker).await;
    let mut first = open(Distant::new(false), settings(&folder));
    let standby = open(broker.clone(), settings(&folder));
    for n in 0..10 {
        first.put(chat(n));
    }
    // as long as it lives, its journal is its own
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(broker.published.load(Ordering::Relaxed), 0);
    first.courier.abort();
    first.courier.await.unwrap_err();
    drop(first.store);
    expect(&mut consumer, 0..10).await;
    standby.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn who_stops_before_the_broker_comes_leaves_it_to_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = open(Distant::new(false), settings(&folder));
    outbox.put(chat(0));
    outbox.close(Duration::from_millis(50)).await.unwrap();
    let broker = Distant::new(true);
    let mut consumer = everything(&*broker).await;
    let outbox = open(broker, settings(&folder));
    expect(&mut consumer, [0]).await;
    outbox.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn when_it_fills_up_joins_are_shed_first_and_a_gap_tells_what_was() {
    let (folder, broker) = (tempfile::tempdir().unwrap(), Distant::new(false));
    let mut consumer = everything(&*broker).await;
    let mut outbox = open(broker.clone(), JournalSettings { limit: 256 * 1024, ..settings(&folder) });
    // of each six events two are joins and leaves
    let kinds = [ChatKind::Chat, ChatKind::Join, ChatKind::Chat, ChatKind::Leave, ChatKind::Action, ChatKind::Chat];
    let put: Vec<ChatKind> = kinds.into_iter().cycle().take(1_800).collect();
    for (n, kind) in put.iter().enumerate() {
        outbox.put(event(*kind, n));
    }
    broker.comes();
    let (mut arrived, mut last) = (BTreeMap::<String, u64>::new(), None);
    let gap = loop {
        let (key, body) = next(&mut consumer).await;
        if key == "gap.irc.test" {
            break serde_json::from_value::<Gap>(body).unwrap();
        }
        let n = body["n"].as_u64().unwrap();
        assert!(last < Some(n), "out of order");
        last = Some(n);
        *arrived.entry(key.rsplit('.').next().unwrap().to_owned()).or_default() += 1;
    };
    for kind in ["chat", "action", "join", "leave"] {
        let put = put.iter().filter(|it| it.word() == kind).count() as u64;
        let shed = gap.shed.get(kind).copied().unwrap_or(0);
        assert_eq!(arrived[kind] + shed, put, "{kind}: {gap:?}");
    }
    // when there was room for what is said, there was none for who came
    let chats_kept = arrived["chat"] as f64 / (arrived["chat"] + gap.shed["chat"]) as f64;
    let joins_kept = arrived["join"] as f64 / (arrived["join"] + gap.shed["join"]) as f64;
    assert!(joins_kept < chats_kept, "{joins_kept} of the joins, {chats_kept} of the chats");
    outbox.put(chat(9_999));
    expect(&mut consumer, [9_999]).await;
    outbox.close(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn without_a_usable_folder_it_is_told_and_events_go_through_memory() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("journal"), "a file where the folder should be").unwrap();
    let broker = Distant::new(true);
    let mut consumer = everything(&*broker).await;
    let mut outbox = open(broker, settings(&folder));
    for n in 0..100 {
        outbox.put(chat(n));
    }
    expect(&mut consumer, 0..100).await;
    outbox.close(PATIENCE).await.unwrap();
}

/// What was said during an outage, into the real RabbitMQ. How long ten minutes of it take, `bench outage` measures.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_confirmed_by_rabbitmq() {
    const BACKLOG: usize = 20_000;
    let server = tokio::task::spawn_blocking(servers::RabbitMq::shared).await.unwrap();
    let topology = Topology::new(&format!("test-outbox-{}", std::process::id()));
    let broker = RabbitMq::connect(server.url(), topology, "pubbot test", Arc::new(System)).await.unwrap();
    let everything = broker.topology().worker("main", vec![Pattern::parse("#").unwrap()]);
    broker.declare(everything.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut away = open(Distant::new(false), settings(&folder));
    for n in 0..BACKLOG {
        away.put(chat(n));
    }
    die(away, &settings(&folder)).await;
    let broker = Arc::new(broker);
    let outbox = open(broker.clone(), settings(&folder));
    assert!(!outbox.store.is_empty());
    outbox.close(Duration::from_secs(300)).await.unwrap();
    let depth = broker.depth(&everything.name).await.unwrap();
    assert!(depth >= Some(BACKLOG as u64), "{depth:?} are in the queue");
}
