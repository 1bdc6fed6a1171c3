//! A world to test in: a private ngircd, a broker, a configuration file, and pubbot's processes in it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use bus::{Address, Broker, Message, Properties, Topology};
use servers::{IrcUser, Ngircd, Output, Program, RabbitMq, Service};
use tempfile::TempDir;

/// Names a deliberate fault (`bus::mutants`), where the executable was built with them.
const MUTANT: &str = "PUBBOT_TEST_MUTANT";

/// How pubbot runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `pubbot up`: one process, the embedded broker.
    Up,
    /// `pubbot connector` and `pubbot worker` over RabbitMQ.
    Spread,
}

/// A configuration in a temporary folder, and what it names.
pub struct World {
    kind: Kind,
    folder: TempDir,
    prefix: String,
    broker_url: String,
    irc_port: u16,
}

/// A prefix for a world's queues that no other world of this machine has.
pub fn fresh_prefix() -> String {
    static WORLDS: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed))
}

impl World {
    /// A world whose bot is in these channels of the IRC server on `irc_port`.
    pub fn new(kind: Kind, irc_port: u16, channels: &[&str]) -> Self {
        Self::with_prefix(&fresh_prefix(), kind, irc_port, channels)
    }

    /// The same, with this prefix for its queues instead of one that nobody else has.
    pub fn with_prefix(prefix: &str, kind: Kind, irc_port: u16, channels: &[&str]) -> Self {
        let broker_url = match kind {
            Kind::Up => "embedded:",
            Kind::Spread => RabbitMq::shared().url(),
        };
        Self::with_broker(prefix, kind, irc_port, channels, broker_url)
    }

    /// The same, with a broker of the test's own.
    pub fn with_broker(prefix: &str, kind: Kind, irc_port: u16, channels: &[&str], broker_url: &str) -> Self {
        let (folder, prefix) = (tempfile::tempdir().unwrap(), prefix.to_owned());
        let world = World { kind, folder, prefix, broker_url: broker_url.to_owned(), irc_port };
        world.configure(&format!("channels = {channels:?}"), "");
        world
    }

    /// Writes the configuration anew: lines for the network, and whatever else.
    pub fn configure(&self, network: &str, more: &str) {
        let (data, url, prefix, port) =
            (self.folder.path().join("data"), &self.broker_url, &self.prefix, self.irc_port);
        let flood = if network.contains("flood") { "" } else { "flood = \"off\"" };
        let text = format!(
            "data_dir = {data:?}\n[broker]\nurl = {url:?}\nprefix = {prefix:?}\n\
             [networks.test]\nurl = \"irc://127.0.0.1:{port}\"\nnick = \"pubbot\"\n{flood}\n{network}\n{more}\n"
        );
        std::fs::write(self.config(), text).unwrap();
    }

    pub fn config(&self) -> String {
        self.folder.path().join("pubbot.toml").to_str().unwrap().to_owned()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts a role or a command in this world.
    pub fn start(&self, arguments: &[&str]) -> Program {
        pubbot(&[&["--config", &self.config()], arguments].concat())
    }

    /// Starts a role that is started again whenever it ends, with this environment.
    pub fn service(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Service {
        let config = self.config();
        let arguments: Vec<String> = ["--config", &config].iter().chain(arguments).map(ToString::to_string).collect();
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let environment: Vec<(String, String)> = environment.iter().map(own).collect();
        let name = arguments[2..].join(" ");
        Service::start(&name, move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
            pubbot_with(&arguments, &environment)
        })
    }

    /// A path in the world's folder.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// How pubbot runs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What the names on its broker begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where its broker is.
    pub fn broker_url(&self) -> &str {
        &self.broker_url
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut program = self.start(arguments);
        program.close_stdin();
        program.wait()
    }

    /// The bot: everything it needs to answer, with so many workers where they are processes of their own.
    pub fn bot(&self, workers: usize) -> Vec<Program> {
        match self.kind {
            Kind::Up => vec![self.start(&["up"])],
            Kind::Spread => {
                let mut roles = vec![self.start(&["connector"])];
                roles.extend((0..workers).map(|_| self.start(&["worker"])));
                roles.iter().skip(1).for_each(|worker| {
                    worker.wait_for_stderr("the worker is ready");
                });
                roles
            }
        }
    }

    /// Publishes a body that may be anything, as a program in any language could.
    pub fn publish_bytes(&self, key: &str, body: &'static [u8]) {
        let to = Address::Topic(protocol::RoutingKey::parse(key).unwrap());
        self.publish(Message { to, mandatory: true, properties: Properties::default(), body: body.into() });
    }

    /// Puts a reply or an action into the network's reply queue, as a program of that name could.
    pub fn requests(&self, app_id: &str, body: &serde_json::Value) {
        let to = Address::Queue(Topology::new(&self.prefix).replies_name("irc", "test"));
        let properties = Properties { app_id: Some(app_id.to_owned()), ..Properties::default() };
        self.publish(Message { to, mandatory: true, properties, body: body.to_string().into() });
    }

    fn publish(&self, message: Message) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let broker: Box<dyn Broker> = match self.kind {
                Kind::Up => Box::new(bus::socket::connect(&self.folder.path().join("data/pubbot.sock")).await.unwrap()),
                Kind::Spread => {
                    let topology = Topology::new(&self.prefix);
                    let ambient = std::sync::Arc::new(bus::System);
                    Box::new(bus::RabbitMq::connect(&self.broker_url, topology, "test", ambient).await.unwrap())
                }
            };
            broker.publish(message).await.await.unwrap();
            broker.close().await;
        });
    }

    /// Starts `pubbot tail` and waits until it is bound.
    pub fn tail(&self, patterns: &[&str]) -> Program {
        let tail = self.start(&[&["tail", "--json"], patterns].concat());
        tail.wait_for_stderr("listening");
        tail
    }
}

/// Runs the built executable.
pub fn pubbot(arguments: &[&str]) -> Program {
    pubbot_with(arguments, &[])
}

/// The same with these variables in its environment, and with the deliberate fault that the tests are run with.
pub fn pubbot_with(arguments: &[&str], environment: &[(&str, &str)]) -> Program {
    let mutant = test_environment(MUTANT);
    let environment = [&[(MUTANT, &*mutant)], environment].concat();
    Program::start(pubbot_executable(), arguments, &environment)
}

/// The built executable.
pub fn pubbot_executable() -> &'static str {
    env!("CARGO_BIN_EXE_pubbot")
}

/// A switch of the tests' own; empty when it is not set.
pub fn test_environment(name: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "the tests' own switches")]
    std::env::var(name).unwrap_or_default()
}

/// An ngircd, and users in a channel who have seen the bot come in.
pub fn user_with_bot(ircd: &Ngircd, nick: &str, channel: &str) -> IrcUser {
    let user = IrcUser::connect(ircd.port(), nick);
    user.join(channel);
    wait_for_bot(&user, channel);
    user
}

/// Waits until the bot is in the channel.
pub fn wait_for_bot(user: &IrcUser, channel: &str) {
    if !user.names(channel).iter().any(|name| name.trim_start_matches(['@', '+']) == "pubbot") {
        user.hears(|line| line.starts_with(":pubbot!") && line.contains(" JOIN ") && line.ends_with(channel));
    }
}

/// Makes a test of the given function for `up` and one for the spread-out bot.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod up {
            $(#[test] fn $name() { super::$name(crate::world::Kind::Up) })+
        }
        mod spread {
            $(#[test] fn $name() { super::$name(crate::world::Kind::Spread) })+
        }
    };
}
pub(crate) use on_both;
