//! SQLite: a table as the archive has it, in memory.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tokio::runtime::Runtime;

use super::{Engine, Rows, compare_with_a_walk, each_token_is_one, hard_searches_find_their_rows};
use crate::search::{Fts5, Query, to_fts5};
use crate::words::{FTS5_TOKENIZE, Tokens};

struct Sqlite(SqliteConnection);

impl Sqlite {
    async fn start() -> Self {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let table = format!(
            "CREATE VIRTUAL TABLE message_words USING \
             fts5(words, content='', contentless_delete=1, tokenize={FTS5_TOKENIZE})"
        );
        sqlx::query(AssertSqlSafe(table)).execute(&mut connection).await.unwrap();
        let terms = "CREATE VIRTUAL TABLE terms USING fts5vocab(message_words, instance)";
        sqlx::query(terms).execute(&mut connection).await.unwrap();
        Sqlite(connection)
    }
}

impl Engine for Sqlite {
    async fn index(&mut self, documents: &[Tokens]) {
        sqlx::query("DELETE FROM message_words").execute(&mut self.0).await.unwrap();
        for (row, tokens) in (1_i64..).zip(documents) {
            let insert = sqlx::query("INSERT INTO message_words (rowid, words) VALUES (?, ?)");
            insert.bind(row).bind(tokens.fts5()).execute(&mut self.0).await.unwrap();
        }
    }

    async fn find(&mut self, query: &Query) -> Rows {
        let (question, words) = match to_fts5(query) {
            Fts5::Everything => ("SELECT rowid FROM message_words WHERE ? = ''", String::new()),
            Fts5::Matching(words) => ("SELECT rowid FROM message_words WHERE message_words MATCH ?", words),
            Fts5::NotMatching(words) => (
                "SELECT rowid FROM message_words WHERE rowid NOT IN \
                 (SELECT rowid FROM message_words WHERE message_words MATCH ?)",
                words,
            ),
        };
        let rows = sqlx::query_scalar(question).bind(&words).fetch_all(&mut self.0).await;
        rows.unwrap_or_else(|error| panic!("{words}: {error}")).into_iter().collect()
    }

    async fn tokens_of(&mut self, row: i64) -> Vec<String> {
        let terms = sqlx::query_scalar("SELECT term FROM terms WHERE doc = ? AND term <> '.' ORDER BY \"offset\"");
        terms.bind(row).fetch_all(&mut self.0).await.unwrap()
    }
}

#[test]
fn sqlite_finds_what_a_walk_finds() {
    let runtime = Runtime::new().unwrap();
    let sqlite = runtime.block_on(Sqlite::start());
    compare_with_a_walk(&runtime, sqlite);
}

#[tokio::test]
async fn sqlite_takes_each_token_as_one() {
    each_token_is_one(&mut Sqlite::start().await).await;
}

#[tokio::test]
async fn sqlite_finds_hard_names_and_long_phrases() {
    hard_searches_find_their_rows(&mut Sqlite::start().await).await;
}
