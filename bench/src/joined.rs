//! From the connection to the channel: how long it takes until a server lets the bot in, beside a raw client that says just
//! NICK, USER and JOIN, in turns, on the real servers with their own limits. Both are watched on their way to the server.
//!
//! The bot also asks for capabilities, which takes one round trip more: so it is measured over a slow network, too.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use servers::{Hybrid, Inspircd, InspircdProofs, Ngircd, Program, Relay};

use crate::Format;
use crate::echo::systems::{config, median};
use crate::executable;
use crate::failure::{Context, Failure, Result};
use crate::machine::Machine;

const CHANNEL: &str = "#joined";
/// How long a line is on its way.
const DELAYS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(50)];
/// How long it may take.
const JOINED_WITHIN: Duration = Duration::from_secs(60);
/// How long a server may need to notice that a client has gone.
const GONE: Duration = Duration::from_millis(300);

/// Options of `bench joined`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    format: Format,
    /// How often each comes in
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Measure this executable instead of building one
    #[arg(long, value_name = "FILE")]
    pubbot: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    machine: Machine,
    runs: usize,
    rows: Vec<Row>,
}

/// Median times in ms.
#[derive(Serialize)]
struct Row {
    server: &'static str,
    delay_ms: u128,
    bot_ms: f64,
    raw_ms: f64,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    let pubbot = executable::pubbot(options.pubbot.as_deref())?;
    let ngircd = Ngircd::start_with_limits();
    let inspircd = Inspircd::start_with_limits(InspircdProofs::Labels);
    let hybrid = Hybrid::start_with_limits();
    let servers = [("ngircd", ngircd.port()), ("InspIRCd", inspircd.port()), ("ircd-hybrid", hybrid.port())];
    let mut rows = Vec::new();
    for delay in DELAYS {
        for (server, port) in servers {
            eprintln!("bench: {server}, {delay:?} later each way");
            let network = Relay::to(port);
            network.delay(delay);
            let (bot_ms, raw_ms) = measure(&pubbot, network.port(), options.runs)?;
            rows.push(Row { server, delay_ms: delay.as_millis(), bot_ms, raw_ms });
        }
    }
    let report = Report { machine: Machine::this(), runs: options.runs, rows };
    if options.format.json {
        println!("{}", serde_json::to_string(&report).context("the report can't be written as JSON")?);
    } else {
        print(&report);
    }
    Ok(())
}

/// The bot's and the raw client's median, taking turns.
fn measure(pubbot: &Path, server: u16, runs: usize) -> Result<(f64, f64)> {
    let relay = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    let through = relay.local_addr().context("no port")?.port();
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let config = config(folder.path(), through, "embedded:", &[CHANNEL], None)?;
    let (pubbot, own, through) = (pubbot.to_string_lossy(), executable::own()?, through.to_string());
    let bot = [&*pubbot, "--config", &config, "up"];
    let raw = [own.as_str(), "raw-echo", "--irc", &through, "--channels", CHANNEL];
    let (mut bots, mut raws) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        bots.push(once(&bot, &relay, server)?);
        raws.push(once(&raw, &relay, server)?);
    }
    Ok((median(&bots), median(&raws)))
}

/// Starts a client, and ends it: how many ms went by from its connection to its JOIN.
fn once(command: &[&str], relay: &TcpListener, server: u16) -> Result<f64> {
    let [program, arguments @ ..] = command else { return Err(Failure::new("no program")) };
    let mut program = Program::start(program, arguments, &[]);
    let took = joined(relay, server);
    program.kill();
    sleep(GONE);
    took.map(|took| took.as_secs_f64() * 1e3)
}

/// Relays one connection until the server says that the client is in the channel.
fn joined(relay: &TcpListener, server: u16) -> Result<Duration> {
    let (client, _) = relay.accept().context("nobody connects")?;
    let start = Instant::now();
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).context("the server is away")?;
    for socket in [&client, &server] {
        socket.set_nodelay(true).context("no delay")?;
        socket.set_read_timeout(Some(JOINED_WITHIN)).context("no time-out")?;
    }
    let (mut from, mut to) = (client.try_clone().context("a socket")?, server.try_clone().context("a socket")?);
    let up = thread::spawn(move || carry(&mut from, &mut to, |_| false));
    let (mut from, mut to) = (&server, &client);
    let mut heard = Vec::new();
    let is_in = carry(&mut from, &mut to, |bytes| {
        heard.extend_from_slice(bytes);
        String::from_utf8_lossy(&heard).lines().any(|line| line.contains(" JOIN ") && line.contains(CHANNEL))
    });
    let took = start.elapsed();
    for socket in [&client, &server] {
        // it may be closed already
        let _ = socket.shutdown(Shutdown::Both);
    }
    up.join().map_err(|_| Failure::new("the relay panicked"))?;
    if is_in { Ok(took) } else { Err(Failure::new(format!("not in: {}", String::from_utf8_lossy(&heard)))) }
}

/// Carries bytes until that is enough, or one end is closed: whether it was enough.
fn carry(from: &mut impl Read, to: &mut impl Write, mut enough: impl FnMut(&[u8]) -> bool) -> bool {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..length]).is_err() {
            return false;
        }
        if enough(&bytes[..length]) {
            return true;
        }
    }
    false
}

fn print(report: &Report) {
    println!("{}\nmedian of {} each\n", report.machine, report.runs);
    println!("server       one way      pubbot         raw    ratio");
    for Row { server, delay_ms, bot_ms, raw_ms } in &report.rows {
        let ratio = bot_ms / raw_ms;
        println!("{server:<12} {delay_ms:>4} ms {bot_ms:>8.1} ms {raw_ms:>8.1} ms {ratio:>6.2} x");
    }
}
