//! A private RabbitMQ node (3.10 to 4.x) with its own epmd, ports, cookie and data. It runs as whoever runs the test, root included: the
//! server's own launcher asks for no user, only Debian's wrapper in `/usr/sbin` does.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::guarded::{Guarded, connect, find_program, wait_until_ready};
use crate::ports::free_port;

const MISSING: &str = "no RabbitMQ here: install rabbitmq-server (scripts/test does, as root), or set PUBBOT_TEST_RABBITMQ_URL for the tests that can share one";
/// Erlang's start on a busy machine with a slow disk.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Idle brokers must leave the processors to the tests: two schedulers, bound to none, that never wait busily.
const ERLANG: &str = "+S 2:2 +SDcpu 1:1 +SDio 4 +A 2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}";

/// A RabbitMQ server of one's own: user `guest`, virtual host `/`, no plugins.
pub struct RabbitMq {
    url: String,
    port: u16,
    own: Option<Node>,
}

/// In the order of ending: the server, its epmd, its folder.
struct Node {
    server: Option<Guarded>,
    _epmd: Guarded,
    epmd_port: u16,
    distribution_port: u16,
    launcher: PathBuf,
    folder: TempDir,
}

impl RabbitMq {
    /// Starts a server with no data. Takes some seconds; panics after two minutes, or when none is installed.
    pub fn start() -> Self {
        let port = free_port();
        let mut rabbitmq =
            Self { url: format!("amqp://guest:guest@127.0.0.1:{port}/%2f"), port, own: Some(Node::prepare(port)) };
        rabbitmq.start_again();
        rabbitmq
    }

    /// The one server of this test process, started at the first call; or the one that `PUBBOT_TEST_RABBITMQ_URL` names.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RabbitMq> = OnceLock::new();
        SHARED.get_or_init(|| {
            #[expect(clippy::disallowed_methods, reason = "a fixture has no configuration but the environment")]
            let url = std::env::var("PUBBOT_TEST_RABBITMQ_URL").ok().filter(|url| !url.is_empty());
            url.map_or_else(Self::start, Self::elsewhere)
        })
    }

    fn elsewhere(url: String) -> Self {
        let authority = url.split('/').nth(2).unwrap_or_default();
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let default = if url.starts_with("amqps:") { 5671 } else { 5672 };
        Self { port: port.unwrap_or(default), url, own: None }
    }

    /// `amqp://guest:guest@127.0.0.1:PORT/%2f`, or what `PUBBOT_TEST_RABBITMQ_URL` says.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its AMQP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of the Erlang VM's process, to measure it. Panics when it is not running here.
    pub fn pid(&self) -> u32 {
        let server = self.own.as_ref().and_then(|node| node.server.as_ref());
        server.expect("the server does not run here").id()
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        let log = self.own.as_ref().map(|node| fs::read(node.log()).unwrap_or_default());
        String::from_utf8_lossy(&log.unwrap_or_default()).into_owned()
    }

    /// `kill -9` of the Erlang VM; the data stays for [`start_again`](Self::start_again).
    pub fn kill(&mut self) {
        self.node().server = None;
    }

    /// Shuts down in order (SIGTERM) and keeps the data; killed after 30 s.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.node().server.take() {
            server.signal("TERM");
            server.wait(crate::PATIENCE);
        }
    }

    /// Starts it on the same port with the same data; kills it before, if it runs.
    pub fn start_again(&mut self) {
        let port = self.port;
        self.node().start(port);
    }

    /// SIGSTOP: it holds its connections and answers nothing.
    pub fn freeze(&mut self) {
        self.node().server.as_mut().expect("a server to freeze runs").signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        self.node().server.as_mut().expect("a server to thaw runs").signal("CONT");
    }

    /// Runs `rabbitmqctl` with these arguments on the running server: what it printed. Takes some seconds; panics when it fails.
    pub fn control(&self, arguments: &[&str]) -> String {
        let node = self.own.as_ref().expect("a server that PUBBOT_TEST_RABBITMQ_URL names is not ours to control");
        let program = find_program(&["/usr/lib/rabbitmq/bin/rabbitmqctl", "rabbitmqctl"]).expect(MISSING);
        let mut command = node.command_of(&program, self.port);
        let output =
            command.arg("--quiet").args(arguments).stdin(Stdio::null()).output().expect("rabbitmqctl can be run");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "rabbitmqctl {arguments:?} failed: {out}{err}");
        out.into_owned()
    }

    fn node(&mut self) -> &mut Node {
        self.own.as_mut().expect("a server that PUBBOT_TEST_RABBITMQ_URL names is not ours to end")
    }
}

