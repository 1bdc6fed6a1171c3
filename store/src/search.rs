//! What a person searches for, and how either engine is asked for it.
//!
//! [`Query::parse`] reads what was typed. [`to_fts5`] and [`to_tsquery`] say the same to SQLite and to PostgreSQL about an
//! index of [`document`](crate::words::document)s: both find the same messages. The period is not part of either: messages
//! are stored in the order of their time, so it is a range of keys.

mod conditions;
mod date;
mod fts5;
mod query;
#[cfg(test)]
mod tests;
mod tsquery;

pub use fts5::{Fts5, to_fts5};
pub use query::{MAX_QUERY_BYTES, MAX_QUERY_WORDS, Phrase, Place, Query, QueryError};
pub use tsquery::to_tsquery;
