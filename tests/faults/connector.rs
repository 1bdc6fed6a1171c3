//! Faults of connectors: killed, told to stop, stopped in the middle of a word, one too many.

use std::thread::sleep;
use std::time::{Duration, Instant};

use servers::{FakeOptions, RabbitMq, Relay, Report};

use super::observer::Observer;
use super::stage::{Plan, RECOVERY, Stage, wait_until};
use crate::world::Kind;

/// Lines that may be said twice when a connector is killed: those written, but not yet proved or not yet remembered.
const TWICE_A_KILL: usize = 4;
/// Within which a standby must speak when the holder is stopped or cut off.
const TAKEOVER_WITHIN: Duration = Duration::from_secs(25);
/// Within which a holder must be silent that hears nothing of its broker: one heartbeat of 6 s, and the pauses of a busy machine. The
/// broker gives its lock away after 18 s.
const SILENT_WITHIN: Duration = Duration::from_secs(8);
/// After which the server takes a silent client for dead, in two steps.
const SILENCE: Duration = Duration::from_secs(5);

fn row_03(kind: Kind, capabilities: &[&str]) {
    let capabilities = capabilities.iter().map(ToString::to_string).collect();
    let options = FakeOptions { capabilities, ..FakeOptions::default() };
    let stage = Stage::plan(Plan { options, ..Plan::new(kind) });
    let observer = (kind == Kind::Spread).then(|| Observer::watch(&stage.world));
    let kills = stage.size.hard_kills;
    let report = stage.talk_through(kills, |_| stage.connector().kill());
    report.assert_kept(kills * TWICE_A_KILL);
    assert!(stage.connector().starts() > kills);
    if let Some(observer) = observer {
        observer.assert_no_gap();
        assert_eq!(observer.sessions(), kills + 1);
    }
}

#[test]
fn row_03_a_killed_connector_loses_nothing_it_has_read_and_says_at_most_4_lines_twice() {
    row_03(Kind::Spread, &[]);
}

/// The same where the server proves that it took a line by sending it back, or by an answer with its label.
#[test]
fn row_03_a_killed_connector_loses_nothing_where_the_server_echoes() {
    row_03(Kind::Spread, &["echo-message", "message-tags"]);
}

#[test]
fn row_03_a_killed_connector_loses_nothing_where_the_server_knows_labels() {
    row_03(Kind::Spread, &["labeled-response", "batch", "message-tags", "echo-message"]);
}

#[test]
fn row_03_a_killed_up_loses_nothing_it_has_read_and_says_at_most_4_lines_twice() {
    row_03(Kind::Up, &[]);
}

/// What a connector has read and its broker has not taken is on disk.
#[test]
fn row_03_a_connector_killed_while_its_broker_is_away_loses_nothing_it_has_read() {
    let relay = Relay::to(RabbitMq::shared().port());
    let connector_broker_url = Some(format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port()));
    let stage = Stage::plan(Plan { connector_broker_url, ..Plan::new(Kind::Spread) });
    let observer = Observer::watch(&stage.world);
    stage.counting.say(100, stage.size.rate);
    relay.cut();
    stage.counting.say(stage.size.lines / 2, stage.size.rate);
    // it is known of every line that it was read
    stage.counting.settle(Duration::from_secs(1));
    stage.connector().kill();
    sleep(Duration::from_secs(1));
    relay.heal();
    stage.counting.wait_for_bot();
    stage.counting.say(100, stage.size.rate);
    let report = stage.counting.settle(RECOVERY);
    assert_eq!(report.read, report.said, "{report}");
    report.assert_kept(TWICE_A_KILL);
    observer.assert_no_gap();
}

#[test]
fn row_18_of_two_connectors_the_second_says_nothing() {
    let mut stage = Stage::set(Kind::Spread);
    stage.add_connector();
    let report = stage.talk_through(0, |_| ());
    report.assert_kept(0);
    assert_eq!(report.by_connection.keys().collect::<Vec<_>>(), [&1], "{report}");
}

#[test]
fn row_18_a_standby_takes_over_from_one_that_was_killed() {
    let mut stage = Stage::set(Kind::Spread);
    stage.add_connector();
    // the standby has asked for the lock by then
    sleep(Duration::from_secs(3));
    let load = stage.counting.begin("!echo", None, stage.size.rate);
    stage.counting.wait_for_answers(100);
    stage.connectors[0].stop();
    let took = wait_for_another_to_speak(&stage, 1, TAKEOVER_WITHIN);
    eprintln!("the standby spoke after {took:?}");
    load.stop();
    // what it had read and not yet handed to the broker is in its own journal
    stage.start_connector_again(0);
    let report = stage.counting.settle(RECOVERY);
    report.assert_kept(TWICE_A_KILL);
    assert!(took < Duration::from_secs(8), "{took:?}: {report}");
}

/// Waits until a connection other than this one answers.
fn wait_for_another_to_speak(stage: &Stage, connection: usize, limit: Duration) -> Duration {
    wait_until("another connection speaks", limit, || {
        stage.counting.report().by_connection.keys().any(|other| *other != connection)
    })
}

