//! Who is here and who was, as people in a channel are told it, on a real ngircd: also after a kill of the connector, during
//! which people came and went.

use std::cell::Cell;
use std::thread::sleep;
use std::time::{Duration, Instant};

use servers::{FakeIrc, IrcUser, Ngircd, Program};

use crate::world::{Kind, World, on_both, user_with_bot};

/// How often somebody asks again, and for how long, until what has just happened is known.
const ASK_EVERY: Duration = Duration::from_millis(200);
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

on_both!(who_is_here_is_known_through_a_kill_of_the_connector, a_netsplit_leaves_nobody_behind);

/// The bot, whose database is ready.
fn bot(world: &World, workers: usize) -> Vec<Program> {
    assert!(world.run(&["migrate"]).status.success());
    world.bot(workers)
}

/// Asks until the answer is one that was wanted.
fn asks(user: &IrcUser, question: &str, wanted: impl Fn(&str) -> bool) {
    let ask = || {
        user.say("#room", question);
        user.hears_from("pubbot", "#room")
    };
    until(question, ask, wanted);
}

fn until(question: &str, ask: impl Fn() -> String, wanted: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + KNOWN_WITHIN;
    loop {
        let answer = ask();
        if wanted(&answer) {
            return;
        }
        assert!(Instant::now() < deadline, "{question}: {answer}");
        sleep(ASK_EVERY);
    }
}

/// Asks who is here until it is these.
fn finds(user: &IrcUser, users: &str) {
    asks(user, "!users", |answer| answer == format!("{}: Current users: {users}", user.nick()));
}

/// Somebody is not here any more, and was.
fn misses(user: &IrcUser, nick: &str) {
    asks(user, &format!("!seen {nick}"), |answer| {
        answer.starts_with(&format!("{}: {nick} was last seen ", user.nick())) && answer.ends_with(" ago")
    });
}

/// Kills what has the connection to IRC, and starts it again when this was done.
fn comes_back_after(bot: &mut [Program], world: &World, meanwhile: impl FnOnce()) {
    bot[0].kill();
    meanwhile();
    let role = if world.kind() == Kind::Up { "up" } else { "connector" };
    bot[0] = world.start(&[role]);
}

fn who_is_here_is_known_through_a_kill_of_the_connector(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    let mut bot = bot(&world, 2);
    let alice = user_with_bot(&ircd, "alice", "#room");
    let [bob, carol] = ["bob", "carol"].map(|nick| IrcUser::connect(ircd.port(), nick));
    bob.join("#room");
    carol.join("#room");
    finds(&alice, "alice, bob, carol, pubbot");
    asks(&alice, "!seen BOB", |answer| answer == "alice: BOB is here right now");
    asks(&alice, "!seen alice", |answer| answer == "alice: you are here right now");
    asks(&alice, "!seen zoe", |answer| answer == "alice: zoe has never been seen");
    bob.send_raw("NICK robert");
    carol.send_raw("PART #room :bye");
    finds(&alice, "alice, pubbot, robert");
    misses(&alice, "bob");
    misses(&alice, "carol");
    comes_back_after(&mut bot, &world, || {
        alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" QUIT"));
        bob.send_raw("QUIT :gone");
        alice.hears(|line| line.starts_with(":robert!") && line.contains(" QUIT"));
        carol.join("#room");
    });
    alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" JOIN "));
    finds(&alice, "alice, carol, pubbot");
    misses(&alice, "robert");
    asks(&alice, "!uptime alice", |answer| answer.starts_with("alice: you have been here for "));
    asks(&alice, "!uptime robert", |answer| answer == "alice: robert is not in the channel");
}

fn a_netsplit_leaves_nobody_behind(kind: Kind) {
    let irc = FakeIrc::start();
    let world = World::new(kind, irc.port(), &["#room"]);
    let _bot = bot(&world, 1);
    irc.wait_for_join("#room");
    // each time somebody else asks: who asks again and again looks like a bot
    let askers = Cell::new(0);
    let ask = |question: &str| {
        let asker = format!("asker{}", askers.replace(askers.get() + 1));
        irc.say(&asker, "#room", question);
        let answer = irc.next_said().said().unwrap().1;
        answer.strip_prefix(&format!("{asker}: ")).unwrap_or(&answer).to_owned()
    };
    let asks = |question: &str, wanted: &str| until(question, || ask(question), |answer| answer.starts_with(wanted));
    irc.send(b":alice!a@near JOIN #room\r\n");
    asks("!users", "Current users: alice, pubbot");
    let lines = |what: &str| (0..1_000).map(|n| format!(":n{n}!u@far {what}\r\n")).collect::<String>();
    irc.send(lines("JOIN #room").as_bytes());
    asks("!seen n999", "n999 is here right now");
    irc.send(lines("QUIT :near.test far.test").as_bytes());
    asks("!seen n999", "n999 was last seen ");
    assert_eq!(ask("!users"), "Current users: alice, pubbot");
}
