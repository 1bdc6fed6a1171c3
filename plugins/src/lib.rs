//! What the bot can do: one file a plugin, and [`all`], the list of them.
//!
//! To add one: write `src/<name>.rs` with `pub fn plugin() -> Plugin` and its tests, and add a line to the list.

use std::collections::BTreeMap;

use protocol::Target;
use store::Store;
use worker::Plugin;

pub mod archive;
mod duration;
mod echo;
mod foobar;
mod help;
mod music;
mod ping;
mod presence;
mod say;
mod seen;
mod uptime;
mod users;
mod version;

/// What plugins need to know of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where each route leads.
    pub routes: BTreeMap<String, Vec<Target>>,
    /// Every configured channel.
    pub channels: Vec<Target>,
    /// The bot's version.
    pub version: &'static str,
    /// What it remembers. Plugins that need it are left out without it.
    pub store: Option<Store>,
}

/// Every plugin, in the order of the help.
pub fn all(settings: &Settings) -> Vec<Plugin> {
    let mut plugins = vec![
        help::plugin(),
        ping::plugin(),
        echo::plugin(),
        uptime::plugin(),
        version::plugin(settings.version),
        foobar::plugin(),
        music::plugin(settings),
        say::plugin(settings.routes.clone()),
    ];
    if let Some(store) = &settings.store {
        plugins.push(archive::plugin(store.clone()));
        plugins.extend([presence::plugin(store.clone()), seen::plugin(), users::plugin()]);
    }
    plugins
}

/// The names of all plugins, those that need a database included.
pub const NAMES: [&str; 12] =
    ["help", "ping", "echo", "uptime", "version", "foobar", "music", "say", "archive", "presence", "seen", "users"];

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
