//! What the bot knows of a channel on a real server with services: who is logged in, ranks, topic and modes.

use serde_json::Value;
use servers::{Atheme, Hybrid, Inspircd, IrcUser, Program};

use crate::world::{Kind, World};

const PASSWORD: &str = "hunter2";

/// Somebody by nick in a `names` event: the marks of their rank, and their account.
fn member<'a>(names: &'a Value, nick: &str) -> (&'a str, Option<&'a str>) {
    let members = names["members"].as_array().unwrap();
    let member = members.iter().find(|member| member["nick"] == nick).unwrap_or_else(|| panic!("no {nick}: {names}"));
    (member["prefix"].as_str().unwrap(), member["account"].as_str())
}

fn modes(names: &Value) -> Vec<&str> {
    names["modes"].as_array().unwrap().iter().map(|mode| mode["mode"].as_str().unwrap()).collect()
}

/// The first event of the names that has been seen with this text.
fn names_with(tail: &Program, text: &str) -> Value {
    serde_json::from_str(&tail.wait_for_stdout(text)).unwrap()
}

/// Throws the bot out, which comes back: so everybody was there before it.
fn comes_back(op: &IrcUser) {
    op.send_raw("KICK #room pubbot :once more");
    op.hears(|line| line.starts_with(":pubbot!") && line.contains(" JOIN "));
}

#[test]
fn on_inspircd_accounts_ranks_topic_and_modes_are_known_of_those_who_were_there_before() {
    let inspircd = Inspircd::start();
    let atheme = Atheme::start(&inspircd);
    atheme.register("alice", PASSWORD);
    let world = World::new(Kind::Up, inspircd.port(), &["#room"]);
    let alice = IrcUser::connect(inspircd.port(), "alice");
    alice.send_raw(&format!("PRIVMSG NickServ :IDENTIFY alice {PASSWORD}"));
    alice.hears(|line| line.contains(" 900 "));
    alice.join("#room");
    let carol = IrcUser::connect(inspircd.port(), "carol");
    carol.join("#room");
    alice.send_raw("TOPIC #room :tea, and what goes with it");
    alice.send_raw("MODE #room +lv 50 carol");
    carol.hears(|line| line.contains(" MODE #room "));
    let _bot = world.bot(1);
    alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" JOIN "));
    let tail = world.tail(&["chat.irc.#room.names"]);
    comes_back(&alice);
    let names = names_with(&tail, "\"account\":\"alice\"");
    assert_eq!(member(&names, "alice"), ("@", Some("alice")));
    assert_eq!(member(&names, "carol"), ("+", None));
    assert_eq!(member(&names, "pubbot"), ("", None));
    assert_eq!(names["topic"], "tea, and what goes with it");
    assert!(names["topic_by"].as_str().unwrap().starts_with("alice") && names["topic_at"].is_string(), "{names}");
    let modes = modes(&names);
    assert!(["n", "t", "l"].iter().all(|mode| modes.contains(mode)), "{modes:?}");
}

#[test]
fn on_ircd_hybrid_ranks_topic_and_modes_are_known_with_several_changed_at_once() {
    let hybrid = Hybrid::start();
    let world = World::new(Kind::Up, hybrid.port(), &["#room"]);
    let alice = IrcUser::connect(hybrid.port(), "alice");
    alice.join("#room");
    let carol = IrcUser::connect(hybrid.port(), "carol");
    carol.join("#room");
    alice.send_raw("TOPIC #room :coffee");
    let _bot = world.bot(1);
    alice.hears(|line| line.starts_with(":pubbot!") && line.contains(" JOIN "));
    alice.send_raw("MODE #room +vol carol carol 77");
    carol.hears(|line| line.contains(" MODE #room "));
    let tail = world.tail(&["chat.irc.#room.names"]);
    comes_back(&alice);
    let names = names_with(&tail, "\"parameter\":\"77\"");
    assert_eq!((member(&names, "alice").0, member(&names, "carol").0), ("@", "@+"));
    assert_eq!(names["topic"], "coffee");
}
