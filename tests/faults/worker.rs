//! Faults of workers, and of what they do.

use std::thread::sleep;
use std::time::{Duration, Instant};

use servers::{FakeIrc, IrcUser, Report, Service};

use super::observer::{Deed, Observer};
use super::outside::{DeadLetters, Outside};
use super::stage::{Plan, RECOVERY, Stage, wait_until};
use super::{bad_worker, size};
use crate::world::{Kind, World};

#[test]
fn row_01_a_killed_worker_loses_nothing_and_says_nothing_twice() {
    let stage = Stage::set(Kind::Spread);
    let observer = Observer::watch(&stage.world);
    let report = stage.talk_through(stage.size.kills, |number| stage.workers[number % 2].kill());
    report.assert_kept(0);
    observer.assert_no_gap();
    assert!(stage.workers.iter().map(|worker| worker.starts()).sum::<usize>() >= 2 + stage.size.kills);
}

#[test]
fn row_02_what_is_said_while_all_workers_are_gone_is_answered_when_they_are_back() {
    let mut stage = Stage::set(Kind::Spread);
    stage.counting.say(100, stage.size.rate);
    stage.workers.clear();
    let load = stage.counting.begin("!echo", Some(stage.size.lines), stage.size.rate);
    sleep(stage.size.outage);
    stage.add_worker();
    stage.add_worker();
    load.wait();
    stage.wait_for_workers();
    let report = stage.counting.settle(RECOVERY);
    report.assert_kept(0);
    let (lost_none, all) = (report.answered, report.said);
    assert_eq!(lost_none, all, "drained: {report}");
}

fn row_09(kind: Kind) {
    let stage = Stage::set(kind);
    let _doubler = Observer::start(&stage.world, Deed::DeliverAgain);
    let report = stage.talk_through(0, |_| ());
    report.assert_kept(0);
    assert_eq!(report.answered, report.said, "{report}");
}

#[test]
fn row_09_every_event_delivered_twice_is_answered_once() {
    row_09(Kind::Spread);
}

#[test]
fn row_09_every_event_delivered_twice_is_answered_once_by_up() {
    row_09(Kind::Up);
}

fn row_10(kind: Kind) {
    let stage = Stage::set(kind);
    let _answers = Observer::start(&stage.world, Deed::AnswerTwice);
    let report = stage.talk_through_with("!twice", 0, |_| ());
    report.assert_kept(0);
    assert_eq!(report.answered, report.said, "{report}");
}

#[test]
fn row_10_every_reply_delivered_twice_is_said_once() {
    row_10(Kind::Spread);
}

#[test]
fn row_10_every_reply_delivered_twice_is_said_once_by_up() {
    row_10(Kind::Up);
}

#[test]
fn row_26_a_worker_told_to_stop_under_load_finishes_what_it_began() {
    let stage = Stage::set(Kind::Spread);
    let report = stage.talk_through(stage.size.kills, |number| {
        let worker = &stage.workers[number % 2];
        let starts = worker.starts();
        assert!(worker.terminate(RECOVERY).is_some(), "it did not end within 30 s");
        wait_until("it is started again", RECOVERY, || worker.starts() > starts);
    });
    report.assert_kept(0);
    for end in stage.workers.iter().flat_map(|worker| worker.past()) {
        assert_eq!(end.status.code(), Some(0), "{}", end.stderr);
    }
}

/// A bot that nothing but bad workers answers for.
struct Bad {
    stage: Stage,
    workers: Vec<Service>,
    outside: Outside,
}

impl Bad {
    fn start(workers: usize) -> Self {
        let stage = Stage::plan(Plan { workers: 0, ..Plan::new(Kind::Spread) });
        let workers = (0..workers).map(|_| bad_worker::start(&stage.world)).collect();
        let outside = Outside::connect(&stage.world);
        Bad { stage, workers, outside }
    }

    /// Somebody says this to the bot in private: in a channel its lines would wait for each other, as they should.
    fn say(&self, text: &str) {
        self.say_as("mallory", text);
    }

    fn say_as(&self, nick: &str, text: &str) {
        self.stage.counting.irc().say(nick, "pubbot", text);
    }

    /// What the workers have run, by what they print.
    fn ran(&self, what: &str) -> usize {
        self.workers.iter().map(|worker| worker.stderr().lines().filter(|line| *line == what).count()).sum()
    }

    /// Says lines that are answered well, with bad ones among them.
    fn talk_with(&self, bad: &[&str]) -> Report {
        self.stage.talk_through_with("!ok", bad.len(), |number| self.say(bad[number]))
    }

    /// Waits until so many are dead, and no more.
    fn assert_dead(&self, dead: &DeadLetters, count: usize, within: Duration) {
        wait_until("they are dead", within, || dead.count() >= count);
        sleep(Duration::from_secs(1));
        assert_eq!(dead.count(), count, "{:?}", dead.bodies());
    }
}

