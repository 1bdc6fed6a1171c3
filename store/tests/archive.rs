//! The archive: each event once, found again by its words, its day and its key.

use protocol::Timestamp;
use store::Store;
use store::archive::{Kind, Record, key};
use store::search::Query;
use uuid::Uuid;

use crate::on_both;

/// 2026-11-28, 10:00 UTC.
const TEN: i64 = 1_795_860_000_000;

fn now() -> Timestamp {
    Timestamp::from_millis(TEN + 86_400_000)
}

fn said(number: u128, nick: &str, text: &str) -> Record {
    Record {
        event_id: Uuid::from_u128(number),
        at: Timestamp::from_millis(TEN + number as i64 * 1_000),
        seq: Some(number as u64),
        network: "libera".into(),
        channel: "#Rust".into(),
        kind: Kind::Chat,
        nick: nick.into(),
        account: Some(nick.to_owned()),
        msgid: None,
        whom: None,
        text: text.into(),
    }
}

async fn found(store: &Store, search: &str) -> Vec<String> {
    let query = Query::parse(search, now(), 0).unwrap();
    let messages = store.archive().search(&query, i64::MAX, 50).await.unwrap();
    messages.into_iter().map(|message| message.record.text).collect()
}

async fn an_event_is_stored_once_however_often_it_comes(store: &Store) {
    let records = [said(1, "alice", "one"), said(2, "bob", "two"), said(1, "alice", "one")];
    assert_eq!(store.archive().store(&records).await.unwrap(), 2);
    assert_eq!(store.archive().store(&records).await.unwrap(), 0);
    let three = [said(2, "bob", "two"), said(3, "bob", "three")];
    assert_eq!(store.archive().store(&three).await.unwrap(), 1);
    let all = store.archive().before("libera", "#rUST", i64::MAX, 10).await.unwrap();
    let texts: Vec<&str> = all.iter().map(|message| &*message.record.text).collect();
    assert_eq!(texts, ["three", "two", "one"]);
    assert_eq!(all[2].record, said(1, "alice", "one"));
    assert_eq!(store.archive().message(all[2].key).await.unwrap().as_ref(), Some(&all[2]));
    assert_eq!(found(store, "three").await, ["three"], "indexed once");
}

async fn two_events_with_one_key_are_both_kept(store: &Store) {
    let twins: Vec<Record> = (0..4_u128)
        .map(|n| Record { event_id: Uuid::from_u128(n << 64 | 7), seq: None, at: now(), ..said(1, "a", "x") })
        .collect();
    assert_eq!(store.archive().store(&twins[..3]).await.unwrap(), 3);
    assert_eq!(store.archive().store(&twins).await.unwrap(), 1);
    let all = store.archive().before("libera", "#rust", i64::MAX, 10).await.unwrap();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|message| message.record.at == now()));
}

async fn words_phrases_and_filters_find_the_newest_first(store: &Store) {
    let elsewhere = Record { channel: "#go".into(), ..said(4, "carol", "rust in go") };
    let join = Record { kind: Kind::Join, ..said(5, "rust", "") };
    let records = [
        said(1, "alice", "I like rust-lang, see https://rust-lang.org/learn"),
        said(2, "bob", "\u{2}Caf\u{e9}\u{2} rust"),
        said(3, "alice", "lang rust"),
        elsewhere,
        join,
    ];
    assert_eq!(store.archive().store(&records).await.unwrap(), 5);
    assert_eq!(found(store, "rust").await.len(), 4);
    assert_eq!(found(store, "rust-lang").await, [&*records[0].text]);
    assert_eq!(found(store, "cafe").await, [&*records[1].text]);
    assert_eq!(found(store, "rust from:Alice -learn").await, ["lang rust"]);
    assert_eq!(found(store, "in:#GO").await, ["rust in go"]);
    assert_eq!(found(store, "rust -in:#rust").await, ["rust in go"]);
    assert_eq!(found(store, "-rust on:libera").await, [""], "the join");
    assert_eq!(found(store, "rust before:2026-11-28T10:00").await.len(), 0);
    assert_eq!(found(store, "rust after:2026-11-28").await.len(), 4);
}

