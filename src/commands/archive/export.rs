//! `pubbot archive export`: the archive, or some of it, as a log, the oldest first. It is read page by page, so it may be
//! of any size.

mod out;

use std::path::PathBuf;

use bus::System;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use protocol::{Ambient, Target, Timestamp};
use store::Store;
use store::archive::{MAX_PAGE, Message, key};
use store::logs::{Style, Writer};
use store::search::{Place, Query};

use self::out::Out;
use super::{END_OF_TIME, channels, is_same};
use crate::failure::Failure;
use crate::signals;
use crate::terminal::{grouped, harmless, tell};
use crate::zone::Zone;

const EXAMPLES: &str = "\
Examples:
  pubbot archive export --out archive.jsonl                   everything, as JSON lines
  pubbot archive export --channel libera/#rust --from 2026-11 --to 2026-12 --format irssi
  pubbot archive export --search 'release from:alice' > releases.jsonl

JSON lines keep everything, and `pubbot archive import` takes them; the texts of irssi and mIRC keep seconds, and are of \
one channel. Several channels come one after the other, each with its oldest line first; what a search finds is in the \
order of its times.

--from and --to take dates as after: and before: do in `pubbot search`: 2026, 2026-11, 2026-11-28, 2026-11-28T10:00, \
today, yesterday, 3h, 7d or 2w. --to 2026-12 ends with November.";

/// The formats by the words for them.
const FORMATS: [(&str, Style); 3] = [("json", Style::Json), ("irssi", Style::Irssi), ("mirc", Style::Mirc)];

/// Export what was said as a log
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Export {
    /// Only this channel, as network/#channel; may be given several times
    #[arg(long = "channel", value_name = "CHANNEL")]
    channels: Vec<Target>,
    /// Only what this search finds
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    search: Option<String>,
    /// Only what was said then or later
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Only what was said earlier
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// How it is written
    #[arg(long, value_name = "FORMAT", default_value = "json", value_parser = formats())]
    format: Style,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The time zone of dates and of the texts' times: an offset such as +01:00, or UTC [default: that of this computer]
    #[arg(long, value_name = "ZONE", default_value = "local", hide_default_value = true, value_parser = Zone::parse, allow_hyphen_values = true)]
    zone: Zone,
}

/// What is exported, in the order in which it is.
#[derive(Debug)]
enum Part {
    Channel(Target),
    Found(Box<Query>),
}

/// From when until when.
#[derive(Clone, Copy, Debug)]
struct Period {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Export {
    pub async fn run(self, store: &Store) -> Result<(), Failure> {
        if self.format != Style::Json && self.channels.len() != 1 {
            return Err(Failure::usage("this format is of one channel: --channel network/#channel says which"));
        }
        let period = self.period()?;
        let channels = self.chosen(store).await?;
        let parts = self.parts(&channels, period)?;
        let stop = signals::stop()?;
        let out = Out::open(self.out.as_deref())?;
        match stop.run_until_cancelled(self.write(store, &parts, period, &channels, out)).await {
            Some(written) => written,
            None => {
                tell("stopped; the export is not complete");
                Err(Failure::Told)
            }
        }
    }

    fn period(&self) -> Result<Period, Failure> {
        let now = System.now();
        let moment = |option: &str, date: &Option<String>| match date {
            None => Ok(None),
            Some(date) => self.zone.first_moment(date, now).map(Some).ok_or_else(|| {
                Failure::usage(format!(
                    "{option} {date:?}: expected a date such as 2026-11-28, 2026-11 or 2026-11-28T10:00, \
                     or today, yesterday, 3h, 7d or 2w"
                ))
            }),
        };
        let period = Period { from: moment("--from", &self.from)?, to: moment("--to", &self.to)? };
        match period {
            Period { from: Some(from), to: Some(to) } if from >= to => Err(Failure::usage(format!(
                "no time is both after {from} and before {to}: --to is where it ends, and not in it any more"
            ))),
            period => Ok(period),
        }
    }

