//! Keeps who is in which channel, and when somebody was seen last, for the commands that tell it. What the commands share
//! beside that is here, too: where a question was asked, and whether it has as many words as it needs.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use protocol::{Chat, Timestamp};
use store::Store;
use store::presence::Change;
use worker::{Args, Batch, Error, Event, Plugin, Sender, State, event};

use crate::archive::waits_or_gives_up;

/// What is told of a channel in which the bot is not, or of which it does not know the names yet.
pub(crate) const UNKNOWN: &str = "I don't know yet who is here";
/// What is told to somebody who asks in private about a channel.
pub(crate) const IN_A_CHANNEL: &str = "ask me that in a channel";

/// Two queues: a connection that comes or goes is told under a key of its own.
pub(crate) fn plugin(store: Store) -> Plugin {
    Plugin::new("presence")
        .state(store)
        .in_batches(event("chat.#").any_age().replayed(), keep)
        .in_batches(event("connection.#").any_age().named("connections"), keep)
}

async fn keep(batch: Batch, store: State<Store>) -> Result<(), Error> {
    let changes: Result<Vec<Option<Change>>, _> = batch.iter().map(|it| Change::read(&it.event)).collect();
    let changes: Vec<Change> = changes?.into_iter().flatten().collect();
    store.presence().apply(&changes).await.map_err(waits_or_gives_up)
}

/// A question about people: where it was asked, by whom, and when.
pub(crate) struct Question {
    pub network: String,
    /// The channel's word in routing keys; `None` in private.
    pub channel: Option<String>,
    pub at: Timestamp,
}

impl Question {
    pub fn of(said: &Event<Chat>) -> Self {
        let Chat { head, private, .. } = &said.body;
        let channel = said.key.words().nth(2).filter(|_| !private).map(str::to_owned);
        Question { network: head.network.clone(), channel, at: head.at }
    }

    /// The channels that whoever asked may be told about: this one, or, in private, those that they are in.
    pub async fn channels(&self, store: &Store, sender: &Sender) -> Result<BTreeSet<String>, Error> {
        if let Some(channel) = &self.channel {
            return Ok([channel.clone()].into());
        }
        let places = store.presence().who(&self.network, &sender.nick).await?;
        Ok(places.into_iter().map(|present| present.channel).collect())
    }

    /// The whole seconds from a moment to the question.
    pub fn seconds_since(&self, moment: Timestamp) -> u64 {
        u64::try_from((self.at.millis() - moment.millis()) / 1_000).unwrap_or(0)
    }
}

/// The words of a command, if there are as many as it takes.
pub(crate) fn words<'a>(
    sender: &Sender,
    args: &'a Args,
    allowed: RangeInclusive<usize>,
) -> Result<Vec<&'a str>, Error> {
    let words: Vec<&str> = args.words().collect();
    if allowed.contains(&words.len()) {
        return Ok(words);
    }
    let text = match (*allowed.start(), *allowed.end()) {
        (1, 1) => "1 arg is required".to_owned(),
        (least, most) if least == most => format!("{most} args are required"),
        (least, most) => format!("between {least} and {most} args are required"),
    };
    Err(Error::tell(sender.answer(text)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};
    use store::testing::Temporary;
    use worker::Worker;
    use worker::testing::FakeChat;

    /// When FakeChat's people speak, in seconds since 1970.
    const NOW: i64 = 1_700_000_000;

    /// A chat with these plugins and a database that keeps who is where.
    pub(crate) async fn chat(plugins: impl IntoIterator<Item = Plugin>) -> (FakeChat, Temporary) {
        let database = Temporary::sqlite().await;
        let worker = Worker::new("main").plugin(plugin(database.clone())).plugins(plugins).database(database.clone());
        (FakeChat::with_worker(worker).await, database)
    }

    /// What every event has: the last of a session's, so many seconds ago.
    fn event(channel: &str, ago: i64, seq: u64, what: Value) -> Value {
        let at = Timestamp::from_millis((NOW - ago) * 1_000);
        let mut event = json!({
            "id": "0192f0c1-2345-7000-8000-000000000001", "at": at, "network": "test", "channel": channel,
            "session": "0192f0c1-0000-7000-8000-000000000000", "seq": seq,
        });
        let (event_fields, what) = (event.as_object_mut().unwrap(), what.as_object().unwrap());
        event_fields.extend(what.clone());
        event
    }

    /// The bot comes into the channel so many seconds ago, and is told who is there.
    pub(crate) async fn enters(chat: &mut FakeChat, ago: i64, nicks: &[&str]) {
        let members: Vec<Value> = nicks.iter().map(|nick| json!({"nick": nick, "prefix": ""})).collect();
        happens(chat, ago, 1, "join", json!({"user": "pubbot", "is_me": true})).await;
        happens(chat, ago, 2, "names", json!({"members": members})).await;
    }

    /// Something of this kind happens in the channel.
    pub(crate) async fn happens(chat: &mut FakeChat, ago: i64, seq: u64, kind: &str, what: Value) {
        chat.happens(&format!("chat.irc.#test.{kind}"), event("#test", ago, seq, what)).await;
    }

    #[tokio::test]
    async fn a_channel_is_known_from_its_names_until_the_connection_is_lost() {
        let (mut chat, database) = chat([]).await;
        enters(&mut chat, 60, &["pubbot", "alice"]).await;
        happens(&mut chat, 50, 3, "join", json!({"user": "bob", "account": "builder"})).await;
        let members = database.presence().members("test", "#test").await.unwrap().unwrap();
        assert_eq!(
            members.iter().map(|it| (&*it.nick, it.account.as_deref())).collect::<Vec<_>>(),
            [("alice", None), ("bob", Some("builder")), ("pubbot", None)]
        );
        let lost = json!({"nick": "pubbot", "reason": "gone"});
        chat.happens("connection.irc.test.down", event("", 40, 4, lost)).await;
        assert_eq!(database.presence().members("test", "#test").await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_event_of_its_kind_is_set_aside_and_the_others_are_kept() {
        let (mut chat, database) = chat([]).await;
        enters(&mut chat, 60, &["pubbot"]).await;
        chat.happens("chat.irc.#test.join", json!({"id": "0192f0c1-2345-7000-8000-000000000009"})).await;
        assert!(chat.gives_up().await.contains("missing field"));
        happens(&mut chat, 50, 3, "join", json!({"user": "bob"})).await;
        assert_eq!(database.presence().members("test", "#test").await.unwrap().unwrap().len(), 2);
    }
}
