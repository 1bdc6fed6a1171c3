//! Handlers that block their threads: they are abandoned, and nobody else waits for them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Broker, Consumer, DeadLetter, Delay, Embedded, Message, System, Topology};
use protocol::{Ambient, Chat, ChatKind, Event, Head, Reply, ReplyContext, RoutingKey};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::{Args, Plugin, RunError, State, Worker, command, trigger};

const PATIENCE: Duration = Duration::from_secs(60);
/// How long the handlers that block may take.
const LIMIT: Duration = Duration::from_millis(100);
/// What a busy machine may add; waiting for the handler that blocks would be more than a second.
const NOISE: Duration = Duration::from_millis(100);

struct World {
    broker: Embedded,
    replies: Consumer,
    working: JoinHandle<Result<(), RunError>>,
    said: u128,
}

impl World {
    async fn with(worker: Worker) -> Self {
        let broker = Embedded::new(Topology::default());
        let replies = broker.consume(broker.topology().replies("irc", "n"), 1000).await.unwrap();
        let worker = worker.attach(Arc::new(broker.clone())).await.unwrap();
        let working = tokio::spawn(worker.work(CancellationToken::new()));
        World { broker, replies, working, said: 0 }
    }

    async fn say(&mut self, channel: &str, content: &str) {
        self.said += 1;
        let id = Uuid::from_u128(self.said);
        let (at, network, channel) = (System.now(), "n".to_owned(), channel.to_owned());
        let key = RoutingKey::chat("irc", &channel, ChatKind::Chat);
        let chat = Chat::new(Head { id, at, network, channel, session: None, seq: None }, "alice", content);
        let reply_to = self.broker.topology().replies_name("irc", "n");
        let event = Event::new(key, id, &chat).unwrap();
        self.broker.publish(Message::event(event, "test", Some(&reply_to))).await.await.unwrap();
    }

    async fn hear(&mut self) -> String {
        let delivery = timeout(PATIENCE, self.replies.next()).await.expect("in time").unwrap();
        let reply = Reply::read(&delivery.body, ReplyContext::default()).unwrap();
        delivery.acknowledge();
        reply.content.0.concat()
    }

    /// The time from a line to its answer, the 99th percentile of so many, one after the other.
    async fn p99(&mut self, lines: usize) -> Duration {
        let mut times = Vec::with_capacity(lines);
        for n in 0..lines {
            let began = Instant::now();
            self.say("#others", &format!("!echo {n}")).await;
            assert_eq!(self.hear().await, n.to_string());
            times.push(began.elapsed());
        }
        times.sort();
        times[lines * 99 / 100]
    }
}

/// Blocks until it is told to go on.
async fn block(gate: State<Mutex<Receiver<()>>>) -> String {
    gate.lock().unwrap().recv().ok();
    "late".to_owned()
}

async fn echo(args: Args) -> String {
    // needs timers of the handlers' own runtime
    tokio::time::sleep(Duration::from_micros(100)).await;
    args.0
}

async fn beside() -> &'static str {
    "beside"
}

fn blocking() -> (Worker, Sender<()>) {
    let (go_on, gate) = channel();
    let plugin = Plugin::new("p")
        .state(Mutex::new(gate))
        .on(command("block").timeout(LIMIT), block)
        .on(command("echo"), echo)
        .on(trigger("^!block"), beside);
    (Worker::new("main").plugin(plugin), go_on)
}

#[tokio::test]
async fn row_13_others_don_t_notice_a_handler_that_blocks_and_it_is_abandoned_at_its_limit() {
    let (worker, go_on) = blocking();
    let mut world = World::with(worker).await;
    world.p99(100).await;
    let before = world.p99(500).await;
    world.say("#blocked", "!block").await;
    // its limit is not over yet in the beginning, and it is abandoned in the end
    let meanwhile = timeout(PATIENCE, async {
        let mut times = Vec::new();
        let began = Instant::now();
        for n in 0..500 {
            let asked = Instant::now();
            world.say("#others", &format!("!echo {n}")).await;
            while world.hear().await == "beside" {}
            times.push(asked.elapsed());
        }
        println!("500 lines in {:?}", began.elapsed());
        times.sort();
        times[495]
    });
    let meanwhile = meanwhile.await.unwrap();
    println!("p99 before {before:?}, meanwhile {meanwhile:?}");
    assert!(meanwhile < before * 2 + NOISE, "before {before:?}, meanwhile {meanwhile:?}");
    drop(go_on);
}

