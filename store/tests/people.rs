//! People: who gets a profile, who has a role, how profiles become one, and what is written down of it.

use std::time::Duration;

use protocol::Timestamp;
use store::Store;
use store::people::{Found, Link, Offer, Profile, Standing, Who};

use crate::on_both;

on_both!(
    a_profile_is_made_when_it_is_asked_for_and_then_stays_the_same,
    many_who_ask_at_once_get_one_profile,
    a_role_is_granted_to_who_was_never_seen_and_revoked,
    merged_profiles_keep_accounts_roles_and_numbers,
    profiles_that_are_merged_twice_lead_to_the_last,
    a_code_joins_two_profiles_once,
    a_code_said_by_two_at_once_joins_one_of_them,
    the_sixth_wrong_code_in_ten_minutes_is_not_looked_at,
    roles_rest_for_who_was_out_of_sight_and_others_of_the_profile_go_on,
    an_account_that_nobody_relies_on_comes_back_whenever_it_likes,
    an_account_that_was_taken_away_has_a_new_profile_without_roles,
    what_was_changed_is_written_down_with_what_was_before,
    names_are_compared_letter_for_letter_and_twins_are_found,
    a_list_goes_on_behind_a_number,
    people_are_seen_by_thousands_and_nobody_is_made_known,
    names_that_look_like_sql_are_names,
);

const DAY: Duration = Duration::from_secs(86_400);

/// After so many days.
fn at(days: u32) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).plus(days * DAY)
}

fn alice<'a>() -> Who<'a> {
    Who { nick: Some("alice"), ..Who::of("libera", "alice") }
}

fn work<'a>() -> Who<'a> {
    Who { nick: Some("al"), ..Who::of("oftc", "work") }
}

async fn profile(store: &Store, who: &Who<'_>) -> Profile {
    store.people().profile(who, at(0)).await.unwrap()
}

/// An operator grants it to the account.
async fn grant(store: &Store, who: &Who<'_>, role: &str, now: Timestamp) {
    let people = store.people();
    let known = people.find_account(who.network, who.account).await.unwrap().pop();
    let found = match known {
        Some(found) => found,
        None => people.introduce(who.network, who.account, now).await.unwrap(),
    };
    people.grant(found, role, "the operator", now).await.unwrap();
}

async fn code(store: &Store, who: &Who<'_>, random: u64) -> String {
    match store.people().offer(who, random, at(0)).await.unwrap() {
        Offer::Code(code) => code,
        Offer::TooMany => panic!("too many codes"),
    }
}

fn accounts(profile: &Profile) -> Vec<&str> {
    profile.identities.iter().map(|identity| identity.account.as_str()).collect()
}

async fn a_profile_is_made_when_it_is_asked_for_and_then_stays_the_same(store: &Store) {
    let people = store.people();
    assert!(people.find_account("libera", "alice").await.unwrap().is_empty());
    let first = people.profile(&alice(), at(0)).await.unwrap();
    assert_eq!((accounts(&first), first.roles.len()), (vec!["alice"], 0));
    let identity = &first.identities[0];
    assert_eq!(
        (identity.first_seen, identity.last_seen, identity.nick.as_deref()),
        (Some(at(0)), Some(at(0)), Some("alice"))
    );
    let renamed = Who { nick: Some("al"), ..alice() };
    let later = people.profile(&renamed, at(1)).await.unwrap();
    assert_eq!(later.id, first.id);
    let identity = later.identity(alice().source_id).unwrap();
    assert_eq!(
        (identity.first_seen, identity.last_seen, identity.nick.as_deref()),
        (Some(at(0)), Some(at(1)), Some("al"))
    );
    assert_ne!(profile(store, &work()).await.id, first.id);
}

async fn many_who_ask_at_once_get_one_profile(store: &Store) {
    let asks = || async { store.people().profile(&alice(), at(0)).await.unwrap().id };
    let (a, b, c, d) = tokio::join!(asks(), asks(), asks(), asks());
    assert!([b, c, d].iter().all(|other| *other == a));
    assert_eq!(store.people().list(0, 10).await.unwrap().len(), 1);
}

async fn a_role_is_granted_to_who_was_never_seen_and_revoked(store: &Store) {
    let people = store.people();
    assert!(!people.has_role(&alice(), "admin", at(0)).await.unwrap());
    assert!(people.list(0, 10).await.unwrap().is_empty(), "a question makes nobody known");
    grant(store, &alice(), "admin", at(0)).await;
    assert!(people.has_role(&alice(), "admin", at(0)).await.unwrap());
    assert!(!people.has_role(&alice(), "Admin", at(0)).await.unwrap());
    for other in [work(), Who::of("oftc", "alice"), Who::of("libera", "Alice")] {
        assert_eq!(people.standing(&other, "admin", at(0)).await.unwrap(), Standing::Lacks, "{other:?}");
    }
    let found = people.find_account("libera", "alice").await.unwrap()[0];
    assert!(!people.grant(found, "admin", "the operator", at(0)).await.unwrap(), "they have it already");
    assert_eq!(people.roles().await.unwrap(), ["admin"]);
    assert!(people.revoke(found.profile, "admin", "the operator", at(0)).await.unwrap());
    assert!(!people.revoke(found.profile, "admin", "the operator", at(0)).await.unwrap());
    assert!(!people.has_role(&alice(), "admin", at(0)).await.unwrap());
}

