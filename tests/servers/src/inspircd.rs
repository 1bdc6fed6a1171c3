//! A private InspIRCd 3: a real IRC server with IRCv3, TLS, client certificates, and a link for services (see `Atheme`).
//!
//! It offers SASL while services are linked. Clients are told by `CAP NEW` when they come for the first time; of their going and coming
//! again it tells nothing (3.15 sends no `CAP DEL`). Its `AUTHENTICATE :+` has a colon. A link that ends together with its last line is
//! sometimes noticed only when the server has something to send there.
//!
//! Its own limits, as Debian packages it, and as observed with 3.15:
//!
//! - Each command costs a point, an unknown one two; a second gives one back. Who has ten points waits: so after a JOIN eight lines are
//!   heard at once, then one a second. This is called fakelag; nothing is lost, and the client is told nothing.
//! - What waits is kept up to 8,192 bytes (recvq): of lines of 400 bytes sent at once, with the 20th the client is thrown out with
//!   `ERROR :Closing link: (…) [RecvQ exceeded]`; others see `QUIT :RecvQ exceeded`.
//! - Without fakelag, which some networks choose, who comes to the limit (here 20 points, as InspIRCd's manual advises) is thrown out with
//!   `Excess Flood`: after 18 lines at once, or after 16 s of two lines a second.
//! - What waits to be sent to a client may be 262,144 bytes (hardsendq); above 8,192 (softsendq) its commands wait.
//! - A client is registered at the server's next round of a second, so its 001 comes up to a second after NICK and USER.
//! - The limit of three connections from one address is always lifted, since everybody in a test comes from 127.0.0.1.

use crate::certificate::Certificate;
use crate::daemon::{Daemon, offered};
use crate::irc_user::{OPERATOR, OPERATOR_PASSWORD};
use crate::ports::free_port;

const PROGRAM: &str = "inspircd";
/// The names of this server and of the one that services link as, and the password between them.
pub(crate) const NAME: &str = "irc.test";
pub(crate) const SERVICES: &str = "services.test";
pub(crate) const LINK_PASSWORD: &str = "between-servers";

/// IRCv3 and what belongs to it, TLS, accounts; the last ones have the modes that Atheme wants to use.
const MODULES: &[&str] = &[
    "ssl_gnutls",
    "sslinfo",
    "cap",
    "ircv3",
    "ircv3_accounttag",
    "ircv3_batch",
    "ircv3_capnotify",
    "ircv3_chghost",
    "ircv3_ctctags",
    "ircv3_echomessage",
    "ircv3_invitenotify",
    "ircv3_labeledresponse",
    "ircv3_msgid",
    "ircv3_servertime",
    "monitor",
    "namesx",
    "uhnames",
    "setname",
    "botmode",
    "sasl",
    "services_account",
    "spanningtree",
    "banexception",
    "chghost",
    "deaf",
    "hidechans",
    "hideoper",
    "servprotect",
    "svshold",
];

/// What InspIRCd does with who speaks too fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InspircdLimits {
    /// Nothing.
    #[default]
    Lifted,
    /// As packaged: who is too fast is heard later, and thrown out (`RecvQ exceeded`) when more than 8,192 bytes wait.
    Kept,
    /// Without fakelag: who is too fast is thrown out at once (`Excess Flood`).
    WithoutFakelag,
}

/// How a private InspIRCd differs from the usual one.
#[derive(Clone, Debug)]
pub struct InspircdOptions {
    /// What is done with who speaks too fast.
    pub limits: InspircdLimits,
    /// Asks everybody for this password (PASS), which has no quotes in it.
    pub password: Option<String>,
    /// The names and addresses in the certificate of its TLS port.
    pub names: Vec<String>,
    /// Offers on the plain port to come to the TLS port instead (`sts`).
    pub sts: bool,
}

impl Default for InspircdOptions {
    fn default() -> Self {
        let names = vec![NAME.to_owned(), "127.0.0.1".to_owned()];
        Self { limits: InspircdLimits::default(), password: None, names, sts: false }
    }
}

/// An InspIRCd of one's own, called `irc.test`: no DNS, no ident, nicks up to 30 bytes.
pub struct Inspircd {
    daemon: Daemon,
    ports: Ports,
    password: Option<String>,
    certificate: Certificate,
}

struct Ports {
    plain: u16,
    tls: u16,
    services: u16,
}

impl Inspircd {
    /// Starts one without limits. Panics after a minute, or when none is installed.
    pub fn start() -> Self {
        Self::start_with(InspircdOptions::default())
    }

