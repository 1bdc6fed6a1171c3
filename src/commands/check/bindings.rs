//! Bindings that nothing can match: a pattern that begins like one of pubbot's own keys, but is none of them. What
//! begins otherwise may be somebody's own event, and is left alone.

use protocol::{ChatKind, Pattern};
use worker::{Plugin, Worker};

use crate::nearest::did_you_mean;

/// One word of a documented routing key.
#[derive(Clone, Copy)]
enum Word {
    /// A name of somebody's choosing.
    Any,
    /// One of these.
    One(&'static [&'static str]),
    /// A kind of chat event.
    Kind,
}

/// The routing keys that pubbot itself has a meaning for. What begins otherwise is the users' own.
const FAMILIES: [&[Word]; 7] = [
    &[Word::One(&["chat"]), Word::Any, Word::Any, Word::Kind],
    &[Word::One(&["connection"]), Word::Any, Word::Any, Word::One(&["up", "down"])],
    &[Word::One(&["music"]), Word::One(&["track", "stop"])],
    &[Word::One(&["say"]), Word::Any],
    &[Word::One(&["timer"]), Word::Any, Word::Any],
    &[Word::One(&["webhook"]), Word::Any],
    &[Word::One(&["feed"]), Word::Any],
];

/// Each plugin's patterns that no event can match, and why.
pub fn unmatched(plugins: Vec<Plugin>) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for plugin in plugins {
        let name = plugin.name();
        let queues = Worker::new("check").plugin(plugin).bindings().unwrap_or_default();
        let patterns = queues.iter().flat_map(|(_, patterns)| patterns);
        found.extend(patterns.filter_map(never).map(|why| (name, why)));
    }
    found
}

/// Why no event can match this pattern; `None` if one can.
fn never(pattern: &Pattern) -> Option<String> {
    let words: Vec<&str> = pattern.words().collect();
    let family =
        FAMILIES.iter().find(|family| matches!(family[0], Word::One([first]) if words.first() == Some(first)))?;
    if can_match(&words, family) {
        return None;
    }
    let last = words.last().copied().unwrap_or_default();
    let meant = family.last().map(|word| did_you_mean(last, word.choices())).unwrap_or_default();
    Some(format!("nothing can match its pattern {pattern}{meant} (keys there are {})", shown(family)))
}

/// Is there a key of this family that the pattern matches? `*` is one word, `#` zero or more.
fn can_match(pattern: &[&str], family: &[Word]) -> bool {
    match (pattern, family) {
        ([], []) => true,
        (["#", rest @ ..], _) => {
            can_match(rest, family) || family.split_first().is_some_and(|(_, tail)| can_match(pattern, tail))
        }
        ([word, rest @ ..], [first, tail @ ..]) => first.can_be(word) && can_match(rest, tail),
        _ => false,
    }
}

impl Word {
    fn can_be(self, word: &str) -> bool {
        let choices = self.choices();
        word == "*" || choices.is_empty() || choices.contains(&word)
    }

    /// The words that it can be; none if it can be any.
    fn choices(self) -> Vec<&'static str> {
        match self {
            Word::Any => Vec::new(),
            Word::One(words) => words.to_vec(),
            Word::Kind => ChatKind::ALL.map(ChatKind::word).to_vec(),
        }
    }
}

/// `music.<track|stop>`
fn shown(family: &[Word]) -> String {
    let word = |word: &Word| match word.choices().as_slice() {
        [] => "<name>".to_owned(),
        [one] => (*one).to_owned(),
        several => format!("<{}>", several.join("|")),
    };
    family.iter().map(word).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use worker::event;

    fn never(pattern: &str) -> Option<String> {
        super::never(&Pattern::parse(pattern).unwrap())
    }

    #[test]
    fn a_pattern_that_some_documented_key_matches_is_fine() {
        for pattern in [
            "#",
            "*",
            "*.jion",
            "chat.#",
            "chat.irc.*.join",
            "chat.*.#rust.*",
            "chat.#.chat",
            "chat.#.#.#.#.#",
            "music.*",
            "music.#",
            "say.news",
            "timer.*.*",
            "webhook.deploys",
            "builds.finished.x",
            "connection.#.down",
        ] {
            assert_eq!(never(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_none_matches_is_told_with_what_was_probably_meant() {
        for (pattern, expected) in [
            ("chat.irc.*.jion", "did you mean \"join\"?"),
            ("chat.#.x", "chat.<name>.<name>.<chat|"),
            ("chat.irc.*", "chat.irc.*"),
            ("chat.irc.#c.chat.more", "more"),
            ("music.tracks", "did you mean \"track\"?"),
            ("connection.irc.libera.lost", "<up|down>"),
            ("say.a.b", "say.<name>"),
            ("feed", "feed.<name>"),
        ] {
            let why = never(pattern).unwrap_or_else(|| panic!("{pattern}"));
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn the_plugin_is_named_and_the_bots_own_plugins_are_fine() {
        let plugin = Plugin::new("door").on(event("chat.irc.*.jion"), || async {}).on(event("mine.own"), || async {});
        let batches = |_: worker::Batch| async { Ok(()) };
        let archive = Plugin::new("archive").in_batches(event("chat.irc.*.jion"), batches);
        assert_eq!(unmatched(vec![archive]).len(), 1);
        let found = unmatched(vec![plugin]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "door");
        assert!(unmatched(plugins::all(&plugins::Settings::default())).is_empty());
    }
}
