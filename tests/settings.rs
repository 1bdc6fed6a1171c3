//! Settings that are changed while the bot runs: plugins that are off in a channel, routes, and tags.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use servers::{IrcUser, Ngircd};

use crate::world::{Kind, World, on_both, user_with_bot, wait_for_bot};

on_both!(
    a_plugin_that_is_turned_off_in_a_channel_is_silent_there_and_answers_elsewhere,
    what_has_tags_is_said_in_the_channels_that_subscribe_to_one_and_a_route_can_be_made_at_run_time,
);

/// Far more than the two seconds in which a worker notices a change.
const TRIES: usize = 50;

/// A bot in #a and #b with a database, and alice in both.
fn world(kind: Kind) -> (Ngircd, World, Vec<servers::Program>, IrcUser) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#a", "#b"]);
    done(&world, &["migrate"]);
    let bot = world.bot(1);
    let alice = user_with_bot(&ircd, "alice", "#a");
    alice.join("#b");
    wait_for_bot(&alice, "#b");
    (ircd, world, bot, alice)
}

/// Runs a command that has to succeed; what it prints.
fn done(world: &World, arguments: &[&str]) -> String {
    let output = world.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", output.stderr);
    output.stdout
}

/// Whether `!echo` is answered in a channel. What comes after it always is. Who repeats themselves passes for a bot.
fn echoes(alice: &IrcUser, channel: &str) -> bool {
    static ASKED: AtomicUsize = AtomicUsize::new(1_000);
    let number = ASKED.fetch_add(1, Ordering::Relaxed);
    let last = format!("Foo was \"{number}\", bar was \"x\"");
    alice.say(channel, &format!("!echo echo {number}"));
    alice.say(channel, &format!("foo={number}, bar=x"));
    let first = alice.hears_from("pubbot", channel);
    if first == last {
        return false;
    }
    assert_eq!((first, alice.hears_from("pubbot", channel)), (format!("echo {number}"), last));
    true
}

/// Asks until `!echo` is answered in #a, or is not any more. All that was set before is known then, too.
fn until_echoes(alice: &IrcUser, wanted: bool) {
    let noticed = (0..TRIES).any(|_| {
        let is_so = echoes(alice, "#a") == wanted;
        if !is_so {
            sleep(Duration::from_millis(300));
        }
        is_so
    });
    assert!(noticed, "nobody notices that !echo should be answered: {wanted}");
}

fn a_plugin_that_is_turned_off_in_a_channel_is_silent_there_and_answers_elsewhere(kind: Kind) {
    let (_ircd, world, _bot, alice) = world(kind);
    assert!(echoes(&alice, "#a") && echoes(&alice, "#b"));
    let changed = done(&world, &["settings", "set", "--in", "test/#A", "--by", "bob", "plugin", "echo", "off"]);
    assert!(changed.contains("\tbob\ttest/#a\tplugin.echo\t(not set) → off"), "{changed}");
    until_echoes(&alice, false);
    assert!(echoes(&alice, "#b"));
    assert_eq!(done(&world, &["settings", "get", "--in", "test/#a", "plugin", "echo"]), "off\n");
    assert_eq!(done(&world, &["settings", "list"]), "test/#A\tplugin.echo\toff\tdatabase\n");
    done(&world, &["settings", "unset", "--in", "test/#a", "plugin", "echo"]);
    until_echoes(&alice, true);
    let history = done(&world, &["settings", "history"]);
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with("command line\ttest/#a\tplugin.echo\toff → (not set)"), "{history}");
    for (arguments, expected) in [
        (&["set", "plugin", "eco", "off"][..], "there is no plugin eco"),
        (&["set", "--in", "nowhere/#a", "plugin", "echo", "off"], "there is no network nowhere"),
        (&["set", "plugin", "echo"], "to what shall plugin.echo be set?"),
        (&["set", "subscribe", "a"], "a channel's own"),
        (&["get", "colour"], "there is no setting"),
    ] {
        let refused = world.run(&[&["settings"], arguments].concat());
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", refused.stderr);
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
}

fn what_has_tags_is_said_in_the_channels_that_subscribe_to_one_and_a_route_can_be_made_at_run_time(kind: Kind) {
    let (_ircd, world, _bot, alice) = world(kind);
    done(&world, &["say", "--tag", "weather", "it rains"]);
    let told =
        (0..TRIES).any(|_| done(&world, &["dead", "list"]).contains("no channel subscribes to weather, default"));
    assert!(told, "what nobody takes is no dead letter");
    done(&world, &["settings", "set", "--in", "test/#a", "subscribe", "github:org,news"]);
    done(&world, &["settings", "set", "--in", "test/#b", "subscribe", "news", "default"]);
    done(&world, &["settings", "set", "--in", "test/#a", "block", "github:org/noisy"]);
    done(&world, &["settings", "set", "route", "rain", "test/#b"]);
    done(&world, &["settings", "set", "--in", "test/#a", "plugin", "echo", "off"]);
    until_echoes(&alice, false);
    let say = |arguments: &[&str]| done(&world, &[&["say"], arguments].concat());
    say(&["--tag", "github:org/repo", "--tag", "github:org", "a", "push"]);
    assert_eq!(alice.hears_from("pubbot", "#a"), "a push");
    // what #b hears next shows that it has heard none of that
    say(&["--tag", "weather", "it rains"]);
    assert_eq!(alice.hears_from("pubbot", "#b"), "it rains");
    say(&["--tag", "github:org/noisy", "--tag", "news", "noise"]);
    assert_eq!(alice.hears_from("pubbot", "#b"), "noise");
    say(&["rain", "it pours"]);
    assert_eq!(alice.hears_from("pubbot", "#b"), "it pours");
    say(&["--tag", "news", "for both"]);
    assert_eq!(alice.hears_from("pubbot", "#a"), "for both");
    assert_eq!(alice.hears_from("pubbot", "#b"), "for both");
    let unknown = world.run(&["say", "snow", "it snows"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(unknown.stderr.contains("the routes are rain"), "{}", unknown.stderr);
}
