//! Locks on RabbitMQ under faults: never two holders, and a new one soon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Broker, Lease, Lock, RabbitMq, Topology};
use servers::{Program, RabbitMq as Server, Relay};
use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::world::{PATIENCE, ambient, topology};

/// Until a standby has a lock that is free: it asks every 2 s.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(4);
/// Until a holder that hears nothing of the broker is silent: 6 s, and the time to notice.
const SILENT_WITHIN: Duration = Duration::from_millis(6_500);
/// Until the broker gives up a silent holder, at least: two heartbeats of 6 s.
const GIVEN_AWAY_AFTER: Duration = Duration::from_secs(12);
/// Until a standby has the lock of a silent holder: three heartbeats, and a try.
const TAKEN_FROM_SILENT_WITHIN: Duration = Duration::from_secs(25);

async fn shared_url() -> &'static str {
    spawn_blocking(Server::shared).await.unwrap().url()
}

/// A way to the broker that can be cut, and its URL.
async fn relay() -> (Relay, String) {
    let relay = Relay::to(spawn_blocking(Server::shared).await.unwrap().port());
    let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port());
    (relay, url)
}

async fn client(url: &str, topology: &Topology) -> Arc<RabbitMq> {
    Arc::new(RabbitMq::connect(url, topology.clone(), "pubbot test", ambient()).await.unwrap())
}

async fn lock(broker: &RabbitMq) -> Lock {
    timeout(PATIENCE * 2, broker.lock("n")).await.expect("the lock").unwrap()
}

/// Asks for the lock beside.
fn standby(broker: &Arc<RabbitMq>) -> tokio::task::JoinHandle<(Lock, Instant)> {
    let broker = broker.clone();
    tokio::spawn(async move { (lock(&broker).await, Instant::now()) })
}

