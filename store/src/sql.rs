//! Statements that both engines understand, but for the marks of their values: `?` is written, PostgreSQL gets `$1`, `$2` ….

use sea_orm::{DbBackend, Statement, Value};

/// A statement with its values. No text in it may hold a `?` of its own.
pub(crate) fn statement(backend: DbBackend, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    match backend {
        DbBackend::Postgres => Statement::from_sql_and_values(backend, numbered(sql), values),
        _ => Statement::from_sql_and_values(backend, sql, values),
    }
}

fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.zip(1..).fold(first, |sql, (part, number)| format!("{sql}${number}{part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_numbered_from_1() {
        assert_eq!(numbered("a = ? AND b = ?"), "a = $1 AND b = $2");
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
    }
}
