//! The bot itself, put together from the configuration: its plugins, and the worker that runs them. The same for `up`,
//! `worker` and `check`.

use std::sync::Arc;

use bus::System;
use plugins::Settings;
use plugins::settings::Known;
use protocol::Target;
use store::Store;
use store::settings::{Name, Scope, Snapshot, Value};
use tokio_util::sync::CancellationToken;
use worker::{LiveSettings, Plugin, Worker};

use crate::config::Config;
use crate::config::network::CONSOLE;
use crate::failure::Failure;

/// The protocol's word of IRC networks, in keys and queues.
pub const IRC: &str = "irc";

/// The role of those who may change how the bot is set up.
pub const ADMIN: &str = "admin";

/// The only channel of the console.
const CONSOLE_CHANNEL: &str = "#console";

/// The protocol's word of a network.
pub fn protocol_of(network: &str) -> &'static str {
    if network == CONSOLE { CONSOLE } else { IRC }
}

/// A worker of the configured group, with all plugins that are enabled, which remember things in this database.
pub fn worker(config: &Config, store: &Store) -> Worker {
    let networks = networks(config).into_iter().map(|name| (name.clone(), protocol_of(&name).to_owned()));
    let live = LiveSettings::new(file_settings(config), Some(store.clone()));
    Worker::new(&config.group)
        .ordered(config.ordered)
        .networks(networks)
        .database(store.clone())
        .plugins(with(config, store, &live))
        .settings(live)
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

/// The plugins that are enabled. From now on the database is expected to have their tables, too.
pub fn plugins(config: &Config, store: &Store) -> Vec<Plugin> {
    with(config, store, &LiveSettings::default())
}

/// What settings may name.
pub fn known(config: &Config) -> Known {
    Known { networks: networks(config) }
}

/// What the file says of what can be changed while the bot runs.
pub fn file_settings(config: &Config) -> Snapshot {
    let route = |(name, targets): (&String, &Vec<Target>)| {
        (Scope::Everywhere, Name::Route(name.clone()), Value::Targets(targets.clone()))
    };
    config.routes.iter().map(route).chain(config.channels.iter().cloned()).collect()
}

fn networks(config: &Config) -> Vec<String> {
    config.networks.iter().map(|network| network.name.clone()).chain([CONSOLE.to_owned()]).collect()
}

fn with(config: &Config, store: &Store, live: &LiveSettings) -> Vec<Plugin> {
    let settings = Settings {
        live: live.clone(),
        networks: networks(config),
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
