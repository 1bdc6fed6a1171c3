//! Runs an executable as a user would, and sees all it prints.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::PATIENCE;
use crate::guarded::Guarded;
use crate::transcript::{Transcript, last};

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// All of its standard error; what is not UTF-8 is replaced.
    pub stderr: String,
}

/// A running program; killed (SIGKILL) when dropped.
pub struct Program {
    process: Guarded,
    stdin: Option<ChildStdin>,
    stdout: Stream,
    stderr: Stream,
}

struct Stream {
    transcript: Arc<Transcript>,
    seen: Mutex<usize>,
}

/// A failing test shows what its programs had to say.
impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("process {} said on standard error:\n{}", self.pid(), self.stderr());
        }
    }
}

impl Program {
    /// Runs the executable in the current folder. It gets this process's environment without `PUBBOT_…`, and `environment` over it.
    pub fn start(executable: impl AsRef<OsStr>, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(executable);
        command.args(arguments).envs(environment.iter().copied());
        Self::spawn(command)
    }

    /// Runs a command that may have its own folder and environment; `PUBBOT_…` comes through only where it was set on the command.
    pub fn spawn(mut command: Command) -> Self {
        let set: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PUBBOT_") && !set.contains(&name) {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process =
            Guarded::spawn(&mut command, None).unwrap_or_else(|error| panic!("can't run {command:?}: {error}"));
        let child = process.child();
        let stdin = child.stdin.take();
        let stdout = Stream::record(child.stdout.take().expect("the pipe was asked for"));
        let stderr = Stream::record(child.stderr.take().expect("the pipe was asked for"));
        Self { process, stdin, stdout, stderr }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The next whole line of standard output that contains the text, after the line returned last. Panics after 30 s, or when it ends.
    pub fn wait_for_stdout(&self, text: &str) -> String {
        self.waits(&self.stdout, text)
    }

    /// The same for standard error.
    pub fn wait_for_stderr(&self, text: &str) -> String {
        self.waits(&self.stderr, text)
    }

    /// All of its standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.transcript.text()
    }

    /// All of its standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.transcript.text()
    }

    /// Writes to its standard input. Panics when that is closed.
    pub fn write_stdin(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("the program reads its standard input");
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Waits until it ends, and kills it after 30 s. Standard input stays as it is.
    pub fn wait(&mut self) -> Output {
        self.wait_up_to(PATIENCE)
    }

    /// Waits until it ends, and kills it after the limit.
    pub fn wait_up_to(&mut self, limit: Duration) -> Output {
        let status = self.process.wait(limit);
        // Its own children may hold the pipes for longer.
        self.stdout.transcript.wait_for_end(Duration::from_secs(2));
        self.stderr.transcript.wait_for_end(Duration::from_secs(2));
        Output { status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM; does not wait.
    pub fn terminate(&mut self) {
        self.process.signal("TERM");
    }

    /// SIGSTOP.
    pub fn freeze(&mut self) {
        self.process.signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        self.process.signal("CONT");
    }

    fn waits(&self, stream: &Stream, text: &str) -> String {
        stream.next_with(text).unwrap_or_else(|why| {
            let (stdout, stderr) = (self.stdout.transcript.lines(0), self.stderr.transcript.lines(0));
            panic!("waited for {text:?}: {why}; standard output: {}\nstandard error: {}", last(&stdout), last(&stderr))
        })
    }
}

impl Stream {
    fn record(from: impl std::io::Read + Send + 'static) -> Self {
        let transcript = Arc::new(Transcript::default());
        let recorder = Arc::clone(&transcript);
        thread::spawn(move || recorder.record(from, |_| ()));
        Self { transcript, seen: Mutex::new(0) }
    }

    fn next_with(&self, text: &str) -> Result<String, &'static str> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (index, line) = self.transcript.wait(*seen, PATIENCE, |line| line.contains(text))?;
        *seen = index + 1;
        Ok(line)
    }
}
