//! A broker that comes late, falls silent, is killed: what is noticed and logged, and what is left behind. One test,
//! alone in its process, since it counts threads and reads the whole log.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "conformance/world.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod world;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bus::{Broker, Consumer, Error, RabbitMq};
use servers::RabbitMq as Server;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use world::{QUEUE_IS_ON_DISK, ambient, consume, event, next, number, numbers, patterns, publish_all, topology};

/// Until a broker that is there again is in use again, and what belonged to the last connections is gone.
const BACK_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_noticed_said_once_and_leaves_nothing_behind() {
    let log = Log::default();
    let mut server = block_in_place(Server::start);
    let away = format!("the broker at 127.0.0.1:{} is away", server.port());
    let there = format!("the broker at 127.0.0.1:{} is there", server.port());

    block_in_place(|| server.kill());
    let url = server.url().to_owned();
    let connecting = RabbitMq::connect(&url, topology(), "pubbot test", ambient());
    tokio::pin!(connecting);
    assert!(timeout(Duration::from_secs(2), &mut connecting).await.is_err());
    assert_eq!(log.lines_with(&format!("{away}: connection refused; trying again until it comes")), 1, "{log}");
    block_in_place(|| server.start_again());
    let broker = timeout(BACK_WITHIN, connecting).await.unwrap().unwrap();
    assert_eq!((log.lines_with(&away), log.lines_with(&there)), (1, 1), "{log}");

    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let mut consumer = consume(&broker, queue, 50).await;
    publish_all(&broker, "a.b", 0..1).await;
    assert_eq!(numbers(&mut consumer, 1).await, [0]);
    wait_for_threads(2).await;
    sleep(QUEUE_IS_ON_DISK).await;

    for round in 2..4 {
        block_in_place(|| server.kill());
        sleep(Duration::from_secs(1)).await;
        block_in_place(|| server.start_again());
        goes_on(&broker, &mut consumer, round, &server).await;
        wait_for_threads(2).await;
        assert_eq!((log.lines_with(&away), log.lines_with(&there)), (round, round), "{log}");
    }

    server.freeze();
    let frozen = Instant::now();
    let unconfirmed = broker.publish(event("a.b", 1)).await.await;
    assert!(matches!(unconfirmed, Err(Error::Away { .. })), "{unconfirmed:?}");
    assert!(frozen.elapsed() < Duration::from_secs(22), "noticed after {:?}", frozen.elapsed());
    // long enough for attempts to connect that are never answered
    sleep(Duration::from_secs(15)).await;
    server.thaw();
    goes_on(&broker, &mut consumer, 4, &server).await;
    wait_for_threads(2).await;
    assert_eq!((log.lines_with(&away), log.lines_with(&there)), (4, 4), "{log}");
    broker.close().await;
    wait_for_threads(0).await;
    assert!(!log.to_string().contains("guest"), "{log}");
}

/// Publishes until it is confirmed, and consumes until it has come.
async fn goes_on(broker: &RabbitMq, consumer: &mut Consumer, n: usize, server: &Server) {
    let begin = Instant::now();
    while let Err(why) = broker.publish(event("a.b", n)).await.await {
        assert!(begin.elapsed() < BACK_WITHIN, "{why}; the broker says: {}", server.log());
    }
    loop {
        let delivery = next(consumer).await;
        let arrived = number(&delivery);
        delivery.acknowledge();
        if arrived == n {
            break;
        }
    }
    assert!(begin.elapsed() < BACK_WITHIN, "it took {:?}", begin.elapsed());
}

/// Two connections have two threads; more are left behind by old ones.
async fn wait_for_threads(count: usize) {
    let begin = Instant::now();
    while lapin_threads() != count {
        assert!(begin.elapsed() < BACK_WITHIN, "{} threads instead of {count}", lapin_threads());
        sleep(Duration::from_millis(100)).await;
    }
}

/// lapin has one thread for each connection.
fn lapin_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    names.filter(|name| name.starts_with("lapin")).count()
}

/// Keeps what this process logs.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Default for Log {
    fn default() -> Self {
        let log = Log(Arc::default());
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_env_filter("bus=debug,lapin=debug")
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        log
    }
}

impl Log {
    fn lines_with(&self, part: &str) -> usize {
        self.to_string().lines().filter(|line| line.contains(part)).count()
    }
}

impl std::fmt::Display for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0.lock().unwrap()))
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
