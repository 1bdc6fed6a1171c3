//! `pubbot archive`: what people have said, as a whole: logs of other programs come in, logs go out, and what is not to be
//! remembered goes. It works on the database, so it needs no running bot, and disturbs none.

mod channels;
mod drop;
mod export;
mod forget;
mod import;

use clap::{Args, Subcommand};
use protocol::Target;
use store::{Store, fold};

use crate::cli::Options;
use crate::config::Environment;
use crate::database;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  pubbot archive channels                                  what there is
  pubbot archive import --network libera irclogs/libera/*  logs of irssi, WeeChat, ZNC and others
  pubbot archive export --out archive.jsonl                everything, as JSON lines
  pubbot archive forget libera/alice                       nothing more of what this account said
  pubbot archive drop 1883078492160100353                  one line less

`pubbot search` finds lines and their keys.";

/// In ms since 1970: later than any message, the end of the year 9999.
const END_OF_TIME: i64 = 253_402_300_799_000;

/// Import and export what was said; make the bot forget
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Archive {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Channels(channels::Channels),
    Import(import::Import),
    Export(export::Export),
    Forget(forget::Forget),
    Remember(forget::Remember),
    Drop(drop::Drop),
}

impl Archive {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        database::command(options, environment, database::existing, async |config, store| match self.command {
            Command::Channels(command) => command.run(store).await,
            Command::Import(command) => command.run(store).await,
            Command::Export(command) => command.run(store).await,
            Command::Forget(command) => command.run(store, config).await,
            Command::Remember(command) => command.run(store).await,
            Command::Drop(command) => command.run(store).await,
        })
    }
}

/// The channels of the archive.
async fn channels(store: &Store) -> Result<Vec<Target>, Failure> {
    let channels = store.archive().channels().await?;
    Ok(channels.into_iter().map(|(network, channel)| Target { network, channel }).collect())
}

/// Whether two names mean one channel.
fn is_same(a: &Target, b: &Target) -> bool {
    a.network == b.network && fold(&a.channel) == fold(&b.channel)
}
