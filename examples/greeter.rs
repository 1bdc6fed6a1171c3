//! A worker of one's own, beside those of the bot: `cargo run --example greeter -- amqp://guest:guest@localhost:5672/%2f`
//!
//! Say `greet bob` in the channel. Run as many of them as you like: they share the work.

use serde::Deserialize;
use worker::{Captures, Plugin, Worker, trigger};

#[derive(Deserialize)]
struct Greeting {
    whom: String,
}

async fn greet(Captures(it): Captures<Greeting>) -> String {
    format!("hello, {}!", it.whom)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let url = std::env::args().nth(1).ok_or("usage: greeter AMQP-URL")?;
    let plugin = Plugin::new("greeter").on(trigger(r"greet (?<whom>\w+)"), greet);
    Ok(Worker::new("greeter").plugin(plugin).serve(&url).await?)
}