async fn pages_follow_one_another_without_a_gap(store: &Store) {
    let records: Vec<Record> = (1..=25).map(|n| said(n, "alice", &format!("word {n}"))).collect();
    store.archive().store(&records).await.unwrap();
    let query = Query::parse("word", now(), 0).unwrap();
    let (mut seen, mut before) = (Vec::new(), i64::MAX);
    loop {
        let page = store.archive().search(&query, before, 10).await.unwrap();
        let Some(last) = page.last() else { break };
        before = last.key;
        seen.extend(page.iter().map(|message| message.record.event_id.as_u128()));
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<u128>>());
}

async fn a_day_is_counted_in_any_time_zone(store: &Store) {
    let at = |hours: i64| Timestamp::from_millis(TEN + hours * 3_600_000);
    let record = |n: u128, hours: i64| Record { at: at(hours), ..said(n, "alice", "x") };
    // 10:00, 20:00 of one day, 23:00 UTC is the next day in Paris
    store.archive().store(&[record(1, 0), record(2, 10), record(3, 13)]).await.unwrap();
    let midnights = |offset: i64| [-10 - offset, 14 - offset, 38 - offset].map(at);
    let counts = |days: Vec<store::archive::Day>| days.iter().map(|day| day.messages).collect::<Vec<_>>();
    assert_eq!(counts(store.archive().days("libera", "#rust", &midnights(0)).await.unwrap()), [3]);
    assert_eq!(counts(store.archive().days("libera", "#rust", &midnights(1)).await.unwrap()), [2, 1]);
    let (first, last) = store.archive().first_and_last("libera", "#rust").await.unwrap().unwrap();
    assert_eq!((first.record.at, last.record.at), (at(0), at(13)));
    let day = store.archive().after("libera", "#rust", key::first(at(14)) - 1, at(38), 10).await.unwrap();
    assert!(day.is_empty());
    let day = store.archive().after("libera", "#rust", key::first(at(-10)) - 1, at(14), 10).await.unwrap();
    assert_eq!(day.len(), 3);
}

async fn what_is_taken_out_is_gone_from_pages_search_and_calendar(store: &Store) {
    let records: Vec<Record> =
        (1..=9).map(|n| said(n, if n % 3 == 0 { "bob" } else { "alice" }, &format!("word {n}"))).collect();
    store.archive().store(&records).await.unwrap();
    assert_eq!(store.archive().sweep("libera", "#rust", records[2].at).await.unwrap(), 2);
    assert_eq!(store.archive().sweep("libera", "#rust", records[2].at).await.unwrap(), 0);
    assert_eq!(store.archive().take_out_account("libera", "bob").await.unwrap(), 3);
    assert_eq!(found(store, "word").await, ["word 8", "word 7", "word 5", "word 4"]);
    let days =
        store.archive().days("libera", "#rust", &[Timestamp::from_millis(TEN - 36_000_000), now()]).await.unwrap();
    assert_eq!(days[0].messages, 4);
    assert_eq!(store.archive().store(&records[2..3]).await.unwrap(), 1, "what was swept may come again");
}

async fn who_is_forgotten_is_gone_and_not_remembered_until_they_wish(store: &Store) {
    let records =
        [said(1, "Alice[É]", "mine"), said(2, "bob", "his"), Record { account: None, ..said(3, "Alice", "a thief's") }];
    store.archive().store(&records).await.unwrap();
    store.archive().forget("libera", "ALICE[É]", now()).await.unwrap();
    assert_eq!(store.archive().clear().await.unwrap(), 1);
    assert_eq!(store.archive().clear().await.unwrap(), 0);
    assert_eq!(found(store, "in:#rust").await, ["a thief's", "his"]);
    assert_eq!(store.archive().store(&[said(4, "Alice[É]", "more")]).await.unwrap(), 0);
    assert_eq!(
        store.archive().store(&[Record { network: "oftc".into(), ..said(5, "Alice", "there") }]).await.unwrap(),
        1
    );
    assert!(store.archive().remember("libera", "alice[É]").await.unwrap());
    assert!(!store.archive().remember("libera", "alice[É]").await.unwrap());
    assert_eq!(store.archive().store(&[said(4, "Alice[É]", "more")]).await.unwrap(), 1);
}

on_both!(
    an_event_is_stored_once_however_often_it_comes,
    two_events_with_one_key_are_both_kept,
    words_phrases_and_filters_find_the_newest_first,
    pages_follow_one_another_without_a_gap,
    a_day_is_counted_in_any_time_zone,
    what_is_taken_out_is_gone_from_pages_search_and_calendar,
    who_is_forgotten_is_gone_and_not_remembered_until_they_wish,
);
