//! The archive under a load of years: how fast events come in beside the same rows written by hand, how fast searches find
//! the newest of them, and how much memory it takes.
//!
//! Both write to databases of their own on the same server or disk, by turns, so that what else the machine does meets both.

mod chat;
mod raw;
mod searches;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use protocol::Timestamp;
use serde::Serialize;
use servers::PostgreSql;
use store::Store;
use store::search::Query;

use self::chat::{Chat, World};
use self::raw::{Places, Raw};
use self::searches::Searches;
use crate::Format;
use crate::failure::{Context, Failure, Result};
use crate::machine::{self, Machine};
use crate::random::Random;

/// Events of a batch: what the archive's plugin takes at once.
const BATCH: usize = 1_000;
/// Batches of one turn, before the other one writes them.
const TURN: usize = 20;
/// What is asked for at once.
const TOP: u16 = 50;
/// What PostgreSQL has unless it is told otherwise; the tests' servers have less.
const POSTGRES: &[(&str, &str)] = &[("shared_buffers", "128MB")];
/// The aims.
const AIM_EVENTS: f64 = 20_000.0;
const AIM_RATIO: f64 = 1.5;
const AIM_SEARCH_MS: f64 = 100.0;
const AIM_MIB: f64 = 100.0;
/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// Options of `bench archive`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    format: Format,
    /// How many events are archived; 10 million take about 4 GB of disk on SQLite and 14 GB on PostgreSQL, twice, until they are deleted
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    messages: usize,
    /// What they are archived in
    #[arg(long, value_enum, default_value_t = Engines::Both)]
    engine: Engines,
    /// Searches of each kind
    #[arg(long, value_name = "N", default_value_t = 60)]
    searches: usize,
    /// What the events are drawn from
    #[arg(long, value_name = "N", default_value_t = 5)]
    seed: u64,
    /// Don't write the rows by hand, too
    #[arg(long)]
    no_raw: bool,
    /// Archive in this empty database and leave it there; in one that has events, only search
    #[arg(long, value_name = "URL", hide = true)]
    url: Option<String>,
    /// Where SQLite's files are made [default: a temporary folder]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engines {
    Sqlite,
    Postgres,
    Both,
}

/// What was measured of one engine.
#[derive(Serialize)]
struct Figures {
    engine: String,
    events: usize,
    intake: Option<Intake>,
    searches: Vec<Found>,
    /// Of all that the aim is for.
    searches_p50_ms: f64,
    searches_p95_ms: f64,
    /// The most that this process has had in memory so far, the generator and what writes by hand included.
    peak_mib: Option<f64>,
    database_bytes: Option<u64>,
}

#[derive(Serialize)]
struct Intake {
    events_a_second: f64,
    /// Of the last tenth.
    late_events_a_second: f64,
    /// The longest that a batch took.
    slowest_batch_ms: f64,
    raw_events_a_second: Option<f64>,
    ratio: Option<f64>,
    /// Processor time of this process for an event, in µs: on a busy machine it says more than the clock. What a server takes is
    /// not in it.
    cpu_us: Option<f64>,
    raw_cpu_us: Option<f64>,
}

/// How long searches of a kind took.
#[derive(Serialize)]
struct Found {
    kind: &'static str,
    is_aimed: bool,
    searches: usize,
    p50_ms: f64,
    p95_ms: f64,
    slowest: String,
    slowest_ms: f64,
    /// Found on the first page, on average.
    found: f64,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    engines: Vec<Figures>,
}

/// Where the events go, and where those that are written by hand.
struct Databases {
    ours: String,
    raw: Option<String>,
    /// It ends, or is deleted, when dropped.
    _holders: (Option<PostgreSql>, Option<tempfile::TempDir>),
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("tokio")?;
    let mut engines = Vec::new();
    for engine in [Engines::Sqlite, Engines::Postgres] {
        if options.engine == engine || options.engine == Engines::Both {
            let databases = databases(engine, options)?;
            engines.push(runtime.block_on(measure(&databases, options))?);
        }
    }
    let report = Report { machine: Machine::this(), engines };
    if options.format.json {
        println!("{}", serde_json::to_string(&report).context("the report can't be written as JSON")?);
    } else {
        print!("{}", text(&report));
    }
    Ok(())
}

