//! Private Atheme services 7.2 for an InspIRCd: accounts (NickServ), channels (ChanServ), and logging in with SASL (SaslServ).
//!
//! SASL has `PLAIN` and `EXTERNAL`, by the fingerprint of the client's certificate. Debian's 7.2 has no SCRAM: that came with 7.3. Nor has
//! it RECOVER, as other services call it; here that is another name for REGAIN. Mail is never sent, and nothing expires.
//!
//! As observed: GHOST throws out who has the nick (`KILL` by NickServ), and the nick is free. REGAIN gives the nick to who asks and logs
//! it in; who had it is renamed to `Guest` and a number. From then on, for about 100 s, nobody can take the nick by NICK: InspIRCd answers
//! 432, `Services reserved nickname`. Both commands take a password, or none from who is logged in to the account. Who comes with a
//! registered nick and is not logged in gets a notice; who logs in after somebody's wrong password, too.

use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::daemon::{Daemon, offered};
use crate::inspircd::{Inspircd, LINK_PASSWORD, NAME, SERVICES};
use crate::irc_user::IrcUser;

const PROGRAM: &str = "atheme-services";

const MODULES: &[&str] = &[
    "protocol/inspircd",
    "backend/opensex",
    "crypto/pbkdf2v2",
    "nickserv/main",
    "nickserv/access",
    "nickserv/cert",
    "nickserv/drop",
    "nickserv/enforce",
    "nickserv/ghost",
    "nickserv/group",
    "nickserv/help",
    "nickserv/identify",
    "nickserv/info",
    "nickserv/logout",
    "nickserv/register",
    "nickserv/set_core",
    "nickserv/set_password",
    "nickserv/status",
    "chanserv/main",
    "chanserv/access",
    "chanserv/akick",
    "chanserv/ban",
    "chanserv/clear",
    "chanserv/drop",
    "chanserv/flags",
    "chanserv/help",
    "chanserv/info",
    "chanserv/invite",
    "chanserv/kick",
    "chanserv/op",
    "chanserv/register",
    "chanserv/set_core",
    "chanserv/set_mlock",
    "chanserv/set_restricted",
    "chanserv/voice",
    "operserv/main",
    "saslserv/main",
    "saslserv/plain",
    "saslserv/external",
];

/// Atheme of one's own, linked to an InspIRCd. When that is started again, it links again by itself.
pub struct Atheme {
    daemon: Daemon,
    /// Where clients reach the InspIRCd, and with which password.
    port: u16,
    password: Option<String>,
}

impl Atheme {
    /// Starts it without accounts, and waits until it is linked. Panics after a minute, or when none is installed.
    pub fn start(inspircd: &Inspircd) -> Self {
        let daemon = Daemon::prepare_as_nobody(PROGRAM);
        daemon.write("atheme.conf", &configuration(inspircd.services_port()));
        let password = inspircd.password().map(str::to_owned);
        let mut atheme = Self { daemon, port: inspircd.port(), password };
        atheme.start_again();
        atheme
    }

    /// Registers an account, which is also a nick, with a password.
    pub fn register(&self, account: &str, password: &str) {
        let user = self.user(account);
        user.say("NickServ", &format!("REGISTER {password} {account}@{NAME}"));
        expect_notice(&user, "is now registered to");
        leave(&user);
    }

    /// Lets who has the certificate with this fingerprint log in to the account by `EXTERNAL`.
    pub fn add_fingerprint(&self, account: &str, password: &str, fingerprint: &str) {
        let user = self.user(&format!("{account}-cert"));
        user.say("NickServ", &format!("IDENTIFY {account} {password}"));
        expect_notice(&user, "You are now identified");
        user.say("NickServ", &format!("CERT ADD {fingerprint}"));
        expect_notice(&user, "Added fingerprint");
        leave(&user);
    }

    /// `kill -9`, and waits until InspIRCd has noticed: it forgets what it has learnt since it was started.
    pub fn kill(&mut self) {
        self.daemon.kill();
        self.wait_until_gone();
    }

