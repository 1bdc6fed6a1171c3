//! A child process that can't outlive the test process.
//!
//! Beside each child runs a small shell that reads a pipe from the test process. When the pipe closes, for whatever reason (`kill -9`
//! included), the shell kills the child by its id (or ends it by another signal) and removes its folder. Both live in process groups of their own, so that Ctrl-C at a
//! terminal reaches neither.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// `$1` is the folder to remove, or empty, `$2` the signal to end the child by, within 10 s. `reaped` says that the id is no longer ours
/// to kill. A test may have frozen the child: it hears the signal when it goes on.
const WATCHDOG: &str = r#"
read -r pid || exit 0
while read -r word; do
    case $word in
        reaped) pid= ;;
        over) exit 0 ;;
    esac
done
if [ -n "$pid" ]; then
    kill -s "$2" "$pid"
    kill -s CONT "$pid"
    tries=100
    while kill -0 "$pid" && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    [ "$tries" -gt 0 ] || kill -9 "$pid"
fi
[ -z "$1" ] || rm -rf -- "$1"
"#;

pub(crate) struct Guarded {
    child: Child,
    watchdog: Child,
    /// The pipe to the watchdog; closed last.
    leash: Option<ChildStdin>,
    ended: Option<ExitStatus>,
}

impl Guarded {
    /// Starts `command`; `folder` is removed if the test process dies.
    pub(crate) fn spawn(command: &mut Command, folder: Option<&Path>) -> io::Result<Self> {
        Self::spawn_to_end_by("KILL", command, folder)
    }

    /// The same; if the test process dies, the child gets this signal, and SIGKILL only when it has not ended 10 s later.
    pub(crate) fn spawn_to_end_by(signal: &str, command: &mut Command, folder: Option<&Path>) -> io::Result<Self> {
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(folder.unwrap_or(Path::new("")))
            .arg(signal)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let mut leash = watchdog.stdin.take().expect("the pipe was asked for");
        match command.process_group(0).spawn() {
            Ok(child) => {
                let told = writeln!(leash, "{}", child.id());
                let guarded = Self { child, watchdog, leash: Some(leash), ended: None };
                told.map(|()| guarded)
            }
            Err(error) => {
                drop(leash);
                watchdog.wait()?;
                Err(error)
            }
        }
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be waited for");
            if self.ended.is_some() {
                self.tell_watchdog("reaped");
            }
        }
        self.ended
    }

    /// SIGKILL, unless it has ended, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        if let Some(status) = self.ended() {
            return status;
        }
        self.child.kill().expect("an own child can be killed");
        let status = self.child.wait().expect("a child can be waited for");
        self.tell_watchdog("reaped");
        self.ended = Some(status);
        status
    }

    fn tell_watchdog(&mut self, word: &str) {
        if let Some(leash) = &mut self.leash {
            // A watchdog that is gone can't do wrong.
            writeln!(leash, "{word}").ok();
        }
    }

    /// Waits until it has ended; kills it after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.ended() {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.kill()
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`); nothing when it has ended.
    pub(crate) fn signal(&mut self, name: &str) {
        if self.ended().is_none() {
            let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
            assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} {} failed", self.id());
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
        self.tell_watchdog("over");
        self.leash = None;
        self.watchdog.wait().ok();
    }
}

/// Waits until `ready`; panics with the log's tail when the server ends before, or after `limit`.
pub(crate) fn wait_until_ready(
    name: &str,
    server: &mut Guarded,
    log: &Path,
    limit: Duration,
    ready: impl Fn() -> bool,
) {
    let start = Instant::now();
    while !ready() {
        if let Some(status) = server.ended() {
            panic!("{name} ended while starting ({status}); its log ends:\n{}", tail(log));
        }
        assert!(start.elapsed() < limit, "{name} was not ready after {limit:?}; its log ends:\n{}", tail(log));
        thread::sleep(Duration::from_millis(20));
    }
}

/// Connects to a loopback port, with limits on connecting, reading and writing.
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    let limit = Duration::from_secs(2);
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(stream)
}

/// The last 40 lines.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// The first of these programs that exists: a path is looked at, a bare name is looked up in PATH and where servers usually are.
pub(crate) fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/opt/homebrew/sbin"].map(Into::into);
    let folders: Vec<_> = std::env::split_paths(&path).chain(usual).collect();
    names.iter().find_map(|name| match name.starts_with('/') {
        true => Some(name.into()).filter(|file: &PathBuf| file.is_file()),
        false => folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()),
    })
}
