//! What plugins remember, and transactional handlers: an event that comes twice changes nothing twice, and what is said of
//! it has the same id.

#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, Embedded, Message, Topology};
use protocol::RoutingKey;
use serde_json::{Value, json};
use store::sea_orm::ConnectionTrait;
use store::sea_orm_migration;
use store::sea_orm_migration::prelude::*;
use store::testing::Temporary;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::testing::FakeChat;
use worker::{Args, BuildError, Error, Event, Plugin, Reply, RunError, Store, Transaction, Worker, command, event};

const PATIENCE: Duration = Duration::from_secs(30);

async fn count(store: Store) -> Result<String, Error> {
    let count = store.update("count", |count: Option<u64>| count.unwrap_or(0) + 1).await?;
    Ok(format!("so far: {count}"))
}

fn counter() -> Plugin {
    Plugin::new("counter").on(command("count").transactional(), count)
}

async fn chat(store: &Temporary, plugin: Plugin) -> FakeChat {
    FakeChat::with_worker(Worker::new("main").plugin(plugin).database((**store).clone())).await
}

#[tokio::test]
async fn a_plugin_remembers_values_by_key_and_sees_none_of_another_plugin() {
    async fn remember(args: Args, store: Store) -> Result<String, Error> {
        let (key, value) = args.split_once('=').ok_or_else(|| Error::tell("key=value, please"))?;
        store.set(key, value).await?;
        let all: Vec<(String, String)> = store.list("").await?;
        Ok(format!("{all:?} {:?}", store.get::<String>("a").await?))
    }
    async fn forget(args: Args, store: Store) -> Result<String, Error> {
        Ok(format!("{} {}", store.remove(&args).await?, store.remove(&args).await?))
    }
    let store = Temporary::sqlite().await;
    let plugins = ["one", "two"].map(|name| {
        let word = |verb: &str| format!("{verb}{name}");
        Plugin::new(name).on(command(&word("set")), remember).on(command(&word("del")), forget)
    });
    let worker = Worker::new("main").plugins(plugins).database((*store).clone());
    let mut chat = FakeChat::with_worker(worker).await;
    chat.says("alice", "!setone b=1").await.hears(r#"[("b", "1")] None"#);
    chat.says("alice", "!setone a=2").await.hears(r#"[("a", "2"), ("b", "1")] Some("2")"#);
    chat.says("alice", "!settwo a=3").await.hears(r#"[("a", "3")] Some("3")"#);
    chat.says("alice", "!delone a").await.hears("true false");
    chat.says("alice", "!setone b=5").await.hears(r#"[("b", "5")] None"#);
}

/// The first worker has committed, and dies before it can acknowledge: another one gets the event.
#[tokio::test]
async fn an_event_that_comes_to_another_worker_changes_nothing_twice() {
    let store = Temporary::sqlite().await;
    chat(&store, counter()).await.says("alice", "!count").await.hears("so far: 1");
    // the same event, by its id
    let mut again = chat(&store, counter()).await;
    again.says("alice", "!count").await.hears("so far: 1");
    again.says("alice", "!count").await.hears("so far: 2");
}

#[tokio::test]
async fn what_is_said_again_has_the_same_id_so_that_it_is_said_once() {
    async fn twice(store: Store) -> Result<Vec<Reply>, Error> {
        let count = store.update("count", |count: Option<u64>| count.unwrap_or(0) + 1).await?;
        let elsewhere = Reply::text(format!("{count}")).notice().to("test/#b".parse()?);
        Ok(vec![Reply::text(format!("run {count}")).action().to("test/#a".parse()?), elsewhere.rank(5)])
    }
    let store = Temporary::sqlite().await;
    let mut said: Vec<Vec<Value>> = Vec::new();
    for _ in 0..2 {
        let broker = Embedded::new(Topology::default());
        let mut notices = broker.consume(broker.topology().notices("irc", "test"), 10).await.unwrap();
        let worker = Worker::new("main")
            .plugin(Plugin::new("p").on(event("go").transactional(), twice))
            .networks([("test".to_owned(), "irc".to_owned())])
            .database((*store).clone());
        let stop = CancellationToken::new();
        let working = tokio::spawn(worker.attach(Arc::new(broker.clone())).await.unwrap().work(stop.clone()));
        let event = protocol::Event::new(RoutingKey::parse("go").unwrap(), Uuid::from_u128(7), &json!({})).unwrap();
        broker.publish(Message::event(event, "test", None)).await.await.unwrap();
        let mut replies = Vec::new();
        for _ in 0..2 {
            let delivery = tokio::time::timeout(PATIENCE, notices.next()).await.unwrap().unwrap();
            replies.push(serde_json::from_slice(&delivery.body).unwrap());
            delivery.acknowledge();
        }
        said.push(replies);
        stop.cancel();
        working.await.unwrap().unwrap();
    }
    assert_eq!(said[0], said[1]);
    assert_eq!((&said[0][0]["content"], &said[0][1]["rank"]), (&json!("run 1"), &json!(5)));
}

#[tokio::test]
async fn a_handler_that_fails_panics_or_tells_somebody_off_has_changed_nothing() {
    async fn shaky(args: Args, store: Store) -> Result<String, Error> {
        let count = store.update("count", |count: Option<u64>| count.unwrap_or(0) + 1).await?;
        match &*args.0 {
            "fail" => Err(std::io::Error::other("no disk").into()),
            "panic" => panic!("ouch"),
            "tell" => Err(Error::tell(format!("no: {count}"))),
            _ => Ok(count.to_string()),
        }
    }
    let store = Temporary::sqlite().await;
    let mut chat = chat(&store, Plugin::new("p").on(command("go").transactional(), shaky)).await;
    chat.says("alice", "!go").await.hears("1");
    chat.says("alice", "!go fail").await.fails().await;
    chat.says("alice", "!go panic").await.fails().await;
    chat.says("alice", "!go tell").await.hears("no: 2");
    chat.says("alice", "!go").await.hears("2");
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_taken_back_and_others_write_again() {
    async fn slow(store: Store) -> Result<(), Error> {
        store.set("a", "slow").await?;
        // whatever it waits for: its transaction waits no longer
        while store.get::<String>("a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        store.set("a", "too late").await.map_err(Error::from)
    }
    async fn quick(store: Store) -> Result<String, Error> {
        let before = store.get::<String>("a").await?;
        store.set("a", "quick").await?;
        Ok(format!("{before:?}"))
    }
    let store = Temporary::sqlite().await;
    let plugin = Plugin::new("p").on(command("slow").transactional(), slow).on(command("quick"), quick);
    let mut chat = chat(&store, plugin).await;
    chat.says("alice", "!slow").await.fails().await;
    chat.says("alice", "!quick").await.hears("None");
}

#[tokio::test]
async fn a_transactional_handler_needs_a_database() {
    let worker = Worker::new("main").plugin(counter());
    let attached = worker.attach(Arc::new(Embedded::new(Topology::default()))).await;
    let Err(RunError::Build(why @ BuildError::NoDatabase { .. })) = attached else { panic!() };
    assert!(why.to_string().contains("main/counter/count"), "{why}");
}

#[derive(DeriveMigrationName)]
struct Notes;

#[async_trait::async_trait]
impl MigrationTrait for Notes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let notes = "CREATE TABLE notes_written (text TEXT NOT NULL)";
        manager.get_connection().execute_unprepared(notes).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP TABLE notes_written").await.map(drop)
    }
}

/// A plugin with a table of its own, as its author writes it.
fn notes() -> Plugin {
    async fn note(said: Event<Value>, transaction: Transaction) -> Result<String, Error> {
        let writing = transaction.writing().await?;
        let text = said.body["text"].as_str().unwrap_or_default().replace('\'', "''");
        let on = writing.on();
        on.execute_unprepared(&format!("INSERT INTO notes_written VALUES ('{text}')")).await?;
        let all = "SELECT text FROM notes_written";
        let all = store::sea_orm::Statement::from_string(on.get_database_backend(), all);
        Ok(format!("{} notes", on.query_all_raw(all).await?.len()))
    }
    let handler = move |said, transaction| async move {
        Ok::<_, Error>(Reply::text(note(said, transaction).await?).to("test/#n".parse()?))
    };
    Plugin::new("notes").migrations(|| vec![Box::new(Notes)]).on(event("note").named("note").transactional(), handler)
}

#[tokio::test]
async fn a_plugin_has_tables_of_its_own_in_the_same_transaction() {
    let store = Temporary::sqlite().await;
    store.expect(notes().steps().unwrap());
    assert_eq!(store.migrate().await.unwrap(), ["notes/transactions"]);
    for expected in ["1 notes", "1 notes"] {
        let mut chat = chat(&store, notes()).await;
        chat.happens("note", json!({"text": "it's late"})).await.hears_in("#n", expected);
    }
}
