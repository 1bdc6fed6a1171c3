//! How a session begins.

use std::time::Duration;

use super::world::{Server, World, network};
use crate::Secret;

async fn refused(server: &mut Server, nick: &str, number: u16) {
    server.hears(&format!("NICK {nick}")).await;
    if nick == "pubbot" {
        server.hears("USER pub 0 * :A bot").await;
    }
    server.says(&format!(":irc.test {number} * {nick} :Nickname is no good")).await;
}

#[tokio::test(start_paused = true)]
async fn the_bot_registers_and_joins_its_channels_in_one_line_with_their_keys() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.welcomes().await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn the_password_goes_first() {
    let mut world = World::of(crate::irc::Network { password: Some(Secret::new("open sesame")), ..network() }).await;
    // the rest is said to a server that has had the time to ask for TLS, or knows nothing of that
    for answer in [":irc.test 421 * CAP :Unknown command", ":irc.test 451 * :You have not registered", ""] {
        let mut server = world.server().await;
        server.hears_exactly("CAP LS 302").await;
        server.hears_nothing_for(Duration::from_secs(4)).await;
        if !answer.is_empty() {
            server.says(answer).await;
        }
        server.hears_exactly("PASS :open sesame").await;
        server.welcomes().await;
        drop(server);
    }
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_tls_is_told_no_password_before_that() {
    let mut world = World::of(crate::irc::Network { password: Some(Secret::new("open sesame")), ..network() }).await;
    let mut server = world.server().await;
    server.hears_exactly("CAP LS 302").await;
    server.says(":irc.test CAP * LS * :multi-prefix").await;
    server.hears_nothing_for(Duration::from_secs(4)).await;
    server.says(":irc.test CAP * LS :sts=port=6697").await;
    server.hears_the_end().await;
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn the_password_follows_an_offer_without_tls() {
    let mut world = World::of(crate::irc::Network { password: Some(Secret::new("open sesame")), ..network() }).await;
    let mut server = world.server().await;
    server.hears_exactly("CAP LS 302").await;
    server.says(":irc.test CAP * LS :multi-prefix").await;
    for line in ["PASS :open sesame", "NICK pubbot", "USER pub 0 * :A bot", "CAP REQ :multi-prefix", "CAP END"] {
        server.hears_exactly(line).await;
    }
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn a_nick_that_is_taken_is_followed_by_others_like_it() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    refused(&mut server, "pubbot", 433).await;
    refused(&mut server, "pubbot_", 432).await;
    refused(&mut server, "pubbot__", 437).await;
    server.hears("NICK pubbot1").await;
    server.says(":irc.test 001 pubbot1 :Welcome").await;
    server.hears("JOIN #secret,#a sesame").await;

    server.says(":pubbot1!pub@bot.host JOIN #a").await;
    assert_eq!(world.event("chat.irc.#a.join").await["is_me"], true);
    server.says(":alice!a@h PRIVMSG #a :pubbot1: hi").await;
    assert_eq!(world.event("chat.irc.#a.chat").await["direct"], true);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn when_every_nick_is_refused_the_bot_hangs_up_and_tries_again_later() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    for nick in crate::irc::register::registration::Nicks::new("pubbot") {
        refused(&mut server, &nick, 433).await;
    }
    server.hears_the_end().await;
    let mut server = world.server().await;
    server.welcomes().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_before_the_welcome_too() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says("PING :12 34").await;
    server.hears("PONG :12 34").await;
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.hears("JOIN #secret,#a sesame").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_welcomes_us_is_given_up() {
    let mut world = World::new().await;
    let began = tokio::time::Instant::now();
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.hears_the_end().await;
    assert_eq!(began.elapsed().as_secs(), 60);
    let mut server = world.server().await;
    server.welcomes().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn the_nick_that_the_server_gives_is_the_bots_nick() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 001 pubb :Your nick was cut").await;
    server.hears("JOIN #secret,#a sesame").await;
    server.says(":alice!a@h PRIVMSG pubb :hi").await;
    assert_eq!(world.event("chat.irc.alice.chat").await["private"], true);
    world.ends(server).await;
}

/// A moment that is due and that nobody sees to would keep a processor busy, and this test from ending.
#[tokio::test(start_paused = true)]
async fn what_a_server_tells_before_its_welcome_keeps_nothing_busy() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 005 pubbot CHANMODES=b,k,l,imnpst WHOX MONITOR=100 :are supported").await;
    server.lets_in("#a", "pubbot @alice").await;
    server.says(":alice!a@h QUIT :bye").await;
    server.says(":irc.test 731 pubbot :pubbot").await;
    server.hears_the_end().await;
    world.dies().await;
}
