//! Handlers as their authors write them: parameters, return values, errors, and what is refused at start.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use protocol::Target;
use serde::Deserialize;
use serde_json::{Value, json};
use worker::testing::FakeChat;
use worker::{
    Args, BuildError, Captures, Channel, Error, Event, Extract, Plugin, Reply, Sender, State, Worker, command, event,
    trigger,
};

#[derive(Deserialize)]
struct Sum {
    a: u32,
    b: Option<u32>,
}

async fn sum(Captures(it): Captures<Sum>) -> String {
    (it.a + it.b.unwrap_or(0)).to_string()
}

#[tokio::test]
async fn captures_are_read_as_the_types_of_the_fields_and_lines_that_do_not_fit_are_for_others() {
    let plugin = || Plugin::new("sum").on(trigger(r"sum (?<a>\d+)(?:\+(?<b>\d+))?"), sum);
    let mut chat = FakeChat::with([plugin()]).await;
    chat.says("alice", "sum 1+2").await.hears("3");
    chat.says("alice", "sum 7").await.hears("7");
    chat.says("alice", "sum 99999999999").await.hears_nothing();
}

#[tokio::test]
async fn captures_may_be_a_map() {
    async fn all(Captures(groups): Captures<BTreeMap<String, String>>) -> String {
        format!("{groups:?}")
    }
    let mut chat = FakeChat::with([Plugin::new("p").on(trigger(r"(?<x>\w)-(?<y>\w)"), all)]).await;
    chat.says("alice", "a-b").await.hears(r#"{"x": "a", "y": "b"}"#);
}

#[tokio::test]
async fn parameters_come_in_any_order_and_number() {
    async fn all(channel: Channel, args: Args, sender: Sender, state: State<u8>, event: Event<Value>) -> String {
        let same = event.body["content"] == "!all a b";
        format!(
            "{} {} {} {:?} {} {same}",
            channel.name,
            sender.nick,
            *state.0,
            args.words().collect::<Vec<_>>(),
            args.0
        )
    }
    let mut chat = FakeChat::with([Plugin::new("p").state(7u8).on(command("all"), all)]).await;
    chat.says("alice", "!all a b").await.hears("#test alice 7 [\"a\", \"b\"] a b true");
}

#[tokio::test]
async fn what_a_handler_returns_is_what_is_said() {
    async fn nothing() {}
    async fn perhaps(args: Args) -> Option<&'static str> {
        (&*args == "yes").then_some("here")
    }
    async fn several() -> Vec<Reply> {
        let elsewhere: Target = "test/#other".parse().unwrap_or_else(|_| unreachable!());
        vec![
            "one".into(),
            Reply::text("two").action(),
            Reply::text("psst").private(),
            Reply::lines(["a", "b"]).to(elsewhere),
        ]
    }
    async fn fallible(args: Args) -> Result<String, Error> {
        let number: i32 = args.parse().map_err(|_| Error::tell("that is no number"))?;
        Ok((number * 2).to_string())
    }
    let plugin = Plugin::new("p")
        .on(command("nothing"), nothing)
        .on(command("perhaps"), perhaps)
        .on(command("several"), several)
        .on(command("double"), fallible);
    let mut chat = FakeChat::with([plugin]).await;
    chat.says("alice", "!nothing").await.hears_nothing();
    chat.says("alice", "!perhaps yes").await.hears("here");
    chat.says("alice", "!perhaps no").await.hears_nothing();
    chat.says("alice", "!several").await.hears("one").sees("two");
    chat.hears_in("alice", "psst").hears_in("#other", "a\nb");
    chat.says("alice", "!double 21").await.hears("42");
    chat.says("alice", "!double x").await.hears("that is no number");
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_takes_nobody_along_and_its_event_is_set_aside() {
    async fn fails() -> Result<(), Error> {
        Err(std::io::Error::other("no disk"))?
    }
    async fn panics(args: Args) -> String {
        assert_ne!(&*args, "now", "boom");
        "fine".to_owned()
    }
    async fn steady() -> &'static str {
        "steady"
    }
    let plugin =
        Plugin::new("p").on(command("fail"), fails).on(command("panic"), panics).on(trigger("!panic|!fail"), steady);
    let mut chat = FakeChat::with([plugin]).await;
    chat.says("alice", "!fail").await.hears("steady").fails().await;
    chat.says("alice", "!panic now").await.hears("steady").fails().await;
    chat.says("alice", "!panic later").await.hears("fine").hears("steady");
}

#[tokio::test]
async fn parameters_that_the_source_cannot_give_are_an_error_and_not_a_panic() {
    async fn wants_a_sender(_: Sender) {}
    async fn wants_state(_: State<String>) {}
    let plugin = Plugin::new("p").on(event("music.stop"), wants_a_sender).on(command("state"), wants_state);
    let mut chat = FakeChat::with([plugin]).await;
    chat.happens("music.stop", json!({})).await.fails().await;
    chat.says("alice", "!state").await.fails().await;
}

