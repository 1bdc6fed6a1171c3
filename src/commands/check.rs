//! `pubbot check`: whether the bot as configured could work, one line for each thing that it needs, and what to do
//! where it could not.

mod bindings;

use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use bus::Broker as _;
use clap::Args;
use connector::Secret;
use connector::irc::{Network, Reached, Server, Sts, Trust, Unreachable, reach};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cli::Options;
use crate::config::{Broker, Config, Environment};
use crate::failure::{Failure, unless_closed};
use crate::{bot, broker, logs, runtime};

const EXAMPLES: &str = "\
Example:
  pubbot check --config /etc/pubbot.toml

Nothing is changed: no queue is declared, and no channel joined. Exit status 1 if anything fails.";

/// A broker that does not answer within this time is not there.
const BROKER_WITHIN: Duration = Duration::from_secs(5);
/// A chat network may be farther away.
const NETWORK_WITHIN: Duration = Duration::from_secs(15);

/// Check configuration, broker, networks, routes and bindings
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Check {}

impl Check {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        let config = Config::load(environment, &options.overrides())?;
        logs::start(options, environment, logs::Default::Quiet)?;
        runtime::block_on(check(config))
    }
}

/// What was checked: its name, and what is to be known of it, or to be done.
struct Finding {
    what: String,
    result: Result<String, String>,
}

impl Finding {
    fn new(what: impl Into<String>, result: Result<impl Display, impl Display>) -> Self {
        Finding { what: what.into(), result: result.map(|ok| ok.to_string()).map_err(|why| why.to_string()) }
    }
}

async fn check(config: Config) -> Result<(), Failure> {
    let file = config.file.as_ref().map_or("no file: all defaults".to_owned(), |file| file.display().to_string());
    let mut failed = !print(&Finding::new("configuration", Ok::<_, String>(file)))?;
    failed |= !print(&Finding::new("broker", broker(&config).await))?;
    for finding in networks(&config).await.iter().chain(&routes(&config)).chain(&plugins(&config)) {
        failed |= !print(finding)?;
    }
    if failed { Err(Failure::Told) } else { Ok(()) }
}

/// Prints a line; tells whether all is well.
fn print(Finding { what, result }: &Finding) -> Result<bool, Failure> {
    let (word, text) = match result {
        Ok(text) => ("ok  ", text),
        Err(text) => ("FAIL", text),
    };
    unless_closed(writeln!(std::io::stdout(), "{word} {what}: {text}"))?;
    Ok(result.is_ok())
}

async fn broker(config: &Config) -> Result<String, String> {
    match &config.broker {
        Broker::RabbitMq(url) => rabbitmq(config, url).await,
        Broker::Embedded => embedded(&config.data_dir).await,
    }
}

async fn embedded(data_dir: &Path) -> Result<String, String> {
    let folder = data_dir.display();
    match bus::socket::connect(&broker::socket(data_dir)).await {
        Ok(broker) => {
            broker.close().await;
            Ok(format!("embedded; `pubbot up` is running on {folder}"))
        }
        Err(bus::Error::NotRunning { .. }) => Ok(format!("embedded; no `pubbot up` is running on {folder} now")),
        Err(why) => Err(why.to_string()),
    }
}

async fn rabbitmq(config: &Config, url: &Secret) -> Result<String, String> {
    match timeout(BROKER_WITHIN, broker::rabbitmq(config, url, "check")).await {
        Ok(Ok(broker)) => {
            broker.close().await;
            Ok(format!("RabbitMQ answers; names begin with {}", config.prefix))
        }
        Ok(Err(Failure::Failed(why))) => Err(format!("{why} (user, password and virtual host stand in broker.url)")),
        Ok(Err(why)) => Err(why.to_string()),
        Err(_) => Err(format!(
            "RabbitMQ does not answer within {} s: does it run, and is broker.url right?",
            BROKER_WITHIN.as_secs()
        )),
    }
}

