//! `!help`, `!help ping`, `!commands`: made from what stands beside the handlers.

use std::sync::Arc;

use worker::{Args, Catalogue, Entry, Error, Plugin, Sender, command};

pub(crate) fn plugin() -> Plugin {
    Plugin::new("help")
        .on(command("help").usage("[command]").help("what I can do, or what one command does"), help)
        .on(command("commands").help("the list of commands"), commands)
}

async fn help(sender: Sender, args: Args, catalogue: Arc<Catalogue>) -> Result<String, Error> {
    let Some(name) = args.words().next() else {
        let Catalogue { prefix, .. } = &*catalogue;
        let overview = format!("{}. More about one: {prefix}help <command>", list(&catalogue));
        return Ok(sender.answer(overview));
    };
    match catalogue.find(name) {
        Some(entry) => Ok(sender.answer(describe(entry, &catalogue.prefix))),
        None => Err(Error::tell(sender.answer(format!("I know no {name}. {}", list(&catalogue))))),
    }
}

async fn commands(sender: Sender, catalogue: Arc<Catalogue>) -> String {
    sender.answer(list(&catalogue))
}

fn list(catalogue: &Catalogue) -> String {
    let words: Vec<&str> = catalogue.entries.iter().filter_map(|entry| entry.command.as_deref()).collect();
    format!("Available commands: {}", words.join(" "))
}

/// `!ping: are you there? (!ping → alice: pong!)`
fn describe(entry: &Entry, prefix: &str) -> String {
    let mut text = match &entry.command {
        Some(command) => format!("{prefix}{command}"),
        None => entry.name.clone(),
    };
    if let Some(usage) = entry.usage {
        text += &format!(" {usage}");
    }
    if let Some(help) = entry.help {
        text += &format!(": {help}");
    }
    if let Some(role) = entry.role {
        text += &format!(" (for the role {role})");
    }
    for example in &entry.examples {
        text += &format!(" ({} → {})", example.says, example.hears);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{echo, foobar, ping};
    use worker::testing::FakeChat;

    async fn chat() -> FakeChat {
        FakeChat::with([plugin(), ping::plugin(), echo::plugin(), foobar::plugin()]).await
    }

    #[tokio::test]
    async fn lists_the_commands_of_all_plugins() {
        let mut chat = chat().await;
        chat.says("alice", "!commands").await.hears("alice: Available commands: help commands ping echo");
        chat.says_privately("bob", "help")
            .await
            .hears("Available commands: help commands ping echo. More about one: !help <command>");
    }

    #[tokio::test]
    async fn tells_what_one_command_or_trigger_does_with_its_example() {
        let mut chat = chat().await;
        chat.says("alice", "!help ping").await.hears("alice: !ping: are you there? (!ping → alice: pong!)");
        chat.says("alice", "!help !Echo")
            .await
            .hears("alice: !echo <text>: say it again (!echo hello there → hello there)");
        chat.says("alice", "!help foo_bar")
            .await
            .hears("alice: foo_bar: tells what foo and bar were (foo=1, bar=2 → Foo was \"1\", bar was \"2\")");
        chat.says("alice", "!help nonsense")
            .await
            .hears("alice: I know no nonsense. Available commands: help commands ping echo");
    }
}
