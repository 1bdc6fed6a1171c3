//! What real servers don't do on demand: they keep the bot out, let it wait, come to no end, say what makes no sense.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::world::{AN_HOUR, Server, World, network};
use crate::Secret;
use crate::irc::{Login, Network, Sasl};

/// How long the tries are counted.
const A_NIGHT: Duration = Duration::from_secs(12 * 3600);

/// Panics when the bot dialed more than ten times within any hour, or has given up altogether.
fn assert_at_most_ten_an_hour(world: &World) {
    let dials = world.dialer.dials.lock().unwrap();
    let busiest = dials.iter().map(|from| dials.iter().filter(|at| **at >= *from && **at < *from + AN_HOUR).count());
    assert!(busiest.max().unwrap() <= 10, "{dials:?}");
    let last = dials.last().unwrap().elapsed();
    assert!(last <= 3 * AN_HOUR, "it dialed {last:?} ago for the last time");
}

/// Each connection is met in this way, for a night.
async fn meets(network: Network, how: impl AsyncFn(&mut Server)) -> World {
    let mut world = World::of(network).await;
    let start = Instant::now();
    while start.elapsed() < A_NIGHT {
        let mut server = world.server_within(A_NIGHT).await;
        how(&mut server).await;
    }
    world
}

async fn introduces_itself(server: &mut Server) {
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
}

#[tokio::test(start_paused = true)]
async fn row_21_whom_the_server_bans_tries_ten_times_an_hour_at_most() {
    for lines in [
        [":irc.test 465 * :You are banned from this server- no bots", "ERROR :Closing Link: bot.host (K-lined)"],
        ["NOTICE * :*** Checking Ident", "ERROR :Closing link: (pub@bot.host) [G-lined: no bots]"],
        [":irc.test 463 * :Your host isn't among the privileged", "ERROR :Closing Link: bot.host"],
    ] {
        let banning = async |server: &mut Server| {
            introduces_itself(server).await;
            for line in lines {
                server.says(line).await;
            }
        };
        assert_at_most_ten_an_hour(&meets(network(), banning).await);
    }
}

/// Banned as soon as it has spoken: each time the connection itself was a good one.
#[tokio::test(start_paused = true)]
async fn row_21_whom_the_server_bans_after_a_good_connection_tries_ten_times_an_hour_at_most() {
    let banning = async |server: &mut Server| {
        introduces_itself(server).await;
        server.says(":irc.test 001 pubbot :Welcome").await;
        server.hears("JOIN #secret,#a sesame").await;
        for _ in 0..2 {
            server.hears("PING :pubbot").await;
            server.says("PONG :pubbot").await;
        }
        server.says("ERROR :Closing Link: bot.host (K-lined)").await;
    };
    assert_at_most_ten_an_hour(&meets(network(), banning).await);
}

#[tokio::test(start_paused = true)]
async fn row_21_whose_login_fails_tries_ten_times_an_hour_at_most_and_shows_no_password() {
    let login = Login {
        account: Some("bot".into()),
        password: Some(Secret::new("sesame")),
        sasl: Sasl::Required,
        ..Login::default()
    };
    let refusing = async |server: &mut Server| {
        server.hears_exactly("CAP LS 302").await;
        introduces_itself(server).await;
        server.says(":irc.test CAP * LS :sasl=PLAIN").await;
        server.hears("CAP REQ :sasl").await;
        server.says(":irc.test CAP * ACK :sasl").await;
        server.hears("AUTHENTICATE PLAIN").await;
        // it is not asked for
        server.says(":irc.test 904 pubbot :SASL authentication failed").await;
        server.hears_the_end().await;
    };
    assert_at_most_ten_an_hour(&meets(Network { login, ..network() }, refusing).await);
}

#[tokio::test(start_paused = true)]
async fn row_21_a_server_that_is_not_trusted_is_tried_ten_times_an_hour_at_most() {
    let world = World::new().await;
    world.dialer.is_distrusted.store(true, Ordering::Relaxed);
    sleep(A_NIGHT).await;
    assert_at_most_ten_an_hour(&world);
}

#[tokio::test(start_paused = true)]
async fn who_comes_too_often_is_told_so_in_many_ways_and_waits() {
    for lines in [
        &["ERROR :Reconnecting too fast, throttled."][..],
        &[":irc.test NOTICE * :*** Looking up your hostname...", "ERROR :Closing link: (unknown@1.2.3.4) [Throttled]"],
        &["ERROR :Your host is trying to (re)connect too fast -- throttled."],
        &["ERROR :Closing Link: [1.2.3.4] (Throttled: Reconnecting too fast) - Email kline@h.example"],
        &["NOTICE AUTH :*** Checking", "ERROR :Connection refused, too many connections from your IP address"],
        &[":irc.test NOTICE * :busy", "ERROR :Trying to reconnect too fast."],
    ] {
        let mut world = World::new().await;
        let mut server = world.server().await;
        for line in lines {
            server.says(line).await;
        }
        drop(server);
        let left = Instant::now();
        let mut server = world.server().await;
        assert!((30..=60).contains(&left.elapsed().as_secs()), "{lines:?}: {:?}", left.elapsed());
        server.welcomes().await;
        world.ends(server).await;
    }
}

