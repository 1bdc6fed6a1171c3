//! Faults of the database: killed, locked, out of connections. Chat goes on, and the archive has every line once when it is over.

use std::collections::HashSet;
use std::thread::sleep;
use std::time::Duration;

use servers::PostgreSql;
use store::Store;
use store::archive::Kind as What;

use super::stage::{CHANNELS, Plan, RECOVERY, Stage, wait_until};
use crate::world::{Kind, test_environment};

/// A page of the archive.
const PAGE: u16 = 1_000;
/// What is waited for may take so long to be tried again (30 s), and some time to be written.
const IN_THE_ARCHIVE_WITHIN: Duration = Duration::from_secs(60);

fn with_database(kind: Kind, url: &str) -> Stage {
    Stage::plan(Plan { database_url: Some(url.to_owned()), ..Plan::new(kind) })
}

/// The lines in the archive, as often as they are there.
fn archived(url: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(url).unwrap();
        let mut lines = Vec::new();
        for channel in CHANNELS {
            let mut before = i64::MAX;
            loop {
                let page = store.archive().before("test", channel, before, PAGE).await.unwrap();
                let Some(last) = page.last() else { break };
                before = last.key;
                let said = page.into_iter().filter(|message| message.record.kind == What::Chat);
                lines.extend(said.map(|message| format!("{channel} {}", message.record.text)));
            }
        }
        store.close().await;
        lines
    })
}

/// Every line that was said is there, once.
fn assert_archived(url: &str, said: usize) {
    wait_until("all lines are in the archive", IN_THE_ARCHIVE_WITHIN, || archived(url).len() >= said);
    let lines = archived(url);
    let once: HashSet<&String> = lines.iter().collect();
    assert_eq!((lines.len(), once.len()), (said, said));
}

#[test]
fn row_25_a_killed_postgresql_stops_no_chat_and_gets_every_line_once() {
    let mut postgres = PostgreSql::start();
    let url = postgres.database();
    let stage = with_database(Kind::Spread, &url);
    let report = stage.talk_through(stage.size.broker_kills, |_| {
        postgres.kill();
        sleep(stage.size.outage / 2);
        postgres.start_again();
    });
    report.assert_kept(0);
    assert!(report.longest_silence < Duration::from_secs(5), "{report}");
    assert_archived(&url, report.said);
}

#[test]
fn row_25_workers_that_get_no_connection_go_on_and_store_every_line_once() {
    let postgres = PostgreSql::start();
    let url = postgres.database();
    let stage = with_database(Kind::Spread, &url);
    let report = stage.talk_through(1, |_| {
        postgres.execute("ALTER ROLE pubbot CONNECTION LIMIT 0");
        postgres.disconnect(&url);
        sleep(stage.size.outage);
        postgres.execute("ALTER ROLE pubbot CONNECTION LIMIT -1");
    });
    let waited = |worker: &servers::Service| worker.stderr().contains("pool timed out");
    assert!(stage.workers.iter().any(waited), "no worker was refused");
    report.assert_kept(0);
    assert!(report.longest_silence < Duration::from_secs(5), "{report}");
    assert_archived(&url, report.said);
}

#[test]
fn row_25_a_locked_sqlite_stops_no_chat_and_gets_every_line_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pubbot.db").to_str().unwrap().to_owned();
    let url = format!("sqlite:{path}");
    let stage = with_database(Kind::Up, &url);
    let report = stage.talk_through(1, |_| {
        let lock = Lock::on(&path);
        // longer than SQLite waits for others
        sleep(stage.size.outage.max(Duration::from_secs(8)));
        drop(lock);
    });
    report.assert_kept(0);
    assert!(report.longest_silence < RECOVERY / 6, "{report}");
    assert_archived(&url, report.said);
}

/// Another process that writes and does not come to an end, until it is dropped.
struct Lock(std::process::Child);

impl Lock {
    fn on(database: &str) -> Self {
        use std::process::{Command, Stdio};
        const SCRIPT: &str = "import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
db.execute('BEGIN EXCLUSIVE')
print('locked', flush=True)
sys.stdin.read()";
        let python = match test_environment("PUBBOT_TEST_PYTHON") {
            python if python.is_empty() => "python3".to_owned(),
            python => python,
        };
        let mut python = Command::new(python);
        python.args(["-c", SCRIPT, database]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, "locked\n");
        Lock(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}
