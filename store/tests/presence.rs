//! Presence against a naive model of a network, on both engines: whatever the order in which events come, and however often,
//! in the end the store knows what the model knows. And one by one: what counts as gone, unknown, seen.

use protocol::Timestamp;
use store::Store;
use store::presence::{Change, Deed, How, Version, What};

use self::model::{Model, session};
use crate::on_both;

mod model;

on_both!(
    a_list_of_names_is_all_that_are_here_and_what_follows_changes_it,
    nobody_stays_behind_when_a_session_ends_without_a_word,
    a_channel_is_unknown_until_its_names_are_told_and_after_the_bot_has_left,
    what_comes_late_brings_nobody_back,
    a_new_nick_takes_rank_account_and_time_along,
    a_netsplit_is_one_batch,
    twins_by_case_are_one_and_twins_by_rfc_1459_are_two,
    seen_last_is_what_they_did_where_or_when_the_bot_lost_sight_of_them,
    what_is_told_again_by_the_networks_history_is_seen_and_no_more,
    who_is_here_through_a_short_outage_was_here_all_the_time,
    whoever_was_not_seen_for_a_year_is_forgotten_unless_they_are_here,
    in_any_order_and_in_any_batches_all_is_as_in_the_model,
    workers_that_write_at_the_same_time_lose_nothing,
);

/// `nick`, or `@nick=account`.
fn member(text: &str) -> protocol::Member {
    let (named, account) = text.split_once('=').map_or((text, None), |(nick, account)| (nick, Some(account)));
    let nick = named.trim_start_matches(['@', '+']);
    let prefix = named[..named.len() - nick.len()].to_owned();
    protocol::Member { nick: nick.to_owned(), prefix, account: account.map(str::to_owned) }
}

/// An event of `#a` in a session, one second for each number.
fn change(in_session: u64, seq: u64, deed: Deed) -> Change {
    let at = Timestamp::from_millis(i64::try_from(in_session * 1_000_000 + seq * 1_000).unwrap());
    let version = Version { session: session(in_session), seq };
    Change { network: "test".into(), version, at, what: What::In("#a".into(), deed) }
}

fn names(list: &str) -> Deed {
    Deed::Named(list.split_whitespace().map(member).collect())
}

fn joins(nick: &str) -> Deed {
    Deed::Joined { nick: nick.into(), account: None, is_me: nick == "pubbot" }
}

fn quits(nick: &str) -> Deed {
    Deed::Left { nick: nick.into(), how: protocol::LeaveKind::Quit, is_me: false }
}

fn says(nick: &str, replayed: bool) -> Deed {
    Deed::Said { nick: nick.into(), account: None, replayed }
}

async fn apply(store: &Store, changes: &[Change]) {
    store.presence().apply(changes).await.unwrap();
}

/// Who is in `#a`, in one line; `?` where that is not known.
async fn here(store: &Store) -> String {
    let Some(members) = store.presence().members("test", "#a").await.unwrap() else { return "?".into() };
    let text = |member: protocol::Member| {
        let account = member.account.map(|account| format!("={account}")).unwrap_or_default();
        format!("{}{}{account}", member.prefix, member.nick)
    };
    members.into_iter().map(text).collect::<Vec<_>>().join(" ")
}

/// When and doing what somebody was seen last in `#a`, in seconds since 1970, and whether they are here.
async fn seen(store: &Store, nick: &str) -> Option<(i64, How, bool)> {
    let seen = store.presence().last_seen("test", nick).await.unwrap();
    seen.first().map(|seen| (seen.at.millis() / 1_000, seen.how, seen.here_since.is_some()))
}

/// Since when somebody is in `#a`, in seconds since 1970.
async fn since(store: &Store, nick: &str) -> Option<i64> {
    let since = store.presence().in_channel_since("test", "#a", nick).await.unwrap();
    since.map(|since| since.millis() / 1_000)
}

