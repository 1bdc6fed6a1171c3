//! Handlers that take events in batches: what they get and when it counts as done, and what becomes of events that a
//! handler fails on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Address, Broker, Consumer, DeadLetter, Embedded, Message, Properties, Queue, System, Topology};
use protocol::{Pattern, RoutingKey};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::testing::FakeChat;
use worker::{
    Args, Batch, BuildError, Catalogue, Error, LARGEST_BATCH, Plugin, RunError, Spec, State, Worker, command, event,
    trigger,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A database that does what the tests want.
#[derive(Default)]
struct Store {
    /// What was stored, batch by batch.
    batches: Mutex<Vec<Vec<String>>>,
    runs: AtomicUsize,
    locked: AtomicBool,
    /// Each batch takes one, if there is a gate.
    gate: Option<Semaphore>,
    /// It stores nothing else.
    slow: AtomicBool,
}

impl Store {
    fn lines(&self) -> Vec<String> {
        self.batches.lock().unwrap().concat()
    }

    fn sizes(&self) -> Vec<usize> {
        self.batches.lock().unwrap().iter().map(Vec::len).collect()
    }

    fn lock(&self, locked: bool) {
        self.locked.store(locked, Ordering::SeqCst);
    }
}

async fn store_all(batch: Batch, store: State<Arc<Store>>) -> Result<(), Error> {
    store.runs.fetch_add(1, Ordering::SeqCst);
    if let Some(gate) = &store.gate {
        gate.acquire().await.unwrap().forget();
    }
    if store.locked.load(Ordering::SeqCst) {
        return Err(std::io::Error::other("the database is locked").into());
    }
    if store.slow.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    let mut lines = Vec::new();
    for happened in batch {
        let line = match &happened.chat {
            Some(chat) => chat.content.clone(),
            None => happened.event.key.to_string(),
        };
        assert_ne!(line, "boom", "an event that no code expects");
        if line == "bad" {
            return Err(Error::give_up("it can't be stored"));
        }
        lines.push(line);
    }
    store.batches.lock().unwrap().push(lines);
    Ok(())
}

fn everything() -> Spec {
    event("chat.#").any_age().replayed()
}

fn archive(store: &Arc<Store>) -> Plugin {
    Plugin::new("archive").state(store.clone()).in_batches(everything(), store_all)
}

async fn echo(args: Args) -> String {
    args.0
}

/// A broker, workers of the group `main` on it, and what was set aside.
struct World {
    broker: Embedded,
    dead: Consumer,
}

impl World {
    async fn new() -> Self {
        let broker = Embedded::new(Topology::default());
        let dead = broker.consume(broker.topology().dead(), u16::MAX).await.unwrap();
        broker.declare(queue(&broker)).await.unwrap();
        World { broker, dead }
    }

    /// Starts a worker, and the token that stops it.
    async fn start(&self, plugin: Plugin) -> (JoinHandle<Result<(), RunError>>, CancellationToken) {
        let worker = Worker::new("main").plugin(plugin).attach(Arc::new(self.broker.clone())).await.unwrap();
        let stop = CancellationToken::new();
        (tokio::spawn(worker.work(stop.clone())), stop)
    }

    async fn say(&self, id: u128, text: &str) {
        say(&self.broker, id, text).await;
    }

    async fn idle(&self) {
        tokio::time::timeout(PATIENCE, self.broker.idle()).await.expect("all is settled in time");
    }

    fn held(&self) -> usize {
        self.broker.held(&queue(&self.broker).name)
    }

    async fn dead(&mut self) -> DeadLetter {
        let dead = tokio::time::timeout(PATIENCE, self.dead.next()).await.expect("in time").unwrap();
        let letter = DeadLetter::read(&dead);
        dead.acknowledge();
        letter
    }

    /// Takes what is first in a queue and gives it back, so often: as workers do that die of it.
    async fn comes_back(&self, queue: Queue, times: usize) {
        for _ in 0..times {
            let mut consumer = self.broker.consume(queue.clone(), 1).await.unwrap();
            tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap().requeue();
        }
    }
}

/// The queue of the archive in the group `main`.
fn queue(broker: &dyn Broker) -> Queue {
    broker.topology().worker("main-archive", vec![Pattern::parse("chat.#").unwrap()])
}

async fn say(broker: &dyn Broker, id: u128, text: &str) {
    let body = json!({
        "id": Uuid::from_u128(id), "at": "2020-01-01T00:00:00Z", "network": "n", "channel": "#c", "source": "alice",
        "content": text
    });
    publish(broker, "chat.irc.#c.chat", body.to_string()).await;
}

async fn publish(broker: &dyn Broker, key: &str, body: String) {
    let (to, properties) = (Address::Topic(RoutingKey::parse(key).unwrap()), Properties::default());
    broker.publish(Message { to, mandatory: true, properties, body: body.into() }).await.await.unwrap();
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn a_handler_gets_each_event_with_its_key_and_id_and_what_was_said() {
    type Seen = Arc<Mutex<Vec<(String, Uuid, String, Option<String>)>>>;
    async fn look(batch: Batch, seen: State<Seen>) -> Result<(), Error> {
        let happened = |it: &worker::BatchEvent| {
            let body = String::from_utf8_lossy(&it.event.body).into_owned();
            (it.event.key.to_string(), it.event.id, body, it.chat.as_ref().map(|chat| chat.source.clone()))
        };
        seen.lock().unwrap().extend(batch.iter().map(happened));
        Ok(())
    }
    let seen = Seen::default();
    let plugin = Plugin::new("archive").state(seen.clone()).in_batches(event("chat.#"), look);
    let mut chat = FakeChat::with([plugin]).await;
    chat.says("alice", "hi").await.happens("chat.irc.#test.join", json!({"who": 1})).await.hears_nothing();
    chat.happens("music.stop", json!({})).await.hears_nothing();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2, "{seen:?}");
    let (key, id, body, source) = &seen[0];
    assert_eq!((key.as_str(), *id, source.as_deref()), ("chat.irc.#test.chat", Uuid::from_u128(1), Some("alice")));
    assert!(body.contains("\"content\":\"hi\""), "{body}");
    let expected = ("chat.irc.#test.join".to_owned(), Uuid::from_u128(2), "{\"who\":1}".to_owned(), None);
    assert_eq!(seen[1], expected);
}

#[tokio::test]
async fn what_is_there_is_one_batch_of_up_to_1000_in_the_order_of_delivery() {
    let (world, store) = (World::new().await, Arc::new(Store::default()));
    for n in 0..2_500 {
        world.say(n, &n.to_string()).await;
    }
    world.start(archive(&store)).await;
    world.idle().await;
    let expected: Vec<String> = (0..2_500).map(|n| n.to_string()).collect();
    assert_eq!(store.lines(), expected);
    let sizes = store.sizes();
    assert!(sizes.contains(&LARGEST_BATCH) && sizes.iter().all(|size| *size <= LARGEST_BATCH), "{sizes:?}");
}

#[tokio::test]
async fn nothing_waits_for_a_batch_to_fill() {
    let (world, store) = (World::new().await, Arc::new(Store::default()));
    world.start(archive(&store)).await;
    for n in 0..10 {
        world.say(n, "alone").await;
        world.idle().await;
    }
    assert_eq!(store.sizes(), [1; 10]);
}

#[tokio::test]
async fn a_batch_is_acknowledged_when_its_handler_has_returned_and_the_next_is_not_begun_before() {
    let store = Arc::new(Store { gate: Some(Semaphore::new(1)), ..Store::default() });
    let world = World::new().await;
    world.start(archive(&store)).await;
    world.say(0, "first").await;
    world.idle().await;
    world.say(1, "a").await;
    until("the handler runs", || store.runs.load(Ordering::SeqCst) == 2).await;
    world.say(2, "b").await;
    world.say(3, "c").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((world.held(), store.runs.load(Ordering::SeqCst)), (3, 2));
    store.gate.as_ref().unwrap().add_permits(2);
    world.idle().await;
    assert_eq!(store.sizes(), [1, 1, 2], "what came meanwhile is one batch");
}

#[tokio::test]
async fn other_handlers_get_their_own_copy_and_do_not_wait_for_a_batch() {
    let store = Arc::new(Store::default());
    store.lock(true);
    let mut chat = FakeChat::with([archive(&store).on(command("echo"), echo)]).await;
    chat.says("alice", "!echo hi").await.hears("hi").waits();
    chat.says("alice", "!echo again").await.hears("again").waits();
    assert!(store.lines().is_empty());
    store.lock(false);
    chat.recovers().await.hears_nothing();
    assert_eq!(store.lines(), ["!echo hi", "!echo again"]);
}

#[tokio::test]
async fn the_workers_of_a_group_share_the_events_and_another_group_has_a_copy() {
    let (world, store) = (World::new().await, Arc::new(Store::default()));
    world.start(archive(&store)).await;
    world.start(archive(&store)).await;
    let others = Arc::new(Store::default());
    let other = Worker::new("other").plugin(archive(&others)).attach(Arc::new(world.broker.clone())).await.unwrap();
    tokio::spawn(other.work(CancellationToken::new()));
    for n in 0..1_000 {
        world.say(n, &n.to_string()).await;
    }
    world.idle().await;
    for store in [store, others] {
        let (lines, each) = (store.lines(), store.lines().into_iter().collect::<HashSet<_>>());
        assert_eq!((lines.len(), each.len()), (1_000, 1_000));
    }
}

#[tokio::test]
async fn what_is_old_or_replayed_is_skipped_unless_the_handler_asks_for_it() {
    let old = json!({"id": Uuid::from_u128(91), "at": "2020-01-01T00:00:00Z", "network": "n", "channel": "#c",
        "source": "alice", "content": "old"});
    let mut replayed = old.clone();
    replayed["replayed"] = true.into();
    replayed["content"] = "replayed".into();
    let cases = [
        (event("chat.#"), vec![]),
        (event("chat.#").any_age(), vec!["old"]),
        (event("chat.#").replayed(), vec!["replayed"]),
        (everything(), vec!["old", "replayed"]),
    ];
    for (spec, expected) in cases {
        let store = Arc::new(Store::default());
        let plugin = Plugin::new("archive").state(store.clone()).in_batches(spec, store_all);
        let mut chat = FakeChat::with([plugin]).await;
        for body in [&old, &replayed] {
            chat.happens("chat.irc.#c.chat", body).await;
        }
        assert_eq!(store.lines(), expected);
    }
}

#[tokio::test]
async fn malformed_events_are_dead_letters_at_once_and_do_not_stop_the_batch() {
    let (mut world, store) = (World::new().await, Arc::new(Store::default()));
    world.say(1, "before").await;
    publish(&world.broker, "chat.irc.#c.chat", "{title}".to_owned()).await;
    world.say(2, "after").await;
    world.start(archive(&store)).await;
    let letter = world.dead().await;
    assert!(letter.error.as_ref().is_some_and(|why| why.contains("line 1")), "{letter:?}");
    assert_eq!(letter.queue.as_deref(), Some("pubbot.worker.main-archive"));
    world.idle().await;
    assert_eq!(store.lines(), ["before", "after"]);
}

async fn answers() -> &'static str {
    "yes"
}

