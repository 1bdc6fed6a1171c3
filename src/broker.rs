//! Opens the configured broker: as a role of the bot, or from another shell. Nothing else in the executable cares which
//! of the two brokers it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bus::{Embedded, RabbitMq, System, Topology};
use connector::Secret;

use crate::config::{Broker, Config};
use crate::failure::Failure;

/// The Unix socket of the embedded broker in a data folder.
pub fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("pubbot.sock")
}

/// The names on the configured broker.
pub fn topology(config: &Config) -> Topology {
    Topology::new(&config.prefix)
}

/// Opens the embedded broker, whose queues are in the data folder.
pub fn embedded(config: &Config) -> Result<Embedded, Failure> {
    let folder = config.data_dir.join("queues");
    Ok(Embedded::open(&folder, topology(config), Arc::new(System), config.durability)?)
}

/// Connects to RabbitMQ under a name that its management shows. Waits for it, without limit.
pub async fn rabbitmq(config: &Config, url: &Secret, name: &str) -> Result<RabbitMq, Failure> {
    Ok(RabbitMq::connect(url.expose(), topology(config), &format!("pubbot {name}"), Arc::new(System)).await?)
}

/// For a role that is a process of its own: RabbitMQ's URL.
///
/// # Errors
/// With the embedded broker, which lives in one process.
pub fn rabbitmq_url<'a>(config: &'a Config, role: &str) -> Result<&'a Secret, Failure> {
    match &config.broker {
        Broker::RabbitMq(url) => Ok(url),
        Broker::Embedded => Err(Failure::Configuration(format!(
            "`pubbot {role}` needs a RabbitMQ: set broker.url in pubbot.toml (or PUBBOT_BROKER_URL, or --broker-url) \
             to amqp://user:password@host:5672/vhost; without one, `pubbot up` is the whole bot in one process"
        ))),
    }
}

/// For a command in another shell: RabbitMQ, or the embedded broker of the `pubbot up` that runs on the data folder.
pub async fn from_outside(config: &Config, name: &str) -> Result<Arc<dyn bus::Broker>, Failure> {
    match &config.broker {
        Broker::RabbitMq(url) => Ok(Arc::new(rabbitmq(config, url, name).await?)),
        Broker::Embedded => Ok(Arc::new(bus::socket::connect(&socket(&config.data_dir)).await?)),
    }
}
