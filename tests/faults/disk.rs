//! A full disk under the connector: a tiny file system of its own, in a mount namespace that goes with the process.

use std::process::Command;
use std::time::Duration;

use servers::{Program, RabbitMq, Relay, Service};

use super::observer::{Deed, Observer};
use super::stage::{Plan, RECOVERY, Stage, wait_until};
use crate::world::{Kind, World, pubbot_executable, test_environment};

/// How large the disk is: room for some hundreds of events.
const DISK: &str = "256k";
/// How many events are said while it is full: more than a connector keeps in memory instead (10,000).
const LINES: usize = 13_000;
/// How many a second.
const RATE: u32 = 2_000;

/// A role whose data folder is on a disk of its own, which is soon full.
fn on_a_small_disk(world: &World, role: &str, environment: &[(&str, &str)]) -> Service {
    let (disk, config) = (world.path("disk"), world.config());
    std::fs::create_dir_all(&disk).unwrap();
    let script = format!("mount -t tmpfs -o size={DISK} tmpfs {disk} && exec \"$0\" --config {config} {role}");
    let mutant = test_environment("PUBBOT_TEST_MUTANT");
    let mut own: Vec<(String, String)> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    own.extend([("PUBBOT_DATA_DIR".to_owned(), disk), ("PUBBOT_TEST_MUTANT".to_owned(), mutant)]);
    Service::start(role, move || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &script, pubbot_executable()]);
        command.envs(own.iter().cloned());
        Program::spawn(command)
    })
}

#[test]
fn row_17_what_a_full_disk_loses_is_counted_and_told_and_the_chat_goes_on() {
    let relay = Relay::to(RabbitMq::shared().port());
    let mut stage = Stage::set(Kind::Spread);
    stage.connectors.clear();
    stage.counting.irc().wait_for_leave();
    let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port());
    stage.connectors.push(on_a_small_disk(&stage.world, "connector", &[("PUBBOT_BROKER_URL", &url)]));
    stage.counting.wait_for_bot();
    let observer = Observer::start(&stage.world, Deed::Count);
    stage.counting.say(100, 200);
    stage.counting.wait_for_answers(100);
    relay.cut();
    stage.counting.say(LINES, RATE);
    stage.counting.settle(Duration::from_secs(1));
    relay.heal();
    stage.counting.wait_for_answers(200);
    // the chat goes on, and with it comes the word of the gap
    stage.counting.say(100, 200);
    wait_until("what is lost is counted", 3 * RECOVERY, || {
        observer.shed() > 0 && stage.counting.report().lost.len() as u64 == observer.shed()
    });
    let report = stage.counting.settle(Duration::from_secs(1));
    eprintln!("{report}");
    assert!(report.extra() == 0 && report.longest_pong < Duration::from_secs(5), "{report}");
    assert_eq!(stage.connector().starts(), 1, "a full disk ends nobody");
    assert!(!report.lost.is_empty(), "there was room for all: nothing is proved");
    assert_eq!(observer.shed(), report.lost.len() as u64, "dropped and counted: {report}");
    let told = stage.connector().stderr();
    assert!(told.contains("No space left") || told.contains("os error 28"), "nothing tells that the disk is full");
}

/// The embedded broker keeps in memory what the disk doesn't take.
#[test]
fn row_17_up_answers_on_a_full_disk() {
    let mut stage = Stage::plan(Plan::new(Kind::Up));
    stage.connectors.clear();
    stage.counting.irc().wait_for_leave();
    stage.connectors.push(on_a_small_disk(&stage.world, "up", &[]));
    stage.counting.wait_for_bot();
    stage.counting.say(stage.size.lines * 3, stage.size.rate);
    let report = stage.counting.settle(RECOVERY);
    report.assert_kept(0);
    assert_eq!(stage.connector().starts(), 1, "a full disk ends nobody");
}
