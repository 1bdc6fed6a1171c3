//! What happens on the IRC network: netsplits, and half-open connections.

use std::time::Duration;

use servers::{Counting, Relay};

use super::observer::Observer;
use super::size;
use super::stage::{CHANNELS, Plan, RECOVERY, Stage, wait_until};
use crate::world::Kind;

/// How many leave, and come back.
const SPLIT: usize = 1_000;

fn row_28(kind: Kind) {
    let stage = Stage::set(kind);
    let observer = Observer::watch(&stage.world);
    let irc = stage.counting.irc();
    irc.send(all_join("").as_bytes());
    // they go and come back, at first one by one, then as servers with `batch` tell it
    let report = stage.talk_through(4, |turn| {
        let lines = match turn {
            0 => all_quit(""),
            1 => all_join(""),
            2 => format!(":fake.irc BATCH +7 netsplit hub leaf\r\n{}:fake.irc BATCH -7\r\n", all_quit("@batch=7 ")),
            _ => format!(":fake.irc BATCH +8 netjoin hub leaf\r\n{}:fake.irc BATCH -8\r\n", all_join("@batch=8 ")),
        };
        irc.send(lines.as_bytes());
    });
    report.assert_kept(0);
    // beside other tests the machine has pauses of its own
    let allowed = Duration::from_secs(if size::is_full() { 1 } else { 10 });
    assert!(report.p99 < allowed, "{report}");
    observer.assert_no_gap();
    for (kind, rounds) in [("join", 3), ("leave", 2)] {
        let last = format!("u{}", SPLIT - 1);
        wait_until("the last one is told", RECOVERY, || observer.users(kind).get(&last) == Some(&rounds));
        let users = observer.users(kind);
        let told = |number: usize| users.get(&format!("u{number}")) == Some(&rounds);
        assert!((0..SPLIT).all(told), "each {kind} is told {rounds} times");
    }
}

fn all_join(tags: &str) -> String {
    let channel = |number: usize| CHANNELS[number % CHANNELS.len()];
    (0..SPLIT).map(|number| format!("{tags}:u{number}!u@split JOIN {}\r\n", channel(number))).collect()
}

fn all_quit(tags: &str) -> String {
    (0..SPLIT).map(|number| format!("{tags}:u{number}!u@split QUIT :hub.example leaf.example\r\n")).collect()
}

#[test]
fn row_28_a_netsplit_loses_nothing_and_delays_little() {
    row_28(Kind::Spread);
}

#[test]
fn row_28_a_netsplit_loses_nothing_and_delays_little_with_up() {
    row_28(Kind::Up);
}

/// How soon a bot must give up an IRC connection on which nothing arrives.
const NOTICED_WITHIN: Duration = Duration::from_secs(90);

/// What was written into the void was not said: it is said on the next connection.
fn row_07(kind: Kind) {
    let counting = Counting::start(&CHANNELS);
    let relay = Relay::to(counting.port());
    let stage = Stage::plan_before(Plan { irc_port: Some(relay.port()), ..Plan::new(kind) }, counting);
    // the server itself finds out sooner than the bot, and gives its nick free
    stage.counting.irc().ping_clients(Duration::from_secs(5), Duration::from_secs(5));
    stage.counting.say(100, stage.size.rate);
    // so that some lines are under way when the connection dies
    relay.delay(Duration::from_millis(100));
    let load = stage.counting.begin("!echo", None, stage.size.rate);
    stage.counting.wait_for_answers(300);
    relay.hold();
    relay.abandon();
    let noticed = relay.wait_until_left(2 * NOTICED_WITHIN);
    assert!(noticed.is_some_and(|after| after <= NOTICED_WITHIN), "noticed after {noticed:?}");
    relay.delay(Duration::ZERO);
    stage.counting.wait_for_bot();
    stage.counting.wait_for_answers(stage.counting.answered() + 100);
    load.stop();
    let report = stage.counting.settle(RECOVERY);
    eprintln!("{report}");
    report.assert_kept(4);
}

#[test]
fn row_07_a_half_open_irc_connection_is_noticed_and_what_was_not_heard_is_said_again() {
    row_07(Kind::Spread);
}

#[test]
fn row_07_a_half_open_irc_connection_is_noticed_and_what_was_not_heard_is_said_again_by_up() {
    row_07(Kind::Up);
}
