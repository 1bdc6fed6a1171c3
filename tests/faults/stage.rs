//! Where a fault happens: a bot of supervised processes before a server that counts.

use std::time::{Duration, Instant};

use servers::{Counting, FakeOptions, Report, Service, resident_kib};

use super::size::{Size, size};
use crate::world::{Kind, World, fresh_prefix};

/// How long the bot may take to be well again after the last fault.
pub const RECOVERY: Duration = Duration::from_secs(30);
/// How long RabbitMQ 3.10 takes to write down where a new quorum queue is.
pub const QUEUE_IS_ON_DISK: Duration = Duration::from_secs(2);
/// Where the users talk.
pub const CHANNELS: [&str; 3] = ["#one", "#two", "#three"];
/// What an allocator may keep for itself.
const ALLOCATOR_KIB: u64 = 8 * 1024;
/// How long lines may take to be said, faults included.
const SAID_WITHIN: Duration = Duration::from_secs(180);

/// A bot, and the server that it is on.
pub struct Stage {
    // the processes end first
    pub connectors: Vec<Service>,
    pub workers: Vec<Service>,
    pub counting: Counting,
    pub world: World,
    pub size: Size,
}

/// How a stage is set.
pub struct Plan {
    pub kind: Kind,
    pub workers: usize,
    pub options: FakeOptions,
    /// Of the broker; else the shared one's.
    pub broker_url: Option<String>,
    /// By which the connector reaches the broker, if another.
    pub connector_broker_url: Option<String>,
    /// By which the connector reaches the IRC server, if another.
    pub irc_port: Option<u16>,
    /// More of the network's configuration.
    pub network: &'static str,
    /// The database; else a file in the data folder.
    pub database_url: Option<String>,
}

impl Plan {
    pub fn new(kind: Kind) -> Self {
        let options = FakeOptions::default();
        let (broker_url, connector_broker_url, irc_port, network, database_url) = Default::default();
        Plan { kind, workers: 2, options, broker_url, connector_broker_url, irc_port, network, database_url }
    }
}

impl Stage {
    /// The bot with two workers where they are processes of their own.
    pub fn set(kind: Kind) -> Self {
        Self::plan(Plan::new(kind))
    }

    pub fn plan(mut plan: Plan) -> Self {
        let options = std::mem::take(&mut plan.options);
        Self::plan_before(plan, Counting::start_with(&CHANNELS, options))
    }

    /// The same before a server that is there already.
    pub fn plan_before(plan: Plan, counting: Counting) -> Self {
        let port = plan.irc_port.unwrap_or(counting.port());
        let world = match &plan.broker_url {
            Some(url) => World::with_broker(&fresh_prefix(), plan.kind, port, &CHANNELS, url),
            None => World::new(plan.kind, port, &CHANNELS),
        };
        let database = plan.database_url.map(|url| format!("[database]\nurl = {url:?}")).unwrap_or_default();
        world.configure(&format!("channels = {CHANNELS:?}\n{}", plan.network), &database);
        let mut stage = Stage { connectors: Vec::new(), workers: Vec::new(), counting, world, size: size() };
        if plan.kind == Kind::Spread {
            stage.workers = (0..plan.workers).map(|_| stage.world.service(&["worker"], &[])).collect();
            stage.wait_for_workers();
        }
        let url = plan.connector_broker_url.map(|url| ("PUBBOT_BROKER_URL", url));
        let environment: Vec<(&str, &str)> = url.iter().map(|(name, url)| (*name, url.as_str())).collect();
        let role = if plan.kind == Kind::Up { "up" } else { "connector" };
        stage.connectors.push(stage.world.service(&[role], &environment));
        stage.counting.wait_for_bot();
        stage
    }

    /// One more connector, with a data folder of its own; it stands by.
    pub fn add_connector(&mut self) {
        let connector = self.connector_on(self.connectors.len());
        self.connectors.push(connector);
    }

    /// Starts a connector again that was stopped, with the data folder that it had.
    pub fn start_connector_again(&mut self, index: usize) {
        self.connectors[index] = self.connector_on(index);
    }

    fn connector_on(&self, index: usize) -> Service {
        let folder = if index == 0 { "data".to_owned() } else { format!("data{index}") };
        self.world.service(&["connector"], &[("PUBBOT_DATA_DIR", &self.world.path(&folder))])
    }

    /// One more worker.
    pub fn add_worker(&mut self) {
        self.workers.push(self.world.service(&["worker"], &[]));
    }

    /// Waits until all workers work.
    pub fn wait_for_workers(&self) {
        self.workers.iter().for_each(|worker| worker.wait_for_stderr("the worker is ready", RECOVERY));
    }

    /// The process that is the whole bot, or its connector.
    pub fn connector(&self) -> &Service {
        &self.connectors[0]
    }

    /// Says all lines, with so many faults in between, each at its time; goes on saying lines until the last one is over.
    pub fn talk_through(&self, faults: usize, fault: impl FnMut(usize)) -> Report {
        self.talk_through_with("!echo", faults, fault)
    }

    pub fn talk_through_with(&self, command: &str, faults: usize, mut fault: impl FnMut(usize)) -> Report {
        let before = self.counting.said();
        let load = self.counting.begin(command, None, self.size.rate);
        for number in 0..faults {
            self.wait_until_said(before + self.size.lines * (number + 1) / (faults + 1));
            fault(number);
        }
        self.wait_until_said(before + self.size.lines);
        load.stop();
        let report = self.counting.settle(RECOVERY);
        eprintln!("{report}");
        report
    }

    /// Says lines and settles them, fault after fault: no line is said while a fault happens, so that none is cut in two.
    pub fn talk_through_settled(&self, faults: usize, mut fault: impl FnMut(usize)) -> Report {
        for number in 0..faults {
            self.counting.say(self.size.lines / (faults + 1), self.size.rate);
            fault(number);
        }
        self.counting.say(self.size.lines / (faults + 1), self.size.rate);
        let report = self.counting.settle(RECOVERY);
        eprintln!("{report}");
        report
    }

    /// The resident memory of all processes now, in KiB.
    pub fn memory(&self) -> Vec<u64> {
        self.connectors.iter().chain(&self.workers).map(|service| resident_kib(service.pid())).collect()
    }

    /// Panics when a process holds more than a fifth more than before; an allocator's habits are forgiven.
    pub fn assert_memory_is_back(&self, before: Vec<u64>) {
        for (before, now) in before.into_iter().zip(self.memory()) {
            assert!(now <= before * 6 / 5 + ALLOCATOR_KIB, "resident memory went from {before} to {now} KiB");
        }
    }

    pub fn wait_until_said(&self, lines: usize) {
        wait_until("the lines are said", SAID_WITHIN, || self.counting.said() >= lines);
    }
}

/// Waits until it is so; panics after the limit.
pub fn wait_until(what: &str, limit: Duration, done: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "not after {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}
