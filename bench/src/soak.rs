//! A soak: a bot of many processes under load, and a random fault every few seconds. In the end every line that was read must have been
//! answered, once.

pub(crate) mod cast;
mod chaos;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use servers::Report;

use self::cast::Cast;
use self::chaos::{Chaos, Kind};
use crate::executable;
use crate::failure::{Failure, Result};
use crate::machine::Machine;

/// Workers, beside two connectors.
const WORKERS: usize = 3;
/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often it is told how things stand.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How long all may take to be answered in the end: a half-open IRC connection alone is noticed after 90 s.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);
/// Lines that may be said twice for each fault that hits a speaker: those written and not yet proved and remembered.
const TWICE_A_FAULT: usize = 4;

#[derive(Args)]
pub(crate) struct Options {
    /// How long lines are said
    #[arg(long, value_name = "N", default_value_t = 20)]
    minutes: u64,
    /// Lines a second
    #[arg(long, value_name = "N", default_value_t = 100)]
    rate: u32,
    /// Seconds from a fault to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    every: u64,
    /// What the faults are drawn from [default: a random one, which is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The executable to soak [default: built now]
    #[arg(long, value_name = "FILE")]
    pubbot: Option<PathBuf>,
}

/// Soaks and prints. An error when a promise was broken.
pub(crate) fn run(options: &Options) -> Result<()> {
    let pubbot = executable::pubbot(options.pubbot.as_deref())?;
    let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one("seed") % 1_000_000);
    println!(
        "soak: {} minutes at {} lines/s, a fault every {} s, seed {seed}",
        options.minutes, options.rate, options.every
    );
    let mut cast = Cast::start(&pubbot, WORKERS)?;
    let (faults, report) = soak(options, seed, &mut cast);
    tell(&faults, &report)
}

fn soak(options: &Options, seed: u64, cast: &mut Cast) -> (BTreeMap<Kind, usize>, Report) {
    let (mut chaos, mut faults) = (Chaos::new(seed), BTreeMap::new());
    let load = cast.counting.begin("!echo", None, options.rate);
    let start = Instant::now();
    let (mut next_fault, mut next_word) = (start + Duration::from_secs(options.every), start + TELL_EVERY);
    while start.elapsed() < Duration::from_secs(60 * options.minutes) {
        std::thread::sleep(TICK);
        chaos.heal(cast, false);
        if Instant::now() >= next_fault {
            next_fault += Duration::from_secs(options.every);
            if let Some((kind, name)) = chaos.strike(cast) {
                *faults.entry(kind).or_default() += 1;
                progress(start, &format!("{kind} ({name})"));
            }
        }
        if Instant::now() >= next_word {
            next_word += TELL_EVERY;
            progress(start, &cast.counting.report().to_string());
        }
    }
    chaos.heal(cast, true);
    progress(start, "no more faults");
    // it must be itself again while people still talk
    let answered = cast.counting.answered();
    let until = Instant::now() + SETTLE_WITHIN;
    while cast.counting.answered() < answered + 10 && Instant::now() < until {
        std::thread::sleep(TICK);
    }
    load.stop();
    (faults, cast.counting.settle(SETTLE_WITHIN))
}

fn progress(start: Instant, what: &str) {
    let seconds = start.elapsed().as_secs();
    eprintln!("soak {:3}:{:02} {what}", seconds / 60, seconds % 60);
}

fn tell(faults: &BTreeMap<Kind, usize>, report: &Report) -> Result<()> {
    let allowed: usize =
        faults.iter().filter(|(kind, _)| kind.may_double()).map(|(_, count)| count * TWICE_A_FAULT).sum();
    println!("{}", Machine::this());
    for (kind, count) in faults {
        println!("{count:7}  {kind}");
    }
    println!("{:7}  faults in all", faults.values().sum::<usize>());
    println!("{:7}  lines said, {} of them read for certain", report.said, report.read);
    println!("{:7}  answered", report.answered);
    println!("{:7}  lost", report.lost.len());
    println!(
        "{:7}  answers too many (at most {allowed}: {TWICE_A_FAULT} for each fault that hits a speaker)",
        report.extra()
    );
    println!("{:7.1}  seconds of silence at the longest", report.longest_silence.as_secs_f64());
    println!("latency p50 {:.1?}, p99 {:.1?}; all of it: {report}", report.p50, report.p99);
    match report.lost.is_empty() && report.extra() <= allowed && report.strange_count == 0 {
        true => Ok(()),
        false => Err(Failure::new("a promise was broken")),
    }
}
