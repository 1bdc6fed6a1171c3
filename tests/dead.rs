//! What gives up, and `pubbot dead`: seen, tried again, dropped, on both brokers.

use serde_json::{Value, json};
use servers::{Ngircd, Output};

use crate::world::{Kind, World, on_both, user_with_bot};

const MALFORMED: &str = "0192f0c1-2345-7000-8000-000000000001";
const FAILED: &str = "0192f0c1-2345-7000-8000-000000000002";

on_both!(
    dead_letters_are_listed_shown_retried_and_dropped,
    a_letter_that_is_not_there_is_named,
    a_letter_that_cannot_be_decoded_is_shown_as_it_is,
);

/// Publishes what can only fail, and waits until the bot has given up on it.
fn fail(world: &World, log: &servers::Program) {
    let malformed = json!({"id": MALFORMED, "content": 7}).to_string();
    assert!(world.run(&["publish", "chat.irc.#room.chat", &malformed]).status.success());
    log.wait_for_stderr("a malformed event is set aside");
    let failed = json!({"id": FAILED, "content": "hello?"}).to_string();
    assert!(world.run(&["publish", "say.nowhere", &failed]).status.success());
    log.wait_for_stderr("a handler failed for good");
    listed(world, 2);
}

/// What `dead list --json` says once there are so many letters: the last of them is on its way when the log tells.
fn listed(world: &World, count: usize) -> Vec<Value> {
    for _ in 0..50 {
        let list = done(world.run(&["dead", "list", "--json"]));
        let letters: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if letters.len() == count {
            return letters;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("there should be {count} letters: {}", done(world.run(&["dead", "list"])));
}

/// Standard output of a command that did what it was asked.
fn done(output: Output) -> String {
    assert!(output.status.success(), "{}{}", output.stdout, output.stderr);
    output.stdout
}

fn dead_letters_are_listed_shown_retried_and_dropped(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    let bot = world.bot(1);
    let log = bot.last().unwrap();
    user_with_bot(&ircd, "alice", "#room");
    fail(&world, log);

    let list = done(world.run(&["dead", "list"]));
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with(MALFORMED) && lines[0].contains("chat.irc.#room.chat"), "{list}");
    assert!(lines[1].starts_with(FAILED) && lines[1].contains("there is no route nowhere"), "{list}");
    let letters = listed(&world, 2);
    assert_eq!(letters[0]["handler"], Value::Null);
    let expected = json!(["main/say/say", 1, "say.nowhere"]);
    assert_eq!(json!([letters[1]["handler"], letters[1]["attempts"], letters[1]["key"]]), expected);
    assert_eq!(done(world.run(&["dead", "list", "--limit", "1"])).lines().count(), 1);

    let shown = done(world.run(&["dead", "show", FAILED, MALFORMED]));
    for part in [FAILED, "main/say/say", "say.nowhere", "hello?", "worker.main", MALFORMED, "\"content\": 7"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    done(world.run(&["dead", "drop", MALFORMED]));
    assert_eq!(listed(&world, 1)[0]["id"], FAILED);
    for again in [&["dead", "retry", FAILED][..], &["dead", "retry", "--all"]] {
        done(world.run(again));
        log.wait_for_stderr("a handler failed for good");
        assert_eq!(listed(&world, 1)[0]["id"], FAILED, "it failed again");
    }
    done(world.run(&["dead", "drop", FAILED]));
    assert_eq!(done(world.run(&["dead", "list"])), "");
}

fn a_letter_that_is_not_there_is_named(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    let bot = world.bot(1);
    user_with_bot(&ircd, "alice", "#room");
    fail(&world, bot.last().unwrap());
    for command in ["show", "retry", "drop"] {
        let refused = world.run(&["dead", command, "nobody"]);
        assert_eq!(refused.status.code(), Some(1), "{command}: {}", refused.stderr);
        assert!(refused.stderr.contains("nobody"), "{command}: {}", refused.stderr);
    }
    assert_eq!(listed(&world, 2)[0]["id"], MALFORMED, "all is where it was");
}

fn a_letter_that_cannot_be_decoded_is_shown_as_it_is(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    let bot = world.bot(1);
    user_with_bot(&ircd, "alice", "#room");
    world.publish_bytes("music.track", b"\xff\x1b[2J{");
    bot.last().unwrap().wait_for_stderr("a malformed event is set aside");
    let id = listed(&world, 1)[0]["id"].as_str().unwrap().to_owned();
    let shown = done(world.run(&["dead", "show", &id]));
    assert!(shown.contains("\\xff\\u{1b}[2J{"), "{shown}");
}

#[test]
fn a_letter_that_is_tried_again_is_answered_when_its_handler_can() {
    let ircd = Ngircd::start();
    let world = World::new(Kind::Spread, ircd.port(), &["#room"]);
    let mut bot = world.bot(1);
    let alice = user_with_bot(&ircd, "alice", "#room");
    let failed = json!({"id": FAILED, "at": "2020-01-01T00:00:00Z", "content": "it rains"}).to_string();
    let now = json!({"id": MALFORMED, "content": "it rains"}).to_string();
    assert!(world.run(&["publish", "say.nowhere", &failed]).status.success());
    assert!(world.run(&["publish", "say.nowhere", &now]).status.success());
    bot[1].wait_for_stderr("a handler failed for good");
    assert_eq!(listed(&world, 1)[0]["id"], MALFORMED, "the other one was too old to be worked on");
    bot[1].terminate();
    bot[1].wait();
    world.configure("channels = [\"#room\"]", "[routes]\nnowhere = [\"test/#room\"]");
    let worker = world.start(&["worker"]);
    worker.wait_for_stderr("the worker is ready");
    done(world.run(&["dead", "retry", "--all"]));
    assert_eq!(alice.hears_from("pubbot", "#room"), "it rains");
    listed(&world, 0);
}

#[test]
fn without_a_running_up_it_says_so_in_one_line() {
    let world = World::new(Kind::Up, 1, &["#room"]);
    let alone = world.run(&["dead", "list"]);
    assert_eq!(alone.status.code(), Some(1), "{}", alone.stderr);
    assert!(alone.stderr.contains("pubbot up") && alone.stderr.trim().lines().count() == 1, "{}", alone.stderr);
}