    /// Starts one as the options say.
    pub fn start_with(options: InspircdOptions) -> Self {
        let ports = Ports { plain: free_port(), tls: free_port(), services: free_port() };
        let names: Vec<&str> = options.names.iter().map(String::as_str).collect();
        let certificate = Certificate::for_names(&names);
        let daemon = Daemon::prepare_as_nobody(PROGRAM);
        daemon.write("certificate.pem", certificate.pem());
        daemon.write("key.pem", certificate.key_pem());
        daemon.write("inspircd.conf", &configuration(&daemon, &ports, &options));
        let mut inspircd = Self { daemon, ports, password: options.password, certificate };
        inspircd.start_again();
        inspircd
    }

    /// Its plain port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.plain
    }

    /// Its TLS port on 127.0.0.1, which asks for a client certificate and goes on without.
    pub fn tls_port(&self) -> u16 {
        self.ports.tls
    }

    /// What its TLS port shows: to be trusted by clients.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// What it offers now by `CAP LS 302`, separated by spaces. `sasl` is among it only while services are linked.
    pub fn offers(&self) -> String {
        let line = offered(self.port()).expect("a running server answers CAP LS");
        line.split_once(" LS :").map(|(_, offers)| offers.trim_end().to_owned()).expect("the list is short")
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

    /// Starts it on the same ports; kills it before, if it runs. Services link again by themselves, about a second later.
    pub fn start_again(&mut self) {
        let mut command = self.daemon.command();
        command.args(["--nofork", "--nopid", "--config", &self.daemon.path("inspircd.conf")]);
        let port = self.port();
        self.daemon.start(command, || offered(port).is_some());
    }

    pub(crate) fn services_port(&self) -> u16 {
        self.ports.services
    }

    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

fn configuration(daemon: &Daemon, ports: &Ports, options: &InspircdOptions) -> String {
    let modules: String = MODULES.iter().map(|module| format!("<module name=\"{module}\">\n")).collect();
    [server(daemon), modules, tls(daemon, ports), sts(ports, options), clients(ports, options), services(ports)]
        .concat()
}

fn server(daemon: &Daemon) -> String {
    let log = daemon.path("log");
    format!(
        r#"
<server name="{NAME}" description="a private test server" network="test" id="1AA">
<admin name="nobody" nick="nobody" email="nobody@{NAME}">
<dns server="127.0.0.1" timeout="1">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" flush="1" target="{log}">
"#
    )
}

fn tls(daemon: &Daemon, ports: &Ports) -> String {
    let (certificate, key, port) = (daemon.path("certificate.pem"), daemon.path("key.pem"), ports.tls);
    format!(
        r#"
<sslprofile name="test" provider="gnutls" certfile="{certificate}" keyfile="{key}" hash="sha256" requestclientcert="yes">
<bind address="127.0.0.1" port="{port}" type="clients" sslprofile="test">
"#
    )
}

fn sts(ports: &Ports, options: &InspircdOptions) -> String {
    let port = ports.tls;
    match options.sts {
        true => format!("<module name=\"ircv3_sts\">\n<sts host=\"*\" port=\"{port}\">\n"),
        false => String::new(),
    }
}

fn clients(ports: &Ports, options: &InspircdOptions) -> String {
    let limits = match options.limits {
        // Points and bytes that nobody comes to.
        InspircdLimits::Lifted => r#"threshold="1000000" recvq="100M" softsendq="100M" hardsendq="100M""#,
        InspircdLimits::Kept => r#"threshold="10" recvq="8192" softsendq="8192" hardsendq="262144""#,
        InspircdLimits::WithoutFakelag => {
            r#"threshold="20" fakelag="no" recvq="8192" softsendq="8192" hardsendq="262144""#
        }
    };
    let password = options.password.as_ref().map(|password| format!(r#"password="{password}""#)).unwrap_or_default();
    let port = ports.plain;
    // As much as it can read at once: of more, sent in one go, it reads the rest up to two seconds later.
    format!(
        r#"
<performance netbuffersize="65534">
<bind address="127.0.0.1" port="{port}" type="clients">
<connect allow="*" {limits} {password} localmax="5000" globalmax="5000" resolvehostnames="no">
<class name="all" commands="*" privs="*">
<type name="all" classes="all">
<oper name="{OPERATOR}" password="{OPERATOR_PASSWORD}" host="*@*" type="all">
"#
    )
}

/// The address and port of the link itself are needed, and never used: services come to this server.
fn services(ports: &Ports) -> String {
    let port = ports.services;
    format!(
        r#"
<bind address="127.0.0.1" port="{port}" type="servers">
<link name="{SERVICES}" ipaddr="127.0.0.1" port="1" allowmask="127.0.0.1" sendpass="{LINK_PASSWORD}" recvpass="{LINK_PASSWORD}">
<uline server="{SERVICES}" silent="yes">
<sasl target="{SERVICES}">
"#
    )
}
