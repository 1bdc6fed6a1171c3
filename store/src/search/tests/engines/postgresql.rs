//! PostgreSQL: a table as the archive has it, in a database of its own.

use servers::PostgreSql;
use sqlx::{Connection, PgConnection};
use tokio::runtime::Runtime;

use super::{
    Engine, Rows, compare_with_a_walk, each_token_is_one, hard_names_find_their_rows, hard_searches_find_their_rows,
};
use crate::search::{Query, to_tsquery};
use crate::words::Tokens;

struct Postgres(PgConnection);

impl Postgres {
    /// With an index, which a planner would not use for so few rows, or without one.
    async fn start(with_index: bool) -> Self {
        let mut connection = PgConnection::connect(&PostgreSql::shared().database()).await.unwrap();
        let table = "CREATE TEMPORARY TABLE message_words (key BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)";
        sqlx::query(table).execute(&mut connection).await.unwrap();
        if with_index {
            let index = "CREATE INDEX words ON message_words USING GIN (words)";
            sqlx::query(index).execute(&mut connection).await.unwrap();
            sqlx::query("SET enable_seqscan = off").execute(&mut connection).await.unwrap();
        }
        Postgres(connection)
    }
}

impl Engine for Postgres {
    async fn index(&mut self, documents: &[Tokens]) {
        sqlx::query("TRUNCATE message_words").execute(&mut self.0).await.unwrap();
        let (rows, words): (Vec<i64>, Vec<String>) = (1..).zip(documents.iter().map(Tokens::tsvector)).unzip();
        let insert = "INSERT INTO message_words SELECT key, words::tsvector FROM unnest($1, $2) AS new (key, words)";
        sqlx::query(insert).bind(rows).bind(words).execute(&mut self.0).await.unwrap();
    }

    async fn find(&mut self, query: &Query) -> Rows {
        let words = to_tsquery(query);
        let question = "SELECT key FROM message_words WHERE words @@ $1::text::tsquery";
        let everything = "SELECT key FROM message_words WHERE $1::text IS NULL";
        let question = if words.is_some() { question } else { everything };
        let rows = sqlx::query_scalar(question).bind(&words).fetch_all(&mut self.0).await;
        rows.unwrap_or_else(|error| panic!("{words:?}: {error}")).into_iter().collect()
    }

    async fn tokens_of(&mut self, row: i64) -> Vec<String> {
        let terms = sqlx::query_scalar(
            "SELECT lexeme FROM message_words, unnest(words) AS term, unnest(term.positions) AS position \
             WHERE key = $1 ORDER BY position",
        );
        terms.bind(row).fetch_all(&mut self.0).await.unwrap()
    }
}

#[test]
fn postgresql_finds_what_a_walk_finds() {
    let runtime = Runtime::new().unwrap();
    let postgres = runtime.block_on(Postgres::start(false));
    compare_with_a_walk(&runtime, postgres);
}

#[test]
fn postgresql_finds_the_same_by_its_index() {
    let runtime = Runtime::new().unwrap();
    let postgres = runtime.block_on(Postgres::start(true));
    compare_with_a_walk(&runtime, postgres);
}

#[tokio::test]
async fn postgresql_takes_each_token_as_one() {
    each_token_is_one(&mut Postgres::start(false).await).await;
}

#[tokio::test]
async fn postgresql_finds_long_and_repeated_phrases() {
    hard_searches_find_their_rows(&mut Postgres::start(true).await).await;
}

#[tokio::test]
async fn postgresql_finds_hard_names() {
    hard_names_find_their_rows(&mut Postgres::start(true).await).await;
}
