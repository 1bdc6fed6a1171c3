//! `!seen nick`: whether somebody is here, or how long ago they were. In private about the channels that whoever asks is in.

use protocol::Chat;
use worker::{Args, Database, Error, Event, Plugin, Sender, command};

use crate::duration::in_words;
use crate::presence::{Question, words};

pub(crate) fn plugin() -> Plugin {
    Plugin::new("seen").on(command("seen").usage("<nick>").help("when somebody was here last"), seen)
}

async fn seen(sender: Sender, args: Args, said: Event<Chat>, store: Database) -> Result<String, Error> {
    let question = Question::of(&said);
    let nick = words(&sender, &args, 1..=1)?.concat();
    if nick.eq_ignore_ascii_case(&sender.nick) {
        return Ok(sender.answer("you are here right now"));
    }
    let channels = question.channels(&store, &sender).await?;
    let places = store.presence().last_seen(&question.network, &nick).await?;
    let mut told = places.iter().filter(|seen| channels.contains(&seen.channel));
    Ok(sender.answer(match told.next() {
        Some(seen) if seen.here_since.is_some() => format!("{nick} is here right now"),
        Some(seen) => format!("{nick} was last seen {} ago", in_words(question.seconds_since(seen.at))),
        None => format!("{nick} has never been seen"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::tests::{chat, enters, happens};
    use serde_json::json;

    #[tokio::test]
    async fn tells_who_is_here_and_how_long_ago_others_were() {
        let (mut chat, _database) = chat([plugin()]).await;
        chat.says("alice", "!seen bob").await.hears("alice: bob has never been seen");
        enters(&mut chat, 4_000, &["pubbot", "alice", "Bob", "carol"]).await;
        chat.says("alice", "!seen BOB").await.hears("alice: BOB is here right now");
        chat.says("alice", "!seen Alice").await.hears("alice: you are here right now");
        happens(&mut chat, 3_602, 3, "leave", json!({"user": "Bob", "type": "quit"})).await;
        chat.says("alice", "!seen bob").await.hears("alice: bob was last seen 1 hour and 2 seconds ago");
        happens(&mut chat, 61, 4, "nick", json!({"user": "carol", "nick": "dora"})).await;
        chat.says("alice", "!seen carol").await.hears("alice: carol was last seen 1 minute and 1 second ago");
        chat.says("alice", "!seen dora").await.hears("alice: dora is here right now");
    }

    #[tokio::test]
    async fn takes_one_nick() {
        let (mut chat, _database) = chat([plugin()]).await;
        chat.says("alice", "!seen").await.hears("alice: 1 arg is required");
        chat.says("alice", "!seen bob carol").await.hears("alice: 1 arg is required");
    }

    #[tokio::test]
    async fn nobody_is_told_in_private_about_channels_that_they_are_not_in() {
        let (mut chat, _database) = chat([plugin()]).await;
        enters(&mut chat, 60, &["pubbot", "alice", "bob"]).await;
        chat.says_privately("alice", "!seen bob").await.hears("bob is here right now");
        chat.says_privately("eve", "!seen bob").await.hears("bob has never been seen");
        chat.says_privately("eve", "!seen alice").await.hears("alice has never been seen");
        chat.says("alice", "!seen eve").await.hears("alice: eve has never been seen");
    }
}
