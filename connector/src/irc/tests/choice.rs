//! Of all answers to a line the best is said, where a channel is set to that; and two bots don't answer each other for
//! ever.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::world::{Server, World, network};
use crate::irc::speak::choice::MAX_HELD;
use crate::irc::{Answers, Channel, Network};

const A_WHILE: Duration = Duration::from_secs(30);

/// In `#a` only the best answer is said.
fn best() -> Network {
    let channel = |name: &str, answers| Channel { name: name.into(), key: None, answers };
    let mut network = network();
    network.channels[0] = channel("#A", Answers::Best);
    network.channels.push(channel("#b", Answers::All));
    network
}

async fn in_a_of(network: Network) -> (World, Server) {
    let mut world = World::of(network).await;
    let server = enter(&mut world).await;
    (world, server)
}

async fn enter(world: &mut World) -> Server {
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 001 pubbot :Welcome pubbot!pub@bot.host").await;
    server.hears("JOIN #secret,#A,#b sesame").await;
    // they are not asked for again
    for channel in ["#secret", "#A", "#b"] {
        server.says(&format!(":irc.test 403 pubbot {channel} :No such channel")).await;
    }
    server
}

/// What a handler answers to an event.
fn answer(event: u128, handler: &str, rank: i64, content: &str) -> Value {
    let (event, handler) = (Uuid::from_u128(event), format!("g/p/{handler}"));
    json!({"channel": "#a", "in_reply_to": event, "handler": handler, "rank": rank, "content": content})
}

