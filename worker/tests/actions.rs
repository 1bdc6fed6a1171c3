//! Actions as the authors of handlers write them: where they are done, beside what is said, and where they are not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use bus::{Broker, Embedded, Message, Topology};
use protocol::{Action as Asked, Deed, Reply as Said, ReplyContext, Request, RoutingKey};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use worker::testing::FakeChat;
use worker::{Action, Args, Event, Plugin, Reply, Sender, Worker, command, event};

async fn kick(args: Args) -> Option<Action> {
    args.words().next().map(|nick| Action::kick(nick).reason("asked to"))
}

async fn all_of_it() -> Vec<Reply> {
    vec![
        Action::topic("tea").into(),
        Action::mode("+o", ["alice"]).in_channel("#b").into(),
        Action::join("#new").key("k").into(),
        "done".into(),
        Action::part().reason("bye").to("test/#c".parse().unwrap()).into(),
        Action::invite("bob").into(),
    ]
}

#[tokio::test]
async fn an_action_is_done_where_the_event_came_from_unless_it_says_where() {
    let plugin = Plugin::new("p").on(command("kick"), kick).on(command("all"), all_of_it);
    let mut chat = FakeChat::with([plugin]).await;
    chat.says("alice", "!kick bob").await.does(Action::kick("bob").reason("asked to"));
    chat.says("alice", "!kick").await.hears_nothing();
    chat.says("alice", "!all").await;
    chat.does(Action::topic("tea")).does(Action::mode("+o", ["alice"]).in_channel("#b"));
    chat.does(Action::join("#new").key("k")).hears("done").does(Action::invite("bob"));
    // what goes to another target comes through the other queue
    chat.does(Action::part().reason("bye").in_channel("#c"));
}

#[tokio::test]
async fn an_event_of_a_channel_is_answered_there_though_nothing_was_said() {
    async fn joined(event: Event<Value>) -> (Action, Reply) {
        let nick = event.body["user"].as_str().unwrap();
        (Action::mode("+v", [nick]), Reply::text(format!("welcome, {nick}")).private())
    }
    async fn left(event: Event<Value>) -> String {
        format!("{} is gone", event.body["user"].as_str().unwrap())
    }
    let plugin = Plugin::new("p").on(event("chat.*.*.join"), joined).on(event("chat.*.*.leave"), left);
    let mut chat = FakeChat::with([plugin]).await;
    chat.happens("chat.irc.#test.join", json!({"network": "test", "channel": "#test", "user": "bob"})).await;
    chat.does(Action::mode("+v", ["bob"])).hears_in("bob", "welcome, bob");
    let leave = json!({"network": "test", "channel": "#test", "user": "bob", "by": "alice", "type": "kicked"});
    chat.happens("chat.irc.#test.leave", leave).await.hears("bob is gone");
}

#[tokio::test]
#[should_panic(expected = "no nick")]
async fn what_the_connector_would_refuse_fails_the_test() {
    async fn bad() -> Action {
        Action::kick("a b")
    }
    let mut chat = FakeChat::with([Plugin::new("p").on(command("bad"), bad)]).await;
    chat.says("alice", "!bad").await.does(Action::kick("a b"));
}

async fn reacts(sender: Sender) -> (Action, (Action, Vec<Reply>)) {
    let answers =
        vec![Reply::text("hi"), Reply::text("psst").private(), Reply::text("x").to("test/#b".parse().unwrap())];
    assert_eq!(sender.nick, "alice");
    (Action::react("👍"), (Action::typing(), answers))
}

#[tokio::test]
async fn a_reaction_and_an_answer_in_the_same_place_name_the_message_and_ids_are_computed() {
    let broker = Embedded::new(Topology::default());
    let topology = broker.topology();
    let mut queues = Vec::new();
    for queue in [topology.replies("irc", "test"), topology.notices("irc", "test")] {
        queues.push(broker.consume(queue, 100).await.unwrap());
    }
    let worker = Worker::new("main").plugin(Plugin::new("p").on(command("hi"), reacts));
    let worker = worker.networks([("test".to_owned(), "irc".to_owned())]);
    let attached = worker.attach(std::sync::Arc::new(broker.clone())).await.unwrap();
    let stop = CancellationToken::new();
    let working = tokio::spawn(attached.work(stop.clone()));
    let chat = json!({
        "id": "0192f0c1-2345-7000-8000-000000000001", "at": protocol::Ambient::now(&bus::System),
        "network": "test", "channel": "#a", "source": "alice", "content": "!hi", "msgid": "a;b",
    });
    let id = chat["id"].as_str().unwrap().parse().unwrap();
    let event = protocol::Event::new(RoutingKey::parse("chat.irc.#a.chat").unwrap(), id, &chat).unwrap();
    let reply_to = broker.topology().replies_name("irc", "test");
    broker.publish(Message::event(event, "test", Some(&reply_to))).await.await.unwrap();
    let mut got = Vec::new();
    for (queue, count) in [(0, 4), (1, 1)] {
        for _ in 0..count {
            let delivery = queues[queue].next().await.unwrap();
            got.push((
                delivery.properties.kind.clone(),
                Request::read(&delivery.body, ReplyContext::default()).unwrap(),
            ));
            delivery.acknowledge();
        }
    }
    let tags = |request: &Request| match request {
        Request::Do(Asked { deed: Deed::Tag { tags, .. }, .. }) => format!("{tags:?}"),
        Request::Say(Said { msgid, .. }) => format!("{msgid:?}"),
        other => panic!("{other:?}"),
    };
    let found: Vec<String> = got.iter().map(|(_, request)| tags(request)).collect();
    let reaction = r#"{"+draft/react": "👍", "+reply": "a;b"}"#;
    assert_eq!(found, [reaction, r#"{"+typing": "active"}"#, r#"Some("a;b")"#, "None", "None"]);
    assert_eq!((got[0].0.as_deref(), got[2].0.as_deref()), (Some("action"), Some("reply")));
    assert_eq!(got[0].1.id(), protocol::reply_id(id, "main/p/hi", 0));
    assert_eq!((got[0].1.handler(), got[0].1.in_reply_to()), ("main/p/hi", Some(id)));
    stop.cancel();
    working.await.unwrap().unwrap();
}