#[tokio::test]
async fn of_a_malformed_event_there_is_one_dead_letter_however_many_queues_have_it() {
    let (mut world, stores) = (World::new().await, [0, 1].map(|_| Arc::new(Store::default())));
    let [one, two] = &stores;
    let other = Plugin::new("presence").state(two.clone()).in_batches(everything(), store_all);
    let answers = Plugin::new("p").on(trigger("never"), answers);
    let worker = Worker::new("main").plugins([archive(one), other, answers]);
    let attached = worker.attach(Arc::new(world.broker.clone())).await.unwrap();
    tokio::spawn(attached.work(CancellationToken::new()));
    publish(&world.broker, "chat.irc.#c.chat", "{title}".to_owned()).await;
    publish(&world.broker, "chat.irc.#c.topic", "{title}".to_owned()).await;
    world.say(1, "after").await;
    let mut letters = [world.dead().await, world.dead().await].map(|letter| (letter.key, letter.queue));
    letters.sort();
    let letter = |key: &str, queue: &str| (key.to_owned(), Some(queue.to_owned()));
    let expected =
        [letter("chat.irc.#c.chat", "pubbot.worker.main"), letter("chat.irc.#c.topic", "pubbot.worker.main-archive")];
    assert_eq!(letters, expected);
    world.idle().await;
    assert_eq!((one.lines(), two.lines()), (vec!["after".to_owned()], vec!["after".to_owned()]));
    assert_eq!(world.broker.held(&world.broker.topology().dead().name), 0, "no more than these");
}

