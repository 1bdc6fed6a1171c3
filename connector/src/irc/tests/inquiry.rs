//! What is asked of a channel after our JOIN, and what is told of it then.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::world::{Server, World, network};
use crate::irc::{Flood, Network};

/// What a server tells that has WHOX, and says which modes its channels have.
const MODERN: &str = "CHANMODES=b,k,l,imnt PREFIX=(ohv)@%+ WHOX";

/// A bot in `#a` of such a server, which has not been asked anything yet.
async fn in_a(network: Network, isupport: &str) -> (World, Server) {
    let mut world = World::of(network).await;
    let mut server = world.server().await;
    server.welcomes().await;
    server.says(&format!(":irc.test 005 pubbot {isupport} :are supported")).await;
    server.says(":pubbot!pub@bot.host JOIN #a").await;
    server.says(":irc.test 332 pubbot #a :tea, and what goes with it").await;
    server.says(":irc.test 333 pubbot #a alice!a@h 1763600000").await;
    server.says(":irc.test 353 pubbot = #a :pubbot @%alice +Bob carol").await;
    server.says(":irc.test 366 pubbot #a :End of /NAMES list.").await;
    world.event("chat.irc.#a.join").await;
    (world, server)
}

fn members(names: &Value) -> Vec<String> {
    let text = |member: &Value, field: &str| member[field].as_str().unwrap_or("-").to_owned();
    let members = names["members"].as_array().unwrap().iter();
    members.map(|it| [text(it, "prefix"), text(it, "nick"), "=".into(), text(it, "account")].concat()).collect()
}

