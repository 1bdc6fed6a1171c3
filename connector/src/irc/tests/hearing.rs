//! What is heard becomes events.

use serde_json::{Value, json};

use super::world::{World, network};
use crate::irc::Network;
use crate::testing::NOW;

/// The part of an event that differs between kinds.
fn body(mut event: Value) -> Value {
    let fields = event.as_object_mut().unwrap();
    for known in ["id", "at", "network", "session", "seq", "source_id", "account", "msgid"] {
        fields.remove(known);
    }
    event
}

#[tokio::test(start_paused = true)]
async fn a_line_in_a_channel_is_a_chat_event() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":alice!a@h PRIVMSG #A :hello  there ").await;
    let event = world.event("chat.irc.#a.chat").await;
    assert_eq!(event["network"], "test");
    assert_eq!(event["at"], serde_json::to_value(protocol::Timestamp::from_millis(NOW)).unwrap());
    assert_eq!(
        body(event),
        json!({"channel": "#A", "source": "alice", "content": "hello  there ", "direct": false, "private": false})
    );
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn tags_say_when_something_was_said_by_whom_and_under_which_id() {
    let (mut world, mut server) = World::in_a().await;
    let tags = r"@time=2027-01-15T07:30:00.250Z;account=Alice\sA;msgid=x\:1;vendor/x=1";
    server.says(&format!("{tags} :al!a@h PRIVMSG #a :hi")).await;
    let event = world.event("chat.irc.#a.chat").await;
    assert_eq!(
        (&event["at"], &event["account"], &event["msgid"]),
        (&json!("2027-01-15T07:30:00.250Z"), &json!("Alice A"), &json!("x;1"))
    );
    assert_eq!(event["source_id"], json!(protocol::source_id("test", "Alice A")));
    server.says("@time=2027-01-15T07:31:00Z :al!a@h TOPIC #a :tea").await;
    assert_eq!(world.event("chat.irc.#a.topic").await["at"], "2027-01-15T07:31:00.000Z");
    // without tags, or with a time that can't be, there is our own clock
    for line in [":al!a@h PRIVMSG #a :hi", "@time=2099-01-01T00:00:00Z :al!a@h PRIVMSG #a :hi"] {
        server.says(line).await;
        let event = world.event("chat.irc.#a.chat").await;
        assert_eq!(event["at"], serde_json::to_value(protocol::Timestamp::from_millis(NOW)).unwrap(), "{line}");
        assert_eq!(
            (&event["account"], &event["msgid"], &event["source_id"]),
            (&json!(null), &json!(null), &json!(null))
        );
    }
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn names_with_several_marks_and_addresses_and_joins_with_accounts_are_understood() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.welcomes().await;
    server.says(":pubbot!pub@bot.host JOIN #a pubbot :A bot").await;
    server.says(":irc.test 353 pubbot = #a :pubbot!pub@bot.host @+alice!a@h +Bob!b@some.host").await;
    server.says(":irc.test 366 pubbot #a :End of /NAMES list.").await;
    assert_eq!(body(world.event("chat.irc.#a.join").await), json!({"channel": "#a", "user": "pubbot", "is_me": true}));
    assert_eq!(
        body(world.event("chat.irc.#a.names").await)["members"],
        json!([
            {"nick": "pubbot", "prefix": "", "account": "pubbot"},
            {"nick": "alice", "prefix": "@+", "account": null},
            {"nick": "Bob", "prefix": "+", "account": null}
        ])
    );
    server.says(":carol!c@h JOIN #a * :Carol C").await;
    assert_eq!(body(world.event("chat.irc.#a.join").await), json!({"channel": "#a", "user": "carol", "is_me": false}));
    server.says(":dave!d@h JOIN #a Wonder :Dave D").await;
    assert_eq!(world.event("chat.irc.#a.join").await["account"], "Wonder");
    // what only says something about people is no event
    for line in [":alice!a@h AWAY :gone", ":alice!a@h CHGHOST a other.host", ":alice!a@h SETNAME :Alice B"] {
        server.says(line).await;
    }
    server.says(":alice!a@h QUIT").await;
    assert_eq!(world.event("chat.irc.#a.leave").await["user"], "alice");
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_another_bot_says_is_marked_where_the_network_marks_it() {
    let (mut world, mut server) = World::in_a().await;
    for (tags, bot) in [("@bot ", json!(true)), ("", json!(null))] {
        server.says(&format!("{tags}:robot!r@h PRIVMSG #a :beep")).await;
        assert_eq!(world.event("chat.irc.#a.chat").await["bot"], bot);
    }
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn who_goes_and_comes_with_a_netsplit_goes_and_comes() {
    let (mut world, mut server) = World::in_a_with(&["batch"], network()).await;
    server.says(":irc.test BATCH +s netsplit irc.test far.test").await;
    server.says("@batch=s :alice!a@h QUIT :irc.test far.test").await;
    assert_eq!(world.event("chat.irc.#a.leave").await["user"], "alice");
    server.says("@batch=s :Bob!b@h QUIT :irc.test far.test").await;
    server.says(":irc.test BATCH -s").await;
    assert_eq!(world.event("chat.irc.#a.leave").await["user"], "Bob");
    server.says(":irc.test BATCH +j netjoin irc.test far.test").await;
    server.says("@batch=j :alice!a@h JOIN #a").await;
    server.says(":irc.test BATCH -j").await;
    assert_eq!(world.event("chat.irc.#a.join").await["user"], "alice");
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn events_of_a_session_are_numbered_without_a_gap_and_a_new_session_begins_anew() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":alice!a@h PRIVMSG #a :1").await;
    server.says(":alice!a@h PRIVMSG #a :2").await;
    let (first, second) = (world.event("chat.irc.#a.chat").await, world.event("chat.irc.#a.chat").await);
    // 1 and 2 were the join and the names
    assert_eq!((&first["seq"], &second["seq"]), (&json!(3), &json!(4)));
    assert_eq!(first["session"], second["session"]);
    assert_ne!(first["id"], second["id"]);

    drop(server);
    let mut server = world.server().await;
    server.welcomes().await;
    server.lets_in("#a", "pubbot").await;
    let join = world.event("chat.irc.#a.join").await;
    assert_eq!(join["seq"], 1);
    assert_ne!(join["session"], first["session"]);
    world.event("chat.irc.#a.names").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_line_that_begins_with_the_bots_nick_is_direct_and_loses_it() {
    let (mut world, mut server) = World::in_a().await;
    for (said, content) in [("pubbot: ping", "ping"), ("PUBBOT, ping", "ping"), ("pubbot:", "")] {
        server.says(&format!(":alice!a@h PRIVMSG #a :{said}")).await;
        let event = world.event("chat.irc.#a.chat").await;
        assert_eq!((&event["direct"], &event["content"], &event["raw"]), (&json!(true), &json!(content), &json!(said)));
    }
    for said in ["pubbot ping", "pubbot2: ping", "hi pubbot: ping"] {
        server.says(&format!(":alice!a@h PRIVMSG #a :{said}")).await;
        let event = world.event("chat.irc.#a.chat").await;
        assert_eq!((&event["direct"], &event["content"]), (&json!(false), &json!(said)));
        assert!(event.get("raw").is_none());
    }
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_private_message_is_direct_and_its_channel_is_the_sender() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":Al[ce!a@h PRIVMSG PubBot :hi").await;
    assert_eq!(
        body(world.event("chat.irc.al{ce.chat").await),
        json!({"channel": "Al[ce", "source": "Al[ce", "content": "hi", "direct": true, "private": true})
    );
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn an_action_is_an_action_even_without_its_closing_mark() {
    let (mut world, mut server) = World::in_a().await;
    for line in ["\x01ACTION waves at all\x01", "\x01ACTION waves at all", "\x01action waves at all\x01"] {
        server.says(&format!(":alice!a@h PRIVMSG #a :{line}")).await;
        assert_eq!(world.event("chat.irc.#a.action").await["content"], "waves at all");
    }
    server.says(":alice!a@h PRIVMSG #a :\x01ACTION\x01").await;
    assert_eq!(world.event("chat.irc.#a.action").await["content"], "");
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_notice_is_a_notice() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":alice!a@h NOTICE #a :look").await;
    assert_eq!(world.event("chat.irc.#a.notice").await["content"], "look");
    server.says(":alice!a@h NOTICE pubbot :psst").await;
    assert_eq!(world.event("chat.irc.alice.notice").await["private"], true);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn servers_ctcp_requests_other_targets_and_the_bot_itself_are_no_events() {
    let (world, mut server) = World::in_a().await;
    for line in [
        ":irc.test NOTICE pubbot :*** looking up your hostname",
        ":irc.test PRIVMSG #a :from a server",
        ":service PRIVMSG pubbot :without an address",
        "PRIVMSG #a :from nobody",
        ":alice!a@h PRIVMSG pubbot :\x01VERSION\x01",
        ":alice!a@h PRIVMSG #a :\x01PING 1\x01",
        ":alice!a@h NOTICE pubbot :\x01VERSION x\x01",
        ":alice!a@h PRIVMSG $*.test :to everybody",
        ":alice!a@h PRIVMSG bob :to somebody else",
        ":pubbot!pub@bot.host PRIVMSG #a :my own echo",
        ":PUBBOT!pub@bot.host NOTICE #a :my own echo",
        ":irc.test 371 pubbot :whatever",
        "FAIL X Y :z",
    ] {
        server.says(line).await;
    }
    server.hears(concat!("NOTICE alice :\x01VERSION pubbot ", env!("CARGO_PKG_VERSION"), "\x01")).await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_said_to_a_channels_operators_is_of_that_channel_and_says_to_whom_it_went() {
    let (mut world, mut server) = World::in_a().await;
    for (target, status) in [("@#a", json!("@")), ("@+#A", json!("@+"))] {
        server.says(&format!(":alice!a@h PRIVMSG {target} :psst")).await;
        let event = world.event("chat.irc.#a.chat").await;
        assert_eq!((&event["channel"], &event["status"]), (&json!(target.trim_start_matches(['@', '+'])), &status));
    }
    server.says(":alice!a@h PRIVMSG #a :to all").await;
    assert!(world.event("chat.irc.#a.chat").await.get("status").is_none());
    server.says(":irc.test 005 pubbot STATUSMSG=@ :are supported").await;
    server.says(":alice!a@h PRIVMSG +#a :that is nobody here").await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn the_bots_own_join_is_followed_by_the_names() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.welcomes().await;
    server.lets_in("#a", "pubbot @alice +Bob").await;
    assert_eq!(body(world.event("chat.irc.#a.join").await), json!({"channel": "#a", "user": "pubbot", "is_me": true}));
    assert_eq!(
        body(world.event("chat.irc.#a.names").await)["members"],
        json!([
            {"nick": "pubbot", "prefix": "", "account": null},
            {"nick": "alice", "prefix": "@", "account": null},
            {"nick": "Bob", "prefix": "+", "account": null}
        ])
    );
    server.says(":irc.test 353 pubbot = #a :pubbot carol").await;
    server.says(":irc.test 366 pubbot #a :End").await;
    server.says(":carol!c@h QUIT").await;
    assert_eq!(world.event("chat.irc.#a.leave").await["user"], "carol");
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn joins_parts_and_kicks_are_told_with_who_and_why() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":carol!c@h JOIN :#a").await;
    assert_eq!(body(world.event("chat.irc.#a.join").await), json!({"channel": "#a", "user": "carol", "is_me": false}));
    server.says(":carol!c@h PART #a :bye").await;
    let part = json!({"channel": "#a", "user": "carol", "type": "part", "by": null, "reason": "bye"});
    assert_eq!(body(world.event("chat.irc.#a.leave").await), part);
    server.says(":alice!a@h KICK #a bob :enough").await;
    let kick = json!({"channel": "#a", "user": "bob", "type": "kicked", "by": "alice", "reason": "enough"});
    assert_eq!(body(world.event("chat.irc.#a.leave").await), kick);
    server.says(":alice!a@h KICK #a pubbot").await;
    let kick =
        json!({"channel": "#a", "user": "pubbot", "type": "kicked", "by": "alice", "reason": null, "is_me": true});
    assert_eq!(body(world.event("chat.irc.#a.leave").await), kick);
    // the bot is not there any more
    server.says(":alice!a@h QUIT").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn lists_of_channels_and_nicks_are_told_one_by_one() {
    let (mut world, mut server) = World::in_a().await;
    server.lets_in("#b", "pubbot alice").await;
    world.event("chat.irc.#b.join").await;
    world.event("chat.irc.#b.names").await;
    server.says(":dave!d@h JOIN #a,#b").await;
    for channel in ["#a", "#b"] {
        assert_eq!(world.event(&format!("chat.irc.{channel}.join")).await["user"], "dave");
    }
    server.says(":alice!a@h KICK #a,#b bob,dave :enough").await;
    for (channel, user) in [("#a", "bob"), ("#b", "dave")] {
        let kick = json!({"channel": channel, "user": user, "type": "kicked", "by": "alice", "reason": "enough"});
        assert_eq!(body(world.event(&format!("chat.irc.{channel}.leave")).await), kick);
    }
    server.says(":alice!a@h PART #a,#b :bye").await;
    for channel in ["#a", "#b"] {
        assert_eq!(world.event(&format!("chat.irc.{channel}.leave")).await["user"], "alice");
    }
    for gone in ["alice", "bob"] {
        server.says(&format!(":{gone}!x@h QUIT")).await;
    }
    // of several kicked from one channel one may be us
    server.says(":op!o@h KICK #a dave,pubbot :all of you").await;
    assert_eq!(world.event("chat.irc.#a.leave").await["user"], "dave");
    assert_eq!(world.event("chat.irc.#a.leave").await["user"], "pubbot");
    server.hears("JOIN #a").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_quit_and_a_new_nick_are_told_in_each_shared_channel() {
    let (mut world, mut server) = World::in_a().await;
    server.lets_in("#b", "pubbot alice").await;
    world.event("chat.irc.#b.join").await;
    world.event("chat.irc.#b.names").await;
    server.says(":alice!a@h NICK :carol").await;
    let nick = json!({"channel": "#a", "user": "alice", "nick": "carol", "is_me": false, "prefix": "@"});
    assert_eq!(body(world.event("chat.irc.#a.nick").await), nick);
    world.event("chat.irc.#b.nick").await;
    server.says(":bob!b@h QUIT :gone").await;
    let quit = json!({"channel": "#a", "user": "bob", "type": "quit", "by": null, "reason": "gone"});
    assert_eq!(body(world.event("chat.irc.#a.leave").await), quit);
    server.says(":carol!a@h QUIT :gone").await;
    world.event("chat.irc.#a.leave").await;
    world.event("chat.irc.#b.leave").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_forced_nick_is_the_bots_nick_from_then_on() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":pubbot!pub@bot.host NICK Guest7").await;
    let nick = json!({"channel": "#a", "user": "pubbot", "nick": "Guest7", "is_me": true});
    assert_eq!(body(world.event("chat.irc.#a.nick").await), nick);
    server.says(":alice!a@h PRIVMSG #a :guest7: ping").await;
    assert_eq!(world.event("chat.irc.#a.chat").await["content"], "ping");
    server.says(":alice!a@h PRIVMSG #a :pubbot: ping").await;
    assert_eq!(world.event("chat.irc.#a.chat").await["direct"], false);
    server.says(":alice!a@h PRIVMSG Guest7 :psst").await;
    assert_eq!(world.event("chat.irc.alice.chat").await["private"], true);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn topics_and_invitations_are_told() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":alice!a@h TOPIC #a :new").await;
    assert_eq!(body(world.event("chat.irc.#a.topic").await), json!({"channel": "#a", "user": "alice", "topic": "new"}));
    server.says(":irc.test TOPIC #a :").await;
    assert_eq!(body(world.event("chat.irc.#a.topic").await), json!({"channel": "#a", "user": "irc.test", "topic": ""}));
    server.says(":alice!a@h INVITE pubbot :#C.D").await;
    assert_eq!(body(world.event("chat.irc.#c%2Ed.invite").await), json!({"channel": "#C.D", "by": "alice"}));
    // IRCv3 `invite-notify`: somebody else is invited to where we are
    server.says(":alice!a@h INVITE carol #a").await;
    let event = body(world.event("chat.irc.#a.invite").await);
    assert_eq!(event, json!({"channel": "#a", "by": "alice", "user": "carol"}));
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn modes_are_told_by_the_servers_own_rules() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":irc.test 005 pubbot CHANMODES=be,k,fl,imX PREFIX=(qov)~@+ :are supported").await;
    server.says("@time=x :alice!a@h MODE #a +qXf-l pubbot 5:3").await;
    let change = |set, mode: &str, parameter: Option<&str>| json!({"set": set, "mode": mode, "parameter": parameter});
    let modes = [
        change(true, "q", Some("pubbot")),
        change(true, "X", None),
        change(true, "f", Some("5:3")),
        change(false, "l", None),
    ];
    let members = json!([{"nick": "pubbot", "prefix": "~", "account": null}]);
    let mode = json!({"channel": "#a", "user": "alice", "modes": modes, "members": members});
    assert_eq!(body(world.event("chat.irc.#a.mode").await), mode);
    server.says(":alice!a@h MODE #a +ov-o BOB bob alice").await;
    let members = json!([
        {"nick": "Bob", "prefix": "@+", "account": null},
        {"nick": "alice", "prefix": "", "account": null}
    ]);
    assert_eq!(world.event("chat.irc.#a.mode").await["members"], members);
    server.says(":alice!a@h MODE #a +X").await;
    assert_eq!(world.event("chat.irc.#a.mode").await.get("members"), None);
    server.says(":pubbot!pub@bot.host MODE pubbot +i").await;
    server.says(":irc.test MODE #a").await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn who_logs_in_or_out_is_told_in_each_channel_that_they_are_in() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":alice!a@h ACCOUNT wonderland").await;
    let login = world.event("chat.irc.#a.account").await;
    assert_eq!((&login["user"], &login["account"]), (&json!("alice"), &json!("wonderland")));
    assert_eq!(login["source_id"], json!(protocol::source_id("test", "wonderland")));
    server.says(":alice!a@h ACCOUNT *").await;
    assert_eq!(world.event("chat.irc.#a.account").await["account"], json!(null));
    server.says(":stranger!a@h ACCOUNT wonderland").await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn names_that_differ_only_by_the_networks_casemapping_are_one() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":alice!a@h PRIVMSG #[X]^ :twin").await;
    world.event("chat.irc.#{x}~.chat").await;
    server.says(":irc.test 005 pubbot CASEMAPPING=ascii :are supported").await;
    server.says(":alice!a@h PRIVMSG #[X]^ :twin").await;
    world.event("chat.irc.#[x]^.chat").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_carries_the_reply_queue_of_its_network() {
    use bus::Broker;
    let (world, mut server) = World::in_a().await;
    let all = world.broker.topology().tail(vec![protocol::Pattern::parse("chat.#").unwrap()]);
    let mut tail = world.broker.inner.consume(all, 10).await.unwrap();
    server.says(":alice!a@h PRIVMSG #a :hi").await;
    let delivery = tail.next().await.unwrap();
    assert_eq!(delivery.properties.reply_to.as_deref(), Some("pubbot.replies.irc.test"));
    assert_eq!(delivery.properties.app_id.as_deref(), Some("pubbot"));
    let body: Value = serde_json::from_slice(&delivery.body).unwrap();
    assert_eq!(delivery.properties.message_id.as_deref(), body["id"].as_str());
    delivery.acknowledge();
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_text_and_lines_without_end_harm_nobody() {
    let (mut world, mut server) = World::in_a().await;
    server.sends(b":alice!a@h PRIVMSG #a :gr\xfc\xdfe\0!\r\n").await;
    assert_eq!(world.event("chat.irc.#a.chat").await["content"], "gr\u{fffd}\u{fffd}e!");
    for _ in 0..64 {
        server.sends(&[b'x'; 16 * 1024]).await;
    }
    server.sends(b"\r\n:alice!a@h PRIVMSG #a :after\n").await;
    assert_eq!(world.event("chat.irc.#a.chat").await["content"], "after");
    let long = format!(":alice!a@h PRIVMSG #a :{}", "x".repeat(500));
    server.says(&long).await;
    server.sends(b":\r\n: :\r\nMODE #a x\r\n\r\n:irc.test 353\r\n:irc.test 001\r\n:irc.test 433\r\n").await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_ignored_people_say_is_no_event_but_that_they_come_and_go_is() {
    let ignore = ["*!*@spam.example", "bad[bot]!*@*"].map(|mask| mask.parse().unwrap()).to_vec();
    let (mut world, mut server) = World::in_a_of(Network { ignore, ..network() }).await;
    for spam in [
        ":eve!e@Spam.Example PRIVMSG #a :buy",
        ":eve!e@spam.example PRIVMSG #a :\x01ACTION sells\x01",
        ":eve!e@spam.example NOTICE pubbot :buy",
        ":eve!e@spam.example PRIVMSG pubbot :\x01VERSION\x01",
        ":eve!e@spam.example INVITE pubbot #secret",
        // by the network's case mapping
        ":BAD{bot}!b@ham.example PRIVMSG #a :beep",
    ] {
        server.says(spam).await;
    }
    // nor what she said while we were away
    server.says(":irc.test BATCH +z znc.in/playback #a").await;
    server.says("@batch=z :eve!e@spam.example PRIVMSG #a :bought").await;
    server.says("@batch=z :eve!e@ham.example PRIVMSG #a :before").await;
    server.says(":irc.test BATCH -z").await;
    assert_eq!(world.event("chat.irc.#a.chat").await["content"], "before");
    server.says(":eve!e@spam.example JOIN #a").await;
    assert_eq!(world.event("chat.irc.#a.join").await["user"], "eve");
    // she is somebody else now
    server.says(":eve!e@ham.example PRIVMSG #a :hi").await;
    assert_eq!(world.event("chat.irc.#a.chat").await["content"], "hi");
    server.says(":eve!e@spam.example QUIT :bye").await;
    assert_eq!(world.event("chat.irc.#a.leave").await["user"], "eve");
    server.fence().await;
    world.ends(server).await;
}