    /// Shuts down in order (SIGTERM) and keeps accounts and channels; killed after 30 s. Waits until InspIRCd has noticed.
    pub fn stop(&mut self) {
        self.daemon.stop();
        self.wait_until_gone();
    }

    /// SIGSTOP: it holds its link and answers nothing.
    pub fn freeze(&mut self) {
        self.daemon.signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        self.daemon.signal("CONT");
    }

    /// Starts it with what it has kept, and waits until it is linked; kills it before, if it runs.
    pub fn start_again(&mut self) {
        self.kill();
        let mut command = self.daemon.command();
        command.arg("-n");
        for (option, file) in [("-c", "atheme.conf"), ("-l", "atheme.log"), ("-p", "pid"), ("-D", "")] {
            command.arg(option).arg(self.daemon.path(file));
        }
        let port = self.port;
        self.daemon.start(command, || has_sasl(port));
    }

    /// Waits until InspIRCd offers SASL again, after one of the two was started again. Panics after 30 s.
    pub fn wait_until_linked(&self) {
        let start = Instant::now();
        while !has_sasl(self.port) {
            assert!(start.elapsed() < PATIENCE, "the services were not linked after {PATIENCE:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// InspIRCd 3.15 sometimes overlooks the end of a link until it has something to send there, as when somebody comes or goes.
    fn wait_until_gone(&self) {
        let start = Instant::now();
        while has_sasl(self.port) {
            assert!(
                start.elapsed() < PATIENCE,
                "InspIRCd had not noticed after {PATIENCE:?} that its services are gone"
            );
            leave(&self.user("passer-by"));
        }
    }

    fn user(&self, nick: &str) -> IrcUser {
        IrcUser::connect_with_password(self.port, nick, self.password.as_deref())
    }
}

/// The services tell how SASL works when all of them are there, and InspIRCd passes it on.
fn has_sasl(port: u16) -> bool {
    offered(port).is_some_and(|line| line.contains(" sasl="))
}

/// Panics when NickServ says anything else first.
fn expect_notice(user: &IrcUser, wanted: &str) {
    let notice = user.hears_notice_from("NickServ", user.nick());
    assert!(notice.contains(wanted), "NickServ said to {}: {notice}", user.nick());
}

/// When the server has confirmed it, the nick is free.
fn leave(user: &IrcUser) {
    user.send_raw("QUIT");
    user.hears(|line| line.starts_with("ERROR"));
}

fn configuration(port: u16) -> String {
    let modules: String = MODULES.iter().map(|module| format!("loadmodule \"modules/{module}\";\n")).collect();
    let services = ["nickserv NickServ", "chanserv ChanServ", "saslserv SaslServ", "operserv OperServ"].map(service);
    [modules, services.concat(), network(port)].concat()
}

fn service(names: &str) -> String {
    let (block, nick) = names.split_once(' ').unwrap_or_default();
    let aliases = if nick == "NickServ" { r#"aliases { "RECOVER" = "REGAIN"; };"# } else { "" };
    format!(r#"{block} {{ nick = "{nick}"; user = "{nick}"; host = "{SERVICES}"; real = "{nick}"; {aliases} }};"#)
}

/// `recontime` is in seconds, `commit_interval` in minutes; few rounds of the hash, so that a log-in takes no time.
fn network(port: u16) -> String {
    format!(
        r#"
pbkdf2v2 {{ rounds = 10000; }};
serverinfo {{
    name = "{SERVICES}"; desc = "private test services"; numeric = "00A"; netname = "test"; recontime = 1;
    adminname = "nobody"; adminemail = "nobody@{SERVICES}"; registeremail = "nobody@{SERVICES}"; auth = none;
    loglevel = {{ error; info; network; register; commands; }}; casemapping = rfc1459;
    maxlogins = 1000; maxusers = 0; mdlimit = 30; emaillimit = 10; emailtime = 300;
}};
uplink "{NAME}" {{
    host = "127.0.0.1"; port = {port}; send_password = "{LINK_PASSWORD}"; receive_password = "{LINK_PASSWORD}";
}};
general {{ commit_interval = 60; flood_msgs = 0; join_chans; leave_chans; }};
"#
    )
}
