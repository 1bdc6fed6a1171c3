//! What a service manager sees: readiness, stopping, and how fast it is over.

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use servers::{Ngircd, PATIENCE, Program};

use crate::world::{Kind, World, on_both, user_with_bot};

on_both!(a_service_manager_is_told_of_readiness_and_of_stopping, a_stop_leaves_the_network_in_order);

fn role(kind: Kind) -> &'static str {
    match kind {
        Kind::Up => "up",
        Kind::Spread => "connector",
    }
}

fn a_service_manager_is_told_of_readiness_and_of_stopping(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).expect("a word for the service manager");
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    };
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_pubbot"));
    command.args(["--config", &world.config(), role(kind)]).env("NOTIFY_SOCKET", &path);
    let mut bot = Program::spawn(command);
    assert_eq!(next(), "READY=1");
    bot.terminate();
    assert_eq!(next(), "STOPPING=1");
    assert_eq!(bot.wait().status.code(), Some(0));
}

fn a_stop_leaves_the_network_in_order(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    // slow enough that the second answer is still to be said when the stop comes
    world.configure("channels = [\"#room\"]\nflood = { burst = 1, per_second = 4 }", "");
    let mut bot = world.bot(1);
    let alice = user_with_bot(&ircd, "alice", "#room");
    alice.say("#room", "!echo first");
    alice.say("#room", "!echo second");
    assert_eq!(alice.hears_from("pubbot", "#room"), "first");
    bot[0].terminate();
    if kind == Kind::Up {
        assert_eq!(alice.hears_from("pubbot", "#room"), "second");
    }
    alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" QUIT "));
    assert_eq!(bot[0].wait().status.code(), Some(0));
    // whoever comes next says what was left
    if kind == Kind::Spread {
        let _next = world.start(&["connector"]);
        assert_eq!(alice.hears_from("pubbot", "#room"), "second");
    }
}
