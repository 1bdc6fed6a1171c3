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

/// What stands in a table of each step before the next is taken: the table, its columns, and a row.
const ROWS: [(&str, &str, &str); 8] = [
    ("m20261128_01_archive", "places (network, channel, name)", "('libera', '#rust', '#Rust')"),
    ("m20261128_02_people", "profiles (made_at)", "(1)"),
    ("m20261128_02_people", "roles (profile_id, role, granted_by, granted_at)", "(1, 'admin', 'me', 1)"),
    ("m20261128_02_people", "link_tries (source_id, at)", "('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1)"),
    ("m20261128_03_presence", "member_networks (network, floor, lost, lost_ms, tidied_ms)", "('libera', '', '', 1, 1)"),
    ("m20261128_04_settings", "settings (scope, name, value, spelling)", "('', 'plugin.echo', 'off', '')"),
    ("m20261128_05_plugin_data", "plugin_data (plugin, key, value)", "('karma', 'alice', '1')"),
    ("m20261128_06_archive_privacy", "forgotten (network, account, since, cleared)", "('libera', 'bob', 1, FALSE)"),
];

/// Forward step by step, with data in the tables of all that were taken before, and back the same way: a step touches nothing
/// but its own.
async fn each_step_leaves_alone_what_is_in_the_tables_before_it(store: &Store) {
    use migrations::Migrator;
    use sea_orm::{ConnectionTrait, Statement};
    use sea_orm_migration::MigratorTrait;
    let writing = async || store.write_unchecked().await.unwrap();
    let taken = async || store.schema().await.unwrap().steps.into_iter().filter(|step| step.taken).count();
    let check = async |steps: usize| {
        let names = migrations::names();
        let on = writing().await;
        for (step, table, _) in ROWS.iter().filter(|(step, ..)| names[..steps].iter().any(|name| name == step)) {
            let sql = format!("SELECT COUNT(*) FROM {}", table.split(' ').next().unwrap());
            let statement = Statement::from_string(on.on().get_database_backend(), sql);
            let count: i64 = on.on().query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap();
            assert_eq!(count, 1, "{step}: {table} after {steps} steps");
        }
    };
    let all = migrations::names().len();
    store.migrate_back(u32::try_from(all).unwrap()).await.unwrap();
    assert_eq!(taken().await, 0);
    for steps in 1..=all {
        let on = writing().await;
        Migrator::up(on.on(), Some(1)).await.unwrap();
        let name = &migrations::names()[steps - 1];
        let rows: Vec<_> = ROWS.iter().filter(|(step, ..)| step == name).collect();
        assert!(!rows.is_empty(), "{name} has no row in this test");
        for (_, table, row) in rows {
            on.on().execute_unprepared(&format!("INSERT INTO {table} VALUES {row}")).await.unwrap();
        }
        on.commit().await.unwrap();
        check(steps).await;
    }
    for steps in (0..all).rev() {
        assert_eq!(store.migrate_back(1).await.unwrap().len(), 1);
        assert_eq!(taken().await, steps);
        check(steps).await;
    }
    assert_eq!(store.migrate().await.unwrap().len(), all);
}

on_both!(
    steps_are_taken_once_by_however_many_processes_at_once,
    each_step_leaves_alone_what_is_in_the_tables_before_it,
);
