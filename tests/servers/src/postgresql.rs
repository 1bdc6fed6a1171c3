//! A private PostgreSQL (observed with 15): loopback only, a password for everybody, and a data folder of its own.
//!
//! It is many processes: one that listens, one for each connection, some for its own chores. So `kill -9` and SIGSTOP go to all of them,
//! as when the machine goes down or hangs: of the first one alone, a connection would notice nothing. A little System V shared memory
//! would outlive a `kill -9`; it is removed here. (Processes are found in `/proc`: elsewhere than on Linux, only the first is.)

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::guarded::{connect, find_program};
use crate::ports::free_port;
use crate::{PATIENCE, Program, Relay};

const MISSING: &str = "no PostgreSQL server here: install postgresql (scripts/test does, as root)";
/// Where Debian keeps the programs, by version; none of the server's is in PATH.
const BY_VERSION: &str = "/usr/lib/postgresql";
/// Who may do anything, and who owns the databases and may do no more.
const SUPERUSER: &str = "postgres";
const USER: &str = "pubbot";
/// [`PostgreSql::PASSWORD`] as URLs want it.
const PASSWORD_IN_URLS: &str = "p%40ss%3Aw%2Frd";
/// The database that is always there.
const MAINTENANCE: &str = "postgres";
/// What every server gets: 16 MB and no files in `/dev/shm`, where they would stay after a `kill -9`.
const SETTINGS: &[(&str, &str)] = &[("shared_buffers", "16MB"), ("dynamic_shared_memory_type", "mmap")];
/// For the one that is never killed in a test, and that many tests use at once.
const SHARED_SETTINGS: &[(&str, &str)] =
    &[("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off"), ("max_connections", "300")];
/// `initdb` on a busy machine with a slow disk.
const PREPARE_LIMIT: Duration = Duration::from_secs(120);

/// A PostgreSQL of one's own. The user `pubbot`, who is no superuser, owns the databases.
pub struct PostgreSql {
    daemon: Daemon,
    port: u16,
    settings: Vec<(String, String)>,
}

/// A transaction that stays open, with its locks and its connection; rolled back when dropped.
pub struct Held {
    _psql: Program,
}

impl PostgreSql {
    /// The password of everybody. In a URL some of it has to be encoded.
    pub const PASSWORD: &str = "p@ss:w/rd";

