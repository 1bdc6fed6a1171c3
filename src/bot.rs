//! The bot itself, put together from the configuration: its plugins, and the worker that runs them. The same for `up`,
//! `worker` and `check`.

use std::sync::Arc;

use bus::System;
use plugins::Settings;
use protocol::Target;
use store::Store;
use tokio_util::sync::CancellationToken;
use worker::{Plugin, Worker};

use crate::config::Config;
use crate::config::network::CONSOLE;
use crate::failure::Failure;

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

/// What sees to it that the archive forgets what it is to forget; where the plugin is not enabled, somebody else does.
pub fn tidy(
    config: &Config,
    store: &Store,
    stop: &CancellationToken,
) -> impl Future<Output = Result<(), Failure>> + use<> {
    let enabled = config.plugins.as_ref().is_none_or(|names| names.iter().any(|name| name == "archive"));
    let (store, keep, stop) = (store.clone(), config.keep.clone(), stop.clone());
    async move {
        if enabled {
            plugins::archive::tidy(store, keep, Arc::new(System), stop).await;
        }
        Ok(())
    }
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
    plugins::all(&settings).into_iter().filter(enabled).collect()
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
