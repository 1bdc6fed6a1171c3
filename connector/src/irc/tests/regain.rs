//! How the bot comes to its nick: how soon, by which means, and how much it says meanwhile.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::world::{Server, Shaky, World, network};
use crate::Secret;
use crate::irc::{Login, Network, Sasl};
use crate::testing::TestAmbient;

const A_WHILE: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);

/// A bot that was given `pubbot_` by a server with these parameters in its 005.
async fn comes_second(world: &mut World, isupport: &str) -> Server {
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 433 * pubbot :Nickname is already in use").await;
    server.hears("NICK pubbot_").await;
    server.says(":irc.test 001 pubbot_ :Welcome pubbot_!pub@bot.host").await;
    server.says(&format!(":irc.test 005 pubbot_ CASEMAPPING=rfc1459 {isupport} :are supported")).await;
    server.says(":irc.test 422 pubbot_ :no motd").await;
    server
}

/// The same with a lock that can be lost, so that the nick matters, and this login.
async fn fenced(isupport: &str, login: Login) -> (World, Server) {
    let mut world = World::on(Shaky::leasing(), Network { login, ..network() }).await;
    let server = comes_second(&mut world, isupport).await;
    (world, server)
}

/// One that is in `#a` beside its own ghost.
async fn beside_its_ghost(isupport: &str) -> (World, Server) {
    let (mut world, server) = World::on(Shaky::leasing(), network()).await.enters(&[]).await;
    drop(server);
    let mut server = comes_second(&mut world, isupport).await;
    server.hears("JOIN #secret,#a sesame").await;
    server.says(":irc.test 403 pubbot_ #secret :No such channel").await;
    server.says(":pubbot_!pub@bot.host JOIN #a").await;
    server.says(":irc.test 353 pubbot_ = #a :pubbot_ pubbot").await;
    server.says(":irc.test 366 pubbot_ #a :End of /NAMES list.").await;
    (world, server)
}

async fn gets_its_nick(server: &mut Server, nick: &str) {
    server.says(&format!(":{nick}!pub@bot.host NICK :pubbot")).await;
    server.hears("JOIN #secret,#a sesame").await;
    for channel in ["#secret", "#a"] {
        server.says(&format!(":irc.test 403 pubbot {channel} :No such channel")).await;
    }
}

/// All that the bot says until then, and after how many seconds; somebody has its nick all the while.
async fn said_within(server: &mut Server, long: Duration) -> Vec<(u64, String)> {
    let start = Instant::now();
    let mut said = Vec::new();
    while let Some(line) = server.line_until(start + long).await {
        match line.as_str() {
            "PING :pubbot" => server.says("PONG :pubbot").await,
            "ISON pubbot" => server.says(":irc.test 303 pubbot_ :pubbot").await,
            "NICK pubbot" => server.says(":irc.test 433 pubbot_ pubbot :Nickname is already in use").await,
            _ => {}
        }
        said.push((start.elapsed().as_secs(), line));
    }
    said.retain(|(_, line)| !line.starts_with("PING"));
    said
}

fn logged_in_later() -> Login {
    Login { account: Some("bot".into()), password: Some(Secret::new("sesame")), ..Login::default() }
}

/// NickServ takes the password of a bot that says it.
async fn identifies(server: &mut Server) {
    server.hears("PRIVMSG NickServ :IDENTIFY bot sesame").await;
    server.says(":NickServ!s@services NOTICE pubbot_ :You are now identified for \x02bot\x02.").await;
    server.says(":irc.test 900 pubbot_ pubbot_!pub@bot.host bot :You are now logged in as bot").await;
}

