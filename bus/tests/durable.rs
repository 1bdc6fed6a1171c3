//! The embedded broker on disk: what a killed process leaves, damaged files, a full disk, and how much room it takes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "conformance/world.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod world;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bus::{Address, Argument, Broker, Delay, Delivery, Durability, Embedded, Error, Message, Topology};
use bytes::Bytes;
use protocol::{Ambient, Timestamp};
use tempfile::{TempDir, tempdir};
use tokio::time::timeout;

use world::{PATIENCE, ambient, consume, event, next, nothing, number, numbers, patterns, publish, publish_all};

fn open(folder: &Path) -> Embedded {
    Embedded::open(folder, Topology::default(), ambient(), Durability::Process).unwrap()
}

fn worker() -> bus::Queue {
    Topology::default().worker("main", patterns(&["a.b"]))
}

/// The files of the log, the oldest first.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut logs: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|it| it == "log"));
    logs.sort();
    logs
}

fn bytes(folder: &Path) -> u64 {
    folder.read_dir().unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_in_order_and_knows_how_often_it_was_tried() {
    let folder = tempdir().unwrap();
    let broker = open(folder.path());
    let mut consumer = consume(&broker, worker(), 3).await;
    publish_all(&broker, "a.b", 0..10).await;
    let held: Vec<Delivery> = [next(&mut consumer).await, next(&mut consumer).await, next(&mut consumer).await].into();
    let [zero, one, two] = held.try_into().unwrap();
    zero.acknowledge();
    one.requeue();
    let one = next(&mut consumer).await;
    // as a killed process does: nothing is given back
    std::mem::forget((one, two, consumer, broker));

    let folder = copied(folder.path());
    let broker = open(folder.path());
    // before anybody declares anything, what was bound is bound
    publish_all(&broker, "a.b", 10..11).await;
    let mut consumer = consume(&broker, worker(), 20).await;
    let mut tried = Vec::new();
    for n in 1..=10 {
        let delivery = next(&mut consumer).await;
        assert_eq!(number(&delivery), n);
        assert!(delivery.properties.published_at.is_some());
        tried.push(delivery.attempts);
        delivery.acknowledge();
    }
    // given back once and delivered again; delivered; 3 came when 0 was done with; the others waited
    assert_eq!(tried, [2, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
    broker.idle().await;
    drop((consumer, broker));
    let broker = open(folder.path());
    let mut consumer = consume(&broker, worker(), 20).await;
    nothing(&mut consumer).await;
}

#[tokio::test]
async fn each_death_with_a_message_counts_also_when_it_was_delivered_and_nothing_more() {
    let mut folder = tempdir().unwrap();
    let broker = open(folder.path());
    broker.declare(worker()).await.unwrap();
    publish_all(&broker, "a.b", 0..2).await;
    drop(broker);
    for deaths in 0..4 {
        let broker = open(folder.path());
        let mut consumer = consume(&broker, worker(), 1).await;
        let delivery = next(&mut consumer).await;
        assert_eq!((number(&delivery), delivery.attempts), (0, deaths));
        let left = copied(folder.path());
        std::mem::forget((delivery, consumer, broker));
        folder = left;
    }
    let broker = open(folder.path());
    let mut consumer = consume(&broker, worker(), 2).await;
    let (killer, innocent) = (next(&mut consumer).await, next(&mut consumer).await);
    assert_eq!((killer.attempts, innocent.attempts), (4, 0));
}

/// A copy of the folder: one of a broker that was forgotten stays locked.
fn copied(folder: &Path) -> TempDir {
    let copy = tempdir().unwrap();
    for file in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    copy
}

#[tokio::test]
async fn dead_letters_and_replies_and_what_waits_to_be_retried_survive() {
    let folder = tempdir().unwrap();
    let broker = open(folder.path());
    let replies = broker.topology().replies("irc", "n");
    let mut consumer = consume(&broker, worker(), 3).await;
    broker.declare(replies.clone()).await.unwrap();
    publish(&broker, event("a.b", 1)).await;
    next(&mut consumer).await.bury();
    publish(&broker, Message { to: Address::Queue(replies.name.clone()), ..event("reply", 2) }).await;
    let later = |after, n| Message { to: Address::Later { queue: worker().name, after }, ..event("a.b", n) };
    publish(&broker, later(Delay::OneSecond, 3)).await;
    publish(&broker, later(Delay::TenMinutes, 4)).await;
    let tail = consume(&broker, broker.topology().tail(patterns(&["#"])), 10).await;
    drop((tail, consumer));
    drop(broker);

    let broker = open(folder.path());
    let depth = async |queue: &str| broker.depth(queue).await.unwrap();
    assert_eq!(depth(&broker.topology().dead().name).await, Some(1));
    assert_eq!(depth(&replies.name).await, Some(1));
    assert_eq!(depth("pubbot.retry.600s").await, Some(1));
    assert_eq!(depth("nowhere").await, None);
    let mut consumer = consume(&broker, worker(), 3).await;
    let back = next(&mut consumer).await;
    assert_eq!((number(&back), &*back.key), (3, worker().name.as_str()));
    back.acknowledge();
    let mut dead = consume(&broker, broker.topology().dead(), 3).await;
    assert_eq!(numbers(&mut dead, 1).await, [1]);
    let mut replies = consume(&broker, replies, 3).await;
    assert_eq!(numbers(&mut replies, 1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_retried_comes_back_on_time_also_after_a_restart() {
    let folder = tempdir().unwrap();
    let clock = Arc::new(Clock(AtomicI64::new(1_700_000_000_000)));
    let open = || Embedded::open(folder.path(), Topology::default(), clock.clone(), Durability::Process).unwrap();
    let later = |after, n| Message { to: Address::Later { queue: worker().name, after }, ..event("a.b", n) };
    let broker = open();
    let mut consumer = consume(&broker, worker(), 10).await;
    let begin = tokio::time::Instant::now();
    publish(&broker, later(Delay::OneMinute, 60)).await;
    publish(&broker, later(Delay::OneSecond, 1)).await;
    publish(&broker, later(Delay::TenSeconds, 10)).await;
    for seconds in [1, 10, 60] {
        let delivery = next_ever(&mut consumer).await;
        assert_eq!((number(&delivery), begin.elapsed().as_secs()), (seconds, seconds as u64));
        delivery.acknowledge();
    }
    publish(&broker, later(Delay::TenMinutes, 600)).await;
    drop((broker, consumer));
    clock.0.fetch_add(400_000, Ordering::Relaxed);
    let (broker, begin) = (open(), tokio::time::Instant::now());
    let mut consumer = consume(&broker, worker(), 10).await;
    let delivery = next_ever(&mut consumer).await;
    assert_eq!((number(&delivery), begin.elapsed().as_secs()), (600, 200));
    delivery.acknowledge();
    // a queue that is gone keeps nothing from coming back later
    let nowhere =
        Message { to: Address::Later { queue: "nowhere".to_owned(), after: Delay::OneSecond }, ..event("a.b", 7) };
    publish(&broker, nowhere).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(broker.depth("pubbot.retry.1s").await.unwrap(), Some(1));
}

async fn next_ever(consumer: &mut bus::Consumer) -> Delivery {
    timeout(Duration::from_secs(3600), consumer.next()).await.unwrap().unwrap()
}

/// A clock that a test sets.
struct Clock(AtomicI64);

impl Ambient for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
    fn random(&self) -> u64 {
        7
    }
}

#[tokio::test]
async fn a_stream_is_read_from_its_beginning_and_trimmed_by_size_and_age() {
    let folder = tempdir().unwrap();
    let clock = Arc::new(Clock(AtomicI64::new(1_700_000_000_000)));
    let open = || Embedded::open(folder.path(), Topology::default(), clock.clone(), Durability::Process).unwrap();
    let mut said = Topology::default().said("irc", "n");
    said.arguments.retain(|(name, _)| *name != "x-max-length-bytes");
    said.arguments.push(("x-max-length-bytes", 1_000.into()));
    let say = |n: u8| Message {
        to: Address::Queue(said.name.clone()),
        body: Bytes::from(vec![n; 100]),
        ..event("said", usize::from(n))
    };
    let read = async |broker: &Embedded| {
        let bodies = broker.read_stream(said.clone()).await.unwrap();
        bodies.iter().map(|body| body[0]).collect::<Vec<_>>()
    };
    let broker = open();
    assert!(read(&broker).await.is_empty());
    for n in 0..20 {
        publish(&broker, say(n)).await;
    }
    assert_eq!(read(&broker).await, (10..20).collect::<Vec<_>>());
    assert!(matches!(broker.consume(said.clone(), 1).await, Err(Error::Queue { .. })));
    timeout(PATIENCE, broker.idle()).await.unwrap();
    drop(broker);
    clock.0.fetch_add(6 * 24 * 60 * 60 * 1000, Ordering::Relaxed);
    let broker = open();
    publish(&broker, say(20)).await;
    assert_eq!(read(&broker).await, (11..21).collect::<Vec<_>>());
    clock.0.fetch_add(2 * 24 * 60 * 60 * 1000, Ordering::Relaxed);
    assert_eq!(read(&broker).await, [20]);
}

#[tokio::test]
async fn a_queue_from_the_disk_becomes_as_it_is_declared_and_then_differs_from_none() {
    let folder = tempdir().unwrap();
    let broker = open(folder.path());
    broker.declare(worker()).await.unwrap();
    publish_all(&broker, "a.b", 0..5).await;
    drop(broker);
    let broker = open(folder.path());
    let mut other = Topology::default().worker("main", patterns(&["c.d"]));
    other.arguments.retain(|(name, _)| *name != "x-max-length-bytes");
    other.arguments.push(("x-max-length-bytes", 5_000.into()));
    let mut consumer = consume(&broker, other.clone(), 10).await;
    assert_eq!(numbers(&mut consumer, 5).await, [0, 1, 2, 3, 4]);
    publish_all(&broker, "a.b", 5..6).await;
    publish_all(&broker, "c.d", 6..7).await;
    assert_eq!(numbers(&mut consumer, 1).await, [6]);
    let why = broker.declare(worker()).await.unwrap_err().to_string();
    for part in ["pubbot.worker.main", "x-max-length-bytes", " 5000,", " 268435456 "] {
        assert!(why.contains(part), "{part}: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_nobody_uses_any_more_is_removed_after_its_time() {
    let folder = tempdir().unwrap();
    let clock = Arc::new(Clock(AtomicI64::new(1_700_000_000_000)));
    let open = || Embedded::open(folder.path(), Topology::default(), clock.clone(), Durability::Process).unwrap();
    let broker = open();
    let old = Topology::default().worker("old", patterns(&["a.b"]));
    broker.declare(old.clone()).await.unwrap();
    broker.declare(worker()).await.unwrap();
    publish(&broker, event("a.b", 1)).await;
    drop(broker);
    clock.0.fetch_add(29 * 24 * 60 * 60 * 1000, Ordering::Relaxed);
    let broker = open();
    broker.declare(worker()).await.unwrap();
    assert_eq!(broker.depth(&old.name).await.unwrap(), Some(1));
    drop(broker);
    clock.0.fetch_add(2 * 24 * 60 * 60 * 1000, Ordering::Relaxed);
    let broker = open();
    assert_eq!(broker.depth(&worker().name).await.unwrap(), Some(1));
    broker.declare(worker()).await.unwrap();
    // those who use it may be about to start
    assert_eq!(broker.depth(&old.name).await.unwrap(), Some(1));
    tokio::time::advance(Duration::from_secs(11 * 60)).await;
    publish(&broker, event("c.d", 2)).await;
    assert_eq!(broker.depth(&old.name).await.unwrap(), None);
    drop(broker);
    assert_eq!(open().depth(&old.name).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_was_used_until_the_process_was_killed_is_kept_however_little_was_written() {
    const DAYS: u64 = 31;
    let day = Duration::from_secs(24 * 60 * 60);
    let folder = tempdir().unwrap();
    let clock = Arc::new(Clock(AtomicI64::new(1_700_000_000_000)));
    let open = |folder: &Path| Embedded::open(folder, Topology::default(), clock.clone(), Durability::Process).unwrap();
    let broker = open(folder.path());
    let consumer = consume(&broker, worker(), 1).await;
    for n in 0..DAYS {
        publish(&broker, event("a.b", usize::try_from(n).unwrap())).await;
        tokio::time::advance(day).await;
        clock.0.fetch_add(24 * 60 * 60 * 1000, Ordering::Relaxed);
    }
    std::mem::forget((consumer, broker));
    let folder = copied(folder.path());
    let broker = open(folder.path());
    broker.declare(Topology::default().worker("other", patterns(&["c.d"]))).await.unwrap();
    // its worker is slow to come back
    tokio::time::advance(Duration::from_secs(60 * 60)).await;
    publish(&broker, event("c.d", 1)).await;
    assert_eq!(broker.depth(&worker().name).await.unwrap(), Some(DAYS));
}

#[tokio::test]
async fn what_was_to_survive_a_power_failure_is_not_confirmed_while_the_disk_cannot_be_written() {
    let parent = tempdir().unwrap();
    let folder = parent.path().join("queues");
    let broker = Embedded::open(&folder, Topology::default(), ambient(), Durability::Power).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    broker.declare(worker()).await.unwrap();
    let publish = async || timeout(PATIENCE, broker.publish(event("a.b", 1)).await).await.unwrap();
    assert!(matches!(publish().await, Err(Error::NotOnDisk)));
    std::fs::create_dir(&folder).unwrap();
    timeout(PATIENCE, async {
        while publish().await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
    assert!(broker.held(&worker().name) <= 2, "what was refused is not there, but for what showed that the disk fails");
}

#[tokio::test]
async fn the_folder_stays_small_whatever_passes_through() {
    let folder = tempdir().unwrap();
    let broker = open(folder.path());
    // one queue that nobody reads, with what came first, in the middle and last
    let slow = Topology::default().worker("slow", patterns(&["slow.one"]));
    broker.declare(slow.clone()).await.unwrap();
    let mut consumer = consume(&broker, worker(), 500).await;
    let mut most = 0;
    for round in 0..60 {
        publish(&broker, event("slow.one", round)).await;
        publish_all(&broker, "a.b", 0..500).await;
        assert_eq!(numbers(&mut consumer, 500).await.len(), 500);
        most = most.max(bytes(folder.path()));
    }
    assert!(most < 10 * 1024 * 1024, "{most} bytes");
    drop((consumer, broker));
    let broker = open(folder.path());
    let mut consumer = consume(&broker, slow, 100).await;
    assert_eq!(numbers(&mut consumer, 60).await, (0..60).collect::<Vec<_>>());
    nothing(&mut consumer).await;
}

#[tokio::test]
async fn a_backlog_that_outgrows_the_garbage_is_kept_whole() {
    let folder = tempdir().unwrap();
    let broker = open(folder.path());
    broker.declare(worker()).await.unwrap();
    let large =
        |n| Message { body: Bytes::from(format!("{{\"n\":{n},\"x\":{:?}}}", "x".repeat(3_000))), ..event("a.b", n) };
    for n in 0..6_000 {
        publish(&broker, large(n)).await;
    }
    // all but every third is done with, from the back, so that every file has something that lives
    let mut consumer = consume(&broker, worker(), 6_000).await;
    let mut deliveries = Vec::new();
    for _ in 0..6_000 {
        deliveries.push(next(&mut consumer).await);
    }
    let kept: Vec<Delivery> = deliveries
        .into_iter()
        .rev()
        .filter_map(|delivery| {
            if number(&delivery).is_multiple_of(3) {
                Some(delivery)
            } else {
                delivery.acknowledge();
                None
            }
        })
        .collect();
    assert!(bytes(folder.path()) < 16 * 1024 * 1024, "{} bytes", bytes(folder.path()));
    std::mem::forget((kept, consumer, broker));
    let folder = copied(folder.path());
    let broker = open(folder.path());
    let mut consumer = consume(&broker, worker(), 100).await;
    for n in (0..6_000).step_by(3) {
        let delivery = next(&mut consumer).await;
        assert_eq!((number(&delivery), delivery.attempts), (n, 1));
        delivery.acknowledge();
    }
}

#[tokio::test]
async fn damaged_files_cost_what_is_damaged_and_the_broker_opens() {
    let folder = tempdir().unwrap();
    let broker = open(folder.path());
    broker.declare(worker()).await.unwrap();
    publish_all(&broker, "a.b", 0..30_000).await;
    drop(broker);
    let logs = logs(folder.path());
    assert!(logs.len() >= 3, "{logs:?}");
    // the first record of the first file says what queues there are
    let mut first = std::fs::read(&logs[0]).unwrap();
    first[20] ^= 0x40;
    let middle = first.len() / 2;
    first[middle..middle + 1_000].fill(0xAA);
    std::fs::write(&logs[0], first).unwrap();
    let last = std::fs::read(logs.last().unwrap()).unwrap();
    std::fs::write(logs.last().unwrap(), &last[..last.len() - 7]).unwrap();

    let broker = open(folder.path());
    let mut consumer = consume(&broker, worker(), 1_000).await;
    let mut seen = Vec::new();
    while let Ok(delivery) = timeout(Duration::from_millis(500), consumer.next()).await {
        let delivery = delivery.unwrap();
        seen.push(number(&delivery));
        delivery.acknowledge();
    }
    assert!(seen.is_sorted() && seen.first() == Some(&0) && seen.last() == Some(&29_998), "{:?}", seen.last());
    assert!((29_980..30_000).contains(&seen.len()), "{}", seen.len());
    let damaged = folder.path().read_dir().unwrap();
    let damaged = damaged.filter(|it| it.as_ref().unwrap().path().extension().is_some_and(|e| e == "damaged")).count();
    assert_eq!(damaged, 2);
}

#[tokio::test]
async fn one_process_at_a_time() {
    let folder = tempdir().unwrap();
    let first = open(folder.path());
    let second = Embedded::open(folder.path(), Topology::default(), ambient(), Durability::Process);
    let Err(Error::Folder { why, .. }) = second.map(|_| ()) else { panic!("opened twice") };
    assert!(why.contains("another process"), "{why}");
    drop(first);
    open(folder.path());
}

/// What the child of the next test is told by.
const CHILD: &str = "PUBBOT_TEST_DURABLE_CHILD";

/// Not a test of its own: the process that is killed. Publishes and says what is confirmed; consumes, and says what it
/// acknowledges before it does.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let broker = open(Path::new(&folder));
    let mut consumer = consume(&broker, Topology::default().worker("half", patterns(&["a.b"])), 50).await;
    broker.declare(worker()).await.unwrap();
    tokio::spawn(async move {
        loop {
            let delivery = next(&mut consumer).await;
            if number(&delivery).is_multiple_of(2) {
                println!("acknowledging {}", number(&delivery));
                delivery.acknowledge();
            } else {
                std::mem::forget(delivery);
            }
        }
    });
    for n in 0.. {
        publish(&broker, event("a.b", n)).await;
        println!("confirmed {n}");
    }
}

#[tokio::test]
async fn a_killed_process_has_lost_nothing_that_was_confirmed() {
    for (round, lines) in [40, 900, 12_000].into_iter().enumerate() {
        let folder = tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut said: Vec<String> = output.by_ref().take(lines).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(output);
        let of = |word: &str| -> Vec<usize> {
            said.iter().filter_map(|line| line.split_once(word)?.1.trim().parse().ok()).collect()
        };
        let (confirmed, acknowledged) = (of("confirmed "), of("acknowledging "));
        let last = *confirmed.last().unwrap();
        assert!(last > lines / 3, "round {round}: {last}");

        let broker = open(folder.path());
        let mut consumer = consume(&broker, worker(), 100).await;
        let expected = broker.held(&worker().name);
        // perhaps one more than was said to be confirmed
        assert!((last + 1..=last + 2).contains(&expected), "round {round}: {expected} of {last}");
        assert_eq!(numbers(&mut consumer, expected).await, (0..expected).collect::<Vec<_>>());
        // of the other queue everything comes again but what was acknowledged; the last one may be
        let half = Topology::default().worker("half", patterns(&["a.b"]));
        let held = broker.held(&half.name);
        let mut consumer = consume(&broker, half, 100).await;
        let left = numbers(&mut consumer, held).await;
        assert!(left.is_sorted());
        // in a short life none may be
        let gone = acknowledged.split_last().map_or(&[][..], |(_, gone)| gone);
        assert!(gone.iter().all(|n| left.binary_search(n).is_err()), "round {round}: acknowledged, and there");
        for n in (0..=last).filter(|n| !acknowledged.contains(n)) {
            assert!(left.binary_search(&n).is_ok(), "round {round}: {n} is lost");
        }
    }
}

/// A file system of this size, mounted as long as it lives; `None` where that isn't allowed.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "pubbot-test"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0.path()).status().unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_stops_nothing_and_when_there_is_room_everything_is_on_it_again() {
    let Some(disk) = SmallDisk::mount("1m") else {
        eprintln!("skipped: no tmpfs can be mounted here (needs root)");
        return;
    };
    let folder = disk.0.path().join("queues");
    let broker = open(&folder);
    let mut consumer = consume(&broker, worker(), 10).await;
    publish_all(&broker, "a.b", 0..10).await;
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![0; 1024 * 1024]).unwrap_err();
    publish_all(&broker, "a.b", 10..2_000).await;
    assert_eq!(numbers(&mut consumer, 1_500).await, (0..1_500).collect::<Vec<_>>());
    let one_more = next(&mut consumer).await;
    drop(consumer);
    std::fs::remove_file(&ballast).unwrap();
    // by itself: nobody publishes any more
    tokio::time::sleep(Duration::from_secs(3)).await;
    std::mem::forget((one_more, broker));
    let folder = copied(&folder);
    let broker = open(folder.path());
    let mut consumer = consume(&broker, worker(), 10).await;
    let mut left = Vec::new();
    while left.len() < 500 {
        let delivery = next(&mut consumer).await;
        left.push((number(&delivery), delivery.attempts));
        delivery.acknowledge();
    }
    assert_eq!(left.iter().map(|(n, _)| *n).collect::<Vec<_>>(), (1_500..2_000).collect::<Vec<_>>());
    assert_eq!((left[0].1, left[499].1), (1, 0));
    nothing(&mut consumer).await;
}

#[tokio::test]
async fn headers_and_any_body_survive_a_restart() {
    let folder = tempdir().unwrap();
    let broker = open(folder.path());
    broker.declare(worker()).await.unwrap();
    let mut message = event("a.b", 1);
    message.body = Bytes::from_static(b"\0\xff\npbj1\x04\0\0\0");
    message.properties.headers.insert("attempts".to_owned(), Argument::Number(3));
    message.properties.published_at = Some(Timestamp::from_millis(1_600_000_000_001));
    publish(&broker, message.clone()).await;
    drop(broker);
    let broker = open(folder.path());
    let mut consumer = consume(&broker, worker(), 1).await;
    let delivery = next(&mut consumer).await;
    assert_eq!((&delivery.properties, &delivery.body), (&message.properties, &message.body));
    assert_eq!((&*delivery.key, delivery.attempts), ("a.b", 0));
}