#[tokio::test]
async fn while_a_handler_fails_its_events_wait_in_order_and_nothing_is_buried() {
    let store = Arc::new(Store::default());
    let mut chat = FakeChat::with([archive(&store)]).await;
    chat.says("alice", "0").await;
    store.lock(true);
    for n in 1..50 {
        chat.says("alice", &n.to_string()).await.waits();
    }
    assert_eq!(store.lines(), ["0"]);
    store.lock(false);
    chat.recovers().await.says("alice", "50").await;
    let expected: Vec<String> = (0..=50).map(|n| n.to_string()).collect();
    assert_eq!(store.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_cancelled_and_its_events_wait() {
    let store = Arc::new(Store::default());
    let spec = everything().timeout(Duration::from_secs(5));
    let plugin = Plugin::new("archive").state(store.clone()).in_batches(spec, store_all);
    let mut chat = FakeChat::with([plugin]).await;
    chat.says("alice", "0").await;
    store.slow.store(true, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    chat.says("alice", "1").await.waits();
    assert_eq!(began.elapsed().as_secs(), 5);
    store.slow.store(false, Ordering::SeqCst);
    chat.recovers().await;
    assert_eq!(store.lines(), ["0", "1"]);
}

#[tokio::test]
async fn of_a_batch_that_gives_up_the_one_event_is_buried_that_gives_up_alone() {
    let (mut world, store) = (World::new().await, Arc::new(Store::default()));
    for (n, text) in ["a", "b", "c", "bad", "d"].into_iter().enumerate() {
        world.say(n as u128, text).await;
    }
    world.start(archive(&store)).await;
    world.idle().await;
    assert_eq!(store.lines(), ["a", "b", "c", "d"]);
    assert_eq!(store.runs.load(Ordering::SeqCst), 6, "the first, the rest at once, and each of those");
    let expected = DeadLetter {
        error: Some("it can't be stored".into()),
        attempts: 1,
        handler: Some("main/archive/store_all".into()),
        key: "chat.irc.#c.chat".into(),
        queue: Some("pubbot.worker.main-archive".into()),
    };
    assert_eq!(world.dead().await, expected);
    assert_eq!(world.broker.held(&world.broker.topology().dead().name), 0, "an innocent was buried");
}

#[tokio::test]
async fn a_dead_letter_that_is_tried_again_comes_to_its_handler_of_batches() {
    async fn moody(batch: Batch, runs: State<AtomicUsize>) -> Result<(), Error> {
        assert_eq!(batch.len(), 1);
        match runs.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Error::give_up("not now")),
            _ => Ok(()),
        }
    }
    let world = World::new().await;
    let plugin = Plugin::new("archive").state(AtomicUsize::new(0)).in_batches(everything(), moody);
    world.start(plugin).await;
    world.say(1, "x").await;
    let World { broker, mut dead } = world;
    let letter = tokio::time::timeout(PATIENCE, dead.next()).await.unwrap().unwrap();
    broker.publish(Message::again(&letter, protocol::Ambient::now(&System)).unwrap()).await.await.unwrap();
    letter.acknowledge();
    tokio::time::timeout(PATIENCE, broker.idle()).await.unwrap();
    assert_eq!(broker.held(&broker.topology().dead().name), 0);
}

#[tokio::test]
async fn an_event_that_makes_it_panic_is_tried_again_alone_and_holds_up_nobody() {
    let store = Arc::new(Store::default());
    let mut chat = FakeChat::with([archive(&store)]).await;
    chat.says("alice", "a").await.says("alice", "boom").await.says("alice", "b").await;
    assert_eq!(store.lines(), ["a", "b"]);
    for _ in 0..4 {
        chat.tries_again().await;
    }
    let why = chat.gives_up().await;
    assert!(why.contains("panicked") && why.contains("boom"), "{why}");
}

#[tokio::test]
async fn a_handler_that_blocks_its_thread_is_abandoned_and_the_events_go_on() {
    async fn block(batch: Batch, store: State<Arc<Store>>) -> Result<(), Error> {
        if batch.iter().any(|it| it.chat.as_ref().is_some_and(|chat| chat.content == "block")) {
            std::thread::sleep(Duration::from_secs(3600));
        }
        store_all(batch, store).await
    }
    let (world, store) = (World::new().await, Arc::new(Store::default()));
    for (n, text) in ["a", "b", "block", "c"].into_iter().enumerate() {
        world.say(n as u128, text).await;
    }
    let spec = everything().timeout(Duration::from_millis(100));
    world.start(Plugin::new("archive").state(store.clone()).in_batches(spec, block)).await;
    until("the others are stored", || store.lines() == ["a", "b", "c"]).await;
    world.idle().await;
}

#[tokio::test]
async fn what_was_delivered_again_and_again_is_a_batch_of_its_own_in_its_place() {
    let (world, store) = (World::new().await, Arc::new(Store::default()));
    world.say(0, "0").await;
    world.comes_back(queue(&world.broker), 3).await;
    for n in 1..=3 {
        world.say(n, &n.to_string()).await;
    }
    world.start(archive(&store)).await;
    world.idle().await;
    assert_eq!(store.lines(), ["0", "1", "2", "3"]);
    assert_eq!(store.sizes()[0], 1);
    let suspects = world.broker.topology().suspect("main").name;
    assert_eq!(world.broker.held(&suspects), 0);
}

#[tokio::test]
async fn what_kills_its_workers_is_a_dead_letter_and_what_only_came_back_often_is_not() {
    let (mut world, store) = (World::new().await, Arc::new(Store::default()));
    let suspects = world.broker.topology().suspect("main");
    world.broker.declare(suspects.clone()).await.unwrap();
    world.say(1, "killer").await;
    let mut events = world.broker.consume(queue(&world.broker), 1).await.unwrap();
    let killer = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    world.broker.publish(Message::moved(&killer, &suspects.name)).await.await.unwrap();
    killer.acknowledge();
    drop(events);
    world.comes_back(suspects, 3).await;
    world.say(2, "innocent").await;
    world.comes_back(queue(&world.broker), 100).await;
    world.start(archive(&store)).await;
    let letter = world.dead().await;
    assert_eq!(letter.error.as_deref(), Some("it killed its worker 3 times"));
    assert_eq!(letter.queue.as_deref(), Some("pubbot.worker.main-archive"));
    until("the innocent is stored", || store.lines() == ["innocent"]).await;
    world.idle().await;
}

#[tokio::test]
async fn while_a_suspect_is_tried_alone_no_batch_runs() {
    /// How many handlers have begun, and how many may end.
    type Runs = Arc<(AtomicUsize, Semaphore)>;
    async fn slowly(runs: State<Runs>) {
        runs.0.0.fetch_add(1, Ordering::SeqCst);
        runs.0.1.acquire().await.unwrap().forget();
    }
    let store = Arc::new(Store { gate: Some(Semaphore::new(1)), ..Store::default() });
    let runs: Runs = Arc::new((AtomicUsize::new(0), Semaphore::new(0)));
    let world = World::new().await;
    let topology = world.broker.topology().clone();
    let main = topology.worker("main", vec![Pattern::parse("a").unwrap()]);
    world.broker.declare(main.clone()).await.unwrap();
    world.start(archive(&store).state(runs.clone()).on(event("a"), slowly)).await;
    world.say(0, "0").await;
    world.idle().await;
    world.say(1, "1").await;
    until("a batch runs", || store.runs.load(Ordering::SeqCst) == 2).await;
    let suspect = Properties {
        headers: [("key".to_owned(), "a".into()), ("queue".to_owned(), (&*main.name).into())].into(),
        ..Properties::default()
    };
    let to = Address::Queue(topology.suspect("main").name);
    let message = Message { to, mandatory: true, properties: suspect, body: r#"{"id": "x"}"#.into() };
    world.broker.publish(message).await.await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(runs.0.load(Ordering::SeqCst), 0, "it waits for the batch");
    store.gate.as_ref().unwrap().add_permits(2);
    until("it runs", || runs.0.load(Ordering::SeqCst) == 1).await;
    world.say(2, "2").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(store.runs.load(Ordering::SeqCst), 2, "the batch waits for it");
    runs.1.add_permits(1);
    world.idle().await;
    assert_eq!(store.lines(), ["0", "1", "2"]);
}

#[tokio::test]
async fn a_suspect_that_fails_and_kills_nobody_waits_with_the_others() {
    let (world, store) = (World::new().await, Arc::new(Store::default()));
    store.lock(true);
    world.say(1, "innocent").await;
    world.comes_back(queue(&world.broker), 8).await;
    world.start(archive(&store).on(command("echo"), echo)).await;
    // alone, then as one of its queue
    until("it is tried", || store.runs.load(Ordering::SeqCst) >= 2).await;
    assert_eq!(world.broker.held(&world.broker.topology().suspect("main").name), 0);
    store.lock(false);
    world.idle().await;
    assert_eq!(store.lines(), ["innocent"]);
}

#[tokio::test]
async fn what_is_delivered_twice_is_passed_on_twice() {
    let store = Arc::new(Store::default());
    let world = World::new().await;
    world.start(archive(&store)).await;
    world.say(1, "x").await;
    world.say(1, "x").await;
    world.idle().await;
    assert_eq!(store.lines(), ["x", "x"]);
}

#[tokio::test]
async fn a_stopping_worker_finishes_the_batch_in_hand_and_gives_back_the_rest() {
    let store = Arc::new(Store { gate: Some(Semaphore::new(1)), ..Store::default() });
    let world = World::new().await;
    let (working, stop) = world.start(archive(&store)).await;
    world.say(0, "first").await;
    world.idle().await;
    world.say(1, "in hand").await;
    until("the handler runs", || store.runs.load(Ordering::SeqCst) == 2).await;
    world.say(2, "behind").await;
    stop.cancel();
    let name = queue(&world.broker).name;
    // at once, for other workers
    let broker = world.broker.clone();
    until("the rest is given back", || {
        futures_util::FutureExt::now_or_never(broker.depth(&name)).unwrap().unwrap() == Some(1)
    })
    .await;
    store.gate.as_ref().unwrap().add_permits(5);
    tokio::time::timeout(PATIENCE, working).await.unwrap().unwrap().unwrap();
    assert_eq!(store.lines(), ["first", "in hand"]);
    assert_eq!(world.held(), 1);
}

#[tokio::test]
async fn a_worker_whose_batch_fails_stops_at_once() {
    let (world, store) = (World::new().await, Arc::new(Store::default()));
    store.lock(true);
    let (working, stop) = world.start(archive(&store)).await;
    world.say(1, "x").await;
    until("it fails", || store.runs.load(Ordering::SeqCst) > 0).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), working).await.unwrap().unwrap().unwrap();
    assert_eq!(world.broker.depth(&queue(&world.broker).name).await.unwrap(), Some(1));
}

