//! A search as PostgreSQL is asked it (manual, section 8.11.2).

use super::Query;
use super::conditions::{Conditions, Run, Together};
use crate::words::push_lexeme;

/// What to compare a [`tsvector`](crate::words::Tokens::tsvector) with, as text to cast: `words @@ $1::text::tsquery`.
/// `None` where there is no condition but the period.
pub fn to_tsquery(query: &Query) -> Option<String> {
    let Conditions { all, none } = Conditions::of(query);
    let without = (!none.is_empty()).then(|| format!("!{}", any(&none)));
    let conditions: Vec<String> = all.iter().map(|alternatives| any(alternatives)).chain(without).collect();
    (!conditions.is_empty()).then(|| conditions.join(" & "))
}

fn any(alternatives: &[Together]) -> String {
    let alternative = |runs: &Together| format!("({})", join(runs, " & ", run));
    format!("({})", join(alternatives, " | ", alternative))
}

fn run(tokens: &Run) -> String {
    let lexeme = |token: &String| {
        let mut lexeme = String::with_capacity(token.len() + 2);
        push_lexeme(&mut lexeme, token);
        lexeme
    };
    format!("({})", join(tokens, " <-> ", lexeme))
}

fn join<T>(parts: &[T], between: &str, part: impl Fn(&T) -> String) -> String {
    parts.iter().map(part).collect::<Vec<_>>().join(between)
}
