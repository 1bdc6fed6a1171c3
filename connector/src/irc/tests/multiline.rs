//! A reply of several lines is one message, where the network takes that: written as a whole, proved as a whole.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::world::{Server, World, network};
use crate::irc::Flood;

const MULTILINE: &str = "draft/multiline=max-bytes=4096,max-lines=10";
const LABELS: &[&str] = &["message-tags", "batch", "labeled-response", "echo-message", MULTILINE];
const ECHOES: &[&str] = &["message-tags", "batch", "echo-message", MULTILINE];
const FENCES: &[&str] = &["message-tags", "batch", MULTILINE];

fn three() -> Value {
    json!({"id": Uuid::from_u128(1), "channel": "#a", "content": ["one", "two", "three"]})
}

/// The bot says those three lines as one message; `label` stands before it.
async fn hears_three(server: &mut Server, label: &str) {
    server.hears_exactly(&format!("{label}BATCH +m draft/multiline #a")).await;
    for text in ["one", "two", "three"] {
        server.hears_exactly(&format!("@batch=m PRIVMSG #a :{text}")).await;
    }
    server.hears_exactly("BATCH -m").await;
}

/// The server sends it back, as one message with these tags.
async fn echoes_three(server: &mut Server, tags: &str) {
    server.says(&format!("{tags}:pubbot!pub@bot.host BATCH +e draft/multiline #a")).await;
    for text in ["one", "two", "three"] {
        server.says(&format!("@batch=e :pubbot!pub@bot.host PRIVMSG #a :{text}")).await;
    }
    server.says(":irc.test BATCH -e").await;
}

#[tokio::test(start_paused = true)]
async fn it_is_proved_by_its_label() {
    let (world, mut server) = World::in_a_with(LABELS, network()).await;
    world.answers(three()).await;
    hears_three(&mut server, "@label=1 ").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.unsaid(), 1);
    echoes_three(&mut server, "@label=1 ").await;
    world.settled(&mut server).await;
    // a single line is a line
    world.answers(json!({"channel": "#a", "content": "four"})).await;
    server.hears_exactly("@label=2 PRIVMSG #a :four").await;
    server.says("@label=2 :irc.test ACK").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn as_a_whole_it_names_the_message_that_it_answers() {
    let (world, mut server) = World::in_a_with(LABELS, network()).await;
    let mut answer = three();
    answer["msgid"] = "abc".into();
    world.answers(answer).await;
    hears_three(&mut server, "@label=1;+reply=abc ").await;
    echoes_three(&mut server, "@label=1 ").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_proved_by_its_echo_or_by_a_fence() {
    let (world, mut server) = World::in_a_with(ECHOES, network()).await;
    world.answers(three()).await;
    hears_three(&mut server, "").await;
    server.says(":pubbot!pub@bot.host PRIVMSG #a :one").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.unsaid(), 1, "one of its lines proves nothing");
    echoes_three(&mut server, "").await;
    world.settled(&mut server).await;
    world.ends(server).await;

    let (world, mut server) = World::in_a_with(FENCES, network()).await;
    world.answers(three()).await;
    hears_three(&mut server, "").await;
    server.answers_a_fence().await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_proved_is_said_again_as_a_whole() {
    let (mut world, mut server) = World::in_a_with(FENCES, network()).await;
    world.answers(three()).await;
    hears_three(&mut server, "").await;
    server.is_asked_for_a_fence().await;
    drop(server);
    let mut server = world.reenters(FENCES).await;
    hears_three(&mut server, "").await;
    server.answers_a_fence().await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_line_by_line_goes_on_so() {
    let (mut world, mut server) = World::in_a_with(&["echo-message"], network()).await;
    world.answers(three()).await;
    server.hears_exactly("PRIVMSG #a :one").await;
    server.says(":pubbot!pub@bot.host PRIVMSG #a :one").await;
    sleep(Duration::from_secs(1)).await;
    drop(server);
    let mut server = world.reenters(FENCES).await;
    server.hears_exactly("PRIVMSG #a :two").await;
    server.hears_exactly("PRIVMSG #a :three").await;
    server.answers_a_fence().await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_one_ends_as_a_dead_letter() {
    for (capabilities, label, refusal) in [
        (LABELS, "@label=1 ", "@label=1 FAIL BATCH MULTILINE_MAX_BYTES 4096 :Too long"),
        (FENCES, "", "FAIL BATCH MULTILINE_MAX_BYTES 4096 :Too long"),
        (FENCES, "", ":irc.test 404 pubbot #a :Cannot send to channel"),
    ] {
        let (world, mut server) = World::in_a_with(capabilities, network()).await;
        world.answers(three()).await;
        hears_three(&mut server, label).await;
        server.says(refusal).await;
        let letters = world.dead(1).await;
        assert_eq!(letters.len(), 1, "{refusal}");
        world.dies().await;
    }
}

#[tokio::test(start_paused = true)]
async fn five_lines_at_most_and_the_last_says_how_many_are_missing() {
    let (world, mut server) = World::in_a_with(FENCES, network()).await;
    let lines: Vec<String> = (1..=9).map(|n| n.to_string()).collect();
    world.answers(json!({"channel": "#a", "content": lines})).await;
    server.hears_exactly("BATCH +m draft/multiline #a").await;
    for text in ["1", "2", "3", "4", "… 5 more lines"] {
        server.hears_exactly(&format!("@batch=m PRIVMSG #a :{text}")).await;
    }
    server.hears_exactly("BATCH -m").await;
    server.answers_a_fence().await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn all_its_lines_are_paid_for() {
    let flood = Flood::Budget { burst: 4, per_second: 0.5 };
    let (world, mut server) = World::in_a_with(LABELS, crate::irc::Network { flood, ..network() }).await;
    // what joining has cost is forgiven
    let forgiven = Instant::now() + Duration::from_secs(30);
    while server.line_until(forgiven).await.is_some() {}
    let began = Instant::now();
    world.answers(three()).await;
    hears_three(&mut server, "@label=1 ").await;
    server.says("@label=1 :irc.test ACK").await;
    world.answers(json!({"channel": "#a", "content": "four"})).await;
    server.hears_exactly("@label=2 PRIVMSG #a :four").await;
    // five lines of a burst of four, and one: two lines at half a line a second
    let waited = began.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(6)).contains(&waited), "{waited:?}");
    server.says("@label=2 :irc.test ACK").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}
