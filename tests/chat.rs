//! What people in a channel see of the bot, on a real ngircd: commands, triggers, private messages, keys, long lines.

use servers::{IrcUser, Ngircd};

use crate::world::{Kind, World, on_both, user_with_bot};

on_both!(
    it_answers_commands_triggers_and_private_messages,
    a_channel_with_a_dot_and_one_with_a_key_are_joined_and_answered,
    a_long_line_is_split_at_words_and_arrives_whole,
    a_taken_nick_is_waited_for,
    it_comes_back_when_the_irc_server_does,
    events_of_the_channel_are_published_under_their_keys,
);

fn it_answers_commands_triggers_and_private_messages(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    let _bot = world.bot(1);
    let alice = user_with_bot(&ircd, "alice", "#room");
    alice.say("#room", "!ping");
    assert_eq!(alice.hears_from("pubbot", "#room"), "alice: pong!");
    alice.say("#room", "PubBot, ping");
    assert_eq!(alice.hears_from("pubbot", "#room"), "alice: pong!");
    alice.say("#room", "foo=1, bar=2");
    assert_eq!(alice.hears_from("pubbot", "#room"), "Foo was \"1\", bar was \"2\"");
    alice.say("pubbot", "ping");
    assert_eq!(alice.hears_from("pubbot", "alice"), "pong!");
    alice.say("#room", "!help ping");
    assert_eq!(alice.hears_from("pubbot", "#room"), "alice: !ping: are you there? (!ping → alice: pong!)");
    alice.say("#room", "!commands");
    let commands = alice.hears_from("pubbot", "#room");
    assert!(commands.starts_with("alice: Available commands: help commands ping echo uptime version "), "{commands}");
    alice.say("#room", "!version");
    assert_eq!(alice.hears_from("pubbot", "#room"), format!("alice: pubbot {}", env!("CARGO_PKG_VERSION")));
    // a bot answers no notice, and bytes that are no UTF-8 do no harm
    alice.notice("#room", "!ping");
    alice.send_raw("PRIVMSG #room :!echo end");
    assert_eq!(alice.hears_from("pubbot", "#room"), "end");
}

fn a_channel_with_a_dot_and_one_with_a_key_are_joined_and_answered(kind: Kind) {
    let ircd = Ngircd::start();
    let alice = IrcUser::connect(ircd.port(), "alice");
    alice.join("#secret");
    alice.send_raw("MODE #secret +k sesame");
    alice.hears(|line| line.contains(" MODE #secret +k"));
    let world = World::new(kind, ircd.port(), &[]);
    world.configure("channels = [\"#Rust.dev\", { name = \"#secret\", key = \"sesame\" }]", "");
    let _bot = world.bot(1);
    alice.hears(|line| line.starts_with(":pubbot!") && line.contains("JOIN"));
    alice.say("#secret", "!ping");
    assert_eq!(alice.hears_from("pubbot", "#secret"), "alice: pong!");
    let bob = user_with_bot(&ircd, "bob", "#Rust.dev");
    bob.say("#Rust.dev", "!ping");
    assert_eq!(bob.hears_from("pubbot", "#Rust.dev"), "bob: pong!");
}

fn a_long_line_is_split_at_words_and_arrives_whole(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    let _bot = world.bot(1);
    let alice = user_with_bot(&ircd, "alice", "#room");
    let words: Vec<String> = (0..60).map(|i| format!("wörd{i}")).collect();
    let (text, last) = (words.join(" "), words.last().unwrap());
    // one line can't carry all of it to the bot either, so it is said from the shell
    let said = world.run(&["say", "test/#room", &format!("{text} {text}")]);
    assert!(said.status.success(), "{}", said.stderr);
    let mut heard = String::new();
    while heard.matches(last).count() < 2 {
        let line = alice.hears(|line| line.starts_with(":pubbot!"));
        assert!(line.len() + 2 <= 512, "{} bytes", line.len() + 2);
        let text = line.split_once(" :").unwrap().1;
        heard = format!("{heard}{}{text}", if heard.is_empty() { "" } else { " " });
    }
    assert_eq!(heard, format!("{text} {text}"));
}

