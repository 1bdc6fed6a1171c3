//! Who is who, on a real network with services: an operator's grant counts for the account and for nobody who takes its nick.

use std::sync::atomic::{AtomicU32, Ordering};

use servers::{Atheme, Inspircd, IrcUser, Output};

use crate::world::{Kind, World, on_both, wait_for_bot};

const PASSWORD: &str = "hunter2";

on_both!(a_role_is_the_accounts_whatever_the_nick);

/// A network with these accounts, and a bot in `#room`.
fn network(accounts: &[&str]) -> (Inspircd, Atheme) {
    let inspircd = Inspircd::start();
    let atheme = Atheme::start(&inspircd);
    accounts.iter().for_each(|account| atheme.register(account, PASSWORD));
    (inspircd, atheme)
}

fn user(inspircd: &Inspircd, nick: &str) -> IrcUser {
    let user = IrcUser::connect(inspircd.port(), nick);
    user.join("#room");
    wait_for_bot(&user, "#room");
    user
}

fn logs_in(user: &IrcUser, account: &str) {
    user.say("NickServ", &format!("IDENTIFY {account} {PASSWORD}"));
    user.hears(|line| line.contains(" 900 "));
}

/// What the bot takes somebody for, as alice hears it. Nobody says the same twice, or they might be taken for a bot.
fn whoami(user: &IrcUser, alice: &IrcUser) -> String {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    user.say("#room", &format!("!whoami {}", ASKED.fetch_add(1, Ordering::Relaxed)));
    alice.hears_from("pubbot", "#room")
}

/// What the bot answers in private, to whoever has that nick.
fn privately(user: &IrcUser, nick: &str, question: &str) -> String {
    user.say("pubbot", question);
    user.hears_from("pubbot", nick)
}

fn becomes(user: &IrcUser, nick: &str) {
    user.send_raw(&format!("NICK {nick}"));
    user.hears(|line| line.contains(" NICK ") && line.ends_with(nick));
}

fn done(output: Output) -> String {
    assert!(output.status.success(), "{}{}", output.stdout, output.stderr);
    output.stdout
}

fn refused(output: Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{}{}", output.stdout, output.stderr);
    output.stderr
}

fn a_role_is_the_accounts_whatever_the_nick(kind: Kind) {
    let (inspircd, _atheme) = network(&["alice", "bob"]);
    let world = World::new(kind, inspircd.port(), &["#room"]);
    done(world.run(&["migrate"]));
    let granted = done(world.run(&["people", "grant", "test/alice", "admin"]));
    assert_eq!(granted, "1  test/alice (never seen)  roles: admin\n");
    let _bot = world.bot(2);
    let (alice, mallory) = (user(&inspircd, "alice"), user(&inspircd, "mallory"));
    let stranger = "alice: all I see is your nick alice, which anybody may take";
    assert!(whoami(&alice, &alice).starts_with(stranger), "she has not logged in");
    // services write the name as it was registered, whatever the case it is asked for in
    logs_in(&alice, "ALICE");
    assert_eq!(whoami(&alice, &alice), "alice: you are alice, logged in to alice on test, profile 1, role admin");
    becomes(&alice, "al");
    becomes(&mallory, "alice");
    assert!(whoami(&mallory, &alice).starts_with(stranger), "a nick is nobody's name");
    logs_in(&mallory, "bob");
    assert_eq!(whoami(&mallory, &alice), "alice: you are alice, logged in to bob on test, profile 2, no roles");
    assert_eq!(whoami(&alice, &alice), "al: you are al, logged in to alice on test, profile 1, role admin");
    // while the bot runs
    done(world.run(&["people", "revoke", "test/alice", "admin"]));
    assert_eq!(whoami(&alice, &alice), "al: you are al, logged in to alice on test, profile 1, no roles");
    done(world.run(&["people", "grant", "1", "admin"]));
    alice.say("NickServ", "LOGOUT");
    alice.hears(|line| line.contains(" 901 "));
    assert!(whoami(&alice, &alice).starts_with("al: all I see is your nick al"), "logged out");
}

#[test]
fn two_accounts_are_linked_by_a_code_in_private_and_by_nobody_who_reads_along() {
    let (inspircd, _atheme) = network(&["alice", "work"]);
    let world = World::new(Kind::Up, inspircd.port(), &["#room"]);
    let _bot = world.bot(1);
    let (alice, al) = (user(&inspircd, "alice"), user(&inspircd, "al"));
    logs_in(&alice, "alice");
    logs_in(&al, "work");
    let code = |offer: String| offer.rsplit("!link ").next().unwrap().to_owned();
    let spent = code(privately(&alice, "alice", "link"));
    al.say("#room", &format!("!link {spent}"));
    assert!(al.hears_from("pubbot", "#room").starts_with("al: everybody has read that code now"));
    assert!(privately(&al, "al", &format!("link {spent}")).starts_with("there is no such code"));
    let good = code(privately(&alice, "alice", "link"));
    let linked = privately(&al, "al", &format!("link {good}"));
    assert!(linked.starts_with("done: test/alice, test/work are one person now"), "{linked}");
    let listed = done(world.run(&["people", "list", "--json"]));
    let profile: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(profile["accounts"].as_array().unwrap().len(), 2, "{listed}");
    let changes = done(world.run(&["people", "changes"]));
    assert!(changes.contains("test/work  profile"), "who said the code is written down: {changes}");
    let taken = done(world.run(&["people", "unlink", "test/work"]));
    assert_eq!(taken.lines().count(), 2, "{taken}");
}

#[test]
fn who_is_not_known_is_told_who_is_and_nothing_is_changed() {
    let world = World::new(Kind::Up, 1, &["#room"]);
    done(world.run(&["migrate"]));
    assert!(world.run(&["people", "list"]).stderr.contains("pubbot people grant"));
    done(world.run(&["people", "grant", "test/Alice", "admin"]));
    for (arguments, status, named) in [
        (&["grant", "alice", "admin"][..], 2, "libera/alice"),
        (&["grant", "tset/alice", "admin"], 2, "did you mean \"test\"?"),
        (&["grant", "test/alice", "admin"], 2, "test/Alice was: did you mean that?"),
        (&["grant", "test/bob", "amdin"], 2, "did you mean \"admin\"?"),
        (&["grant", "7", "admin"], 1, "profile 7 is not known (known: 1)"),
        (&["revoke", "test/Alise", "admin"], 1, "did you mean \"test/Alice\"?"),
        (&["revoke", "1", "dj"], 1, "only admin"),
        (&["merge", "1", "2"], 1, "profile 2 is not known"),
        (&["unlink", "1"], 2, "NETWORK/ACCOUNT"),
    ] {
        let told = refused(world.run(&[&["people"], arguments].concat()), status);
        assert!(told.contains(named), "{arguments:?}: {told}");
    }
    let only = "1  test/Alice (never seen)  roles: admin\n";
    assert_eq!(done(world.run(&["people", "list"])), only);
    done(world.run(&["people", "grant", "test/alice", "dj", "--new"]));
    assert_eq!(
        done(world.run(&["people", "merge", "2", "test/Alice"])),
        "1  test/Alice (never seen), test/alice (never seen)  roles: admin, dj\n"
    );
    assert_eq!(done(world.run(&["people", "list", "--role", "dj"])).lines().count(), 1);
}
