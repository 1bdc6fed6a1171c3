//! The bot on a network on which everything goes wrong in its own time: answers come late, or never, connections are
//! stalled, cut, or silent on one side, and the server takes its time to notice. Chance decides, by a seed, so every run
//! of a seed is the same. What must hold all the while is in [`truth`]; afterwards the network is well again, and everything
//! must be as if nothing had happened.
//!
//! `PUBBOT_TEST_SEEDS=5000` runs as many seeds from 0 on, `PUBBOT_TEST_SEEDS=17..18` those.

mod chance;
mod server;
mod truth;
mod wire;

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bus::{Address, Broker, Message, Properties};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::chance::Chance;
use self::server::Server;
use self::truth::Truth;
use super::world::{Shaky, network};
use crate::Secret;
use crate::irc::connector::Connector;
use crate::irc::{Channel, Flood, Login, Mechanism, Network, Sasl, Sts};
use crate::testing::TestAmbient;

/// How many seeds an ordinary run has.
const SEEDS: u64 = 200;
/// For so long things go wrong.
const TROUBLE: Duration = Duration::from_secs(600);
/// So long after that everything is well: the longest pause between two tries, a registration with its slowest steps, the
/// channels, which are asked for again after as long as 10 min, and the lines.
const WELL_WITHIN: Duration = Duration::from_secs(30 * 60);
/// The replies that are to be said meanwhile, each of up to three lines.
const REPLIES: u64 = 40;

/// The seeds to run.
fn seeds() -> Range<u64> {
    #[expect(clippy::disallowed_methods, reason = "the test's own switch")]
    let Ok(wanted) = std::env::var("PUBBOT_TEST_SEEDS") else { return 0..SEEDS };
    let number = |text: &str| text.trim().parse().expect("PUBBOT_TEST_SEEDS is a number, or two as in 17..18");
    match wanted.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&wanted),
    }
}

#[test]
fn whatever_goes_wrong_when_everything_is_said_once_it_is_over() {
    let mut doubled = 0;
    let mut connections = 0;
    let seeds = seeds();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let mut chance = Chance::new(seed);
        let network = network_of(&mut chance);
        let truth = runtime.block_on(async { Arc::new(Truth::new(network.unproved)) });
        let running = AssertUnwindSafe(|| runtime.block_on(run(chance, network, truth.clone())));
        std::panic::catch_unwind(running).unwrap_or_else(|_| {
            println!("the last that happened:\n{}", truth.story());
            panic!("seed {seed} failed: PUBBOT_TEST_SEEDS={seed}..{} runs it again", seed + 1)
        });
        doubled += truth.doubled();
        connections += truth.connections();
    }
    println!("{count} seeds: {connections} connections, {doubled} lines twice");
    // else there was no trouble
    assert!(count < SEEDS || (connections > 3 * count && doubled > 0));
}

/// A network with other habits for each seed.
fn network_of(chance: &mut Chance) -> Network {
    let sasl = chance.one_of(&[Sasl::Off, Sasl::Preferred, Sasl::Required]);
    let password = (sasl != Sasl::Off).then(|| Secret::new("sesame"));
    let login =
        Login { account: Some("pub".into()), password, sasl, mechanisms: vec![Mechanism::Plain], ..Login::default() };
    let channels = ["#a", "#b"].map(|name| Channel { name: name.into(), key: None, answers: Default::default() });
    Network {
        login,
        channels: channels.to_vec(),
        flood: chance.one_of(&[Flood::Off, Flood::Learned]),
        unproved: chance.one_of(&[1, 4, 4, 4]),
        ..network()
    }
}

async fn run(mut chance: Chance, network: Network, truth: Arc<Truth>) {
    let broker = if chance.once_in(2) { Arc::new(Shaky::default()) } else { Shaky::leasing() };
    let calm = Instant::now() + TROUBLE;
    let server = Server::start(chance.branch(), network.login.sasl != Sasl::Off, calm, truth.clone());
    let (stop, ambient) = (CancellationToken::new(), TestAmbient::arc());
    let sts = Sts::in_memory(ambient.clone());
    let connector = Connector::new(network, broker.clone(), ambient, None, sts, stop.clone());
    let running = tokio::spawn(connector.run(server.clone()));

    let watching = async {
        loop {
            truth.check_settled(settled(&broker, &truth));
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = watching => {}
        () = ask(&broker, &truth, &mut chance) => {}
    }
    sleep_until(calm).await;
    let is_well = || truth.is_all_said() && settled(&broker, &truth) == REPLIES && server.has_the_bot();
    while !is_well() {
        truth.check_settled(settled(&broker, &truth));
        assert!(calm.elapsed() < WELL_WITHIN, "not well again: {}; {}", truth.describe(), server.describe());
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(broker.inner.held(&broker.topology().dead().name), 0, "a reply was buried");
    truth.check_settled(settled(&broker, &truth));
    truth.check_doubled();
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("it did not stop").unwrap().unwrap();
}

/// How many of the replies are acknowledged.
fn settled(broker: &Shaky, truth: &Truth) -> u64 {
    let held = broker.inner.held(&broker.topology().replies_name("irc", "test"));
    truth.published().saturating_sub(held as u64)
}

/// Asks for replies, at any time while things go wrong.
async fn ask(broker: &Shaky, truth: &Truth, chance: &mut Chance) {
    let queue = broker.topology().replies_name("irc", "test");
    while broker.declare(broker.topology().replies("irc", "test")).await.is_err() {}
    for reply in 1..=REPLIES {
        sleep(chance.up_to(2 * TROUBLE / u32::try_from(REPLIES).unwrap())).await;
        let lines: Vec<String> = (1..=1 + chance.below(3)).map(|line| format!("{reply}.{line}")).collect();
        let body = json!({
            "id": Uuid::from_u128(reply.into()),
            "channel": chance.one_of(&["#a", "#b", "alice"]),
            "kind": chance.one_of(&["chat", "notice"]),
            "content": lines,
        });
        truth.asked(lines);
        let body = Bytes::from(body.to_string());
        let message =
            Message { to: Address::Queue(queue.clone()), mandatory: true, properties: Properties::default(), body };
        broker.inner.publish(message).await.await.unwrap();
        truth.is_published();
    }
}
