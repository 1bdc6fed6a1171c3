//! Settings in the database: what is set, where, by whom, and what was before.

use protocol::Timestamp;
use store::settings::{Name, Scope, Snapshot};
use store::{Error, Store};

crate::on_both!(
    what_is_set_is_there_with_who_when_and_what_before,
    changes_side_by_side_are_numbered_in_the_order_in_which_they_can_be_seen,
    what_can_not_be_set_there_is_refused_and_nothing_is_changed,
    a_setting_that_this_version_does_not_know_is_passed_over,
);

async fn set(store: &Store, scope: &str, name: &str, value: Option<&str>, at: i64) -> bool {
    let name: Name = name.parse().unwrap();
    let value = value.map(|value| name.value(value).unwrap());
    let at = Timestamp::from_millis(at);
    let changed = store.settings().set(&scope.parse().unwrap(), &name, value.as_ref(), "libera/alice", at).await;
    changed.unwrap().is_some()
}

fn told(snapshot: &Snapshot) -> Vec<String> {
    snapshot.iter().map(|(scope, name, value)| format!("{scope} {name} {value}")).collect()
}

async fn what_is_set_is_there_with_who_when_and_what_before(store: &Store) {
    assert_eq!(store.settings().latest().await.unwrap(), 0);
    assert!(set(store, "n/#Rust", "subscribe", Some("b, a"), 1).await);
    assert!(set(store, "n/#rust", "subscribe", Some("a"), 2).await);
    assert!(!set(store, "n/#rust", "subscribe", Some("a"), 3).await, "it is so already");
    assert!(set(store, "everywhere", "plugin.echo", Some("off"), 4).await);
    assert_eq!(told(&store.settings().all().await.unwrap()), ["everywhere plugin.echo off", "n/#rust subscribe a"]);
    let before = store.settings().latest().await.unwrap();
    assert!(set(store, "n/#rust", "subscribe", None, 5).await);
    assert!(store.settings().latest().await.unwrap() > before);
    assert_eq!(told(&store.settings().all().await.unwrap()), ["everywhere plugin.echo off"]);
    let history = store.settings().history(None, Some(&Name::Subscribe), 10).await.unwrap();
    let told: Vec<_> = history
        .iter()
        .map(|it| (it.at.millis(), &*it.who, &*it.scope, it.before.as_deref(), it.after.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (5, "libera/alice", "n/#rust", Some("a"), None),
            (2, "libera/alice", "n/#rust", Some("a,b"), Some("a")),
            (1, "libera/alice", "n/#rust", None, Some("a,b")),
        ]
    );
    let everywhere = store.settings().history(Some(&Scope::Everywhere), None, 10).await.unwrap();
    assert_eq!((everywhere.len(), &*everywhere[0].scope), (1, "everywhere"));
    assert_eq!(store.settings().history(None, None, 2).await.unwrap().len(), 2);
}

async fn changes_side_by_side_are_numbered_in_the_order_in_which_they_can_be_seen(store: &Store) {
    let changes = (0..20).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            set(&store, &format!("n/#c{number}"), "block", Some("a"), number).await;
            let seen = store.settings().latest().await.unwrap();
            (seen, store.settings().all().await.unwrap().iter().count())
        })
    });
    for change in changes.collect::<Vec<_>>() {
        let (seen, settings) = change.await.unwrap();
        assert!(settings as i64 >= seen, "whoever sees change {seen} sees all before it");
    }
    assert_eq!(store.settings().all().await.unwrap().iter().count(), 20);
}

async fn what_can_not_be_set_there_is_refused_and_nothing_is_changed(store: &Store) {
    let value = Name::Block.value("a").unwrap();
    let now = Timestamp::from_millis(0);
    let refused = store.settings().set(&Scope::Everywhere, &Name::Block, Some(&value), "x", now).await;
    assert!(matches!(refused, Err(Error::Unfit { .. })));
    assert_eq!(store.settings().latest().await.unwrap(), 0);
}

async fn a_setting_that_this_version_does_not_know_is_passed_over(store: &Store) {
    use store::sea_orm::ConnectionTrait;
    set(store, "n/#a", "block", Some("a"), 1).await;
    let writing = store.write().await.unwrap();
    let rows = "INSERT INTO settings VALUES ('n/#a', 'mood', 'merry', 'n/#a'), ('x', 'block', 'b', 'x'), ('', 'plugin.x', '?', '')";
    writing.on().execute_unprepared(rows).await.unwrap();
    writing.commit().await.unwrap();
    assert_eq!(told(&store.settings().all().await.unwrap()), ["n/#a block a"]);
}
