//! Actions: what workers ask for beside saying something. Rows 1 to 3 of the inputs, for actions and for replies.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bus::DeadLetter;
use protocol::{DeedKind, Timestamp};
use serde_json::{Value, json};

use super::world::{AN_HOUR, Server, Shaky, World, network};
use crate::Permits;
use crate::irc::{Channel, Network};
use crate::testing::NOW;

const A_WHILE: Duration = Duration::from_secs(30);

/// The errors of the dead letters so far.
async fn errors(world: &World, count: usize) -> Vec<String> {
    world.dead(count).await.iter().map(|letter| DeadLetter::read(letter).error.unwrap_or_default()).collect()
}

/// Asks for an action, which is one line.
async fn does(world: &World, server: &mut Server, action: Value, line: &str) {
    world.answers(action).await;
    server.hears(line).await;
}

#[tokio::test(start_paused = true)]
async fn every_action_is_one_line_in_its_turn_and_acknowledged_when_it_is_proved() {
    let (world, mut server) = World::in_a().await;
    let doings = [
        (json!({"do": "topic", "channel": "#a", "topic": "tea at five"}), "TOPIC #a :tea at five"),
        (json!({"do": "topic", "channel": "#a", "topic": ""}), "TOPIC #a :"),
        (json!({"do": "kick", "channel": "#a", "nick": "bob", "reason": "out you go"}), "KICK #a bob :out you go"),
        (json!({"do": "kick", "channel": "#a", "nick": "bob"}), "KICK #a bob"),
        (json!({"do": "invite", "channel": "#a", "nick": "bob"}), "INVITE bob #a"),
        (json!({"do": "mode", "channel": "#a", "modes": "+o-m", "parameters": ["bob"]}), "MODE #a +o-m bob"),
        (json!({"do": "nick", "nick": "PUBBOT"}), "NICK PUBBOT"),
        (json!({"do": "join", "channel": "#b"}), "JOIN #b"),
        (json!({"do": "join", "channel": "#c", "key": "k"}), "JOIN #c k"),
        (json!({"do": "part", "channel": "#c", "reason": "bye all"}), "PART #c :bye all"),
    ];
    for (action, line) in doings {
        does(&world, &mut server, action, line).await;
        assert_eq!(world.unsaid(), 1, "it is not proved yet");
        world.settled(&mut server).await;
    }
    // among replies for the same channel it keeps its place
    world.broker.publish_takes.store(1, Ordering::Relaxed);
    world.answers(json!({"channel": "#a", "content": "one"})).await;
    world.answers(json!({"do": "kick", "channel": "#a", "nick": "bob"})).await;
    world.answers(json!({"channel": "#a", "content": "two"})).await;
    for line in ["PRIVMSG #a :one", "KICK #a bob", "PRIVMSG #a :two"] {
        server.hears(line).await;
    }
    world.settled(&mut server).await;
    assert_eq!(world.buried(), 0);
    world.ends(server).await;
}

