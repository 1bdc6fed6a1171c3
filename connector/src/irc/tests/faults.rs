//! What goes wrong, and what is done about it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::world::{World, network};
use crate::irc::{Flood, Network};

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_asked_and_one_that_answers_is_kept() {
    let (world, mut server) = World::in_a().await;
    let start = Instant::now();
    for _ in 0..3 {
        server.hears("PING :pubbot").await;
        server.says(":irc.test PONG irc.test :pubbot").await;
    }
    assert_eq!(start.elapsed().as_secs(), 3 * 45);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_ping_is_given_up_and_dialed_again() {
    let (mut world, mut server) = World::in_a().await;
    let start = Instant::now();
    server.hears("PING :pubbot").await;
    server.hears_the_end().await;
    assert_eq!(start.elapsed().as_secs(), 45 + 30);
    let mut server = world.server().await;
    assert!((75..=76).contains(&start.elapsed().as_secs()));
    server.welcomes().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_there_yet_is_dialed_with_growing_pauses() {
    let mut world = World::new().await;
    drop(world.server().await);
    world.dialer.refusals.store(11, Ordering::Relaxed);
    let start = Instant::now();
    let mut server = world.server().await;
    // 1, 2, 4 … 256, 300, 300, 300, each from half of it to all of it
    let most = 511 + 3 * 300;
    assert!((most / 2..=most).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    server.welcomes().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_stable_connection_the_first_pause_is_short_again() {
    let mut world = World::new().await;
    drop(world.server().await);
    world.dialer.refusals.store(6, Ordering::Relaxed);
    let mut server = world.server().await;
    server.welcomes().await;
    for _ in 0..2 {
        server.hears("PING :pubbot").await;
        server.says("PONG :pubbot").await;
    }
    let lost = Instant::now();
    server.says("ERROR :Closing link: (Ping timeout)").await;
    drop(server);
    let mut server = world.server().await;
    assert!(lost.elapsed() <= Duration::from_secs(1));
    server.welcomes().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn replies_wait_while_nobody_is_connected_and_are_said_after_the_reconnect() {
    let (mut world, mut server) = World::in_a().await;
    world.answers(json!({"channel": "#a", "content": "before"})).await;
    server.hears("PRIVMSG #a :before").await;
    world.settled(&mut server).await;
    drop(server);
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    world.answers(json!({"channel": "#a", "content": "between"})).await;
    server.hears("USER pub 0 * :A bot").await;
    // registered only now: not a word before
    server.fence().await;
    assert_eq!(world.unsaid(), 1);
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.hears("JOIN #secret,#a sesame").await;
    server.hears("PRIVMSG #a :between").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_proved_when_the_connection_broke_is_said_on_the_next_one() {
    let limited = Network { flood: Flood::Budget { burst: 2, per_second: 0.5 }, ..network() };
    let (mut world, mut server) = World::in_a_of(limited).await;
    for n in 0..100 {
        world.answers(json!({"id": uuid::Uuid::from_u128(n + 1), "channel": "#a", "content": n.to_string()})).await;
    }
    server.hears("PRIVMSG #a :0").await;
    server.hears("PRIVMSG #a :1").await;
    drop(server);
    let mut server = world.server().await;
    server.welcomes().await;
    server.says(":irc.test 403 pubbot #a :No such channel").await;
    // no PONG has proved that the server took the first two
    for n in 0..100 {
        assert_eq!(server.said().await, n.to_string());
    }
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_away_ping_is_answered_and_events_arrive_later_in_order() {
    let (mut world, mut server) = World::in_a().await;
    world.broker.publish_failures.store(8, Ordering::Relaxed);
    for n in 0..300 {
        server.says(&format!(":alice!a@h PRIVMSG #a :{n}")).await;
    }
    server.fence().await;
    for n in 0..300 {
        let event = world.event("chat.irc.#a.chat").await;
        assert_eq!((&event["content"], &event["seq"]), (&json!(n.to_string()), &json!(n + 3)));
    }
    assert_eq!(world.broker.publish_failures.load(Ordering::Relaxed), 0);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn events_beyond_the_outbox_are_dropped_and_the_gap_can_be_seen() {
    let (mut world, mut server) = World::in_a().await;
    world.broker.publish_failures.store(u32::MAX, Ordering::Relaxed);
    for n in 0..12_000 {
        server.says(&format!(":alice!a@h PRIVMSG #a :{n}")).await;
    }
    server.fence().await;
    world.broker.publish_failures.store(0, Ordering::Relaxed);
    // without a journal the oldest 10,000 are kept
    for n in 0..10_000 {
        assert_eq!(world.event("chat.irc.#a.chat").await["content"], n.to_string());
    }
    assert_eq!(world.event("gap.irc.test").await["shed"], json!({ "chat": 2_000 }));
    server.says(":alice!a@h PRIVMSG #a :after").await;
    let after = world.event("chat.irc.#a.chat").await;
    assert_eq!(after["seq"], 12_000 + 3);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    let mut world = World::new().await;
    world.broker.declare_failures.store(5, Ordering::Relaxed);
    world.broker.consume_failures.store(5, Ordering::Relaxed);
    let mut server = world.server().await;
    server.welcomes().await;
    server.fence().await;
    world.answers(json!({"channel": "#a", "content": "at last"})).await;
    server.hears("PRIVMSG #a :at last").await;
    world.settled(&mut server).await;
    assert_eq!(world.broker.declare_failures.load(Ordering::Relaxed), 0);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn it_stops_at_once_between_two_connections() {
    let mut world = World::new().await;
    drop(world.server().await);
    world.dialer.refusals.store(u32::MAX, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let start = Instant::now();
    world.stop.cancel();
    world.result().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn what_is_heard_between_the_goodbye_and_the_end_is_not_lost() {
    let (mut world, mut server) = World::in_a().await;
    world.stop.cancel();
    server.hears("QUIT :pubbot").await;
    server.says(":alice!a@h PRIVMSG #a :wait").await;
    server.says("ERROR :bye").await;
    drop(server);
    assert_eq!(world.event("chat.irc.#a.chat").await["content"], "wait");
    world.result().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn replies_that_come_while_it_stops_are_left_for_the_next_start() {
    let limited = Network { flood: Flood::Budget { burst: 1, per_second: 0.1 }, ..network() };
    let (world, mut server) = World::in_a_of(limited).await;
    for n in 0..10 {
        world.answers(json!({"channel": "#a", "content": n.to_string()})).await;
    }
    server.hears("PRIVMSG #a :0").await;
    world.stop.cancel();
    server.hears("QUIT :pubbot").await;
    server.hears_the_end().await;
    drop(server);
    let broker = world.broker.clone();
    world.result().await.unwrap();
    assert_eq!(broker.inner.held("pubbot.replies.irc.test"), 9);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_reads_nothing_is_given_up() {
    let (mut world, server) = World::in_a().await;
    for n in 0..500 {
        world.answers(json!({"channel": "#a", "content": format!("{n} {}", "x".repeat(400))})).await;
    }
    // it keeps the connection open, but full
    let mut next = world.server().await;
    drop(server);
    next.welcomes().await;
    let first = next.line().await;
    assert!(first.starts_with("PRIVMSG #a :"));
}

#[tokio::test(start_paused = true)]
async fn with_a_broker_that_stays_away_it_still_stops() {
    let (world, mut server) = World::in_a().await;
    world.broker.publish_failures.store(u32::MAX, Ordering::Relaxed);
    server.says(":alice!a@h PRIVMSG #a :lost").await;
    server.fence().await;
    let start = Instant::now();
    world.stop.cancel();
    server.hears("QUIT :pubbot").await;
    drop(server);
    world.result().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_keeps_the_connection_after_the_goodbye_is_left_all_the_same() {
    let (world, mut server) = World::in_a().await;
    let start = Instant::now();
    world.stop.cancel();
    server.hears("QUIT :pubbot").await;
    world.result().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reply_delivered_twice_is_not_lost_when_the_connection_breaks_while_it_is_said() {
    let limited = Network { flood: Flood::Budget { burst: 1, per_second: 0.5 }, ..network() };
    let (mut world, mut server) = World::in_a_of(limited).await;
    let reply = json!({"id": uuid::Uuid::from_u128(7), "channel": "#a", "content": ["1", "2", "3"]});
    world.answers(reply.clone()).await;
    world.notifies(reply).await;
    assert_eq!(server.said().await, "1");
    drop(server);
    let mut server = world.server().await;
    server.welcomes().await;
    // the whole reply: what of it arrived before is not known
    for line in ["1", "2", "3"] {
        assert_eq!(server.said().await, line);
    }
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_after_the_goodbye_and_what_was_not_said_is_kept() {
    let (world, mut server) = World::in_a().await;
    for n in 0..500 {
        world.answers(json!({"channel": "#a", "content": format!("{n} {}", "x".repeat(400))})).await;
    }
    // until the connection is full
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.stop.cancel();
    let mut said = 0;
    while server.line().await != "QUIT :pubbot" {
        said += 1;
    }
    server.hears_the_end().await;
    drop(server);
    let broker = world.broker.clone();
    world.result().await.unwrap();
    assert!(said > 0);
    assert_eq!(said + broker.inner.held("pubbot.replies.irc.test"), 500);
}
