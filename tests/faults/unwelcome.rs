//! A network that does not want the bot, or not so: its nick is taken, it is killed, kicked, banned, not heard; it is
//! kept out, not believed, not trusted; it is thrown out because it says too much.

use std::thread::sleep;
use std::time::{Duration, Instant};

use servers::{
    FakeIrc, FakeOptions, Hybrid, Inspircd, InspircdLimits, InspircdOptions, IrcUser, Ngircd, Relay, Service,
};

use super::stage::{RECOVERY, wait_until};
use crate::world::{Kind, World};

/// Within which a bot is back that was killed: it waits for 30 s to a minute, and leaves its nick alone for as long if
/// somebody has it.
const BACK_WITHIN: Duration = Duration::from_secs(150);
/// For so long it is listened whether a bot says anything that may not.
const LISTEN: Duration = Duration::from_secs(3);
/// Longer than any pause of a bot that is thought to be merely disconnected, at first.
const TRIES_WITHIN: Duration = Duration::from_secs(15);
const PASSWORD: &str = "hunter2";

/// A connector and a worker that are started again whenever they end.
struct Bot {
    world: World,
    connector: Service,
    _worker: Service,
}

impl Bot {
    fn start(port: u16, network: &str) -> Self {
        let world = World::new(Kind::Spread, port, &[]);
        world.configure(&format!("channels = [\"#room\"]\n{network}"), "");
        let worker = world.service(&["worker"], &[]);
        worker.wait_for_stderr("the worker is ready", RECOVERY);
        let connector = world.service(&["connector"], &[]);
        Bot { world, connector, _worker: worker }
    }

    /// How often it has said this.
    fn said(&self, text: &str) -> usize {
        self.connector.stderr().matches(text).count()
    }

    /// Waits until it has said this once more than so often.
    fn says_again(&self, text: &str, before: usize, within: Duration) {
        wait_until(&format!("it says {text:?} again"), within, || self.said(text) > before);
    }
}

fn is_in_room(user: &IrcUser, nick: &str) -> bool {
    user.names("#room").iter().any(|name| name.trim_start_matches(['@', '+']) == nick)
}

fn comes_in(user: &IrcUser, within: Duration) {
    let start = Instant::now();
    while !is_in_room(user, "pubbot") {
        assert!(start.elapsed() < within, "the bot is not there");
        sleep(Duration::from_millis(200));
    }
}

fn answers(user: &IrcUser, text: &str) {
    user.say("#room", &format!("!echo {text}"));
    assert_eq!(user.hears_from("pubbot", "#room"), text);
}

const SILENT: &str = "until then it is in no channel and says nothing";
const REFUSED: &str = "the server refused it: 404";
const NOT_LET_IN: &str = "not let in";

fn row_20(port: u16) {
    let alice = IrcUser::connect(port, "alice");
    alice.join("#room");
    let thief = IrcUser::connect(port, "pubbot");
    let bot = Bot::start(port, "");
    is_silent_without_its_nick(&bot, &alice, thief);
    is_not_heard(&bot, &alice);
    is_kicked(&alice);
    is_banned(&bot, &alice);
    is_killed(&bot, &alice, port);
}

fn is_silent_without_its_nick(bot: &Bot, alice: &IrcUser, thief: IrcUser) {
    bot.says_again(SILENT, 0, RECOVERY);
    let told = bot.world.run(&["say", "test/#room", "at last"]);
    assert_eq!(told.status.code(), Some(0), "{}", told.stderr);
    sleep(LISTEN);
    assert!(!is_in_room(alice, "pubbot_"), "{:?}", alice.names("#room"));
    drop(thief);
    comes_in(alice, RECOVERY);
    assert_eq!(alice.hears_from("pubbot", "#room"), "at last");
    assert!(!alice.heard().iter().any(|line| line.starts_with(":pubbot_!")), "{:?}", alice.heard());
}

fn is_not_heard(bot: &Bot, alice: &IrcUser) {
    alice.send_raw("MODE #room +m");
    alice.hears(|line| line.contains(" MODE #room "));
    alice.say("#room", "!echo in vain");
    bot.says_again(REFUSED, 0, RECOVERY);
    alice.send_raw("MODE #room -m");
    alice.hears(|line| line.contains(" MODE #room "));
    answers(alice, "heard again");
}

fn is_kicked(alice: &IrcUser) {
    alice.send_raw("KICK #room pubbot :out");
    alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" JOIN "));
    answers(alice, "after the kick");
}

fn is_banned(bot: &Bot, alice: &IrcUser) {
    alice.send_raw("MODE #room +b pubbot!*@*");
    alice.hears(|line| line.contains(" MODE #room "));
    alice.send_raw("KICK #room pubbot :out");
    // it waits longer, since it was kicked before
    bot.says_again(NOT_LET_IN, 0, RECOVERY);
    assert_eq!(bot.said("number=474"), 1);
    alice.send_raw("MODE #room -b pubbot!*@*");
    alice.hears(|line| line.contains(" MODE #room "));
    alice.send_raw("INVITE pubbot #room");
    comes_in(alice, RECOVERY);
    answers(alice, "after the ban");
}

