//! The echo bench, step by step: start every system, measure them in turns, count what they need, compare.
//!
//! All systems run from the beginning to the end and are idle while another one is measured. What is measured in rounds
//! is measured for every system in each round, so that noise on the machine hits all alike; the median round counts.

mod aims;
mod load;
mod process;
pub(crate) mod raw;
pub(crate) mod relay;
mod start;
pub(crate) mod systems;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use servers::RabbitMq;

use crate::Format;
use crate::executable;
use crate::failure::{Context, Failure, Result};
use crate::machine::Machine;
use systems::{Kind, System};
use table::{Figures, Report};

/// Lines outstanding in the measurement of replies a second; the aims are about the first.
const WINDOWS: [usize; 2] = [64, 1_000];
/// Lines that nothing answers, a second.
const CHATTER: u32 = 500;
/// How long a process that has just started may take to come to rest before its memory is read.
const REST: Duration = Duration::from_secs(1);

/// Options of `bench echo`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    format: Format,
    /// Measure less: half a minute instead of four, with figures to match
    #[arg(long)]
    quick: bool,
    /// How many lines pubbot may have written and not yet proved and remembered [default: pubbot's own]
    #[arg(long, value_name = "N")]
    unproved: Option<usize>,
    /// Measure this executable instead of building one
    #[arg(long, value_name = "PATH")]
    pubbot: Option<PathBuf>,
}

/// How much is measured.
struct Plan {
    /// Before anything is measured, as long for each system.
    warm_up: Duration,
    rounds: usize,
    /// Latency is measured in short turns, many of them: where the kernel puts two processes that talk to each other,
    /// and whether a processor sleeps meanwhile, changes every few seconds and makes more of a difference than we do.
    turns: usize,
    /// The least lines and the least time of a turn.
    latency_lines: usize,
    latency: Duration,
    /// Time a round and window.
    saturate: Duration,
    /// The rounds in which CPU time is counted, and how long in each.
    chatter_rounds: usize,
    chatter: Duration,
    starts: usize,
}

const FULL: Plan = Plan {
    warm_up: Duration::from_millis(1_500),
    rounds: 5,
    turns: 4,
    latency_lines: 150,
    latency: Duration::from_millis(250),
    saturate: Duration::from_secs(2),
    chatter_rounds: 3,
    chatter: Duration::from_secs(4),
    starts: 15,
};

const QUICK: Plan = Plan {
    warm_up: Duration::from_millis(500),
    rounds: 2,
    turns: 3,
    latency_lines: 70,
    latency: Duration::from_millis(100),
    saturate: Duration::from_millis(400),
    chatter_rounds: 1,
    chatter: Duration::from_millis(1_500),
    starts: 5,
};

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    if cfg!(debug_assertions) {
        return Err(Failure::new("a debug build measures nothing: cargo run --release -p bench -- echo"));
    }
    let plan = if options.quick { QUICK } else { FULL };
    let pubbot = executable::pubbot(options.pubbot.as_deref())?;
    let report = measure(&plan, &pubbot, options.unproved)?;
    if options.format.json {
        println!("{}", serde_json::to_string(&report).context("the report can't be written as JSON")?);
    } else {
        print!("{}", table::text(&report));
    }
    Ok(())
}

fn measure(plan: &Plan, pubbot: &Path, unproved: Option<usize>) -> Result<Report> {
    // first, while no broker keeps the disk busy
    step("starting, again and again");
    let starts = start::measure(pubbot, plan.starts)?;
    step("starting RabbitMQ and every system");
    let broker = RabbitMq::start();
    let machine = Machine::this().with_rabbitmq(version(&broker.log()));
    let mut systems = Vec::new();
    for kind in Kind::ALL {
        systems.push(System::start(kind, pubbot, unproved, &broker)?);
    }
    std::thread::sleep(REST);
    let memory = systems::memory(&systems)?;
    step("warming up");
    each(&mut systems, |system| system.room.saturate(WINDOWS[0], plan.warm_up).map(drop))?;
    let mut figures: Vec<Figures> = systems.iter().map(|_| Figures::default()).collect();
    for round in 1..=plan.rounds {
        measure_round(plan, round, &mut systems, &mut figures)?;
    }
    each(&mut systems, |system| system.room.rest())?;
    let memory_after = systems::memory(&systems)?;
    let broker_memory = process::resident_mib(broker.pid())?;
    Ok(Report::new(machine, plan, &figures, [memory, memory_after], broker_memory, starts))
}

fn measure_round(plan: &Plan, round: usize, systems: &mut [System], figures: &mut [Figures]) -> Result<()> {
    step(&format!("round {round} of {}: latency", plan.rounds));
    for turn in 0..plan.turns {
        for index in order(systems.len(), round + turn) {
            let latencies = |system: &mut System| system.room.latencies(plan.latency_lines, plan.latency);
            figures[index].add_latencies(systems[index].checked(latencies)?);
            each(systems, |system| system.room.attend())?;
        }
    }
    for index in order(systems.len(), round) {
        step(&format!("round {round} of {}: {}", plan.rounds, systems[index].kind));
        measure_load(plan, round, &mut systems[index], &mut figures[index])?;
        each(systems, |system| system.room.attend())?;
    }
    Ok(())
}

/// Everyone once; another one begins in each round.
fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| (index + round) % count)
}

fn measure_load(plan: &Plan, round: usize, system: &mut System, figures: &mut Figures) -> Result<()> {
    for (index, window) in WINDOWS.into_iter().enumerate() {
        let rate = system.checked(|system| system.room.saturate(window, plan.saturate))?;
        figures.add_rate(index, rate);
    }
    if round <= plan.chatter_rounds {
        let before = system.cpu()?;
        let lines = system.checked(|system| system.room.chatter(CHATTER, plan.chatter))?;
        figures.add_cpu(lines, system.cpu()?.since(before));
    }
    Ok(())
}

fn each(systems: &mut [System], mut act: impl FnMut(&mut System) -> Result<()>) -> Result<()> {
    systems.iter_mut().try_for_each(|system| system.checked(&mut act))
}

/// "Starting RabbitMQ 3.10.8 on Erlang 25.2.3" is the log's first line of interest.
fn version(log: &str) -> Option<String> {
    let rest = log.split("Starting RabbitMQ ").nth(1)?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// Tells what is being done.
fn step(what: &str) {
    eprintln!("bench: {what}");
}