/// A server that offers these capabilities to a bot that has introduced itself.
async fn offering(world: &mut World, lines: &[&str]) -> Server {
    let mut server = world.server().await;
    server.hears_exactly("CAP LS 302").await;
    introduces_itself(&mut server).await;
    for line in lines {
        server.says(&format!(":irc.test CAP {line}")).await;
    }
    server
}

async fn welcomes(server: &mut Server) {
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.hears("JOIN #secret,#a sesame").await;
    for channel in ["#secret", "#a"] {
        server.says(&format!(":irc.test 403 pubbot {channel} :No such channel")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_offer_of_nothing_ends_the_negotiation() {
    for lines in [&["* LS :"][..], &["* LS"], &["* LS * :", "* LS :"], &["pubbot LS : "]] {
        let mut world = World::new().await;
        let mut server = offering(&mut world, lines).await;
        server.hears_exactly("CAP END").await;
        welcomes(&mut server).await;
        world.ends(server).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_granted_in_several_lines_or_with_marks_counts() {
    let mut world = World::new().await;
    let mut server = offering(&mut world, &["* LS :batch labeled-response echo-message message-tags"]).await;
    server.hears_exactly("CAP REQ :message-tags batch labeled-response echo-message").await;
    server.says(":irc.test CAP * ACK * :message-tags batch").await;
    server.says(":irc.test CAP * ACK :~labeled-response =echo-message ").await;
    server.hears("CAP END").await;
    welcomes(&mut server).await;
    world.answers(json!({"channel": "#b", "content": "hi"})).await;
    server.hears_exactly("@label=1 PRIVMSG #b :hi").await;
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn in_mid_session_unknown_and_belated_words_about_capabilities_change_nothing() {
    let (world, mut server) = World::in_a().await;
    for line in [
        "pubbot LIST :batch labeled-response",
        "pubbot FOO :bar",
        "pubbot",
        "",
        "pubbot ACK :labeled-response",
        "pubbot NAK :labeled-response batch",
        "pubbot LS :multi-prefix",
        "pubbot DEL :what-nobody-has",
        "pubbot NEW :vendor.example/x",
    ] {
        server.says(format!(":irc.test CAP {line}").trim_end()).await;
    }
    // the list is asked for if it comes as late as that
    server.hears("CAP REQ :multi-prefix").await;
    server.says(":irc.test CAP pubbot NAK :multi-prefix").await;
    server.fence().await;
    world.answers(json!({"channel": "#a", "content": "hi"})).await;
    server.hears_exactly("PRIVMSG #a :hi").await;
    server.answers_a_fence().await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_line_that_never_ends_is_a_silence() {
    // before the welcome
    let mut world = World::new().await;
    let mut server = world.server().await;
    let start = Instant::now();
    introduces_itself(&mut server).await;
    drips(&mut server, start + Duration::from_secs(59)).await;
    server.hears_the_end().await;
    assert_eq!(start.elapsed().as_secs(), 60);
    drop(server);
    // and later
    let mut server = world.reenters(&[]).await;
    let start = Instant::now();
    drips(&mut server, start + Duration::from_secs(44)).await;
    server.hears("PING :pubbot").await;
    drips(&mut server, start + Duration::from_secs(74)).await;
    server.hears_the_end().await;
    assert_eq!(start.elapsed().as_secs(), 45 + 30);
    world.dies().await;
}

/// Sends ever more of one line.
async fn drips(server: &mut Server, until: Instant) {
    while Instant::now() < until {
        server.sends(&[b'x'; 1000]).await;
        sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_before_its_welcome_is_given_up_wherever_that_is() {
    for (says, seconds) in [
        (&[][..], 60),
        (&[":irc.test NOTICE * :*** Looking up your hostname..."], 60),
        (&[":irc.test 433 * pubbot :Nickname is already in use"], 60),
        (&[":irc.test CAP * LS :"], 60),
        (&[":irc.test CAP * LS * :sasl"], 30),
    ] {
        let mut world = World::new().await;
        let mut server = world.server().await;
        let start = Instant::now();
        introduces_itself(&mut server).await;
        for line in says {
            server.says(line).await;
        }
        // what it says to that goes unanswered
        while server.line_until(start + Duration::from_secs(20)).await.is_some() {}
        server.hears_the_end().await;
        assert_eq!(start.elapsed().as_secs(), seconds, "{says:?}");
        let mut server = world.server().await;
        server.welcomes().await;
        world.ends(server).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_whether_we_are_there_and_never_welcomes_us_is_given_up() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    let start = Instant::now();
    introduces_itself(&mut server).await;
    for _ in 0..5 {
        server.fence().await;
        sleep(Duration::from_secs(10)).await;
    }
    server.hears_the_end().await;
    assert_eq!(start.elapsed().as_secs(), 60);
    world.dies().await;
}
