//! A line said on IRC is answered by a worker: many lines, users and channels, each answered once and in order.

use std::collections::BTreeMap;

use servers::{IrcUser, Ngircd};

use crate::world::{Kind, World, on_both, wait_for_bot};

const CHANNELS: [&str; 5] = ["#a", "#b", "#c", "#d.e", "#F"];
const LINES: usize = 1000;

on_both!(a_thousand_lines_are_answered_once_each_and_in_order_within_each_channel);

/// Ten users, two in each channel.
fn users(ircd: &Ngircd) -> Vec<(IrcUser, &'static str)> {
    let user = |i: usize| {
        let channel = CHANNELS[i % CHANNELS.len()];
        let user = IrcUser::connect(ircd.port(), &format!("user{i}"));
        user.join(channel);
        (user, channel)
    };
    let users: Vec<_> = (0..10).map(user).collect();
    users.iter().for_each(|(user, channel)| wait_for_bot(user, channel));
    users
}

/// The numbers that the bot answered with in a user's channel, in the order they came.
fn answers(user: &IrcUser, channel: &str) -> Vec<usize> {
    let from_bot = |line: &String| -> Option<usize> {
        let (prefix, rest) = line.split_once(" PRIVMSG ")?;
        let text = rest.strip_prefix(channel)?.strip_prefix(" :n")?;
        if prefix.starts_with(":pubbot!") { text.parse().ok() } else { None }
    };
    user.heard().iter().filter_map(from_bot).collect()
}

/// Has `LINES` numbers echoed, 100 in each user's turn, and returns the answers in each channel. Calls `between` once,
/// in the middle.
fn have_echoed(users: &[(IrcUser, &'static str)], between: impl FnOnce()) -> BTreeMap<&'static str, Vec<usize>> {
    let mut between = Some(between);
    for i in 0..LINES {
        // one speaker a channel, so that the order in which its lines were said is known
        let (user, channel) = &users[i % CHANNELS.len()];
        user.say(channel, &format!("!echo n{i}"));
        if i == LINES / 2 {
            between.take().into_iter().for_each(|now| now());
        }
    }
    let deadline = std::time::Instant::now() + servers::PATIENCE * 2;
    loop {
        let all: BTreeMap<_, _> = users[..5].iter().map(|(user, channel)| (*channel, answers(user, channel))).collect();
        if all.values().map(Vec::len).sum::<usize>() >= LINES || std::time::Instant::now() > deadline {
            return all;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn assert_each_once(answers: &BTreeMap<&str, Vec<usize>>) {
    let mut all: Vec<usize> = answers.values().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..LINES).collect::<Vec<_>>(), "each number once");
}

fn a_thousand_lines_are_answered_once_each_and_in_order_within_each_channel(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &CHANNELS);
    let _bot = world.bot(1);
    let users = users(&ircd);
    let answers = have_echoed(&users, || ());
    assert_each_once(&answers);
    for (channel, numbers) in answers {
        assert!(numbers.is_sorted(), "{channel}: {numbers:?}");
    }
}

#[test]
fn three_workers_answer_a_thousand_lines_once_each() {
    let ircd = Ngircd::start();
    let world = World::new(Kind::Spread, ircd.port(), &CHANNELS);
    let _bot = world.bot(3);
    assert_each_once(&have_echoed(&users(&ircd), || ()));
}

#[test]
fn a_worker_killed_in_the_middle_loses_no_line_and_doubles_none() {
    let ircd = Ngircd::start();
    let world = World::new(Kind::Spread, ircd.port(), &CHANNELS);
    let mut bot = world.bot(3);
    let mut victim = bot.pop().unwrap();
    assert_each_once(&have_echoed(&users(&ircd), move || victim.kill()));
}
