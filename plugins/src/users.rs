//! `!users`: who is in the channel.

use protocol::{Chat, Member};
use worker::{Args, Database, Error, Event, Plugin, Sender, command};

use crate::presence::{IN_A_CHANNEL, Question, UNKNOWN, words};

/// Nicks are told up to so many bytes: about four lines.
const MOST_BYTES: usize = 1_600;

pub(crate) fn plugin() -> Plugin {
    Plugin::new("users").on(command("users").help("who is in the channel"), users)
}

async fn users(sender: Sender, args: Args, said: Event<Chat>, store: Database) -> Result<String, Error> {
    let Question { network, channel, .. } = Question::of(&said);
    words(&sender, &args, 0..=0)?;
    let Some(channel) = channel else { return Ok(sender.answer(IN_A_CHANNEL)) };
    Ok(match store.presence().members(&network, &channel).await? {
        Some(members) => sender.answer(format!("Current users: {}", list(&members))),
        None => sender.answer(UNKNOWN),
    })
}

/// `alice, bob`, and how many more there are, if they are too many.
fn list(members: &[Member]) -> String {
    let mut text = String::new();
    for (told, Member { nick, .. }) in members.iter().enumerate() {
        if text.len() + nick.len() > MOST_BYTES {
            return format!("{text} and {} more", members.len() - told);
        }
        let comma = if told > 0 { ", " } else { "" };
        text += &format!("{comma}{nick}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::tests::{chat, enters, happens};
    use serde_json::json;

    #[tokio::test]
    async fn lists_everybody_in_the_channel() {
        let (mut chat, _database) = chat([plugin()]).await;
        chat.says("alice", "!users").await.hears("alice: I don't know yet who is here");
        enters(&mut chat, 60, &["pubbot", "bob", "Alice"]).await;
        happens(&mut chat, 50, 3, "join", json!({"user": "carol"})).await;
        chat.says("alice", "!users").await.hears("alice: Current users: Alice, bob, carol, pubbot");
        happens(&mut chat, 40, 4, "leave", json!({"user": "bob", "type": "part"})).await;
        chat.says("alice", "!users").await.hears("alice: Current users: Alice, carol, pubbot");
        chat.says_privately("alice", "!users").await.hears("ask me that in a channel");
        chat.says("alice", "!users please").await.hears("alice: 0 args are required");
    }

    #[test]
    fn of_too_many_the_first_are_told_and_how_many_more_there_are() {
        let member = |n| Member { nick: format!("{n:08}"), prefix: String::new(), account: None };
        let members: Vec<Member> = (0..50_000).map(member).collect();
        let text = list(&members);
        assert!(text.len() < 1_620 && text.ends_with(" and 49840 more"), "{text}");
        assert_eq!(list(&members[..2]), "00000000, 00000001");
    }
}
