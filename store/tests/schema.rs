//! The tables' history on SQLite; on PostgreSQL the same.

use store::{Error, Store};

use crate::on_both;

fn sqlite(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("new/pubbot.db").display())
}

#[tokio::test]
async fn nothing_is_read_before_the_tables_are_there_and_the_error_names_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&sqlite(&folder)).unwrap();
    assert!(matches!(store.read().await, Err(Error::Away { .. })), "no folder yet");
    store.migrate().await.unwrap();
    assert!(store.migrate().await.unwrap().is_empty(), "a second time there is nothing to do");
    store.read().await.unwrap();
    store.migrate_back(1).await.unwrap();
    let why = store.read().await.unwrap_err();
    assert!(matches!(why, Error::Old { missing: 1, .. }) && why.to_string().contains("pubbot migrate"), "{why}");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    use sea_orm::ConnectionTrait;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&sqlite(&folder)).unwrap();
    store.migrate().await.unwrap();
    let writing = store.write().await.unwrap();
    let insert = "INSERT INTO migrations (version, applied_at) VALUES ('m30001231_01_mind_reading', 0)";
    writing.on().execute_unprepared(insert).await.unwrap();
    writing.commit().await.unwrap();
    let other = Store::open(&sqlite(&folder)).unwrap();
    let why = other.read().await.unwrap_err();
    assert!(matches!(&why, Error::Newer { step, .. } if step.ends_with("mind_reading")), "{why}");
    assert!(other.migrate().await.is_err() && other.migrate_back(1).await.is_err());
}

async fn steps_are_taken_once_by_however_many_processes_at_once(store: &Store) {
    while !store.migrate_back(1).await.unwrap().is_empty() {}
    assert!(store.schema().await.unwrap().is_empty());
    let migrated = tokio::join!(store.migrate(), store.migrate(), store.migrate());
    for result in [migrated.0, migrated.1, migrated.2] {
        result.unwrap();
    }
    store.read().await.unwrap();
}

on_both!(steps_are_taken_once_by_however_many_processes_at_once);
