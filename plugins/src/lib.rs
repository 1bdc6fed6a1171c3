//! What the bot can do: one file a plugin, and [`all`], the list of them.
//!
//! To add one: write `src/<name>.rs` with `pub fn plugin() -> Plugin` and its tests, and add a line to the list.

use protocol::Target;
use store::Store;
use worker::{LiveSettings, Plugin};

pub mod archive;
mod duration;
mod echo;
mod foobar;
mod help;
mod music;
mod people;
mod ping;
mod presence;
mod say;
mod seen;
pub mod settings;
mod uptime;
mod users;
mod version;

/// What plugins need to know of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What can be changed while the bot runs: where routes lead, which channels subscribe to which tags.
    pub live: LiveSettings,
    /// The names of all networks.
    pub networks: Vec<String>,
    /// Every configured channel.
    pub channels: Vec<Target>,
    /// The bot's version.
    pub version: &'static str,
    /// What it remembers. Plugins that need it are left out without it.
    pub store: Option<Store>,
}

/// Every plugin, in the order of the help.
pub fn all(settings: &Settings) -> Vec<Plugin> {
    let mut all = forgetful(settings);
    if let Some(store) = &settings.store {
        all.extend(remembering(settings, store));
    }
    all
}

/// Those that need no database.
fn forgetful(settings: &Settings) -> Vec<Plugin> {
    vec![
        help::plugin(),
        ping::plugin(),
        echo::plugin(),
        uptime::plugin(),
        version::plugin(settings.version),
        foobar::plugin(),
        music::plugin(settings),
        say::plugin(settings.live.clone()),
    ]
}

/// Those that do.
fn remembering(settings: &Settings, store: &Store) -> Vec<Plugin> {
    vec![
        archive::plugin(store.clone()),
        presence::plugin(store.clone()),
        seen::plugin(),
        users::plugin(),
        people::plugin(),
        settings::plugin(settings.live.clone(), settings.networks.clone()),
    ]
}

/// The names of all plugins, those that need a database included.
pub const NAMES: [&str; 14] = [
    "help", "ping", "echo", "uptime", "version", "foobar", "music", "say", "archive", "presence", "seen", "users",
    "people", "settings",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_names_are_those_of_all_plugins() {
        let store = store::testing::Temporary::sqlite().await;
        let settings = Settings { store: Some(store.clone()), ..Settings::default() };
        let names: Vec<&str> = all(&settings).iter().map(Plugin::name).collect();
        assert_eq!(names, NAMES);
    }

    #[tokio::test]
    async fn every_example_in_the_help_is_what_the_bot_says() {
        let settings = Settings { version: "1.2.3", ..Settings::default() };
        worker::testing::check_examples(|| all(&settings)).await;
    }
}
