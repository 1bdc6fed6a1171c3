//! What only RabbitMQ has: a connection that can break, a login, queues that others can delete.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::{Broker, Error, RabbitMq};
use servers::{RabbitMq as Server, Relay};
use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::timeout;

use super::world::{
    PATIENCE, QUEUE_IS_ON_DISK, ambient, connect, consume, event, next, nothing, number, numbers, patterns, publish,
    publish_all, topology,
};

/// Until a broker that is there again is in use again.
const BACK_WITHIN: Duration = Duration::from_secs(10);

async fn own_server() -> Server {
    spawn_blocking(Server::start).await.unwrap()
}

async fn shared_url() -> &'static str {
    spawn_blocking(Server::shared).await.unwrap().url()
}

async fn try_connect(url: &str) -> Result<RabbitMq, Error> {
    timeout(PATIENCE, RabbitMq::connect(url, topology(), "pubbot test", ambient())).await.expect("an answer")
}

/// Publishes until it is confirmed.
async fn publish_until_confirmed(broker: &dyn Broker, key: &str, n: usize) {
    while broker.publish(event(key, n)).await.await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_virtual_host_are_refused_at_once() {
    let url = shared_url().await;
    let wrong_password = url.replace("guest:guest", "guest:wrong-secret");
    let missing_host = url.replace("/%2f", "/nowhere");
    for (url, expected) in [(wrong_password, "ACCESS_REFUSED"), (missing_host, "nowhere")] {
        let Err(Error::Refused { broker, why }) = try_connect(&url).await else { panic!("{url} was not refused") };
        assert!(why.contains(expected), "{why}");
        assert!(!format!("{broker} {why}").contains("wrong-secret"), "{broker} {why}");
    }
}

#[tokio::test]
async fn a_url_that_can_not_be_read_is_an_error() {
    for url in ["localhost", "http://localhost/", "amqp://"] {
        assert!(matches!(try_connect(url).await, Err(Error::Url(_))), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_that_comes_again_loses_nothing_that_was_confirmed() {
    let mut server = own_server().await;
    let broker = Arc::new(connect(server.url()).await);
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let mut consumer = consume(&*broker, queue, 50).await;
    let held_queue = broker.topology().worker("held", patterns(&["held.one"]));
    let mut holder = consume(&*broker, held_queue, 50).await;
    publish(&*broker, event("held.one", 7)).await;
    let held = next(&mut holder).await;
    tokio::time::sleep(QUEUE_IS_ON_DISK).await;

    let publishing = tokio::spawn({
        let broker = broker.clone();
        async move {
            let (mut confirmed, mut failed) = (BTreeSet::new(), 0);
            for n in 0..3_000 {
                let confirm = broker.publish(event("a.b", n)).await;
                if n % 10 == 0 {
                    match confirm.await {
                        Ok(()) => drop(confirmed.insert(n)),
                        Err(_) => failed += 1,
                    }
                } else {
                    // the others are only on their way
                    tokio::spawn(confirm);
                }
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            (confirmed, failed)
        }
    });
    let mut seen = BTreeSet::new();
    for round in 0..2 {
        for _ in 0..200 {
            let delivery = next(&mut consumer).await;
            seen.insert(number(&delivery));
            delivery.acknowledge();
        }
        block_in_place(|| server.kill());
        tokio::time::sleep(Duration::from_millis(500)).await;
        block_in_place(|| server.start_again());
        let back = Instant::now();
        publish_until_confirmed(&*broker, "back.again", round).await;
        seen.insert(number(&next(&mut consumer).await));
        assert!(back.elapsed() < BACK_WITHIN, "it took {:?}", back.elapsed());
    }
    let (confirmed, failed) = timeout(PATIENCE * 3, publishing).await.unwrap().unwrap();
    publish_until_confirmed(&*broker, "a.b", 999_999).await;
    loop {
        let delivery = next(&mut consumer).await;
        let n = number(&delivery);
        seen.insert(n);
        delivery.acknowledge();
        if n == 999_999 && confirmed.is_subset(&seen) {
            break;
        }
    }
    assert!(confirmed.len() > 200, "{} confirmed, {failed} failed", confirmed.len());

    // what was held over a break came again, whatever is said of it now
    let again = next(&mut holder).await;
    assert_eq!(number(&again), 7);
    assert!(again.attempts > 0);
    held.acknowledge();
    drop(again);
    assert_eq!(numbers(&mut holder, 1).await, [7]);
    nothing(&mut holder).await;
    broker.close().await;
}

#[tokio::test]
async fn while_the_broker_is_away_whoever_declares_or_consumes_is_told_after_30_seconds() {
    let mut server = own_server().await;
    let broker = connect(server.url()).await;
    let _server = spawn_blocking(move || {
        server.kill();
        server
    })
    .await
    .unwrap();
    // until the end of the connections is noticed: from then on, time passes only in leaps
    tokio::time::sleep(Duration::from_secs(2)).await;
    tokio::time::pause();
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let begin = tokio::time::Instant::now();
    let declared = broker.declare(queue.clone()).await;
    assert!(matches!(declared, Err(Error::Away { .. })), "{declared:?}");
    assert!(begin.elapsed() >= Duration::from_secs(29));
    assert!(matches!(broker.consume(queue, 1).await, Err(Error::Away { .. })));
    let confirm = broker.publish(event("a.b", 1)).await.await;
    assert!(matches!(confirm, Err(Error::TimedOut { .. })), "{confirm:?}");
    broker.close().await;
    assert!(matches!(broker.publish(event("a.b", 1)).await.await, Err(Error::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_deleted_is_declared_again_and_nobody_else_is_disturbed() {
    let url = shared_url().await;
    let broker = connect(url).await;
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let mut consumer = consume(&broker, queue.clone(), 10).await;
    let mut other = consume(&broker, broker.topology().worker("other", patterns(&["a.b"])), 10).await;
    publish_all(&broker, "a.b", 0..1).await;
    assert_eq!(numbers(&mut consumer, 1).await, [0]);
    let held = next(&mut other).await;

    delete_queue(url, &queue.name).await;
    let begin = Instant::now();
    let arrived = loop {
        publish(&broker, event("a.b", 1)).await;
        if let Ok(delivery) = timeout(Duration::from_millis(100), consumer.next()).await {
            break delivery.unwrap();
        }
        assert!(begin.elapsed() < BACK_WITHIN, "it is not declared again");
    };
    assert_eq!(number(&arrived), 1);
    // had its channel been disturbed, this would come to nothing, and 0 come again
    held.acknowledge();
    assert_eq!(numbers(&mut other, 1).await, [1]);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_waits_for_confirms_and_tells_what_was_acknowledged() {
    let url = shared_url().await;
    let topology = topology();
    let first = RabbitMq::connect(url, topology.clone(), "pubbot test", ambient()).await.unwrap();
    let queue = topology.worker("main", patterns(&["a.b"]));
    let mut consumer = consume(&first, queue.clone(), 1_000).await;
    publish_all(&first, "a.b", 0..500).await;
    assert_eq!(numbers(&mut consumer, 500).await.len(), 500);
    let mut confirms = Vec::new();
    for n in 500..600 {
        confirms.push(first.publish(event("a.b", n)).await);
    }
    let begin = Instant::now();
    first.close().await;
    assert!(begin.elapsed() < Duration::from_secs(5));
    for confirm in confirms {
        confirm.await.unwrap();
    }
    assert!(matches!(first.consume(queue.clone(), 1).await, Err(Error::Closed)));
    drop(consumer);
    let second = RabbitMq::connect(url, topology, "pubbot test", ambient()).await.unwrap();
    let mut consumer = consume(&second, queue, 1_000).await;
    let mut left = numbers(&mut consumer, 100).await;
    left.sort_unstable();
    assert_eq!(left, (500..600).collect::<Vec<_>>());
    nothing(&mut consumer).await;
    second.close().await;
}

/// Every second of so many deliveries is settled, each by a frame of its own since those between are open, over a
/// connection that is so slow. Then it is cut.
async fn only_what_is_open_comes_again(deliveries: usize, delay: Duration) {
    let server = spawn_blocking(Server::shared).await.unwrap();
    let relay = Relay::to(server.port());
    let url = server.url().replace(&server.port().to_string(), &relay.port().to_string());
    let topology = topology();
    let queue = topology.worker("main", patterns(&["a.b"]));
    let broker = RabbitMq::connect(&url, topology.clone(), "pubbot test", ambient()).await.unwrap();
    let mut consumer = consume(&broker, queue.clone(), 1_000).await;
    publish_all(&broker, "a.b", 0..deliveries).await;
    let mut open = Vec::new();
    for _ in 0..deliveries {
        open.push(next(&mut consumer).await);
    }
    // what is only on its way is lost then
    relay.delay(delay);
    for delivery in open.extract_if(.., |delivery| number(delivery).is_multiple_of(2)) {
        delivery.acknowledge();
    }
    broker.settled().await.unwrap();
    relay.cut();

    let other = RabbitMq::connect(server.url(), topology, "pubbot test", ambient()).await.unwrap();
    let mut consumer = consume(&other, queue, 1_000).await;
    let mut again = numbers(&mut consumer, deliveries / 2).await;
    again.sort_unstable();
    assert_eq!(again, (0..deliveries).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    nothing(&mut consumer).await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_is_known_to_know_outlives_the_connection() {
    only_what_is_open_comes_again(20, Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_is_known_to_know_outlives_the_connection_also_when_it_is_more_than_it_passes_on_at_once() {
    for _ in 0..3 {
        only_what_is_open_comes_again(1_000, Duration::ZERO).await;
    }
}

async fn delete_queue(url: &str, queue: &str) {
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}