    /// Starts a server that keeps what it has confirmed (`fsync`), for at most 100 connections, three of them for superusers only.
    /// Takes some seconds; panics after some minutes, or when none is installed.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with these settings of `postgresql.conf`, such as `("max_connections", "8")`. `ALTER SYSTEM` doesn't overrule them.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let settings = SETTINGS.iter().chain(settings).map(|(name, value)| (name.to_string(), value.to_string()));
        // It then removes its shared memory, and 5 s later kills those of its processes that are frozen.
        let daemon = Daemon::prepare_as_nobody("postgresql").ending_by("QUIT");
        let mut postgresql = Self { daemon, port: free_port(), settings: settings.collect() };
        postgresql.prepare();
        postgresql.start_again();
        postgresql.execute(&format!("CREATE ROLE {USER} LOGIN PASSWORD '{}'", Self::PASSWORD));
        postgresql
    }

    /// The one server of this test process, started at the first call; for at most 300 connections.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgreSql> = OnceLock::new();
        SHARED.get_or_init(|| Self::start_with(SHARED_SETTINGS))
    }

    /// Makes an empty database (UTF-8, collation C; about 7 MB on disk): `postgres://pubbot:PASSWORD@127.0.0.1:PORT/NAME`.
    pub fn database(&self) -> String {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        self.execute(&format!("CREATE DATABASE {name} OWNER {USER} TEMPLATE template0"));
        self.url(USER, &name)
    }

    /// The URL of the same database through a relay to this server.
    pub fn through(&self, relay: &Relay, url: &str) -> String {
        let (here, there) = (format!("@127.0.0.1:{}/", self.port), format!("@127.0.0.1:{}/", relay.port()));
        assert!(url.contains(&here), "not a database of this server: {url}");
        url.replacen(&here, &there, 1)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of its first process. Panics when it is not running.
    pub fn pid(&self) -> u32 {
        self.daemon.pid().expect("the server runs")
    }

    /// What it has logged since it was made.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.daemon.path("log")).unwrap_or_default()).into_owned()
    }

    /// Runs SQL as the user and in the database of this URL, which may lead through a relay: the rows, a line each, with `|` between
    /// columns; or what `psql` says of the failure. Given up after 30 s.
    pub fn query(&self, url: &str, sql: &str) -> Result<String, String> {
        let mut command = psql(url);
        command.args(["--command", sql]);
        let output = Program::spawn(command).wait();
        match output.status.success() {
            true => Ok(output.stdout.trim_end().to_owned()),
            false => Err(output.stderr),
        }
    }

    /// Runs SQL as superuser, in a database of no consequence; panics when it fails.
    pub fn execute(&self, sql: &str) -> String {
        self.succeed(&self.url(SUPERUSER, MAINTENANCE), sql)
    }

    /// Runs SQL as superuser, in the database of this URL; panics when it fails.
    pub fn execute_in(&self, url: &str, sql: &str) -> String {
        self.succeed(&self.url(SUPERUSER, database_of(url)), sql)
    }

    /// Opens a transaction as the user of this URL and runs SQL in it, as `LOCK TABLE lines`, or nothing.
    pub fn hold(&self, url: &str, sql: &str) -> Held {
        let mut psql = Program::spawn(psql(url));
        psql.write_stdin(&format!("BEGIN;\n{sql};\n\\echo held\n"));
        psql.wait_for_stdout("held");
        Held { _psql: psql }
    }

    /// How many connections the database of this URL has.
    pub fn connections(&self, url: &str) -> usize {
        self.of_connections(url, "count(*)")
    }

    /// Ends all connections to the database of this URL (`pg_terminate_backend`); new ones are welcome. How many there were.
    pub fn disconnect(&self, url: &str) -> usize {
        self.of_connections(url, "count(pg_terminate_backend(pid))")
    }

    /// `kill -9` of all its processes; the data stays for [`start_again`](Self::start_again).
    pub fn kill(&mut self) {
        let Some(pid) = self.daemon.pid() else { return };
        // Frozen, it makes no more of them.
        self.freeze();
        let children = children(pid);
        self.daemon.kill();
        send("KILL", &children);
        wait_until("all its processes are gone", || children.iter().all(|child| state(*child).is_none()));
        self.remove_shared_memory();
    }

    /// Shuts down in order, ends connections, and keeps the data; killed after 30 s.
    pub fn stop(&mut self) {
        self.daemon.stop_by("INT");
    }

    /// Starts it on the same port with the same data; kills it before, if it runs.
    pub fn start_again(&mut self) {
        self.kill();
        let mut command = self.command("postgres");
        let (data, folder, port) = (self.daemon.path("data"), self.daemon.path(""), self.port);
        command.args(["-D", &data, "-k", &folder, "-h", "127.0.0.1", "-p", &port.to_string()]);
        command.args(["-c", &format!("cluster_name=pubbot{port}")]);
        for (name, value) in &self.settings {
            command.args(["-c", &format!("{name}={value}")]);
        }
        self.daemon.start(command, || accepts(port));
    }

    /// SIGSTOP of all its processes: it holds its connections and answers nothing; new ones are made, and not answered either.
    pub fn freeze(&mut self) {
        let pid = self.pid();
        self.daemon.signal("STOP");
        let stopped = |pid: &u32| matches!(state(*pid), Some('T') | None);
        wait_until("it is stopped", || stopped(&pid));
        let children = children(pid);
        send("STOP", &children);
        wait_until("all its processes are stopped", || children.iter().all(stopped));
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        send("CONT", &children(self.pid()));
        self.daemon.signal("CONT");
    }

    fn prepare(&self) {
        self.daemon.write("password", Self::PASSWORD);
        let mut command = self.command("initdb");
        command.args(["--username", SUPERUSER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        command.args(["--pwfile", &self.daemon.path("password"), "--pgdata", &self.daemon.path("data")]);
        let output = Program::spawn(command).wait_up_to(PREPARE_LIMIT);
        assert!(output.status.success(), "initdb failed: {}{}", output.stdout, output.stderr);
    }

    /// A program of the server's, to run as its user.
    fn command(&self, name: &str) -> Command {
        let mut command = self.daemon.command_of(&program(name));
        forget_environment(&mut command);
        command.current_dir(self.daemon.path(""));
        command
    }

    fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}:{PASSWORD_IN_URLS}@127.0.0.1:{}/{database}", self.port)
    }

    fn succeed(&self, url: &str, sql: &str) -> String {
        self.query(url, sql).unwrap_or_else(|error| panic!("PostgreSQL failed to run {sql:?}: {error}"))
    }

    fn of_connections(&self, url: &str, what: &str) -> usize {
        let database = database_of(url);
        let counted = self.execute(&format!("SELECT {what} FROM pg_stat_activity WHERE datname = '{database}'"));
        counted.parse().expect("a count is a number")
    }

    /// The server itself removes it when it ends in order, and a killed one's when it starts again.
    fn remove_shared_memory(&self) {
        let lock = fs::read_to_string(self.daemon.path("data/postmaster.pid")).unwrap_or_default();
        // Line 7: the segment's key and id.
        if let Some(id) = lock.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            quietly(Command::new("ipcrm").args(["-m", id]));
        }
    }
}

