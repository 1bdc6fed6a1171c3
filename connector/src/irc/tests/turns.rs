//! Each channel gets its turn, and answers come before notices.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::world::{Server, World, network};
use crate::irc::{Flood, Network};
use crate::testing::MovingAmbient;

fn reply(n: u128, channel: &str, content: &str) -> Value {
    json!({"id": Uuid::from_u128(n), "channel": channel, "content": content})
}

/// No more than one line at once, so that each turn is seen.
async fn one_by_one() -> (World, Server) {
    let flood = Flood::Budget { burst: 1, per_second: 100.0 };
    World::in_a_of(Network { flood, unproved: 1, ..network() }).await
}

#[tokio::test(start_paused = true)]
async fn channels_take_turns_line_by_line_and_each_keeps_its_order() {
    let (world, mut server) = one_by_one().await;
    // all of it comes while the first line is not proved
    world.answers(reply(1, "#a", "first")).await;
    server.hears_exactly("PRIVMSG #a :first").await;
    let fence = server.is_asked_for_a_fence().await;
    world.answers(json!({"channel": "#a", "content": ["a1", "a2", "a3"]})).await;
    world.answers(json!({"channel": "#A", "content": "a4"})).await;
    world.answers(json!({"channel": "#b", "content": ["b1", "b2"]})).await;
    world.answers(json!({"channel": "bob", "content": "c1"})).await;
    world.answers(json!({"channel": "#b", "content": "b3"})).await;
    server.hears_nothing_for(Duration::from_secs(1)).await;
    server.says(&format!("PONG :{fence}")).await;
    for line in ["#a :a1", "#b :b1", "bob :c1", "#a :a2", "#b :b2", "#a :a3", "#b :b3", "#A :a4"] {
        server.hears(&format!("PRIVMSG {line}")).await;
    }
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_500_notices_delays_an_answer_elsewhere_by_two_seconds_at_most() {
    for flood in [Flood::default(), Flood::Budget { burst: 4, per_second: 0.5 }] {
        let (world, mut server) = World::in_a_of(Network { flood, ..network() }).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        for n in 0..500 {
            world.notifies(reply(n + 1, "#feed", &format!("news {n}"))).await;
        }
        let (mut news, mut worst) = (0, Duration::ZERO);
        for n in 0..40_u64 {
            // at a different moment between two lines each time
            let asked = Instant::now() + Duration::from_millis(10_000 + 370 * n);
            while let Some(line) = heard_until(&mut server, asked).await {
                assert!(line.starts_with("PRIVMSG #feed :news "), "{line}");
                news += 1;
            }
            world.answers(reply(1_000 + u128::from(n), "#a", "answer")).await;
            server.hears("PRIVMSG #a :answer").await;
            worst = worst.max(asked.elapsed());
        }
        println!("{flood:?}: an answer waited for {worst:?} at most, {news} notices were said beside 40 answers");
        assert!(worst <= Duration::from_millis(2_010), "{worst:?}");
        assert!(news > 80);
        world.dies().await;
    }
}

/// The next line that is said until then; fences are answered.
async fn heard_until(server: &mut Server, until: Instant) -> Option<String> {
    loop {
        let line = server.line_until(until).await?;
        match line.strip_prefix("PING ") {
            Some(token) => server.says(&format!("PONG {token}")).await,
            None => return Some(line),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_chatty_channel_does_not_starve_another() {
    let (world, mut server) = one_by_one().await;
    for n in 0..40 {
        world.answers(reply(n + 1, "#chatty", "blah")).await;
    }
    world.answers(reply(100, "#quiet", "hello?")).await;
    let mut before = 0;
    while server.line().await != "PRIVMSG #quiet :hello?" {
        before += 1;
    }
    assert!(before <= 2, "{before}");
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn what_becomes_too_old_while_it_waits_is_not_begun() {
    let flood = Flood::Budget { burst: 1, per_second: 0.05 };
    let world = World::at(MovingAmbient::arc(), Arc::default(), Network { flood, ..network() }).await;
    let (world, mut server) = world.enters(&[]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let soon = protocol::Timestamp::from_millis(crate::testing::NOW + 70_000);
    world.answers(reply(1, "#a", "first")).await;
    assert_eq!(server.said().await, "first");
    // the one waits for the budget, the other behind it
    for n in [2, 3] {
        world.answers(json!({"id": Uuid::from_u128(n), "channel": "#a", "content": "late", "expires_at": soon})).await;
    }
    world.answers(json!({"id": Uuid::from_u128(4), "channel": "#a", "content": ["begun", "and ended"]})).await;
    assert_eq!(server.said().await, "begun");
    assert_eq!(server.said().await, "and ended");
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_becomes_too_old_behind_a_line_that_is_not_proved_is_not_begun() {
    let one = Network { unproved: 1, ..network() };
    let (world, mut server) = World::at(MovingAmbient::arc(), Arc::default(), one).await.enters(&[]).await;
    let soon = protocol::Timestamp::from_millis(crate::testing::NOW + 5_000);
    world.answers(reply(1, "#a", "first")).await;
    world.answers(json!({"id": Uuid::from_u128(2), "channel": "#a", "content": "late", "expires_at": soon})).await;
    server.hears_exactly("PRIVMSG #a :first").await;
    let fence = server.is_asked_for_a_fence().await;
    server.hears_nothing_for(Duration::from_secs(6)).await;
    server.says(&format!("PONG :{fence}")).await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_given_back_in_order_when_the_connection_breaks() {
    let (mut world, mut server) = one_by_one().await;
    for n in 0..30 {
        world.answers(reply(n + 1, ["#a", "#b", "#c"][n as usize % 3], &n.to_string())).await;
    }
    server.hears_exactly("PRIVMSG #a :0").await;
    server.is_asked_for_a_fence().await;
    drop(server);
    let mut server = world.reenters(&[]).await;
    let mut said = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..30 {
        let line = server.line().await;
        let n: usize = line.rsplit(':').next().unwrap().parse().unwrap();
        said[n % 3].push(n);
    }
    for (channel, numbers) in said.into_iter().enumerate() {
        assert_eq!(numbers, (channel..30).step_by(3).collect::<Vec<_>>());
    }
    world.settled(&mut server).await;
    world.ends(server).await;
}
