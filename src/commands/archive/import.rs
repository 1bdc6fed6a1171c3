//! `pubbot archive import`: logs of other programs, and exports of an archive, come into the archive. What is there already
//! stays as it is, so an import that was stopped is simply run again.

mod counts;
mod log;
mod progress;

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use protocol::{Target, check_destination, check_network};
use store::Store;
use store::logs::Format;
use tokio_util::sync::CancellationToken;

use self::counts::Counts;
use self::log::{Batch, Log};
use self::progress::Progress;
use crate::failure::Failure;
use crate::signals;
use crate::terminal::{harmless, tell};
use crate::zone::Zone;

const EXAMPLES: &str = "\
Examples:
  pubbot archive import --network libera irclogs/libera/#rust.log
  pubbot archive import --network libera --zone +01:00 log/alice/libera/#rust/*.log
  pubbot archive import --network libera --channel '#rust' --format energymech mech-20261128.log
  pubbot archive import archive.jsonl     what `pubbot archive export` wrote

Formats: irssi, weechat, energymech (and mIRC), znc, json. The channel is told by the paths that irssi, WeeChat and ZNC \
use; lines of JSON name theirs. Run twice, it imports once: whatever is not there yet. What somebody said who is \
forgotten (`pubbot archive forget`) is not imported, and counts as there already. What the bot has heard itself and what \
another has logged are two lines, so import logs of the time before it came.

Times are those of this computer's time zone unless --zone says otherwise. They should be right the first time: imported \
with another zone, lines are other lines. For a zone with summer times: TZ=Europe/Berlin pubbot archive import …

Lines that make no sense are counted, the first ten are shown, and the rest is imported. The status is 1 if a file can't \
be read.";

/// The formats by the words for them.
const FORMATS: [(&str, Format); 5] = [
    ("irssi", Format::Irssi),
    ("weechat", Format::Weechat),
    ("energymech", Format::Energymech),
    ("znc", Format::Znc),
    ("json", Format::Json),
];

/// Import logs of other programs, or an export
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Import {
    /// The logs
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The network, by its name in the configuration; lines of JSON may name their own
    #[arg(long, value_name = "NAME", value_parser = network)]
    network: Option<String>,
    /// The channel, where the file's path does not tell it
    #[arg(long, value_name = "CHANNEL", value_parser = channel)]
    channel: Option<String>,
    /// The format [default: told by the first lines of each file]
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    format: Option<Format>,
    /// The time zone of the times in the logs: an offset such as +01:00, or UTC [default: that of this computer]
    #[arg(long, value_name = "ZONE", value_parser = Zone::parse, allow_hyphen_values = true)]
    zone: Option<Zone>,
    /// The day on which a log begins, where neither it nor its name says so, as in 2026-11-28
    #[arg(long, value_name = "DATE")]
    day: Option<NaiveDate>,
}

/// How it came to an end.
enum Ended {
    Done,
    Stopped,
}

impl Import {
    pub async fn run(self, store: &Store) -> Result<(), Failure> {
        // an old schema is told before the first file is read
        store.read().await?;
        let stop = signals::stop()?;
        let mut counts = Counts::default();
        let mut progress = Progress::over(&self.files);
        let ended = self.import(store, &stop, &mut counts, &mut progress).await;
        progress.end();
        if ended.is_ok() || counts.lines > 0 {
            counts.show()?;
        }
        match ended? {
            Ended::Stopped => {
                tell("stopped; what is imported stays, and the same command goes on");
                Err(Failure::Told)
            }
            Ended::Done if counts.unreadable > 0 => Err(Failure::Told),
            Ended::Done => Ok(()),
        }
    }

    async fn import(
        &self,
        store: &Store,
        stop: &CancellationToken,
        counts: &mut Counts,
        progress: &mut Progress,
    ) -> Result<Ended, Failure> {
        let mut has_told_zone = self.zone.is_some();
        for file in &self.files {
            match Log::open(file, self) {
                Ok(None) => {}
                Ok(Some(log)) => {
                    if !has_told_zone && log.needs_zone() {
                        progress.tell("times are taken as those of this computer; --zone says otherwise");
                        has_told_zone = true;
                    }
                    if let Ended::Stopped = take(log, store, stop, counts, progress).await? {
                        return Ok(Ended::Stopped);
                    }
                }
                Err(why) => {
                    counts.unreadable += 1;
                    progress.tell(&format!("{}: {why}", harmless(&file.display().to_string())));
                }
            }
            progress.file_is_done();
        }
        Ok(Ended::Done)
    }
}

/// Takes in a whole log, batch by batch; what was taken when it is stopped stays.
async fn take(
    mut log: Log,
    store: &Store,
    stop: &CancellationToken,
    counts: &mut Counts,
    progress: &mut Progress,
) -> Result<Ended, Failure> {
    let mut lines = 0;
    loop {
        // a pipe may have nothing to read for long
        let reading = tokio::task::spawn_blocking(move || {
            let batch = log.next_batch();
            (log, batch)
        });
        let Some(read) = stop.run_until_cancelled(reading).await else { return Ok(Ended::Stopped) };
        let (returned, batch) = read.map_err(|why| Failure::failed(format!("a log could not be read: {why}")))?;
        log = returned;
        let Batch { records, broken, is_last, unreadable } = batch;
        let new = store.archive().store(&records).await?;
        counts.add(records.len(), new);
        counts.add_broken(log.name(), broken);
        counts.lines += log.lines() - lines;
        lines = log.lines();
        progress.at(log.bytes(), counts);
        if let Some(why) = unreadable {
            counts.unreadable += 1;
            progress.tell(&format!("{}: {why}", log.name()));
        }
        if is_last {
            return Ok(Ended::Done);
        }
    }
}

fn network(text: &str) -> Result<String, String> {
    check_network(text).map(|()| text.to_owned()).map_err(|why| why.to_string())
}

fn channel(text: &str) -> Result<String, String> {
    if let Ok(Target { network, channel }) = text.parse::<Target>() {
        return Err(format!("expected a channel alone: --network {network} --channel '{channel}'"));
    }
    check_destination(text).map(|()| text.to_owned()).map_err(|why| why.to_string())
}

fn formats() -> impl TypedValueParser<Value = Format> {
    let words = PossibleValuesParser::new(FORMATS.map(|(word, _)| word));
    words.map(|word| FORMATS.into_iter().find(|(known, _)| *known == word).map_or(Format::Json, |(_, format)| format))
}
