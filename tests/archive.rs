//! The archive from outside: what was said a second ago is found.

use std::time::Duration;

use servers::{Ngircd, PostgreSql};

use crate::faults::wait_until;
use crate::world::{Kind, World, on_both, user_with_bot};

/// How long something said may take to be in the archive.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

on_both!(what_was_said_a_second_ago_is_found_and_what_is_private_is_not);

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

fn found(world: &World, words: &str) -> String {
    let output = world.run(&["search", words, "--limit", "100"]);
    assert!(output.status.success(), "{}", output.stderr);
    output.stdout
}
