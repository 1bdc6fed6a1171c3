//! `!echo text`: says the text again.

use worker::{Args, Error, Plugin, command};

pub(crate) fn plugin() -> Plugin {
    let spec = command("echo").usage("<text>").help("say it again").example("!echo hello there", "hello there");
    Plugin::new("echo").on(spec, echo)
}

async fn echo(args: Args) -> Result<String, Error> {
    if args.is_empty() { Err(Error::tell("what shall I say? !echo <text>")) } else { Ok(args.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use worker::testing::FakeChat;

    #[tokio::test]
    async fn says_the_text_again_and_asks_for_it_when_there_is_none() {
        let mut chat = FakeChat::with([plugin()]).await;
        chat.says("alice", "!echo  a  b ").await.hears("a  b");
        chat.says("alice", "!echo").await.hears("what shall I say? !echo <text>");
    }
}
