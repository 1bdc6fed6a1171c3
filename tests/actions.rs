//! Actions on real servers: what workers ask for is done, what they may not is refused, and what belongs together says so.

#[expect(dead_code, reason = "it is a program of its own")]
#[path = "../examples/guard.rs"]
mod guard;

use std::sync::Arc;
use std::thread::JoinHandle;

use bus::{Broker, RabbitMq, System, Topology};
use serde_json::json;
use servers::{Hybrid, Inspircd, IrcUser, Ngircd, Program};
use tokio_util::sync::CancellationToken;
use worker::Worker;
use worker::testing::FakeChat;

use crate::world::{Kind, World, wait_for_bot};

/// A worker in this process.
struct Guard {
    stop: CancellationToken,
    working: Option<JoinHandle<()>>,
}

impl Guard {
    /// One of the group `guard`, over the RabbitMQ of this world; returns when it is ready.
    fn start(world: &World) -> Self {
        let (stop, topology, url) =
            (CancellationToken::new(), Topology::new(world.prefix()), world.broker_url().to_owned());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let stopped = stop.clone();
        let working = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let broker = Arc::new(RabbitMq::connect(&url, topology, "guard", Arc::new(System)).await.unwrap());
                let attached = Worker::new("guard").plugin(guard::plugin()).attach(broker.clone()).await.unwrap();
                ready.send(()).unwrap();
                attached.work(stopped).await.unwrap();
                broker.close().await;
            });
        });
        is_ready.recv().unwrap();
        Guard { stop, working: Some(working) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop.cancel();
        self.working.take().map(JoinHandle::join);
    }
}

/// The bot's connector, alone in the room, so that it is the operator there.
fn operator(world: &World) -> Program {
    let connector = world.start(&["connector"]);
    connector.wait_for_stderr("registered");
    connector
}

/// Comes into the room when the bot has it.
fn comes_in(port: u16, nick: &str) -> IrcUser {
    let user = IrcUser::connect(port, nick);
    follow(&user, "#room");
    user
}

/// Joins a channel once somebody has made it: the bot, which is its operator then.
fn follow(user: &IrcUser, channel: &str) {
    // RPL_CHANNELMODEIS, as opposed to ERR_NOSUCHCHANNEL
    let answer = format!(" 324 {} {channel} ", user.nick());
    let is_there = (0..300).any(|_| {
        user.send_raw(&format!("MODE {channel}"));
        // the server tells those outside only when asked
        std::thread::sleep(std::time::Duration::from_millis(100));
        user.heard().iter().any(|line| line.contains(&answer))
    });
    assert!(is_there, "{:?}", user.heard());
    user.join(channel);
}

#[test]
fn the_guard_kicks_sets_the_topic_and_gives_voice_to_who_comes_in() {
    let ircd = Ngircd::start();
    let world = World::new(Kind::Spread, ircd.port(), &["#room"]);
    let _bot = operator(&world);
    let _guard = Guard::start(&world);
    let alice = comes_in(ircd.port(), "alice");
    alice.hears(|line| line.starts_with(":pubbot!") && line.ends_with(" MODE #room +v alice"));
    alice.say("#room", "!topic tea at five");
    alice.hears(|line| line.starts_with(":pubbot!") && line.ends_with(" TOPIC #room :tea at five"));
    let mallory = comes_in(ircd.port(), "mallory");
    mallory.say("#room", "get free bitcoins here");
    alice.hears(|line| line.starts_with(":pubbot!") && line.ends_with(" KICK #room mallory :no spam, please"));
    assert_eq!(alice.hears_from("pubbot", "#room"), "mallory had to go");
}

#[tokio::test]
async fn the_guard_in_a_conversation() {
    let mut chat = FakeChat::with([guard::plugin()]).await;
    chat.says("mallory", "free bitcoins").await;
    chat.does(worker::Action::kick("mallory").reason("no spam, please")).hears("mallory had to go");
    chat.says("alice", "!topic tea").await.does(worker::Action::topic("tea"));
}

#[test]
fn a_group_that_may_not_kick_is_told_what_to_write_and_no_operator_why_the_server_refused() {
    let ircd = Ngircd::start();
    let world = World::new(Kind::Spread, ircd.port(), &[]);
    world.configure("channels = [\"#room\"]", "[actions]\nguard = [\"topic\"]");
    // alice comes first, so the bot is no operator
    let alice = IrcUser::connect(ircd.port(), "alice");
    alice.join("#room");
    alice.send_raw("MODE #room +t");
    let bot = world.start(&["connector"]);
    wait_for_bot(&alice, "#room");
    let _guard = Guard::start(&world);
    alice.say("#room", "free bitcoins");
    let log = bot.wait_for_stderr("may not ask for the action \"kick\"");
    assert!(log.contains("write \"guard\" = [\"topic\", \"kick\"] under [actions]"), "{log}");
    assert_eq!(alice.hears_from("pubbot", "#room"), "alice had to go");
    alice.say("#room", "!topic tea");
    bot.wait_for_stderr("the server refused it: 482 ");
    let letters = world.run(&["dead", "list"]).stdout;
    assert!(letters.contains("may not ask for the action"), "{letters}");
    assert!(
        !alice.heard().iter().any(|line| line.contains(" KICK ") || line.contains(" TOPIC ")),
        "{:?}",
        alice.heard()
    );
}

