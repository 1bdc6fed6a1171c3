//! A worker that keeps order, by actions: `cargo run --example guard -- amqp://guest:guest@localhost:5672/%2f`
//!
//! Who says `free bitcoins` is kicked, who comes in gets voice, and `!topic …` sets the topic. The bot must be an operator.

use protocol::Join;
use worker::{Action, Args, Event, Plugin, Sender, Worker, command, event, trigger};

async fn spam(sender: Sender) -> (Action, String) {
    (Action::kick(&sender.nick).reason("no spam, please"), format!("{} had to go", sender.nick))
}

async fn topic(args: Args) -> Action {
    Action::topic(args.0)
}

async fn welcome(join: Event<Join>) -> Option<Action> {
    (!join.body.is_me).then(|| Action::mode("+v", [join.body.user]))
}

/// What it reacts to.
pub fn plugin() -> Plugin {
    let guard = Plugin::new("guard").on(trigger("free bitcoins"), spam).on(command("topic"), topic);
    guard.on(event("chat.irc.*.join"), welcome)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let url = std::env::args().nth(1).ok_or("usage: guard AMQP-URL")?;
    Ok(Worker::new("guard").plugin(plugin()).serve(&url).await?)
}
