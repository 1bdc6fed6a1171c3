//! `pubbot check`: what it says of a network on real servers, without being seen in a channel.

use servers::{Atheme, Inspircd, IrcUser, Ngircd};

use crate::world::{Kind, World};

/// What was printed about this part of the network `test`.
fn said<'a>(stdout: &'a str, part: &str) -> &'a str {
    let about = |line: &&str| line[4..].trim_start().starts_with(&format!("test, {part}: "));
    stdout.lines().find(about).unwrap_or_else(|| panic!("nothing about {part} in\n{stdout}"))
}

#[test]
fn it_finds_who_has_the_nick_and_which_channels_would_not_let_the_bot_in() {
    let ngircd = Ngircd::start();
    let holder = IrcUser::connect(ngircd.port(), "pubbot");
    for (channel, modes) in [("#open", ""), ("#invited", "+i"), ("#locked", "+k sesame"), ("#known", "+k sesame")] {
        holder.join(channel);
        if !modes.is_empty() {
            holder.send_raw(&format!("MODE {channel} {modes}"));
            holder.hears(|line| line.contains(" MODE ") && line.contains(channel));
        }
    }
    let world = World::new(Kind::Up, ngircd.port(), &[]);
    let known = "{ name = \"#known\", key = \"sesame\" }";
    world.configure(&format!("channels = [\"#open\", \"#invited\", \"#locked\", {known}, \"#new\"]"), "");
    let output = world.run(&["check"]);
    assert_eq!(output.status.code(), Some(1), "{}{}", output.stdout, output.stderr);
    let said = |part: &str| said(&output.stdout, part);
    assert!(said("capabilities").contains("multi-prefix; a PING proves"), "{}", output.stdout);
    assert!(said("nick pubbot").contains("pubbot!~"), "{}", output.stdout);
    assert!(said("channel #open").starts_with("ok"), "{}", output.stdout);
    assert!(said("channel #known").starts_with("ok"), "{}", output.stdout);
    assert!(said("channel #new").contains("does not exist yet"), "{}", output.stdout);
    for (channel, why) in [("#invited", "invite-only"), ("#locked", "has a key")] {
        let line = said(&format!("channel {channel}"));
        assert!(line.starts_with("FAIL") && line.contains(why), "{line}");
    }
    // it came and went, and was in no channel
    assert!(!holder.heard().iter().any(|line| line.contains("-chk!") && line.contains(" JOIN ")));
}

#[test]
fn it_tells_whether_the_login_works() {
    let inspircd = Inspircd::start();
    let atheme = Atheme::start(&inspircd);
    atheme.register("pubbot", "hunter2");
    let world = World::new(Kind::Up, inspircd.port(), &[]);
    let login = |password: &str| {
        world.configure(&format!("channels = [\"#room\"]\naccount = \"pubbot\"\naccount_password = {password:?}"), "");
        world.run(&["check"])
    };
    let output = login("hunter2");
    assert!(output.status.success(), "{}{}", output.stdout, output.stderr);
    assert!(said(&output.stdout, "login").ends_with("logged in to pubbot"), "{}", output.stdout);
    assert!(said(&output.stdout, "nick pubbot").ends_with(": free"), "{}", output.stdout);
    assert!(said(&output.stdout, "capabilities").contains("a label proves"), "{}", output.stdout);
    let output = login("wrong");
    assert_eq!(output.status.code(), Some(1), "{}{}", output.stdout, output.stderr);
    assert!(said(&output.stdout, "registration").contains("not logged in"), "{}", output.stdout);
    assert!(!format!("{}{}", output.stdout, output.stderr).contains("wrong"), "{}", output.stdout);
}
