//! Binding patterns by RabbitMQ's topic rules (`*` one word, `#` zero or more), alone and as a tree of many.

use std::collections::HashMap;
use std::fmt;

use thiserror::Error;

use crate::RoutingKey;
use crate::key::{KeyError, check_words};

/// A binding pattern: dot-separated words of which `*` stands for one word and `#` for zero or more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(String);

/// Why a text is no pattern: the rules of a routing key apply, only that `*` and `#` are allowed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct PatternError(#[from] KeyError);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is longer than 255 bytes, has an empty word, white space or a control character.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        check_words(pattern)?;
        Ok(Pattern(pattern.to_owned()))
    }

    /// Does an event with this key go where this pattern is bound?
    pub fn matches(&self, key: &RoutingKey) -> bool {
        let key: Vec<&str> = key.words().collect();
        // reached[i]: the pattern's words so far can account for exactly the key's first i words
        let mut reached = vec![false; key.len() + 1];
        reached[0] = true;
        for word in self.words() {
            let before = reached;
            reached = vec![false; key.len() + 1];
            for i in 0..=key.len() {
                reached[i] = match word {
                    "#" => before[i] || (i > 0 && reached[i - 1]),
                    _ => i > 0 && before[i - 1] && (word == "*" || word == key[i - 1]),
                };
            }
        }
        reached[key.len()]
    }

    /// The words, in order.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Many patterns at once, each with a value: a tree of words that a key is walked through once.
///
/// The walk keeps the set of nodes that the words so far can have reached, so its cost is bounded by the key's words
/// times the nodes reached, however hostile the patterns are.
#[derive(Debug)]
pub struct PatternTree<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    words: HashMap<Box<str>, usize>,
    star: Option<usize>,
    hash: Option<usize>,
    /// This node stands behind a `#`: any further word leads back to it.
    stays: bool,
    values: Vec<T>,
}

impl<T> Node<T> {
    fn new(stays: bool) -> Self {
        Node { words: HashMap::new(), star: None, hash: None, stays, values: Vec::new() }
    }
}

const ROOT: usize = 0;

impl<T> Default for PatternTree<T> {
    fn default() -> Self {
        PatternTree { nodes: vec![Node::new(false)] }
    }
}

impl<T> PatternTree<T> {
    /// Adds a value under a pattern. A pattern may hold several values.
    pub fn insert(&mut self, pattern: &Pattern, value: T) {
        let mut node = ROOT;
        for word in pattern.words() {
            node = self.child(node, word);
        }
        self.nodes[node].values.push(value);
    }

    fn child(&mut self, parent: usize, word: &str) -> usize {
        // `#.#` means the same as `#`
        if word == "#" && self.nodes[parent].stays {
            return parent;
        }
        let fresh = self.nodes.len();
        let node = &mut self.nodes[parent];
        let child = match word {
            "*" => *node.star.get_or_insert(fresh),
            "#" => *node.hash.get_or_insert(fresh),
            _ => *node.words.entry(word.into()).or_insert(fresh),
        };
        if child == fresh {
            self.nodes.push(Node::new(word == "#"));
        }
        child
    }