/// When this lease is over.
async fn over(lease: &Lease) -> Instant {
    let begin = Instant::now();
    while lease.holds() {
        assert!(begin.elapsed() < PATIENCE, "it holds on");
        sleep(Duration::from_millis(5)).await;
    }
    Instant::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_given_back_is_had_by_the_next_one_soon() {
    let (url, topology) = (shared_url().await, topology());
    let (one, other) = (client(url, &topology).await, client(url, &topology).await);
    let held = lock(&one).await;
    let waiting = standby(&other);
    sleep(Duration::from_secs(8)).await;
    assert!(held.holds() && !waiting.is_finished());
    let given_back = Instant::now();
    drop(held);
    let (held, taken) = waiting.await.unwrap();
    assert!(taken - given_back < TAKEN_OVER_WITHIN, "after {:?}", taken - given_back);

    // closing gives it back, too, and says so before
    let (lease, waiting) = (held.lease(), standby(&one));
    let closing = Instant::now();
    other.close().await;
    assert!(!lease.holds());
    timeout(PATIENCE, held.lost()).await.unwrap();
    let (held, taken) = waiting.await.unwrap();
    assert!(taken - closing < TAKEN_OVER_WITHIN, "after {:?}", taken - closing);
    // so does dropping the whole client
    let third = client(url, &topology).await;
    let waiting = standby(&third);
    drop((one, held));
    assert!(waiting.await.unwrap().0.holds());
    third.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_whose_connection_is_cut_is_lost_at_once_and_can_be_had_again() {
    let ((relay, url), topology) = (relay().await, topology());
    let broker = client(&url, &topology).await;
    let held = lock(&broker).await;
    relay.reset();
    timeout(Duration::from_secs(3), held.lost()).await.unwrap();
    assert!(!held.holds());
    drop(held);
    assert!(lock(&broker).await.holds());
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_cut_off_is_silent_before_another_one_has_the_lock() {
    let (url, topology) = (shared_url().await, topology());
    let (relay, cut_url) = relay().await;
    let (one, other) = (client(&cut_url, &topology).await, client(url, &topology).await);
    let held = lock(&one).await;
    let waiting = standby(&other);
    sleep(Duration::from_secs(2)).await;
    relay.hold();
    let cut = Instant::now();
    let silent = over(&held.lease()).await - cut;
    assert!(silent < SILENT_WITHIN, "after {silent:?}");
    let (taken, when) = waiting.await.unwrap();
    assert!(GIVEN_AWAY_AFTER - Duration::from_secs(1) < when - cut, "after {:?}", when - cut);
    assert!(when - cut < TAKEN_FROM_SILENT_WITHIN, "after {:?}", when - cut);
    timeout(PATIENCE, held.lost()).await.unwrap();

    // it may come back, but it doesn't get the lock as long as there is another holder
    relay.heal();
    drop(held);
    let waiting = standby(&one);
    sleep(Duration::from_secs(8)).await;
    assert!(taken.holds() && !waiting.is_finished());
    drop(taken);
    assert!(waiting.await.unwrap().0.holds());
    one.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_the_former_holder_has_the_lock_again() {
    let mut server = spawn_blocking(Server::start).await.unwrap();
    let topology = topology();
    let (one, other) = (client(server.url(), &topology).await, client(server.url(), &topology).await);
    let mut held = lock(&one).await;
    let waiting = standby(&other);
    sleep(Duration::from_secs(3)).await;
    for _ in 0..2 {
        let lease = held.lease();
        let killed = Instant::now();
        block_in_place(|| server.kill());
        let silent = over(&lease).await - killed;
        assert!(silent < SILENT_WITHIN, "after {silent:?}");
        timeout(PATIENCE, held.lost()).await.unwrap();
        drop(held);
        let again = standby(&one);
        block_in_place(|| server.start_again());
        let back = Instant::now();
        let (regained, when) = again.await.unwrap();
        assert!(when - back < Duration::from_secs(8), "after {:?}", when - back);
        held = regained;
        sleep(Duration::from_secs(5)).await;
        assert!(held.holds() && !waiting.is_finished());
    }

    // frozen, it grants nothing
    server.freeze();
    let frozen = Instant::now();
    let silent = over(&held.lease()).await - frozen;
    assert!(silent < SILENT_WITHIN, "after {silent:?}");
    sleep(Duration::from_secs(3)).await;
    assert!(!waiting.is_finished());
    // short enough for the connection to survive: its probes are answered again
    server.thaw();
    let begin = Instant::now();
    while !held.holds() {
        assert!(begin.elapsed() < PATIENCE, "it is not ours again");
        sleep(Duration::from_millis(20)).await;
    }
    assert!(!waiting.is_finished());

    // whoever gave it back does not claim it after the next outage
    drop(held);
    let (held, _) = waiting.await.unwrap();
    let late = standby(&one);
    sleep(Duration::from_secs(1)).await;
    block_in_place(|| server.kill());
    timeout(PATIENCE, held.lost()).await.unwrap();
    drop(held);
    let again = standby(&other);
    block_in_place(|| server.start_again());
    let (held, _) = again.await.unwrap();
    sleep(Duration::from_secs(8)).await;
    assert!(held.holds() && !late.is_finished());
    one.close().await;
    other.close().await;
    late.await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_holder_is_replaced_at_once_and_a_stopped_one_knows_that_it_was() {
    let (url, topology) = (shared_url().await, topology());
    let broker = client(url, &topology).await;
    let mut holder = holder(url, &topology);
    let waiting = standby(&broker);
    sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    let killed = Instant::now();
    block_in_place(|| holder.kill());
    let (held, taken) = waiting.await.unwrap();
    assert!(taken - killed < TAKEN_OVER_WITHIN, "after {:?}", taken - killed);
    drop(held);

    let mut holder = self::holder(url, &topology);
    let waiting = standby(&broker);
    sleep(Duration::from_secs(1)).await;
    holder.freeze();
    let frozen = Instant::now();
    let (held, taken) = waiting.await.unwrap();
    assert!(GIVEN_AWAY_AFTER - Duration::from_secs(1) < taken - frozen, "after {:?}", taken - frozen);
    assert!(taken - frozen < TAKEN_FROM_SILENT_WITHIN, "after {:?}", taken - frozen);
    let said_before = holder.stdout().lines().count();
    holder.thaw();
    // every line that it writes from now on is no
    block_in_place(|| holder.wait_for_stdout("lost"));
    let said: Vec<String> = holder.stdout().lines().skip(said_before + 1).map(str::to_owned).collect();
    assert!(!said.iter().any(|line| line == "holds"), "{said:?}");
    assert!(held.holds());
    broker.close().await;
}

/// A process that holds the lock, and says so all the time.
fn holder(url: &str, topology: &Topology) -> Program {
    let this = std::env::current_exe().unwrap();
    let name = "conformance::locks::the_process_that_holds_a_lock";
    let mut holder = Program::start(this, &["--ignored", "--exact", name, "--nocapture"], &[]);
    holder.write_stdin(&format!("{url} {}\n", topology.prefix()));
    block_in_place(|| holder.wait_for_stdout("holds"));
    holder
}

/// The other process of the test before this: started by it, it reads from standard input where the broker is.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is a part of another test"]
async fn the_process_that_holds_a_lock() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let (url, prefix) = line.trim().split_once(' ').unwrap();
    let broker = client(url, &Topology::new(prefix)).await;
    let held = lock(&broker).await;
    let lost = held.lost();
    tokio::pin!(lost);
    loop {
        println!("{}", if held.holds() { "holds" } else { "silent" });
        if timeout(Duration::from_millis(1), &mut lost).await.is_ok() {
            println!("lost");
            sleep(PATIENCE).await;
        }
    }
}