fn databases(engine: Engines, options: &Options) -> Result<Databases> {
    let wants_raw = !options.no_raw;
    if let Some(url) = &options.url {
        return Ok(Databases { ours: url.clone(), raw: None, _holders: (None, None) });
    }
    if engine == Engines::Postgres {
        let server = PostgreSql::start_with(POSTGRES);
        let (ours, raw) = (server.database(), wants_raw.then(|| server.database()));
        return Ok(Databases { ours, raw, _holders: (Some(server), None) });
    }
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    }
    .context("a temporary folder")?;
    let at = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let (ours, raw) = (at("pubbot.db"), wants_raw.then(|| at("raw.db")));
    Ok(Databases { ours, raw, _holders: (None, Some(folder)) })
}

async fn measure(databases: &Databases, options: &Options) -> Result<Figures> {
    let store = migrated(&databases.ours).await?;
    let world = World::new();
    let mut chat = Chat::new(&world, options.seed);
    let first = chat.now();
    let archived = !store.archive().channels().await.context("the archive's channels")?.is_empty();
    let intake = if archived {
        // the clock goes on to where it was when they were archived
        (0..options.messages.div_ceil(BATCH)).for_each(|_| drop(chat.batch(BATCH)));
        None
    } else {
        let raw = match &databases.raw {
            Some(url) => {
                migrated(url).await?.close().await;
                Some(Raw::connect(url).await?)
            }
            None => None,
        };
        Some(take_in(&store, raw, &mut chat, options.messages).await?)
    };
    let last = chat.now();
    let random = Random(options.seed + 1);
    let mut searches = Searches { world: &world, random, events: options.messages, first, last };
    let mut times = Vec::new();
    let mut found = Vec::new();
    for group in searches.groups(options.searches) {
        let (kind, mut all) = search(&store, &group, last).await?;
        found.push(kind);
        if group.is_aimed {
            times.append(&mut all);
        }
    }
    let database_bytes = size(&store, &databases.ours).await;
    let engine = format!("{:?}", store.engine());
    store.close().await;
    Ok(Figures {
        engine,
        events: options.messages,
        intake,
        searches: found,
        searches_p50_ms: percentile(&mut times, 0.5),
        searches_p95_ms: percentile(&mut times, 0.95),
        peak_mib: machine::field("/proc/self/status", "VmHWM")
            .and_then(|text| machine::number::<f64>(&text))
            .map(|kib| kib / 1024.0),
        database_bytes,
    })
}

async fn migrated(url: &str) -> Result<Store> {
    let store = Store::open(url).context("the database's URL")?;
    store.migrate().await.context("the tables can't be made")?;
    Ok(store)
}

