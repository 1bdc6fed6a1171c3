//! Getting into channels, and back into them.

use std::time::Duration;

use tokio::time::Instant;

use super::world::{World, network};
use crate::irc::{Invites, Network};

#[tokio::test(start_paused = true)]
async fn who_is_kicked_comes_back_after_a_pause_that_doubles() {
    let (mut world, mut server) = World::in_a().await;
    for pause in [10, 20] {
        server.says(":op!o@h KICK #a pubbot :out").await;
        assert_eq!(world.event("chat.irc.#a.leave").await["by"], "op");
        let start = Instant::now();
        server.hears("JOIN #a").await;
        assert_eq!(start.elapsed().as_secs(), pause);
        server.lets_in("#a", "pubbot").await;
        world.event("chat.irc.#a.join").await;
        world.event("chat.irc.#a.names").await;
    }
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_full_is_asked_for_again_and_one_that_cannot_be_never() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.welcomes().await;
    server.says(":irc.test 471 pubbot #A :Cannot join channel (+l)").await;
    let start = Instant::now();
    server.hears("JOIN #a").await;
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    server.says(":irc.test 480 pubbot #a :Cannot join channel (+j)").await;
    server.hears("PING :pubbot").await;
    server.says("PONG :pubbot").await;
    server.hears("JOIN #a").await;
    assert_eq!(start.elapsed(), Duration::from_secs(90));
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_for_accounts_is_asked_for_once_we_have_one() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.welcomes().await;
    server.says(":irc.test 477 pubbot #a :Cannot join channel (+r)").await;
    server.says(":irc.test 900 pubbot pubbot!p@h bot :You are now logged in as bot").await;
    server.hears("JOIN #a").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn an_invitation_is_followed_to_where_the_bot_should_be_and_elsewhere_where_that_is_allowed() {
    for (invites, goes) in [(Invites::Configured, false), (Invites::Anywhere, true)] {
        let mut world = World::of(Network { invites, ..network() }).await;
        let mut server = world.server().await;
        server.welcomes().await;
        server.says(":irc.test 473 pubbot #a :Cannot join channel (+i)").await;
        server.says(":op!o@h INVITE pubbot #A").await;
        assert_eq!(world.event("chat.irc.#a.invite").await["by"], "op");
        server.hears("JOIN #a").await;
        server.says(":op!o@h INVITE pubbot #new").await;
        world.event("chat.irc.#new.invite").await;
        if goes {
            server.hears("JOIN #new").await;
        } else {
            server.fence().await;
        }
        world.ends(server).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_join_is_not_taken_for_a_refused_answer() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":op!o@h KICK #a pubbot :out").await;
    world.event("chat.irc.#a.leave").await;
    server.hears("JOIN #a").await;
    world.answers(serde_json::json!({"network": "test", "channel": "#a", "content": "an answer"})).await;
    server.hears("PRIVMSG #a :an answer").await;
    server.says(":irc.test 477 pubbot #a :Cannot join channel (+r)").await;
    world.settled(&mut server).await;
    assert_eq!(world.buried(), 0);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn ctcp_questions_in_private_are_answered_now_and_then() {
    let (world, mut server) = World::in_a().await;
    server.says(":alice!a@h PRIVMSG pubbot :\x01PING 42\x01").await;
    server.says(":alice!a@h PRIVMSG pubbot :\x01VERSION\x01").await;
    server.says(":alice!a@h PRIVMSG #a :\x01VERSION\x01").await;
    server.says(":alice!a@h PRIVMSG pubbot :\x01DCC SEND x 1 2 3\x01").await;
    server.hears("NOTICE alice :\x01PING 42\x01").await;
    server.fence().await;
    world.ends(server).await;
}
