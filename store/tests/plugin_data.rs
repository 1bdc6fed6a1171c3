//! What plugins remember: values by key, the inbox of transactional handlers, and tables of their own.

use std::time::Duration;

use protocol::Timestamp;
use store::plugin_data::{INBOX_KEEPS, Inbox, MAX_KEY_BYTES, MAX_LISTED, MAX_VALUE_BYTES};
use store::sea_orm::{ConnectionTrait, Statement};
use store::sea_orm_migration::prelude::*;
use store::{Engine, Error, PluginSteps, Store};
use uuid::Uuid;

crate::on_both!(
    values_are_kept_by_plugin_and_key,
    a_list_is_bounded_and_in_the_order_of_the_keys_bytes,
    what_is_too_long_or_no_key_is_refused_with_the_limit,
    a_value_of_another_type_is_an_error_that_names_the_key,
    updates_side_by_side_lose_nothing,
    an_event_is_new_in_an_inbox_once,
    of_two_that_put_an_event_into_an_inbox_at_once_one_waits,
    the_inbox_forgets_after_7_days_a_few_at_a_time,
    a_plugins_steps_are_taken_with_the_others_and_back_alone,
    a_plugins_steps_may_touch_no_table_of_others,
);

async fn values_are_kept_by_plugin_and_key(store: &Store) {
    let (one, two) = (store.data("one"), store.data("two"));
    assert_eq!(one.get::<u32>("a").await.unwrap(), None);
    one.set("a", &1).await.unwrap();
    one.set("a", &2).await.unwrap();
    two.set("a", "text with 'quotes', ? and \u{0}").await.unwrap();
    assert_eq!(one.get("a").await.unwrap(), Some(2));
    assert_eq!(two.get::<String>("a").await.unwrap().unwrap(), "text with 'quotes', ? and \u{0}");
    assert_eq!((one.remove("a").await.unwrap(), one.remove("a").await.unwrap()), (true, false));
    assert_eq!(one.get::<u32>("a").await.unwrap(), None);
    let writing = store.write().await.unwrap();
    writing.data("one").set("b", &7).await.unwrap();
    assert_eq!(writing.data("one").get("b").await.unwrap(), Some(7));
    drop(writing);
    assert_eq!(one.get::<u32>("b").await.unwrap(), None, "it was not committed");
}

async fn a_list_is_bounded_and_in_the_order_of_the_keys_bytes(store: &Store) {
    let data = store.data("p");
    for (value, key) in ["x/b", "x/B", "x/ä", "x", "y", "x0", "w/x/"].iter().enumerate() {
        data.set(key, &value).await.unwrap();
    }
    let listed: Vec<(String, usize)> = data.list("x/").await.unwrap();
    assert_eq!(listed.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["x/B", "x/b", "x/ä"]);
    let writing = store.write().await.unwrap();
    for number in 0..=MAX_LISTED {
        writing.data("many").set(&format!("{number:05}"), &number).await.unwrap();
    }
    let listed: Vec<(String, usize)> = writing.data("many").list("").await.unwrap();
    assert_eq!((listed.len(), listed[999].1), (MAX_LISTED, 999));
}

async fn what_is_too_long_or_no_key_is_refused_with_the_limit(store: &Store) {
    let data = store.data("p");
    data.set(&"ä".repeat(127), "").await.unwrap();
    data.set("a", &"x".repeat(MAX_VALUE_BYTES - 2)).await.unwrap();
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    for (key, length, expected) in [
        ("", 0, "empty"),
        (&*long, 0, "256 bytes; a key has at most 255"),
        ("a\0b", 0, "NUL"),
        ("b", MAX_VALUE_BYTES, "at most 65536"),
    ] {
        let why = data.set(key, &"x".repeat(length)).await.unwrap_err();
        assert!(matches!(why, Error::Unfit { .. }) && why.to_string().contains(expected), "{why}");
        assert!(!why.passes());
    }
}

async fn a_value_of_another_type_is_an_error_that_names_the_key(store: &Store) {
    store.data("p").set("name", "alice").await.unwrap();
    let why = store.data("p").get::<u32>("name").await.unwrap_err().to_string();
    assert!(why.contains("\"name\" is no u32"), "{why}");
    let changed = store.data("p").update("name", |_: Option<u32>| 5).await;
    assert!(changed.is_err());
    assert_eq!(store.data("p").get::<String>("name").await.unwrap().unwrap(), "alice");
}

async fn updates_side_by_side_lose_nothing(store: &Store) {
    let updates = (0..40).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.data("p").update("n", |n: Option<u32>| n.unwrap_or(0) + 1).await.unwrap() })
    });
    for update in updates.collect::<Vec<_>>() {
        update.await.unwrap();
    }
    assert_eq!(store.data("p").get("n").await.unwrap(), Some(40));
}

const NOW: i64 = 1_700_000_000_000;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW)
}

