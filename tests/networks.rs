//! The same story on each of the real IRC servers: register, log in where that can be done, join, answer, be kicked, come
//! back, lose the connection, take the nick back, and say long lines of long characters without losing any.

use std::thread::sleep;
use std::time::{Duration, Instant};

use servers::{Atheme, Certificate, Hybrid, Inspircd, IrcUser, Ngircd, Program};

use crate::world::{Kind, World};

/// How often it is looked who is in the room, and for how long.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const STEP_WITHIN: Duration = Duration::from_secs(60);
/// Within which the server proves what was said, on a busy machine.
const PROVED_WITHIN: Duration = Duration::from_secs(2);
const PASSWORD: &str = "hunter2";

/// A server that can be killed and started again.
trait Server {
    fn port(&self) -> u16;
    fn kill(&mut self);
    fn start_again(&mut self);
}

macro_rules! servers {
    ($($server:ty),+) => {
        $(impl Server for $server {
            fn port(&self) -> u16 {
                self.port()
            }
            fn kill(&mut self) {
                self.kill();
            }
            fn start_again(&mut self) {
                self.start_again();
            }
        })+
    };
}

servers!(Ngircd, Inspircd, Hybrid);

#[test]
fn the_story_on_ngircd() {
    story(&mut Ngircd::start());
}

#[test]
fn the_story_on_ircd_hybrid() {
    story(&mut Hybrid::start());
}

#[test]
fn the_story_on_inspircd() {
    story(&mut Inspircd::start());
}

#[test]
fn on_inspircd_with_services_the_bot_logs_in_and_a_wrong_password_lets_it_in_nowhere() {
    let inspircd = Inspircd::start();
    let atheme = Atheme::start(&inspircd);
    atheme.register("pubbot", PASSWORD);
    let world = world(&inspircd, "account = \"pubbot\"\naccount_password = \"hunter2\"");
    let bot = world.bot(1);
    let alice = in_room(&inspircd, "alice");
    answers(&alice, "hello");
    alice.send_raw("WHOIS pubbot");
    // RPL_WHOISACCOUNT
    alice.hears(|line| line.contains(" 330 ") && line.contains(" pubbot "));
    drop(bot);
    alice.hears(|line| line.contains(" QUIT ") || line.contains(" PART "));
    world.configure("channels = [\"#room\"]\naccount = \"pubbot\"\naccount_password = \"wrong\"", "");
    let bot = world.bot(1);
    bot[0].wait_for_stderr("not logged in");
    assert!(!alice.names("#room").iter().any(|nick| nick.contains("pubbot")), "{:?}", alice.names("#room"));
}

#[test]
fn on_inspircd_the_bots_certificate_logs_it_in() {
    let inspircd = Inspircd::start();
    let atheme = Atheme::start(&inspircd);
    atheme.register("pubbot", PASSWORD);
    let own = Certificate::for_names(&["pubbot"]);
    atheme.add_fingerprint("pubbot", PASSWORD, own.fingerprint());
    let world = world(&inspircd, "");
    let (file, pinned) = (world.path("bot.pem"), inspircd.certificate().fingerprint());
    std::fs::write(&file, [own.pem(), own.key_pem()].concat()).unwrap();
    let login = "account = \"pubbot\"\nsasl = \"required\"";
    world.configure(
        &format!("channels = [\"#room\"]\n{login}\nfingerprint = {pinned:?}\nclient_cert_file = {file:?}"),
        "",
    );
    let url = format!("ircs://127.0.0.1:{}", inspircd.tls_port());
    let _bot = world.service(&["up"], &[("PUBBOT_NETWORKS_TEST_URL", &url)]);
    let alice = in_room(&inspircd, "alice");
    answers(&alice, "hello");
    alice.send_raw("WHOIS pubbot");
    alice.hears(|line| line.contains(" 330 ") && line.contains(" pubbot "));
}

fn world(server: &impl Server, network: &str) -> World {
    let world = World::new(Kind::Up, server.port(), &[]);
    world.configure(&format!("channels = [\"#room\"]\n{network}"), "");
    world
}

/// Somebody in the room, with the bot. Who comes first is its operator.
fn in_room(server: &impl Server, nick: &str) -> IrcUser {
    let user = IrcUser::connect(server.port(), nick);
    user.join("#room");
    let start = Instant::now();
    while !user.names("#room").iter().any(|nick| nick.ends_with("pubbot")) {
        assert!(start.elapsed() < STEP_WITHIN, "the bot is not there");
        sleep(LOOK_EVERY);
    }
    user
}

fn answers(user: &IrcUser, text: &str) {
    user.say("#room", &format!("!echo {text}"));
    assert_eq!(user.hears_from("pubbot", "#room"), text);
}

fn story(server: &mut impl Server) {
    // alice comes first, and is the operator
    let alice = IrcUser::connect(server.port(), "alice");
    alice.join("#room");
    let thief = IrcUser::connect(server.port(), "pubbot");
    let world = world(server, "");
    let bot: Vec<Program> = world.bot(1);
    alice.hears(|line| line.starts_with(":pubbot_!") && line.contains(" JOIN "));
    drop(thief);
    alice.hears(|line| line.starts_with(":pubbot_!") && line.contains(" NICK "));
    answers(&alice, "here I am");
    is_kicked_and_comes_back(&alice);
    says_long_lines(&world, &alice);
    // what is not proved by then would be said again
    sleep(PROVED_WITHIN);
    server.kill();
    bot[0].wait_for_stderr("not connected");
    server.start_again();
    let alice = in_room(server, "alice");
    answers(&alice, "here again");
}

fn is_kicked_and_comes_back(alice: &IrcUser) {
    alice.send_raw("KICK #room pubbot :out");
    alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" JOIN "));
    answers(alice, "back");
}

/// Texts of characters of two, three and four bytes come whole, in pieces that each fit on a line as it is received.
fn says_long_lines(world: &World, alice: &IrcUser) {
    for letter in ["ü", "あ", "🎉"] {
        let text = letter.repeat(1_000 / letter.len());
        let output = world.run(&["say", "test/#room", &text]);
        assert!(output.status.success(), "{}", output.stderr);
        let (mut said, mut lines) = (String::new(), 0);
        while said.len() < text.len() {
            let line = alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" PRIVMSG #room "));
            assert!(line.len() <= 510, "{} bytes", line.len());
            said += line.split_once(" :").unwrap().1;
            lines += 1;
        }
        assert_eq!((said, lines), (text, 3));
    }
}

#[test]
fn a_connector_can_have_some_of_the_networks_and_another_one_the_rest() {
    let (one, two) = (Ngircd::start(), Ngircd::start());
    let world = World::new(Kind::Spread, one.port(), &[]);
    let second = format!(
        "[networks.second]\nurl = \"irc://127.0.0.1:{}\"\nnick = \"pubbot\"\nchannels = [\"#room\"]",
        two.port()
    );
    world.configure("channels = [\"#room\"]", &second);
    let wrong = world.run(&["connector", "--network", "secnd"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("did you mean \"second\""), "{}", wrong.stderr);
    let _worker = world.start(&["worker"]);
    let first = world.start(&["connector", "--network", "test"]);
    answers(&in_room(&one, "alice"), "on the first");
    let _second = world.service(&["connector", "--network", "second"], &[("PUBBOT_DATA_DIR", &world.path("data2"))]);
    answers(&in_room(&two, "bob"), "on the second");
    assert!(!first.stderr().contains("network=\"second\""), "{}", first.stderr());
}