async fn a_list_of_names_is_all_that_are_here_and_what_follows_changes_it(store: &Store) {
    apply(store, &[change(1, 1, joins("pubbot")), change(1, 2, names("pubbot @alice=wonder +bob"))]).await;
    assert_eq!(here(store).await, "@alice=wonder +bob pubbot");
    let login = Deed::LoggedIn { nick: "bob".into(), account: Some("builder".into()) };
    let logout = Deed::LoggedIn { nick: "alice".into(), account: None };
    let ranks = Deed::Ranked(vec![member("@+bob=builder")]);
    apply(store, &[change(1, 3, joins("carol")), change(1, 4, login), change(1, 5, logout)]).await;
    apply(store, &[change(1, 6, ranks), change(1, 7, quits("Carol"))]).await;
    assert_eq!(here(store).await, "@alice @+bob=builder pubbot");
    let places = store.presence().who("test", "BOB").await.unwrap();
    assert_eq!(places.iter().map(|it| (&*it.channel, &*it.member.prefix)).collect::<Vec<_>>(), [("#a", "@+")]);
    assert!(store.presence().who("other", "bob").await.unwrap().is_empty());
}

async fn nobody_stays_behind_when_a_session_ends_without_a_word(store: &Store) {
    apply(store, &[change(1, 1, joins("pubbot")), change(1, 2, names("pubbot alice bob"))]).await;
    apply(store, &[change(2, 1, joins("pubbot"))]).await;
    assert_eq!(here(store).await, "?");
    apply(store, &[change(2, 2, joins("dave")), change(2, 3, names("pubbot alice dave"))]).await;
    assert_eq!(here(store).await, "alice dave pubbot");
    assert!(!seen(store, "bob").await.unwrap().2);
    // what the connector that was killed had in its journal comes now
    apply(store, &[change(1, 3, joins("ghost")), change(1, 4, quits("alice"))]).await;
    assert_eq!(here(store).await, "alice dave pubbot");
    assert!(!seen(store, "ghost").await.unwrap().2);
}

async fn a_channel_is_unknown_until_its_names_are_told_and_after_the_bot_has_left(store: &Store) {
    assert_eq!(here(store).await, "?");
    apply(store, &[change(1, 1, joins("pubbot")), change(1, 2, joins("alice"))]).await;
    assert_eq!(here(store).await, "?");
    apply(store, &[change(1, 3, names("pubbot alice"))]).await;
    let kicked = Deed::Left { nick: "pubbot".into(), how: protocol::LeaveKind::Kicked, is_me: true };
    apply(store, &[change(1, 4, kicked)]).await;
    assert_eq!((here(store).await.as_str(), seen(store, "alice").await), ("?", Some((1_004, How::There, false))));
    apply(store, &[change(1, 5, joins("pubbot")), change(1, 6, names("pubbot bob"))]).await;
    assert_eq!(here(store).await, "bob pubbot");
    let lost = Change { version: Version::last(session(1)), what: What::Lost, ..change(1, 9, joins("x")) };
    apply(store, &[lost]).await;
    assert_eq!((here(store).await.as_str(), seen(store, "bob").await), ("?", Some((1_009, How::There, false))));
}

async fn what_comes_late_brings_nobody_back(store: &Store) {
    apply(store, &[change(1, 1, joins("pubbot")), change(1, 4, names("pubbot alice"))]).await;
    apply(store, &[change(1, 6, quits("alice"))]).await;
    apply(store, &[change(1, 5, Deed::Ranked(vec![member("@alice")])), change(1, 3, joins("bob"))]).await;
    apply(store, &[change(1, 2, names("pubbot zoe"))]).await;
    assert_eq!(here(store).await, "pubbot");
    apply(store, &[change(1, 1, joins("pubbot")), change(1, 4, names("pubbot alice"))]).await;
    assert_eq!(here(store).await, "pubbot", "the same once more");
}

