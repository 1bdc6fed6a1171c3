//! One speaker: who has the lock speaks, and under the bot's own nick alone, unless nobody else can be speaking.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Broker, boot_time};
use protocol::Pattern;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::world::{AN_HOUR, Server, Shaky, World, network};
use crate::irc::{Answers, Channel, Network};

const A_WHILE: Duration = Duration::from_secs(30);

fn reply(text: &str) -> Value {
    json!({"channel": "#a", "content": text})
}

/// A world whose lock is leased for a time, and whose bot is in `#a`.
async fn leasing() -> (World, Server) {
    World::on(Shaky::leasing(), network()).await.enters(&[]).await
}

/// A server gives the bot another nick than its own.
async fn registers_as(server: &mut Server, nick: &str) {
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 433 * pubbot :Nickname is already in use").await;
    server.hears(&format!("NICK {nick}")).await;
    server.says(&format!(":irc.test 001 {nick} :Welcome {nick}!pub@bot.host")).await;
    server.says(&format!(":irc.test 422 {nick} :no motd")).await;
}

/// The bot asks who has its nick: somebody.
async fn finds_its_nick_taken(server: &mut Server, nick: &str) {
    server.hears("ISON pubbot").await;
    server.says(&format!(":irc.test 303 {nick} :pubbot")).await;
}

/// The bot asks who has its nick: nobody. Then it asks for it.
async fn finds_its_nick_free(server: &mut Server, nick: &str) {
    server.hears("ISON pubbot").await;
    server.says(&format!(":irc.test 303 {nick} :")).await;
    server.hears("NICK pubbot").await;
}

