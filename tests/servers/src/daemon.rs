//! A server in a temporary folder. Most refuse to run as root: tests that do so start them as `nobody`, who is given the folder.
//! So whoever sets TMPDIR for them has to let everybody pass through it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::PATIENCE;
use crate::guarded::{Guarded, connect, find_program, wait_until_ready};

const START_LIMIT: Duration = Duration::from_secs(60);

/// In the order of ending: the server, its folder.
pub(crate) struct Daemon {
    name: &'static str,
    server: Option<Guarded>,
    folder: TempDir,
    /// User and group to run as, if not those of the test.
    owner: Option<(u32, u32)>,
    /// The signal that ends it when the test process dies.
    last_signal: &'static str,
}

impl Daemon {
    /// A server that does not run yet, and will as whoever runs the test.
    pub(crate) fn prepare(name: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix(&format!("pubbot-{name}-")).tempdir().expect("a temporary folder");
        Self { name, server: None, folder, owner: None, last_signal: "KILL" }
    }

    /// The same as `nobody`, if root runs the test.
    pub(crate) fn prepare_as_nobody(name: &'static str) -> Self {
        let mut daemon = Self::prepare(name);
        let is_root = fs::metadata(daemon.folder.path()).expect("a folder just made").uid() == 0;
        daemon.owner = is_root.then(nobody);
        daemon.give_away(daemon.folder.path());
        daemon
    }

    /// When the test process dies it is ended by this signal, to clear up behind itself, and not by SIGKILL at once.
    pub(crate) fn ending_by(mut self, signal: &'static str) -> Self {
        self.last_signal = signal;
        self
    }

    /// The server's program, to be started with arguments yet to be given. Debian's package is called like the program.
    pub(crate) fn command(&self) -> Command {
        let name = self.name;
        let path = find_program(&[name])
            .unwrap_or_else(|| panic!("no {name} here: install {name} (scripts/test does, as root)"));
        self.command_of(&path)
    }

    /// A program that runs as the server's user.
    pub(crate) fn command_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    /// The path of a file in the folder.
    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.path().join(file).display().to_string()
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.folder.path().join(file);
        fs::write(&path, text).expect("a file in the temporary folder");
        self.give_away(&path);
    }

    /// Runs the command, and waits until `ready`; kills the server before, if it runs. Panics with the log's end after 60 s.
    pub(crate) fn start(&mut self, mut command: Command, ready: impl Fn() -> bool) {
        self.server = None;
        let log = self.open_log();
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let folder = Some(self.folder.path());
        let mut server =
            Guarded::spawn_to_end_by(self.last_signal, &mut command, folder).expect("the server can be run");
        wait_until_ready(self.name, &mut server, &self.folder.path().join("log"), START_LIMIT, ready);
        self.server = Some(server);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.server = None;
    }

    /// SIGTERM, and waits until it has ended; killed after 30 s.
    pub(crate) fn stop(&mut self) {
        self.stop_by("TERM");
    }

    /// The same by another signal.
    pub(crate) fn stop_by(&mut self, signal: &str) {
        if let Some(mut server) = self.server.take() {
            server.signal(signal);
            server.wait(PATIENCE);
        }
    }

    /// Its process id, unless it was killed or stopped.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Guarded::id)
    }

    /// Sends a signal by name to the server, which must run.
    pub(crate) fn signal(&mut self, name: &str) {
        self.server.as_mut().expect("a server to send a signal to runs").signal(name);
    }

    /// The server's output, and what it logs itself, come into one file.
    fn open_log(&self) -> File {
        let path = self.folder.path().join("log");
        let log = OpenOptions::new().create(true).append(true).open(&path).expect("a log file in the temporary folder");
        self.give_away(&path);
        log
    }

    fn give_away(&self, path: &Path) {
        if let Some((user, group)) = self.owner {
            chown(path, Some(user), Some(group)).expect("root can give files away");
        }
    }
}

/// What an IRC server offers by `CAP LS 302`: its line, or nothing when it doesn't answer within 2 s.
pub(crate) fn offered(port: u16) -> Option<String> {
    let mut stream = connect(port).ok()?;
    stream.write_all(b"CAP LS 302\r\n").ok()?;
    BufReader::new(stream).lines().map_while(Result::ok).find(|line| line.contains(" CAP * LS "))
}

/// The ids of the user `nobody` and its group.
fn nobody() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("a list of users");
    let ids = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("nobody:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    ids.expect("a user called nobody: these servers refuse to run as root")
}