#[tokio::test]
async fn a_reply_without_a_place_and_one_to_an_unknown_network_fail() {
    async fn back() -> &'static str {
        "to whom?"
    }
    async fn away() -> Reply {
        Reply::text("x").to(Target { network: "mars".into(), channel: "#c".into() })
    }
    let plugin = Plugin::new("p").on(event("music.stop"), back).on(command("away"), away);
    let mut chat = FakeChat::with([plugin]).await;
    chat.happens("music.stop", json!({})).await.fails().await;
    chat.says("alice", "!away").await.fails().await;
}

#[tokio::test]
async fn triggers_and_commands_hear_what_is_said_and_events_hear_what_they_are_bound_to() {
    async fn heard(event: Event<Value>) -> Reply {
        Reply::text(format!("heard {}", event.key)).to(Target { network: "test".into(), channel: "#log".into() })
    }
    async fn hello() -> &'static str {
        "hello"
    }
    let plugin = Plugin::new("p")
        .on(trigger("hi"), hello)
        .on(event("chat.*.*.join").named("joins"), heard)
        .on(event("music.#").named("music"), heard);
    let mut chat = FakeChat::with([plugin]).await;
    chat.says("alice", "oh hi").await.hears("hello");
    let notice = json!({
        "id": "0192f0c1-2345-7000-8000-000000000001", "at": "2026-11-21T12:00:00Z",
        "network": "test", "channel": "#test", "source": "alice", "content": "hi",
    });
    chat.happens("chat.irc.#test.notice", &notice).await.hears_nothing();
    chat.happens("chat.irc.#test.join", json!({"user": "bob"})).await.hears_in("#log", "heard chat.irc.#test.join");
    chat.happens("music.stop", json!({})).await.hears_in("#log", "heard music.stop");
    chat.happens("chat.irc.#test.leave", json!({"user": "bob"})).await.hears_nothing();
}

#[tokio::test]
async fn a_malformed_event_is_set_aside_and_the_next_one_is_handled() {
    async fn hello() -> &'static str {
        "hello"
    }
    let mut chat = FakeChat::with([Plugin::new("p").on(trigger("hi"), hello)]).await;
    chat.happens("chat.irc.#test.chat", json!({"content": "hi"})).await.fails().await;
    chat.happens("chat.irc.#test.chat", json!("hi")).await.fails().await;
    chat.says("alice", "hi").await.hears("hello");
}

#[tokio::test]
async fn an_author_can_make_a_parameter_of_their_own() {
    struct Shouted(String);
    impl Extract for Shouted {
        fn extract(context: &worker::Context) -> Result<Self, Error> {
            Ok(Shouted(Args::extract(context)?.to_uppercase()))
        }
    }
    async fn shout(text: Shouted) -> String {
        text.0
    }
    let mut chat = FakeChat::with([Plugin::new("p").on(command("shout"), shout)]).await;
    chat.says("alice", "!shout hey").await.hears("HEY");
}

#[tokio::test]
async fn another_command_prefix_can_be_chosen() {
    async fn hello() -> &'static str {
        "hello"
    }
    let worker = Worker::new("main").plugin(Plugin::new("p").on(command("hi"), hello)).command_prefix(".");
    let mut chat = FakeChat::with_worker(worker).await;
    chat.says("alice", ".hi").await.hears("hello");
    chat.says("alice", "!hi").await.hears_nothing();
}

async fn nothing() {}

fn refused(plugins: Vec<Plugin>) -> String {
    let error: BuildError = Worker::new("main").plugins(plugins).patterns().expect_err("it should be refused");
    error.to_string()
}

#[test]
fn two_plugins_with_one_command_are_refused_by_name() {
    let plugin = |name| Plugin::new(name).on(command("ping"), nothing);
    assert_eq!(refused(vec![plugin("a"), plugin("b")]), "the command \"ping\" is taken twice: by a/ping and by b/ping");
}

#[test]
fn a_bad_trigger_pattern_or_command_is_refused_and_named() {
    let good = || Plugin::new("good").on(trigger("fine"), nothing);
    let trigger_error = refused(vec![good(), Plugin::new("bad").on(trigger("(unclosed").named("t"), nothing)]);
    assert!(trigger_error.starts_with("plugin bad, handler t:"), "{trigger_error}");
    let large = refused(vec![good(), Plugin::new("big").on(trigger("x{1000}{1000}").named("t"), nothing)]);
    assert!(large.starts_with("plugin big, handler t:"), "{large}");
    let pattern = refused(vec![Plugin::new("bad").on(event("chat..x").named("e"), nothing)]);
    assert!(pattern.contains("\"chat..x\""), "{pattern}");
    let spaced = refused(vec![Plugin::new("bad").on(command("two words"), nothing)]);
    assert!(spaced.contains("\"two words\""), "{spaced}");
}
