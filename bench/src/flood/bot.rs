//! The bot, as `pubbot up`, with answers that are due at once.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use bus::{Broker, Message, Topology};
use protocol::{Reply, ReplyKind};
use servers::{IrcUser, Program};

use super::raw::FORGIVEN_AFTER;
use super::seen::Seen;
use super::text;
use crate::failure::{Context, Result};

const CHANNEL: &str = "#bot";
const NETWORK: &str = "bench";

/// Has so many answers said to one channel, in the way that is usual.
pub(super) fn says(port: u16, lines: usize, pubbot: &Path) -> Result<Seen> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let (config, data) = (folder.path().join("pubbot.toml"), folder.path().join("data"));
    let text = format!(
        "data_dir = {data:?}\n[broker]\nurl = \"embedded:\"\n\
         [networks.{NETWORK}]\nurl = \"irc://127.0.0.1:{port}\"\nnick = \"pubbot\"\nchannels = [\"{CHANNEL}\"]\n"
    );
    std::fs::write(&config, text).context(config.display())?;
    let observer = IrcUser::connect(port, "watch");
    observer.join(CHANNEL);
    let _pubbot = Program::start(pubbot, &["--config", &config.to_string_lossy(), "up"], &[]);
    observer.hears(|line| line.starts_with(":pubbot!") && line.contains(" JOIN "));
    thread::sleep(FORGIVEN_AFTER);
    publish(&data.join("pubbot.sock"), lines)?;
    Ok(Seen::watch(&observer, "pubbot", lines, |_| ()))
}

/// Puts all of them into the queue of answers.
fn publish(socket: &Path, lines: usize) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("a runtime")?;
    runtime.block_on(async {
        let broker: Arc<dyn Broker> = Arc::new(bus::socket::connect(socket).await.context("the bot's socket")?);
        let queue = Topology::default().replies_name("irc", NETWORK);
        for number in 0..lines {
            let message = Message::reply(&reply(number), &queue).context("a reply")?;
            broker.publish(message).await.await.context("an answer was not taken")?;
        }
        broker.close().await;
        Ok(())
    })
}

fn reply(number: usize) -> Reply {
    Reply {
        id: protocol::foreign_uuid(&format!("flood {number}")),
        in_reply_to: None,
        network: NETWORK.to_owned(),
        channel: CHANNEL.to_owned(),
        msgid: None,
        content: text(number).into(),
        kind: ReplyKind::Chat,
        handler: None,
        expires_at: None,
        rank: 0,
    }
}