async fn merged_profiles_keep_accounts_roles_and_numbers(store: &Store) {
    let people = store.people();
    grant(store, &alice(), "admin", at(0)).await;
    grant(store, &work(), "radio", at(0)).await;
    grant(store, &work(), "admin", at(0)).await;
    let (older, newer) = (profile(store, &alice()).await.id, profile(store, &work()).await.id);
    assert_eq!(people.merge(newer, older, "the operator", at(0)).await.unwrap(), older);
    let one = profile(store, &work()).await;
    assert_eq!(
        (one.id, accounts(&one), one.roles.as_slice()),
        (older, vec!["alice", "work"], &["admin", "radio"].map(str::to_owned)[..])
    );
    assert!(people.has_role(&alice(), "radio", at(0)).await.unwrap());
    assert_eq!(people.find(newer).await.unwrap(), Some(Found { profile: older, identity: None }));
    assert_eq!(people.find(older).await.unwrap(), Some(Found { profile: older, identity: None }));
    assert_eq!(people.find(newer + 1).await.unwrap(), None);
    assert_eq!(people.list(0, 10).await.unwrap(), [one]);
    assert_eq!(people.merge(older, older, "the operator", at(0)).await.unwrap(), older);
}

async fn profiles_that_are_merged_twice_lead_to_the_last(store: &Store) {
    let people = store.people();
    let mut ids = Vec::new();
    for account in ["a", "b", "c"] {
        ids.push(profile(store, &Who::of("libera", account)).await.id);
    }
    people.merge(ids[1], ids[2], "the operator", at(0)).await.unwrap();
    people.merge(ids[0], ids[1], "the operator", at(0)).await.unwrap();
    for id in &ids {
        assert_eq!(people.find(*id).await.unwrap().unwrap().profile, ids[0]);
    }
    assert_eq!(accounts(&people.numbered(ids[0]).await.unwrap()), ["a", "b", "c"]);
}

async fn a_code_joins_two_profiles_once(store: &Store) {
    let people = store.people();
    grant(store, &alice(), "admin", at(0)).await;
    let code = code(store, &alice(), 1).await;
    assert_eq!(people.link(&alice(), &code, at(0)).await.unwrap(), Link::Own);
    let late = at(0).plus(Duration::from_secs(601));
    assert_eq!(people.link(&work(), &code, late).await.unwrap(), Link::Wrong);
    let Link::Joined(joined) = people.link(&work(), &code, at(0)).await.unwrap() else { panic!() };
    assert_eq!(accounts(&joined), ["alice", "work"]);
    assert!(people.has_role(&work(), "admin", at(0)).await.unwrap());
    // as when the event is worked on twice
    assert_eq!(people.link(&work(), &code, at(0)).await.unwrap(), Link::Joined(joined));
    assert_eq!(people.link(&Who::of("libera", "mallory"), &code, at(0)).await.unwrap(), Link::Wrong);
    assert!(!people.burn(&code).await.unwrap(), "it is spent");
}

async fn a_code_said_by_two_at_once_joins_one_of_them(store: &Store) {
    let people = store.people();
    let code = code(store, &alice(), 1).await;
    let (bob, carol) = (Who::of("libera", "bob"), Who::of("libera", "carol"));
    let (one, other) = tokio::join!(people.link(&bob, &code, at(0)), people.link(&carol, &code, at(0)));
    let joined = [one.unwrap(), other.unwrap()].iter().filter(|link| matches!(link, Link::Joined(_))).count();
    assert_eq!((joined, profile(store, &alice()).await.identities.len()), (1, 2));
}

async fn the_sixth_wrong_code_in_ten_minutes_is_not_looked_at(store: &Store) {
    let people = store.people();
    let code = code(store, &alice(), 1).await;
    for _ in 0..5 {
        assert_eq!(people.link(&work(), "ZZZZ", at(0)).await.unwrap(), Link::Wrong);
    }
    assert_eq!(people.link(&work(), &code, at(0)).await.unwrap(), Link::TooManyTries);
    let other = Who::of("libera", "bob");
    assert!(
        matches!(people.link(&other, &code, at(0)).await.unwrap(), Link::Joined(_)),
        "others have tries of their own"
    );
    let later = at(0).plus(Duration::from_secs(601));
    assert_eq!(people.link(&work(), &code, later).await.unwrap(), Link::Wrong);
}