/// While it is away, its nick is taken once more.
fn is_killed(bot: &Bot, alice: &IrcUser, port: u16) {
    let before = bot.said(SILENT);
    alice.becomes_operator();
    alice.send_raw("KILL pubbot :enough");
    alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" QUIT "));
    let (killed, thief) = (Instant::now(), IrcUser::connect(port, "pubbot"));
    bot.says_again(SILENT, before, BACK_WITHIN);
    assert!(killed.elapsed() > Duration::from_secs(25), "it came back after {:?}", killed.elapsed());
    sleep(LISTEN);
    assert!(!is_in_room(alice, "pubbot_"), "{:?}", alice.names("#room"));
    drop(thief);
    comes_in(alice, BACK_WITHIN);
    answers(alice, "after the kill");
}

#[test]
fn row_20_a_bot_that_is_not_wanted_is_silent_says_why_and_comes_back_on_ngircd() {
    row_20(Ngircd::start().port());
}

#[test]
fn row_20_a_bot_that_is_not_wanted_is_silent_says_why_and_comes_back_on_inspircd() {
    row_20(Inspircd::start().port());
}

#[test]
fn row_20_a_bot_that_is_not_wanted_is_silent_says_why_and_comes_back_on_ircd_hybrid() {
    row_20(Hybrid::start().port());
}

/// The pauses that it has announced, in seconds.
fn pauses(bot: &Service) -> Vec<f64> {
    let said = bot.stderr();
    let words = said.split_whitespace().filter_map(|word| word.strip_prefix("next_try_in="));
    words.map(seconds).collect()
}

/// Of a duration as it stands in the log: `931.5ms`, `45.2s`.
fn seconds(text: &str) -> f64 {
    match text.strip_suffix("ms") {
        Some(milliseconds) => milliseconds.parse::<f64>().unwrap() / 1000.0,
        None => text.strip_suffix('s').unwrap().parse().unwrap(),
    }
}

/// An operator of a real server keeps it out: it comes once more, and then not for minutes.
fn row_21_banned(port: u16, kline: &str) {
    let relay = Relay::to(port);
    let alice = IrcUser::connect(port, "alice");
    alice.join("#room");
    let bot = Bot::start(relay.port(), "user = \"robot\"");
    comes_in(&alice, RECOVERY);
    alice.becomes_operator();
    alice.send_raw(kline);
    // not every server says when it has taken it
    sleep(Duration::from_secs(1));
    relay.reset();
    wait_until("it is told", RECOVERY, || pauses(&bot.connector).last().is_some_and(|pause| *pause >= 300.0));
    let tries = relay.accepted();
    sleep(TRIES_WITHIN);
    assert_eq!(relay.accepted(), tries, "{}", bot.connector.stderr());
    assert!(tries <= 3, "{tries} tries: {}", bot.connector.stderr());
}

#[test]
fn row_21_a_k_lined_bot_stays_away_for_minutes_on_ngircd() {
    row_21_banned(Ngircd::start().port(), "KLINE *!~robot@* 600 :no bots");
}

#[test]
fn row_21_a_k_lined_bot_stays_away_for_minutes_on_inspircd() {
    row_21_banned(Inspircd::start().port(), "KLINE robot@* 600 :no bots");
}

#[test]
fn row_21_a_k_lined_bot_stays_away_for_minutes_on_ircd_hybrid() {
    row_21_banned(Hybrid::start().port(), "KLINE 10 *robot@* :no bots");
}

/// The server refuses the account, and never asks for the password.
#[test]
fn row_21_a_bot_whose_login_fails_joins_nothing_tells_no_password_and_waits() {
    let script = |line: &[u8]| {
        let fails = line.starts_with(b"AUTHENTICATE ");
        fails.then(|| b":fake.irc 904 * :SASL authentication failed\r\n".to_vec())
    };
    let capabilities = vec!["sasl=PLAIN".to_owned()];
    let irc = FakeIrc::start_with(FakeOptions { capabilities, script: Some(Box::new(script)), ..Default::default() });
    let bot = Bot::start(irc.port(), &format!("account = \"bot\"\naccount_password = \"{PASSWORD}\""));
    wait_until("it gives up", RECOVERY, || !pauses(&bot.connector).is_empty());
    irc.wait_for_leave();
    let tries = irc.connections();
    let mut lines = Vec::new();
    while let Some(line) = irc.try_next_line(TRIES_WITHIN) {
        lines.push(line.text());
    }
    assert_eq!((tries, irc.connections()), (1, 1), "{lines:?}");
    assert!(pauses(&bot.connector).iter().all(|pause| *pause >= 30.0), "{}", bot.connector.stderr());
    assert!(!lines.iter().any(|line| line.starts_with("JOIN") || line == "CAP END"), "{lines:?}");
    // bot NUL bot NUL hunter2 in base64
    assert!(!lines.iter().any(|line| line.contains(PASSWORD) || line.contains("Ym90AGJvdABodW50ZXIy")), "{lines:?}");
    assert!(!bot.connector.stderr().contains(PASSWORD), "{}", bot.connector.stderr());
}

