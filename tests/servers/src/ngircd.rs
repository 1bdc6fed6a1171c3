//! A private ngircd: a real IRC server, without its limits unless a test asks for them. As root it changes to `nobody` by itself.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::guarded::{Guarded, connect, find_program, wait_until_ready};
use crate::irc_user::{OPERATOR, OPERATOR_PASSWORD};
use crate::ports::free_port;

const START_LIMIT: Duration = Duration::from_secs(30);

/// How a private ngircd differs from the usual one.
#[derive(Clone, Debug, Default)]
pub struct NgircdOptions {
    /// Keeps ngircd's own penalties: about two lines a second after a burst.
    pub limits: bool,
    /// Asks everybody for this password (PASS).
    pub password: Option<String>,
}

/// An ngircd of one's own: no DNS, no ident, nicks up to 30 bytes.
pub struct Ngircd {
    server: Option<Guarded>,
    port: u16,
    folder: TempDir,
}

impl Ngircd {
    /// Starts one without limits. Panics after 30 s, or when none is installed.
    pub fn start() -> Self {
        Self::start_with(NgircdOptions::default())
    }

    /// Starts one as the options say.
    pub fn start_with(options: NgircdOptions) -> Self {
        let port = free_port();
        let folder = tempfile::Builder::new().prefix("pubbot-ngircd-").tempdir().expect("a temporary folder");
        fs::write(folder.path().join("ngircd.conf"), configuration(port, &options))
            .expect("a file in the temporary folder");
        let mut ngircd = Self { server: None, port, folder };
        ngircd.start_again();
        ngircd
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// SIGSTOP: it holds its connections and answers nothing.
    pub fn freeze(&mut self) {
        self.server.as_mut().expect("a server to freeze runs").signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        self.server.as_mut().expect("a server to thaw runs").signal("CONT");
    }

    /// Starts it on the same port; kills it before, if it runs.
    pub fn start_again(&mut self) {
        self.server = None;
        let program = find_program(&["ngircd"]).expect("no ngircd here: install ngircd (scripts/test does, as root)");
        let path = self.folder.path().join("log");
        let log = File::create(&path).expect("a log file in the temporary folder");
        let mut command = Command::new(program);
        command.arg("--nodaemon").arg("--config").arg(self.folder.path().join("ngircd.conf"));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let mut server = Guarded::spawn(&mut command, Some(self.folder.path())).expect("ngircd can be run");
        let port = self.port;
        wait_until_ready("ngircd", &mut server, &path, START_LIMIT, || connect(port).is_ok());
        self.server = Some(server);
    }
}

fn configuration(port: u16, options: &NgircdOptions) -> String {
    let password = options.password.as_ref().map(|password| format!("Password = {password}\n")).unwrap_or_default();
    let penalty = if options.limits { "" } else { "MaxPenaltyTime = 0\n" };
    format!(
        "[Global]\nName = irc.test.local\nInfo = a private test server\nListen = 127.0.0.1\nPorts = {port}\n{password}\
         [Limits]\nMaxConnections = 0\nMaxConnectionsIP = 0\nMaxJoins = 0\nMaxNickLength = 30\n{penalty}\
         [Options]\nDNS = no\nIdent = no\nPAM = no\n\
         [Operator]\nName = {OPERATOR}\nPassword = {OPERATOR_PASSWORD}\n"
    )
}
