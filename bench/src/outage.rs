//! A long outage of the broker under load: how soon after it what was read meanwhile is in the broker, and answered. And how long it takes
//! until a standby speaks for a connector that was killed, told to stop, or stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bus::{Broker, RabbitMq, System, Topology};
use clap::Args;
use protocol::Pattern;

use crate::executable;
use crate::failure::{Context, Failure, Result};
use crate::machine::Machine;
use crate::soak::cast::Cast;

/// Workers, beside two connectors.
const WORKERS: usize = 3;
/// How many events the observer takes at a time.
const PREFETCH: u16 = 2_000;
/// How long draining, and then answering, may take.
const DRAINED_WITHIN: Duration = Duration::from_secs(600);
/// How long a takeover may take.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(120);
/// Lines a second while connectors change.
const RATE: u32 = 50;
/// How long a connector that was started again needs until it stands by for certain.
const STAND_BY: Duration = Duration::from_secs(4);
/// How often it is looked whether something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Args)]
pub(crate) struct Options {
    /// How long the broker is away
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u64,
    /// Lines a second meanwhile
    #[arg(long, value_name = "N", default_value_t = 200)]
    rate: u32,
    /// How often a connector is killed, and told to stop; stopped a fifth as often
    #[arg(long, value_name = "K", default_value_t = 20)]
    rounds: usize,
    /// The executable to measure [default: built now]
    #[arg(long, value_name = "FILE")]
    pubbot: Option<PathBuf>,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    let pubbot = executable::pubbot(options.pubbot.as_deref())?;
    let mut cast = Cast::start(&pubbot, WORKERS)?;
    println!("{}", Machine::this());
    if options.minutes > 0 {
        outage(options, &mut cast)?;
    }
    let kill = |cast: &Cast, speaker: usize| cast.connectors[speaker].service.kill();
    let stop = |cast: &Cast, speaker: usize| {
        cast.connectors[speaker].service.terminate(Duration::from_secs(30));
    };
    let freeze = |cast: &Cast, speaker: usize| cast.connectors[speaker].service.freeze();
    takeovers("kill -9", &cast, options.rounds, kill)?;
    takeovers("SIGTERM", &cast, options.rounds, stop)?;
    takeovers("SIGSTOP", &cast, options.rounds / 5, freeze)?;
    let report = cast.counting.settle(TAKEN_OVER_WITHIN);
    println!("{report}");
    if report.lost.is_empty() { Ok(()) } else { Err(Failure::new("lines were lost")) }
}

/// Counts the events of the chat that have arrived in the broker.
struct Observer {
    seen: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl Observer {
    fn watch(url: &str) -> Result<Self> {
        let runtime = tokio::runtime::Runtime::new().context("a runtime")?;
        let pattern = Pattern::parse("chat.irc.*.chat").context("a pattern")?;
        let seen = Arc::new(AtomicUsize::new(0));
        let mut events = runtime.block_on(async {
            let broker = RabbitMq::connect(url, Topology::default(), "bench", Arc::new(System)).await?;
            let queue = broker.topology().worker("bench", vec![pattern]);
            let events = broker.consume(queue, PREFETCH).await;
            // it lives as long as the runtime
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(broker);
            });
            events
        });
        let counted = seen.clone();
        if let Ok(events) = &mut events {
            let mut events = std::mem::replace(events, bus::consumer(1).1);
            runtime.spawn(async move {
                let mut ids = std::collections::HashSet::new();
                while let Some(event) = events.next().await {
                    if ids.insert(event.properties.message_id.clone()) {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                    event.acknowledge();
                }
            });
        }
        events.map(|_| ()).context("the observer")?;
        Ok(Observer { seen, _runtime: runtime })
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

fn outage(options: &Options, cast: &mut Cast) -> Result<()> {
    let observer = Observer::watch(cast.broker.url())?;
    sleep(Duration::from_secs(3));
    let (said, seen) = (cast.counting.said(), observer.seen());
    let load = cast.counting.begin("!echo", None, options.rate);
    sleep(Duration::from_secs(2));
    cast.broker.kill();
    eprintln!("outage: the broker is away for {} minutes, {} lines/s", options.minutes, options.rate);
    sleep(Duration::from_secs(60 * options.minutes));
    load.stop();
    let lines = cast.counting.said() - said;
    cast.broker.start_again();
    let start = Instant::now();
    eprintln!("outage: the broker is back, {lines} lines were said");
    let drained = wait(start, "in the broker", || observer.seen() - seen >= lines)?;
    println!("{:7.1}  s until {lines} events were in the broker and delivered from it", drained.as_secs_f64());
    let answered = wait(start, "answered", || cast.counting.answered() >= said + lines)?;
    println!("{:7.1}  s until all were answered", answered.as_secs_f64());
    cast.counting.settle(DRAINED_WITHIN);
    Ok(())
}

fn wait(start: Instant, what: &str, done: impl Fn() -> bool) -> Result<Duration> {
    while !done() {
        if start.elapsed() > DRAINED_WITHIN {
            return Err(Failure::new(format!("not everything was {what} after {DRAINED_WITHIN:?}")));
        }
        sleep(LOOK_EVERY);
    }
    Ok(start.elapsed())
}

/// Takes the speaker away so often, and prints how long it took until the other one answered.
fn takeovers(name: &str, cast: &Cast, rounds: usize, away: impl Fn(&Cast, usize)) -> Result<()> {
    let mut took = Vec::new();
    let load = cast.counting.begin("!echo", None, RATE);
    for round in 0..rounds {
        sleep(STAND_BY);
        let speaker = cast.only_speaker(TAKEN_OVER_WITHIN)?;
        let connection = cast.counting.last_speaker();
        let start = Instant::now();
        away(cast, speaker);
        took.push(cast.wait_for_another(connection, start, TAKEN_OVER_WITHIN)?);
        eprintln!("outage: {name} {round}: {:.2?}", took.last().copied().unwrap_or_default());
        cast.connectors[speaker].service.thaw();
    }
    load.stop();
    took.sort_unstable();
    if let (Some(p50), Some(p99)) = (took.get(took.len() / 2), took.last()) {
        println!("takeover after {name}: p50 {p50:.2?}, p99 (the longest of {rounds}) {p99:.2?}");
    }
    Ok(())
}
