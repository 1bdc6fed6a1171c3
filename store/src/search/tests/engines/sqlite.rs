//! SQLite, with the table of the archive.

use sqlx::SqlitePool;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    Engine, Rows, compare_with_a_walk, each_token_is_one, hard_names_find_their_rows, hard_searches_find_their_rows,
};
use crate::Store;
use crate::search::{Fts5, Query, to_fts5};
use crate::words::Tokens;

struct Sqlite {
    pool: SqlitePool,
    _folder: TempDir,
}

impl Sqlite {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}", folder.path().join("pubbot.db").display())).unwrap();
        store.migrate().await.unwrap();
        let pool = store.unchecked().get_sqlite_connection_pool().clone();
        let terms = "CREATE VIRTUAL TABLE terms USING fts5vocab(message_words, instance)";
        sqlx::query(terms).execute(&pool).await.unwrap();
        Sqlite { pool, _folder: folder }
    }
}

impl Engine for Sqlite {
    async fn index(&mut self, documents: &[Tokens]) {
        let mut writing = self.pool.begin().await.unwrap();
        sqlx::query("DELETE FROM message_words").execute(&mut *writing).await.unwrap();
        for (row, tokens) in (1_i64..).zip(documents) {
            let insert = sqlx::query("INSERT INTO message_words (rowid, words) VALUES (?, ?)");
            insert.bind(row).bind(tokens.fts5()).execute(&mut *writing).await.unwrap();
        }
        writing.commit().await.unwrap();
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
        let rows = sqlx::query_scalar(question).bind(&words).fetch_all(&self.pool).await;
        rows.unwrap_or_else(|error| panic!("{words}: {error}")).into_iter().collect()
    }

    async fn tokens_of(&mut self, row: i64) -> Vec<String> {
        let terms = sqlx::query_scalar("SELECT term FROM terms WHERE doc = ? AND term <> '.' ORDER BY \"offset\"");
        terms.bind(row).fetch_all(&self.pool).await.unwrap()
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
async fn sqlite_finds_long_and_repeated_phrases() {
    hard_searches_find_their_rows(&mut Sqlite::start().await).await;
}

#[tokio::test]
async fn sqlite_finds_hard_names() {
    hard_names_find_their_rows(&mut Sqlite::start().await).await;
}
