//! Golden files: one event of every type as it stands on the wire. What is written down there stays readable, and is
//! written again to the letter; a change here is a change of the wire's version.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;

use protocol::{
    Account, Action, Chat, Connection, DeedKind, Event, Gap, Invite, Join, Leave, Mode, MusicTrack, Names, Nick,
    ReplyContext, Request, RoutingKey, Say, Topic,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize)]
struct Golden {
    key: String,
    body: Value,
}

fn golden(name: &str) -> Golden {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Reads the file's body as `T`, writes it again, and compares.
fn stays_the_same<T: Serialize + DeserializeOwned>(name: &str) -> T {
    let Golden { key, body } = golden(name);
    let event = Event::new(RoutingKey::parse(&key).unwrap(), uuid::Uuid::nil(), &body).unwrap();
    let read: T = event.decode().unwrap_or_else(|why| panic!("{name}: {why}"));
    assert_eq!(serde_json::to_value(&read).unwrap(), body, "{name}");
    read
}

#[test]
fn every_type_of_event_reads_and_writes_its_golden_file() {
    for name in
        ["chat", "chat-direct", "chat-private", "chat-status", "chat-irc-dot", "chat-replayed", "action", "notice"]
    {
        stays_the_same::<Chat>(name);
    }
    stays_the_same::<Join>("join");
    for name in ["leave-part", "leave-quit", "leave-kicked"] {
        stays_the_same::<Leave>(name);
    }
    stays_the_same::<Nick>("nick");
    stays_the_same::<Topic>("topic");
    stays_the_same::<Mode>("mode");
    stays_the_same::<Account>("account");
    stays_the_same::<Invite>("invite");
    stays_the_same::<Invite>("invite-other");
    stays_the_same::<Names>("names");
    stays_the_same::<Connection>("connection-up");
    stays_the_same::<Connection>("connection-down");
    stays_the_same::<Gap>("gap");
    stays_the_same::<MusicTrack>("music.track");
    stays_the_same::<Value>("music.stop");
    stays_the_same::<Say>("say");
    stays_the_same::<Say>("say-tags");
}

#[test]
fn every_kind_of_action_reads_and_writes_its_golden_file() {
    for kind in DeedKind::ALL {
        let path = format!("{}/tests/golden-actions/{}.json", env!("CARGO_MANIFEST_DIR"), kind.word());
        let body = std::fs::read(path).unwrap();
        let Ok(Request::Do(action)) = Request::read(&body, ReplyContext::default()) else { panic!("{kind:?}") };
        assert_eq!((action.deed.kind(), action.deed.check()), (kind, Ok(())));
        let written: Value = serde_json::to_value::<Action>(action).unwrap();
        assert_eq!(written, serde_json::from_slice::<Value>(&body).unwrap(), "{kind:?}");
    }
}

#[test]
fn every_golden_file_has_the_key_of_its_type() {
    for file in Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").read_dir().unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let key = golden(name.trim_end_matches(".json")).key;
        let kind = name.split(['.', '-']).next().unwrap();
        assert!(RoutingKey::parse(&key).unwrap().words().any(|word| word == kind), "{name}: {key}");
    }
}

#[test]
fn fields_that_only_others_know_are_ignored_here_and_stay_in_the_event() {
    let Golden { key, mut body } = golden("chat");
    body["mood"] = "merry".into();
    let event = Event::new(RoutingKey::parse(&key).unwrap(), uuid::Uuid::nil(), &body).unwrap();
    assert_eq!(event.decode::<Chat>().unwrap().content, "hello, world");
    assert_eq!(event.decode::<Value>().unwrap()["mood"], "merry");
}

#[test]
fn a_list_of_names_from_before_there_were_accounts_topics_and_modes_is_readable() {
    let Golden { key, mut body } = golden("names");
    for new in ["topic", "topic_by", "topic_at", "modes"] {
        body.as_object_mut().unwrap().remove(new).unwrap();
    }
    body["members"] = serde_json::json!([{"nick": "alice", "prefix": "@+"}]);
    let event = Event::new(RoutingKey::parse(&key).unwrap(), uuid::Uuid::nil(), &body).unwrap();
    let names: Names = event.decode().unwrap();
    assert_eq!((names.members[0].account.as_deref(), names.topic, names.modes), (None, None, None));
}

#[test]
fn a_chat_event_from_elsewhere_needs_only_id_at_network_channel_source_and_content() {
    let body = serde_json::json!({
        "id": "0192f0c1-2345-7000-8000-000000000001", "at": "2026-11-21T12:00:00Z",
        "network": "libera", "channel": "#rust", "source": "alice", "content": "hi",
    });
    let event = Event::new(RoutingKey::parse("chat.irc.#rust.chat").unwrap(), uuid::Uuid::nil(), &body).unwrap();
    assert!(!event.decode::<Chat>().unwrap().direct);
    let mut without = body;
    without.as_object_mut().unwrap().remove("source");
    let event = Event::new(event.key, uuid::Uuid::nil(), &without).unwrap();
    assert!(event.decode::<Chat>().unwrap_err().to_string().contains("source"));
}
