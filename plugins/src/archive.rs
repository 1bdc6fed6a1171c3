//! Stores what happens in channels, each event once: what was said, who came and went, topics, modes. `!forget me` takes
//! whoever asks out of it. What was said in private, or to a channel's operators alone, is not stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Ambient, Chat, ChatKind, Event, Head, Join, Leave, LeaveKind, Mode, ModeChange, Nick, Target, Topic};
use serde::de::DeserializeOwned;
use store::archive::{Kind, Record};
use store::{Error as StoreError, Store, fold};
use tokio_util::sync::CancellationToken;
use worker::{Args, Batch, Channel, Error, Event as Said, Plugin, Sender, State, command, event};

/// How long a batch may take: a database that is busy gets more time than somebody who waits for an answer.
const BATCH_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked whether somebody is to be forgotten.
const CLEAR_EVERY: Duration = Duration::from_secs(10);
/// How often what is too old is taken out.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// How long things are kept.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// In channels that are not named; `None`: for ever.
    pub all: Option<Duration>,
    /// In these.
    pub channels: BTreeMap<Target, Option<Duration>>,
}

pub(crate) fn plugin(store: Store) -> Plugin {
    let forget =
        command("forget").usage("me").help("take all that you have said out of the archive, and store no more");
    let remember = command("remember").usage("me").help("store what you say again");
    Plugin::new("archive")
        .state(store)
        .in_batches(event("chat.#").any_age().replayed().timeout(BATCH_WITHIN), store_all)
        .on(forget, forget_me)
        .on(remember, remember_me)
}

async fn store_all(batch: Batch, store: State<Store>) -> Result<(), Error> {
    take(&store, batch.iter().map(|event| (&event.event, event.chat.as_ref()))).await.map(drop)
}

/// Takes events into the archive, with what was said in them; how many are new.
///
/// # Errors
/// When the database is away ([`Error::Failed`]), or an event is not what its key says, or is refused ([`Error::GaveUp`]).
pub async fn take<'e>(
    store: &Store,
    events: impl Iterator<Item = (&'e Event, Option<&'e Chat>)>,
) -> Result<usize, Error> {
    let mut records = Vec::with_capacity(events.size_hint().0);
    for (event, chat) in events {
        records.extend(record(event, chat)?);
    }
    store.archive().store(&records).await.map_err(waits_or_gives_up)
}

/// What may pass is waited for; so is a database of another version, which somebody will see to.
pub(crate) fn waits_or_gives_up(why: StoreError) -> Error {
    match why {
        StoreError::Refused { .. } => Error::give_up(why),
        why => why.into(),
    }
}

async fn forget_me(args: Args, sender: Sender, said: Said<Chat>, store: State<Store>) -> Result<String, Error> {
    let account = account(&args, "forget", &sender)?;
    let Head { network, at, .. } = &said.body.head;
    store.archive().forget(network, account, *at).await?;
    Ok(sender.answer(format!(
        "what {account} has said here is being taken out of the archive, and nothing more is stored; !remember me ends that"
    )))
}

async fn remember_me(args: Args, sender: Sender, channel: Channel, store: State<Store>) -> Result<String, Error> {
    let account = account(&args, "remember", &sender)?;
    let text = match store.archive().remember(&channel.network, account).await? {
        true => "what you say from now on is stored again",
        false => "what you say is stored already",
    };
    Ok(sender.answer(text))
}

/// A nick can be taken by anybody: only an account may have things forgotten.
fn account<'s>(args: &Args, word: &str, sender: &'s Sender) -> Result<&'s str, Error> {
    if !args.0.eq_ignore_ascii_case("me") {
        return Err(Error::tell(
            sender.answer(format!("say !{word} me; for somebody else, ask an operator of the bot")),
        ));
    }
    sender.account.as_deref().ok_or_else(|| {
        Error::tell(sender.answer(
            "I can't tell you from somebody with your nick: log in to your account with the network's services first",
        ))
    })
}

