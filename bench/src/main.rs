//! The measurements that the README quotes: ratios within one run on one machine. This file is the command line only;
//! each subcommand is a file of the same name.

mod archive;
mod echo;
mod executable;
mod failure;
mod flood;
mod joined;
mod machine;
mod outage;
mod random;
mod soak;
mod topics;
mod triggers;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::echo::{raw, relay};
use crate::failure::Result;

/// Measures pubbot against simpler programs that do the same work.
///
/// Progress goes to standard error, the table to standard output. Figures mean something on a machine that does
/// nothing else meanwhile; ratios within one run say more than absolute values. Run it as
/// `cargo run --release -p bench -- echo`.
#[derive(Parser)]
#[command(name = "bench", max_term_width = 120, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// An echo command through the whole bot, beside raw relays and a raw echo
    ///
    /// Measures, as separate processes against one built-in IRC server without limits: `pubbot up` with its embedded
    /// broker; `pubbot connector` and `pubbot worker` over a private RabbitMQ; two relays of plain tokio and lapin over
    /// the same kind of queues, one serial, one pipelined; a plain echo in one process. For each the latency, replies a
    /// second, and the CPU time of lines that nothing answers; then memory and the time to start. Needs RabbitMQ and
    /// ngircd on the machine, and builds the pubbot executable first. Takes about four minutes.
    Echo(echo::Options),
    /// From the connection to the channel, beside a raw client, on ngircd, InspIRCd and ircd-hybrid
    ///
    /// Each with its own limits; at once, and through a network on which every line is 50 ms on its way. Takes a minute,
    /// after the build.
    Joined(joined::Options),
    /// Regex triggers: the worker's index beside a RegexSet and each regex in turn
    ///
    /// At 10 to 10,000 triggers, on lines that never repeat. Takes about half a minute.
    Triggers(Format),
    /// Topic patterns: the pattern tree beside a backtracking trie and one pattern after another
    ///
    /// At 10 to 10,000 patterns, and on one pattern that was made to be slow. Takes some seconds.
    Topics(topics::Options),
    /// Random faults under load: what is lost, what is said twice, how long it is silent
    ///
    /// A private RabbitMQ, a connector and its standby, three workers, and an IRC server that counts. Every few seconds
    /// one of them is killed, told to stop, stopped, cut off or left on a half-open connection.
    Soak(soak::Options),
    /// A long outage of the broker, and takeovers by a standby
    ///
    /// How long it takes until what was said meanwhile is in the broker and answered; and until a standby speaks.
    Outage(outage::Options),
    /// Answers due at once on servers that keep their own flood limits
    ///
    /// 200 answers through `pubbot up`, beside raw clients that are as fast as the server lets them be: on ngircd, ircd-hybrid and
    /// InspIRCd, the latter with each of the proofs that it can give. Needs these three on the machine. Takes about five minutes, in which
    /// little is to be done.
    Flood(flood::Options),
    /// The archive: events in beside rows written by hand, searches, memory
    ///
    /// On SQLite and on a private PostgreSQL with ordinary settings. With 10 million events it takes an hour or more and much
    /// disk; `--messages 200000` takes a minute.
    Archive(archive::Options),
    #[command(hide = true)]
    RawEcho(raw::Options),
    #[command(hide = true)]
    Relay(relay::Options),
}

#[derive(Args)]
pub(crate) struct Format {
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<()> {
    match what {
        What::Echo(options) => echo::run(&options),
        What::Joined(options) => joined::run(&options),
        What::Triggers(format) => {
            triggers::run(format.json);
            Ok(())
        }
        What::Topics(options) => topics::run(&options),
        What::Soak(options) => soak::run(&options),
        What::Outage(options) => outage::run(&options),
        What::Flood(options) => flood::run(&options),
        What::Archive(options) => archive::run(&options),
        What::RawEcho(options) => raw::run(&options),
        What::Relay(options) => relay::run(options),
    }
}
