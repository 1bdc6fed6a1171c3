//! Everything that the plugins of a worker offer to people, made from their specs.

use crate::spec::Example;
use crate::{Plugin, Source};

/// The commands and triggers of a worker, in the order of its plugins. A handler takes it as `Arc<Catalogue>`.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// What people can say, the hidden left out.
    pub entries: Vec<Entry>,
    /// What a command begins with.
    pub prefix: String,
}

/// Something that people can say.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The plugin's name.
    pub plugin: &'static str,
    /// The handler's name.
    pub name: String,
    /// The command's word; `None` for triggers.
    pub command: Option<String>,
    /// What follows the command.
    pub usage: Option<&'static str>,
    /// One line about it.
    pub help: Option<&'static str>,
    /// The role that it needs.
    pub role: Option<&'static str>,
    /// What to say and what comes back.
    pub examples: Vec<Example>,
}

impl Catalogue {
    pub(crate) fn of(plugins: &[Plugin], prefix: &str) -> Self {
        let entries = plugins.iter().flat_map(entries).collect();
        Catalogue { entries, prefix: prefix.to_owned() }
    }

    /// What these plugins offer.
    #[cfg(feature = "store")]
    pub(crate) fn only(&self, plugin: impl Fn(&str) -> bool) -> Self {
        let entries = self.entries.iter().filter(|entry| plugin(entry.plugin)).cloned().collect();
        Catalogue { entries, prefix: self.prefix.clone() }
    }

    /// The command or else the handler of that name; a command's prefix may stand before it.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let name = name.strip_prefix(&self.prefix).unwrap_or(name).to_ascii_lowercase();
        let by_command = |entry: &&Entry| entry.command.as_deref() == Some(&*name);
        self.entries.iter().find(by_command).or_else(|| self.entries.iter().find(|entry| entry.name == name))
    }
}

fn entries(plugin: &Plugin) -> impl Iterator<Item = Entry> + '_ {
    plugin.entries.iter().filter(|entry| !entry.spec.hidden).filter_map(|entry| {
        let command = match &entry.spec.source {
            Source::Command(word) => Some(word.clone()),
            Source::Trigger(_) => None,
            Source::Event(_) => return None,
        };
        Some(Entry {
            plugin: plugin.name,
            name: entry.name.clone(),
            command,
            usage: entry.spec.usage,
            help: entry.spec.help,
            role: entry.spec.role,
            examples: entry.spec.examples.clone(),
        })
    })
}