async fn an_event_is_new_in_an_inbox_once(store: &Store) {
    let event = Uuid::from_u128(1);
    let writing = store.write().await.unwrap();
    assert_eq!(writing.inbox(event, "g/p/a", now()).await.unwrap(), Inbox::New);
    drop(writing);
    let writing = store.write().await.unwrap();
    assert_eq!(writing.inbox(event, "g/p/a", now()).await.unwrap(), Inbox::New, "it was not committed");
    writing.keep_replies(event, "g/p/a", "[1]").await.unwrap();
    writing.commit().await.unwrap();
    let writing = store.write().await.unwrap();
    assert_eq!(writing.inbox(event, "g/p/a", now()).await.unwrap(), Inbox::Done("[1]".into()));
    assert_eq!(writing.inbox(event, "g/p/b", now()).await.unwrap(), Inbox::New);
}

async fn of_two_that_put_an_event_into_an_inbox_at_once_one_waits(store: &Store) {
    let first = store.write().await.unwrap();
    let event = Uuid::from_u128(1);
    assert_eq!(first.inbox(event, "h", now()).await.unwrap(), Inbox::New);
    first.keep_replies(event, "h", "[]").await.unwrap();
    let other = store.clone();
    let second = tokio::spawn(async move {
        let writing = other.write().await.unwrap();
        writing.inbox(event, "h", now()).await.unwrap()
    });
    tokio::task::yield_now().await;
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), Inbox::Done("[]".into()));
}

async fn count(store: &Store, table: &str) -> usize {
    let on = store.read().await.unwrap();
    let all = Statement::from_string(on.get_database_backend(), format!("SELECT 1 FROM {table}"));
    on.query_all_raw(all).await.unwrap().len()
}

async fn the_inbox_forgets_after_7_days_a_few_at_a_time(store: &Store) {
    let put = async |number: u128, at: Timestamp| {
        let writing = store.write().await.unwrap();
        writing.inbox(Uuid::from_u128(number), "h", at).await.unwrap();
        writing.commit().await.unwrap();
    };
    for number in 0..10 {
        put(number, now()).await;
    }
    put(10, now().plus(INBOX_KEEPS)).await;
    assert_eq!(count(store, "plugin_inbox").await, 11, "none is older than that");
    let later = now().plus(INBOX_KEEPS + Duration::from_secs(1));
    for (number, left) in [(11, 8), (12, 5), (13, 4), (14, 5)] {
        put(number, later).await;
        assert_eq!(count(store, "plugin_inbox").await, left);
    }
}

struct Step(&'static str, &'static str, &'static str);

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.0
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.1).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(self.2).await.map(drop)
    }
}

fn notes() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(Step("1_written", "CREATE TABLE notes_written (text TEXT)", "DROP TABLE notes_written")),
        Box::new(Step("2_read", "CREATE TABLE notes_read (text TEXT)", "DROP TABLE notes_read")),
    ]
}

async fn a_plugins_steps_are_taken_with_the_others_and_back_alone(store: &Store) {
    store.expect(PluginSteps { plugin: "notes", steps: notes });
    let why = store.read().await.unwrap_err();
    assert!(matches!(why, Error::Old { missing: 2, .. }), "{why}");
    assert_eq!(store.migrate().await.unwrap(), ["notes/1_written", "notes/2_read"]);
    assert!(store.migrate().await.unwrap().is_empty());
    store.read().await.unwrap();
    let writing = store.write().await.unwrap();
    writing.on().execute_unprepared("INSERT INTO notes_written VALUES ('a')").await.unwrap();
    writing.commit().await.unwrap();
    assert_eq!(store.migrate_plugin_back("notes", 1).await.unwrap(), ["notes/2_read"]);
    assert_eq!(count_unchecked(store).await, ["notes/1_written"]);
    assert_eq!(store.migrate().await.unwrap(), ["notes/2_read"]);
    assert_eq!(count(store, "notes_written").await, 1);
    let why = store.migrate_plugin_back("note", 1).await.unwrap_err().to_string();
    assert!(why.contains("those that do are notes"), "{why}");
}

async fn count_unchecked(store: &Store) -> Vec<String> {
    let steps = store.schema().await.unwrap().steps.into_iter();
    steps.filter(|step| step.taken && step.name.contains('/')).map(|step| step.name).collect()
}

async fn a_plugins_steps_may_touch_no_table_of_others(store: &Store) {
    fn thief() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Step("1_steal", "CREATE TABLE messages_copy (text TEXT)", ""))]
    }
    fn vandal() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Step("1_wreck", "DROP TABLE plugin_data", ""))]
    }
    for (plugin, steps) in [("thief", thief as fn() -> Vec<Box<dyn MigrationTrait>>), ("vandal", vandal)] {
        let store = store.clone();
        store.expect(PluginSteps { plugin, steps });
        let why = store.migrate().await.unwrap_err().to_string();
        assert!(why.contains(&format!("begin with {plugin}_")), "{why}");
        store.expect(PluginSteps { plugin, steps: Vec::new });
    }
    assert_eq!(store.data("p").get::<u32>("a").await.unwrap(), None, "nothing has changed");
    assert!(matches!(store.engine(), Engine::Sqlite | Engine::Postgres));
}