#[tokio::test(start_paused = true)]
async fn the_handler_of_the_highest_rank_is_heard_after_the_window_and_no_other() {
    let (world, mut server) = in_a_of(best()).await;
    world.answers(answer(1, "low", 1, "no")).await;
    let start = Instant::now();
    world.answers(answer(1, "high", 1, "yes, first")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.answers(answer(1, "high", 7, "yes, second")).await;
    world.answers(answer(1, "also-high", 7, "no, later")).await;
    server.hears("PRIVMSG #a :yes, first").await;
    assert_eq!(start.elapsed().as_millis() / 10, 15);
    server.hears("PRIVMSG #a :yes, second").await;
    world.settled(&mut server).await;
    assert_eq!(world.buried(), 0);
    // it is decided
    world.answers(answer(1, "late", 100, "no")).await;
    world.answers(answer(1, "high", -1, "yes, late")).await;
    let start = Instant::now();
    server.hears("PRIVMSG #a :yes, late").await;
    assert!(start.elapsed() < Duration::from_millis(100));
    world.settled(&mut server).await;
    server.hears_nothing_for(A_WHILE).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn ties_go_to_the_first_and_each_event_is_a_choice_of_its_own() {
    let (world, mut server) = in_a_of(best()).await;
    for event in 1..=3 {
        world.answers(answer(event, "first", 0, &format!("{event}"))).await;
        world.answers(answer(event, "second", 0, "no")).await;
    }
    for event in 1..=3 {
        server.hears(&format!("PRIVMSG #a :{event}")).await;
    }
    world.settled(&mut server).await;
    server.hears_nothing_for(A_WHILE).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn other_channels_and_what_answers_nothing_are_said_at_once() {
    let (world, mut server) = in_a_of(best()).await;
    let start = Instant::now();
    world.answers(answer(1, "held", 1, "held")).await;
    world.answers(json!({"channel": "#a", "content": "an answer to nothing"})).await;
    server.hears("PRIVMSG #a :an answer to nothing").await;
    for handler in ["x", "y"] {
        let mut answer = answer(2, handler, 0, handler);
        answer["channel"] = "#b".into();
        world.answers(answer).await;
        server.hears(&format!("PRIVMSG #b :{handler}")).await;
    }
    world.notifies(answer(1, "notice", 0, "a notice")).await;
    server.hears("PRIVMSG #a :a notice").await;
    assert!(start.elapsed() < Duration::from_millis(100));
    server.hears("PRIVMSG #a :held").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_before_the_choice_is_written_down() {
    let (world, mut server) = in_a_of(best()).await;
    server.fence().await;
    world.broker.publish_failures.store(u32::MAX, Ordering::Relaxed);
    world.answers(answer(1, "low", 1, "no")).await;
    world.answers(answer(1, "high", 2, "yes")).await;
    server.hears_nothing_for(A_WHILE).await;
    assert_eq!((world.unsaid(), world.records().await.len()), (2, 0));
    world.broker.publish_failures.store(0, Ordering::Relaxed);
    server.hears_exactly("PRIVMSG #a :yes").await;
    let records = world.records().await;
    assert!(records.len() == 1 && records[0].contains("g/p/high"), "{records:?}");
    server.answers_a_fence().await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_choice_that_is_due_while_no_more_may_be_written_waits_without_haste() {
    let (world, mut server) = in_a_of(best()).await;
    server.fence().await;
    world.answers(answer(1, "high", 2, "yes")).await;
    let mut fence = String::new();
    for n in 1..=4 {
        world.answers(json!({"channel": "#b", "content": n.to_string()})).await;
        server.hears_exactly(&format!("PRIVMSG #b :{n}")).await;
        fence = server.is_asked_for_a_fence().await;
    }
    server.hears_nothing_for(A_WHILE).await;
    server.says(&format!("PONG :{fence}")).await;
    server.hears("PRIVMSG #a :yes").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_while_the_choice_is_written_down_changes_it_no_more() {
    let (world, mut server) = in_a_of(best()).await;
    server.fence().await;
    world.broker.publish_takes.store(100, Ordering::Relaxed);
    world.answers(answer(1, "chosen", 1, "yes")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.answers(answer(1, "better", 9, "no")).await;
    world.answers(answer(1, "chosen", 0, "yes, too")).await;
    server.hears("PRIVMSG #a :yes").await;
    server.hears("PRIVMSG #a :yes, too").await;
    world.settled(&mut server).await;
    server.hears_nothing_for(A_WHILE).await;
    assert_eq!(world.records().await.iter().filter(|record| record.contains("chosen")).count(), 1);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_when_the_connection_breaks_is_chosen_on_the_next_one() {
    let (mut world, server) = in_a_of(best()).await;
    world.answers(answer(1, "low", 1, "no")).await;
    world.answers(answer(1, "high", 2, "yes")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(server);
    let mut server = enter(&mut world).await;
    server.hears("PRIVMSG #a :yes").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn another_connector_keeps_to_the_choice() {
    let (first, mut server) = in_a_of(best()).await;
    first.answers(answer(1, "chosen", 1, "yes")).await;
    server.hears("PRIVMSG #a :yes").await;
    first.settled(&mut server).await;
    let broker = first.broker.clone();
    first.dies().await;
    drop(server);
    let mut second = World::on(broker, best()).await;
    let mut server = enter(&mut second).await;
    second.answers(answer(1, "better", 9, "no")).await;
    second.answers(answer(1, "chosen", 0, "yes, too")).await;
    server.hears("PRIVMSG #a :yes, too").await;
    second.settled(&mut server).await;
    server.hears_nothing_for(A_WHILE).await;
    second.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn when_too_much_is_held_the_oldest_choice_is_made_at_once() {
    let patient = Network { answers_window: Duration::from_secs(600), ..best() };
    let (world, mut server) = in_a_of(patient).await;
    server.fence().await;
    let held = MAX_HELD as u128;
    for event in 1..=held {
        world.answers(answer(event, "only", 0, &event.to_string())).await;
    }
    server.hears_nothing_for(Duration::from_secs(60)).await;
    world.broker.publish_failures.store(u32::MAX, Ordering::Relaxed);
    for event in held + 1..=held + 2 {
        world.answers(answer(event, "only", 0, &event.to_string())).await;
    }
    server.hears_nothing_for(Duration::from_secs(60)).await;
    world.broker.publish_failures.store(0, Ordering::Relaxed);
    for event in 1..=2 {
        server.hears(&format!("PRIVMSG #a :{event}")).await;
    }
    while world.unsaid() > MAX_HELD {
        server.fence().await;
    }
    server.hears_nothing_for(Duration::from_secs(60)).await;
    assert_eq!(world.unsaid(), MAX_HELD);
    drop(world);
}

/// Somebody says this; what the bot answers it, if it may.
async fn exchange(world: &mut World, server: &mut Server, text: &str, answer: &str) -> Option<String> {
    server.says(&format!(":robot!r@h PRIVMSG #a :{text}")).await;
    let event = world.event("chat.irc.#a.chat").await;
    world.answers(json!({"channel": "#a", "in_reply_to": event["id"], "content": answer})).await;
    tokio::select! {
        biased;
        line = server.line() => Some(line.strip_prefix("PRIVMSG #a :").unwrap().to_owned()),
        () = world.broker.inner.idle() => None,
    }
}

#[tokio::test(start_paused = true)]
async fn two_bots_that_answer_each_other_are_heard_a_few_times_a_minute() {
    let (mut world, mut server) = World::in_a().await;
    let start = Instant::now();
    let mut said = Vec::new();
    // one exchange in half a second, for three minutes
    while start.elapsed() < Duration::from_secs(180) {
        if exchange(&mut world, &mut server, "what do you mean?", "I mean that").await.is_some() {
            said.push(start.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for begin in &said {
        let within = said.iter().filter(|at| **at >= *begin && **at < *begin + Duration::from_secs(60)).count();
        assert!(within <= 10, "{within} in a minute: {said:?}");
    }
    assert!(said.len() >= 6, "{said:?}");
    assert_eq!((world.unsaid(), world.buried()), (0, 0));
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_repeats_what_is_said_to_it_is_a_loop_too() {
    let (mut world, mut server) = World::in_a().await;
    let mut last = "hello".to_owned();
    let mut said = 0;
    for n in 0..50 {
        match exchange(&mut world, &mut server, &format!("{n}: you said {last}"), &format!("no, {n} it was")).await {
            Some(answer) => (last, said) = (answer, said + 1),
            None => break,
        }
    }
    assert_eq!(said, 3);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_person_who_says_something_new_each_time_is_always_answered() {
    let (mut world, mut server) = World::in_a().await;
    for n in 0..100 {
        let answer = exchange(&mut world, &mut server, &format!("!dice {n}"), "you rolled a 4").await;
        assert_eq!(answer.as_deref(), Some("you rolled a 4"));
    }
    world.ends(server).await;
}
