//! Who plays in a soak and in an outage: two connectors, of which one speaks, and workers, all supervised, each with ways of its own to
//! a private RabbitMQ and to an IRC server that counts.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use servers::{Counting, Program, RabbitMq, Relay, Service};
use tempfile::TempDir;

use crate::failure::{Context, Failure, Result};

/// Where the users talk.
const CHANNELS: [&str; 4] = ["#soak0", "#soak1", "#soak2", "#soak3"];
/// How long a role may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// After how long the IRC server asks a silent client, and then gives it up.
const SILENCE: Duration = Duration::from_secs(5);
/// RabbitMQ 3.10 takes so long to write down where a new quorum queue is.
const QUEUE_IS_ON_DISK: Duration = Duration::from_secs(3);

/// How often it is looked who is on IRC.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A process, and its ways.
pub(crate) struct Role {
    pub(crate) service: Service,
    pub(crate) to_broker: Relay,
    /// A connector's.
    pub(crate) to_irc: Option<Relay>,
}

impl Role {
    fn is_on_irc(&self) -> bool {
        self.to_irc.as_ref().is_some_and(|relay| relay.open() > 0)
    }
}

/// All of them. The processes end first.
pub(crate) struct Cast {
    pub(crate) connectors: Vec<Role>,
    pub(crate) workers: Vec<Role>,
    pub(crate) counting: Counting,
    pub(crate) broker: RabbitMq,
    folder: TempDir,
}

impl Cast {
    /// Starts everything, and waits until the bot answers.
    pub(crate) fn start(pubbot: &Path, workers: usize) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let (broker, counting) = (RabbitMq::start(), Counting::start(&CHANNELS));
        counting.irc().ping_clients(SILENCE, SILENCE);
        let mut cast = Cast { connectors: Vec::new(), workers: Vec::new(), counting, broker, folder };
        cast.configure()?;
        for number in 0..workers {
            let worker = cast.role(pubbot, "worker", number)?;
            worker.service.wait_for_stderr("the worker is ready", READY_WITHIN);
            cast.workers.push(worker);
        }
        for number in 0..2 {
            let connector = cast.role(pubbot, "connector", number)?;
            cast.connectors.push(connector);
            cast.counting.wait_for_bot();
        }
        cast.counting.say(100, 100);
        cast.counting.wait_for_answers(100);
        std::thread::sleep(QUEUE_IS_ON_DISK);
        Ok(cast)
    }

    fn configure(&self) -> Result<()> {
        let text = format!(
            "[broker]\nurl = {:?}\n[networks.soak]\nurl = \"irc://127.0.0.1:{}\"\nnick = \"pubbot\"\nchannels = {CHANNELS:?}\nflood = \"off\"\n",
            self.broker.url(),
            self.counting.port()
        );
        std::fs::write(self.config(), text).context("pubbot.toml")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("pubbot.toml")
    }

    fn role(&self, pubbot: &Path, role: &str, number: usize) -> Result<Role> {
        let to_broker = Relay::to(self.broker.port());
        let to_irc = (role == "connector").then(|| Relay::to(self.counting.port()));
        let mut environment = vec![
            ("PUBBOT_DATA_DIR", self.folder.path().join(format!("{role}{number}")).to_string_lossy().into_owned()),
            ("PUBBOT_BROKER_URL", format!("amqp://guest:guest@127.0.0.1:{}/%2f", to_broker.port())),
        ];
        environment.extend(
            to_irc.iter().map(|relay| ("PUBBOT_NETWORKS_SOAK_URL", format!("irc://127.0.0.1:{}", relay.port()))),
        );
        let (pubbot, config) = (text(pubbot)?, text(&self.config())?);
        let arguments = ["--config".to_owned(), config, role.to_owned()];
        let service = Service::start(&format!("{role} {number}"), move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, &**value)).collect();
            Program::start(&pubbot, &arguments, &environment)
        });
        Ok(Role { service, to_broker, to_irc })
    }

    /// The connector that is on IRC, if one is.
    pub(crate) fn speaker(&self) -> Option<usize> {
        self.connectors.iter().position(Role::is_on_irc)
    }

    /// The connector that is on IRC, once the one before has left: one that was stopped is there until it has noticed.
    pub(crate) fn only_speaker(&self, limit: Duration) -> Result<usize> {
        let start = Instant::now();
        while self.connectors.iter().filter(|role| role.is_on_irc()).count() != 1 {
            if start.elapsed() > limit {
                return Err(Failure::new(format!("there was no single connector on IRC within {limit:?}")));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.speaker().context("nobody is on IRC")
    }

    /// Waits until another connection answers than the one that did last: how long that took.
    pub(crate) fn wait_for_another(&self, speaker: Option<usize>, since: Instant, limit: Duration) -> Result<Duration> {
        while self.counting.last_speaker() == speaker {
            if since.elapsed() > limit {
                return Err(Failure::new(format!("nobody took over within {limit:?}: {}", self.counting.report())));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(since.elapsed())
    }
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).context("a path that is no text")
}
