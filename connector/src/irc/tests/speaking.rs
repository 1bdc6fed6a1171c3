//! Replies become lines.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::world::{World, network};
use crate::irc::{Flood, Network};
use crate::testing::NOW;

#[tokio::test(start_paused = true)]
async fn a_reply_is_said_as_a_message_a_notice_or_an_action_and_then_acknowledged() {
    let (world, mut server) = World::in_a().await;
    world.answers(json!({"channel": "#a", "content": "hi"})).await;
    server.hears("PRIVMSG #a :hi").await;
    world.answers(json!({"channel": "bob", "content": "psst", "kind": "notice"})).await;
    server.hears("NOTICE bob :psst").await;
    world.notifies(json!({"channel": "#a", "content": "waves", "kind": "action"})).await;
    server.hears("PRIVMSG #a :\x01ACTION waves\x01").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn every_line_of_a_reply_is_a_line_of_its_own_and_nothing_in_it_begins_another() {
    let (world, mut server) = World::in_a().await;
    let content = json!(["a\r\nQUIT :b\rPRIVMSG #b :c\n\nd\0", "", "\r\n", "e\x01VERSION\x01"]);
    world.answers(json!({"channel": "#a", "content": content})).await;
    for line in ["a", "QUIT :b", "PRIVMSG #b :c", "d", "eVERSION"] {
        server.hears(&format!("PRIVMSG #a :{line}")).await;
    }
    server.fence().await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_reply_with_10_000_lines_four_are_said_and_how_many_are_not() {
    let (world, mut server) = World::in_a().await;
    let content: Vec<String> = (1..=10_000).map(|n| n.to_string()).collect();
    world.answers(json!({"channel": "#a", "content": content})).await;
    for line in ["1", "2", "3", "4", "… 9,996 more lines"] {
        server.hears(&format!("PRIVMSG #a :{line}")).await;
    }
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn formatting_goes_on_in_the_next_line() {
    let (world, mut server) = World::in_a().await;
    world.answers(json!({"channel": "#a", "content": format!("\x0304,01\x02{}", "word ".repeat(120))})).await;
    for _ in 0..2 {
        let line = server.line().await;
        assert!(line.starts_with("PRIVMSG #a :\x0304,01\x02word "), "{line}");
        assert!(format!(":pubbot!pub@bot.host {line}\r\n").len() <= 512);
    }
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_text_takes_several_lines_of_which_each_reaches_its_receivers_whole() {
    let (world, mut server) = World::in_a().await;
    let text = vec!["wörd"; 300].join(" ");
    world.answers(json!({"channel": "#a", "content": text})).await;
    let mut said = Vec::new();
    while said.join(" ").len() < text.len() {
        let line = server.line().await;
        assert!(format!(":pubbot!pub@bot.host {line}\r\n").len() <= 512);
        said.push(line.strip_prefix("PRIVMSG #a :").unwrap().to_owned());
    }
    assert_eq!(said.join(" "), text);
    assert_eq!(said.len(), text.len().div_ceil(512 - ":pubbot!pub@bot.host PRIVMSG #a :\r\n".len()));
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_longer_address_leaves_less_room_for_text() {
    let host = "h".repeat(100);
    for change in
        [format!("irc.test 396 pubbot {host} :is now your displayed host"), format!("pubbot!pub@x CHGHOST pub {host}")]
    {
        a_longer_address(&host, &change).await;
    }
}

async fn a_longer_address(host: &str, change: &str) {
    let (mut world, mut server) = World::in_a().await;
    server.says(&format!(":{change}")).await;
    server.says(":pubbot!pub@x NICK robot").await;
    world.event("chat.irc.#a.nick").await;
    world.answers(json!({"channel": "#a", "content": "x".repeat(600)})).await;
    let first = server.line().await;
    assert_eq!(format!(":robot!pub@{host} {first}\r\n").len(), 512);
    server.line().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_reply_delivered_twice_is_said_once() {
    let (world, mut server) = World::in_a().await;
    let reply = json!({"id": uuid::Uuid::from_u128(1), "channel": "#a", "content": "once"});
    world.answers(reply.clone()).await;
    world.answers(reply.clone()).await;
    server.hears("PRIVMSG #a :once").await;
    world.notifies(reply).await;
    world.settled(&mut server).await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_reply_or_leads_elsewhere_is_buried_and_the_next_one_said() {
    let (world, mut server) = World::in_a().await;
    world.puts("pubbot.replies.irc.test", b"no json").await;
    world.puts("pubbot.replies.irc.test", b"").await;
    world.answers(json!({"content": "nowhere"})).await;
    for channel in ["", "#a,#b", "#a :x", ":x", "a b", "#a\r\nQUIT"] {
        world.answers(json!({"channel": channel, "content": "x"})).await;
    }
    world.answers(json!({"channel": "#a", "network": "other", "content": "x"})).await;
    world.answers(json!({"channel": "#a", "content": "ok"})).await;
    server.hears("PRIVMSG #a :ok").await;
    world.settled(&mut server).await;
    assert_eq!(world.buried(), 10);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_has_expired_or_says_nothing_is_acknowledged_unsaid() {
    let (world, mut server) = World::in_a().await;
    let at = |millis| protocol::Timestamp::from_millis(NOW + millis);
    world.answers(json!({"channel": "#a", "content": "late", "expires_at": at(-1)})).await;
    world.answers(json!({"channel": "#a", "content": "in time", "expires_at": at(1)})).await;
    world.answers(json!({"channel": "#a", "content": ["", "\r\n", "\u{1}"]})).await;
    server.hears("PRIVMSG #a :in time").await;
    server.fence().await;
    world.settled(&mut server).await;
    assert_eq!(world.buried(), 0);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn the_flood_budget_grants_a_burst_and_then_a_rate_and_answers_overtake_notices() {
    let limited = Network { flood: Flood::Budget { burst: 3, per_second: 0.5 }, ..network() };
    let (world, mut server) = World::in_a_of(limited).await;
    // what the registration cost is earned again
    tokio::time::sleep(Duration::from_secs(20)).await;
    let start = Instant::now();
    world.notifies(json!({"channel": "#a", "content": ["n1", "n2", "n3", "n4", "n5"]})).await;
    // notices leave a line for an answer, which so need not wait; the fence behind four lines is paid for, too
    for (line, at) in [("n1", 0), ("n2", 0), ("answer", 0), ("n3", 4), ("n4", 8), ("n5", 10)] {
        if line == "answer" {
            world.answers(json!({"channel": "#a", "content": "answer"})).await;
        }
        server.hears(&format!("PRIVMSG #a :{line}")).await;
        assert_eq!(start.elapsed().as_secs(), at, "{line}");
    }
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn many_replies_are_said_in_their_order_and_none_is_lost() {
    let (world, mut server) = World::in_a().await;
    for n in 0..2_000 {
        world.answers(json!({"channel": "#a", "content": n.to_string()})).await;
    }
    for n in 0..2_000 {
        server.hears(&format!("PRIVMSG #a :{n}")).await;
    }
    world.settled(&mut server).await;
    world.ends(server).await;
}
