//! What survives when pubbot is killed (kill -9), and what it makes of a journal that is damaged or can't be written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use servers::{FakeIrc, PATIENCE, Program, RabbitMq};

use crate::world::{Kind, World, fresh_prefix};

/// The pace of the bot: slow enough that answers wait in their queue.
const SLOWLY: &str = "{ burst = 1, per_second = 10 }";

/// Starts `pubbot up`, which speaks slowly.
fn up(world: &World) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pubbot"));
    command.args(["--config", &world.config(), "up"]).env("PUBBOT_NETWORKS_TEST_FLOOD", SLOWLY);
    Program::spawn(command)
}

/// The numbers that were echoed, in the order they came, until `count` different ones were.
fn echoed(irc: &FakeIrc, heard: &mut Vec<usize>, count: usize) {
    let begin = Instant::now();
    while heard.iter().collect::<BTreeSet<_>>().len() < count {
        assert!(begin.elapsed() < PATIENCE * 2, "only {heard:?}");
        let Some(line) = irc.try_next_said(Duration::from_secs(1)) else { continue };
        let (_, text) = line.said().unwrap();
        heard.extend(text.strip_prefix('n').and_then(|number| number.parse::<usize>().ok()));
    }
}

fn in_order(heard: &[usize]) -> bool {
    let mut seen = BTreeSet::new();
    let first_times: Vec<usize> = heard.iter().copied().filter(|n| seen.insert(*n)).collect();
    first_times.is_sorted()
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    logs.sort();
    logs
}

#[test]
fn up_that_is_killed_with_answers_waiting_says_them_after_the_next_start() {
    let irc = FakeIrc::start();
    let world = World::new(Kind::Up, irc.port(), &["#room"]);
    let mut bot = up(&world);
    irc.wait_for_join("#room");
    for n in 0..100 {
        irc.say("alice", "#room", &format!("!echo n{n}"));
    }
    let mut heard = Vec::new();
    echoed(&irc, &mut heard, 10);
    for restart in 0..2 {
        bot.kill();
        bot = up(&world);
        bot.wait_for_stderr("messages of an earlier run are in their queues again");
        echoed(&irc, &mut heard, 20 + 20 * restart);
    }
    echoed(&irc, &mut heard, 100);
    assert!(in_order(&heard), "{heard:?}");
    // lines on their way when it was killed may come twice
    assert!(heard.len() <= 100 + 2 * 20, "{heard:?}");
}

#[test]
fn a_connector_that_is_killed_while_rabbitmq_is_away_loses_no_line() {
    let mut broker = RabbitMq::start();
    let irc = FakeIrc::start();
    let world = World::with_broker(&fresh_prefix(), Kind::Spread, irc.port(), &["#room"], broker.url());
    let worker = world.start(&["worker"]);
    worker.wait_for_stderr("the worker is ready");
    let mut connector = world.start(&["connector"]);
    irc.wait_for_join("#room");
    irc.say("alice", "#room", "!echo n0");
    let mut heard = Vec::new();
    echoed(&irc, &mut heard, 1);
    // RabbitMQ needs a moment to write down that its queues exist
    std::thread::sleep(Duration::from_secs(2));

    broker.kill();
    connector.wait_for_stderr("is away");
    for n in 1..200 {
        irc.say("alice", "#room", &format!("!echo n{n}"));
    }
    // what a PING's answer follows has been heard
    irc.send(b"PING :fence\r\n");
    while irc.next_line().text() != "PONG :fence" {}
    connector.kill();
    broker.start_again();
    connector = world.start(&["connector"]);
    connector.wait_for_stderr("events of an earlier run wait in the journal");
    echoed(&irc, &mut heard, 200);
    assert!(in_order(&heard), "{heard:?}");
    assert!(world.data().join("journal/test/0").is_dir());
}

#[test]
fn a_damaged_journal_is_told_and_the_bot_answers() {
    let irc = FakeIrc::start();
    let world = World::new(Kind::Up, irc.port(), &["#room"]);
    let mut bot = up(&world);
    irc.wait_for_join("#room");
    for n in 0..30 {
        irc.say("alice", "#room", &format!("!echo n{n}"));
    }
    let mut heard = Vec::new();
    echoed(&irc, &mut heard, 3);
    bot.kill();
    let queues = world.data().join("queues");
    let log = logs(&queues).pop().unwrap();
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() - 5]).unwrap();

    let bot = up(&world);
    let told = bot.wait_for_stderr("a journal is damaged");
    assert!(told.contains("damaged_files=1"), "{told}");
    echoed(&irc, &mut heard, 30);
    irc.say("alice", "#room", "!echo n30");
    echoed(&irc, &mut heard, 31);
    let damaged = queues.read_dir().unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(damaged.filter(|path| path.extension().is_some_and(|it| it == "damaged")).count(), 1);
}

/// The files that a process writes may have 64 KiB only: to it, the disk is full.
#[test]
fn a_full_disk_is_told_and_chat_goes_on() {
    let irc = FakeIrc::start();
    let world = World::new(Kind::Up, irc.port(), &["#room"]);
    let mut command = Command::new("sh");
    let limited = "trap '' XFSZ; ulimit -f 128; exec \"$@\"";
    command.args(["-c", limited, "sh", env!("CARGO_BIN_EXE_pubbot"), "--config", &world.config(), "up"]);
    let bot = Program::spawn(command);
    irc.wait_for_join("#room");
    let mut heard = Vec::new();
    for n in 0..300 {
        irc.say("alice", "#room", &format!("!echo n{n}"));
    }
    echoed(&irc, &mut heard, 300);
    assert_eq!(heard.len(), 300);
    bot.wait_for_stderr("the queues can't be written to the disk: messages are in memory only");
    // a new file has room again
    bot.wait_for_stderr("the disk can be written again");
}

#[test]
fn a_wrong_durability_is_status_78_with_its_place() {
    let world = World::new(Kind::Up, 1, &["#room"]);
    let wrong = world.run(&["up", "--durability", "disk"]);
    assert_eq!(wrong.status.code(), Some(78), "{}", wrong.stderr);
    for part in ["option --durability", "\"process\"", "\"power\""] {
        assert!(wrong.stderr.contains(part), "{}", wrong.stderr);
    }
}