async fn a_new_nick_takes_rank_account_and_time_along(store: &Store) {
    apply(store, &[change(1, 1, joins("pubbot")), change(1, 2, names("pubbot @alice=wonder"))]).await;
    let renamed = |from: &str, to: &str| Deed::Renamed { from: from.into(), to: member(to) };
    apply(store, &[change(1, 9, renamed("alice", "@carol=wonder"))]).await;
    assert_eq!((here(store).await.as_str(), since(store, "carol").await), ("@carol=wonder pubbot", Some(1_002)));
    assert_eq!(seen(store, "alice").await, Some((1_009, How::Renamed, false)));
    apply(store, &[change(1, 10, renamed("carol", "@CAROL=wonder"))]).await;
    assert_eq!((here(store).await.as_str(), since(store, "carol").await), ("@CAROL=wonder pubbot", Some(1_002)));
}

async fn a_netsplit_is_one_batch(store: &Store) {
    let everybody: Vec<String> = (0..3_000).map(|n| format!("n{n}")).collect();
    let list = names(&format!("pubbot {}", everybody.join(" ")));
    apply(store, &[change(1, 1, joins("pubbot")), change(1, 2, list.clone())]).await;
    assert_eq!(here(store).await.split(' ').count(), 3_001);
    let split: Vec<Change> = (0..1_000).map(|n| change(1, n + 3, quits(&everybody[n as usize]))).collect();
    apply(store, &split).await;
    assert_eq!(here(store).await.split(' ').count(), 2_001);
    apply(store, &[change(2, 1, joins("pubbot")), change(2, 2, names("pubbot n7"))]).await;
    assert_eq!(here(store).await, "n7 pubbot");
}

async fn twins_by_case_are_one_and_twins_by_rfc_1459_are_two(store: &Store) {
    apply(store, &[change(1, 1, joins("pubbot")), change(1, 2, names("pubbot Alice bob[ +bob{ Änne"))]).await;
    apply(store, &[change(1, 3, Deed::Ranked(vec![member("@ALICE")])), change(1, 4, quits("bob["))]).await;
    assert_eq!(here(store).await, "@ALICE +bob{ pubbot Änne");
    let is_here = async |nick| seen(store, nick).await.unwrap().2;
    assert_eq!([is_here("bob{").await, is_here("BOB[").await], [true, false]);
    assert!(is_here("äNNE").await, "as people write it");
    apply(store, &[change(1, 5, joins("zoe~"))]).await;
    assert!(is_here("Zoe^").await, "by the widest rule, if there is no other");
}

async fn seen_last_is_what_they_did_where_or_when_the_bot_lost_sight_of_them(store: &Store) {
    assert_eq!(seen(store, "alice").await, None);
    apply(store, &[change(1, 1, joins("pubbot")), change(1, 2, names("pubbot alice bob"))]).await;
    apply(store, &[change(1, 3, joins("carol")), change(1, 4, says("stranger", false))]).await;
    assert_eq!(seen(store, "carol").await, Some((1_003, How::Joined, true)));
    assert_eq!(seen(store, "stranger").await, Some((1_004, How::Said, false)));
    let parts = Deed::Left { nick: "carol".into(), how: protocol::LeaveKind::Part, is_me: false };
    apply(store, &[change(1, 5, parts), change(1, 6, says("alice", false))]).await;
    assert_eq!(seen(store, "carol").await, Some((1_005, How::Parted, false)));
    // bob is gone when the bot is back: he was there until it was cut off
    apply(store, &[change(2, 1, joins("pubbot")), change(2, 2, names("pubbot alice"))]).await;
    assert_eq!(seen(store, "bob").await, Some((1_006, How::There, false)));
    let mut elsewhere = change(2, 3, joins("carol"));
    elsewhere.what = What::In("#b".into(), joins("carol"));
    apply(store, &[elsewhere]).await;
    let places = store.presence().last_seen("test", "carol").await.unwrap();
    assert_eq!(places.iter().map(|it| &*it.channel).collect::<Vec<_>>(), ["#b", "#a"]);
}

