//! `pubbot connector`: owns the chat connections, over RabbitMQ. All networks in one process, each with its own session
//! and speaker.

use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, System};
use clap::Args;
use connector::irc::Network;
use tokio_util::sync::CancellationToken;

use crate::cli::{Keeping, Options};
use crate::config::{Config, Environment};
use crate::failure::Failure;
use crate::roles::{self, Roles};
use crate::{broker, logs, runtime};

const EXAMPLES: &str = "\
Example:
  pubbot connector --broker-url amqp://guest:guest@localhost:5672/%2f

Run one for all networks; workers can come and go while it holds the connections.";

/// Own the chat connections: what is said becomes events on RabbitMQ, replies are said
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Connector {
    #[command(flatten)]
    keeping: Keeping,
}

impl Connector {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        let config = Config::load(environment, &self.keeping.over(options.overrides()))?;
        let url = broker::rabbitmq_url(&config, "connector")?.clone();
        if config.networks.is_empty() {
            let why = "no network is configured: add [networks.libera] with url = \"ircs://irc.libera.chat\"";
            return Err(Failure::Configuration(why.to_owned()));
        }
        logs::start(options, environment, logs::Default::Role)?;
        runtime::block_on(roles::over_rabbitmq(&config, &url, "connector", |roles, broker, stop| {
            start(roles, &config, broker, Duration::ZERO, stop);
        }))
    }
}

/// Starts a connector for each network. Once stopped, each goes on for `linger` with what is at hand.
pub fn start(roles: &mut Roles, config: &Config, broker: &Arc<dyn Broker>, linger: Duration, stop: &CancellationToken) {
    let sts = config.sts();
    for (place, network) in config.networks.iter().enumerate() {
        roles.start(connector::irc::run(
            Network { linger, place, ..network.clone() },
            broker.clone(),
            Arc::new(System),
            config.journal(&network.name),
            sts.clone(),
            stop.clone(),
        ));
    }
}