/// Archives so many events, and writes them by hand, by turns.
async fn take_in(store: &Store, mut raw: Option<Raw>, chat: &mut Chat<'_>, events: usize) -> Result<Intake> {
    let (mut progress, mut places) =
        (Progress::new(format!("{:?}: events", store.engine()), events), Places::default());
    let (mut ours, mut by_hand, mut slowest, mut late) =
        (Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut cpu, mut raw_cpu) = (Duration::ZERO, Duration::ZERO);
    let late_from = events - events / 10;
    let (mut done, mut late_events) = (0, 0);
    while done < events {
        let mut turn = Vec::with_capacity(TURN);
        while turn.len() < TURN && done < events {
            let count = BATCH.min(events - done);
            turn.push(chat.batch(count));
            done += count;
        }
        for batch in &turn {
            // as a worker has them when it hands them to the plugin
            let events = batch.iter().map(chat::event).collect::<Result<Vec<_>>>()?;
            let (start, before) = (Instant::now(), cpu_time());
            let taken = plugins::archive::take(store, events.iter().map(|(event, chat)| (event, chat.as_ref()))).await;
            let taken = taken.map_err(|why| Failure::new(format!("events can't be archived: {why:?}")))?;
            let time = start.elapsed();
            cpu += cpu_time().saturating_sub(before);
            if taken != batch.len() {
                return Err(Failure::new(format!("of {} new events {taken} were archived", batch.len())));
            }
            ours += time;
            slowest = slowest.max(time);
            if done > late_from {
                late += time;
                late_events += batch.len();
            }
        }
        if let Some(raw) = &mut raw {
            let mut ready = Vec::with_capacity(turn.len());
            for batch in &turn {
                ready.push(raw.prepare(batch, &mut places).await?);
            }
            let (start, before) = (Instant::now(), cpu_time());
            for batch in &ready {
                raw.write(batch).await?;
            }
            by_hand += start.elapsed();
            raw_cpu += cpu_time().saturating_sub(before);
        }
        progress.show(done, done as f64 / ours.as_secs_f64());
    }
    progress.end();
    let raw = raw.is_some();
    Ok(Intake {
        events_a_second: events as f64 / ours.as_secs_f64(),
        late_events_a_second: late_events as f64 / late.as_secs_f64(),
        slowest_batch_ms: 1e3 * slowest.as_secs_f64(),
        raw_events_a_second: raw.then(|| events as f64 / by_hand.as_secs_f64()),
        ratio: raw.then(|| ours.as_secs_f64() / by_hand.as_secs_f64()),
        cpu_us: (!cpu.is_zero()).then(|| 1e6 * cpu.as_secs_f64() / events as f64),
        raw_cpu_us: (!raw_cpu.is_zero()).then(|| 1e6 * raw_cpu.as_secs_f64() / events as f64),
    })
}

/// The processor time of this process; none where the system does not tell.
fn cpu_time() -> Duration {
    /// Of a tick of the clock, as Linux shows it on every machine.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks: u32 = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
    TICK * ticks
}

/// What a kind of search takes, and how long each took, in ms.
async fn search(store: &Store, group: &searches::Group, now: Timestamp) -> Result<(Found, Vec<f64>)> {
    eprintln!("bench: {:?}: {}", store.engine(), group.name);
    let (mut times, mut found, mut slowest) = (Vec::new(), 0, (0.0, String::new()));
    for search in &group.searches {
        let start = Instant::now();
        let query = Query::parse(search, now, 0).context(search)?;
        let messages = store.archive().search(&query, i64::MAX, TOP).await.context(search)?;
        let time = 1e3 * start.elapsed().as_secs_f64();
        found += messages.len();
        times.push(time);
        if time > slowest.0 {
            slowest = (time, search.clone());
        }
    }
    let searches = times.len();
    let (p50_ms, p95_ms) = (percentile(&mut times, 0.5), percentile(&mut times, 0.95));
    let found = found as f64 / searches.max(1) as f64;
    let (slowest_ms, slowest) = slowest;
    let kind =
        Found { kind: group.name, is_aimed: group.is_aimed, searches, p50_ms, p95_ms, slowest, slowest_ms, found };
    Ok((kind, times))
}

fn percentile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let index = (times.len() as f64 * share).ceil() as usize;
    times.get(index.saturating_sub(1)).copied().unwrap_or_default()
}

/// How large the database is, its log aside.
async fn size(store: &Store, url: &str) -> Option<u64> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        return std::fs::metadata(path).ok().map(|file| file.len());
    }
    let pool = store.read().await.ok()?.get_postgres_connection_pool();
    let bytes: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())").fetch_one(pool).await.ok()?;
    u64::try_from(bytes).ok()
}

