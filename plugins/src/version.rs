//! `!version`: which pubbot this is.

use worker::{Plugin, Sender, State, command};

struct Version(&'static str);

pub(crate) fn plugin(version: &'static str) -> Plugin {
    Plugin::new("version").state(Version(version)).on(command("version").help("which version of pubbot I am"), answer)
}

async fn answer(sender: Sender, version: State<Version>) -> String {
    sender.answer(format!("pubbot {}", version.0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use worker::testing::FakeChat;

    #[tokio::test]
    async fn answers_with_its_version() {
        let mut chat = FakeChat::with([plugin("1.2.3")]).await;
        chat.says("alice", "!version").await.hears("alice: pubbot 1.2.3");
    }
}
