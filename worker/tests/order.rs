//! Many events at once, each channel in order.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bus::{Broker, DeadLetter, Embedded, Message, System, Topology};
use protocol::{Ambient, Chat, ChatKind, Event, Head, Reply, ReplyContext, RoutingKey};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::{Args, Channel, Plugin, State, Worker, command};

const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    broker: Embedded,
    replies: bus::Consumer,
    said: u64,
    reply_to: String,
}

impl World {
    /// A broker with a worker on it that has this plugin.
    async fn with(plugin: Plugin) -> Self {
        let broker = Embedded::new(Topology::default());
        let replies = broker.consume(broker.topology().replies("irc", "n"), 1000).await.unwrap();
        let worker = Worker::new("main").plugin(plugin).attach(Arc::new(broker.clone())).await.unwrap();
        tokio::spawn(worker.work(CancellationToken::new()));
        let reply_to = broker.topology().replies_name("irc", "n");
        World { broker, replies, said: 0, reply_to }
    }

    async fn say(&mut self, channel: &str, content: &str) {
        self.said += 1;
        let id = Uuid::from_u128(u128::from(self.said));
        let head =
            Head { id, at: System.now(), network: "n".into(), channel: channel.into(), session: None, seq: None };
        let chat = Chat::new(head, "alice", content);
        let event = Event::new(RoutingKey::chat("irc", channel, ChatKind::Chat), id, &chat).unwrap();
        self.broker.publish(Message::event(event, "test", Some(&self.reply_to))).await.await.unwrap();
    }

    async fn hear(&mut self) -> (String, String) {
        let delivery = tokio::time::timeout(PATIENCE, self.replies.next()).await.unwrap().unwrap();
        let reply = Reply::read(&delivery.body, ReplyContext::default()).unwrap();
        delivery.acknowledge();
        (reply.channel, reply.content.0.concat())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_channel_stays_in_order_while_handlers_yield_at_random() {
    async fn echo(args: Args) -> String {
        for _ in 0..(args.len() * 7 + args.0.bytes().map(usize::from).sum::<usize>()) % 5 {
            tokio::task::yield_now().await;
        }
        args.0
    }
    let mut world = World::with(Plugin::new("p").on(command("echo"), echo)).await;
    let channels = ["#a", "#b", "#c", "#d", "#e"];
    for i in 0..200 {
        for channel in channels {
            world.say(channel, &format!("!echo {i}")).await;
        }
    }
    let mut next = [0; 5];
    for _ in 0..1000 {
        let (channel, text) = world.hear().await;
        let at = channels.iter().position(|known| *known == channel).unwrap();
        assert_eq!(text, next[at].to_string(), "in {channel}");
        next[at] += 1;
    }
}

#[tokio::test]
async fn a_slow_handler_in_one_channel_holds_up_nobody_elsewhere() {
    async fn handler(gate: State<Arc<Semaphore>>, channel: Channel) -> String {
        if channel.name == "#slow" {
            let _pass = gate.acquire().await;
        }
        channel.name
    }
    let gate = Arc::new(Semaphore::new(0));
    let mut world = World::with(Plugin::new("p").state(gate.clone()).on(command("x"), handler)).await;
    world.say("#slow", "!x").await;
    world.say("#slow", "!x").await;
    world.say("#fast", "!x").await;
    assert_eq!(world.hear().await.0, "#fast");
    gate.add_permits(1);
    assert_eq!(world.hear().await.0, "#slow");
    assert_eq!(world.hear().await.0, "#slow");
}

#[tokio::test]
async fn many_events_are_in_work_at_once() {
    struct Busy(AtomicUsize, Semaphore);
    async fn handler(busy: State<Busy>) {
        if busy.0.0.fetch_add(1, Ordering::SeqCst) == 99 {
            busy.0.1.add_permits(100);
        }
        let _all_here = busy.0.1.acquire().await;
    }
    let busy = Busy(AtomicUsize::new(0), Semaphore::new(0));
    let mut world = World::with(Plugin::new("p").state(busy).on(command("x"), handler)).await;
    for i in 0..100 {
        world.say(&format!("#{i}"), "!x").await;
    }
    tokio::time::timeout(PATIENCE, world.broker.idle()).await.unwrap();
}

#[tokio::test]
async fn a_reply_that_reaches_nobody_sets_its_event_aside() {
    async fn hello() -> &'static str {
        "hello"
    }
    let mut world = World::with(Plugin::new("p").on(command("hi"), hello)).await;
    let mut dead = world.broker.consume(world.broker.topology().dead(), 10).await.unwrap();
    world.reply_to = "pubbot.replies.irc.gone".into();
    world.say("#a", "!hi").await;
    let delivery = tokio::time::timeout(PATIENCE, dead.next()).await.unwrap().unwrap();
    let letter = DeadLetter::read(&delivery);
    assert_eq!((&*letter.key, letter.handler.as_deref()), ("chat.irc.#a.chat", Some("main/p/hi")));
    assert_eq!((letter.attempts, letter.queue.as_deref()), (1, Some("pubbot.worker.main")));
    assert!(letter.error.is_some_and(|why| why.contains("pubbot.replies.irc.gone")));
    delivery.acknowledge();
}