/// CR, LF and NUL in every field.
#[tokio::test(start_paused = true)]
async fn row_1_a_line_end_in_any_field_is_one_line_or_an_error() {
    let (world, mut server) = World::in_a().await;
    let bad = "x\r\nQUIT :y\0z";
    does(&world, &mut server, json!({"do": "topic", "channel": "#a", "topic": bad}), "TOPIC #a :x QUIT :yz").await;
    let kick = json!({"do": "kick", "channel": "#a", "nick": "bob", "reason": bad});
    does(&world, &mut server, kick, "KICK #a bob :x QUIT :yz").await;
    let part = json!({"do": "part", "channel": "#b", "reason": bad});
    does(&world, &mut server, part, "PART #b :x QUIT :yz").await;
    world.answers(json!({"channel": "#a", "content": bad})).await;
    for line in ["PRIVMSG #a :x", "PRIVMSG #a :QUIT :yz"] {
        server.hears(line).await;
    }
    let refused = [
        json!({"channel": bad, "content": "hi"}),
        json!({"do": "join", "channel": bad}),
        json!({"do": "join", "channel": "#a", "key": bad}),
        json!({"do": "part", "channel": bad}),
        json!({"do": "topic", "channel": bad, "topic": "t"}),
        json!({"do": "kick", "channel": bad, "nick": "bob"}),
        json!({"do": "kick", "channel": "#a", "nick": bad}),
        json!({"do": "invite", "channel": "#a", "nick": bad}),
        json!({"do": "nick", "nick": bad}),
        json!({"do": "mode", "channel": "#a", "modes": bad}),
        json!({"do": "mode", "channel": "#a", "modes": "+o", "parameters": [bad]}),
        json!({"do": "tag", "channel": bad, "tags": {"+a": ""}}),
        json!({"do": "tag", "channel": "#a", "tags": {bad: ""}}),
        json!({"do": "raw", "line": bad}),
    ];
    for request in &refused {
        world.answers(request.clone()).await;
    }
    world.settled(&mut server).await;
    assert_eq!(errors(&world, refused.len()).await.len(), refused.len());
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn row_2_several_targets_or_none_are_an_error_that_names_them() {
    let (world, mut server) = World::in_a().await;
    for target in ["#a,#b", "#a :x", "", "  "] {
        world.answers(json!({"channel": target, "content": "hi"})).await;
        world.answers(json!({"do": "part", "channel": target})).await;
        world.answers(json!({"do": "kick", "channel": "#a", "nick": target})).await;
    }
    world.settled(&mut server).await;
    for error in errors(&world, 12).await {
        assert!(["\"#a,#b\"", "\"#a :x\"", "\"\"", "\"  \""].iter().any(|target| error.contains(target)), "{error}");
    }
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn row_3_a_channel_of_wildcards_is_one_channel_and_one_of_300_bytes_is_an_error() {
    let (world, mut server) = World::in_a().await;
    for channel in ["#a.b.*", "#", "*"] {
        world.answers(json!({"channel": channel, "content": "hi"})).await;
        server.hears(&format!("PRIVMSG {channel} :hi")).await;
    }
    for channel in ["#a.b.*", "#"] {
        does(&world, &mut server, json!({"do": "part", "channel": channel}), &format!("PART {channel}")).await;
    }
    let long = format!("#{}", "x".repeat(299));
    world.answers(json!({"channel": long, "content": "hi"})).await;
    world.answers(json!({"do": "part", "channel": long})).await;
    world.answers(json!({"do": "part", "channel": "*"})).await;
    world.settled(&mut server).await;
    assert_eq!(errors(&world, 3).await.len(), 3);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn an_action_that_is_delivered_twice_is_done_once() {
    let (world, mut server) = World::in_a().await;
    let kick = json!({"id": "0192f0c1-2345-5000-8000-000000000002", "do": "kick", "channel": "#a", "nick": "bob"});
    world.answers(kick.clone()).await;
    world.answers(kick.clone()).await;
    server.hears("KICK #a bob").await;
    world.answers(kick.clone()).await;
    world.settled(&mut server).await;
    world.answers(kick.clone()).await;
    world.settled(&mut server).await;
    // and by whoever speaks next
    let broker = world.broker.clone();
    world.stop.cancel();
    server.hears("QUIT :pubbot").await;
    drop(server);
    world.result().await.unwrap();
    let (world, mut server) = World::on(broker, network()).await.enters(&[]).await;
    world.answers(kick).await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_proved_when_the_connection_is_lost_is_done_on_the_next_one() {
    let (mut world, mut server) = World::in_a().await;
    world.answers(json!({"do": "kick", "channel": "#a", "nick": "bob"})).await;
    server.hears_exactly("KICK #a bob").await;
    drop(server);
    let mut server = world.reenters(&[]).await;
    server.hears("KICK #a bob").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

/// What a server says to a refused action, behind its name.
const REFUSALS: [(&str, &str, &str); 7] = [
    ("kick", "482 pubbot #a :You're not channel operator", "482 You're not channel operator"),
    ("kick", "441 pubbot bob #a :They aren't on that channel", "441 #a They aren't on that channel"),
    ("mode", "472 pubbot ~ :is unknown mode char to me", "472 is unknown mode char to me"),
    ("invite", "443 pubbot bob #a :is already on channel", "443 #a is already on channel"),
    ("topic", "442 pubbot #a :You're not on that channel", "442 You're not on that channel"),
    ("join", "473 pubbot #a :Cannot join channel (+i)", "473 Cannot join channel (+i)"),
    ("nick", "433 pubbot PUBBOT :Nickname is already in use", "433 Nickname is already in use"),
];

#[tokio::test(start_paused = true)]
async fn a_refused_action_is_a_dead_letter_that_says_why_and_the_line_beside_it_is_said() {
    for labels in [&[] as &[&str], &["message-tags", "batch", "labeled-response"]] {
        for (kind, refusal, why) in REFUSALS {
            let (world, mut server) = World::in_a_with(labels, network()).await;
            let channel = if kind == "join" { "#b" } else { "#a" };
            let refusal = refusal.replace("#a", channel);
            world.answers(json!({"channel": channel, "content": "before"})).await;
            world
                .answers(json!({"do": kind, "channel": channel, "nick": if kind == "nick" { "PUBBOT" } else { "bob" },
                    "topic": "t", "modes": "+m"}))
                .await;
            let (mut before, mut action) = (server.any_line().await, server.any_line().await);
            if action.starts_with("PRIVMSG") {
                std::mem::swap(&mut before, &mut action);
            }
            match action.strip_prefix("@label=").and_then(|rest| rest.split_once(' ')) {
                Some((label, _)) => {
                    server.says(&format!("@label={label} :irc.test {refusal}")).await;
                    let label = before.strip_prefix("@label=").unwrap().split(' ').next().unwrap();
                    server.says(&format!("@label={label} :irc.test ACK")).await;
                }
                None => server.says(&format!(":irc.test {refusal}")).await,
            }
            world.settled(&mut server).await;
            let expected = format!("the server refused it: {}", why.replace("#a", channel));
            assert_eq!(errors(&world, 1).await, [expected]);
            // a channel that did not let us in is not asked for again
            server.hears_nothing_for(AN_HOUR).await;
            world.ends(server).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_lines_are_echoed_an_action_is_proved_by_a_fence_at_once() {
    let (world, mut server) = World::in_a_with(&["echo-message"], network()).await;
    world.answers(json!({"do": "kick", "channel": "#a", "nick": "bob"})).await;
    server.hears_exactly("KICK #a bob").await;
    let written = tokio::time::Instant::now();
    server.answers_a_fence().await;
    assert_eq!(written.elapsed(), Duration::ZERO);
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_an_action_has_joined_is_kept_and_one_that_it_has_left_is_not() {
    let (mut world, mut server) = World::in_a().await;
    does(&world, &mut server, json!({"do": "join", "channel": "#New", "key": "k"}), "JOIN #New k").await;
    server.lets_in("#New", "pubbot").await;
    world.event("chat.irc.#new.join").await;
    world.event("chat.irc.#new.names").await;
    // kicked from there, it comes back
    server.says(":op!o@h KICK #new pubbot :out").await;
    world.event("chat.irc.#new.leave").await;
    server.hears("JOIN #New k").await;
    server.lets_in("#New", "pubbot").await;
    world.event("chat.irc.#new.join").await;
    world.event("chat.irc.#new.names").await;
    does(&world, &mut server, json!({"do": "part", "channel": "#A"}), "PART #A").await;
    server.says(":pubbot!pub@bot.host PART #a").await;
    world.event("chat.irc.#a.leave").await;
    world.settled(&mut server).await;
    server.hears_nothing_for(A_WHILE).await;
    // so it is on the next connection
    drop(server);
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 001 pubbot :Welcome pubbot!pub@bot.host").await;
    server.hears("JOIN #secret,#New sesame,k").await;
    server.says(":irc.test 403 pubbot #secret :No such channel").await;
    server.lets_in("#New", "pubbot").await;
    world.event("chat.irc.#new.join").await;
    world.event("chat.irc.#new.names").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_join_that_nobody_answers_is_not_asked_for_again() {
    let (world, mut server) = World::in_a().await;
    does(&world, &mut server, json!({"do": "join", "channel": "#b"}), "JOIN #b").await;
    world.settled(&mut server).await;
    server.hears_nothing_for(AN_HOUR).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_is_alone_goes_by_the_nick_that_an_action_asks_for_until_the_connection_ends() {
    let (mut world, mut server) = World::in_a().await;
    does(&world, &mut server, json!({"do": "nick", "nick": "other"}), "NICK other").await;
    server.says(":pubbot!pub@bot.host NICK :other").await;
    world.event("chat.irc.#a.nick").await;
    world.settled(&mut server).await;
    server.hears_nothing_for(A_WHILE).await;
    world.answers(json!({"channel": "#a", "content": "hi"})).await;
    server.hears("PRIVMSG #a :hi").await;
    world.settled(&mut server).await;
    drop(server);
    let server = world.reenters(&[]).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn where_a_second_connector_can_be_the_nick_stays_as_it_is_configured() {
    let broker = Arc::new(Shaky::default());
    broker.leases_locks.store(true, Ordering::Relaxed);
    broker.locks.add_permits(1);
    let (world, mut server) = World::on(broker, network()).await.enters(&[]).await;
    world.answers(json!({"do": "nick", "nick": "other"})).await;
    let error = &errors(&world, 1).await[0];
    assert!(error.contains("no other nick than \"pubbot\""), "{error}");
    does(&world, &mut server, json!({"do": "nick", "nick": "pubbot"}), "NICK pubbot").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_may_do_what_its_configuration_says_and_raw_lines_only_if_that_does() {
    let permits = [("py".to_owned(), [DeedKind::Raw, DeedKind::Kick].into())].into();
    let (world, mut server) = World::in_a_of(Network { permits: Permits::new(permits), ..network() }).await;
    let raw = |handler: &str| json!({"do": "raw", "line": "WHO #a", "handler": handler});
    does(&world, &mut server, raw("py"), "WHO #a").await;
    world.answers(raw("main/guard/guard")).await;
    world.answers(json!({"do": "join", "channel": "#b", "handler": "py/a/b"})).await;
    let errors = errors(&world, 2).await;
    assert!(errors[0].contains("the group \"main\" may not ask for the action \"raw\""), "{errors:?}");
    assert!(errors[1].contains("write \"py\" = [\"kick\", \"raw\", \"join\"] under [actions]"), "{errors:?}");
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_names_the_message_that_it_answers_where_there_are_tags() {
    let answer = json!({"channel": "#a", "content": ["hi", "there"], "msgid": "a;b"});
    let cases: [(&[&str], [&str; 2]); 3] = [
        (&[], ["PRIVMSG #a :hi", "PRIVMSG #a :there"]),
        (&["message-tags"], [r"@+reply=a\:b PRIVMSG #a :hi", r"@+reply=a\:b PRIVMSG #a :there"]),
        (
            &["message-tags", "batch", "labeled-response"],
            [r"@label=1;+reply=a\:b PRIVMSG #a :hi", r"@label=2;+reply=a\:b PRIVMSG #a :there"],
        ),
    ];
    for (capabilities, lines) in cases {
        let (world, mut server) = World::in_a_with(capabilities, network()).await;
        world.answers(answer.clone()).await;
        for line in lines {
            server.hears(line).await;
            if let Some(label) = line.strip_prefix("@label=") {
                server.says(&format!("@label={} :irc.test ACK", &label[..1])).await;
            }
        }
        world.settled(&mut server).await;
        world.ends(server).await;
    }
}

#[tokio::test(start_paused = true)]
async fn tags_are_sent_where_there_are_tags_and_nothing_elsewhere() {
    let react = json!({"do": "tag", "channel": "#a", "tags": {"+draft/react": "👍", "+reply": "id 1"}});
    let (world, mut server) = World::in_a_with(&["message-tags", "echo-message"], network()).await;
    does(&world, &mut server, react.clone(), r"@+draft/react=👍;+reply=id\s1 TAGMSG #a").await;
    world.settled(&mut server).await;
    world.ends(server).await;
    let (world, mut server) = World::in_a().await;
    world.answers(react).await;
    world.settled(&mut server).await;
    assert_eq!(world.buried(), 0);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_for_those_of_a_rank_is_said_to_them_where_the_server_knows_ranks() {
    let (world, mut server) = World::in_a().await;
    let psst = json!({"channel": "@#a", "content": "psst", "kind": "notice"});
    world.answers(psst.clone()).await;
    let error = &errors(&world, 1).await[0];
    assert!(error.contains("\"@#a\"") && error.contains("STATUSMSG"), "{error}");
    server.says(":irc.test 005 pubbot STATUSMSG=@+ :are supported").await;
    server.fence().await;
    world.answers(psst).await;
    server.hears("NOTICE @#a :psst").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_of_modes_is_cut_as_the_server_says() {
    let (world, mut server) = World::in_a().await;
    server.says(":irc.test 005 pubbot MODES=2 :are supported").await;
    server.fence().await;
    let ops = json!({"do": "mode", "channel": "#a", "modes": "+ooo", "parameters": ["x", "y", "z"]});
    world.answers(ops.clone()).await;
    server.hears("MODE #a +oo x y").await;
    server.hears("MODE #a +o z").await;
    world.settled(&mut server).await;
    world.answers(json!({"do": "mode", "channel": "#a", "modes": "+m", "parameters": ["x"]})).await;
    assert!(errors(&world, 1).await[0].contains("take 0 parameters"));
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn an_action_that_has_expired_is_not_done() {
    let (world, mut server) = World::in_a().await;
    let before = Timestamp::from_millis(NOW - 1);
    world.answers(json!({"do": "kick", "channel": "#a", "nick": "bob", "expires_at": before})).await;
    world.settled(&mut server).await;
    assert_eq!(world.buried(), 0);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn actions_are_done_whichever_answer_is_best() {
    let mut best = network();
    best.channels[0] = Channel { answers: crate::irc::Answers::Best, ..best.channels[0].clone() };
    let (world, mut server) = World::in_a_of(best).await;
    let event = "0192f0c1-2345-7000-8000-000000000001";
    let kick = json!({"in_reply_to": event, "do": "kick", "channel": "#a", "nick": "bob", "handler": "g/p/low"});
    does(&world, &mut server, kick, "KICK #a bob").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}
