//! Logging in: by SASL while registering, or at NickServ after the welcome. Where it is required, nothing is joined
//! without it.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use tokio::time::Instant;

use super::world::{Server, World, network};
use crate::Secret;
use crate::irc::register::registration::{Registration, Todo};
use crate::irc::register::scram::First;
use crate::irc::{Login, Mechanism, Network, Sasl};
use crate::testing::TestAmbient;

const PASSWORD: &str = "correct horse";

fn login(sasl: Sasl) -> Login {
    Login { account: Some("bot".into()), password: Some(Secret::new(PASSWORD)), sasl, ..Login::default() }
}

fn with(login: Login) -> Network {
    Network { login, ..network() }
}

fn encoded(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn decoded(text: &str) -> String {
    String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap()
}

fn plain() -> String {
    format!("AUTHENTICATE {}", encoded(&format!("bot\0bot\0{PASSWORD}")))
}

/// A server that has granted SASL with these mechanisms.
async fn granting(world: &mut World, mechanisms: &str) -> Server {
    let mut server = offering(world, &format!("sasl={mechanisms}")).await;
    server.hears_exactly("CAP REQ :sasl").await;
    server.says(":irc.test CAP * ACK :sasl").await;
    server
}

/// A server that offers this.
async fn offering(world: &mut World, offer: &str) -> Server {
    let mut server = world.server().await;
    server.hears_exactly("CAP LS 302").await;
    server.hears_exactly("NICK pubbot").await;
    server.hears_exactly("USER pub 0 * :A bot").await;
    server.says(&format!(":irc.test CAP * LS :{offer}")).await;
    server
}

async fn welcomed(server: &mut Server) {
    server.hears_exactly("CAP END").await;
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.hears("JOIN #secret,#a sesame").await;
}

#[tokio::test(start_paused = true)]
async fn the_password_is_sent_when_the_server_asks_for_it_and_the_channels_are_joined_after_that() {
    let mut world = World::of(with(login(Sasl::Required))).await;
    let mut server = granting(&mut world, "EXTERNAL,PLAIN").await;
    server.hears_exactly("AUTHENTICATE PLAIN").await;
    server.hears_nothing_for(Duration::from_secs(10)).await;
    server.says("AUTHENTICATE +").await;
    server.hears_exactly(&plain()).await;
    server.hears_nothing_for(Duration::from_secs(10)).await;
    server.says(":irc.test 900 pubbot pubbot!pub@h bot :You are now logged in as bot").await;
    server.says(":irc.test 903 pubbot :SASL authentication successful").await;
    welcomed(&mut server).await;
    world.ends(server).await;
}

/// SCRAM up to the client's proof; the signature of a server that knows the password.
async fn scram_up_to_the_proof(server: &mut Server, iterations: u32) -> String {
    server.hears_exactly("AUTHENTICATE SCRAM-SHA-256").await;
    server.says("AUTHENTICATE +").await;
    let line = server.any_line().await;
    let first = decoded(line.strip_prefix("AUTHENTICATE ").unwrap());
    let nonce = first.strip_prefix("n,,n=bot,r=").unwrap();
    assert!(nonce.len() >= 40, "{nonce}");
    let challenge = format!("r={nonce}theirs,s={},i={iterations}", encoded("salt"));
    server.says(&format!("AUTHENTICATE {}", encoded(&challenge))).await;
    let line = server.any_line().await;
    let last = First::new("bot", Secret::new(PASSWORD), nonce).challenged(&challenge).unwrap().work();
    assert_eq!(decoded(line.strip_prefix("AUTHENTICATE ").unwrap()), last.message());
    last.signature()
}

#[tokio::test(start_paused = true)]
async fn scram_goes_before_plain_and_the_server_has_to_prove_itself() {
    let mut world = World::of(with(login(Sasl::Required))).await;
    let mut server = granting(&mut world, "PLAIN,SCRAM-SHA-256").await;
    let signature = scram_up_to_the_proof(&mut server, 20_000).await;
    server.says(&format!("AUTHENTICATE {}", encoded(&signature))).await;
    server.hears_exactly("AUTHENTICATE +").await;
    server.says(":irc.test 903 pubbot :SASL authentication successful").await;
    welcomed(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_with_a_wrong_signature_or_none_is_left_at_once_even_where_the_login_is_only_preferred() {
    for sasl in [Sasl::Required, Sasl::Preferred] {
        for wrong in [format!("AUTHENTICATE {}", encoded("v=AAAA")), ":irc.test 903 pubbot :Welcome, friend".to_owned()]
        {
            let mut world = World::of(with(login(sasl))).await;
            let mut server = granting(&mut world, "PLAIN,SCRAM-SHA-256").await;
            scram_up_to_the_proof(&mut server, 4096).await;
            server.says(&wrong).await;
            server.hears_the_end().await;
            world.dies().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_followed_by_the_next_mechanism() {
    let mut world = World::of(with(login(Sasl::Required))).await;
    let mut server = granting(&mut world, "").await;
    server.hears_exactly("AUTHENTICATE SCRAM-SHA-256").await;
    server.says(":irc.test 908 pubbot PLAIN,EXTERNAL :are available SASL mechanisms").await;
    server.says(":irc.test 904 pubbot :SASL authentication failed").await;
    server.hears_exactly("AUTHENTICATE PLAIN").await;
    server.says("AUTHENTICATE +").await;
    server.hears_exactly(&plain()).await;
    server.says(":irc.test 903 pubbot :SASL authentication successful").await;
    welcomed(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_required_login_that_is_refused_not_offered_or_passed_over_ends_the_session() {
    let mut world = World::of(with(login(Sasl::Required))).await;
    // refused
    let mut server = granting(&mut world, "PLAIN").await;
    server.hears_exactly("AUTHENTICATE PLAIN").await;
    server.says("AUTHENTICATE +").await;
    server.hears_exactly(&plain()).await;
    server.says(":irc.test 904 pubbot :SASL authentication failed").await;
    server.hears_the_end().await;
    // not offered, or not what we have
    let mut server = offering(&mut world, "").await;
    server.hears_the_end().await;
    let mut server = granting(&mut world, "EXTERNAL").await;
    server.hears_the_end().await;
    // not granted
    let mut server = offering(&mut world, "sasl").await;
    server.hears_exactly("CAP REQ :sasl").await;
    server.says(":irc.test CAP * NAK :sasl").await;
    server.hears_the_end().await;
    // a server without capabilities, and one that welcomes us in the middle
    let mut server = world.server().await;
    server.hears_exactly("CAP LS 302").await;
    server.hears_exactly("NICK pubbot").await;
    server.hears_exactly("USER pub 0 * :A bot").await;
    server.says(":irc.test 421 * CAP :Unknown command").await;
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.hears_the_end().await;
    let mut server = granting(&mut world, "PLAIN").await;
    server.hears_exactly("AUTHENTICATE PLAIN").await;
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.hears_the_end().await;
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn a_preferred_login_that_can_not_be_had_is_done_without() {
    let preferred = || with(login(Sasl::Preferred));
    let mut world = World::of(preferred()).await;
    let mut server = granting(&mut world, "PLAIN").await;
    server.hears_exactly("AUTHENTICATE PLAIN").await;
    server.says(":irc.test 904 pubbot :SASL authentication failed").await;
    welcomed(&mut server).await;
    world.ends(server).await;

    let mut world = World::of(preferred()).await;
    let mut server = offering(&mut world, "").await;
    welcomed(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_in_the_login_has_twenty_seconds() {
    let mut world = World::of(with(login(Sasl::Required))).await;
    let mut server = granting(&mut world, "PLAIN").await;
    server.hears_exactly("AUTHENTICATE PLAIN").await;
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(15)).await;
    server.says("AUTHENTICATE +").await;
    server.hears_exactly(&plain()).await;
    server.hears_the_end().await;
    assert_eq!(began.elapsed().as_secs(), 35);
    world.dies().await;

    let mut world = World::of(with(login(Sasl::Preferred))).await;
    let mut server = granting(&mut world, "PLAIN").await;
    server.hears_exactly("AUTHENTICATE PLAIN").await;
    server.hears_exactly("AUTHENTICATE *").await;
    server.says(":irc.test 906 pubbot :SASL authentication aborted").await;
    welcomed(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_mechanisms_of_the_configuration_are_tried_and_external_says_nothing() {
    let only = Login { mechanisms: vec![Mechanism::ScramSha256], ..login(Sasl::Required) };
    let mut world = World::of(with(only)).await;
    let mut server = granting(&mut world, "EXTERNAL,PLAIN").await;
    server.hears_the_end().await;
    world.dies().await;

    let certificate = Login { has_client_certificate: true, sasl: Sasl::Required, ..Login::default() };
    let mut world = World::of(with(certificate)).await;
    let mut server = granting(&mut world, "PLAIN,EXTERNAL").await;
    server.hears_exactly("AUTHENTICATE EXTERNAL").await;
    server.says("AUTHENTICATE +").await;
    server.hears_exactly("AUTHENTICATE +").await;
    server.says(":irc.test 903 pubbot :SASL authentication successful").await;
    welcomed(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn when_the_services_come_back_the_bot_logs_in() {
    let mut world = World::of(with(login(Sasl::Preferred))).await;
    let mut server = offering(&mut world, "").await;
    welcomed(&mut server).await;
    // they are not asked for again
    for channel in ["#secret", "#a"] {
        server.says(&format!(":irc.test 403 pubbot {channel} :No such channel")).await;
    }
    server.says(":irc.test CAP pubbot NEW :sasl=PLAIN").await;
    server.hears("CAP REQ :sasl").await;
    server.says(":irc.test CAP pubbot ACK :sasl").await;
    server.hears("AUTHENTICATE PLAIN").await;
    server.says("AUTHENTICATE +").await;
    server.hears(&plain()).await;
    server.says(":irc.test 903 pubbot :SASL authentication successful").await;
    server.fence().await;
    // once is enough
    server.says(":irc.test CAP pubbot DEL :sasl").await;
    server.says(":irc.test CAP pubbot NEW :sasl=PLAIN").await;
    server.hears("CAP REQ :sasl").await;
    server.says(":irc.test CAP pubbot ACK :sasl").await;
    server.hears_nothing_for(Duration::from_secs(100)).await;
    // unless the network has forgotten it
    server.says(":irc.test 901 pubbot pubbot!pub@h :You are now logged out").await;
    server.says(":irc.test CAP pubbot DEL :sasl").await;
    server.says(":irc.test CAP pubbot NEW :sasl=PLAIN").await;
    server.hears("CAP REQ :sasl").await;
    server.says(":irc.test CAP pubbot ACK :sasl").await;
    server.hears("AUTHENTICATE PLAIN").await;
    // a late login that fails changes nothing
    server.says(":irc.test 904 pubbot :SASL authentication failed").await;
    server.hears_nothing_for(Duration::from_secs(100)).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_login_that_the_server_forgets_is_given_up() {
    let mut world = World::of(with(login(Sasl::Required))).await;
    let mut server = granting(&mut world, "PLAIN").await;
    server.hears_exactly("AUTHENTICATE PLAIN").await;
    server.says(":irc.test 907 pubbot :You have already authenticated using SASL").await;
    welcomed(&mut server).await;
    server.says(":irc.test 901 pubbot pubbot!pub@h :You are now logged out").await;
    server.says(":irc.test CAP pubbot DEL :sasl").await;
    server.says(":irc.test CAP pubbot NEW :sasl=PLAIN").await;
    server.hears("CAP REQ :sasl").await;
    server.says(":irc.test CAP pubbot ACK :sasl").await;
    server.hears("AUTHENTICATE PLAIN").await;
    let began = Instant::now();
    server.hears("AUTHENTICATE *").await;
    assert_eq!(began.elapsed().as_secs(), 20);
    server.hears_nothing_for(Duration::from_secs(100)).await;
    world.ends(server).await;
}

/// A bot that has been welcomed, and talks to NickServ.
async fn identifying() -> (World, Server) {
    let mut world = World::of(with(login(Sasl::Off))).await;
    let mut server = offering(&mut world, "sasl=PLAIN").await;
    server.hears_exactly("CAP END").await;
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.hears_exactly(&format!("PRIVMSG NickServ :IDENTIFY bot {PASSWORD}")).await;
    (world, server)
}

#[tokio::test(start_paused = true)]
async fn the_channels_wait_for_nickserv_but_not_for_long() {
    let (world, mut server) = identifying().await;
    let began = Instant::now();
    server.says(":NickServ!s@services NOTICE pubbot :This nickname is registered and protected.").await;
    server.hears("JOIN #secret,#a sesame").await;
    assert_eq!(began.elapsed().as_secs(), 5);
    server.hears_nothing_for(Duration::from_secs(60)).await;
    world.dies().await;

    for answer in [
        ":NickServ!s@services NOTICE pubbot :You are now identified for bot.",
        ":irc.test 900 pubbot pubbot!pub@h bot :You are now logged in as bot",
        ":NickServ MODE pubbot :+r",
        ":irc.test MODE pubbot :-w+ir",
    ] {
        let (world, mut server) = identifying().await;
        server.hears_nothing_for(Duration::from_secs(3)).await;
        let answered = Instant::now();
        server.says(answer).await;
        server.hears("JOIN #secret,#a sesame").await;
        assert_eq!(answered.elapsed().as_secs(), 0, "{answer}");
        world.dies().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_logged_in_by_sasl_tells_nickserv_nothing() {
    let both = Login { nickserv_password: Some(Secret::new("other")), ..login(Sasl::Preferred) };
    let mut world = World::of(with(both)).await;
    let mut server = granting(&mut world, "PLAIN").await;
    server.hears_exactly("AUTHENTICATE PLAIN").await;
    server.says("AUTHENTICATE +").await;
    server.hears_exactly(&plain()).await;
    server.says(":irc.test 903 pubbot :SASL authentication successful").await;
    welcomed(&mut server).await;
    drop(server);

    let mut server = offering(&mut world, "").await;
    server.hears_exactly("CAP END").await;
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.hears_exactly("PRIVMSG NickServ :IDENTIFY bot other").await;
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn modes_are_set_after_the_welcome_and_the_mark_of_a_bot_where_there_is_one() {
    let mut world = World::of(Network { modes: Some("+i".into()), ..network() }).await;
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 001 pubbot :Welcome").await;
    server.says(":irc.test 005 pubbot BOT=B CASEMAPPING=ascii :are supported").await;
    server.says(":irc.test 005 pubbot NICKLEN=30 :are supported").await;
    server.hears_exactly("MODE pubbot +i").await;
    server.hears_exactly("MODE pubbot +B").await;
    server.hears("JOIN #secret,#a sesame").await;
    server.fence().await;
    world.ends(server).await;
}

/// What a server may say while we register, in any order.
const SAID: [&str; 15] = [
    ":irc.test CAP * LS * :sasl",
    ":irc.test CAP * LS :sasl=PLAIN",
    ":irc.test CAP * LS :sasl=PLAIN,SCRAM-SHA-256",
    ":irc.test CAP * NEW :sasl=PLAIN",
    ":irc.test CAP * DEL :sasl",
    ":irc.test CAP * ACK :sasl",
    ":irc.test CAP * NAK :sasl",
    "AUTHENTICATE +",
    "AUTHENTICATE dj1BQUFB",
    ":irc.test 903 pubbot :done",
    ":irc.test 904 pubbot :failed",
    ":irc.test 906 pubbot :aborted",
    ":irc.test 908 pubbot PLAIN :are available",
    ":irc.test 421 * CAP :Unknown command",
    ":irc.test 902",
];

proptest! {
    #[test]
    fn whatever_a_server_says_a_required_login_comes_first_and_the_password_is_asked_for(
        said in proptest::collection::vec(proptest::sample::select(&SAID[..]), 0..25)
    ) {
        let mut registration = Registration::new(with(login(Sasl::Required)).into(), TestAmbient::arc());
        let (mut names_plain, mut is_asked, mut is_told) = (false, false, false);
        for line in said {
            is_asked |= names_plain && line == "AUTHENTICATE +";
            is_told |= is_asked && line.contains(" 903 ");
            let lines = match registration.hear(&line.parse().unwrap()) {
                Ok(Some(Todo::Send(lines))) => lines,
                Ok(_) => continue,
                Err(_) => return Ok(()),
            };
            for line in lines {
                let line = String::from_utf8_lossy(line.bytes()).trim_end().to_owned();
                names_plain |= line == "AUTHENTICATE PLAIN";
                prop_assert!(is_asked || line != plain());
                prop_assert!(is_told || line != "CAP END");
            }
            prop_assert!(is_told || !registration.is_logged_in());
        }
        prop_assert_eq!(registration.welcomed().is_ok(), registration.is_logged_in());
    }
}
