//! The archive from outside: what was said a second ago is found, whatever the database does meanwhile.

use std::time::Duration;

use servers::{Ngircd, PostgreSql};

use crate::faults::wait_until;
use crate::world::{Kind, World, on_both, user_with_bot};

/// How long something said may take to be in the archive.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

on_both!(
    what_was_said_a_second_ago_is_found_and_what_is_private_is_not,
    a_database_that_is_away_stops_nobody_and_gets_everything_once,
);

/// A database for each way to run.
fn database(kind: Kind, world: &World) -> String {
    match kind {
        Kind::Up => format!("sqlite:{}", world.path("memory.db")),
        Kind::Spread => PostgreSql::shared().database(),
    }
}

fn what_was_said_a_second_ago_is_found_and_what_is_private_is_not(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    world.configure("channels = [\"#room\"]", &format!("[database]\nurl = {:?}", database(kind, &world)));
    let _bot = world.bot(2);
    let alice = user_with_bot(&ircd, "alice", "#room");
    alice.say("pubbot", "a secret albatross");
    alice.say("#room", "an albatross is a bird");
    wait_until("it is found", FOUND_WITHIN, || found(&world, "albatross").contains("an albatross is a bird"));
    let found = found(&world, "albatross");
    assert!(found.contains("alice") && !found.contains("secret"), "{found}");
}

/// PostgreSQL is killed in the middle; SQLite is locked by another process.
fn a_database_that_is_away_stops_nobody_and_gets_everything_once(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    let mut postgres = (kind == Kind::Spread).then(PostgreSql::start);
    let url = postgres.as_ref().map_or_else(|| database(kind, &world), PostgreSql::database);
    world.configure("channels = [\"#room\"]", &format!("[database]\nurl = {url:?}"));
    let _bot = world.bot(2);
    let alice = user_with_bot(&ircd, "alice", "#room");
    let say = |from: u32, to: u32| {
        for number in from..to {
            alice.say("#room", &format!("!echo number {number}"));
            assert_eq!(alice.hears_from("pubbot", "#room"), format!("number {number}"));
        }
    };
    say(0, 10);
    match &mut postgres {
        Some(postgres) => {
            postgres.kill();
            say(10, 20);
            postgres.start_again();
        }
        None => {
            let lock = Lock::on(&world.path("memory.db"));
            say(10, 20);
            drop(lock);
        }
    }
    say(20, 30);
    wait_until("all is in the archive", 6 * FOUND_WITHIN, || count(&world, "number") >= 30);
    assert_eq!(count(&world, "number"), 30);
}

/// Another process that writes and does not come to an end.
struct Lock(std::process::Child);

impl Lock {
    fn on(database: &str) -> Self {
        const SCRIPT: &str = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('BEGIN EXCLUSIVE')
print('locked', flush=True)
sys.stdin.read()";
        let python = match crate::world::test_environment("PUBBOT_TEST_PYTHON") {
            python if python.is_empty() => "python3".to_owned(),
            python => python,
        };
        let mut child = std::process::Command::new(python)
            .args(["-c", SCRIPT, database])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, "locked\n");
        Lock(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

fn found(world: &World, words: &str) -> String {
    let output = world.run(&["search", words, "--limit", "100"]);
    assert!(output.status.success(), "{}", output.stderr);
    output.stdout
}

fn count(world: &World, words: &str) -> usize {
    let output = world.run(&["search", words, "--limit", "1000", "--json"]);
    output.stdout.lines().count()
}
