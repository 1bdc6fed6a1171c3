//! Which handlers an event is for: commands by their word, triggers through the index, events by their patterns.

use std::collections::HashMap;

use protocol::{Chat, ChatKind, Pattern, PatternTree, RoutingKey};

use crate::context::Matched;
use crate::index::{Found, TriggerIndex};
use crate::plugin::PluginEntry;
use crate::{BuildError, Plugin, Source};

/// Looks handlers up by their position in the list of all plugins' handlers.
pub(crate) struct Matcher {
    prefix: String,
    commands: HashMap<String, usize>,
    triggers: TriggerIndex,
    /// The handler of each pattern in the index.
    trigger_handlers: Vec<usize>,
    events: PatternTree<usize>,
    event_patterns: Vec<Pattern>,
}

/// A handler that an event is for, and why.
pub(crate) struct Hit {
    pub(crate) handler: usize,
    pub(crate) matched: Matched,
}

impl Matcher {
    pub(crate) fn build(plugins: &[Plugin], prefix: &str) -> Result<Self, BuildError> {
        let all: Vec<(&Plugin, &PluginEntry)> =
            plugins.iter().flat_map(|plugin| plugin.entries.iter().map(move |entry| (plugin, entry))).collect();
        let (triggers, trigger_handlers) = triggers(&all)?;
        let mut events = PatternTree::default();
        let event_patterns = event_patterns(&all)?;
        for (handler, pattern) in &event_patterns {
            events.insert(pattern, *handler);
        }
        Ok(Matcher {
            prefix: prefix.to_owned(),
            commands: commands(&all)?,
            triggers,
            trigger_handlers,
            events,
            event_patterns: event_patterns.into_iter().map(|(_, pattern)| pattern).collect(),
        })
    }

    /// What a queue must be bound to so that every event with a handler reaches it, sorted, each once.
    pub(crate) fn patterns(&self) -> Vec<Pattern> {
        let mut patterns = self.event_patterns.clone();
        if !self.commands.is_empty() || !self.triggers.is_empty() {
            patterns.extend(Pattern::parse("chat.*.*.chat"));
        }
        patterns.sort();
        patterns.dedup();
        patterns
    }

    /// The handlers that an event is for: its command, its triggers, its patterns, each in the order of the plugins.
    pub(crate) fn find(&self, key: &RoutingKey, chat: Option<&Chat>, found: &mut Found) -> Vec<Hit> {
        let mut hits = Vec::new();
        if let Some(chat) = chat
            && key.chat_kind() == Some(ChatKind::Chat)
        {
            hits.extend(self.command(chat));
            self.triggers.matches(&chat.content, found);
            hits.extend(found.ids().iter().filter_map(|&id| self.trigger(id, &chat.content)));
        }
        if !self.event_patterns.is_empty() {
            let mut handlers: Vec<usize> = self.events.matches(key).into_iter().copied().collect();
            handlers.sort_unstable();
            hits.extend(handlers.into_iter().map(|handler| Hit { handler, matched: Matched::Event }));
        }
        hits
    }

    /// `!word rest`; said to the bot itself, `word rest` is enough.
    fn command(&self, chat: &Chat) -> Option<Hit> {
        let line = match chat.content.strip_prefix(&self.prefix) {
            Some(line) => line,
            None if chat.direct => &chat.content,
            None => return None,
        };
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let handler = match self.commands.get(word) {
            Some(handler) => *handler,
            None => *self.commands.get(&word.to_ascii_lowercase())?,
        };
        Some(Hit { handler, matched: Matched::Command(rest.trim().to_owned()) })
    }

    fn trigger(&self, id: usize, line: &str) -> Option<Hit> {
        let regex = self.triggers.regex(id)?;
        let captures = regex.captures(line)?;
        let groups = regex.capture_names().flatten();
        let groups = groups.map(|name| (name.to_owned(), captures.name(name).map(|group| group.as_str().to_owned())));
        Some(Hit { handler: self.trigger_handlers[id], matched: Matched::Trigger(groups.collect()) })
    }
}

fn commands(all: &[(&Plugin, &PluginEntry)]) -> Result<HashMap<String, usize>, BuildError> {
    let mut commands: HashMap<String, usize> = HashMap::new();
    for (handler, (plugin, entry)) in all.iter().enumerate() {
        let Source::Command(word) = &entry.spec.source else { continue };
        if word.is_empty() || word.contains(char::is_whitespace) {
            return Err(BuildError::BadCommand { plugin: plugin.name.to_owned(), command: word.clone() });
        }
        if let Some(first) = commands.insert(word.clone(), handler) {
            let (first_plugin, first_entry) = all[first];
            return Err(BuildError::CommandTwice {
                command: word.clone(),
                first: format!("{}/{}", first_plugin.name, first_entry.name),
                second: format!("{}/{}", plugin.name, entry.name),
            });
        }
    }
    Ok(commands)
}

/// The index of all triggers, and the handler of each.
fn triggers(all: &[(&Plugin, &PluginEntry)]) -> Result<(TriggerIndex, Vec<usize>), BuildError> {
    let mut sources = Vec::new();
    let mut handlers = Vec::new();
    for (handler, (_, entry)) in all.iter().enumerate() {
        if let Source::Trigger(source) = &entry.spec.source {
            sources.push(source.as_str());
            handlers.push(handler);
        }
    }
    let index = TriggerIndex::build(sources).map_err(|why| {
        let guilty = why.id().and_then(|id| handlers.get(id)).map(|&handler| all[handler]);
        let (plugin, handler) = guilty.map_or(("all", "all"), |(plugin, entry)| (plugin.name, &entry.name));
        BuildError::Trigger { plugin: plugin.to_owned(), handler: handler.to_owned(), why }
    })?;
    Ok((index, handlers))
}

fn event_patterns(all: &[(&Plugin, &PluginEntry)]) -> Result<Vec<(usize, Pattern)>, BuildError> {
    let mut patterns = Vec::new();
    for (handler, (plugin, entry)) in all.iter().enumerate() {
        match &entry.spec.source {
            Source::Event(Ok(pattern)) => patterns.push((handler, pattern.clone())),
            Source::Event(Err((pattern, why))) => {
                return Err(BuildError::Pattern {
                    plugin: plugin.name.to_owned(),
                    handler: entry.name.clone(),
                    pattern: pattern.clone(),
                    why: why.clone(),
                });
            }
            _ => {}
        }
    }
    Ok(patterns)
}
