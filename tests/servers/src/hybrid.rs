//! A private ircd-hybrid 8: a real IRC server with few of IRCv3's extensions, and strict about floods.
//!
//! Its own limits, as Debian packages it, and as observed with 8.2.43:
//!
//! - After a JOIN five lines are heard at once, then two every two seconds: one a second in the long run. What comes faster waits.
//! - What waits is kept up to 2,560 bytes (recvq): of lines of 400 bytes sent at once, with the 12th the client is thrown out with
//!   `ERROR :Closing Link: … (Excess Flood)`, which is lost when it goes on sending; others see `QUIT :Excess Flood`.
//! - By its manual it doesn't relay more than ten lines a second to one channel or nick (floodcount); with the limit above nobody comes to
//!   that.
//! - What waits to be sent to a client may be 100 KiB (sendq).
//! - The limits of one connection every two seconds and of two at once from one address are always lifted, since everybody in a test
//!   comes from 127.0.0.1.
//!
//! Debian doesn't let it be installed beside ngircd, and it looks for its modules in `/usr` only. So its package is just unpacked, and the
//! server runs in a mount namespace of its own, where that lies over `/usr`. This needs leave to make one (`unshare`).
//!
//! It asks the system's DNS for the name of each client's address, which can't be switched off; ident is off. User names get a `~`.

use std::path::Path;
use std::process::Command;

use crate::daemon::{Daemon, offered};
use crate::irc_user::{OPERATOR, OPERATOR_PASSWORD};
use crate::ports::free_port;

/// Where `scripts/test` unpacks the package.
const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/ircd-hybrid");
/// `$0` is the unpacked package. The server refuses to run as root, which one has to be to mount: inside it is user 1000.
const OVER_USR: &str = r#"
mount -t overlay -o "lowerdir=$0/usr:/usr" overlay /usr && exec unshare --user --map-user=1000 ircd-hybrid "$@"
"#;
/// Each option that names a file, and the file in the folder.
const FILES: [(&str, &str); 7] = [
    ("-configfile", "ircd.conf"),
    ("-logfile", "log"),
    ("-pidfile", "pid"),
    ("-klinefile", "klines"),
    ("-dlinefile", "dlines"),
    ("-xlinefile", "xlines"),
    ("-resvfile", "resvs"),
];

/// An ircd-hybrid of one's own, called `hybrid.test`: nicks up to 30 bytes, no TLS, no services.
pub struct Hybrid {
    daemon: Daemon,
    port: u16,
}

impl Hybrid {
    /// Starts one without limits. Panics after a minute, or when it is not unpacked.
    pub fn start() -> Self {
        Self::start_as("flags = can_flood;", 0)
    }

    /// Starts one that keeps its own limits.
    pub fn start_with_limits() -> Self {
        Self::start_as("", 10)
    }

    fn start_as(flags: &str, floodcount: u32) -> Self {
        let port = free_port();
        let daemon = Daemon::prepare("ircd-hybrid");
        daemon.write("ircd.conf", &configuration(port, flags, floodcount));
        let mut hybrid = Self { daemon, port };
        hybrid.start_again();
        hybrid
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// SIGSTOP: it holds its connections and answers nothing.
    pub fn freeze(&mut self) {
        self.daemon.signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        self.daemon.signal("CONT");
    }

    /// Starts it on the same port; kills it before, if it runs.
    pub fn start_again(&mut self) {
        let (command, port) = (self.command(), self.port);
        self.daemon.start(command, || offered(port).is_some());
    }

    fn command(&self) -> Command {
        assert!(Path::new(PACKAGE).is_dir(), "no ircd-hybrid here: scripts/test unpacks it into target/ircd-hybrid");
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", OVER_USR, PACKAGE, "-foreground"]);
        for (option, file) in FILES {
            command.arg(option).arg(self.daemon.path(file));
        }
        command
    }
}

fn configuration(port: u16, flags: &str, floodcount: u32) -> String {
    format!(
        r#"
serverinfo {{
    name = "hybrid.test"; description = "a private test server"; network_name = "test"; network_description = "test";
    default_max_clients = 5000; max_nick_length = 30; max_topic_length = 300;
}};
admin {{ name = "nobody"; description = "nobody"; email = "nobody@hybrid.test"; }};
listen {{ host = "127.0.0.1"; port = {port}; }};
class {{
    name = "users"; ping_time = 90 seconds; sendq = 100 kbytes; recvq = 2560 bytes;
    number_per_ip_local = 5000; number_per_ip_global = 5000; max_number = 5000;
}};
auth {{ user = "*@*"; class = "users"; {flags} }};
operator {{
    name = "{OPERATOR}"; user = "*@*"; password = "{OPERATOR_PASSWORD}"; encrypted = no; class = "users";
    flags = kill, kline, unkline;
}};
general {{
    disable_auth = yes; throttle_count = 5000; throttle_time = 1 second;
    default_floodcount = {floodcount}; default_floodtime = 1 second;
}};
"#
    )
}