async fn what_is_told_again_by_the_networks_history_is_seen_and_no_more(store: &Store) {
    apply(store, &[change(2, 1, joins("pubbot")), change(2, 2, names("pubbot"))]).await;
    let told = Deed::Said { nick: "alice".into(), account: Some("wonder".into()), replayed: true };
    let earlier = Change { at: Timestamp::from_millis(1_500_000), ..change(2, 3, told) };
    apply(store, &[earlier, change(2, 4, joins("alice"))]).await;
    assert_eq!(here(store).await, "alice pubbot", "who had the nick then may be somebody else");
    apply(store, &[change(2, 5, quits("alice"))]).await;
    let bob = Change { at: Timestamp::from_millis(1_500_000), ..change(2, 6, says("bob", true)) };
    apply(store, &[bob]).await;
    assert_eq!(seen(store, "bob").await, Some((1_500, How::Said, false)));
}

async fn who_is_here_through_a_short_outage_was_here_all_the_time(store: &Store) {
    apply(store, &[change(1, 1, joins("pubbot")), change(1, 2, names("pubbot alice"))]).await;
    let soon = |mut change: Change| {
        change.at = Timestamp::from_millis(1_300_000);
        change
    };
    apply(store, &[soon(change(2, 1, joins("pubbot"))), soon(change(2, 2, names("pubbot alice bob")))]).await;
    assert_eq!((since(store, "alice").await, since(store, "bob").await), (Some(1_002), Some(1_300)));
    apply(store, &[change(3, 1, joins("pubbot")), change(3, 2, names("pubbot alice"))]).await;
    assert_eq!(since(store, "alice").await, Some(3_002), "nobody knows what she did meanwhile");
}

async fn whoever_was_not_seen_for_a_year_is_forgotten_unless_they_are_here(store: &Store) {
    apply(store, &[change(1, 1, joins("pubbot")), change(1, 2, names("pubbot alice bob"))]).await;
    apply(store, &[change(1, 3, quits("bob"))]).await;
    let days = |days: i64, deed| Change { at: Timestamp::from_millis(days * 86_400_000), ..change(1, 4, deed) };
    apply(store, &[days(364, says("zoe", false))]).await;
    assert!(seen(store, "bob").await.is_some());
    apply(store, &[days(367, says("zoe", false))]).await;
    assert_eq!(seen(store, "bob").await, None);
    assert_eq!(here(store).await, "alice pubbot");
}

async fn in_any_order_and_in_any_batches_all_is_as_in_the_model(store: &Store) {
    for seed in 0..120 {
        let network = format!("n{seed}");
        let mut model = Model::new(&network, seed);
        (0..40).for_each(|_| model.happens());
        model.settles();
        let mut changes = model.told.clone();
        model.shuffle(&mut changes);
        for batch in model.batches(&changes) {
            apply(store, batch).await;
        }
        for channel in model::CHANNELS {
            let known = store.presence().members(&network, channel).await.unwrap();
            assert_eq!(known, model.members(channel), "seed {seed}, {channel}");
        }
    }
}

async fn workers_that_write_at_the_same_time_lose_nothing(store: &Store) {
    let mut model = Model::new("test", 7);
    (0..400).for_each(|_| model.happens());
    model.settles();
    let mut changes = model.told.clone();
    model.shuffle(&mut changes);
    let mut workers = tokio::task::JoinSet::new();
    for share in changes.chunks(changes.len() / 4 + 1).map(<[Change]>::to_vec) {
        let store = store.clone();
        workers.spawn(async move {
            for batch in share.chunks(9) {
                store.presence().apply(batch).await.unwrap();
            }
        });
    }
    workers.join_all().await;
    for channel in model::CHANNELS {
        assert_eq!(store.presence().members("test", channel).await.unwrap(), model.members(channel), "{channel}");
    }
}