impl Node {
    fn prepare(port: u16) -> Self {
        let launcher = find_program(&["/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"]).expect(MISSING);
        let folder = tempfile::Builder::new().prefix("pubbot-rabbitmq-").tempdir().expect("a temporary folder");
        let write =
            |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file in the temporary folder");
        write("rabbitmq.conf", &format!("listeners.tcp.1 = 127.0.0.1:{port}\ndisk_free_limit.absolute = 20MB\n"));
        write("enabled_plugins", "[].\n");
        write("rabbitmq-env.conf", "");
        let epmd_port = free_port();
        Self {
            server: None,
            _epmd: start_epmd(epmd_port, &folder),
            epmd_port,
            distribution_port: free_port(),
            launcher,
            folder,
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn start(&mut self, port: u16) {
        self.server = None;
        let log = File::create(self.log()).expect("a log file in the temporary folder");
        let mut command = self.command(port);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let mut server = Guarded::spawn(&mut command, Some(self.folder.path())).expect("rabbitmq-server can be run");
        wait_until_ready("RabbitMQ", &mut server, &self.log(), START_LIMIT, || speaks_amqp(port));
        self.server = Some(server);
    }

    fn command(&self, port: u16) -> Command {
        let mut command = self.command_of(&self.launcher, port);
        command
            // So the launcher becomes the Erlang VM instead of waiting for it: its process id is the one to kill.
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_SERVER_START_ARGS", "-noinput");
        command
    }

    /// A program of RabbitMQ's in the node's own environment.
    fn command_of(&self, program: &Path, port: u16) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("RABBITMQ_") || name_text.starts_with("ERL_") || name_text == "NOTIFY_SOCKET" {
                command.env_remove(&name);
            }
        }
        let folder = self.folder.path();
        command
            .current_dir(folder)
            .env("HOME", folder)
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("pubbot{port}@localhost"))
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_SCHEDULER_BIND_TYPE", "u")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG);
        for (name, path) in [
            ("RABBITMQ_CONF_ENV_FILE", "rabbitmq-env.conf"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_CONFIG_FILES", "conf.d"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced.config"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_GENERATED_CONFIG_DIR", "generated"),
            ("RABBITMQ_SCHEMA_DIR", "schema"),
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_LOG_BASE", "logs"),
        ] {
            command.env(name, folder.join(path));
        }
        command
    }
}

/// In the foreground, so that it is a child to end. Erlang would start one that stays.
fn start_epmd(port: u16, folder: &TempDir) -> Guarded {
    let program = find_program(&["epmd", "/usr/lib/erlang/bin/epmd"]).expect("no epmd in PATH: install erlang-base");
    let log = folder.path().join("epmd.log");
    let out = File::create(&log).expect("a log file in the temporary folder");
    let mut command = Command::new(program);
    command.args(["-port", &port.to_string(), "-address", "127.0.0.1"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(out.try_clone().expect("a second handle")).stderr(out);
    let mut epmd = Guarded::spawn(&mut command, None).expect("epmd can be run");
    wait_until_ready("epmd", &mut epmd, &log, START_LIMIT, || connect(port).is_ok());
    epmd
}

/// A broker that is up answers a protocol header with Connection.Start: a method frame (1) on channel 0, class 10, method 10.
fn speaks_amqp(port: u16) -> bool {
    let Ok(mut stream) = connect(port) else { return false };
    let mut frame = [0; 11];
    let answered = stream.write_all(b"AMQP\x00\x00\x09\x01").and_then(|()| stream.read_exact(&mut frame));
    answered.is_ok() && frame[..3] == [1, 0, 0] && frame[7..] == [0, 10, 0, 10]
}