async fn roles_rest_for_who_was_out_of_sight_and_others_of_the_profile_go_on(store: &Store) {
    let people = store.people();
    grant(store, &alice(), "admin", at(0)).await;
    grant(store, &work(), "admin", at(0)).await;
    let (one, other) = (profile(store, &alice()).await.id, profile(store, &work()).await.id);
    people.merge(one, other, "the operator", at(0)).await.unwrap();
    for day in [10, 20, 30] {
        assert_eq!(people.standing(&work(), "admin", at(day)).await.unwrap(), Standing::Has);
    }
    assert_eq!(people.standing(&alice(), "admin", at(31)).await.unwrap(), Standing::Rests);
    assert_eq!(people.standing(&work(), "admin", at(31)).await.unwrap(), Standing::Has);
    // to be here again is not enough, nor is a role for the profile's number
    let here = people.profile(&alice(), at(31)).await.unwrap();
    assert!(here.identity(alice().source_id).unwrap().rests(at(31)));
    people.seen("libera", &["alice"], at(32)).await.unwrap();
    people.grant(Found { profile: one, identity: None }, "radio", "the operator", at(32)).await.unwrap();
    assert_eq!(people.standing(&alice(), "radio", at(32)).await.unwrap(), Standing::Rests);
    grant(store, &alice(), "admin", at(32)).await;
    assert_eq!(people.standing(&alice(), "admin", at(32)).await.unwrap(), Standing::Has);
}

async fn an_account_that_nobody_relies_on_comes_back_whenever_it_likes(store: &Store) {
    let people = store.people();
    let before = profile(store, &alice()).await;
    let after = people.profile(&alice(), at(400)).await.unwrap();
    assert_eq!(after.id, before.id);
    assert!(!after.identities[0].rests(at(400)));
}

async fn an_account_that_was_taken_away_has_a_new_profile_without_roles(store: &Store) {
    let people = store.people();
    grant(store, &alice(), "admin", at(0)).await;
    let before = profile(store, &alice()).await;
    let new = people.unlink(alice().source_id, "the operator", at(0)).await.unwrap();
    assert_ne!(new, before.id);
    assert_eq!(people.standing(&alice(), "admin", at(0)).await.unwrap(), Standing::Lacks);
    let left = people.numbered(before.id).await.unwrap();
    assert_eq!((left.identities.len(), left.roles.as_slice()), (0, &["admin".to_owned()][..]));
}

async fn what_was_changed_is_written_down_with_what_was_before(store: &Store) {
    let people = store.people();
    grant(store, &alice(), "admin", at(0)).await;
    let other = profile(store, &work()).await.id;
    let one = profile(store, &alice()).await.id;
    people.merge(one, other, "libera/root", at(1)).await.unwrap();
    people.revoke(one, "admin", "the operator", at(2)).await.unwrap();
    let changes = people.changes(10).await.unwrap();
    let told: Vec<(Timestamp, &str, i64, String)> =
        changes.iter().map(|change| (change.at, change.by.as_str(), change.profile, change.what.clone())).collect();
    let expected = [
        (at(2), "the operator", one, "revoke admin".to_owned()),
        (at(1), "libera/root", other, format!("merge into {one}")),
        (at(1), "libera/root", one, format!("merge {other}")),
        (at(0), "the operator", one, "grant admin".to_owned()),
    ];
    assert_eq!(told, expected);
    assert_eq!(changes[0].before, r#"{"accounts":["libera/alice","oftc/work"],"roles":["admin"]}"#);
    assert_eq!(people.changes(1).await.unwrap().len(), 1);
}

async fn names_are_compared_letter_for_letter_and_twins_are_found(store: &Store) {
    let people = store.people();
    profile(store, &Who::of("libera", "Alice")).await;
    assert!(people.find_account("libera", "alice").await.unwrap().is_empty());
    assert_eq!(people.twins("libera", "alice").await.unwrap(), ["Alice"]);
    assert!(people.twins("libera", "Alice").await.unwrap().is_empty());
    assert!(people.twins("oftc", "alice").await.unwrap().is_empty());
}

async fn a_list_goes_on_behind_a_number(store: &Store) {
    for account in ["a", "b", "c"] {
        profile(store, &Who::of("libera", account)).await;
    }
    let first = store.people().list(0, 2).await.unwrap();
    let rest = store.people().list(first[1].id, 2).await.unwrap();
    let all: Vec<&str> = first.iter().chain(&rest).flat_map(accounts).collect();
    assert_eq!(all, ["a", "b", "c"]);
}

async fn people_are_seen_by_thousands_and_nobody_is_made_known(store: &Store) {
    let people = store.people();
    profile(store, &alice()).await;
    let names: Vec<String> = (0..1200).map(|number| format!("guest{number}")).chain(["alice".to_owned()]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    people.seen("libera", &names, at(5)).await.unwrap();
    let all = people.list(0, 10).await.unwrap();
    assert_eq!((all.len(), all[0].identities[0].last_seen), (1, Some(at(5))));
}

async fn names_that_look_like_sql_are_names(store: &Store) {
    for account in ["'; DROP TABLE profiles--", "\"", "%", "$1", "ünïcödé", ""] {
        let who = Who { nick: Some(account), ..Who::of(account, account) };
        let made = profile(store, &who).await;
        let found = store.people().find_account(account, account).await.unwrap();
        assert_eq!(found, [Found { profile: made.id, identity: Some(who.source_id) }], "{account}");
    }
}
