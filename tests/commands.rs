//! The command line from another shell: `say`, `publish`, `tail`, on both brokers, and what it says when it can't.

use servers::{Ngircd, Program};

use crate::world::{Kind, World, on_both, pubbot, user_with_bot};

on_both!(
    say_publish_and_tail_work_from_another_shell,
    a_line_end_in_what_is_said_never_begins_a_command,
    bad_input_is_refused_with_status_2_and_nothing_is_sent,
    a_malformed_event_is_set_aside_and_the_next_is_handled,
);

fn say_publish_and_tail_work_from_another_shell(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room", "#radio"]);
    world.configure("channels = [\"#room\", \"#radio\"]", "[routes]\nnews = [\"test/#room\", \"test/alice\"]");
    let _bot = world.bot(1);
    let alice = user_with_bot(&ircd, "alice", "#room");
    let bob = user_with_bot(&ircd, "bob", "#radio");

    assert!(world.run(&["say", "test/#room", "hello", "there"]).status.success());
    assert_eq!(alice.hears_from("pubbot", "#room"), "hello there");
    assert!(world.run(&["say", "test/bob", "psst"]).status.success());
    assert_eq!(bob.hears_from("pubbot", "bob"), "psst");
    assert!(world.run(&["say", "news", "it rains"]).status.success());
    assert_eq!(alice.hears_from("pubbot", "#room"), "it rains");
    assert_eq!(alice.hears_from("pubbot", "alice"), "it rains");

    let tail = world.tail(&["music.#"]);
    let track = world.run(&["publish", "music.track", r#"{"title":"Blue","artist":"Joni Mitchell"}"#]);
    assert!(track.status.success(), "{}", track.stderr);
    assert_eq!(alice.hears_from("pubbot", "#room"), "now playing: Blue by Joni Mitchell");
    assert_eq!(bob.hears_from("pubbot", "#radio"), "now playing: Blue by Joni Mitchell");
    let seen: serde_json::Value = serde_json::from_str(&tail.wait_for_stdout("music.track")).unwrap();
    assert_eq!(seen["title"], "Blue");
    assert!(world.run(&["publish", "music.stop", "{}"]).status.success());
    assert_eq!(alice.hears_from("pubbot", "#room"), "the music has stopped");
}

fn a_line_end_in_what_is_said_never_begins_a_command(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    let _bot = world.bot(1);
    let alice = user_with_bot(&ircd, "alice", "#room");
    assert!(world.run(&["say", "test/#room", "one\r\nQUIT :two\rPART #room\n\nthree"]).status.success());
    for expected in ["one", "QUIT :two", "PART #room", "three"] {
        assert_eq!(alice.hears_from("pubbot", "#room"), expected);
    }
    alice.say("#room", "!ping");
    assert_eq!(alice.hears_from("pubbot", "#room"), "alice: pong!");
}

fn bad_input_is_refused_with_status_2_and_nothing_is_sent(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    world.configure("channels = [\"#room\"]", "[routes]\nnews = [\"test/#room\"]");
    let _bot = world.bot(1);
    let alice = user_with_bot(&ircd, "alice", "#room");
    for (arguments, named) in [
        (["say", "test/#a,#b", "x"], "#a,#b"),
        (["say", "test/#a :x", "x"], "#a :x"),
        (["say", "test/", "x"], "\"\""),
        (["say", "gnus", "x"], "news"),
        (["publish", "music..track", "{}"], "empty word"),
        (["publish", "music.#", "{}"], "pattern"),
        (["publish", "music.track", "{title}"], "line 1"),
        (["publish", "music.track", "[1]"], "object"),
    ] {
        let refused = world.run(&arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(named), "{arguments:?}: {}", refused.stderr);
    }
    let nobody = world.run(&["say", "mars/#room", "x"]);
    assert_eq!(nobody.status.code(), Some(1), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("mars"), "{}", nobody.stderr);
    let unbound = world.run(&["publish", "nobody.listens", "{}"]);
    assert_eq!(unbound.status.code(), Some(1), "{}", unbound.stderr);
    assert!(world.run(&["say", "test/#room", "end"]).status.success());
    assert_eq!(alice.hears_from("pubbot", "#room"), "end", "nothing came before it");
}

fn a_malformed_event_is_set_aside_and_the_next_is_handled(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    let bot = world.bot(1);
    let alice = user_with_bot(&ircd, "alice", "#room");
    assert!(world.run(&["publish", "chat.irc.#room.chat", r#"{"content": 7}"#]).status.success());
    bot.last().unwrap().wait_for_stderr("a malformed event is set aside");
    alice.say("#room", "!ping");
    assert_eq!(alice.hears_from("pubbot", "#room"), "alice: pong!");
    let logged = bot.last().unwrap().stderr().matches("a malformed event").count();
    assert_eq!(logged, 1, "{}", bot.last().unwrap().stderr());
}

#[test]
fn without_a_running_up_the_commands_say_so_in_one_line() {
    let world = World::new(Kind::Up, 1, &["#room"]);
    for arguments in [&["say", "test/#room", "x"][..], &["publish", "music.stop", "{}"], &["tail", "#"]] {
        let alone = world.run(arguments);
        assert_eq!(alone.status.code(), Some(1), "{}", alone.stderr);
        assert_eq!(alone.stderr.trim().lines().count(), 1, "{}", alone.stderr);
        assert!(alone.stderr.contains("pubbot up"), "{}", alone.stderr);
    }
}

#[test]
fn a_second_up_on_the_same_data_folder_names_the_first_and_ends() {
    let ircd = Ngircd::start();
    let world = World::new(Kind::Up, ircd.port(), &["#room"]);
    let bot = world.bot(1);
    user_with_bot(&ircd, "alice", "#room");
    let second = world.run(&["up"]);
    assert_eq!(second.status.code(), Some(1), "{}", second.stderr);
    assert!(second.stderr.contains(&bot[0].pid().to_string()), "{}", second.stderr);
    assert_eq!(second.stderr.trim().lines().count(), 1, "{}", second.stderr);
}

#[test]
fn the_console_answers_and_ends_with_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let mut console = pubbot(&["up", "--data-dir", folder.path().to_str().unwrap()]);
    console.write_stdin("!ping\nfoo=1, bar=2\n");
    console.close_stdin();
    let output = console.wait();
    assert!(output.status.success(), "{}", output.stderr);
    assert_eq!(output.stdout, "<pubbot> you: pong!\n<pubbot> Foo was \"1\", bar was \"2\"\n", "{}", output.stderr);
}

#[test]
fn say_reaches_the_console_from_another_shell() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let mut console = pubbot(&["up", "--data-dir", data]);
    console.write_stdin("!ping\n");
    console.wait_for_stdout("pong");
    let mut say = Program::start(
        env!("CARGO_BIN_EXE_pubbot"),
        &["say", "console/#console", "hello"],
        &[("PUBBOT_DATA_DIR", data)],
    );
    let said = say.wait();
    assert!(said.status.success(), "{}", said.stderr);
    console.wait_for_stdout("<pubbot> hello");
    console.terminate();
    assert!(console.wait().status.success());
}

#[test]
fn a_wrong_configuration_is_status_78_with_the_place_and_the_nearest_key() {
    let world = World::new(Kind::Up, 1, &["#room"]);
    world.configure("channels = [\"#room\"]\nnik = \"x\"", "");
    let output = world.run(&["up"]);
    assert_eq!(output.status.code(), Some(78), "{}", output.stderr);
    for part in ["pubbot.toml", "nik", "nick", ":10"] {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
    world.configure("channels = 5", "");
    let output = world.run(&["check"]);
    assert_eq!(output.status.code(), Some(78), "{}", output.stderr);
    assert!(output.stderr.contains("channels"), "{}", output.stderr);
}

#[test]
fn check_says_what_works_and_what_does_not() {
    let ircd = Ngircd::start();
    let world = World::new(Kind::Spread, ircd.port(), &["#room"]);
    let fine = world.run(&["check"]);
    assert!(fine.status.success(), "{}{}", fine.stdout, fine.stderr);
    drop(ircd);
    let broken = world.run(&["check"]);
    assert_eq!(broken.status.code(), Some(1), "{}{}", broken.stdout, broken.stderr);
    assert!(broken.stdout.contains("test"), "{}", broken.stdout);
}

#[test]
fn help_version_and_completions_are_there() {
    for arguments in [&["--help"][..], &["up", "--help"], &["--version"], &["completions", "bash"]] {
        let output = pubbot(arguments).wait();
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}: {}", output.stderr);
    }
    assert_eq!(pubbot(&["dance"]).wait().status.code(), Some(2));
}
