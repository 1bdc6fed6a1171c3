//! `!ping`: is the bot there?

use worker::{Plugin, Sender, command};

pub(crate) fn plugin() -> Plugin {
    Plugin::new("ping").on(command("ping").help("are you there?").example("!ping", "alice: pong!"), ping)
}

async fn ping(sender: Sender) -> String {
    sender.answer("pong!")
}

#[cfg(test)]
mod tests {
    use super::*;
    use worker::testing::FakeChat;

    #[tokio::test]
    async fn answers_by_name_in_a_channel_and_plainly_in_private() {
        let mut chat = FakeChat::with([plugin()]).await;
        chat.says("alice", "!ping").await.hears("alice: pong!");
        chat.says("bob", "pubbot: ping").await.hears("bob: pong!");
        chat.says_privately("alice", "ping").await.hears("pong!");
        chat.says_privately("alice", "!PING").await.hears("pong!");
        chat.says("alice", "ping").await.hears_nothing();
        chat.says("alice", "!pingpong").await.hears_nothing();
    }
}