#[tokio::test(start_paused = true)]
async fn modes_and_accounts_are_asked_for_once_and_the_names_told_again_with_them() {
    let (mut world, mut server) = in_a(network(), MODERN).await;
    let first = world.event("chat.irc.#a.names").await;
    assert_eq!(members(&first), ["pubbot=-", "@%alice=-", "+Bob=-", "carol=-"]);
    assert_eq!((&first["topic"], &first["topic_by"]), (&json!("tea, and what goes with it"), &json!("alice!a@h")));
    assert_eq!((&first["topic_at"], &first["modes"]), (&json!("2025-11-20T00:53:20.000Z"), &json!(null)));
    server.hears("MODE #a").await;
    server.says(":irc.test 324 pubbot #a +ntlkb 50 sesame *!*@bad").await;
    server.hears("WHO #a %tna,1").await;
    for answer in ["1 alice wonderland", "1 bob 0", "1 stranger elsewhere", "7 carol not-asked-for", "1 carol"] {
        server.says(&format!(":irc.test 354 pubbot {answer}")).await;
    }
    server.says(":bob!b@h ACCOUNT builder").await;
    world.event("chat.irc.#a.account").await;
    server.says(":irc.test 315 pubbot #A :End of /WHO list.").await;
    let second = world.event("chat.irc.#a.names").await;
    assert_eq!(members(&second), ["pubbot=-", "@%alice=wonderland", "+Bob=builder", "carol=-"]);
    let mode = |mode: &str, parameter: Value| json!({"set": true, "mode": mode, "parameter": parameter});
    let modes = [mode("n", json!(null)), mode("t", json!(null)), mode("l", json!("50")), mode("k", json!(null))];
    assert_eq!(second["modes"], json!(modes), "without the list, and without the key");
    server.says(":irc.test 315 pubbot #a :End of /WHO list.").await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn where_there_is_a_flood_budget_questions_come_one_by_one_with_pauses() {
    let flood = Flood::Budget { burst: 10, per_second: 1.0 };
    let (mut world, mut server) = in_a(Network { flood, ..network() }, MODERN).await;
    world.event("chat.irc.#a.names").await;
    let start = Instant::now();
    server.hears("MODE #a").await;
    assert_eq!(start.elapsed(), Duration::from_secs(4));
    server.says(":irc.test 324 pubbot #a +nt").await;
    server.hears("WHO #a %tna,1").await;
    assert_eq!(start.elapsed(), Duration::from_secs(8));
    // nobody answers that, and another channel has its turn after a minute
    server.lets_in("#b", "pubbot").await;
    world.event("chat.irc.#b.join").await;
    world.event("chat.irc.#b.names").await;
    loop {
        match server.line().await.as_str() {
            "PING :pubbot" => server.says("PONG :pubbot").await,
            line => break assert_eq!(line, "MODE #b"),
        }
    }
    assert_eq!(start.elapsed(), Duration::from_secs(68));
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_too_busy_is_asked_later_and_not_for_ever() {
    let (mut world, mut server) = in_a(network(), "WHOX").await;
    world.event("chat.irc.#a.names").await;
    let start = Instant::now();
    for (token, after) in [(1, 0), (2, 60), (3, 120)] {
        loop {
            match server.line().await.as_str() {
                "PING :pubbot" => server.says("PONG :pubbot").await,
                line => break assert_eq!(line, format!("WHO #a %tna,{token}")),
            }
        }
        assert_eq!(start.elapsed().as_secs(), after);
        server.says(":irc.test 263 pubbot WHO :Please wait a while and try again.").await;
    }
    server.hears_nothing_for(Duration::from_secs(600)).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_of_a_server_that_would_not_say_nor_of_a_channel_that_we_have_left() {
    let (mut world, mut server) = in_a(network(), "NICKLEN=30").await;
    world.event("chat.irc.#a.names").await;
    server.hears_nothing_for(Duration::from_secs(30)).await;
    world.ends(server).await;
    let flood = Flood::Budget { burst: 10, per_second: 1.0 };
    let (mut world, mut server) = in_a(Network { flood, ..network() }, MODERN).await;
    world.event("chat.irc.#a.names").await;
    server.says(":op!o@h KICK #a pubbot :out").await;
    world.event("chat.irc.#a.leave").await;
    server.hears("JOIN #a").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_very_large_channel_only_the_modes_are_asked_for() {
    let (mut world, mut server) = in_a(network(), "CHANMODES=b,k,l,imnt WHOX").await;
    world.event("chat.irc.#a.names").await;
    server.hears("MODE #a").await;
    server.says(":irc.test 324 pubbot #a +nt").await;
    server.hears("WHO #a %tna,1").await;
    server.says(":irc.test 315 pubbot #a :End of /WHO list.").await;
    server.says(":pubbot!pub@bot.host JOIN #large").await;
    for number in 0..5_000 {
        server.says(&format!(":irc.test 353 pubbot = #large :n{number}")).await;
    }
    server.says(":irc.test 366 pubbot #large :End of /NAMES list.").await;
    world.event("chat.irc.#a.names").await;
    world.event("chat.irc.#large.join").await;
    assert_eq!(world.event("chat.irc.#large.names").await["members"].as_array().unwrap().len(), 5_001);
    server.hears("MODE #large").await;
    server.says(":irc.test 324 pubbot #large +nt").await;
    assert!(world.event("chat.irc.#large.names").await["modes"].is_array());
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn accounts_are_known_from_joins_tags_and_logins_without_being_asked_for() {
    let (mut world, mut server) = in_a(network(), "PREFIX=(ohv)@%+").await;
    world.event("chat.irc.#a.names").await;
    server.says(":dave!d@h JOIN #a davey :Dave").await;
    world.event("chat.irc.#a.join").await;
    server.says("@account=wonderland :alice!a@h PRIVMSG #a :hello").await;
    world.event("chat.irc.#a.chat").await;
    server.says("@account=builder :bob!b@h ACCOUNT *").await;
    world.event("chat.irc.#a.account").await;
    // an invitation to another channel, and back: people are known as long as there is a channel
    server.lets_in("#b", "pubbot alice dave bob eve").await;
    world.event("chat.irc.#b.join").await;
    let names = world.event("chat.irc.#b.names").await;
    assert_eq!(members(&names), ["pubbot=-", "alice=wonderland", "Bob=-", "dave=davey", "eve=-"]);
    world.ends(server).await;
}