#[tokio::test]
async fn people_are_not_told_of_handlers_of_batches() {
    async fn list(catalogue: Arc<Catalogue>) -> String {
        format!("{:?}", catalogue.entries.iter().map(|entry| &entry.name).collect::<Vec<_>>())
    }
    let mut chat = FakeChat::with([archive(&Arc::default()).on(command("list"), list)]).await;
    chat.says("alice", "!list").await.hears(r#"["list"]"#);
}

#[test]
fn the_queues_of_a_worker_are_its_own_and_one_for_each_handler_of_batches() {
    let plugin = archive(&Arc::default()).in_batches(event("music.*").named("music"), store_all);
    let bindings = Worker::new("main").plugin(plugin.on(trigger("hi"), echo)).bindings().unwrap();
    let pattern = |pattern| vec![Pattern::parse(pattern).unwrap()];
    let expected = [
        ("main".to_owned(), pattern("chat.*.*.chat")),
        ("main-archive".to_owned(), pattern("chat.#")),
        ("main-archive-music".to_owned(), pattern("music.*")),
    ];
    assert_eq!(bindings, expected);
}

#[test]
fn handlers_of_batches_that_can_not_be_are_refused_and_named() {
    let refused = |plugin: Plugin| {
        let error: BuildError = Worker::new("main").plugin(plugin).patterns().expect_err("it should be refused");
        error.to_string()
    };
    async fn other(_: Batch) -> Result<(), Error> {
        Ok(())
    }
    let archive = || archive(&Arc::default());
    let twice = refused(archive().in_batches(everything(), other));
    assert!(twice.starts_with("archive/store_all and archive/other take batches from one queue"), "{twice}");
    let same = refused(archive().in_batches(everything().named("store_all"), other));
    assert!(same.starts_with("two handlers are called archive/store_all"), "{same}");
    let command = refused(Plugin::new("p").in_batches(command("x"), other));
    assert_eq!(command, "plugin p, handler x: only an event(…) can be taken in batches");
    let pattern = refused(Plugin::new("p").in_batches(event("chat..x"), other));
    assert!(pattern.contains("\"chat..x\""), "{pattern}");
    let role = refused(Plugin::new("p").in_batches(everything().role("admin"), other));
    assert_eq!(role, "plugin p, handler other: what is taken in batches can't be for the role admin only");
    let state = refused(Plugin::new("p").in_batches(everything(), store_all));
    assert!(state.starts_with("plugin p, handler store_all: it takes a State<"), "{state}");
    let group = refused(Plugin::new("p q").in_batches(everything(), other));
    assert!(group.starts_with("\"main-p q\" is no worker group's name"), "{group}");
}
