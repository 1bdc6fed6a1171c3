//! Faults of the broker, and of the way to it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use servers::{RabbitMq, Relay};

use super::observer::Observer;
use super::stage::{Plan, QUEUE_IS_ON_DISK, RECOVERY, Stage, wait_until};
use crate::world::Kind;

/// How soon the bot must answer again when a broker accepts connections.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// How soon the bot must answer the IRC server's PING, whatever the broker does.
const PONG_WITHIN: Duration = Duration::from_secs(5);
/// How soon a connection must be given up on which nothing arrives.
const NOTICED_WITHIN: Duration = Duration::from_secs(25);
/// How soon the bot must answer again when a broker's alarm is over.
const RESUMED_WITHIN: Duration = Duration::from_secs(5);

/// A connector that reaches the shared broker through a relay.
fn through_a_relay() -> (Stage, Relay) {
    let relay = Relay::to(RabbitMq::shared().port());
    let connector_broker_url = Some(format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port()));
    (Stage::plan(Plan { connector_broker_url, ..Plan::new(Kind::Spread) }), relay)
}

fn with_own(broker: &RabbitMq) -> Stage {
    Stage::plan(Plan { broker_url: Some(broker.url().to_owned()), ..Plan::new(Kind::Spread) })
}

/// Waits until one more line is answered than now.
fn wait_for_an_answer(stage: &Stage, limit: Duration) -> Duration {
    let before = stage.counting.answered();
    wait_until("the bot answers again", limit, || stage.counting.answered() > before)
}

#[test]
fn row_04_a_killed_rabbitmq_loses_nothing_and_nothing_is_said_twice() {
    let mut broker = RabbitMq::start();
    let stage = with_own(&broker);
    let observer = Observer::watch(&stage.world);
    sleep(QUEUE_IS_ON_DISK);
    let memory = stage.memory();
    let report = stage.talk_through(stage.size.broker_kills, |_| {
        broker.kill();
        sleep(Duration::from_secs(2));
        broker.start_again();
        let back = wait_for_an_answer(&stage, RECOVERY);
        assert!(back <= BACK_WITHIN, "back after {back:?}");
    });
    report.assert_kept(0);
    assert!(report.longest_pong <= PONG_WITHIN, "{report}");
    observer.assert_no_gap();
    stage.assert_memory_is_back(memory);
}

#[test]
fn row_05_a_connector_cut_off_from_its_broker_answers_pings_and_loses_nothing() {
    let (stage, relay) = through_a_relay();
    let observer = Observer::watch(&stage.world);
    stage.counting.say(100, stage.size.rate);
    let memory = stage.memory();
    let report = stage.talk_through(1, |_| {
        relay.cut();
        sleep(stage.size.outage);
        relay.heal();
    });
    report.assert_kept(0);
    assert!(report.longest_pong <= PONG_WITHIN, "{report}");
    assert_eq!(stage.counting.irc().connections(), 1, "it stays in its channels");
    observer.assert_no_gap();
    stage.assert_memory_is_back(memory);
}

#[test]
fn row_06_a_half_open_broker_connection_is_noticed() {
    let (stage, relay) = through_a_relay();
    let observer = Observer::watch(&stage.world);
    let report = stage.talk_through(1, |_| {
        relay.hold();
        let noticed = relay.wait_until_left(2 * NOTICED_WITHIN);
        relay.abandon();
        assert!(noticed.is_some_and(|after| after <= NOTICED_WITHIN), "noticed after {noticed:?}");
    });
    report.assert_kept(0);
    assert!(report.longest_pong <= PONG_WITHIN, "{report}");
    observer.assert_no_gap();
}

#[test]
fn row_06_a_frozen_broker_is_noticed_and_nothing_is_lost() {
    let mut broker = RabbitMq::start();
    let stage = with_own(&broker);
    let report = stage.talk_through(1, |_| {
        broker.freeze();
        sleep(NOTICED_WITHIN);
        broker.thaw();
        wait_for_an_answer(&stage, RECOVERY);
    });
    report.assert_kept(0);
    assert!(report.longest_pong <= PONG_WITHIN, "{report}");
}

#[test]
fn row_08_a_broker_that_is_out_of_memory_is_waited_for() {
    let broker = RabbitMq::start();
    let stage = with_own(&broker);
    let observer = Observer::watch(&stage.world);
    stage.counting.say(100, stage.size.rate);
    let memory = stage.memory();
    let report = stage.talk_through(1, |_| {
        broker.control(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
        stage.connector().wait_for_stderr("takes no messages", RECOVERY);
        sleep(stage.size.outage);
        broker.control(&["set_vm_memory_high_watermark", "0.4"]);
        let resumed = wait_for_an_answer(&stage, RECOVERY);
        assert!(resumed <= RESUMED_WITHIN, "resumed after {resumed:?}");
    });
    report.assert_kept(0);
    assert!(report.longest_pong <= PONG_WITHIN, "{report}");
    observer.assert_no_gap();
    stage.assert_memory_is_back(memory);
}

/// An event is acknowledged only when its replies are confirmed: those that RabbitMQ has not taken from a worker that dies are made again.
#[test]
fn row_08_a_worker_killed_while_rabbitmq_takes_no_replies_loses_none() {
    let broker = RabbitMq::start();
    let mut stage = with_own(&broker);
    sleep(QUEUE_IS_ON_DISK);
    stage.workers.clear();
    stage.counting.say(stage.size.lines / 2, stage.size.rate);
    stage.counting.settle(Duration::from_secs(1));
    broker.control(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
    stage.add_worker();
    stage.wait_for_workers();
    // long enough to take as many events as it may, and to run their handlers
    sleep(Duration::from_secs(3));
    stage.workers.clear();
    broker.control(&["set_vm_memory_high_watermark", "0.4"]);
    stage.add_worker();
    stage.counting.settle(RECOVERY).assert_kept(0);
}

#[test]
fn row_24_a_work_queue_that_was_deleted_is_declared_again_and_its_loss_is_told() {
    let broker = RabbitMq::shared();
    let stage = Stage::set(Kind::Spread);
    stage.counting.say(100, stage.size.rate);
    stage.counting.wait_for_answers(100);
    broker.control(&["delete_queue", &format!("{}.worker.main", stage.world.prefix())]);
    let start = Instant::now();
    // what is said now may be lost: the queue that it should wait in does not exist
    let load = stage.counting.begin("!echo", None, stage.size.rate);
    wait_for_an_answer(&stage, RECOVERY);
    assert!(start.elapsed() <= BACK_WITHIN, "back after {:?}", start.elapsed());
    load.stop();
    let lost = stage.counting.settle(Duration::from_secs(5)).lost;
    let said = stage.counting.said() as u64;
    stage.counting.say(stage.size.lines, stage.size.rate);
    let report = stage.counting.settle(RECOVERY);
    let lost_later: Vec<_> = report.lost.iter().filter(|number| **number >= said).collect();
    assert!(lost_later.is_empty() && report.extra() == 0 && report.lost == lost, "{report}");
    let told = stage.workers.iter().any(|worker| worker.stderr().contains("was deleted"));
    assert!(told, "no worker tells that the queue was deleted, and what was in it is lost");
}
