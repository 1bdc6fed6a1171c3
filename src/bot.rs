//! The bot itself, put together from the configuration: its plugins, and the worker that runs them. The same for `up`,
//! `worker` and `check`.

use plugins::Settings;
use protocol::Target;
use store::Store;
use worker::{Plugin, Worker};

use crate::config::Config;
use crate::config::network::CONSOLE;

/// The protocol's word of IRC networks, in keys and queues.
pub const IRC: &str = "irc";

/// The only channel of the console.
const CONSOLE_CHANNEL: &str = "#console";

/// The protocol's word of a network.
pub fn protocol_of(network: &str) -> &'static str {
    if network == CONSOLE { CONSOLE } else { IRC }
}

/// A worker of the configured group, with all plugins that are enabled, which remember things in this database.
pub fn worker(config: &Config, store: &Store) -> Worker {
    let names = config.networks.iter().map(|network| network.name.as_str()).chain([CONSOLE]);
    let networks = names.map(|name| (name.to_owned(), protocol_of(name).to_owned()));
    Worker::new(&config.group)
        .ordered(config.ordered)
        .networks(networks)
        .database(store.clone())
        .plugins(plugins(config, store))
}

/// The plugins that are enabled.
pub fn plugins(config: &Config, store: &Store) -> Vec<Plugin> {
    let settings = Settings {
        routes: config.routes.clone(),
        channels: channels(config),
        version: env!("CARGO_PKG_VERSION"),
        store: Some(store.clone()),
    };
    let enabled = |plugin: &Plugin| match &config.plugins {
        Some(names) => names.iter().any(|name| name == plugin.name()),
        None => true,
    };
    let plugins: Vec<Plugin> = plugins::all(&settings).into_iter().filter(enabled).collect();
    plugins.iter().filter_map(Plugin::steps).for_each(|steps| store.expect(steps));
    plugins
}

/// Every channel that the bot is in; without a network, the console's.
fn channels(config: &Config) -> Vec<Target> {
    if config.networks.is_empty() {
        return Target::new(CONSOLE, CONSOLE_CHANNEL).into_iter().collect();
    }
    let channels = |network: &connector::irc::Network| -> Vec<Target> {
        network.channels.iter().filter_map(|channel| Target::new(&network.name, &channel.name).ok()).collect()
    };
    config.networks.iter().flat_map(channels).collect()
}
