//! Who is here and who was, as people in a channel are told it, on a real ngircd: also after a kill of the connector, during
//! which people came and went.

use std::cell::Cell;
use std::thread::sleep;
use std::time::{Duration, Instant};

use servers::{FakeIrc, IrcUser, Ngircd, Program};

use crate::world::{Kind, World, on_both, user_with_bot};

/// How often it is asked again, and for how long, until what has just happened is known.
const ASK_EVERY: Duration = Duration::from_millis(700);
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

on_both!(who_is_here_is_known_through_a_kill_of_the_connector, a_netsplit_leaves_nobody_behind);

/// The bot, whose database and queues are ready: the first list of names that is told is kept. What has the connection to IRC
/// is its first process.
fn bot(world: &World, workers: usize) -> Vec<Program> {
    if world.kind() == Kind::Up {
        return world.bot(workers);
    }
    assert!(world.run(&["migrate"]).status.success());
    let workers: Vec<Program> = (0..workers).map(|_| world.start(&["worker"])).collect();
    workers.iter().for_each(|worker| drop(worker.wait_for_stderr("the worker is ready")));
    std::iter::once(world.start(&["connector"])).chain(workers).collect()
}

/// People who take turns in asking: who asks the same again and again looks like a bot.
struct Askers {
    users: [IrcUser; 3],
    turn: Cell<usize>,
}

impl Askers {
    /// The bot's answer to the next of them.
    fn ask(&self, question: &str) -> String {
        let user = &self.users[self.turn.replace(self.turn.get() + 1) % self.users.len()];
        user.say("#room", question);
        let begin = format!("{}: ", user.nick());
        let answer = user.hears(|line| line.starts_with(":pubbot!") && line.contains(&format!("#room :{begin}")));
        answer.split_once(&begin).unwrap().1.to_owned()
    }

    /// Asks until the answer is this one.
    fn hear(&self, question: &str, wanted: &str) {
        until(question, || self.ask(question), |answer| answer == wanted);
    }

    /// Asks who is here until it is these.
    fn find(&self, users: &str) {
        self.hear("!users", &format!("Current users: {users}"));
    }

    /// Somebody is not here any more, and was.
    fn miss(&self, nick: &str) {
        let question = format!("!seen {nick}");
        let begin = format!("{nick} was last seen ");
        until(&question, || self.ask(&question), |answer| answer.starts_with(&begin) && answer.ends_with(" ago"));
    }
}

/// Asks until the answer is one that was wanted.
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
    let users = ["alice", "amy", "ann"].map(|nick| user_with_bot(&ircd, nick, "#room"));
    let askers = Askers { users, turn: Cell::new(0) };
    let [bob, carol] = ["bob", "carol"].map(|nick| IrcUser::connect(ircd.port(), nick));
    bob.join("#room");
    carol.join("#room");
    askers.find("alice, amy, ann, bob, carol, pubbot");
    askers.hear("!seen BOB", "BOB is here right now");
    askers.hear("!seen zoe", "zoe has never been seen");
    bob.send_raw("NICK robert");
    carol.send_raw("PART #room :bye");
    askers.find("alice, amy, ann, pubbot, robert");
    askers.miss("bob");
    askers.miss("carol");
    let [alice, ..] = &askers.users;
    comes_back_after(&mut bot, &world, || {
        alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" QUIT"));
        bob.send_raw("QUIT :gone");
        alice.hears(|line| line.starts_with(":robert!") && line.contains(" QUIT"));
        carol.join("#room");
    });
    alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" JOIN "));
    askers.find("alice, amy, ann, carol, pubbot");
    askers.miss("robert");
    let question = "!uptime alice";
    until(question, || askers.ask(question), |answer| answer.contains(" been here for "));
    askers.hear("!uptime robert", "robert is not in the channel");
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
    asks("!users", "Current users: pubbot");
    irc.send(b":alice!a@near JOIN #room\r\n");
    asks("!users", "Current users: alice, pubbot");
    let lines = |what: &str| (0..1_000).map(|n| format!(":n{n}!u@far {what}\r\n")).collect::<String>();
    irc.send(lines("JOIN #room").as_bytes());
    asks("!seen n999", "n999 is here right now");
    irc.send(lines("QUIT :near.test far.test").as_bytes());
    asks("!seen n999", "n999 was last seen ");
    assert_eq!(ask("!users"), "Current users: alice, pubbot");
}
