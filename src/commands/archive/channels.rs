//! `pubbot archive channels`: of which channels there is something, since when, and how much.

use std::io::{self, Write};

use clap::Args;
use protocol::{Target, Timestamp};
use store::Store;

use super::{END_OF_TIME, channels as all};
use crate::failure::{Failure, unless_closed};
use crate::terminal::{grouped, harmless, tell};
use crate::zone::Zone;

const EXAMPLES: &str = "\
Example:
  pubbot archive channels

Messages are lines, actions and notices; first and last may also be somebody who came or left.";

/// List the archive's channels: first and last, and how many messages
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Channels {
    /// The time zone of times: an offset such as +01:00, or UTC [default: that of this computer]
    #[arg(long, value_name = "ZONE", default_value = "local", hide_default_value = true, value_parser = Zone::parse, allow_hyphen_values = true)]
    zone: Zone,
}

impl Channels {
    pub async fn run(self, store: &Store) -> Result<(), Failure> {
        let mut rows = Vec::new();
        for channel in all(store).await? {
            rows.extend(self.row(store, &channel).await?);
        }
        if rows.is_empty() {
            tell("the archive is empty");
            return Ok(());
        }
        let header = ["channel", "first", "last", "messages"].map(str::to_owned);
        rows.insert(0, header);
        unless_closed(io::stdout().write_all(table(&rows).as_bytes()))
    }

    async fn row(&self, store: &Store, channel: &Target) -> Result<Option<[String; 4]>, Failure> {
        let Target { network, channel: name } = channel;
        let ends = store.archive().first_and_last(network, name).await?;
        // all time, as if it were one day
        let moments = [0, END_OF_TIME].map(Timestamp::from_millis);
        let days = store.archive().days(network, name, &moments).await?;
        let messages: i64 = days.iter().map(|day| day.messages).sum();
        let time = |at| self.zone.clock(at).format("%Y-%m-%d %H:%M").to_string();
        // what was taken out meanwhile has neither
        Ok(ends.map(|(first, last)| {
            let messages = grouped(u64::try_from(messages).unwrap_or_default());
            [harmless(&channel.to_string()), time(first.record.at), time(last.record.at), messages]
        }))
    }
}

/// Columns as wide as what is in them; numbers on the right.
fn table(rows: &[[String; 4]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let [channel, first, last, messages] = [0, 1, 2, 3].map(width);
    let line = |[a, b, c, d]: &[String; 4]| format!("{a:<channel$}  {b:<first$}  {c:<last$}  {d:>messages$}\n");
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_one_below_the_other() {
        let rows = [["channel", "first", "last", "messages"], ["libera/#rüst", "2026", "2027", "1,234"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "channel       first  last  messages\nlibera/#rüst  2026   2027     1,234\n");
    }
}
