//! What was said while the bot was away comes out of the network's history, once, and marked.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::world::{Server, Shaky, World, network};
use crate::irc::{Flood, Network};
use crate::testing::NOW;

/// What a server offers that keeps a history, in the order in which it is asked for.
const CAPABILITIES: &[&str] = &["message-tags", "batch", "server-time", "draft/chathistory"];

/// So many seconds before the moment at which every test happens.
fn ago(seconds: f64) -> Timestamp {
    Timestamp::from_millis(NOW - (seconds * 1_000.0) as i64)
}

/// A line of alice's with its tags.
fn line(tags: &str, seconds_ago: f64, text: &str) -> String {
    format!("@{tags}time={} :alice!a@h PRIVMSG #a :{text}", ago(seconds_ago))
}

/// A world whose server keeps a history, and has just heard alice say `before`, 100 s ago.
async fn in_a() -> (World, Server) {
    let (mut world, mut server) = World::in_a_with(CAPABILITIES, network()).await;
    server.says(&line("msgid=before;", 100.0, "before")).await;
    assert_eq!(world.event("chat.irc.#a.chat").await.get("replayed"), None);
    (world, server)
}

/// The connection is lost; the bot is back, and nobody has said anything to it in private.
async fn comes_back(world: &mut World, server: Server, isupport: &str) -> Server {
    drop(server);
    let mut server = comes_back_to(world, isupport).await;
    server.is_asked_for_people(110.0, if isupport.contains("=2 ") { 2 } else { 50 }).await;
    server.says(":irc.test BATCH +p draft/chathistory-targets").await;
    server.says(":irc.test BATCH -p").await;
    server
}

async fn comes_back_to(world: &mut World, isupport: &str) -> Server {
    let mut server = world.server().await;
    server.welcomes_with(CAPABILITIES).await;
    server.says(&format!(":irc.test 005 pubbot {isupport} :are supported")).await;
    server.lets_in("#a", "pubbot @alice").await;
    world.event("chat.irc.#a.join").await;
    world.event("chat.irc.#a.names").await;
    server
}

impl Server {
    async fn is_asked_for_people(&mut self, seconds_ago: f64, most: usize) {
        let until = ago(-3_600.0);
        self.hears(&format!("CHATHISTORY TARGETS timestamp={} timestamp={until} {most}", ago(seconds_ago))).await;
    }

    async fn is_asked_for_history(&mut self, after: &str, most: usize) {
        self.hears(&format!("CHATHISTORY AFTER #a {after} {most}")).await;
    }

    /// Tells a page of the history of `#a`.
    async fn tells(&mut self, lines: &[String]) {
        self.says(":irc.test BATCH +h chathistory #a").await;
        for line in lines {
            self.says(line).await;
        }
        self.says(":irc.test BATCH -h").await;
    }
}

fn content_and_id(event: &Value) -> (&str, &str, bool) {
    (event["content"].as_str().unwrap(), event["msgid"].as_str().unwrap_or(""), event["replayed"] == true)
}

