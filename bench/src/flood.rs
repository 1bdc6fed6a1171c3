//! How fast pubbot says what is due at once to servers that keep their own flood limits, beside what a raw client can get out of the same
//! server in the same run.

mod bot;
mod raw;
mod seen;

use std::path::PathBuf;
use std::thread;

use clap::Args;
use servers::{Hybrid, Inspircd, InspircdProofs, Ngircd};

use self::raw::Raw;
use self::seen::Seen;
use crate::executable;
use crate::failure::{Failure, Result};
use crate::machine::Machine;

/// The bytes of each text, so that a line has about 60.
const TEXT_BYTES: usize = 45;

#[derive(Args)]
pub(crate) struct Options {
    /// How many answers are due at once
    #[arg(long, value_name = "N", default_value_t = 200)]
    lines: usize,
    /// Only on servers with this in their name
    #[arg(long, value_name = "NAME", default_value = "")]
    server: String,
    /// Measure this executable instead of building one
    #[arg(long, value_name = "FILE")]
    pubbot: Option<PathBuf>,
}

/// A server with its own limits, and how it proves that it took a line.
struct Case {
    name: &'static str,
    proof: &'static str,
    /// How much of what the server allows is to be reached.
    aim: f64,
    start: fn() -> Running,
}

/// A server that ends when it is dropped.
struct Running {
    port: u16,
    _server: Box<dyn std::any::Any + Send>,
}

const CASES: [Case; 5] = [
    Case { name: "ngircd", proof: "PING", aim: 0.75, start: ngircd },
    Case { name: "ircd-hybrid", proof: "PING", aim: 0.75, start: hybrid },
    Case { name: "InspIRCd", proof: "PING", aim: 0.75, start: || inspircd(InspircdProofs::None) },
    Case { name: "InspIRCd", proof: "echo", aim: 0.9, start: || inspircd(InspircdProofs::Echoes) },
    Case { name: "InspIRCd", proof: "label", aim: 0.9, start: || inspircd(InspircdProofs::Labels) },
];

fn ngircd() -> Running {
    let server = Ngircd::start_with_limits();
    Running { port: server.port(), _server: Box::new(server) }
}

fn hybrid() -> Running {
    let server = Hybrid::start_with_limits();
    Running { port: server.port(), _server: Box::new(server) }
}

fn inspircd(proofs: InspircdProofs) -> Running {
    let server = Inspircd::start_with_limits(proofs);
    Running { port: server.port(), _server: Box::new(server) }
}

/// What was measured of a case.
struct Figures {
    best: Raw,
    bot: Seen,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.lines <= seen::SETTLED {
        return Err(Failure::new(format!("--lines must be more than {}", seen::SETTLED)));
    }
    let pubbot = executable::pubbot(options.pubbot.as_deref())?;
    let chosen = || CASES.iter().filter(|case| case.name.contains(&options.server));
    eprintln!("bench: {} lines on each server, by pubbot and by raw clients at the same time", options.lines);
    let figures: Vec<Result<Figures>> = thread::scope(|scope| {
        let pubbot = &pubbot;
        let measure = |case| scope.spawn(move || measure(case, options.lines, pubbot));
        let cases: Vec<_> = chosen().map(measure).collect();
        let join = |case: thread::ScopedJoinHandle<'_, _>| case.join();
        cases.into_iter().map(join).map(|it| it.unwrap_or_else(|_| Err(Failure::new("a fixture failed")))).collect()
    });
    println!("{}; {} answers due at once\n", Machine::this(), options.lines);
    println!(
        "| server, proof | a raw client | pubbot | of that | of that, from line {} on | aim | thrown out |",
        seen::SETTLED
    );
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for (case, figures) in chosen().zip(figures) {
        tell(case, &figures?);
    }
    Ok(())
}

fn measure(case: &Case, lines: usize, pubbot: &std::path::Path) -> Result<Figures> {
    let server = (case.start)();
    thread::scope(|scope| {
        let bot = scope.spawn(|| bot::says(server.port, lines, pubbot));
        let best = raw::best(server.port, lines);
        let bot = bot.join().unwrap_or_else(|_| Err(Failure::new("a fixture failed")))?;
        Ok(Figures { best, bot })
    })
}

fn tell(case: &Case, Figures { best, bot }: &Figures) {
    let missed = if bot.rate() / best.seen.rate() < case.aim { ", missed" } else { "" };
    println!(
        "| {}, {} | {:.2}/s, {} ahead | {:.2}/s, {:.0} s | {:.0} % | {:.0} % | ≥ {:.0} %{missed} | {} |",
        case.name,
        case.proof,
        best.seen.rate(),
        best.ahead,
        bot.rate(),
        bot.took.as_secs_f64(),
        100.0 * bot.rate() / best.seen.rate(),
        100.0 * bot.settled_rate() / best.seen.settled_rate(),
        100.0 * case.aim,
        bot.thrown_out,
    );
}

/// A text of the usual length that tells its number.
fn text(number: usize) -> String {
    format!("{number:04} {}", "x".repeat(TEXT_BYTES - 5))
}
