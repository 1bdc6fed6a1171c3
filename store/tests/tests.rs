//! Every question, asked of both engines: SQLite in a temporary file, and a PostgreSQL that the tests start.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod archive;
mod people;
mod plugin_data;
mod presence;
mod schema;
mod settings;

/// Makes a test of each function for SQLite and one for PostgreSQL.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() {
                let database = store::testing::Temporary::sqlite().await;
                super::$name(&database).await
            })+
        }
        mod postgres {
            $(#[tokio::test] async fn $name() {
                let url = servers::PostgreSql::shared().database();
                super::$name(&store::testing::migrated(&url).await).await
            })+
        }
    };
}
pub(crate) use on_both;
