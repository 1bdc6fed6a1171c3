//! Much to say at once on real IRC servers that keep their own flood limits: nobody is thrown out, all of it arrives, once and in order, and
//! an answer does not wait until a feed has said all it has.

use std::time::{Duration, Instant};

use serde_json::json;
use servers::{Hybrid, Inspircd, InspircdProofs, IrcUser, Ngircd};

use super::size::is_full;
use crate::world::{Kind, World, wait_for_bot};

/// Lines that are written and not yet proved (`unproved`): what may stand in the server's queue before an answer.
const UNPROVED: usize = 4;
/// How many notices a feed has.
const NEWS: usize = 500;

#[test]
fn all_that_is_due_at_once_is_said_on_ngircd_with_its_own_limits() {
    is_all_said(Ngircd::start_with_limits().port());
}

#[test]
fn all_that_is_due_at_once_is_said_on_ircd_hybrid_with_its_own_limits() {
    is_all_said(Hybrid::start_with_limits().port());
}

#[test]
fn all_that_is_due_at_once_is_said_on_inspircd_with_its_own_limits() {
    is_all_said(Inspircd::start_with_limits(InspircdProofs::None).port());
}

#[test]
fn all_that_is_due_at_once_is_said_on_inspircd_with_its_own_limits_and_labels() {
    is_all_said(Inspircd::start_with_limits(InspircdProofs::Labels).port());
}

/// Several times what each of these servers lets a client say at once.
fn is_all_said(port: u16) {
    let answers = if is_full() { 200 } else { 60 };
    let world = world(port, &["#room"]);
    let alice = IrcUser::connect(port, "alice");
    alice.join("#room");
    let bot = world.bot(1);
    // no pause: also just after a reconnection, when the server has counted the JOIN, much may be due
    wait_for_bot(&alice, "#room");
    let start = Instant::now();
    let reply = |number| json!({"channel": "#room", "content": format!("{number} {}", "x".repeat(40))});
    world.answers((0..answers).map(reply));
    for number in 0..answers {
        let line = alice.hears(|line| line.starts_with(":pubbot!"));
        assert!(line.contains(&format!("PRIVMSG #room :{number} ")), "instead of line {number}: {line}");
    }
    println!("{answers} answers in {:.0?}", start.elapsed());
    let said = alice.heard().iter().filter(|line| line.starts_with(":pubbot!") && line.contains(" PRIVMSG ")).count();
    assert_eq!(said, answers);
    assert!(!bot[0].stderr().contains("too much"), "{}", bot[0].stderr());
}

#[test]
fn an_answer_goes_before_what_a_feed_has_to_say_on_inspircd_with_its_own_limits() {
    answers_before_news(Inspircd::start_with_limits(InspircdProofs::None).port());
}

#[test]
fn an_answer_goes_before_what_a_feed_has_to_say_on_inspircd_with_its_own_limits_and_labels() {
    answers_before_news(Inspircd::start_with_limits(InspircdProofs::Labels).port());
}

fn answers_before_news(port: u16) {
    let world = world(port, &["#feed", "#room"]);
    let alice = IrcUser::connect(port, "alice");
    alice.join("#feed");
    alice.join("#room");
    let _bot = world.bot(1);
    wait_for_bot(&alice, "#room");
    world.notices((0..NEWS).map(|number| json!({"channel": "#feed", "content": format!("news {number}")})));
    let is_news = |line: &str| line.contains("PRIVMSG #feed :news ");
    let is_answer = |line: &str| line.contains("PRIVMSG #room :answer");
    let (mut waits, mut between) = (Vec::new(), Vec::new());
    for number in 0..5 {
        (0..6 + number).for_each(|_| drop(alice.hears(is_news)));
        let asked = Instant::now();
        world.answers([json!({"channel": "#room", "content": format!("answer {number}")})]);
        let mut news = 0;
        while !is_answer(&alice.hears(|line| is_news(line) || is_answer(line))) {
            news += 1;
        }
        waits.push(asked.elapsed());
        between.push(news);
    }
    waits.sort_unstable();
    println!("answers waited for {waits:.1?}; news in between: {between:?}");
    assert!(between.iter().all(|news| *news <= UNPROVED), "{between:?}");
    // of five the third: the machine may be busy
    assert!(waits[2] < Duration::from_secs(4), "{waits:?}");
}

fn world(port: u16, channels: &[&str]) -> World {
    let world = World::new(Kind::Up, port, &[]);
    world.configure(&format!("channels = {channels:?}\nflood = \"auto\""), "");
    world
}