/// How far it is, on a terminal.
struct Progress {
    what: String,
    of: usize,
    begun: Instant,
    shown: Instant,
    is_terminal: bool,
}

impl Progress {
    fn new(what: String, of: usize) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        if !is_terminal {
            eprintln!("bench: {what}: {of}");
        }
        Progress { what, of, begun: Instant::now(), shown: Instant::now(), is_terminal }
    }

    fn show(&mut self, done: usize, a_second: f64) {
        if !self.is_terminal || self.shown.elapsed() < SHOW_EVERY {
            return;
        }
        self.shown = Instant::now();
        let share = done as f64 / self.of as f64;
        let left = self.begun.elapsed().mul_f64((1.0 - share) / share.max(1e-9));
        eprint!(
            "\r\x1b[Kbench: {} {done} of {} ({:.0} %), {a_second:.0} a second, {} s to go",
            self.what,
            self.of,
            100.0 * share,
            left.as_secs()
        );
        // it is only shown
        std::io::stderr().flush().ok();
    }

    fn end(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn text(report: &Report) -> String {
    let mut text = format!("{}\n", report.machine);
    for figures in &report.engines {
        table(&mut text, figures);
    }
    text
}

/// Writes to a String, which can't fail.
fn table(text: &mut String, figures: &Figures) {
    let _ = writeln!(text, "\n{}: {} events", figures.engine, figures.events);
    if let Some(bytes) = figures.database_bytes {
        let _ = writeln!(text, "  the database: {:.2} GB", bytes as f64 / 1e9);
    }
    if let Some(intake) = &figures.intake {
        let Intake { events_a_second, late_events_a_second, slowest_batch_ms, .. } = intake;
        let _ = writeln!(
            text,
            "  in: {events_a_second:.0} events a second (aim ≥ {AIM_EVENTS:.0}: {}), the last tenth {late_events_a_second:.0}; slowest batch {slowest_batch_ms:.0} ms",
            reached(*events_a_second >= AIM_EVENTS)
        );
        if let (Some(raw), Some(ratio)) = (intake.raw_events_a_second, intake.ratio) {
            let _ = writeln!(
                text,
                "  by hand: {raw:.0} events a second; ours takes {ratio:.2} × the time (aim ≤ {AIM_RATIO}: {})",
                reached(ratio <= AIM_RATIO)
            );
        }
    }
    if let Some((ours, raw)) = figures.intake.as_ref().and_then(|intake| intake.cpu_us.zip(intake.raw_cpu_us)) {
        let _ = writeln!(text, "  processor time of this process for an event: {ours:.1} µs, by hand {raw:.1} µs");
    }
    let Figures { searches_p50_ms: p50, searches_p95_ms: p95, .. } = figures;
    let _ = writeln!(
        text,
        "  searches: p50 {p50:.1} ms, p95 {p95:.1} ms (aim ≤ {AIM_SEARCH_MS:.0}: {}); of them, and more (+):\n",
        reached(*p95 <= AIM_SEARCH_MS)
    );
    let _ = writeln!(text, "  {:<36} {:>9} {:>9} {:>9} {:>7}  the slowest", "", "p50 ms", "p95 ms", "most ms", "found");
    for Found { kind, is_aimed, p50_ms, p95_ms, slowest, slowest_ms, found, .. } in &figures.searches {
        let mark = if *is_aimed { ' ' } else { '+' };
        let _ =
            writeln!(text, "{mark} {kind:<36} {p50_ms:>9.1} {p95_ms:>9.1} {slowest_ms:>9.1} {found:>7.1}  {slowest}");
    }
    if let Some(mib) = figures.peak_mib {
        let _ = writeln!(text, "\n  memory at most: {mib:.0} MiB (aim ≤ {AIM_MIB:.0}: {})", reached(mib <= AIM_MIB));
    }
}

fn reached(is_reached: bool) -> &'static str {
    if is_reached { "reached" } else { "missed" }
}
