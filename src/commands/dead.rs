//! `pubbot dead`: what gave up, and why; to be tried again or dropped. The letters are looked at where they are: whatever
//! is neither retried nor dropped is given back, in its order.

mod letter;

use std::io::{self, Write};
use std::time::Duration;

use bus::{Broker, Consumer, Error, Message, Past, System};
use clap::{Args, Subcommand};
use protocol::{Ambient, Timestamp};
use tokio::time::timeout;

use self::letter::Letter;
use crate::cli::Options;
use crate::config::{Config, Environment};
use crate::failure::{Failure, unless_closed};
use crate::terminal::tell;
use crate::{broker, logs, runtime};

const EXAMPLES: &str = "\
Examples:
  pubbot dead list                                         what gave up, the oldest first
  pubbot dead show 0192f0c1-2345-7000-8000-000000000001    all that is known of it
  pubbot dead retry 0192f0c1-2345-7000-8000-000000000001   try it again
  pubbot dead retry --all                                  try everything again
  pubbot dead drop 0192f0c1-2345-7000-8000-000000000001    forget it

An event comes here when a handler has failed on it five times (after 1 s, 10 s, 60 s and 10 min), when it killed its
worker, or when it makes no sense. Retried, it goes back to where it gave up, and only the handler that failed runs.";
const LIST_EXAMPLES: &str = "\
Examples:
  pubbot dead list
  pubbot dead list --limit 1000 --json | jq .error";
const SHOW_EXAMPLES: &str = "\
Example:
  pubbot dead show 0192f0c1-2345-7000-8000-000000000001";
const RETRY_EXAMPLES: &str = "\
Examples:
  pubbot dead retry 0192f0c1-2345-7000-8000-000000000001
  pubbot dead retry --all";
const DROP_EXAMPLES: &str = "\
Example:
  pubbot dead drop 0192f0c1-2345-7000-8000-000000000001";

/// Letters that can be looked at without settling any: the most that a consumer may hold.
const AT_ONCE: u16 = u16::MAX;
/// How long to wait for a letter that should be there: another shell may be holding it.
const LETTER_WITHIN: Duration = Duration::from_secs(2);

/// See what gave up, and try it again
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Dead {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Retry(Retry),
    Drop(Forget),
}

/// List dead letters, the oldest first: id, age, attempts, handler, key, error
#[derive(Args, Debug)]
#[command(after_help = LIST_EXAMPLES)]
struct List {
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Print each as one JSON object
    #[arg(long)]
    json: bool,
}

