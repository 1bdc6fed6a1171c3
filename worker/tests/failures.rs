//! What happens when a handler fails, when an event makes no sense, comes twice or late, and when much is said.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bus::{Address, Broker, Consumer, DeadLetter, Delivery, Embedded, Message, Properties, System, Topology};
use bytes::Bytes;
use protocol::{Ambient, Target};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::testing::FakeChat;
use worker::{Args, Error, Event, Plugin, Reply, RunError, State, Worker, command, event, trigger};

const PATIENCE: Duration = Duration::from_secs(30);

/// Fails so often, then answers; counts its runs.
struct Shaky {
    fails: usize,
    runs: AtomicUsize,
}

async fn shaky(state: State<Arc<Shaky>>) -> Result<String, Error> {
    let run = state.runs.fetch_add(1, Ordering::SeqCst);
    if run < state.fails {
        return Err(std::io::Error::other("no disk").into());
    }
    Ok(format!("run {run}"))
}

async fn steady() -> &'static str {
    "steady"
}

fn shaky_beside_steady(fails: usize) -> (Plugin, Arc<Shaky>) {
    let state = Arc::new(Shaky { fails, runs: AtomicUsize::new(0) });
    let plugin = Plugin::new("p").state(state.clone()).on(command("go"), shaky).on(trigger("!go"), steady);
    (plugin, state)
}

#[tokio::test]
async fn only_the_handler_that_failed_is_tried_again() {
    let (plugin, _) = shaky_beside_steady(2);
    let mut chat = FakeChat::with([plugin]).await;
    chat.says("alice", "!go").await.hears("steady");
    chat.tries_again().await.hears_nothing();
    chat.tries_again().await.hears("run 2");
}

