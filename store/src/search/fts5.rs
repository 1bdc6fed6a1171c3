//! A search as SQLite's FTS5 is asked it (<https://www.sqlite.org/fts5.html>, section 3).

use super::Query;
use super::conditions::{Conditions, Run, Together};

/// How to ask a table of [`Tokens::fts5`](crate::words::Tokens::fts5) for a search. FTS5's NOT has two sides, so it can't be
/// asked for whatever is *without* something; the table of messages can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fts5 {
    /// Whatever is in the period.
    Everything,
    /// Those that match this.
    Matching(String),
    /// Those that don't match this.
    NotMatching(String),
}

/// What to give to `MATCH`.
pub fn to_fts5(query: &Query) -> Fts5 {
    let Conditions { all, none } = Conditions::of(query);
    let all = (!all.is_empty()).then(|| join(&all, " AND ", |alternatives| any(alternatives)));
    let none = (!none.is_empty()).then(|| any(&none));
    match (all, none) {
        (None, None) => Fts5::Everything,
        (Some(all), None) => Fts5::Matching(all),
        (None, Some(none)) => Fts5::NotMatching(none),
        (Some(all), Some(none)) => Fts5::Matching(format!("({all}) NOT {none}")),
    }
}

fn any(alternatives: &[Together]) -> String {
    let alternative = |runs: &Together| format!("({})", join(runs, " AND ", run));
    format!("({})", join(alternatives, " OR ", alternative))
}

/// A string of FTS5: its tokenizer makes our tokens of it, which follow one another.
fn run(tokens: &Run) -> String {
    format!("\"{}\"", tokens.join(" ").replace('"', "\"\""))
}

fn join<T>(parts: &[T], between: &str, part: impl Fn(&T) -> String) -> String {
    parts.iter().map(part).collect::<Vec<_>>().join(between)
}