    /// The channels that are named, as the archive spells them, or all.
    async fn chosen(&self, store: &Store) -> Result<Vec<Target>, Failure> {
        let all = channels(store).await?;
        if let Some(none) = self.channels.iter().find(|channel| !all.iter().any(|known| is_same(known, channel))) {
            return Err(Failure::failed(format!(
                "there is nothing of {none} in the archive; `pubbot archive channels` lists what there is"
            )));
        }
        let is_chosen =
            |known: &Target| self.channels.is_empty() || self.channels.iter().any(|channel| is_same(known, channel));
        Ok(all.into_iter().filter(is_chosen).collect())
    }

    fn parts(&self, channels: &[Target], period: Period) -> Result<Vec<Part>, Failure> {
        let Some(words) = &self.search else {
            return Ok(channels.iter().cloned().map(Part::Channel).collect());
        };
        let mut query = self.zone.query(words, System.now()).map_err(Failure::usage)?;
        query.after = query.after.max(period.from);
        query.before = query.before.into_iter().chain(period.to).min();
        if query.channels.is_empty() && !self.channels.is_empty() {
            let place = |Target { network, channel }: &Target| Place {
                network: Some(network.clone()),
                channel: channel.clone(),
            };
            query.channels = channels.iter().map(place).collect();
        }
        Ok(vec![Part::Found(Box::new(query))])
    }

    async fn write(
        &self,
        store: &Store,
        parts: &[Part],
        period: Period,
        channels: &[Target],
        out: Out,
    ) -> Result<(), Failure> {
        let progress = self.progress();
        let mut writer = Writer::new(self.format, out, self.zone);
        let mut written = 0_u64;
        for part in parts {
            let mut after = period.from.map_or(-1, |from| key::first(from) - 1);
            loop {
                let page = part.page(store, after, period).await?;
                let Some(last) = page.last() else { break };
                after = last.key;
                progress.set_message(format!("{} {}: {} events", place(last), last.record.at, grouped(written)));
                for message in page.iter().filter(|message| self.wants(message, channels)) {
                    if let Err(why) = writer.write(&message.record) {
                        return out::unless_closed(Err(why), self.out.as_deref());
                    }
                    written += 1;
                }
            }
        }
        progress.finish_and_clear();
        out::unless_closed(writer.finish().and_then(Out::complete), self.out.as_deref())?;
        if let Some(path) = &self.out {
            tell(&format!("{} events written to {}", grouped(written), harmless(&path.display().to_string())));
        }
        Ok(())
    }

    /// A search may find what another spelling of a channel's name finds.
    fn wants(&self, message: &Message, channels: &[Target]) -> bool {
        let is_its = |channel: &Target| {
            is_same(
                channel,
                &Target { network: message.record.network.clone(), channel: message.record.channel.clone() },
            )
        };
        self.search.is_none() || self.channels.is_empty() || channels.iter().any(is_its)
    }

    /// How far it is: on a terminal only, and where that does not show the export itself.
    fn progress(&self) -> ProgressBar {
        let progress = if self.out.is_some() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            progress.set_style(style);
        }
        progress
    }
}

impl Part {
    /// What comes after this key.
    async fn page(&self, store: &Store, after: i64, period: Period) -> Result<Vec<Message>, Failure> {
        let until = period.to.unwrap_or(Timestamp::from_millis(END_OF_TIME));
        let page = match self {
            Part::Channel(Target { network, channel }) => {
                store.archive().after(network, channel, after, until, MAX_PAGE).await
            }
            Part::Found(query) => store.archive().search_onward(query, after, MAX_PAGE).await,
        };
        Ok(page?)
    }
}

fn place(message: &Message) -> String {
    harmless(&format!("{}/{}", message.record.network, message.record.channel))
}

fn formats() -> impl TypedValueParser<Value = Style> {
    let words = PossibleValuesParser::new(FORMATS.map(|(word, _)| word));
    words.map(|word| FORMATS.into_iter().find(|(known, _)| *known == word).map_or(Style::Json, |(_, style)| style))
}