/// Asks all servers of all networks at once; the findings are in the order of the configuration.
async fn networks(config: &Config) -> Vec<Finding> {
    if config.networks.is_empty() {
        return vec![Finding::new("networks", Ok::<_, String>("none: `pubbot up` chats at the terminal"))];
    }
    let sts = config.sts();
    let mut asked: JoinSet<(usize, Finding)> = JoinSet::new();
    let servers =
        config.networks.iter().flat_map(|network| network.servers.iter().map(move |server| (network, server)));
    for (index, (network, server)) in servers.enumerate() {
        let (network, server, sts) = (network.clone(), server.clone(), sts.clone());
        asked.spawn(async move {
            let what = format!("network {}", network.name);
            (index, Finding::new(what, answers(&network, &server, &sts).await))
        });
    }
    let mut findings = asked.join_all().await;
    findings.sort_by_key(|(index, _)| *index);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

async fn answers(network: &Network, server: &Server, sts: &Sts) -> Result<String, String> {
    let asked = timeout(NETWORK_WITHIN, reach(network, server, sts)).await;
    let reached = match asked {
        Ok(Ok(reached)) => reached,
        Ok(Err(Unreachable::Dial(why))) if why.is_about_trust() => return Err(why.to_string()),
        Ok(Err(why)) => return Err(format!("{why}; check its url, or whether the server runs")),
        Err(_) => {
            let kind = if server.tls { "the one with TLS" } else { "one without TLS" };
            let within = NETWORK_WITHIN.as_secs();
            return Err(format!("{server} does not answer within {within} s; is the port {kind}?"));
        }
    };
    let addresses: Vec<String> = reached.addresses.iter().map(ToString::to_string).collect();
    let how = if reached.server.tls { over_tls(network, server, &reached)? } else { "unencrypted".to_owned() };
    let channels = network.channels.len();
    Ok(format!("{} ({}) answers, {how}; channels: {channels}", reached.server, addresses.join(", ")))
}

/// By what the server was trusted, and what it was shown.
fn over_tls(network: &Network, server: &Server, reached: &Reached) -> Result<String, String> {
    let by = match &network.tls.trust {
        Trust::System => "verified by this system's roots".to_owned(),
        Trust::File(file) => format!("verified by {}", file.display()),
        Trust::Pinned(_) => "pinned".to_owned(),
    };
    let mut parts = vec![format!("over TLS, {by}")];
    if !server.tls {
        parts.push("which its host asks for".to_owned());
    }
    if let Some(until) = reached.certificate.and_then(|certificate| certificate.expires) {
        parts.push(format!("certificate valid until {until}"));
    }
    if let Some(own) = &network.tls.certificate {
        let fingerprint = own.check().map_err(|why| why.to_string())?;
        parts.push(format!("our certificate is {} ({fingerprint})", own.file.display()));
    }
    Ok(parts.join(", "))
}

/// The targets were checked with the configuration; a channel that the bot is not in may still refuse it.
fn routes(config: &Config) -> Vec<Finding> {
    let finding = |(name, targets): (&String, &Vec<protocol::Target>)| {
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let result = if targets.is_empty() { Err("it leads nowhere: name a target") } else { Ok(targets.join(", ")) };
        Finding::new(format!("route {name}"), result)
    };
    config.routes.iter().map(finding).collect()
}

/// Whether the plugins fit together, and what nothing can ever match.
fn plugins(config: &Config) -> Vec<Finding> {
    let plugins = bot::plugins(config);
    let count = plugins.len();
    let built = match bot::worker(config).patterns() {
        Ok(_) => Ok(format!("{count} for the group {}", config.group)),
        Err(why) => Err(why),
    };
    let unmatched = bindings::unmatched(plugins).into_iter();
    let unmatched = unmatched.map(|(plugin, why)| Finding::new(format!("plugin {plugin}"), Err::<String, _>(why)));
    std::iter::once(Finding::new("plugins", built)).chain(unmatched).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use std::io::Read as _;
    use std::net::TcpListener;

    /// A server that says a line to whoever says something.
    fn server() -> u16 {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0]).unwrap();
            stream.write_all(b":irc.test NOTICE * :hello\r\n").unwrap();
            stream.read_to_end(&mut Vec::new())
        });
        port
    }

    fn dead() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn each_server_of_a_network_is_asked_and_told_with_its_addresses() {
        let (alive, dead) = (server(), dead());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pubbot.toml");
        let data = folder.path().join("data");
        let url = format!("['irc://127.0.0.1:{dead}', 'irc://[::1]:{alive}']");
        std::fs::write(&file, format!("data_dir = {data:?}\n[networks.test]\nurl = {url}\nchannels = ['#a']")).unwrap();
        let overrides = Overrides { config: Some(file), ..Overrides::default() };
        let config = Config::load(&Environment::default(), &overrides).map_err(|why| why.to_string()).unwrap();
        let findings = networks(&config).await;
        let [refused, reached] = findings.as_slice() else { panic!("{}", findings.len()) };
        let why = refused.result.as_ref().unwrap_err();
        assert!(why.contains(&format!("127.0.0.1 port {dead}")) && why.contains("refused"), "{why}");
        let expected = format!("::1 port {alive} (::1) answers, unencrypted; channels: 1");
        assert_eq!((reached.what.as_str(), reached.result.as_deref()), ("network test", Ok(expected.as_str())));
        assert!(!data.exists(), "nothing is changed");
    }
}
