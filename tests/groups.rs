//! Workers of several groups and languages beside each other, and what each of them gets.

use servers::{Ngircd, Program, RabbitMq};

use crate::world::{Kind, World, user_with_bot};

/// The Python of the tests, with pika.
fn python() -> String {
    let hint = "run scripts/test, or set PUBBOT_TEST_PYTHON to a Python that has pika";
    #[expect(clippy::disallowed_methods, reason = "the test's own switch")]
    std::env::var("PUBBOT_TEST_PYTHON").expect(hint)
}

/// The example workers use the default prefix; this is the only test that does.
#[test]
fn a_worker_in_python_and_one_in_rust_answer_their_own_beside_the_main_group() {
    let ircd = Ngircd::start();
    let world = World::with_prefix("pubbot", Kind::Spread, ircd.port(), &["#room"]);
    let _bot = world.bot(2);
    let url = RabbitMq::shared().url();
    let _python = Program::start(python(), &["examples/worker.py"], &[("AMQP_URL", url)]);
    let greeter = env!("CARGO_BIN_EXE_pubbot").replace("/pubbot", "/examples/greeter");
    let rust = Program::start(greeter, &[url], &[]);
    rust.wait_for_stderr("ready");
    let alice = user_with_bot(&ircd, "alice", "#room");
    alice.say("#room", "greet bob");
    assert_eq!(alice.hears_from("pubbot", "#room"), "hello, bob!");
    alice.say("#room", "!ping");
    assert_eq!(alice.hears_from("pubbot", "#room"), "alice: pong!");
    // the Python worker says nothing when it is ready: ask until it answers
    let answered = (0..100).any(|_| {
        alice.say("#room", "!py");
        std::thread::sleep(std::time::Duration::from_millis(200));
        alice.heard().iter().any(|line| line.ends_with("PRIVMSG #room :alice: hello from Python"))
    });
    assert!(answered, "{:?}", alice.heard());
}

#[test]
fn the_readme_shows_the_worker_in_python_as_it_is() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let code = std::fs::read_to_string(root.join("examples/worker.py")).unwrap();
    assert!(readme.contains(code.trim()), "README.md does not show examples/worker.py as it is");
}

#[test]
fn a_worker_of_ones_own_takes_less_than_30_lines() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let greeter = std::fs::read_to_string(root.join("examples/greeter.rs")).unwrap();
    assert!(greeter.lines().count() < 30, "examples/greeter.rs has grown");
}