#[tokio::test(start_paused = true)]
async fn a_second_connector_does_not_even_dial_until_the_first_has_stopped() {
    let (first, mut server) = World::in_a().await;
    let mut second = World::on(first.broker.clone(), network()).await;
    let long = Duration::from_secs(1_000);
    tokio::join!(second.dials_nobody_for(long), server.hears_nothing_for(long));
    first.answers(json!({"id": Uuid::from_u128(1), "channel": "#a", "content": "first"})).await;
    server.hears("PRIVMSG #a :first").await;
    first.settled(&mut server).await;
    first.leaves(server).await;
    let (second, mut server) = second.enters(&[]).await;
    second.answers(json!({"id": Uuid::from_u128(2), "channel": "#a", "content": "second"})).await;
    server.hears("PRIVMSG #a :second").await;
    second.settled(&mut server).await;
    second.leaves(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_is_stopped_ends_at_once() {
    let (first, server) = World::in_a().await;
    let second = World::on(first.broker.clone(), network()).await;
    tokio::time::sleep(A_WHILE).await;
    let start = Instant::now();
    second.stop.cancel();
    second.result().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
    first.leaves(server).await;
}

#[tokio::test(start_paused = true)]
async fn when_the_lease_lapses_nothing_is_said_and_replies_are_given_back_until_it_is_extended() {
    let (world, mut server) = leasing().await;
    world.answers(reply("before")).await;
    server.hears("PRIVMSG #a :before").await;
    world.settled(&mut server).await;
    world.broker.lease().extend(boot_time(), Duration::ZERO);
    world.answers(reply("meanwhile")).await;
    server.hears_nothing_for(A_WHILE).await;
    // nobody consumes: another one gets it
    let mut other = world.broker.inner.consume(world.broker.topology().replies("irc", "test"), 1).await.unwrap();
    let given_back = tokio::time::timeout(A_WHILE, other.next()).await.unwrap().unwrap();
    given_back.requeue();
    drop(other);
    world.broker.lease().extend(boot_time(), AN_HOUR);
    server.hears("PRIVMSG #a :meanwhile").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_is_being_said_when_the_lease_lapses_goes_on_after_it() {
    let (world, mut server) = leasing().await;
    world.answers(json!({"id": Uuid::from_u128(1), "channel": "#a", "content": ["1", "2", "3", "4", "5"]})).await;
    for n in 1..=4 {
        server.hears_exactly(&format!("PRIVMSG #a :{n}")).await;
    }
    let fence = server.is_asked_for_a_fence().await;
    world.broker.lease().extend(boot_time(), Duration::ZERO);
    server.says(&format!("PONG :{fence}")).await;
    server.hears_nothing_for(A_WHILE).await;
    assert_eq!(world.unsaid(), 1);
    world.broker.lease().extend(boot_time(), AN_HOUR);
    server.hears("PRIVMSG #a :5").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_lost_and_got_back_keeps_the_connection_and_reads_what_others_said() {
    let (world, mut server) = leasing().await;
    world.broker.lease().lose();
    let id = Uuid::from_u128(1);
    world.answers(json!({"id": id, "channel": "#a", "content": "said by another"})).await;
    server.hears_nothing_for(Duration::from_secs(6)).await;
    world.puts("pubbot.said.irc.test", json!({"said": [{"id": id}]}).to_string().as_bytes()).await;
    world.broker.locks.add_permits(1);
    world.answers(reply("new")).await;
    server.hears("PRIVMSG #a :new").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_somebody_else_has_got_ends_the_connection_once_that_is_certain() {
    let (mut world, mut server) = leasing().await;
    let lost = Instant::now();
    world.broker.lease().lose();
    world.answers(reply("not mine")).await;
    server.hears("QUIT :pubbot").await;
    assert_eq!(lost.elapsed().as_secs(), 22);
    server.hears_the_end().await;
    drop(server);
    world.dials_nobody_for(A_WHILE).await;
    assert_eq!(world.unsaid(), 1);
    world.broker.locks.add_permits(1);
    let mut server = world.reenters(&[]).await;
    server.hears("PRIVMSG #a :not mine").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_away_a_lost_lock_is_nobody_elses() {
    let (world, mut server) = leasing().await;
    world.broker.is_away.store(true, Ordering::Relaxed);
    world.broker.lease().lose();
    server.hears_nothing_for(AN_HOUR / 2).await;
    world.broker.is_away.store(false, Ordering::Relaxed);
    let back = Instant::now();
    let mut line = server.line().await;
    while line == "PING :pubbot" {
        server.says("PONG :pubbot").await;
        line = server.line().await;
    }
    assert_eq!(line, "QUIT :pubbot");
    // it answered last up to a second before
    assert!((21..=23).contains(&back.elapsed().as_secs()), "{:?}", back.elapsed());
    drop(server);
    world.stop.cancel();
    world.result().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn under_another_nick_it_joins_nothing_and_says_nothing_until_it_has_its_own() {
    let mut world = World::on(Shaky::leasing(), network()).await;
    let mut server = world.server().await;
    registers_as(&mut server, "pubbot_").await;
    world.answers(reply("hi")).await;
    for _ in 0..8 {
        finds_its_nick_taken(&mut server, "pubbot_").await;
    }
    assert_eq!(world.unsaid(), 1);
    finds_its_nick_free(&mut server, "pubbot_").await;
    server.says(":pubbot_!pub@bot.host NICK :pubbot").await;
    server.hears("JOIN #secret,#a sesame").await;
    server.hears("PRIVMSG #a :hi").await;
    world.settled(&mut server).await;
    server.hears_nothing_for(A_WHILE).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_session_under_an_unbroken_lock_it_speaks_beside_its_own_ghost() {
    let (mut world, server) = leasing().await;
    drop(server);
    world.answers(reply("hi")).await;
    let mut server = world.server().await;
    registers_as(&mut server, "pubbot_").await;
    server.hears("JOIN #secret,#a sesame").await;
    server.hears("PRIVMSG #a :hi").await;
    finds_its_nick_taken(&mut server, "pubbot_").await;
    finds_its_nick_free(&mut server, "pubbot_").await;
    server.says(":pubbot_!pub@bot.host NICK :pubbot").await;
    server.hears_nothing_for(A_WHILE).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn beside_its_own_ghost_it_speaks_no_more_once_the_lock_was_broken() {
    let (mut world, server) = leasing().await;
    drop(server);
    let mut server = world.server().await;
    registers_as(&mut server, "pubbot_").await;
    server.hears("JOIN #secret,#a sesame").await;
    world.answers(reply("hi")).await;
    server.hears("PRIVMSG #a :hi").await;
    world.settled(&mut server).await;
    // another one may have had it, and have the nick now
    world.broker.lease().lose();
    world.broker.locks.add_permits(1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.answers(reply("under another nick")).await;
    for _ in 0..8 {
        finds_its_nick_taken(&mut server, "pubbot_").await;
    }
    assert_eq!(world.unsaid(), 1);
    finds_its_nick_free(&mut server, "pubbot_").await;
    server.says(":pubbot_!pub@bot.host NICK :pubbot").await;
    server.hears("PRIVMSG #a :under another nick").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_session_and_a_lost_lock_the_nick_must_be_its_own_again() {
    let (mut world, server) = leasing().await;
    world.dialer.refusals.store(3, Ordering::Relaxed);
    world.broker.lease().lose();
    drop(server);
    world.broker.locks.add_permits(1);
    world.answers(reply("hi")).await;
    let mut server = world.server().await;
    registers_as(&mut server, "pubbot_").await;
    finds_its_nick_free(&mut server, "pubbot_").await;
    server.says(":pubbot_!pub@bot.host NICK :pubbot").await;
    server.hears("JOIN #secret,#a sesame").await;
    server.hears("PRIVMSG #a :hi").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_never_might_speak_proves_nothing_about_the_nick() {
    let mut world = World::on(Shaky::leasing(), network()).await;
    // the first is lost before it registers, the second under a nick that must not speak
    drop(world.server().await);
    let mut server = world.server().await;
    registers_as(&mut server, "pubbot_").await;
    finds_its_nick_taken(&mut server, "pubbot_").await;
    drop(server);
    let mut server = world.server().await;
    registers_as(&mut server, "pubbot_").await;
    finds_its_nick_taken(&mut server, "pubbot_").await;
    finds_its_nick_free(&mut server, "pubbot_").await;
    server.says(":pubbot_!pub@bot.host NICK :pubbot").await;
    server.hears("JOIN #secret,#a sesame").await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_renamed_by_force_falls_silent_and_gives_replies_back() {
    let (mut world, mut server) = leasing().await;
    server.says(":pubbot!pub@bot.host NICK Guest1").await;
    world.event("chat.irc.#a.nick").await;
    let taken = Instant::now();
    world.answers(reply("hi")).await;
    finds_its_nick_taken(&mut server, "Guest1").await;
    assert_eq!(taken.elapsed().as_secs(), 30, "nobody fights with us");
    let mut other = world.broker.inner.consume(world.broker.topology().replies("irc", "test"), 1).await.unwrap();
    tokio::time::timeout(A_WHILE, other.next()).await.unwrap().unwrap().requeue();
    drop(other);
    assert_eq!(world.unsaid(), 1);
    finds_its_nick_free(&mut server, "Guest1").await;
    server.says(":Guest1!pub@bot.host NICK pubbot").await;
    world.event("chat.irc.#a.nick").await;
    server.hears("PRIVMSG #a :hi").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn with_the_only_broker_there_can_be_any_nick_will_do() {
    let (mut world, mut server) = World::in_a().await;
    server.says(":pubbot!pub@bot.host NICK Guest1").await;
    world.event("chat.irc.#a.nick").await;
    world.answers(reply("hi")).await;
    server.hears("PRIVMSG #a :hi").await;
    world.settled(&mut server).await;
    finds_its_nick_free(&mut server, "Guest1").await;
    world.ends(server).await;
}

/// Notes what the connector warns of, on this thread.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn about(&self, what: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|warning| warning.contains(what)).count()
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{value:?} "));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

const SHARED: &str = "another session has the same nick";

#[tokio::test(start_paused = true)]
async fn on_a_server_that_shares_nicks_it_warns_once_and_speaks_as_the_lock_allows() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let mut world = World::on(Shaky::leasing(), network()).await;
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 001 pubbot :Welcome pubbot!pub@bot.host\r\n:irc.test 422 pubbot :no motd").await;
    // it is where another session of it is, before it could ask
    server.lets_in("#a", "pubbot alice").await;
    server.lets_in("#b", "pubbot alice").await;
    server.hears("JOIN #secret,#a sesame").await;
    world.answers(reply("hi")).await;
    server.hears("PRIVMSG #a :hi").await;
    world.settled(&mut server).await;
    assert_eq!(warnings.about(SHARED), 1);
    for _ in 0..4 {
        world.any_event().await;
    }
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_another_session_says_under_the_same_nick_is_warned_of_once_and_proves_nothing() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let (world, mut server) = leasing().await;
    assert_eq!(warnings.about(SHARED), 0);
    world.answers(reply("hi")).await;
    server.hears_exactly("PRIVMSG #a :hi").await;
    let fence = server.is_asked_for_a_fence().await;
    for _ in 0..3 {
        server.says(":pubbot!pub@bot.host PRIVMSG #a :I say").await;
    }
    server.hears_nothing_for(Duration::from_secs(3)).await;
    assert_eq!((world.unsaid(), warnings.about(SHARED)), (1, 1));
    server.says(&format!("PONG :{fence}")).await;
    world.settled(&mut server).await;
    world.answers(reply("still there")).await;
    server.hears("PRIVMSG #a :still there").await;
    world.settled(&mut server).await;
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_bot_says_to_itself_is_no_other_session() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let (world, mut server) = World::in_a().await;
    world.answers(json!({"channel": "pubbot", "content": "psst"})).await;
    server.hears_exactly("PRIVMSG pubbot :psst").await;
    server.says(":pubbot!pub@bot.host PRIVMSG pubbot :psst").await;
    world.settled(&mut server).await;
    assert_eq!(warnings.about(SHARED), 0);
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_of_many_sessions_each_joining_as_usual_is_no_shared_nick() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let channels = ["#a", "#b"].map(|name| Channel { name: name.into(), key: None, answers: Answers::All }).to_vec();
    let mut world = World::of(Network { channels, ..network() }).await;
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    server.says(":irc.test 001 pubbot :Welcome pubbot!pub@bot.host").await;
    server.hears("JOIN #a,#b").await;
    server.lets_in("#a", "pubbot").await;
    server.lets_in("#b", "pubbot").await;
    server.says(":pubbot!pub@bot.host PART #a").await;
    server.lets_in("#a", "pubbot").await;
    server.fence().await;
    assert_eq!(warnings.about(SHARED), 0);
    for _ in 0..7 {
        world.any_event().await;
    }
    world.ends(server).await;
}

#[tokio::test(start_paused = true)]
async fn gaining_and_losing_the_network_are_events_with_session_nick_and_reason() {
    let broker = Arc::new(Shaky::default());
    let all = broker.topology().tail(vec![Pattern::parse("connection.irc.test.*").unwrap()]);
    let mut tail = broker.inner.consume(all, 100).await.unwrap();
    let mut next = async || {
        let delivery = tokio::time::timeout(AN_HOUR, tail.next()).await.unwrap().unwrap();
        let found = (delivery.key.to_string(), serde_json::from_slice::<Value>(&delivery.body).unwrap());
        delivery.acknowledge();
        found
    };
    let mut world = World::on(broker.clone(), network()).await;
    // never up, never down
    drop(world.server().await);
    let mut server = world.server().await;
    registers_as(&mut server, "pubbot_").await;
    let (key, up) = next().await;
    assert_eq!(
        (key.as_str(), &up["nick"], &up["network"]),
        ("connection.irc.test.up", &json!("pubbot_"), &json!("test"))
    );
    assert!(up["reason"].is_null());
    server.says(":pubbot_!pub@bot.host NICK pubbot").await;
    server.says("ERROR :Closing Link: K-lined").await;
    drop(server);
    let (key, down) = next().await;
    assert_eq!(
        (key.as_str(), &down["nick"], &down["session"]),
        ("connection.irc.test.down", &json!("pubbot"), &up["session"])
    );
    assert_eq!(down["reason"], "the server closed the connection: Closing Link: K-lined");

    let mut server = world.reenters(&[]).await;
    let (key, up) = next().await;
    assert_eq!((key.as_str(), &up["nick"]), ("connection.irc.test.up", &json!("pubbot")));
    assert_ne!(up["session"], down["session"]);
    world.stop.cancel();
    server.hears("QUIT :pubbot").await;
    drop(server);
    let (key, down) = next().await;
    assert_eq!(
        (key.as_str(), &down["session"], &down["reason"]),
        ("connection.irc.test.down", &up["session"], &json!("stopped"))
    );
    world.result().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_network_that_was_never_gained_is_not_lost_by_a_stop() {
    let broker = Arc::new(Shaky::default());
    let all = broker.topology().tail(vec![Pattern::parse("connection.#").unwrap()]);
    let mut tail = broker.inner.consume(all, 100).await.unwrap();
    let mut world = World::on(broker.clone(), network()).await;
    let mut server = world.server().await;
    server.hears("NICK pubbot").await;
    server.hears("USER pub 0 * :A bot").await;
    world.stop.cancel();
    server.hears("QUIT :pubbot").await;
    drop(server);
    world.result().await.unwrap();
    broker.inner.close().await;
    assert!(tail.next().await.is_none());
}