/// What the archive keeps of an event; `None` of what it doesn't.
fn record(event: &Event, chat: Option<&Chat>) -> Result<Option<Record>, Error> {
    Ok(match event.key.chat_kind() {
        Some(ChatKind::Chat) => chat.and_then(|chat| said(event, chat, Kind::Chat)),
        Some(ChatKind::Action) => chat.and_then(|chat| said(event, chat, Kind::Action)),
        Some(ChatKind::Notice) => chat.and_then(|chat| said(event, chat, Kind::Notice)),
        Some(ChatKind::Join) => {
            let Join { head, user, .. } = body(event)?;
            Some(plain(event, head, Kind::Join, user, String::new()))
        }
        Some(ChatKind::Leave) => Some(left(event, body(event)?)),
        Some(ChatKind::Nick) => {
            let Nick { head, user, nick, .. } = body(event)?;
            Some(plain(event, head, Kind::Nick, user, nick))
        }
        Some(ChatKind::Topic) => {
            let Topic { head, user, topic } = body(event)?;
            Some(plain(event, head, Kind::Topic, user, topic))
        }
        Some(ChatKind::Mode) => {
            let Mode { head, user, modes, .. } = body(event)?;
            Some(plain(event, head, Kind::Mode, user, in_words(&modes)))
        }
        _ => None,
    })
}

fn body<T: DeserializeOwned>(event: &Event) -> Result<T, Error> {
    event.decode().map_err(Error::give_up)
}

fn said(event: &Event, chat: &Chat, kind: Kind) -> Option<Record> {
    if chat.private || chat.status.is_some() {
        return None;
    }
    let text = chat.raw.as_ref().unwrap_or(&chat.content).clone();
    let record = plain(event, chat.head.clone(), kind, chat.source.clone(), text);
    Some(Record { account: chat.account.clone(), msgid: chat.msgid.clone(), ..record })
}

/// A kick is what somebody did to another.
fn left(event: &Event, Leave { head, user, kind, by, reason, .. }: Leave) -> Record {
    let reason = reason.unwrap_or_default();
    match kind {
        LeaveKind::Part => plain(event, head, Kind::Part, user, reason),
        LeaveKind::Quit => plain(event, head, Kind::Quit, user, reason),
        LeaveKind::Kicked => {
            Record { whom: Some(user), ..plain(event, head, Kind::Kick, by.unwrap_or_default(), reason) }
        }
    }
}

fn plain(event: &Event, head: Head, kind: Kind, nick: String, text: String) -> Record {
    let Head { at, network, channel, seq, .. } = head;
    let (account, msgid, whom) = (None, None, None);
    Record { event_id: event.id, at, seq, network, channel, kind, nick, account, msgid, whom, text }
}

/// `+o-v alice bob`.
fn in_words(modes: &[ModeChange]) -> String {
    let mut text = String::new();
    let mut last = None;
    for change in modes {
        if last != Some(change.set) {
            text.push(if change.set { '+' } else { '-' });
            last = Some(change.set);
        }
        text.push(change.mode);
    }
    for parameter in modes.iter().filter_map(|change| change.parameter.as_deref()) {
        text.push(' ');
        text.push_str(parameter);
    }
    text
}