fn a_taken_nick_is_waited_for(kind: Kind) {
    let ircd = Ngircd::start();
    let squatter = IrcUser::connect(ircd.port(), "pubbot");
    squatter.join("#room");
    let world = World::new(kind, ircd.port(), &["#room"]);
    let bot = world.bot(1);
    match kind {
        // nobody else can be this bot: it goes by another nick until then
        Kind::Up => {
            let joined = squatter.hears(|line| line.contains(" JOIN ") && !line.starts_with(":pubbot!"));
            let nick = joined[1..].split('!').next().unwrap().to_owned();
            squatter.say("#room", "!ping");
            assert_eq!(squatter.hears_from(&nick, "#room"), "pubbot: pong!");
        }
        // it could be another connector, so this one stays outside
        Kind::Spread => drop(bot[0].wait_for_stderr("is in no channel and says nothing")),
    }
    let alice = IrcUser::connect(ircd.port(), "alice");
    alice.join("#room");
    drop(squatter);
    // there already under another nick, or only now
    alice.hears(|line| line.ends_with(" NICK :pubbot") || line.starts_with(":pubbot!") && line.contains(" JOIN "));
    alice.say("#room", "!ping");
    assert_eq!(alice.hears_from("pubbot", "#room"), "alice: pong!");
}

fn it_comes_back_when_the_irc_server_does(kind: Kind) {
    let mut ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room"]);
    let bot = world.bot(1);
    drop(user_with_bot(&ircd, "alice", "#room"));
    ircd.kill();
    bot[0].wait_for_stderr("not connected");
    ircd.start_again();
    let alice = user_with_bot(&ircd, "alice", "#room");
    alice.say("#room", "!ping");
    assert_eq!(alice.hears_from("pubbot", "#room"), "alice: pong!");
}

fn events_of_the_channel_are_published_under_their_keys(kind: Kind) {
    let ircd = Ngircd::start();
    let world = World::new(kind, ircd.port(), &["#room.x"]);
    let _bot = world.bot(1);
    let alice = user_with_bot(&ircd, "alice", "#room.x");
    let (all, joins) = (world.tail(&["chat.#"]), world.tail(&["chat.irc.*.join", "music.#"]));
    let bob = IrcUser::connect(ircd.port(), "bob");
    bob.join("#room.x");
    all.wait_for_stdout("\"chat.irc.#room%2Ex.join\"");
    bob.send_raw("PRIVMSG #room.x :\x01ACTION waves\x01");
    let action = all.wait_for_stdout("\"chat.irc.#room%2Ex.action\"");
    assert!(action.contains("\"content\":\"waves\""), "{action}");
    bob.notice("#room.x", "psst");
    all.wait_for_stdout("\"chat.irc.#room%2Ex.notice\"");
    bob.send_raw("NICK robert");
    let nick = all.wait_for_stdout("\"chat.irc.#room%2Ex.nick\"");
    assert!(nick.contains("\"user\":\"bob\"") && nick.contains("\"nick\":\"robert\""), "{nick}");
    bob.send_raw("TOPIC #room.x :tea");
    let topic = all.wait_for_stdout("\"chat.irc.#room%2Ex.topic\"");
    assert!(topic.contains("\"topic\":\"tea\""), "{topic}");
    bob.send_raw("JOIN #other");
    bob.send_raw("INVITE pubbot #other");
    all.wait_for_stdout("\"chat.irc.#other.invite\"");
    bob.send_raw("PRIVMSG pubbot :hello");
    let private = all.wait_for_stdout("\"chat.irc.robert.chat\"");
    assert!(private.contains("\"private\":true") && private.contains("\"direct\":true"), "{private}");
    bob.send_raw("PART #room.x :bye");
    let part = all.wait_for_stdout("\"chat.irc.#room%2Ex.leave\"");
    assert!(part.contains("\"type\":\"part\"") && part.contains("\"reason\":\"bye\""), "{part}");
    drop(bob);
    drop(alice);
    let said: Vec<String> = joins.stdout().lines().map(str::to_owned).collect();
    assert_eq!(said.len(), 1, "only the join: {said:?}");
    assert!(said[0].contains("\"user\":\"bob\""), "{said:?}");
    let seqs: Vec<u64> = all
        .stdout()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64())
        .collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "gap-free: {seqs:?}");
}
