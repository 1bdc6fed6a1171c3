//! The bot's nick on real servers: how it is taken back from whoever has it, how much the bot says meanwhile, and how soon
//! a standby has it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use servers::{Atheme, Hybrid, Inspircd, IrcUser, Ngircd, Relay};

use crate::world::{Kind, World};

const PASSWORD: &str = "hunter2";
/// How long the bot waits for its nick where its lines are counted.
const WAITS: Duration = Duration::from_secs(60);
/// Within which an answer comes that somebody asks for.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// Within which a standby must speak where the server itself takes two minutes to miss a client.
const TAKEOVER_WITHIN: Duration = Duration::from_secs(60);

/// A bot with its nick taken, behind a relay that counts.
struct Waiting {
    alice: IrcUser,
    thief: IrcUser,
    relay: Relay,
    _bot: servers::Program,
    _world: World,
}

/// The thief is not where the bot can see them.
fn waiting(port: u16, network: &str) -> Waiting {
    let alice = IrcUser::connect(port, "alice");
    alice.join("#room");
    let thief = IrcUser::connect(port, "pubbot");
    let relay = Relay::to(port);
    let world = World::new(Kind::Up, relay.port(), &[]);
    world.configure(&format!("channels = [\"#room\"]\n{network}"), "");
    let bot = world.start(&["up"]);
    alice.hears(|line| line.starts_with(":pubbot_!") && line.contains(" JOIN "));
    Waiting { alice, thief, relay, _bot: bot, _world: world }
}

/// It has its nick.
fn has_its_nick(alice: &IrcUser) {
    alice.hears(|line| line.starts_with(":pubbot_!") && line.contains(" NICK ") && line.ends_with("pubbot"));
}

/// How many lines it says in a minute without its nick, what it asks of the channel among them; then the thief leaves.
fn counts_lines(port: u16, most: u64) {
    let Waiting { alice, thief, relay, .. } = &waiting(port, "");
    let before = relay.lines();
    sleep(WAITS);
    let lines = relay.lines() - before;
    eprintln!("{lines} lines in a minute without its nick");
    assert!(lines <= most, "{lines}");
    thief.send_raw("JOIN #room");
    alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" JOIN "));
    let left = Instant::now();
    thief.send_raw("QUIT");
    has_its_nick(alice);
    eprintln!("and has it {:?} after the thief left", left.elapsed());
    assert!(left.elapsed() < Duration::from_secs(10), "{:?}", left.elapsed());
}

#[test]
fn on_ngircd_a_bot_without_its_nick_says_a_dozen_lines_a_minute() {
    counts_lines(Ngircd::start().port(), 14);
}

#[test]
fn on_ircd_hybrid_a_bot_without_its_nick_says_next_to_nothing() {
    counts_lines(Hybrid::start().port(), 6);
}

#[test]
fn on_inspircd_a_bot_without_its_nick_says_next_to_nothing() {
    counts_lines(Inspircd::start().port(), 6);
}

#[test]
fn on_inspircd_monitor_tells_that_the_thief_has_left() {
    let inspircd = Inspircd::start();
    let Waiting { alice, thief, .. } = &waiting(inspircd.port(), "");
    // nobody could see it by then but through MONITOR
    sleep(Duration::from_secs(20));
    let left = Instant::now();
    thief.send_raw("QUIT");
    has_its_nick(alice);
    assert!(left.elapsed() < Duration::from_secs(5), "{:?}", left.elapsed());
}

#[test]
fn on_inspircd_services_take_the_nick_from_the_thief_by_our_account() {
    let inspircd = Inspircd::start();
    let atheme = Atheme::start(&inspircd);
    atheme.register("pubbot", PASSWORD);
    let login = "account = \"pubbot\"\naccount_password = \"hunter2\"\nsasl = \"required\"";
    let Waiting { alice, thief, relay, .. } = &waiting(inspircd.port(), login);
    has_its_nick(alice);
    thief.hears(|line| line.starts_with(":pubbot!") && line.contains(" NICK :Guest"));
    // for a while services keep the nick from everybody else: who comes anew must ask them again
    relay.reset();
    alice.hears(|line| line.starts_with(":pubbot_!") && line.contains(" JOIN "));
    has_its_nick(alice);
    alice.say("#room", "!echo here");
    assert_eq!(alice.hears_from("pubbot", "#room"), "here");
}

