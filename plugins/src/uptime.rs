//! `!uptime`: how long the worker that answers has been running. `!uptime nick`: how long somebody has been in the channel.

use protocol::Chat;
use tokio::time::Instant;
use worker::{Args, Context, Database, Error, Event, Extract, Plugin, Sender, State, command};

use crate::duration::in_words;
use crate::presence::{IN_A_CHANNEL, Question, UNKNOWN, words};

struct Started(Instant);

/// The database, where there is one.
struct Remembered(Option<Database>);

impl Extract for Remembered {
    fn extract(context: &Context) -> Result<Self, Error> {
        Ok(Remembered(Database::extract(context).ok()))
    }
}

pub(crate) fn plugin() -> Plugin {
    let spec = command("uptime").usage("[nick]").help("how long I have been running, or somebody has been here");
    Plugin::new("uptime").state(Started(Instant::now())).on(spec, uptime)
}

async fn uptime(
    sender: Sender,
    args: Args,
    said: Event<Chat>,
    started: State<Started>,
    store: Remembered,
) -> Result<String, Error> {
    let answer = match (words(&sender, &args, 0..=1)?.as_slice(), store.0) {
        ([nick], Some(store)) => somebodys(nick, &sender, &Question::of(&said), &store).await?,
        ([_], None) => "I don't remember who is here: I have no database".to_owned(),
        _ => in_words(started.0.0.elapsed().as_secs()),
    };
    Ok(sender.answer(answer))
}

async fn somebodys(nick: &str, sender: &Sender, question: &Question, store: &Database) -> Result<String, Error> {
    let Question { network, channel: Some(channel), .. } = question else { return Ok(IN_A_CHANNEL.to_owned()) };
    let presence = store.presence();
    Ok(match presence.in_channel_since(network, channel, nick).await? {
        Some(since) => {
            let is_me = nick.eq_ignore_ascii_case(&sender.nick);
            let who = if is_me { "you have".to_owned() } else { format!("{nick} has") };
            format!("{who} been here for {}", in_words(question.seconds_since(since)))
        }
        None if presence.knows(network, channel).await? => format!("{nick} is not in the channel"),
        None => UNKNOWN.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::tests::{chat, enters, happens};
    use serde_json::json;
    use std::time::Duration;
    use worker::testing::FakeChat;

    #[tokio::test(start_paused = true)]
    async fn tells_the_time_since_it_was_started() {
        let mut chat = FakeChat::with([plugin()]).await;
        tokio::time::advance(Duration::from_secs(3602)).await;
        chat.says("alice", "!uptime").await.hears("alice: 1 hour and 2 seconds");
        chat.says("alice", "!uptime bob").await.hears("alice: I don't remember who is here: I have no database");
        chat.says("alice", "!uptime bob carol").await.hears("alice: between 0 and 1 args are required");
    }

    #[tokio::test]
    async fn tells_how_long_somebody_has_been_in_the_channel() {
        let (mut chat, _database) = chat([plugin()]).await;
        chat.says("alice", "!uptime bob").await.hears("alice: I don't know yet who is here");
        enters(&mut chat, 7_200, &["pubbot", "alice"]).await;
        happens(&mut chat, 3_602, 3, "join", json!({"user": "Bob"})).await;
        chat.says("alice", "!uptime bob").await.hears("alice: bob has been here for 1 hour and 2 seconds");
        chat.says("alice", "!uptime Alice").await.hears("alice: you have been here for 2 hours");
        happens(
            &mut chat,
            10,
            4,
            "mode",
            json!({"user": "alice", "modes": [], "members": [
                {"nick": "Bob", "prefix": "@"}
            ]}),
        )
        .await;
        chat.says("alice", "!uptime BOB").await.hears("alice: BOB has been here for 1 hour and 2 seconds");
        happens(&mut chat, 5, 5, "leave", json!({"user": "Bob", "type": "quit"})).await;
        chat.says("alice", "!uptime bob").await.hears("alice: bob is not in the channel");
        chat.says_privately("alice", "!uptime bob").await.hears("ask me that in a channel");
    }
}