/// Show all that is known of dead letters, with their bodies
#[derive(Args, Debug)]
#[command(after_help = SHOW_EXAMPLES)]
struct Show {
    /// Their ids, as listed
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

/// Try dead letters again: only the handler that failed runs
#[derive(Args, Debug)]
#[command(after_help = RETRY_EXAMPLES)]
struct Retry {
    /// Their ids, as listed
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<String>,
    /// All that there are
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

/// Drop dead letters: they are gone for good
#[derive(Args, Debug)]
#[command(name = "drop", after_help = DROP_EXAMPLES)]
struct Forget {
    /// Their ids, as listed
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl Dead {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        let config = Config::load(environment, &options.overrides_without_secrets())?;
        logs::start(options, environment, logs::Default::Quiet)?;
        runtime::block_on(async {
            let broker = broker::from_outside(&config, "dead").await?;
            let done = match self.command {
                Command::List(list) => list.run(&*broker).await,
                Command::Show(show) => show.run(&*broker).await,
                Command::Retry(retry) => retry.run(&*broker).await,
                Command::Drop(forget) => forget.run(&*broker).await,
            };
            broker.close().await;
            done
        })
    }
}

impl List {
    async fn run(self, broker: &dyn Broker) -> Result<(), Failure> {
        let mut dead = Letters::open(broker, self.limit).await?;
        let mut letters = Vec::new();
        while let Some(letter) = dead.next().await {
            letters.push(letter);
        }
        if letters.is_empty() {
            tell("there are no dead letters");
        }
        let now = System.now();
        for letter in &letters {
            print(&if self.json { letter.json(now) } else { letter.line(now) })?;
        }
        if dead.unseen > 0 {
            tell(&format!("{} more; --limit shows more of them", dead.unseen));
        }
        Ok(())
    }
}

impl Show {
    async fn run(self, broker: &dyn Broker) -> Result<(), Failure> {
        let now = System.now();
        // what was looked at is held until the end, or it would come again
        let mut seen = Vec::new();
        let mut wanted = Wanted::new(self.ids);
        let mut dead = Letters::open(broker, AT_ONCE).await?;
        while let Some(letter) = dead.next().await {
            if wanted.has(letter.id()) {
                print(&letter.text(now))?;
            }
            seen.push(letter);
        }
        wanted.all_found(dead.unseen)
    }
}

impl Retry {
    async fn run(self, broker: &dyn Broker) -> Result<(), Failure> {
        let mut wanted = Wanted::new(self.ids);
        let (mut kept, mut retried, mut failed) = (Vec::new(), 0_usize, false);
        let now = System.now();
        let mut dead = Letters::open(broker, AT_ONCE).await?;
        while let Some(letter) = dead.next().await {
            if Past::of(&letter.delivery).retried == Some(now) {
                // one of these has given up again already, and is the last by now
                break;
            }
            if !self.all && !wanted.has(letter.id()) {
                kept.push(letter);
                continue;
            }
            match retry(broker, &letter, now).await {
                Ok(()) => {
                    letter.delivery.acknowledge();
                    retried += 1;
                }
                Err(why) => {
                    tell(&format!("{}: {why}", letter.shown_id()));
                    failed = true;
                    kept.push(letter);
                }
            }
        }
        tell(&format!("{} tried again", number_of(retried)));
        wanted.all_found(dead.unseen)?;
        if failed { Err(Failure::Told) } else { Ok(()) }
    }
}

impl Forget {
    async fn run(self, broker: &dyn Broker) -> Result<(), Failure> {
        let mut wanted = Wanted::new(self.ids);
        let (mut kept, mut dropped) = (Vec::new(), 0_usize);
        let mut dead = Letters::open(broker, AT_ONCE).await?;
        while let Some(letter) = dead.next().await {
            if wanted.has(letter.id()) {
                letter.delivery.acknowledge();
                dropped += 1;
            } else {
                kept.push(letter);
            }
        }
        tell(&format!("{} dropped", number_of(dropped)));
        wanted.all_found(dead.unseen)
    }
}

/// Publishes a letter to where it gave up.
async fn retry(broker: &dyn Broker, letter: &Letter, now: Timestamp) -> Result<(), String> {
    let again = Message::again(&letter.delivery, now);
    let again = again.ok_or("nobody knows which queue it came from, so it can't go back there")?;
    broker.publish(again).await.await.map_err(|why| match why {
        Error::Unroutable(queue) => format!("the queue {queue} that it came from is gone"),
        why => why.to_string(),
    })
}

fn number_of(letters: usize) -> String {
    if letters == 1 { "1 dead letter".to_owned() } else { format!("{letters} dead letters") }
}

/// The dead letters, one after the other: so many as there were in the beginning.
struct Letters {
    consumer: Consumer,
    /// How many may still come.
    left: u64,
    /// How many there are beyond those.
    unseen: u64,
}

impl Letters {
    async fn open(broker: &dyn Broker, limit: u16) -> Result<Self, Failure> {
        let queue = broker.topology().dead();
        let depth = broker.depth(&queue.name).await?.unwrap_or(0);
        let left = depth.min(limit.into());
        let prefetch = u16::try_from(left).unwrap_or(AT_ONCE);
        Ok(Letters { consumer: broker.consume(queue, prefetch).await?, left, unseen: depth - left })
    }

    async fn next(&mut self) -> Option<Letter> {
        self.left = self.left.checked_sub(1)?;
        let next = timeout(LETTER_WITHIN, self.consumer.next()).await;
        next.ok().flatten().map(Letter::read)
    }
}

/// Ids that are looked for, and whether they were found.
struct Wanted(Vec<(String, bool)>);

impl Wanted {
    fn new(ids: Vec<String>) -> Self {
        Wanted(ids.into_iter().map(|id| (id, false)).collect())
    }

    fn has(&mut self, id: &str) -> bool {
        let found = self.0.iter_mut().filter(|(wanted, _)| wanted.eq_ignore_ascii_case(id));
        found.map(|(_, found)| *found = true).count() > 0
    }

    /// `unseen`: how many letters were not looked at.
    fn all_found(self, unseen: u64) -> Result<(), Failure> {
        let missing: Vec<String> = self.0.into_iter().filter(|(_, found)| !found).map(|(id, _)| id).collect();
        let more = match unseen {
            0 => String::new(),
            more => {
                format!(" among the oldest {AT_ONCE}; {more} more were not looked at: retry or drop older ones first")
            }
        };
        match missing.as_slice() {
            [] => Ok(()),
            [id] if more.is_empty() => {
                Err(Failure::failed(format!("there is no dead letter {id}; `pubbot dead list` shows what there is")))
            }
            [id] => Err(Failure::failed(format!("there is no dead letter {id}{more}"))),
            ids => Err(Failure::failed(format!("there are no dead letters {}{more}", ids.join(", ")))),
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    unless_closed(writeln!(io::stdout(), "{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_not_there_is_named() {
        let mut wanted = Wanted::new(vec!["a".into(), "b".into()]);
        assert!(wanted.has("A") && !wanted.has("c"));
        let Err(Failure::Failed(why)) = wanted.all_found(0) else { panic!("b was not found") };
        assert!(why.contains("no dead letter b"), "{why}");
        let mut wanted = Wanted::new(vec!["a".into()]);
        assert!(wanted.has("a") && wanted.has("a"), "several letters may be about one event");
        assert!(wanted.all_found(5).is_ok());
        let Err(Failure::Failed(why)) = Wanted::new(vec!["a".into()]).all_found(34_465) else { panic!("found") };
        assert!(why.contains("no dead letter a among the oldest 65535; 34465 more"), "{why}");
    }
}