#[tokio::test]
async fn after_the_fifth_failure_the_event_is_a_dead_letter_with_its_error() {
    let (plugin, state) = shaky_beside_steady(usize::MAX);
    let mut chat = FakeChat::with([plugin]).await;
    chat.says("alice", "!go").await.hears("steady");
    for _ in 0..4 {
        chat.tries_again().await.hears_nothing();
    }
    assert_eq!(chat.gives_up().await, "no disk");
    assert_eq!(state.runs.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn row_11_a_handler_that_panics_is_tried_again_and_everything_else_is_answered() {
    async fn panics(args: Args) -> String {
        assert_ne!(&*args, "7", "boom");
        args.0
    }
    let mut chat = FakeChat::with([Plugin::new("p").on(command("echo"), panics)]).await;
    for n in 0..100 {
        let chat = chat.says("alice", &format!("!echo {n}")).await;
        if n != 7 {
            chat.hears(&n.to_string());
        }
    }
    for _ in 0..4 {
        chat.tries_again().await.hears_nothing();
    }
    let why = chat.gives_up().await;
    assert!(why.contains("panicked") && why.contains("boom"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_ends_is_cancelled_at_its_limit_and_tried_again() {
    async fn never() {
        std::future::pending().await
    }
    let plugin = Plugin::new("p")
        .on(command("never"), never)
        .on(command("hour").timeout(Duration::from_secs(5)), never)
        .on(trigger("!"), steady);
    let mut chat = FakeChat::with([plugin]).await;
    for (says, limit) in [("!never", 30), ("!hour", 5)] {
        let began = tokio::time::Instant::now();
        tokio::time::timeout(Duration::from_secs(60), chat.says("alice", says)).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), limit);
        chat.hears("steady").fails().await;
    }
}

#[tokio::test]
async fn what_waiting_does_not_help_is_a_dead_letter_at_once() {
    async fn gives_up() -> Result<(), Error> {
        Err(Error::give_up("there is no such thing"))
    }
    async fn away() -> Reply {
        Reply::text("x").to(Target { network: "mars".into(), channel: "#c".into() })
    }
    async fn typed(_: Event<Vec<u8>>) {}
    let plugin = Plugin::new("p")
        .on(command("up"), gives_up)
        .on(command("away"), away)
        .on(event("music.stop"), steady)
        .on(event("music.track"), typed);
    let mut chat = FakeChat::with([plugin]).await;
    assert_eq!(chat.says("alice", "!up").await.gives_up().await, "there is no such thing");
    assert!(chat.says("alice", "!away").await.gives_up().await.contains("mars"));
    assert!(chat.happens("music.stop", json!({})).await.gives_up().await.contains("no place"));
    assert!(chat.happens("music.track", json!({"title": 1})).await.gives_up().await.contains("malformed music.track"));
}

#[tokio::test]
async fn of_ten_thousand_lines_five_are_said() {
    async fn flood() -> Vec<String> {
        (1..=10_000).map(|n| n.to_string()).collect()
    }
    let mut chat = FakeChat::with([Plugin::new("p").on(command("flood"), flood)]).await;
    chat.says("alice", "!flood").await.hears("1").hears("2").hears("3").hears("4").hears("… 9,996 more lines");
}

#[tokio::test]
async fn what_is_more_than_an_hour_old_is_skipped_unless_a_handler_asks_for_it() {
    async fn heard(event: Event<Value>) -> Reply {
        Reply::text(event.id.to_string()).to(Target { network: "test".into(), channel: "#log".into() })
    }
    let plugin = Plugin::new("p")
        .on(event("news").named("news"), heard)
        .on(event("archive.#").any_age(), heard)
        .on(event("late").named("late"), heard);
    let mut chat = FakeChat::with([plugin]).await;
    let (yesterday, today) = ("2023-11-13T22:00:00Z", "2023-11-14T22:00:00Z");
    chat.happens("news", json!({"at": yesterday})).await.hears_nothing();
    chat.happens("news", json!({"at": today})).await.hears_in("#log", "00000000-0000-0000-0000-000000000002");
    chat.happens("archive.x", json!({"at": yesterday})).await.hears_in("#log", "00000000-0000-0000-0000-000000000003");
    // a time that is none is nobody's fault
    chat.happens("late", json!({"at": 5})).await.hears_in("#log", "00000000-0000-0000-0000-000000000004");
}

#[tokio::test]
async fn what_was_said_while_the_bot_was_away_is_for_those_who_ask_for_it() {
    async fn heard(event: Event<Value>) -> String {
        event.body["content"].as_str().unwrap().to_owned()
    }
    async fn answer() -> &'static str {
        "answer"
    }
    let plugin = Plugin::new("p")
        .on(command("go"), answer)
        .on(event("chat.#").any_age().named("any_age"), answer)
        .on(event("chat.irc.#test.chat").replayed().named("archive"), heard);
    let mut chat = FakeChat::with([plugin]).await;
    let said = |id: u128, content: &str, more: Value| {
        let mut body = json!({
            "id": uuid::Uuid::from_u128(id), "at": "2023-11-14T22:13:20Z", "network": "test", "channel": "#test",
            "source": "alice", "content": content,
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let key = "chat.irc.#test.chat";
    chat.happens(key, said(91, "!go", json!({"replayed": true}))).await.hears("!go").hears_nothing();
    // however old
    let old = json!({"replayed": true, "at": "2023-11-10T00:00:00Z"});
    chat.happens(key, said(92, "!go", old)).await.hears("!go").hears_nothing();
    chat.happens(key, said(93, "!go", json!({}))).await.hears("answer").hears("answer").hears("!go");
}

/// A broker, a worker of the group `main` on it, and what comes out.
struct World {
    broker: Embedded,
    replies: Consumer,
    dead: Consumer,
}

impl World {
    async fn with(plugin: Plugin) -> Self {
        let world = World::empty().await;
        world.start(plugin).await;
        world
    }

    async fn empty() -> Self {
        let broker = Embedded::new(Topology::default());
        let replies = broker.consume(broker.topology().replies("irc", "n"), u16::MAX).await.unwrap();
        let dead = broker.consume(broker.topology().dead(), u16::MAX).await.unwrap();
        World { broker, replies, dead }
    }

    /// Starts a worker of the group `main`, and the token that stops it.
    async fn start(&self, plugin: Plugin) -> (JoinHandle<Result<(), RunError>>, CancellationToken) {
        let worker = Worker::new("main").plugin(plugin).attach(Arc::new(self.broker.clone())).await.unwrap();
        let stop = CancellationToken::new();
        (tokio::spawn(worker.work(stop.clone())), stop)
    }

    async fn publish(&self, key: &str, properties: Properties, body: impl Into<Bytes>) {
        let to = Address::Topic(protocol::RoutingKey::parse(key).unwrap());
        let message = Message { to, mandatory: true, properties, body: body.into() };
        self.broker.publish(message).await.await.unwrap();
    }

    async fn say(&self, id: u128, text: &str) {
        let at = System.now().to_string();
        let body = json!({
            "id": uuid::Uuid::from_u128(id), "at": at, "network": "n", "channel": "#c", "source": "alice", "content": text
        });
        let reply_to = Some(self.broker.topology().replies_name("irc", "n"));
        self.publish("chat.irc.#c.chat", Properties { reply_to, ..Properties::default() }, body.to_string()).await;
    }

    async fn reply(&mut self) -> Delivery {
        next(&mut self.replies).await
    }

    /// The body of the next reply.
    async fn hear(&mut self) -> String {
        let reply = self.reply().await;
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        reply.acknowledge();
        body
    }

    async fn dead(&mut self) -> (DeadLetter, Delivery) {
        let dead = next(&mut self.dead).await;
        (DeadLetter::read(&dead), dead)
    }
}

async fn next(consumer: &mut Consumer) -> Delivery {
    tokio::time::timeout(PATIENCE, consumer.next()).await.expect("in time").unwrap()
}

#[tokio::test]
async fn row_9_every_event_delivered_twice_is_answered_once() {
    async fn echo(args: Args, runs: State<Arc<AtomicUsize>>) -> String {
        runs.fetch_add(1, Ordering::SeqCst);
        args.0
    }
    let runs = Arc::new(AtomicUsize::new(0));
    let mut world = World::with(Plugin::new("p").state(runs.clone()).on(command("echo"), echo)).await;
    let mut ids = HashSet::new();
    for n in 0..10_000_u32 {
        // while the first is worked on the second may be, too: then both say one thing, under one id
        world.say(n.into(), &format!("!echo {n}")).await;
        world.say(n.into(), &format!("!echo {n}")).await;
        while let Ok(Some(reply)) = tokio::time::timeout(Duration::ZERO, world.replies.next()).await {
            ids.insert(reply.properties.message_id.clone().unwrap());
            reply.acknowledge();
        }
    }
    while world.broker.held(&world.broker.topology().worker("main", vec![]).name) > 0 || ids.len() < 10_000 {
        let reply = world.reply().await;
        ids.insert(reply.properties.message_id.clone().unwrap());
        reply.acknowledge();
    }
    assert_eq!(ids.len(), 10_000);
    let before = runs.load(Ordering::SeqCst);
    for n in 0..10_000_u32 {
        world.say(n.into(), &format!("!echo {n}")).await;
    }
    world.say(10_000, "!echo last").await;
    while !world.hear().await.contains("last") {}
    assert_eq!(runs.load(Ordering::SeqCst), before + 1, "what was done is not done again");
}

#[tokio::test]
async fn row_14_malformed_events_are_dead_at_once_and_say_why() {
    async fn stop(_: Event<Value>) {}
    let plugin = Plugin::new("p").on(trigger("hi"), steady).on(event("music.*"), stop);
    let mut world = World::with(plugin).await;
    for (key, body, why) in [
        ("chat.irc.#c.chat", "{title}", "line 1 column 2"),
        ("chat.irc.#c.chat", "", "EOF"),
        ("chat.irc.#c.chat", r#"{"content": 7}"#, "invalid type"),
        ("music.track", "", "EOF"),
        ("music.track", "[1]", "id"),
        ("music.track", "{}", "no id"),
        ("music.track", r#"{"id": 5}"#, "invalid type"),
        ("music.track", "\u{0}\u{1b}[2J", "line 1"),
    ] {
        world.publish(key, Properties::default(), body).await;
        let (letter, dead) = world.dead().await;
        assert!(letter.error.as_ref().is_some_and(|error| error.contains(why)), "{body}: {letter:?}");
        assert_eq!((&*letter.key, letter.attempts, letter.handler), (key, 0, None));
        assert_eq!(letter.queue.as_deref(), Some("pubbot.worker.main"));
        assert_eq!(dead.body, body, "as it came");
        dead.acknowledge();
    }
    world.say(1, "hi").await;
    world.reply().await.acknowledge();
}

#[tokio::test]
async fn unknown_fields_and_properties_go_through_retries_to_the_letter() {
    async fn fails(Event { body, .. }: Event<Value>) -> Result<(), Error> {
        assert_eq!(body["price"].to_string(), "1.1");
        Err(Error::give_up("enough"))
    }
    let mut world = World::with(Plugin::new("p").on(event("a.b").named("h"), fails)).await;
    let body = "{ \"id\": \"x\", \"new\": [1,2],\n \"price\": 1.10 }";
    let mut properties = Properties { app_id: Some("theirs".into()), ..Properties::default() };
    properties.headers.insert("traceparent".into(), "00-1".into());
    world.publish("a.b", properties, body).await;
    let (letter, dead) = world.dead().await;
    assert_eq!(dead.body, body);
    assert_eq!(
        (dead.properties.word("traceparent"), dead.properties.app_id.as_deref()),
        (Some("00-1"), Some("theirs"))
    );

    // somebody has it tried again, a day later
    let message = Message::again(&dead, System.now()).unwrap();
    dead.acknowledge();
    world.broker.publish(message).await.await.unwrap();
    let (second, dead) = world.dead().await;
    assert_eq!(second, letter);
    assert_eq!(dead.body, body);
}

#[tokio::test]
async fn what_is_retried_from_the_dead_letters_counts_as_new_and_runs_its_handler_alone() {
    async fn moody(args: Args, runs: State<AtomicUsize>) -> Result<String, Error> {
        match runs.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Error::give_up("not now")),
            _ => Ok(args.0),
        }
    }
    let plugin = Plugin::new("p").state(AtomicUsize::new(0)).on(command("x"), moody).on(trigger("!x"), steady);
    let mut world = World::with(plugin).await;
    world.say(1, "!x moody").await;
    assert!(world.hear().await.contains("steady"));
    let (_, dead) = world.dead().await;
    let again = || Message::again(&dead, System.now()).unwrap();
    world.broker.publish(again()).await.await.unwrap();
    let reply = world.hear().await;
    assert!(reply.contains("moody"), "{reply}");
    // asked for twice, it is done already: once the first time is settled, which its answer does not wait for
    world.broker.idle().await;
    world.broker.publish(again()).await.await.unwrap();
    dead.acknowledge();
    world.say(2, "!x end").await;
    let said = [world.hear().await, world.hear().await];
    assert!(
        said.iter().any(|said| said.contains("end")) && said.iter().any(|said| said.contains("steady")),
        "{said:?}"
    );
}

#[tokio::test]
async fn an_event_for_a_handler_that_is_gone_is_a_dead_letter_that_says_so() {
    let mut world = World::with(Plugin::new("p").on(trigger("hi"), steady)).await;
    let mut properties = Properties { message_id: Some("1".into()), ..Properties::default() };
    for (name, value) in [("key", "a.b"), ("handler", "main/p/old")] {
        properties.headers.insert(name.into(), value.into());
    }
    let to = Address::Queue(world.broker.topology().worker("main", vec![]).name);
    let message = Message { to, mandatory: true, properties, body: "{}".into() };
    world.broker.publish(message).await.await.unwrap();
    let (letter, _) = world.dead().await;
    assert_eq!(letter.error.as_deref(), Some("there is no handler main/p/old any more"));
    assert_eq!((&*letter.key, letter.handler.as_deref()), ("a.b", Some("main/p/old")));
}

/// Takes what is first in a queue and gives it back, so often: as workers do that die of it.
async fn comes_back(world: &World, queue: bus::Queue, times: usize) {
    for _ in 0..times {
        let mut consumer = world.broker.consume(queue.clone(), 1).await.unwrap();
        next(&mut consumer).await.requeue();
    }
}

#[tokio::test]
async fn what_was_delivered_again_and_again_is_tried_alone_and_innocents_are_answered() {
    let mut world = World::empty().await;
    let topology = world.broker.topology().clone();
    let queue = topology.worker("main", vec![protocol::Pattern::parse("#").unwrap()]);
    world.broker.declare(queue.clone()).await.unwrap();
    world.say(1, "hi").await;
    comes_back(&world, queue.clone(), 2).await;
    world.start(Plugin::new("p").on(trigger("hi"), steady)).await;
    assert!(world.hear().await.contains("00000001"));
    world.broker.idle().await;
    assert_eq!(world.broker.held(&topology.suspect("main").name), 0);
}

#[tokio::test]
async fn in_an_ordered_group_what_came_back_with_its_partition_is_not_overtaken() {
    let mut world = World::empty().await;
    let queue = world.broker.topology().worker("main", vec![protocol::Pattern::parse("#").unwrap()]);
    world.broker.declare(queue.clone()).await.unwrap();
    world.say(1, "hi").await;
    world.say(2, "hi").await;
    // as when four workers are restarted one after the other
    comes_back(&world, queue, 3).await;
    let worker = Worker::new("main").ordered(true).plugin(Plugin::new("p").on(trigger("hi"), steady));
    let worker = worker.attach(Arc::new(world.broker.clone())).await.unwrap();
    tokio::spawn(worker.work(CancellationToken::new()));
    for id in ["00000001", "00000002"] {
        let heard = world.hear().await;
        assert!(heard.contains(id), "{heard}");
    }
}

#[tokio::test]
async fn what_kills_three_workers_alone_is_a_dead_letter_and_the_next_suspect_is_answered() {
    let mut world = World::empty().await;
    let topology = world.broker.topology().clone();
    let suspects = topology.suspect("main");
    world.broker.declare(topology.worker("main", vec![protocol::Pattern::parse("#").unwrap()])).await.unwrap();
    world.broker.declare(suspects.clone()).await.unwrap();
    let mut events = world.broker.consume(topology.worker("main", vec![]), 2).await.unwrap();
    for n in [1, 2] {
        world.say(n, "hi").await;
        let event = next(&mut events).await;
        world.broker.publish(Message::moved(&event, &suspects.name)).await.await.unwrap();
        event.acknowledge();
    }
    drop(events);
    comes_back(&world, suspects, 3).await;
    world.start(Plugin::new("p").on(trigger("hi"), steady)).await;
    let (letter, dead) = world.dead().await;
    assert_eq!(letter.error.as_deref(), Some("it killed its worker 3 times"));
    assert_eq!((&*letter.key, letter.queue.as_deref()), ("chat.irc.#c.chat", Some("pubbot.worker.main")));
    assert!(String::from_utf8_lossy(&dead.body).contains("000000000001"));
    assert!(world.hear().await.contains("000000000002"));
}

/// A second copy comes about when its worker dies after it has moved a suspect, and before the broker knows that.
#[tokio::test]
async fn of_a_dead_suspect_a_second_copy_is_not_tried_again_until_somebody_asks_for_it() {
    let mut world = World::empty().await;
    let topology = world.broker.topology().clone();
    let suspects = topology.suspect("main");
    world.broker.declare(topology.worker("main", vec![protocol::Pattern::parse("#").unwrap()])).await.unwrap();
    world.broker.declare(suspects.clone()).await.unwrap();
    let mut events = world.broker.consume(topology.worker("main", vec![]), 1).await.unwrap();
    world.say(1, "hi").await;
    let event = next(&mut events).await;
    for _ in 0..2 {
        world.broker.publish(Message::moved(&event, &suspects.name)).await.await.unwrap();
    }
    event.acknowledge();
    drop(events);
    comes_back(&world, suspects, 3).await;
    world.start(Plugin::new("p").on(trigger("hi"), steady)).await;
    let (_, dead) = world.dead().await;
    tokio::time::timeout(PATIENCE, world.broker.idle()).await.expect("it is answered by nobody");
    world.say(2, "hi").await;
    let heard = world.hear().await;
    assert!(heard.contains("000000000002"), "{heard}");
    let more = tokio::time::timeout(Duration::ZERO, world.dead.next()).await;
    assert!(more.is_err(), "{more:?}");

    world.broker.publish(Message::again(&dead, System.now()).unwrap()).await.await.unwrap();
    let heard = world.hear().await;
    assert!(heard.contains("000000000001"), "{heard}");
}

#[tokio::test]
async fn a_stopping_worker_finishes_what_runs_and_gives_back_the_rest() {
    async fn slow(args: Args) -> String {
        tokio::time::sleep(Duration::from_secs(if &*args == "0" { 3 } else { 600 })).await;
        args.0
    }
    let mut world = World::empty().await;
    let (working, stop) = world.start(Plugin::new("p").on(command("slow"), slow)).await;
    for n in 0..300 {
        world.say(n, &format!("!slow {n}")).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    tokio::time::timeout(PATIENCE, working).await.unwrap().unwrap().unwrap();
    assert!(world.hear().await.contains("\"content\":\"0\""));
    let queue = world.broker.topology().worker("main", vec![]).name;
    assert_eq!(world.broker.depth(&queue).await.unwrap(), Some(299));
}

#[tokio::test]
async fn a_suspect_that_did_not_begin_before_its_worker_stopped_has_killed_nobody() {
    async fn slow() {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let world = World::empty().await;
    let topology = world.broker.topology().clone();
    let suspects = topology.suspect("main");
    world.broker.declare(topology.worker("main", vec![protocol::Pattern::parse("#").unwrap()])).await.unwrap();
    world.broker.declare(suspects.clone()).await.unwrap();
    world.say(1, "hi").await;
    let mut events = world.broker.consume(topology.worker("main", vec![]), 2).await.unwrap();
    let event = next(&mut events).await;
    let suspect = Message::moved(&event, &suspects.name);
    event.acknowledge();
    drop(events);
    let plugin = || Plugin::new("p").on(command("slow"), slow).on(trigger("hi"), steady);
    let (working, stop) = world.start(plugin()).await;
    world.say(2, "!slow").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    // the worker looks at it, and waits for what runs
    world.broker.publish(suspect).await.await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    tokio::time::timeout(PATIENCE, working).await.unwrap().unwrap().unwrap();
    let mut consumer = world.broker.consume(suspects, 1).await.unwrap();
    let suspect = next(&mut consumer).await;
    assert_eq!(suspect.attempts, 0, "it has killed nobody");
    assert_eq!(suspect.properties.word("queue"), Some("pubbot.worker.main"), "it knows where it came from");
}