impl Drop for PostgreSql {
    fn drop(&mut self) {
        if self.daemon.pid().is_some() {
            self.thaw();
            // At once: the folder goes anyway.
            self.daemon.stop_by("QUIT");
        }
    }
}

/// Of the newest version whose server is here.
fn program(name: &str) -> PathBuf {
    let folders = fs::read_dir(BY_VERSION).into_iter().flatten().filter_map(Result::ok);
    let versions = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
    let folders = versions.map(|version| (version, PathBuf::from(format!("{BY_VERSION}/{version}/bin"))));
    let newest = folders.filter(|(_, folder)| folder.join("postgres").is_file()).max();
    newest.map(|(_, folder)| folder.join(name)).or_else(|| find_program(&[name])).expect(MISSING)
}

fn psql(url: &str) -> Command {
    let mut command = Command::new(program("psql"));
    forget_environment(&mut command);
    command.env("PGCONNECT_TIMEOUT", PATIENCE.as_secs().to_string());
    command.args(["--no-psqlrc", "--no-password", "--quiet", "--no-align", "--tuples-only"]);
    command.args(["--set", "ON_ERROR_STOP=1", "--dbname", url]);
    command
}

/// `PGOPTIONS`, `PGSSLMODE` and their like belong to whoever runs the tests.
fn forget_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
}

fn database_of(url: &str) -> &str {
    let (address, _) = url.split_once('?').unwrap_or((url, ""));
    address.rsplit_once('/').expect("the URL of a database").1
}

/// A server that takes connections asks whoever comes for a password (`R`); one that starts or recovers sends an error (`E`).
fn accepts(port: u16) -> bool {
    let Ok(mut stream) = connect(port) else { return false };
    let parameters = format!("user\0{SUPERUSER}\0database\0{MAINTENANCE}\0\0");
    let length = u32::try_from(8 + parameters.len()).expect("it is short");
    // The version of the protocol: 3.0.
    let hello = [&length.to_be_bytes(), &[0, 3, 0, 0], parameters.as_bytes()].concat();
    let mut answer = [0];
    stream.write_all(&hello).and_then(|()| stream.read_exact(&mut answer)).is_ok() && answer == *b"R"
}

/// Each is in a session of its own, so no signal reaches them together.
fn children(pid: u32) -> Vec<u32> {
    let ids = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    ids.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// `T` is stopped; nothing for one that is gone, even if nobody has asked how it ended.
fn state(pid: u32) -> Option<char> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let state = line.rsplit_once(") ")?.1.chars().next()?;
    Some(state).filter(|state| !matches!(state, 'Z' | 'X'))
}

/// Some may have ended meanwhile.
fn send(signal: &str, pids: &[u32]) {
    if !pids.is_empty() {
        quietly(Command::new("kill").args(["-s", signal]).args(pids.iter().map(u32::to_string)));
    }
}

/// Whether it succeeds shows in what it was to do.
fn quietly(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "PostgreSQL: not after {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
