//! What the server allows (005 ISUPPORT), and what is made of it.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::world::{Server, World, network};
use crate::irc::{Answers, Channel, Network};

fn in_channels(names: &[&str]) -> Network {
    let channel = |name: &&str| Channel { name: (*name).to_owned(), key: None, answers: Answers::All };
    Network { channels: names.iter().map(channel).collect(), ..network() }
}

/// Registers a bot of this nick with a server that tells this of itself.
async fn registers(server: &mut Server, nick: &str, isupport: &str) {
    server.hears(&format!("NICK {nick}")).await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(&format!(":irc.test 001 {nick} :Welcome")).await;
    server.says(&format!(":irc.test 005 {nick} {isupport} :are supported")).await;
    server.says(&format!(":irc.test 422 {nick} :no motd")).await;
}

#[tokio::test(start_paused = true)]
async fn a_join_has_as_many_channels_as_the_server_takes() {
    let mut world = World::of(in_channels(&["#a", "#b", "#c"])).await;
    let mut server = world.server().await;
    registers(&mut server, "pubbot", "TARGMAX=PRIVMSG:4,JOIN:2").await;
    server.hears("JOIN #a,#b").await;
    server.hears("JOIN #c").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_channels_are_asked_for_than_the_server_allows() {
    let mut world = World::of(in_channels(&["#a", "#b", "&c", "#d"])).await;
    let mut server = world.server().await;
    registers(&mut server, "pubbot", "CHANLIMIT=#:2,&:10").await;
    server.hears("JOIN #a,#b,&c").await;
    for channel in ["#a", "#b", "&c"] {
        server.lets_in(channel, "pubbot").await;
        world.event(&format!("chat.irc.{channel}.join")).await;
        world.event(&format!("chat.irc.{channel}.names")).await;
    }
    server.hears_nothing_for(Duration::from_secs(600)).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_nick_that_the_server_cuts_is_ours_all_the_same() {
    let nick = "pubbot-with-a-long-nick";
    let mut world = World::of(Network { nick: nick.to_owned(), ..in_channels(&["#a"]) }).await;
    let mut server = world.server().await;
    server.hears(&format!("NICK {nick}")).await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 001 pubbot-with-a-l :Welcome").await;
    server.says(":irc.test 005 pubbot-with-a-l NICKLEN=15 :are supported").await;
    server.says(":irc.test 422 pubbot-with-a-l :no motd").await;
    server.hears("JOIN #a").await;
    world.answers(json!({"network": "test", "channel": "#a", "content": "here I am"})).await;
    server.hears("PRIVMSG #a :here I am").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_tells_nothing_of_itself_is_not_waited_for_long() {
    let mut world = World::of(in_channels(&["#a"])).await;
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    let start = Instant::now();
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.hears("JOIN #a").await;
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn longer_lines_are_heard_and_said_where_the_server_has_them() {
    let text = ["word"; 300].join(" ");
    for (isupport, lines) in [("NICKLEN=30", 4), ("LINELEN=2048", 1)] {
        let mut world = World::of(in_channels(&["#a"])).await;
        let mut server = world.server().await;
        registers(&mut server, "pubbot", isupport).await;
        server.hears("JOIN #a").await;
        server.lets_in("#a", "pubbot alice").await;
        world.event("chat.irc.#a.join").await;
        world.event("chat.irc.#a.names").await;
        server.says(&format!(":alice!a@h PRIVMSG #a :{text}")).await;
        if lines == 1 {
            assert_eq!(world.event("chat.irc.#a.chat").await["content"], text);
        }
        world.answers(json!({"network": "test", "channel": "#a", "content": text})).await;
        let mut said = Vec::new();
        for _ in 0..lines {
            said.push(server.said().await);
        }
        assert_eq!(said.join(" "), text);
        world.settled(&mut server).await;
        world.ends(server).await;
    }
}
