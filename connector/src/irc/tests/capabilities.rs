//! What is agreed upon at the beginning, and what changes later.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::world::{Server, World, network};
use crate::Secret;
use crate::irc::{Login, Network, Sasl};

const LABELS: [&str; 4] = ["message-tags", "batch", "labeled-response", "echo-message"];

async fn say(world: &World, n: u128) {
    world.answers(json!({"id": Uuid::from_u128(n), "channel": "#a", "content": n.to_string()})).await;
}

/// A server that the bot has begun to talk to.
async fn begun(world: &mut World) -> Server {
    let mut server = world.server().await;
    server.hears_exactly("CAP LS 302").await;
    server.hears_exactly("NICK pubbot").await;
    server.hears_exactly("USER pub 0 * :A bot").await;
    server
}

async fn welcomed(server: &mut Server) {
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.hears("JOIN #secret,#a sesame").await;
}

#[tokio::test(start_paused = true)]
async fn an_offer_of_several_lines_is_answered_once_it_is_complete() {
    let mut world = World::new().await;
    let mut server = begun(&mut world).await;
    server.says(":irc.test CAP * LS * :multi-prefix sasl=PLAIN vendor.example/x").await;
    server.hears_nothing_for(Duration::from_secs(5)).await;
    server.says(":irc.test CAP * LS :server-time draft/chathistory").await;
    server.hears_exactly("CAP REQ :server-time multi-prefix").await;
    // there is no login to wait for
    server.hears_exactly("CAP END").await;
    server.says(":irc.test CAP * ACK :server-time multi-prefix").await;
    welcomed(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_refused_is_followed_by_each_essential_one_alone() {
    let mut world = World::new().await;
    let mut server = begun(&mut world).await;
    server.says(":irc.test CAP * LS :echo-message server-time multi-prefix").await;
    server.hears_exactly("CAP REQ :echo-message server-time multi-prefix").await;
    server.hears_exactly("CAP END").await;
    server.says(":irc.test CAP * NAK :echo-message server-time multi-prefix").await;
    server.hears_exactly("CAP REQ :echo-message").await;
    server.hears_exactly("CAP REQ :server-time").await;
    server.says(":irc.test CAP * ACK :echo-message").await;
    server.says(":irc.test CAP * NAK :server-time").await;
    welcomed(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_no_capabilities_just_registers() {
    for answer in [":irc.test 421 * CAP :Unknown command", ":irc.test 451 * :You have not registered", "PING :1"] {
        let mut world = World::new().await;
        let mut server = begun(&mut world).await;
        server.says(answer).await;
        if answer.starts_with("PING") {
            server.hears_exactly("PONG :1").await;
        }
        welcomed(&mut server).await;
        world.ends(server).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_come_to_an_end_is_given_up_after_thirty_seconds() {
    let login = Login { account: Some("bot".into()), password: Some(Secret::new("x")), ..Login::default() };
    let mut world = World::of(Network { login: Login { sasl: Sasl::Required, ..login }, ..network() }).await;
    for (offer, answer) in [("* :sasl", None), (":sasl", Some("CAP REQ :sasl"))] {
        let mut server = begun(&mut world).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        let began = Instant::now();
        server.says(&format!(":irc.test CAP * LS {offer}")).await;
        if let Some(answer) = answer {
            server.hears_exactly(answer).await;
        }
        server.hears_the_end().await;
        assert_eq!(began.elapsed().as_secs(), 30);
    }
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn when_labels_are_taken_away_a_fence_proves_the_lines_under_way() {
    let (world, mut server) = World::in_a_with(&LABELS, network()).await;
    say(&world, 1).await;
    server.hears_exactly("@label=1 PRIVMSG #a :1").await;
    server.says(":irc.test CAP pubbot DEL :labeled-response echo-message").await;
    let fence = server.is_asked_for_a_fence().await;
    assert_eq!(world.unsaid(), 1);
    server.says(&format!(":irc.test PONG irc.test :{fence}")).await;
    world.settled(&mut server).await;
    say(&world, 2).await;
    server.hears_exactly("PRIVMSG #a :2").await;
    server.answers_a_fence().await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_away_leaves_the_rest() {
    let (world, mut server) = World::in_a_with(&LABELS, network()).await;
    server.says(":irc.test CAP pubbot DEL :labeled-response").await;
    server.fence().await;
    say(&world, 1).await;
    server.hears_exactly("PRIVMSG #a :1").await;
    server.says(":pubbot!pub@bot.host PRIVMSG #a :1").await;
    server.hears_nothing_for(Duration::from_secs(1)).await;
    assert_eq!(world.unsaid(), 0, "the echo proves it");
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_new_is_asked_for_and_used_from_then_on() {
    let (world, mut server) = World::in_a_with(&["multi-prefix"], network()).await;
    say(&world, 1).await;
    server.hears_exactly("PRIVMSG #a :1").await;
    let fence = server.is_asked_for_a_fence().await;
    server.says(":irc.test CAP pubbot NEW :labeled-response batch vendor.example/x").await;
    server.hears_exactly("CAP REQ :batch labeled-response").await;
    server.says(":irc.test CAP pubbot ACK :batch labeled-response").await;
    server.fence().await;
    say(&world, 2).await;
    server.hears_exactly("@label=1 PRIVMSG #a :2").await;
    server.says("@label=1 :irc.test ACK").await;
    server.hears_nothing_for(Duration::from_secs(1)).await;
    assert_eq!(world.unsaid(), 1, "the first one is still to be proved");
    server.says(&format!("PONG :{fence}")).await;
    world.settled(&mut server).await;
    world.ends(server).await;
}