/// Its certificate is signed by nobody whom we know, or is for another name: nobody has come when the server looks.
/// (That not a byte follows the handshake, and that one that has expired is refused as well, is shown in
/// `connector/src/irc/tests/tls.rs`.)
#[test]
fn row_21_input_23_a_server_that_is_not_believed_is_told_nothing_and_tried_rarely() {
    let elsewhere = InspircdOptions { names: vec!["elsewhere.example".into()], ..InspircdOptions::default() };
    for (options, trusts, why) in
        [(InspircdOptions::default(), false, "signed its certificate itself"), (elsewhere, true, "elsewhere.example")]
    {
        let inspircd = Inspircd::start_with(options);
        let relay = Relay::to(inspircd.tls_port());
        let world = World::new(Kind::Up, 1, &[]);
        let file = world.path("server.pem");
        std::fs::write(&file, inspircd.certificate().pem()).unwrap();
        let ca_file = if trusts { format!("ca_file = {file:?}") } else { String::new() };
        world.configure(&format!("channels = [\"#room\"]\npassword = \"{PASSWORD}\"\n{ca_file}"), "");
        let url = format!("ircs://127.0.0.1:{}", relay.port());
        let bot = world.service(&["up"], &[("PUBBOT_NETWORKS_TEST_URL", &url)]);
        wait_until("it is told", RECOVERY, || !pauses(&bot).is_empty());
        assert!(
            bot.stderr().contains("is not trusted, and was told nothing") && bot.stderr().contains(why),
            "{}",
            bot.stderr()
        );
        sleep(TRIES_WITHIN);
        assert_eq!(relay.accepted(), 1, "{}", bot.stderr());
        assert!(pauses(&bot).iter().all(|pause| *pause >= 30.0), "{}", bot.stderr());
        let alice = IrcUser::connect(inspircd.port(), "alice");
        alice.send_raw("LUSERS");
        alice.hears(|line| line.contains(" 255 ") && line.contains(" 1 client"));
    }
}

/// A real server that lets nothing wait throws out who says too much; told so, the bot speaks at half the pace, and all is
/// said in the end.
#[test]
fn row_22_who_is_thrown_out_for_a_flood_speaks_at_half_the_pace_and_is_thrown_out_once_more_at_most() {
    // it learns to be faster than the server bears within some 80 of them
    const ANSWERS: usize = 110;
    let limits = InspircdLimits::WithoutFakelag;
    let inspircd = Inspircd::start_with(InspircdOptions { limits, ..InspircdOptions::default() });
    let watcher = IrcUser::connect(inspircd.port(), "watcher");
    watcher.join("#room");
    let bot = Bot::start(inspircd.port(), "flood = \"auto\"");
    comes_in(&watcher, RECOVERY);
    let lines: Vec<String> = (0..ANSWERS).map(|number| format!("n{number}")).collect();
    for line in &lines {
        let told = bot.world.run(&["say", "test/#room", line]);
        assert_eq!(told.status.code(), Some(0), "{}", told.stderr);
    }
    let said = |line: &str| {
        let end = format!(" PRIVMSG #room :{line}");
        watcher.heard().iter().filter(|heard| heard.starts_with(":pubbot!") && heard.ends_with(&end)).count()
    };
    wait_until("all is said", Duration::from_secs(400), || lines.iter().all(|line| said(line) > 0));
    let kills =
        watcher.heard().iter().filter(|line| line.starts_with(":pubbot!") && line.contains("Excess Flood")).count();
    eprintln!("thrown out {kills} times");
    assert!((1..=2).contains(&kills), "{kills}");
    assert_eq!(bot.said("from now on at half the pace"), kills, "{}", bot.connector.stderr());
    // what was not proved when it was thrown out
    let twice: usize = lines.iter().map(|line| said(line) - 1).sum();
    assert!(twice <= 4 * kills, "{twice}");
}

/// Of many CTCP questions one in 10 s is answered, and DCC never is.
#[test]
fn input_21_a_flood_of_ctcp_is_answered_once_in_ten_seconds_and_dcc_never() {
    let ngircd = Ngircd::start();
    let alice = IrcUser::connect(ngircd.port(), "alice");
    alice.join("#room");
    let _bot = Bot::start(ngircd.port(), "");
    comes_in(&alice, RECOVERY);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) {
        alice.say("pubbot", "\u{1}DCC SEND \"../../etc/passwd\" 2130706433 1 1\u{1}");
        alice.say("pubbot", "\u{1}VERSION\u{1}");
        alice.say("pubbot", "\u{1}PING 12345\u{1}");
        // far more than may be answered, and no more than the server lets through
        sleep(Duration::from_millis(50));
    }
    let answers: Vec<String> =
        alice.heard().into_iter().filter(|line| line.starts_with(":pubbot!") && line.contains(" alice ")).collect();
    assert!((1..=2).contains(&answers.len()), "{answers:?}");
    assert!(!answers.iter().any(|line| line.contains("DCC")), "{answers:?}");
}
