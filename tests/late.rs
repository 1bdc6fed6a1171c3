//! Servers that come late, go away and come back.

use servers::{Ngircd, RabbitMq, Relay, free_port};

use crate::world::{Kind, World, fresh_prefix, user_with_bot};

#[test]
fn a_bot_started_before_its_broker_and_its_irc_server_recovers_by_itself() {
    let mut broker = RabbitMq::start();
    let mut ircd = Ngircd::start();
    broker.kill();
    ircd.kill();
    let world = World::with_broker(&fresh_prefix(), Kind::Spread, ircd.port(), &["#room"], broker.url());
    let connector = world.start(&["connector"]);
    let worker = world.start(&["worker"]);
    connector.wait_for_stderr("is away");
    worker.wait_for_stderr("is away");
    ircd.start_again();
    broker.start_again();
    let alice = user_with_bot(&ircd, "alice", "#room");
    worker.wait_for_stderr("the worker is ready");
    alice.say("#room", "!ping");
    assert_eq!(alice.hears_from("pubbot", "#room"), "alice: pong!");

    // And once more, in the middle. RabbitMQ writes down that a quorum queue exists half a second after it was made; a
    // queue that is younger when the server is killed never finds its leader again.
    std::thread::sleep(std::time::Duration::from_secs(2));
    broker.kill();
    alice.say("#room", "!echo said while the broker was away");
    broker.start_again();
    assert_eq!(alice.hears_from("pubbot", "#room"), "said while the broker was away");
}

#[test]
fn an_unreachable_broker_is_one_clear_line_and_a_refused_password_or_vhost_ends_at_once() {
    let port = free_port();
    let away = World::with_broker(&fresh_prefix(), Kind::Spread, 1, &["#room"], &format!("amqp://127.0.0.1:{port}"));
    let waiting = away.start(&["worker"]);
    waiting.wait_for_stderr(&format!("127.0.0.1:{port} is away"));

    let broker = RabbitMq::shared();
    for (url, why) in [
        (format!("amqp://guest:wr0ng-one@127.0.0.1:{}/%2f", broker.port()), "refused"),
        (format!("amqp://guest:guest@127.0.0.1:{}/nowhere", broker.port()), "refused"),
    ] {
        let refused = World::with_broker(&fresh_prefix(), Kind::Spread, 1, &["#room"], &url).run(&["worker"]);
        assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
        assert!(!refused.stderr.contains("wr0ng-one"), "a secret in the log: {}", refused.stderr);
    }
}

/// Networks of one process, of which one is there, one refuses, one accepts and never says anything, and one has no such name.
#[test]
fn networks_in_trouble_delay_no_other() {
    let (ircd, mute) = (Ngircd::start(), Ngircd::start());
    let black_hole = Relay::to(mute.port());
    black_hole.hold();
    for kind in [Kind::Up, Kind::Spread] {
        let world = World::new(kind, ircd.port(), &[]);
        let urls = [
            ("refused", format!("irc://127.0.0.1:{}", free_port())),
            ("mute", format!("irc://127.0.0.1:{}", black_hole.port())),
            ("tls", format!("ircs://127.0.0.1:{}", black_hole.port())),
            ("unknown", "irc://nowhere.invalid".to_owned()),
        ];
        let network = |(name, url)| format!("[networks.{name}]\nurl = {url:?}\nchannels = [\"#room\"]\n");
        world.configure("channels = [\"#room\"]", &urls.map(network).concat());
        let bot = world.bot(1);
        let alice = user_with_bot(&ircd, "alice", "#room");
        for number in 1..=20 {
            alice.say("#room", &format!("!echo {number}"));
            assert_eq!(alice.hears_from("pubbot", "#room"), number.to_string());
        }
        // they are tried all the while
        for name in ["refused", "tls", "unknown"] {
            bot[0].wait_for_stderr(&format!("not connected network=\"{name}\""));
        }
        drop(bot);
        alice.hears(|line| line.starts_with(":pubbot!") && (line.contains(" QUIT ") || line.contains(" PART ")));
        drop(alice);
    }
}
