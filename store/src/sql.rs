//! Statements that both engines understand, with their values bound: `$1`, `$2` … are also read by SQLite.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement, Value};

fn statement(on: &impl ConnectionTrait, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(on.get_database_backend(), sql, values)
}

/// Runs it; how many rows it changed.
pub(crate) async fn execute(
    on: &impl ConnectionTrait,
    sql: &str,
    values: impl IntoIterator<Item = Value> + Send,
) -> Result<u64, DbErr> {
    Ok(on.execute_raw(statement(on, sql, values)).await?.rows_affected())
}

/// Its first row.
pub(crate) async fn one(
    on: &impl ConnectionTrait,
    sql: &str,
    values: impl IntoIterator<Item = Value> + Send,
) -> Result<Option<QueryResult>, DbErr> {
    on.query_one_raw(statement(on, sql, values)).await
}

/// All its rows.
pub(crate) async fn all(
    on: &impl ConnectionTrait,
    sql: &str,
    values: impl IntoIterator<Item = Value> + Send,
) -> Result<Vec<QueryResult>, DbErr> {
    on.query_all_raw(statement(on, sql, values)).await
}
