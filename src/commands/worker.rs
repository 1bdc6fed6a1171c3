//! `pubbot worker`: answers what is said, over RabbitMQ. Any number of them share the work; what one that dies was
//! working on goes to another.

use clap::Args;

use crate::cli::Options;
use crate::config::{Config, Environment};
use crate::failure::Failure;
use crate::{bot, broker, config, database, logs, roles, runtime};

const EXAMPLES: &str = "\
Example:
  pubbot worker --broker-url amqp://guest:guest@localhost:5672/%2f

Workers of one group share its events: each event goes to one of them. Each group gets a copy of its own.";

/// Answer what is said: as many as you like, over RabbitMQ
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Worker {
    /// The group to work in [default: main] [env: PUBBOT_WORKER_GROUP]
    #[arg(long, value_name = "NAME", value_parser = config::group)]
    group: Option<String>,
}

impl Worker {
    pub fn run(self, options: &Options, environment: &Environment) -> Result<(), Failure> {
        let mut overrides = options.overrides_without_secrets();
        overrides.keys.extend(self.group.map(|group| ("--group", &["worker", "group"][..], group)));
        let config = Config::load(environment, &overrides)?;
        let url = broker::rabbitmq_url(&config, "worker")?.clone();
        let store = database::open(&config)?;
        let worker = bot::worker(&config, &store);
        worker.patterns()?;
        logs::start(options, environment, logs::Default::Role)?;
        let name = format!("worker {}", config.group);
        runtime::block_on(async {
            database::require(&store).await?;
            let worked = roles::over_rabbitmq(&config, &url, &name, |roles, broker, stop| {
                roles.start(bot::tidy(&config, &store, stop));
                roles.start(worker.run(broker.clone(), stop.clone()));
            });
            let worked = worked.await;
            store.close().await;
            worked
        })
    }
}
