//! Reads one table of the tree: takes the keys it knows, checks their types, and complains of the rest. What was
//! taken is what is known, so no list of keys can be forgotten when a key is added.

use super::report::{Problem, Source};
use super::tree::{Node, Origin, Table, Value, parse_value};
use crate::nearest::did_you_mean;

/// Everything that reading a configuration needs beside the tree.
pub struct Reading {
    /// The file, for those who complain.
    pub source: Source,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Whether files with secrets are read. Who says nothing to a network needs none.
    pub secrets: bool,
}

/// A table that is being read.
pub struct Section<'a> {
    /// Its dotted name; empty for the whole configuration.
    name: String,
    table: Table,
    known: Vec<&'static str>,
    reading: &'a mut Reading,
}

/// A value of the right type, and where it comes from.
#[derive(Clone, Debug)]
pub struct Found<T> {
    pub value: T,
    pub origin: Origin,
}

impl<'a> Section<'a> {
    /// Begins to read a table.
    pub fn new(name: String, table: Table, reading: &'a mut Reading) -> Self {
        Section { name, table, known: Vec::new(), reading }
    }

    /// What is being read.
    pub fn reading(&mut self) -> &mut Reading {
        self.reading
    }

    /// Complains.
    pub fn complain(&mut self, origin: &Origin, message: impl Into<String>) {
        self.reading.problems.push(Problem::new(origin.clone(), message));
    }

    /// Takes a key's value, if it is there.
    pub fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        self.table.remove(key).map(|entry| entry.node)
    }

    /// Whether a key is there, and was not taken yet.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where a key stands that is there, and was not taken yet.
    pub fn origin(&self, key: &str) -> Option<Origin> {
        self.table.get(key).map(|entry| entry.key.clone())
    }

    /// Takes a text.
    pub fn text(&mut self, key: &'static str) -> Option<Found<String>> {
        let node = self.take(key)?;
        let what = self.path(key);
        self.as_text(&what, node)
    }

    /// Takes a text and reads it; a complaint is worded by `read`.
    pub fn parsed<T, E: ToString>(&mut self, key: &'static str, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let Found { value, origin } = self.text(key)?;
        match read(&value) {
            Ok(value) => Some(value),
            Err(why) => {
                let message = format!("{}: {}", self.path(key), why.to_string());
                self.complain(&origin, message);
                None
            }
        }
    }

    /// Takes a yes or no. Outside the file it is a text.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let node = self.take(key)?;
        let what = self.path(key);
        match (&node.value, &node.origin) {
            (Value::Flag(flag), _) => Some(*flag),
            (Value::Text(text), Origin::Variable(_) | Origin::Flag(_)) if text == "true" => Some(true),
            (Value::Text(text), Origin::Variable(_) | Origin::Flag(_)) if text == "false" => Some(false),
            (other, origin) => self.wrong(&what, origin, "true or false", other),
        }
    }

    /// Takes a list. Outside the file it may be written with commas.
    pub fn list(&mut self, key: &'static str) -> Option<Found<Vec<Node>>> {
        let node = self.take(key)?;
        let what = self.path(key);
        self.as_list(&what, node)
    }

    /// Takes a text, or a list of 1 to `most` texts.
    pub fn texts(&mut self, key: &'static str, most: usize) -> Option<Vec<Found<String>>> {
        let node = self.take(key)?;
        let (what, origin) = (self.path(key), node.origin.clone());
        let list = match (&node.value, &origin) {
            (Value::Text(_), Origin::File(_)) => vec![node],
            (Value::Text(_) | Value::List(_), _) => self.as_list(&what, node)?.value,
            (other, _) => return self.wrong(&what, &origin, "text in quotes, or a list of texts", other),
        };
        if !(1..=most).contains(&list.len()) {
            self.complain(&origin, format!("{what}: expected 1 to {most}, found {}", list.len()));
            return None;
        }
        let texts: Vec<Option<Found<String>>> = list.into_iter().map(|node| self.as_text(&what, node)).collect();
        texts.into_iter().collect()
    }

    /// Takes a table and goes on to read it; an empty one if it is not there.
    pub fn section(&mut self, key: &'static str) -> Section<'_> {
        let path = self.path(key);
        let table = self.take(key).and_then(|node| self.as_table(&path, node)).unwrap_or_default();
        Section::new(path, table, self.reading)
    }

    /// Takes all that is there: for tables whose keys are names.
    pub fn names(&mut self) -> Table {
        std::mem::take(&mut self.table)
    }

    /// Complains of every key that nobody took.
    pub fn finish(self) {
        let place = if self.name.is_empty() { "at the top".to_owned() } else { format!("in [{}]", self.name) };
        for (key, entry) in self.table {
            let message = format!("unknown key {key:?} {place}{}", did_you_mean(&key, self.known.iter().copied()));
            let hint = format!("keys {place}: {}", self.known.join(", "));
            self.reading.problems.push(Problem::new(entry.key, message).hint(hint));
        }
    }

    /// A text, or a complaint that it is none.
    pub fn as_text(&mut self, what: &str, node: Node) -> Option<Found<String>> {
        match node.value {
            Value::Text(value) => Some(Found { value, origin: node.origin }),
            other => self.wrong(what, &node.origin, "text in quotes", &other),
        }
    }

    /// A list, or a complaint that it is none.
    pub fn as_list(&mut self, what: &str, node: Node) -> Option<Found<Vec<Node>>> {
        let origin = node.origin.clone();
        match self.written_out(node)?.value {
            Value::List(value) => Some(Found { value, origin }),
            Value::Text(text) if !matches!(origin, Origin::File(_)) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                let node = |word: &str| Node { value: Value::Text(word.to_owned()), origin: origin.clone() };
                Some(Found { value: words.map(node).collect(), origin: origin.clone() })
            }
            other => self.wrong(what, &origin, "a list in brackets", &other),
        }
    }

    /// A table, or a complaint that it is none.
    pub fn as_table(&mut self, what: &str, node: Node) -> Option<Table> {
        let origin = node.origin.clone();
        match self.written_out(node)?.value {
            Value::Table(table) => Some(table),
            other => self.wrong(what, &origin, "a table", &other),
        }
    }

    /// A variable can only hold text: a list or a table is written there as in the file.
    pub fn written_out(&mut self, node: Node) -> Option<Node> {
        let Value::Text(text) = &node.value else { return Some(node) };
        let toml = !matches!(node.origin, Origin::File(_)) && text.trim_start().starts_with(['[', '{']);
        if !toml {
            return Some(node);
        }
        match parse_value(text.trim(), &node.origin) {
            Ok(node) => Some(node),
            Err(problem) => {
                self.reading.problems.push(problem);
                None
            }
        }
    }

    /// Complains of a wrong type.
    pub fn wrong<T>(&mut self, what: &str, origin: &Origin, expected: &str, found: &Value) -> Option<T> {
        self.complain(origin, format!("{what}: expected {expected}, found {}", found.kind()));
        None
    }

    /// A key's dotted name.
    pub fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}
