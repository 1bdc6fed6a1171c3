//! A reply is acknowledged when the server has proved that it took it and that is remembered; what it would not take
//! ends with its reason.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::world::{Server, World, network};
use crate::irc::{Flood, Network};

const LABELS: [&str; 4] = ["message-tags", "batch", "labeled-response", "echo-message"];
const LABELS_ONLY: [&str; 3] = ["message-tags", "batch", "labeled-response"];
const A_WHILE: Duration = Duration::from_secs(25);

fn reply(n: u128) -> Value {
    json!({"id": Uuid::from_u128(n), "channel": "#a", "content": n.to_string()})
}

async fn say(world: &World, replies: std::ops::RangeInclusive<u128>) {
    for n in replies {
        world.answers(reply(n)).await;
    }
}

async fn hears(server: &mut Server, replies: std::ops::RangeInclusive<u128>) {
    for n in replies {
        server.hears_exactly(&format!("PRIVMSG #a :{n}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_four_lines_are_written_before_a_proof_and_none_is_acknowledged_before_it() {
    let (world, mut server) = World::in_a().await;
    say(&world, 1..=10).await;
    hears(&mut server, 1..=4).await;
    let fence = server.is_asked_for_a_fence().await;
    server.hears_nothing_for(A_WHILE).await;
    assert_eq!(world.unsaid(), 10);
    server.says(&format!(":irc.test PONG irc.test :{fence}")).await;
    hears(&mut server, 5..=8).await;
    assert_eq!(world.unsaid(), 6);
    server.answers_a_fence().await;
    hears(&mut server, 9..=10).await;
    server.answers_a_fence().await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_pong_proves_nothing_that_was_written_after_its_ping() {
    let (world, mut server) = World::in_a().await;
    say(&world, 1..=1).await;
    hears(&mut server, 1..=1).await;
    let first = server.is_asked_for_a_fence().await;
    say(&world, 2..=2).await;
    hears(&mut server, 2..=2).await;
    let second = server.is_asked_for_a_fence().await;
    server.says(&format!("PONG :{first}")).await;
    server.hears_nothing_for(A_WHILE).await;
    assert_eq!(world.unsaid(), 1);
    server.says(&format!("PONG :{second}")).await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn as_many_lines_may_be_unproved_as_the_network_says() {
    for unproved in [1, 3] {
        let (world, mut server) = World::in_a_of(Network { unproved, ..network() }).await;
        say(&world, 1..=6).await;
        for first in (1..=6).step_by(unproved) {
            hears(&mut server, first..=first + unproved as u128 - 1).await;
            let fence = server.is_asked_for_a_fence().await;
            server.hears_nothing_for(Duration::from_secs(1)).await;
            server.says(&format!("PONG :{fence}")).await;
        }
        world.settled(&mut server).await;
        world.ends(server).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_proved_is_acknowledged_only_once_it_is_remembered() {
    let (world, mut server) = World::in_a().await;
    world.broker.publish_failures.store(u32::MAX, Ordering::Relaxed);
    say(&world, 1..=6).await;
    hears(&mut server, 1..=4).await;
    server.answers_a_fence().await;
    // proved, yet it counts: with a crash now it would be said again
    server.hears_nothing_for(A_WHILE).await;
    assert_eq!((world.unsaid(), world.records().await.len()), (6, 0));
    world.broker.publish_failures.store(0, Ordering::Relaxed);
    hears(&mut server, 5..=6).await;
    assert_eq!(world.unsaid(), 2);
    assert!(world.records().await[0].contains(&Uuid::from_u128(4).to_string()));
    server.answers_a_fence().await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_speaker_asks_for_a_proof_of_four_lines_at_once() {
    let limited = Network { flood: Flood::Budget { burst: 1, per_second: 0.5 }, ..network() };
    let (world, mut server) = World::in_a_of(limited).await;
    say(&world, 1..=10).await;
    hears(&mut server, 1..=4).await;
    server.answers_a_fence().await;
    hears(&mut server, 5..=8).await;
    server.answers_a_fence().await;
    // nothing more to say: at once
    hears(&mut server, 9..=10).await;
    let last = Instant::now();
    server.answers_a_fence().await;
    assert!(last.elapsed() < Duration::from_secs(1));
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_very_slow_speaker_asks_for_a_proof_after_ten_seconds() {
    let limited = Network { flood: Flood::Budget { burst: 1, per_second: 0.125 }, ..network() };
    let (world, mut server) = World::in_a_of(limited).await;
    say(&world, 1..=6).await;
    hears(&mut server, 1..=1).await;
    let first = Instant::now();
    hears(&mut server, 2..=2).await;
    server.answers_a_fence().await;
    assert!((10..=11).contains(&first.elapsed().as_secs()), "{:?}", first.elapsed());
    world.leaves(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_comes_with_the_end_of_the_connection_counts() {
    let (mut world, mut server) = World::in_a().await;
    say(&world, 1..=2).await;
    hears(&mut server, 1..=2).await;
    let fence = server.is_asked_for_a_fence().await;
    server.says(&format!("PONG :{fence}\r\nERROR :Closing link")).await;
    drop(server);
    let mut server = world.reenters(&[]).await;
    server.hears_nothing_for(A_WHILE).await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn with_labels_each_line_is_proved_by_its_answer_and_no_fence_is_needed() {
    let (mut world, mut server) = World::in_a_with(&LABELS, network()).await;
    say(&world, 1..=6).await;
    for n in 1..=4 {
        server.hears_exactly(&format!("@label={n} PRIVMSG #a :{n}")).await;
    }
    server.hears_nothing_for(Duration::from_secs(4)).await;
    assert_eq!(world.unsaid(), 6);
    server.says("@label=2 :irc.test ACK").await;
    server.hears_exactly("@label=5 PRIVMSG #a :5").await;
    server.says("@label=1 :pubbot!pub@bot.host PRIVMSG #a :1").await;
    server.hears_exactly("@label=6 PRIVMSG #a :6").await;
    server.says("@label=3 :irc.test BATCH +x labeled-response").await;
    server.says("@batch=x :pubbot!pub@bot.host PRIVMSG #a :3").await;
    server.says(":irc.test BATCH -x").await;
    for n in 4..=6 {
        server.says(&format!("@label={n} :irc.test ACK")).await;
    }
    server.hears_nothing_for(A_WHILE).await;
    assert_eq!(world.unsaid(), 0);
    // none of it was an event
    server.says(":alice!a@h PRIVMSG #a :hi").await;
    assert_eq!(world.event("chat.irc.#a.chat").await["content"], "hi");
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_labelled_line_whose_answer_is_missing_is_fenced_after_five_seconds() {
    let (world, mut server) = World::in_a_with(&LABELS_ONLY, network()).await;
    say(&world, 1..=2).await;
    let start = Instant::now();
    for n in 1..=2 {
        server.hears_exactly(&format!("@label={n} PRIVMSG #a :{n}")).await;
    }
    server.says("@label=1 :irc.test ACK").await;
    let fence = server.is_asked_for_a_fence().await;
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(world.unsaid(), 1);
    server.says(&format!("PONG :{fence}")).await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn with_labels_a_line_of_another_session_proves_nothing() {
    let (world, mut server) = World::in_a_with(&LABELS, network()).await;
    say(&world, 1..=1).await;
    server.hears_exactly("@label=1 PRIVMSG #a :1").await;
    server.says(":pubbot!pub@bot.host PRIVMSG #a :1").await;
    server.hears_nothing_for(Duration::from_secs(4)).await;
    assert_eq!(world.unsaid(), 1);
    server.says("@label=1 :irc.test ACK").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_with_a_label_ends_that_reply_alone() {
    let (world, mut server) = World::in_a_with(&LABELS, network()).await;
    let many = json!({"id": Uuid::from_u128(1), "channel": "#a", "content": ["1", "x", "x", "x", "x"]});
    world.puts("pubbot.replies.irc.test", many.to_string().as_bytes()).await;
    say(&world, 2..=3).await;
    for (n, text) in [(1, "1"), (2, "x"), (3, "x"), (4, "x")] {
        server.hears_exactly(&format!("@label={n} PRIVMSG #a :{text}")).await;
    }
    server.says("@label=1 :irc.test ACK").await;
    server.hears_exactly("@label=5 PRIVMSG #a :x").await;
    server.says("@label=2 :irc.test 404 pubbot #a :Cannot send to channel").await;
    server.hears_exactly("@label=6 PRIVMSG #a :2").await;
    server.says("@label=3 :irc.test BATCH +x labeled-response").await;
    server.says("@batch=x :irc.test 404 pubbot #a :Cannot send to channel").await;
    server.says(":irc.test BATCH -x").await;
    server.hears_exactly("@label=7 PRIVMSG #a :3").await;
    for label in [4, 5, 6, 7] {
        server.says(&format!("@label={label} :irc.test ACK")).await;
    }
    let dead = world.dead(1).await;
    assert!(dead[0].properties.word("error").unwrap().contains("404 Cannot send to channel"), "{:?}", dead[0]);
    assert_eq!(dead[0].properties.word("key"), Some("pubbot.replies.irc.test"));
    assert_eq!(dead[0].properties.word("queue"), Some("pubbot.replies.irc.test"));
    assert_eq!(dead[0].body, many.to_string());
    drop(dead);
    server.hears_nothing_for(Duration::from_secs(1)).await;
    assert_eq!((world.unsaid(), world.buried()), (0, 1));
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn with_echoes_alone_a_line_is_proved_by_its_echo_and_a_missing_one_is_asked_for() {
    let (mut world, mut server) = World::in_a_with(&["echo-message"], network()).await;
    say(&world, 1..=5).await;
    hears(&mut server, 1..=4).await;
    server.hears_nothing_for(Duration::from_secs(4)).await;
    let start = Instant::now();
    for n in 1..=3 {
        server.says(&format!(":pubbot!pub@bot.host PRIVMSG #A :{n}")).await;
    }
    hears(&mut server, 5..=5).await;
    assert_eq!(world.unsaid(), 2);
    server.answers_a_fence().await;
    assert!((0..=1).contains(&start.elapsed().as_secs()));
    world.settled(&mut server).await;
    server.says(":alice!a@h PRIVMSG #a :hi").await;
    assert_eq!(world.event("chat.irc.#a.chat").await["content"], "hi");
    world.ends(server).await;
}

/// What a server says to a line that it does not take, and what a dead letter tells of it.
const REFUSALS: [(&str, &str); 14] = [
    ("401 pubbot #a :No such nick/channel", "401 No such nick/channel"),
    ("403 pubbot #a :No such channel", "403 No such channel"),
    ("404 pubbot #A :Cannot send to channel", "404 Cannot send to channel"),
    ("407 pubbot #a :Too many targets", "407 Too many targets"),
    ("408 pubbot #a :You cannot use colors here", "408 You cannot use colors here"),
    ("439 pubbot #a :Target change too fast", "439 Target change too fast"),
    ("442 pubbot #a :You're not on that channel", "442 You're not on that channel"),
    ("477 pubbot #a :You need to be identified", "477 You need to be identified"),
    ("531 pubbot #a :You can't send private messages", "531 You can't send private messages"),
    ("707 pubbot #a :Targets changing too fast, message dropped", "707 Targets changing too fast, message dropped"),
    ("716 pubbot #a :is in +g mode", "716 is in +g mode"),
    ("NOTICE pubbot :*** Message to #a throttled due to flooding", "*** Message to #a throttled due to flooding"),
    ("FAIL PRIVMSG CANNOT_SEND #a :Go away", "CANNOT_SEND Go away"),
    ("FAIL PRIVMSG NOT_NOW :Go away", "NOT_NOW Go away"),
];

#[tokio::test(start_paused = true)]
async fn a_line_that_is_refused_before_the_pong_ends_its_reply_for_good_and_proves_the_others() {
    for (refusal, why) in REFUSALS {
        let (mut world, mut server) = World::in_a().await;
        world.answers(json!({"id": Uuid::from_u128(1), "channel": "#a", "content": ["1", "x", "x"]})).await;
        world.answers(json!({"id": Uuid::from_u128(2), "channel": "bob", "content": "2"})).await;
        for line in ["PRIVMSG #a :1", "PRIVMSG bob :2", "PRIVMSG #a :x", "PRIVMSG #a :x"] {
            server.hears_exactly(line).await;
        }
        let fence = server.is_asked_for_a_fence().await;
        server.says(&format!(":irc.test {refusal}")).await;
        server.says(&format!(":irc.test PONG irc.test :{fence}")).await;
        world.settled(&mut server).await;
        let dead = world.dead(1).await;
        assert!(dead[0].properties.word("error").unwrap().ends_with(why), "{:?}", dead[0]);
        drop(dead);
        assert_eq!((world.unsaid(), world.buried()), (0, 1));
        drop(server);
        let mut server = world.reenters(&[]).await;
        server.hears_nothing_for(A_WHILE).await;
        world.ends(server).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_no_proof_of_the_lines_before_it() {
    let (world, mut server) = World::in_a().await;
    say(&world, 1..=2).await;
    hears(&mut server, 1..=2).await;
    server.is_asked_for_a_fence().await;
    server.says(":irc.test 404 pubbot #b :Cannot send to channel").await;
    server.says(":irc.test 421 pubbot PRIVMSG :Unknown command").await;
    server.says(":alice!a@h NOTICE pubbot :Message to #a throttled due to flooding").await;
    server.hears_nothing_for(Duration::from_secs(1)).await;
    assert_eq!((world.unsaid(), world.buried()), (2, 0));
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_which_three_lines_were_proved_goes_on_with_the_fourth() {
    let (mut world, mut server) = World::in_a_of(Network { unproved: 3, ..network() }).await;
    world.answers(json!({"id": Uuid::from_u128(1), "channel": "#a", "content": ["1", "2", "3", "4", "5"]})).await;
    hears(&mut server, 1..=3).await;
    server.answers_a_fence().await;
    hears(&mut server, 4..=5).await;
    server.is_asked_for_a_fence().await;
    drop(server);
    let mut server = world.reenters(&[]).await;
    hears(&mut server, 4..=5).await;
    server.answers_a_fence().await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn another_connector_goes_on_where_a_killed_one_ended() {
    let (first, mut server) = World::in_a_of(Network { unproved: 3, ..network() }).await;
    let whole: Vec<Value> = (11..=13).map(reply).collect();
    for reply in &whole {
        first.answers(reply.clone()).await;
    }
    hears(&mut server, 11..=13).await;
    server.answers_a_fence().await;
    first.answers(json!({"id": Uuid::from_u128(1), "channel": "#a", "content": ["1", "2", "3", "4", "5"]})).await;
    hears(&mut server, 1..=3).await;
    server.answers_a_fence().await;
    hears(&mut server, 4..=5).await;
    let broker = first.broker.clone();
    first.dies().await;
    drop(server);

    let (second, mut server) = World::on(broker, network()).await.enters(&[]).await;
    for reply in whole {
        second.answers(reply.clone()).await;
        second.notifies(reply).await;
    }
    hears(&mut server, 4..=5).await;
    server.answers_a_fence().await;
    second.settled(&mut server).await;
    second.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_waits_for_the_last_proof_and_then_says_goodbye() {
    let (world, mut server) = World::in_a().await;
    say(&world, 1..=6).await;
    hears(&mut server, 1..=4).await;
    let fence = server.is_asked_for_a_fence().await;
    world.stop.cancel();
    server.hears_nothing_for(Duration::from_secs(4)).await;
    server.says(&format!("PONG :{fence}")).await;
    server.hears_exactly("QUIT :pubbot").await;
    drop(server);
    let broker = world.broker.clone();
    world.result().await.unwrap();
    assert_eq!(broker.inner.held("pubbot.replies.irc.test"), 2);
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_waits_five_seconds_at_most() {
    let (world, mut server) = World::in_a().await;
    say(&world, 1..=2).await;
    hears(&mut server, 1..=2).await;
    server.is_asked_for_a_fence().await;
    let start = Instant::now();
    world.stop.cancel();
    server.hears_exactly("QUIT :pubbot").await;
    assert_eq!(start.elapsed().as_secs(), 5);
    drop(server);
    let broker = world.broker.clone();
    world.result().await.unwrap();
    assert_eq!(broker.inner.held("pubbot.replies.irc.test"), 2);
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_asks_for_the_proof_of_a_slow_speakers_lines_at_once() {
    let limited = Network { flood: Flood::Budget { burst: 1, per_second: 0.125 }, ..network() };
    let (world, mut server) = World::in_a_of(limited).await;
    say(&world, 1..=6).await;
    hears(&mut server, 1..=1).await;
    let start = Instant::now();
    world.stop.cancel();
    server.answers_a_fence().await;
    server.hears_exactly("QUIT :pubbot").await;
    assert!(start.elapsed() < Duration::from_secs(2));
    drop(server);
    let broker = world.broker.clone();
    world.result().await.unwrap();
    assert_eq!(broker.inner.held("pubbot.replies.irc.test"), 5);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_heard_but_proves_nothing_is_given_up() {
    let (mut world, mut server) = World::in_a().await;
    say(&world, 1..=1).await;
    hears(&mut server, 1..=1).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(74) {
        server.says(":alice!a@h PRIVMSG #a :I can hear myself").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut next = world.server().await;
    assert!((75..=77).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    drop(server);
    next.welcomes().await;
    hears(&mut next, 1..=1).await;
    assert_eq!(world.unsaid(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_fence_that_was_swallowed_is_asked_for_again() {
    let (world, mut server) = World::in_a().await;
    say(&world, 1..=1).await;
    hears(&mut server, 1..=1).await;
    let first = server.is_asked_for_a_fence().await;
    let start = Instant::now();
    let second = server.is_asked_for_a_fence().await;
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_ne!(first, second);
    server.says(&format!(":irc.test PONG irc.test :{second}")).await;
    world.settled(&mut server).await;
    world.ends(server).await;
}