#[test]
fn row_11_a_handler_that_panics_is_tried_again_and_disturbs_nobody() {
    let bad = Bad::start(1);
    let dead = bad.outside.dead_letters();
    let report = bad.talk_with(&["!panic", "!shaky"]);
    assert!(report.lost.is_empty() && report.extra() == 0, "{report}");
    // at once, after 1 s, after 10 s
    wait_until("it is tried for the third time", RECOVERY, || bad.ran("panics") >= 3);
    assert!(bad.ran("shakes") == 2, "{}", bad.ran("shakes"));
    assert_eq!(bad.workers[0].starts(), 1, "a panic ends no worker");
    if size::is_full() {
        // after 60 s and 10 min more it is over
        bad.assert_dead(&dead, 1, Duration::from_secs(13 * 60));
        assert!(dead.headers("error")[0].contains("on purpose"), "{:?}", dead.headers("error"));
        assert_eq!(bad.ran("panics"), 5);
    } else {
        assert_eq!(dead.count(), 0, "{:?}", dead.bodies());
    }
}

#[test]
fn row_12_a_handler_that_ends_its_process_is_buried_and_no_innocent_with_it() {
    let bad = Bad::start(2);
    let dead = bad.outside.dead_letters();
    let report = bad.talk_with(&["!abort"]);
    report.assert_kept(0);
    bad.assert_dead(&dead, 1, RECOVERY);
    assert!(dead.bodies()[0].contains("!abort"), "{:?}", dead.bodies());
    // twice among others, three times alone
    assert!(bad.ran("aborts") <= 6, "{} processes ended", bad.ran("aborts"));
}

#[test]
fn row_13_handlers_that_never_return_or_block_a_thread_delay_nobody() {
    let bad = Bad::start(1);
    let before = bad.talk_with(&[]);
    let first = bad.stage.counting.said();
    bad.talk_with(&["!hang", "!block", "!hang", "!block", "!hang"]);
    let after = bad.stage.counting.report_from(first);
    assert!(after.lost.is_empty() && after.extra() == 0 && after.strange_count == 0, "{after}");
    // a busy machine has pauses of its own, and those that wait for a handler wait for its whole time
    let allowed = (2 * before.p99).max(bad_worker::TIMEOUT / 2);
    assert!(after.p99 <= allowed, "p99 was {:?}, then {:?}", before.p99, after.p99);
    // abandoned at their limit, they are tried again
    wait_until("the hanging are tried again", RECOVERY, || bad.ran("hangs") >= 6);
    assert_eq!(bad.workers[0].starts(), 1);
}

#[test]
fn row_13_a_worker_with_8_blocked_threads_ends_with_status_1_and_its_successor_goes_on() {
    let bad = Bad::start(1);
    let load = bad.stage.counting.begin("!ok", None, bad.stage.size.rate);
    for number in 0..8 {
        bad.say_as(&format!("mallory{number}"), "!block");
    }
    wait_until("the worker ends", RECOVERY, || bad.workers[0].starts() > 1);
    bad.workers[0].wait_for_stderr("ready", RECOVERY);
    load.stop();
    let end = &bad.workers[0].past()[0];
    assert_eq!(end.status.code(), Some(1), "{}", end.stderr);
    assert!(end.stderr.contains("8 handlers block their threads"), "{}", end.stderr);
    // those that blocked are tried again, and end its successor, too
    bad.stage.counting.settle(RECOVERY).assert_kept(0);
}

#[test]
fn row_23_a_handler_that_says_10000_lines_says_5() {
    let bad = Bad::start(1);
    bad.say("!flood");
    bad.stage.counting.say(100, 100);
    let report = bad.stage.counting.settle(Duration::from_secs(10));
    let flood = report.strange_count;
    assert!((1..=5).contains(&flood), "{flood}: {report}");
}

/// Two bots that answer each other's answers.
#[test]
fn row_23_two_bots_that_answer_each_other_soon_stop() {
    let irc = FakeIrc::start();
    let worlds = ["one", "two"].map(|nick| {
        let world = World::new(Kind::Spread, irc.port(), &[]);
        let nick = format!("PUBBOT_NETWORKS_TEST_NICK={nick}");
        let nick = nick.split_once('=').unwrap();
        world.configure("channels = [\"#room\"]", "");
        let bot = (bad_worker::start(&world), world.service(&["connector"], &[nick]));
        (world, bot)
    });
    for nick in ["one", "two"] {
        wait_until("it is there", RECOVERY, || irc.is_in(nick, "#room"));
    }
    let alice = IrcUser::connect(irc.port(), "alice");
    alice.join("#room");
    alice.say("#room", "marco");
    let window = if size::is_full() { Duration::from_secs(60) } else { Duration::from_secs(20) };
    let (start, mut said) = (Instant::now(), 0);
    while let Some(line) = irc.try_next_said(window.saturating_sub(start.elapsed())) {
        said += usize::from(line.text().ends_with(":marco"));
    }
    // alice's own is one of them
    assert!((3..=11).contains(&said), "{said} lines in {window:?}");
    drop(worlds);
}