#[tokio::test]
async fn the_events_other_handlers_and_its_lane_go_on_and_a_late_answer_is_dropped() {
    let (worker, go_on) = blocking();
    let mut world = World::with(worker).await;
    let began = Instant::now();
    world.say("#c", "!block").await;
    world.say("#c", "!echo after").await;
    assert_eq!(world.hear().await, "beside");
    assert!(began.elapsed() >= LIMIT);
    assert_eq!(world.hear().await, "after");
    // the second try is let through, and then the first one comes back
    go_on.send(()).unwrap();
    go_on.send(()).unwrap();
    assert_eq!(world.hear().await, "late");
    world.say("#c", "!echo end").await;
    assert_eq!(world.hear().await, "end", "the first one's answer is not said");
}

#[tokio::test]
async fn a_worker_that_has_lost_eight_threads_finishes_what_runs_and_ends_with_an_error() {
    let (worker, _go_on) = blocking();
    let mut world = World::with(worker).await;
    for n in 0..8 {
        world.say(&format!("#{n}"), "!block").await;
    }
    let ended = timeout(PATIENCE, &mut world.working).await.expect("in time").unwrap();
    assert!(matches!(ended, Err(RunError::LostThreads(8))), "{ended:?}");
    for _ in 0..8 {
        assert_eq!(world.hear().await, "beside");
    }
    world.say("#c", "!echo for the next worker").await;
    let queue = world.broker.topology().worker("main", vec![]).name;
    assert!(world.broker.depth(&queue).await.unwrap() >= Some(1));
}

#[tokio::test]
async fn a_worker_of_which_all_threads_are_blocked_waits_for_none_of_them() {
    let (worker, _go_on) = blocking();
    let mut world = World::with(worker).await;
    for n in 0..100 {
        world.say(&format!("#{n}"), "!block").await;
    }
    let began = Instant::now();
    let ended = timeout(PATIENCE, &mut world.working).await.expect("in time").unwrap();
    assert!(matches!(ended, Err(RunError::LostThreads(8))), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "it waited for {:?}", began.elapsed());
}

#[tokio::test]
async fn with_new_threads_it_goes_on_so_often_as_is_allowed() {
    let (worker, _go_on) = blocking();
    let mut world = World::with(worker.new_threads(1)).await;
    for n in 0..8 {
        world.say(&format!("#{n}"), "!block").await;
    }
    for _ in 0..8 {
        assert_eq!(world.hear().await, "beside");
    }
    world.say("#c", "!echo still here").await;
    assert_eq!(world.hear().await, "still here");
    // what is tried again after a second blocks eight of the new threads
    let ended = timeout(PATIENCE, &mut world.working).await.expect("in time").unwrap();
    assert!(matches!(ended, Err(RunError::LostThreads(8))), "{ended:?}");
}

#[tokio::test]
async fn what_blocks_again_and_again_is_a_dead_letter() {
    // it has failed four times already
    let (worker, _go_on) = blocking();
    let mut world = World::with(worker).await;
    let mut dead = world.broker.consume(world.broker.topology().dead(), 1).await.unwrap();
    let mut watching = world.broker.consume(world.broker.topology().tail(protocol_patterns()), 10).await.unwrap();
    world.say("#c", "!block").await;
    let event = timeout(PATIENCE, watching.next()).await.unwrap().unwrap();
    let queue = world.broker.topology().worker("main", vec![]).name;
    let retry = Message::retry(&event, &queue, "main/p/block", 4, Delay::OneSecond);
    world.broker.publish(retry).await.await.unwrap();
    let letter = timeout(PATIENCE, dead.next()).await.expect("in time").unwrap();
    let letter = DeadLetter::read(&letter);
    assert_eq!(letter.error.as_deref(), Some("it blocked its thread for longer than 100ms"));
    assert_eq!(letter.attempts, 5);
}

fn protocol_patterns() -> Vec<protocol::Pattern> {
    vec![protocol::Pattern::parse("#").unwrap()]
}