/// Goes on until stopped: what is older than it is to be kept, and what is to be forgotten, goes. Any number of processes may
/// do it.
pub async fn tidy(store: Store, keep: Keep, ambient: Arc<dyn Ambient>, stop: CancellationToken) {
    let mut looks = tokio::time::interval(CLEAR_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let each = SWEEP_EVERY.as_secs() / CLEAR_EVERY.as_secs();
    let mut look = 0;
    while stop.run_until_cancelled(looks.tick()).await.is_some() {
        let tidied = async {
            let cleared = store.archive().clear().await?;
            let swept = if look % each == 0 { sweep(&store, &keep, &*ambient).await? } else { 0 };
            Ok::<u64, StoreError>(cleared + swept)
        };
        match stop.run_until_cancelled(tidied).await {
            Some(Ok(0)) | None => {}
            Some(Ok(messages)) => tracing::info!(messages, "taken out of the archive"),
            Some(Err(why)) => tracing::debug!(%why, "the archive can't be tidied now"),
        }
        look += 1;
    }
}

async fn sweep(store: &Store, keep: &Keep, ambient: &dyn Ambient) -> Result<u64, StoreError> {
    let channels: BTreeMap<(&str, String), Option<Duration>> =
        keep.channels.iter().map(|(place, keep)| ((&*place.network, fold(&place.channel)), *keep)).collect();
    let mut taken = 0;
    for (network, channel) in store.archive().channels().await? {
        let own = channels.get(&(&*network, fold(&channel))).copied();
        let Some(keep) = own.unwrap_or(keep.all) else { continue };
        let before = ambient.now().minus(keep);
        loop {
            match store.archive().sweep(&network, &channel, before).await? {
                0 => break,
                some => taken += some,
            }
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::System;
    use serde_json::json;
    use store::testing::Temporary;
    use worker::testing::FakeChat;

    async fn chat(store: &Store) -> FakeChat {
        FakeChat::with([plugin(store.clone())]).await
    }

    async fn archived(store: &Store) -> Vec<(Kind, String, String)> {
        let mut all = store.archive().before("test", "#test", i64::MAX, 100).await.unwrap();
        all.reverse();
        all.into_iter().map(|message| (message.record.kind, message.record.nick, message.record.text)).collect()
    }

    fn head(at: u64) -> serde_json::Value {
        json!({"id": format!("00000000-0000-0000-0000-{at:012}"), "at": format!("2026-11-28T10:00:{at:02}.000Z"), "network": "test", "channel": "#test"})
    }

    fn with(mut head: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
        head.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        head
    }

    #[tokio::test]
    async fn everything_that_happens_in_a_channel_is_stored_as_it_was() {
        let store = Temporary::sqlite().await;
        let mut chat = chat(&store).await;
        for (at, kind, more) in [
            (1, "chat", json!({"source": "alice", "content": "hi", "raw": "pubbot: hi", "direct": true})),
            (2, "action", json!({"source": "alice", "content": "\u{2}waves\u{2}"})),
            (3, "notice", json!({"source": "bob", "content": "psst"})),
            (4, "join", json!({"user": "carol"})),
            (5, "leave", json!({"user": "carol", "type": "kicked", "by": "alice", "reason": "spam"})),
            (6, "leave", json!({"user": "bob", "type": "quit", "reason": "bye"})),
            (7, "nick", json!({"user": "alice", "nick": "al"})),
            (8, "topic", json!({"user": "al", "topic": "rust"})),
            (
                9,
                "mode",
                json!({"user": "al", "modes": [
                {"set": true, "mode": "o", "parameter": "bob"}, {"set": true, "mode": "m"}, {"set": false, "mode": "v", "parameter": "eve"}]}),
            ),
            (10, "names", json!({"members": []})),
        ] {
            chat.happens(&format!("chat.irc.#test.{kind}"), with(head(at), more)).await;
        }
        let expected = [
            (Kind::Chat, "alice", "pubbot: hi"),
            (Kind::Action, "alice", "\u{2}waves\u{2}"),
            (Kind::Notice, "bob", "psst"),
            (Kind::Join, "carol", ""),
            (Kind::Kick, "alice", "spam"),
            (Kind::Quit, "bob", "bye"),
            (Kind::Nick, "alice", "al"),
            (Kind::Topic, "al", "rust"),
            (Kind::Mode, "al", "+om-v bob eve"),
        ];
        assert_eq!(archived(&store).await, expected.map(|(kind, nick, text)| (kind, nick.to_owned(), text.to_owned())));
    }

    #[tokio::test]
    async fn what_was_said_in_private_is_not_stored() {
        let store = Temporary::sqlite().await;
        let mut chat = chat(&store).await;
        chat.says_privately("alice", "my secret").await;
        let to_operators = with(head(1), json!({"source": "alice", "content": "ops only", "status": "@"}));
        chat.happens("chat.irc.#test.chat", to_operators).await;
        assert!(store.archive().channels().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn only_an_account_can_be_forgotten() {
        let store = Temporary::sqlite().await;
        let mut chat = chat(&store).await;
        chat.says("alice", "!forget me").await.hears(
            "alice: I can't tell you from somebody with your nick: log in to your account with the network's services first",
        );
        chat.says("alice", "!forget bob")
            .await
            .hears("alice: say !forget me; for somebody else, ask an operator of the bot");
        assert_eq!(archived(&store).await.len(), 2);
    }

    #[tokio::test]
    async fn what_is_too_old_goes_channel_by_channel() {
        let store = Temporary::sqlite().await;
        let record = |channel: &str| Record {
            event_id: protocol::foreign_uuid(channel),
            at: protocol::Timestamp::from_millis(0),
            seq: None,
            network: "test".into(),
            channel: channel.into(),
            kind: Kind::Chat,
            nick: "alice".into(),
            account: None,
            msgid: None,
            whom: None,
            text: "long ago".into(),
        };
        store.archive().store(&["#a", "#b"].map(record)).await.unwrap();
        let day = Some(Duration::from_secs(86_400));
        let keep = Keep { all: day, channels: [("test/#B".parse().unwrap(), None)].into() };
        assert_eq!(sweep(&store, &keep, &System).await.unwrap(), 1);
        assert_eq!(store.archive().channels().await.unwrap(), [("test".to_owned(), "#b".to_owned())]);
    }
}
