//! What is measured: five systems, each of processes of its own, each with an IRC server of its own.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use servers::{Program, RabbitMq};
use tempfile::TempDir;

use super::load::{CHANNELS, Room, Server};
use super::process;
use crate::executable;
use crate::failure::{Context, Failure, Result};

/// One of the systems.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Raw,
    Up,
    Serial,
    Pipelined,
    Spread,
}

impl Kind {
    /// In the order of the table.
    pub(super) const ALL: [Kind; 5] = [Kind::Raw, Kind::Up, Kind::Serial, Kind::Pipelined, Kind::Spread];

    /// Its name in JSON.
    pub(super) fn key(self) -> &'static str {
        match self {
            Kind::Raw => "raw",
            Kind::Up => "up",
            Kind::Serial => "serial_relay",
            Kind::Pipelined => "pipelined_relay",
            Kind::Spread => "rabbitmq",
        }
    }

    /// Where it stands among all.
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Raw => "raw echo, one process",
            Kind::Up => "pubbot up (embedded)",
            Kind::Serial => "serial relay, RabbitMQ",
            Kind::Pipelined => "pipelined relay, RabbitMQ",
            Kind::Spread => "pubbot over RabbitMQ",
        })
    }
}

/// A running system. Its processes end when it is dropped.
pub(super) struct System {
    pub(super) kind: Kind,
    pub(super) room: Room,
    processes: Vec<Program>,
    /// The broker's process, where it has one.
    broker: Option<u32>,
    _folder: TempDir,
}

/// CPU time used so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Cpu {
    pub(super) own: Duration,
    pub(super) broker: Duration,
}

impl Cpu {
    pub(super) fn since(self, before: Cpu) -> Cpu {
        Cpu { own: self.own.saturating_sub(before.own), broker: self.broker.saturating_sub(before.broker) }
    }
}

/// The resident memory of pubbot's processes, in MiB.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Memory {
    pub(super) up: f64,
    pub(super) worker: f64,
    pub(super) connector: f64,
}

impl System {
    /// Starts its processes and waits until they answer.
    pub(super) fn start(kind: Kind, pubbot: &Path, unproved: Option<usize>, broker: &RabbitMq) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let server = Server::open()?;
        let (own, pubbot) = (executable::own()?, pubbot.to_string_lossy());
        let (port, channels) = (server.port().to_string(), CHANNELS.join(","));
        let irc = ["--irc", &port, "--channels", &channels];
        let mut processes = Vec::new();
        match kind {
            Kind::Raw => processes.push(Program::start(&own, &[&["raw-echo"], &irc[..]].concat(), &[])),
            Kind::Up => {
                let config = config(folder.path(), server.port(), "embedded:", &CHANNELS, unproved)?;
                processes.push(Program::start(&*pubbot, &["--config", &config, "up"], &[]));
            }
            Kind::Spread => {
                let config = config(folder.path(), server.port(), broker.url(), &CHANNELS, unproved)?;
                processes.push(ready(Program::start(&*pubbot, &["--config", &config, "worker"], &[])));
                processes.push(Program::start(&*pubbot, &["--config", &config, "connector"], &[]));
            }
            Kind::Serial | Kind::Pipelined => {
                let mode = if kind == Kind::Serial { "serial" } else { "pipelined" };
                let to = ["--mode", mode, "--prefix", mode, "--broker", broker.url()];
                let worker = ["relay", "worker"];
                processes.push(ready(Program::start(&own, &[&worker, &to[..]].concat(), &[])));
                let connector = ["relay", "connector"];
                processes.push(Program::start(&own, &[&connector, &to[..], &irc[..]].concat(), &[]));
            }
        }
        let spread = matches!(kind, Kind::Spread | Kind::Serial | Kind::Pipelined);
        let room = server.welcome().map_err(|why| failure(kind, &processes, &why))?;
        Ok(System { kind, room, processes, broker: spread.then(|| broker.pid()), _folder: folder })
    }

    /// Does something; when it fails, tells in which system, and what its processes said last.
    pub(super) fn checked<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        act(self).map_err(|why| failure(self.kind, &self.processes, &why))
    }

    /// The CPU time that its processes have used so far.
    pub(super) fn cpu(&self) -> Result<Cpu> {
        let mut own = Duration::ZERO;
        for program in &self.processes {
            own += process::cpu(program.pid())?;
        }
        let broker = self.broker.map_or(Ok(Duration::ZERO), process::cpu)?;
        Ok(Cpu { own, broker })
    }
}

/// The memory of pubbot's processes now.
pub(super) fn memory(systems: &[System]) -> Result<Memory> {
    let of = |kind: Kind, process: usize| {
        let program = systems.get(kind.index()).and_then(|system| system.processes.get(process));
        process::resident_mib(program.context("a process is missing")?.pid())
    };
    Ok(Memory { up: of(Kind::Up, 0)?, worker: of(Kind::Spread, 0)?, connector: of(Kind::Spread, 1)? })
}

/// Writes a configuration into the folder: its path.
pub(crate) fn config(
    folder: &Path,
    port: u16,
    broker: &str,
    channels: &[&str],
    unproved: Option<usize>,
) -> Result<String> {
    let (path, data) = (folder.join("pubbot.toml"), folder.join("data"));
    let unproved = unproved.map_or_else(String::new, |lines| format!("unproved = {lines}\n"));
    let text = format!(
        "data_dir = {data:?}\n[broker]\nurl = {broker:?}\n\
         [networks.bench]\nurl = \"irc://127.0.0.1:{port}\"\nnick = \"pubbot\"\nchannels = {channels:?}\nflood = \"off\"\n\
         {unproved}"
    );
    std::fs::write(&path, text).context(path.display())?;
    Ok(path.to_string_lossy().into_owned())
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => f64::NAN,
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

fn ready(worker: Program) -> Program {
    worker.wait_for_stderr("the worker is ready");
    worker
}

fn failure(kind: Kind, processes: &[Program], why: &Failure) -> Failure {
    let mut text = format!("{kind}: {why}");
    for program in processes {
        let stderr = program.stderr();
        let lines: Vec<&str> = stderr.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n  ");
        text.push_str(&format!("\nits process {} said last:\n  {last}", program.pid()));
    }
    Failure::new(text)
}