#[test]
fn on_inspircd_services_take_the_nick_from_the_thief_by_the_password_that_they_took() {
    let inspircd = Inspircd::start();
    let atheme = Atheme::start(&inspircd);
    atheme.register("pubbot", PASSWORD);
    // under the other nick NickServ can't log us in by that: it is told whose it is with the command
    let login = "nickserv_password = \"hunter2\"";
    let Waiting { alice, thief, .. } = &waiting(inspircd.port(), login);
    has_its_nick(alice);
    thief.hears(|line| line.starts_with(":pubbot!") && line.contains(" NICK :Guest"));
}

/// Services won't put out whoever has a nick that is not ours; the bot asks them once, and goes on waiting.
#[test]
fn on_inspircd_services_that_refuse_are_not_pressed() {
    let inspircd = Inspircd::start();
    let atheme = Atheme::start(&inspircd);
    atheme.register("pubbot", "theirs");
    atheme.register("bot", PASSWORD);
    let login = "account = \"bot\"\naccount_password = \"hunter2\"";
    let Waiting { alice, thief, relay, .. } = &waiting(inspircd.port(), login);
    let before = relay.lines();
    sleep(Duration::from_secs(20));
    let lines = relay.lines() - before;
    assert!(lines <= 6, "{lines}");
    thief.send_raw("QUIT");
    has_its_nick(alice);
}

/// The server would miss a stopped client after minutes: services put it out, after the standby has called upon it in vain.
#[test]
fn on_inspircd_a_standby_takes_the_nick_from_a_stopped_connector_by_services() {
    let inspircd = Inspircd::start();
    let atheme = Atheme::start(&inspircd);
    atheme.register("pubbot", PASSWORD);
    let world = World::new(Kind::Spread, inspircd.port(), &[]);
    world.configure("channels = [\"#room\"]\naccount = \"pubbot\"\naccount_password = \"hunter2\"", "");
    let _worker = world.start(&["worker"]);
    let mut first = world.start(&["connector"]);
    let alice = IrcUser::connect(inspircd.port(), "alice");
    alice.join("#room");
    crate::world::wait_for_bot(&alice, "#room");
    let _second = world.service(&["connector"], &[("PUBBOT_DATA_DIR", &world.path("data2"))]);
    // it stands by: nothing shows that but its silence
    sleep(Duration::from_secs(3));
    first.freeze();
    let stopped = Instant::now();
    let mut heard = alice.heard().len();
    loop {
        alice.say("#room", "!echo again");
        sleep(ANSWERED_WITHIN);
        let lines = alice.heard();
        if lines[heard..].iter().any(|line| line.starts_with(":pubbot!") && line.ends_with(":again")) {
            break;
        }
        heard = lines.len();
        assert!(stopped.elapsed() < TAKEOVER_WITHIN, "nobody speaks");
    }
    eprintln!("the standby spoke {:?} after the holder was stopped", stopped.elapsed());
    let end = alice.heard().into_iter().find(|line| line.starts_with(":pubbot!") && line.contains(" NICK :Guest"));
    assert!(end.is_some(), "services renamed the stopped one");
    first.thaw();
    // it knows that it may not speak, and has another nick anyway
    sleep(Duration::from_secs(5));
    let before = alice.heard().len();
    alice.say("#room", "!echo once");
    sleep(2 * ANSWERED_WITHIN);
    let lines = alice.heard();
    assert_eq!(lines[before..].iter().filter(|line| line.ends_with(":once")).count(), 1, "{lines:?}");
    assert!(!lines[before..].iter().any(|line| line.starts_with(":Guest")), "{lines:?}");
}
