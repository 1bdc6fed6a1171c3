//! How long a bot waits before it comes back, by the reason for which it had to go.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::world::{Server, Shaky, World, network};
use crate::irc::{Network, Server as Place, Sts};
use crate::testing::TestAmbient;

/// The bot is back after so many seconds.
async fn comes_back(world: &mut World, within: RangeInclusive<u64>) -> Server {
    let left = Instant::now();
    let server = world.server().await;
    let seconds = left.elapsed().as_secs_f64();
    assert!(seconds >= *within.start() as f64 && seconds <= *within.end() as f64, "{seconds} s");
    server
}

/// The server says this to a bot that begins to register, and closes the connection.
async fn rejects(mut server: Server, lines: &[&str]) {
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    for line in lines {
        server.says(line).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whom_the_server_bans_stays_away_for_minutes_even_after_a_good_connection() {
    let (mut world, mut server) = World::in_a().await;
    for _ in 0..2 {
        server.hears("PING :pubbot").await;
        server.says("PONG :pubbot").await;
    }
    server.says("ERROR :Closing Link: bot.host (K-lined)").await;
    drop(server);
    let server = comes_back(&mut world, 300..=600).await;
    // a number without a telling text
    rejects(server, &[":irc.test 465 * :You are banned from this server- no", "ERROR :Closing Link: bot.host"]).await;
    let mut server = comes_back(&mut world, 600..=1200).await;
    server.welcomes().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_too_often_waits_longer_than_one_whose_connection_was_lost() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.says("ERROR :Reconnecting too fast, throttled.").await;
    drop(server);
    rejects(comes_back(&mut world, 30..=60).await, &[]).await;
    rejects(comes_back(&mut world, 0..=1).await, &[":irc.test 464 * :Password Incorrect"]).await;
    let mut server = comes_back(&mut world, 30..=60).await;
    server.welcomes().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_number_said_before_the_welcome_does_not_count_after_it() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.says(":irc.test 904 * :SASL authentication failed").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.hears("JOIN #secret,#a sesame").await;
    drop(server);
    let mut server = comes_back(&mut world, 0..=1).await;
    server.welcomes().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_tls_is_dialed_again_at_once() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.hears_exactly("CAP LS 302").await;
    let left = Instant::now();
    server.says(":irc.test CAP * LS :batch sts=duration=300,port=6697 echo-message").await;
    // what it says at the beginning is on its way by then
    server.hears_exactly("NICK pubbot").await;
    server.hears_exactly("USER pub 0 * :A bot").await;
    server.hears_the_end().await;
    drop(server);
    let server = world.server().await;
    assert!(left.elapsed() < Duration::from_millis(100), "{:?}", left.elapsed());
    // through TLS now: it is lost as any other
    drop(server);
    let left = Instant::now();
    let mut server = world.server().await;
    assert!(left.elapsed() >= Duration::from_millis(500), "{:?}", left.elapsed());
    server.welcomes().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_connection_through_tls_renews_what_the_host_has_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sts.json");
    let sts = Sts::open(&file, TestAmbient::arc());
    sts.heard(&Place::encrypted("irc.test", 6697), "duration=86400");
    std::fs::remove_file(&file).unwrap();
    let mut world = World::knowing(sts, Arc::default(), network()).await;
    let server = world.server().await;
    assert!(!file.exists());
    drop(server);
    let mut server = world.server().await;
    assert!(file.exists());
    server.welcomes().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn of_networks_that_are_started_together_the_first_dials_at_once_and_the_others_a_moment_later() {
    for (place, milliseconds) in [(0, 0..=10), (1, 500..=1010), (4, 2000..=4010)] {
        let began = Instant::now();
        let mut world = World::of(Network { place, ..network() }).await;
        let mut server = world.server().await;
        assert!(milliseconds.contains(&began.elapsed().as_millis()), "{place}: {:?}", began.elapsed());
        server.welcomes().await;
        world.ends(server).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_banned_bot_that_loses_the_lock_and_has_it_again_dials_no_sooner() {
    let (mut world, mut server) = World::on(Shaky::leasing(), network()).await.enters(&[]).await;
    server.says("ERROR :Closing Link: bot.host (K-lined)").await;
    drop(server);
    let banned = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.broker.lease().lose();
    // by now it is certain that somebody else has it
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.broker.locks.add_permits(1);
    let mut server = world.server().await;
    assert!((300..=600).contains(&banned.elapsed().as_secs()), "{:?}", banned.elapsed());
    server.welcomes().await;
    world.ends(server).await;
}