    /// Keeps only the values that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for node in &mut self.nodes {
            node.values.retain(&mut keep);
        }
    }

    /// The values of all patterns that the key matches, each once an insertion, in no particular order.
    pub fn matches(&self, key: &RoutingKey) -> Vec<&T> {
        let mut reached = Vec::with_capacity(8);
        let mut next = Vec::with_capacity(8);
        self.enter(ROOT, &mut reached);
        for word in key.words() {
            next.clear();
            for &node in &reached {
                self.step(node, word, &mut next);
            }
            if next.len() > 1 {
                next.sort_unstable();
                next.dedup();
            }
            std::mem::swap(&mut reached, &mut next);
        }
        reached.iter().flat_map(|&node| &self.nodes[node].values).collect()
    }

    /// Where one more word leads from a node.
    fn step(&self, from: usize, word: &str, reached: &mut Vec<usize>) {
        let node = &self.nodes[from];
        if let Some(&child) = node.words.get(word) {
            self.enter(child, reached);
        }
        if let Some(child) = node.star {
            self.enter(child, reached);
        }
        if node.stays {
            self.enter(from, reached);
        }
    }

    /// A node, and the `#` below it, which needs no further word.
    fn enter(&self, node: usize, reached: &mut Vec<usize>) {
        reached.push(node);
        reached.extend(self.nodes[node].hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> RoutingKey {
        RoutingKey::parse(text).unwrap()
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    /// The rules as they are told, word by word: slow, and plainly right.
    fn naive(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (["#", rest @ ..], []) => naive(rest, key),
            (["#", rest @ ..], [_, key_rest @ ..]) => naive(rest, key) || naive(pattern, key_rest),
            ([word, rest @ ..], [first, key_rest @ ..]) => (*word == "*" || word == first) && naive(rest, key_rest),
            _ => false,
        }
    }

    #[test]
    fn a_hash_stands_for_zero_or_more_words_and_a_star_for_one() {
        for (text, yes, no) in [
            ("music.#", vec!["music", "music.track", "music.track.x"], vec!["musical"]),
            ("chat.irc.*.join", vec!["chat.irc.#a.join"], vec!["chat.irc.join", "chat.irc.#a.leave"]),
            ("#", vec!["a", "a.b"], vec![]),
            ("#.track", vec!["track", "music.track"], vec!["track.music"]),
            ("*", vec!["a"], vec!["a.b"]),
        ] {
            yes.iter().for_each(|k| assert!(pattern(text).matches(&key(k)), "{text} {k}"));
            no.iter().for_each(|k| assert!(!pattern(text).matches(&key(k)), "{text} {k}"));
        }
    }

    #[test]
    fn a_word_that_only_begins_like_a_wildcard_is_a_plain_word() {
        assert!(pattern("chat.irc.#rust.chat").matches(&key("chat.irc.#rust.chat")));
        assert!(!pattern("chat.irc.#rust.chat").matches(&key("chat.irc.#go.chat")));
    }

    #[test]
    fn removed_values_match_no_more() {
        let mut tree = PatternTree::default();
        tree.insert(&pattern("a.*"), 1);
        tree.insert(&pattern("a.#"), 2);
        tree.retain(|value| *value != 1);
        assert_eq!(tree.matches(&key("a.b")), [&2]);
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_its_words_times_the_keys() {
        let mut tree = PatternTree::default();
        tree.insert(&pattern(&["#.a"; 60].join(".")), ());
        let long = key(&["a"; 120].join("."));
        assert_eq!(tree.matches(&long).len(), 1);
        assert!(pattern(&["#.a"; 60].join(".")).matches(&long));
    }

    proptest! {
        #[test]
        fn the_tree_and_the_single_matcher_agree_with_the_rules(
            patterns in prop::collection::vec("(a|b|\\*|#)(\\.(a|b|\\*|#)){0,4}", 1..12),
            keys in prop::collection::vec("(a|b|c)(\\.(a|b|c)){0,5}", 1..12),
        ) {
            let mut tree = PatternTree::default();
            for (i, text) in patterns.iter().enumerate() {
                tree.insert(&pattern(text), i);
            }
            for text in &keys {
                let words: Vec<&str> = text.split('.').collect();
                let expected: Vec<usize> = (0..patterns.len())
                    .filter(|&i| naive(&patterns[i].split('.').collect::<Vec<_>>(), &words))
                    .collect();
                let mut found: Vec<usize> = tree.matches(&key(text)).into_iter().copied().collect();
                found.sort_unstable();
                prop_assert_eq!(&found, &expected);
                let singly: Vec<usize> =
                    (0..patterns.len()).filter(|&i| pattern(&patterns[i]).matches(&key(text))).collect();
                prop_assert_eq!(&singly, &expected);
            }
        }
    }
}