#[tokio::test(start_paused = true)]
async fn a_server_with_monitor_is_asked_once_and_tells_when_the_nick_is_free() {
    let (world, mut server) = fenced("MONITOR=100", Login::default()).await;
    server.hears("MONITOR + pubbot").await;
    server.says(":irc.test 730 pubbot_ :pubbot!thief@host").await;
    let said = said_within(&mut server, 10 * MINUTE).await;
    assert_eq!(said, [(300, "NICK pubbot".to_owned())], "on the off chance, and nothing else");
    let free = Instant::now();
    server.says(":irc.test 731 pubbot_ :pubbot").await;
    // a second time changes nothing
    server.says(":irc.test 731 pubbot_ :pubbot").await;
    server.hears("NICK pubbot").await;
    assert_eq!(free.elapsed().as_millis(), 0);
    gets_its_nick(&mut server, "pubbot_").await;
    server.hears("MONITOR - pubbot").await;
    server.hears_nothing_for(10 * MINUTE).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn where_monitor_is_full_or_unknown_the_server_is_asked_with_ison() {
    for answer in ["734 pubbot_ 100 pubbot :Monitor list is full", "421 pubbot_ MONITOR :Unknown command"] {
        let (world, mut server) = fenced("MONITOR=100", Login::default()).await;
        server.hears("MONITOR + pubbot").await;
        server.says(&format!(":irc.test {answer}")).await;
        server.hears("ISON pubbot").await;
        server.says(":irc.test 303 pubbot_ :").await;
        server.hears("NICK pubbot").await;
        gets_its_nick(&mut server, "pubbot_").await;
        world.dies().await;
    }
}

#[tokio::test(start_paused = true)]
async fn without_monitor_it_looks_often_at_first_and_once_a_minute_later() {
    let (world, mut server) = fenced("NETWORK=test", Login::default()).await;
    let said = said_within(&mut server, 10 * MINUTE).await;
    let looks: Vec<u64> = said.iter().filter(|(_, line)| line == "ISON pubbot").map(|(after, _)| *after).collect();
    assert_eq!(looks[..10], [0, 2, 4, 6, 8, 10, 14, 22, 38, 70]);
    assert_eq!(looks.len(), 18);
    let asked: Vec<u64> = said.iter().filter(|(_, line)| line == "NICK pubbot").map(|(after, _)| *after).collect();
    assert_eq!(asked, [300]);
    assert_eq!(looks.len() + asked.len(), said.len(), "{said:?}");
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_neither_is_asked_for_the_nick_itself_in_the_same_rhythm() {
    let (world, mut server) = fenced("NETWORK=test", Login::default()).await;
    server.hears("ISON pubbot").await;
    server.says(":irc.test 421 pubbot_ ISON :Unknown command").await;
    let said = said_within(&mut server, MINUTE).await;
    assert!(said.iter().all(|(_, line)| line == "NICK pubbot"), "{said:?}");
    assert_eq!(said.iter().map(|(after, _)| *after).collect::<Vec<_>>(), [0, 2, 4, 6, 8, 12, 20, 36]);
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_seen_to_leave_the_nick_in_a_channel_is_followed_at_once() {
    for event in
        [":pubbot!pub@bot.host QUIT :Ping timeout", ":PUBBOT!pub@bot.host NICK other", ":oper!o@h KILL pubbot :enough"]
    {
        let (world, mut server) = beside_its_ghost("MONITOR=100").await;
        server.hears("MONITOR + pubbot").await;
        server.hears_nothing_for(A_WHILE).await;
        let left = Instant::now();
        server.says(event).await;
        server.hears("NICK pubbot").await;
        assert_eq!(left.elapsed().as_millis(), 0, "{event}");
        world.dies().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_nick_that_the_server_holds_is_asked_for_less_and_less_often() {
    for number in [437, 432, 438, 447] {
        let (world, mut server) = fenced("MONITOR=100", Login::default()).await;
        server.hears("MONITOR + pubbot").await;
        server.says(":irc.test 731 pubbot_ :pubbot").await;
        for pause in [0, 5, 10, 20, 40, 80, 160, 300, 300] {
            let refused = Instant::now();
            let line = loop {
                match server.line().await {
                    line if line == "PING :pubbot" => server.says("PONG :pubbot").await,
                    line => break line,
                }
            };
            assert_eq!((line.as_str(), refused.elapsed().as_secs()), ("NICK pubbot", pause), "{number}");
            server.says(&format!(":irc.test {number} pubbot_ pubbot :Nick/channel is temporarily unavailable")).await;
            // it says so again and again
            server.says(":irc.test 731 pubbot_ :pubbot").await;
        }
        world.dies().await;
    }
}

#[tokio::test(start_paused = true)]
async fn services_that_know_us_are_asked_to_free_the_nick() {
    let (world, mut server) = fenced("MONITOR=100", logged_in_later()).await;
    identifies(&mut server).await;
    server.hears("PRIVMSG NickServ :REGAIN pubbot").await;
    server.hears("MONITOR + pubbot").await;
    server.says(":NickServ!s@services NOTICE pubbot_ :Unknown command \x02REGAIN\x02.").await;
    server.hears("PRIVMSG NickServ :RECOVER pubbot").await;
    server.says(":NickServ!s@services NOTICE pubbot_ :Invalid command. Use \x02/msg NickServ help\x02").await;
    server.hears("PRIVMSG NickServ :GHOST pubbot").await;
    server.says(":NickServ!s@services NOTICE pubbot_ :\x02pubbot\x02 has been ghosted.").await;
    server.says(":irc.test 731 pubbot_ :pubbot").await;
    server.hears("NICK pubbot").await;
    gets_its_nick(&mut server, "pubbot_").await;
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn services_that_change_our_nick_themselves_need_no_word_more() {
    let (world, mut server) = fenced("MONITOR=100", logged_in_later()).await;
    identifies(&mut server).await;
    server.hears("PRIVMSG NickServ :REGAIN pubbot").await;
    server.hears("MONITOR + pubbot").await;
    gets_its_nick(&mut server, "pubbot_").await;
    server.hears("MONITOR - pubbot").await;
    server.hears_nothing_for(10 * MINUTE).await;
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn services_that_refuse_are_left_alone_for_ten_minutes() {
    let (world, mut server) = fenced("MONITOR=100", logged_in_later()).await;
    identifies(&mut server).await;
    server.hears("PRIVMSG NickServ :REGAIN pubbot").await;
    server.says(":NickServ!s@services NOTICE pubbot_ :Access denied.").await;
    server.hears("MONITOR + pubbot").await;
    let said = said_within(&mut server, 11 * MINUTE).await;
    let times: Vec<(u64, &str)> = said.iter().map(|(after, line)| (*after, line.as_str())).collect();
    assert_eq!(times, [(300, "NICK pubbot"), (600, "PRIVMSG NickServ :REGAIN pubbot"), (600, "NICK pubbot")]);
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn without_an_account_the_password_is_told_only_to_a_nickserv_that_has_not_refused_it() {
    for (answer, told) in [
        (":NickServ!s@services NOTICE pubbot_ :Password accepted - you are now recognized.", true),
        (":NickServ!s@services NOTICE pubbot_ :Your nick isn't registered.", true),
        (":NickServ!s@services NOTICE pubbot_ :Password incorrect.", false),
        (":irc.test 401 pubbot_ NickServ :No such nick/channel", false),
        // nobody answers
        ("PING :x", false),
    ] {
        let login = Login { nickserv_password: Some(Secret::new("open")), ..Login::default() };
        let (world, mut server) = fenced("MONITOR=100", login).await;
        server.hears("PRIVMSG NickServ :IDENTIFY open").await;
        server.says(answer).await;
        let said = said_within(&mut server, 2 * MINUTE).await;
        let command = "PRIVMSG NickServ :REGAIN pubbot open";
        let count = said.iter().filter(|(_, line)| line == command).count();
        assert_eq!(count > 0, told, "{answer}: {said:?}");
        assert_eq!(said.iter().filter(|(_, line)| line.contains("open")).count(), count, "{answer}: {said:?}");
        world.dies().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_to_its_nick_tells_a_nickserv_that_did_not_know_the_other_one() {
    let login = Login { nickserv_password: Some(Secret::new("open")), ..Login::default() };
    let (world, mut server) = fenced("MONITOR=100", login).await;
    server.hears("PRIVMSG NickServ :IDENTIFY open").await;
    server.says(":NickServ!s@services NOTICE pubbot_ :\x02pubbot_\x02 is not a registered nickname.").await;
    server.hears("PRIVMSG NickServ :REGAIN pubbot open").await;
    server.hears("MONITOR + pubbot").await;
    server.says(":irc.test 731 pubbot_ :pubbot").await;
    server.hears("NICK pubbot").await;
    server.says(":pubbot_!pub@bot.host NICK :pubbot").await;
    server.hears("PRIVMSG NickServ :IDENTIFY open").await;
    server.hears("JOIN #secret,#a sesame").await;
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn who_logs_in_later_asks_services_then() {
    let login = Login { sasl: Sasl::Preferred, ..logged_in_later() };
    let (world, mut server) = fenced("MONITOR=100", login).await;
    server.hears("MONITOR + pubbot").await;
    server.hears_nothing_for(A_WHILE).await;
    server.says(":irc.test 900 pubbot_ pubbot_!pub@bot.host bot :You are now logged in as bot").await;
    server.hears("PRIVMSG NickServ :REGAIN pubbot").await;
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn a_predecessor_is_called_upon_first_and_put_out_only_when_it_does_not_go() {
    let (first, server) = World::on(Shaky::leasing(), network()).await.enters(&[]).await;
    let broker = first.broker.clone();
    first.dies().await;
    // as one that is frozen: the server still has it
    let chance = TestAmbient::arc();
    // so that its secret is another one
    chance.random();
    let network = Network { login: logged_in_later(), ..network() };
    let mut second = World::at(chance, broker.clone(), network).await;
    broker.locks.add_permits(1);
    let mut successor = comes_second(&mut second, "MONITOR=100").await;
    identifies(&mut successor).await;
    let said = said_within(&mut successor, Duration::from_secs(20)).await;
    let times = |what: &str| -> Vec<u64> {
        said.iter().filter(|(_, line)| line.contains(what)).map(|(after, _)| *after).collect()
    };
    assert_eq!(times("PUBBOT-LEAVE"), [0, 2, 4, 6, 8]);
    assert_eq!(times("REGAIN"), [4]);
    assert_eq!(times("MONITOR"), [0]);
    drop(server);
    second.dies().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_lock_nobody_is_put_out() {
    let (world, mut server) = fenced("MONITOR=100", logged_in_later()).await;
    world.broker.lease().lose();
    // it is not known whether anybody else has it
    world.broker.is_away.store(true, std::sync::atomic::Ordering::Relaxed);
    identifies(&mut server).await;
    let said = said_within(&mut server, 2 * MINUTE).await;
    assert_eq!(said.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>(), ["MONITOR + pubbot"]);
    world.broker.locks.add_permits(1);
    server.hears("PRIVMSG NickServ :REGAIN pubbot").await;
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_fights_with_a_bot_from_whom_the_nick_is_taken_again_and_again() {
    let (world, mut server) = World::on(Shaky::leasing(), network()).await.enters(&[]).await;
    for pause in [30, 60, 120, 240, 480, 600, 600] {
        server.says(":pubbot!pub@bot.host NICK Guest1").await;
        // as somebody has seen to it: it is free at once
        let taken = Instant::now();
        let line = loop {
            match server.line().await {
                line if line == "PING :pubbot" => server.says("PONG :pubbot").await,
                line => break line,
            }
        };
        assert_eq!((line.as_str(), taken.elapsed().as_secs()), ("ISON pubbot", pause));
        server.says(":irc.test 303 Guest1 :").await;
        server.hears("NICK pubbot").await;
        server.says(":Guest1!pub@bot.host NICK pubbot").await;
        server.fence().await;
    }
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn who_was_killed_has_no_ghost_and_says_nothing_until_it_has_its_own_nick() {
    let (mut world, mut server) = World::on(Shaky::leasing(), network()).await.enters(&[]).await;
    server.says("ERROR :Closing link: (pubbot@bot.host) [Killed (NickServ (GHOST command used by other))]").await;
    drop(server);
    let mut server = comes_second(&mut world, "MONITOR=100").await;
    world.answers(json!({"channel": "#a", "content": "hi"})).await;
    let said = said_within(&mut server, MINUTE).await;
    assert_eq!(said.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>(), ["MONITOR + pubbot"]);
    assert_eq!(world.unsaid(), 1);
    server.says(":irc.test 731 pubbot_ :pubbot").await;
    server.hears("NICK pubbot").await;
    server.says(":pubbot_!pub@bot.host NICK :pubbot").await;
    server.hears("JOIN #secret,#a sesame").await;
    server.hears("MONITOR - pubbot").await;
    server.hears("PRIVMSG #a :hi").await;
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_renamed_by_force_beside_its_ghost_may_have_been_succeeded_and_falls_silent() {
    let (mut world, mut server) = beside_its_ghost("MONITOR=100").await;
    server.hears("MONITOR + pubbot").await;
    server.says(":irc.test 731 pubbot_ :pubbot").await;
    server.hears("NICK pubbot").await;
    server.says(":pubbot_!pub@bot.host NICK :pubbot").await;
    server.hears("MONITOR - pubbot").await;
    server.says(":pubbot!pub@bot.host NICK :Guest1").await;
    while world.any_event().await.1["nick"] != "Guest1" {}
    world.answers(json!({"channel": "#a", "content": "hi"})).await;
    server.hears_nothing_for(Duration::from_secs(29)).await;
    assert_eq!(world.unsaid(), 1);
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn a_nick_that_differs_by_its_case_only_is_our_own() {
    let mut world = World::on(Shaky::leasing(), network()).await;
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 001 PubBot :Welcome").await;
    server.hears("JOIN #secret,#a sesame").await;
    for channel in ["#secret", "#a"] {
        server.says(&format!(":irc.test 403 PubBot {channel} :No such channel")).await;
    }
    server.says(":PubBot!pub@bot.host NICK PUBBOT").await;
    server.hears_nothing_for(10 * MINUTE).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_nick_that_is_too_long_here_as_much_is_watched_as_the_server_lets_us_have() {
    let long = Network { nick: "pubbot-the-first".into(), ..network() };
    let mut world = World::on(Shaky::leasing(), long).await;
    let mut server = world.server().await;
    server.hears("NICK pubbot-the-first").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 433 * pubbot-th :Nickname is already in use").await;
    server.hears("NICK pubbot-the-first_").await;
    server.says(":irc.test 433 * pubbot-th :Nickname is already in use").await;
    server.hears("NICK pubbot-the-first__").await;
    server.says(":irc.test 433 * pubbot-th :Nickname is already in use").await;
    server.hears("NICK pubbot-t1").await;
    server.says(":irc.test 001 pubbot-t1 :Welcome").await;
    server.says(":irc.test 005 pubbot-t1 NICKLEN=9 MONITOR=100 :are supported").await;
    server.hears("MONITOR + pubbot-th").await;
    server.says(":irc.test 731 pubbot-t1 :pubbot-th").await;
    server.hears("NICK pubbot-th").await;
    server.says(":pubbot-t1!pub@bot.host NICK :pubbot-th").await;
    server.hears("JOIN #secret,#a sesame").await;
    world.dies().await;
}