#[test]
fn a_raw_line_is_written_only_for_a_group_that_may() {
    let ircd = Ngircd::start();
    let world = World::new(Kind::Up, ircd.port(), &["#room"]);
    let raw = json!({"do": "raw", "line": "PRIVMSG #room :raw indeed"});
    {
        let bot = world.bot(1);
        comes_in(ircd.port(), "alice");
        world.requests("py", &raw);
        bot[0].wait_for_stderr("write \"py\" = [");
    }
    world.configure("channels = [\"#room\"]", "[actions]\npy = [\"raw\"]");
    let _bot = world.bot(1);
    let alice = comes_in(ircd.port(), "alice");
    world.requests("py", &raw);
    assert_eq!(alice.hears_from("pubbot", "#room"), "raw indeed");
}

#[test]
fn every_action_is_done_on_ngircd() {
    every_action(Ngircd::start().port(), false);
}

#[test]
fn every_action_is_done_on_ircd_hybrid() {
    every_action(Hybrid::start().port(), true);
}

#[test]
fn every_action_is_done_on_inspircd() {
    every_action(Inspircd::start().port(), true);
}

/// Two people, the bot as operator, and all that it can be asked for; each line is seen by those whom it concerns.
fn every_action(port: u16, has_ranks: bool) {
    let world = World::new(Kind::Up, port, &["#room"]);
    let bot = world.bot(1);
    let alice = comes_in(port, "alice");
    let bob = IrcUser::connect(port, "bob");
    let by_the_bot = |user: &IrcUser, line: &str| {
        user.hears(|heard| heard.starts_with(":pubbot!") && heard.replace(" :", " ").ends_with(line));
    };
    let does = |action: serde_json::Value| world.requests("py", &action);
    does(json!({"do": "topic", "channel": "#room", "topic": "tea"}));
    by_the_bot(&alice, "TOPIC #room tea");
    does(json!({"do": "mode", "channel": "#room", "modes": "+iov", "parameters": ["alice", "alice"]}));
    by_the_bot(&alice, "MODE #room +iov alice alice");
    does(json!({"do": "invite", "channel": "#room", "nick": "bob"}));
    by_the_bot(&bob, "INVITE bob #room");
    bob.join("#room");
    does(json!({"do": "kick", "channel": "#room", "nick": "bob", "reason": "out"}));
    by_the_bot(&bob, "KICK #room bob out");
    does(json!({"do": "kick", "channel": "#room", "nick": "bob", "reason": "again"}));
    bot[0].wait_for_stderr("the server refused it: 441 ");
    // ranks
    world.requests("py", &json!({"channel": "@#room", "content": "psst, operators"}));
    match has_ranks {
        true => drop(alice.hears(|line| line.ends_with(" PRIVMSG @#room :psst, operators"))),
        false => drop(bot[0].wait_for_stderr("it names no STATUSMSG")),
    }
    // another channel, which it goes back to
    does(json!({"do": "join", "channel": "#other"}));
    follow(&bob, "#other");
    does(json!({"do": "nick", "nick": "guard"}));
    alice.hears(|line| line.starts_with(":pubbot!") && line.replace(" :", " ").ends_with("NICK guard"));
    does(json!({"do": "part", "channel": "#other", "reason": "bye"}));
    bob.hears(|line| line.starts_with(":guard!") && line.contains(" PART ") && line.contains("#other"));
    world.requests("py", &json!({"channel": "#room", "content": "all done"}));
    assert_eq!(alice.hears_from("guard", "#room"), "all done");
}

#[test]
fn on_inspircd_answers_name_what_they_answer_and_reactions_arrive() {
    let inspircd = Inspircd::start();
    let world = World::new(Kind::Up, inspircd.port(), &["#room"]);
    let _bot = world.bot(1);
    let alice = IrcUser::connect_silently(inspircd.port(), "alice");
    alice.send_raw("CAP REQ :message-tags echo-message\r\nCAP END\r\nNICK alice\r\nUSER alice 0 * :alice");
    alice.hears(|line| line.contains(" 001 "));
    follow(&alice, "#room");
    alice.say("#room", "!echo hello");
    let own = alice.hears(|line| line.contains("PRIVMSG #room :!echo hello"));
    let msgid = own.split(['@', ';', ' ']).find_map(|tag| tag.strip_prefix("msgid=")).expect(&own).to_owned();
    let answer = alice.hears(|line| line.contains(":pubbot!") && line.ends_with("PRIVMSG #room :hello"));
    assert!(answer.contains(&format!("+reply={msgid}")), "{answer}");
    let tags = json!({"+draft/react": "👍 ok", "+reply": msgid});
    world.requests("py", &json!({"do": "tag", "channel": "#room", "tags": tags}));
    let reaction = alice.hears(|line| line.contains(" TAGMSG "));
    assert!(reaction.contains("+draft/react=👍\\sok") && reaction.contains(&format!("+reply={msgid}")), "{reaction}");
}