fn row_19(options: FakeOptions, pings: bool) -> Report {
    let mut stage = Stage::plan(Plan { options, ..Plan::new(Kind::Spread) });
    if pings {
        stage.counting.irc().ping_clients(SILENCE, SILENCE);
    }
    stage.add_connector();
    sleep(Duration::from_secs(3));
    let load = stage.counting.begin("!echo", None, stage.size.rate);
    stage.counting.wait_for_answers(100);
    let start = Instant::now();
    stage.connectors[0].freeze();
    let took = wait_for_another_to_speak(&stage, 1, 2 * TAKEOVER_WITHIN);
    eprintln!("the standby spoke after {took:?}");
    sleep(stage.size.freeze.saturating_sub(start.elapsed()));
    let said_before = stage.counting.report().by_connection.get(&1).copied().unwrap_or(0);
    stage.connectors[0].thaw();
    sleep(Duration::from_secs(5));
    load.stop();
    let report = stage.counting.settle(RECOVERY);
    eprintln!("{report}");
    let said_after = report.by_connection.get(&1).copied().unwrap_or(0) - said_before;
    assert!(took <= TAKEOVER_WITHIN, "{took:?}: {report}");
    // a write that was begun when it was stopped has at most the lines that may be unproved
    assert!(said_after <= TWICE_A_KILL, "the old holder said {said_after} lines more: {report}");
    report
}

#[test]
fn row_19_a_stopped_holder_is_succeeded_and_says_nothing_when_it_wakes() {
    row_19(FakeOptions::default(), true).assert_kept(TWICE_A_KILL);
}

/// Here the server would let both speak: only the lock keeps the old holder silent. Both hear the same lines, too, so what was said
/// between the takeover and the awakening may be answered twice by the new holder.
#[test]
fn row_19_a_stopped_holder_says_nothing_when_it_wakes_where_sessions_share_a_nick() {
    let report = row_19(FakeOptions { multiclient: true, ..FakeOptions::default() }, false);
    assert!(report.lost.is_empty(), "{report}");
}

/// It holds replies at hand, which another holder gets as well: it must have stopped saying them by then. Neither its server nor its
/// broker tells it so: it must know by itself. So many lines may be unproved here that these don't silence it.
#[test]
fn row_19_a_holder_cut_off_from_its_broker_falls_silent_before_another_may_speak() {
    let relay = Relay::to(RabbitMq::shared().port());
    let mut stage = Stage::plan(Plan {
        options: FakeOptions { multiclient: true, ..FakeOptions::default() },
        connector_broker_url: Some(format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port())),
        // most of it goes into PONGs: the server here asks five times a second
        network: "flood = { burst = 10, per_second = 8 }\nunproved = 64",
        ..Plan::new(Kind::Spread)
    });
    stage.add_connector();
    sleep(Duration::from_secs(3));
    // they take half a minute to be answered
    stage.counting.say(60, 1_000);
    stage.counting.wait_for_answers(8);
    let start = Instant::now();
    relay.hold();
    let took = wait_for_another_to_speak(&stage, 1, 2 * TAKEOVER_WITHIN);
    let report = stage.counting.settle(2 * RECOVERY);
    eprintln!("{report}");
    let silent = stage.counting.last_answer_of(1).unwrap().saturating_duration_since(start);
    eprintln!("silent after {silent:?}, another spoke after {took:?}");
    assert!(silent <= SILENT_WITHIN, "the old holder spoke until {silent:?}: {report}");
    assert!(report.lost.is_empty() && took <= TAKEOVER_WITHIN, "{took:?}: {report}");
}

fn row_26(kind: Kind) {
    let stage = Stage::set(kind);
    let report = stage.talk_through(stage.size.kills, |_| {
        let starts = stage.connector().starts();
        assert!(stage.connector().terminate(RECOVERY).is_some(), "it did not end within 30 s");
        wait_until("it is started again", RECOVERY, || stage.connector().starts() > starts);
        stage.counting.wait_for_bot();
    });
    report.assert_kept(0);
    for end in stage.connector().past() {
        assert_eq!(end.status.code(), Some(0), "{}", end.stderr);
    }
}

#[test]
fn row_26_a_connector_told_to_stop_under_load_loses_nothing_and_says_nothing_twice() {
    row_26(Kind::Spread);
}

#[test]
fn row_26_up_told_to_stop_under_load_loses_nothing_and_says_nothing_twice() {
    row_26(Kind::Up);
}

#[test]
fn row_26_a_standby_takes_over_at_once_from_a_connector_told_to_stop() {
    let mut stage = Stage::set(Kind::Spread);
    stage.add_connector();
    sleep(Duration::from_secs(3));
    let load = stage.counting.begin("!echo", None, stage.size.rate);
    stage.counting.wait_for_answers(100);
    let start = Instant::now();
    assert!(stage.connectors[0].terminate(RECOVERY).is_some());
    let took = wait_for_another_to_speak(&stage, 1, TAKEOVER_WITHIN) + start.elapsed();
    load.stop();
    let report = stage.counting.settle(RECOVERY);
    report.assert_kept(0);
    assert!(took < Duration::from_secs(8), "{took:?}: {report}");
}
