//! `pubbot check`: whether the bot as configured could work, one line for each thing that it needs, and what to do
//! where it could not.

mod bindings;
mod networks;

use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use bus::Broker as _;
use clap::Args;
use connector::Secret;
use tokio::time::timeout;

use crate::cli::Options;
use crate::config::{Broker, Config, Environment};
use crate::failure::{Failure, unless_closed};
use crate::{bot, broker, logs, runtime};

const EXAMPLES: &str = "\
Example:
  pubbot check --config /etc/pubbot.toml

Nothing is changed: no queue is declared, and no channel joined. On each network it registers and logs in for a moment,
under a nick that ends with -chk. Exit status 1 if anything fails.";

/// A broker that does not answer within this time is not there.
const BROKER_WITHIN: Duration = Duration::from_secs(5);

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
    failed |= !print(&Finding::new("database", database(&config).await))?;
    for finding in networks::findings(&config).await.iter().chain(&routes(&config)).chain(&plugins(&config)) {
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

/// Also of a database that is not there yet: `up` makes it.
async fn database(config: &Config) -> Result<String, String> {
    let store = crate::database::open(config).map_err(|why| why.to_string())?;
    if !crate::database::is_there(&store) {
        return Ok(format!("{} is not there yet: `pubbot up` or `pubbot migrate` makes it", store.place()));
    }
    let schema = store.schema().await.map_err(|why| why.to_string());
    let result = schema.and_then(|schema| schema.fits(store.place()).map_err(|why| why.to_string()));
    let place = store.place().to_owned();
    store.close().await;
    result.map(|()| format!("{place} is up to date"))
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
    let store = match crate::database::open(config) {
        Ok(store) => store,
        Err(why) => return vec![Finding::new("plugins", Err::<String, _>(why))],
    };
    let plugins = bot::plugins(config, &store);
    let count = plugins.len();
    let built = match bot::worker(config, &store).patterns() {
        Ok(_) => Ok(format!("{count} for the group {}", config.group)),
        Err(why) => Err(why),
    };
    let unmatched = bindings::unmatched(plugins).into_iter();
    let unmatched = unmatched.map(|(plugin, why)| Finding::new(format!("plugin {plugin}"), Err::<String, _>(why)));
    std::iter::once(Finding::new("plugins", built)).chain(unmatched).collect()
}