#[tokio::test(start_paused = true)]
async fn after_a_break_what_was_said_meanwhile_is_told_once_and_marked() {
    let (mut world, server) = in_a().await;
    let mut server = comes_back(&mut world, server, "CHATHISTORY=50 MSGREFTYPES=timestamp,msgid").await;
    // it is asked for with an overlap, and said live meanwhile
    server.is_asked_for_history(&format!("timestamp={}", ago(110.0)), 50).await;
    server.says(&line("msgid=live;", 1.0, "live")).await;
    assert_eq!(content_and_id(&world.event("chat.irc.#a.chat").await), ("live", "live", false));
    let batch = "batch=h;";
    server
        .tells(&[
            line(&format!("{batch}msgid=before;"), 100.0, "before"),
            line(&format!("{batch}msgid=m1;account=al;"), 60.0, "pubbot: meanwhile"),
            format!("@{batch}msgid=own;time={} :pubbot!pub@bot.host PRIVMSG #a :my own", ago(50.0)),
            format!("@{batch}msgid=m2;time={} :bob!b@h NOTICE #a :look", ago(40.0)),
            format!("@{batch}msgid=j;time={} :carol!c@h JOIN #a", ago(30.0)),
            line(&format!("{batch}msgid=live;"), 1.0, "live"),
        ])
        .await;
    let event = world.event("chat.irc.#a.chat").await;
    assert_eq!(content_and_id(&event), ("meanwhile", "m1", true));
    assert_eq!((&event["at"], &event["account"], &event["direct"]), (&json!(ago(60.0)), &json!("al"), &json!(true)));
    assert_eq!(content_and_id(&world.event("chat.irc.#a.notice").await), ("look", "m2", true));
    // until there is no more
    server.is_asked_for_history("msgid=live", 50).await;
    server.tells(&[]).await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_is_the_same_event_whoever_hears_of_it_and_whenever() {
    let (mut world, mut server) = World::in_a_with(CAPABILITIES, network()).await;
    server.says(&line("msgid=1;", 5.0, "hi")).await;
    let live = world.event("chat.irc.#a.chat").await["id"].clone();
    world.ends(server).await;
    let (mut world, mut server) = World::in_a_with(CAPABILITIES, network()).await;
    server.tells(&[line("batch=h;msgid=1;", 5.0, "hi"), line("batch=h;msgid=2;", 5.0, "hi")]).await;
    assert_eq!(world.event("chat.irc.#a.chat").await["id"], live);
    assert_ne!(world.event("chat.irc.#a.chat").await["id"], live);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn pages_are_as_long_as_the_server_allows_and_go_on_by_time_where_messages_have_no_ids() {
    let (mut world, server) = in_a().await;
    let mut server = comes_back(&mut world, server, "CHATHISTORY=2 MSGREFTYPES=timestamp").await;
    server.is_asked_for_history(&format!("timestamp={}", ago(110.0)), 2).await;
    server.tells(&[line("batch=h;", 60.0, "1"), line("batch=h;", 59.0, "2")]).await;
    // another one may be of the same millisecond
    server.is_asked_for_history(&format!("timestamp={}", ago(59.001)), 2).await;
    server.tells(&[line("batch=h;", 59.0, "2"), line("batch=h;", 59.0, "3")]).await;
    server.fence().await;
    for text in ["1", "2", "3"] {
        assert_eq!(content_and_id(&world.event("chat.irc.#a.chat").await), (text, "", true));
    }
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_the_last_one_is_not_followed_by_a_question() {
    let (mut world, server) = in_a().await;
    let mut server = comes_back(&mut world, server, "CHATHISTORY=0").await;
    server.is_asked_for_history(&format!("timestamp={}", ago(110.0)), 100).await;
    server.says("@draft/chathistory-end :irc.test BATCH +h chathistory #A").await;
    server.says(&line("batch=h;msgid=1;", 60.0, "1")).await;
    server.says(":irc.test BATCH -h").await;
    world.event("chat.irc.#a.chat").await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn of_one_channel_a_thousand_messages_are_asked_for_and_none_older_than_a_day() {
    let (mut world, mut server) = World::in_a_with(CAPABILITIES, network()).await;
    server.says(&line("msgid=0;", 90_000.0, "the day before yesterday")).await;
    world.event("chat.irc.#a.chat").await;
    drop(server);
    let mut server = comes_back_to(&mut world, "CHATHISTORY=1000 MSGREFTYPES=msgid,timestamp").await;
    server.is_asked_for_people(86_400.0, 50).await;
    server.says(":irc.test BATCH +p draft/chathistory-targets").await;
    server.says(":irc.test BATCH -p").await;
    let mut after = format!("timestamp={}", ago(86_400.0));
    for page in 0..10 {
        server.is_asked_for_history(&after, 100).await;
        let id = |n| page * 100 + n + 1;
        let lines: Vec<_> = (0..100).map(|n| line(&format!("batch=h;msgid={};", id(n)), 9_000.0, "x")).collect();
        server.tells(&lines).await;
        after = format!("msgid={}", id(99));
    }
    server.fence().await;
    for n in 1..=1_000 {
        assert_eq!(world.event("chat.irc.#a.chat").await["msgid"], n.to_string());
    }
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn who_said_something_in_private_is_asked_for_too() {
    let (mut world, server) = in_a().await;
    drop(server);
    let mut server = comes_back_to(&mut world, "CHATHISTORY=50").await;
    server.is_asked_for_people(110.0, 50).await;
    server.says(":irc.test BATCH +p draft/chathistory-targets").await;
    for name in ["#a", "Bob"] {
        server.says(&format!("@batch=p :irc.test CHATHISTORY TARGETS {name} {}", ago(60.0))).await;
    }
    server.says(":irc.test BATCH -p").await;
    server.is_asked_for_history(&format!("timestamp={}", ago(110.0)), 50).await;
    server.tells(&[]).await;
    server.hears(&format!("CHATHISTORY AFTER Bob timestamp={} 50", ago(110.0))).await;
    server.says("@draft/chathistory-end :irc.test BATCH +b chathistory Bob").await;
    server.says(&format!("@batch=b;time={} :Bob!b@h PRIVMSG pubbot :psst", ago(60.0))).await;
    server.says(&format!("@batch=b;time={} :pubbot!pub@bot.host PRIVMSG Bob :what", ago(59.0))).await;
    server.says(":irc.test BATCH -b").await;
    let event = world.event("chat.irc.bob.chat").await;
    assert_eq!((&event["private"], &event["replayed"]), (&json!(true), &json!(true)));
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn questions_wait_for_the_flood_budget() {
    let flood = Flood::Budget { burst: 3, per_second: 0.25 };
    let (mut world, mut server) = World::in_a_with(CAPABILITIES, Network { flood, ..network() }).await;
    server.says(&line("msgid=before;", 100.0, "before")).await;
    world.event("chat.irc.#a.chat").await;
    drop(server);
    let mut server = comes_back_to(&mut world, "CHATHISTORY=50").await;
    let mut asked = Vec::new();
    while asked.len() < 3 {
        let line = server.line().await;
        if line.starts_with("CHATHISTORY TARGETS") {
            server.says("FAIL CHATHISTORY UNKNOWN_COMMAND TARGETS :Unknown command").await;
        } else if line.starts_with("CHATHISTORY") {
            let text = line_of_page(asked.len());
            server.tells(&[text]).await;
        } else {
            continue;
        }
        asked.push(Instant::now());
    }
    let pauses: Vec<_> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(pauses.iter().all(|pause| *pause >= Duration::from_millis(3_900)), "{pauses:?}");
}

fn line_of_page(n: usize) -> String {
    line(&format!("batch=h;msgid=p{n};"), 60.0 - n as f64, "x")
}

#[tokio::test(start_paused = true)]
async fn a_server_that_will_not_tell_or_never_answers_is_asked_no_more() {
    let (mut world, server) = in_a().await;
    drop(server);
    let mut server = comes_back_to(&mut world, "CHATHISTORY=50").await;
    server.is_asked_for_people(110.0, 50).await;
    server.says("FAIL CHATHISTORY UNKNOWN_COMMAND TARGETS :Unknown command").await;
    server.is_asked_for_history(&format!("timestamp={}", ago(110.0)), 50).await;
    server.hears_nothing_for(Duration::from_secs(1_000)).await;
    // what came too late is no page of any question, but still no live line
    server.tells(&[line("batch=h;msgid=1;", 60.0, "1")]).await;
    assert_eq!(world.event("chat.irc.#a.chat").await["replayed"], true);
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_was_not_closed_is_asked_for_again_on_the_next_connection() {
    let (mut world, server) = in_a().await;
    let mut server = comes_back(&mut world, server, "CHATHISTORY=50").await;
    server.is_asked_for_history(&format!("timestamp={}", ago(110.0)), 50).await;
    server.says(&line("msgid=live;", 1.0, "live")).await;
    world.event("chat.irc.#a.chat").await;
    drop(server);
    let mut server = comes_back_to(&mut world, "CHATHISTORY=50").await;
    server.is_asked_for_people(110.0, 50).await;
    server.says("FAIL CHATHISTORY UNKNOWN_COMMAND TARGETS :Unknown command").await;
    server.is_asked_for_history(&format!("timestamp={}", ago(110.0)), 50).await;
    server.tells(&[]).await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_knows_since_when_there_is_a_gap() {
    for stopped in [false, true] {
        let (world, mut server) = in_a().await;
        let broker = world.broker.clone();
        if stopped {
            world.leaves(server).await;
        } else {
            // it is written down at a modest rate
            sleep(Duration::from_secs(6)).await;
            server.fence().await;
            world.dies().await;
        }
        goes_on_from_there(broker).await;
    }
}

async fn goes_on_from_there(broker: Arc<Shaky>) {
    let mut world = World::on(broker, network()).await;
    let mut server = comes_back_to(&mut world, "CHATHISTORY=50").await;
    server.is_asked_for_people(110.0, 50).await;
    server.says("FAIL CHATHISTORY UNKNOWN_COMMAND TARGETS :Unknown command").await;
    server.is_asked_for_history(&format!("timestamp={}", ago(110.0)), 50).await;
    server.tells(&[line("batch=h;msgid=before;", 100.0, "before"), line("batch=h;msgid=m;", 60.0, "missed")]).await;
    assert_eq!(content_and_id(&world.event("chat.irc.#a.chat").await), ("missed", "m", true));
    server.is_asked_for_history(&format!("timestamp={}", ago(60.001)), 50).await;
    server.tells(&[]).await;
    server.fence().await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_learns_late_since_when_there_is_a_gap_asks_then() {
    let (world, server) = in_a().await;
    let broker = world.broker.clone();
    world.leaves(server).await;
    // listening can't wait for so long
    broker.read_takes.store(5_000, Ordering::Relaxed);
    let mut world = World::on(broker, network()).await;
    let mut server = comes_back_to(&mut world, "CHATHISTORY=50").await;
    server.says(&line("msgid=live;", 1.0, "live")).await;
    assert_eq!(content_and_id(&world.event("chat.irc.#a.chat").await), ("live", "live", false));
    server.hears_nothing_for(Duration::from_secs(10)).await;
    server.says(&line("msgid=later;", 1.0, "later")).await;
    server.is_asked_for_people(110.0, 50).await;
    server.says("FAIL CHATHISTORY UNKNOWN_COMMAND TARGETS :Unknown command").await;
    server.is_asked_for_history(&format!("timestamp={}", ago(110.0)), 50).await;
    let page = [("before", 100.0), ("missed", 60.0), ("live", 1.0), ("later", 1.0)];
    server.tells(&page.map(|(text, ago)| line(&format!("batch=h;msgid={text};"), ago, text))).await;
    assert_eq!(content_and_id(&world.event("chat.irc.#a.chat").await), ("later", "later", false));
    assert_eq!(content_and_id(&world.event("chat.irc.#a.chat").await), ("missed", "missed", true));
    world.dies().await;
}

#[tokio::test(start_paused = true)]
async fn a_network_without_all_that_it_takes_is_not_asked() {
    for capabilities in [&["message-tags", "batch", "server-time"][..], &["message-tags", "server-time"]] {
        let (mut world, mut server) = World::in_a_with(capabilities, network()).await;
        server.says(&line("msgid=1;", 100.0, "before")).await;
        world.event("chat.irc.#a.chat").await;
        drop(server);
        let mut server = world.reenters(capabilities).await;
        server.fence().await;
        world.ends(server).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_bouncer_tells_unasked_is_replayed_too() {
    let mut world = World::new().await;
    let mut server = world.server().await;
    server.hears_exactly("CAP LS 302").await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.znc CAP * LS :batch server-time").await;
    server.hears("CAP REQ :batch server-time").await;
    server.says(":irc.znc CAP * ACK :batch server-time").await;
    server.hears("CAP END").await;
    server.says(&format!("@time={} :irc.znc 001 pubbot :Welcome", ago(0.0))).await;
    server.says(":irc.znc 422 pubbot :no motd").await;
    server.hears("JOIN #secret,#a sesame").await;
    server.lets_in("#a", "pubbot").await;
    world.event("chat.irc.#a.join").await;
    world.event("chat.irc.#a.names").await;
    server.says(":irc.znc BATCH +z znc.in/playback #a").await;
    server.says(&line("batch=z;", 70.0, "in a batch")).await;
    server.says(":irc.znc BATCH -z").await;
    // without one the server's own clock tells
    server.says(&line("", 61.0, "long ago")).await;
    server.says(&line("", 59.0, "now, by another server's clock")).await;
    for (text, replayed) in [("in a batch", true), ("long ago", true), ("now, by another server's clock", false)] {
        assert_eq!(content_and_id(&world.event("chat.irc.#a.chat").await), (text, "", replayed));
    }
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_we_said_before_proves_nothing_and_old_questions_are_not_answered() {
    let capabilities = &["batch", "echo-message", "server-time"];
    let (mut world, mut server) = World::in_a_with(capabilities, network()).await;
    world.answers(json!({"channel": "#a", "content": "hello"})).await;
    assert_eq!(server.said().await, "hello");
    server.says(":irc.test BATCH +h chathistory #a").await;
    server.says(&format!("@batch=h;time={} :pubbot!pub@bot.host PRIVMSG #a :hello", ago(60.0))).await;
    server.says(&format!("@batch=h;time={} :bob!b@h PRIVMSG pubbot :\x01VERSION\x01", ago(60.0))).await;
    server.says(":irc.test BATCH -h").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.unsaid(), 1, "it is not proved");
    server.says(":pubbot!pub@bot.host PRIVMSG #a :hello").await;
    world.settled(&mut server).await;
    assert!(tokio::time::timeout(Duration::from_secs(5), world.any_event()).await.is_err());
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn the_lines_of_one_message_are_one_event() {
    let capabilities = &["message-tags", "batch", "server-time", "draft/multiline"];
    let (mut world, mut server) = World::in_a_with(capabilities, network()).await;
    server.says(&format!("@msgid=1;time={} :alice!a@h BATCH +1 draft/multiline #a", ago(1.0))).await;
    server.says("@batch=1 :alice!a@h PRIVMSG #a :pubbot: first").await;
    server.says("@batch=1 :alice!a@h PRIVMSG #a :sec").await;
    server.says(":bob!b@h PRIVMSG #a :beside").await;
    server.says("@batch=1;draft/multiline-concat :alice!a@h PRIVMSG #a :ond").await;
    server.says(":irc.test BATCH -1").await;
    assert_eq!(world.event("chat.irc.#a.chat").await["content"], "beside");
    let event = world.event("chat.irc.#a.chat").await;
    assert_eq!(content_and_id(&event), ("first\nsecond", "1", false));
    assert_eq!((&event["direct"], &event["at"]), (&json!(true), &json!(ago(1.0))));
    world.ends(server).await;
}
