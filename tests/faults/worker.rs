//! Faults of workers, and of what they do.

use std::thread::sleep;

use super::observer::{Deed, Observer};
use super::stage::{Stage, wait_until};
use crate::world::Kind;

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
    let report = stage.counting.settle(super::stage::RECOVERY);
    report.assert_kept(0);
    let (lost_none, all) = (report.answered, report.said);
    assert_eq!(lost_none, all, "drained: {report}");
}

fn row_09(kind: Kind) {
    let stage = Stage::set(kind);
    let _doubler = Observer::start(&stage.world, Deed::DeliverAgain);
    let report = stage.talk_through(0, |_| ());
    report.assert_kept(0);
    assert_eq!(report.answered, stage.size.lines, "{report}");
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
    assert_eq!(report.answered, stage.size.lines, "{report}");
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
        assert!(worker.terminate(super::stage::RECOVERY).is_some(), "it did not end within 30 s");
        wait_until("it is started again", super::stage::RECOVERY, || worker.starts() > starts);
    });
    report.assert_kept(0);
    for end in stage.workers.iter().flat_map(|worker| worker.past()) {
        assert_eq!(end.status.code(), Some(0), "{}", end.stderr);
    }
}
