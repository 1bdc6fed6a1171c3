//! A configuration as a tree of values, each of which knows where it comes from: a place in the file, an environment
//! variable or an option on the command line.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::Problem;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// These bytes of the file.
    File(Range<usize>),
    /// The environment variable of this name.
    Variable(String),
    /// This option on the command line.
    Flag(&'static str),
}

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub struct Node {
    pub value: Value,
    pub origin: Origin,
}

/// What a configuration consists of.
#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Whole(i64),
    Fraction(f64),
    Flag(bool),
    Moment,
    List(Vec<Node>),
    Table(Table),
}

/// Keys and their values.
pub type Table = BTreeMap<String, Entry>;

/// A key's place and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Origin,
    pub node: Node,
}

impl Value {
    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "text",
            Value::Whole(_) | Value::Fraction(_) => "a number",
            Value::Flag(_) => "true or false",
            Value::Moment => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Reads a file's text.
pub fn parse(text: &str) -> Result<Table, Problem> {
    let table = DeTable::parse(text).map_err(|why| not_toml(&why))?;
    Ok(table_of(table.into_inner(), None))
}

/// Reads a value that was written in TOML outside the file: all of it comes from `origin`.
pub fn parse_value(text: &str, origin: &Origin) -> Result<Node, Problem> {
    let value = DeValue::parse(text)
        .map_err(|why| Problem::new(origin.clone(), format!("this is no TOML: {}", one_line(why.message()))))?;
    Ok(node_of(value, Some(origin)))
}

fn not_toml(why: &toml::de::Error) -> Problem {
    Problem::new(Origin::File(why.span().unwrap_or(0..0)), format!("this is no TOML: {}", one_line(why.message())))
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(", ")
}

fn table_of(table: DeTable<'_>, origin: Option<&Origin>) -> Table {
    let entry = |key: Spanned<std::borrow::Cow<'_, str>>, value| {
        let place = origin.cloned().unwrap_or(Origin::File(key.span()));
        (key.into_inner().into_owned(), Entry { key: place, node: node_of(value, origin) })
    };
    table.into_iter().map(|(key, value)| entry(key, value)).collect()
}

fn node_of(value: Spanned<DeValue<'_>>, origin: Option<&Origin>) -> Node {
    let place = origin.cloned().unwrap_or(Origin::File(value.span()));
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        // a number too large for 64 bits is too large for every key
        DeValue::Integer(number) => {
            Value::Whole(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
        }
        DeValue::Float(number) => Value::Fraction(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(_) => Value::Moment,
        DeValue::Array(list) => Value::List(list.into_iter().map(|item| node_of(item, origin)).collect()),
        DeValue::Table(table) => Value::Table(table_of(table, origin)),
    };
    Node { value, origin: place }
}
