//! What waits on RabbitMQ to be tried again, and what is kept of what was said, when the broker or the connection
//! breaks.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::{Address, Broker, Delay, Message, RabbitMq, Topology};
use servers::RabbitMq as Server;
use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::world::{PATIENCE, QUEUE_IS_ON_DISK, ambient, consume, event, next, number, numbers, patterns, topology};

async fn client(url: &str, topology: &Topology) -> RabbitMq {
    RabbitMq::connect(url, topology.clone(), "pubbot test", ambient()).await.unwrap()
}

fn later(queue: &str, after: Delay, n: usize) -> Message {
    Message { to: Address::Later { queue: queue.to_owned(), after }, ..event("a.b", n) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_loses_nothing_that_waits_to_be_tried_again() {
    let mut server = spawn_blocking(Server::start).await.unwrap();
    let topology = topology();
    let broker = client(server.url(), &topology).await;
    let queue = topology.worker("main", patterns(&["a.b"]));
    let mut consumer = consume(&broker, queue.clone(), 50).await;
    for delay in [Delay::OneSecond, Delay::TenSeconds] {
        broker.declare(topology.retry(delay)).await.unwrap();
    }
    sleep(QUEUE_IS_ON_DISK).await;
    // some are dead-lettered around each kill, others wait over both
    let mut confirmed = BTreeSet::new();
    for round in 0..2 {
        let mut confirms = Vec::new();
        for n in round * 500..(round + 1) * 500 {
            let delay = if n % 2 == 0 { Delay::OneSecond } else { Delay::TenSeconds };
            confirms.push((n, broker.publish(later(&queue.name, delay, n)).await));
            if n % 100 == 0 {
                sleep(Duration::from_millis(200)).await;
            }
        }
        for (n, confirm) in confirms {
            if confirm.await.is_ok() {
                confirmed.insert(n);
            }
        }
        block_in_place(|| server.kill());
        block_in_place(|| server.start_again());
        while broker.publish(event("is.there", 0)).await.await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(confirmed.len() > 900, "only {} of 1000 were confirmed", confirmed.len());
    let mut seen = BTreeSet::new();
    while !confirmed.is_subset(&seen) {
        let Ok(Some(delivery)) = timeout(PATIENCE * 2, consumer.next()).await else {
            panic!("lost: {:?}", confirmed.difference(&seen).collect::<Vec<_>>());
        };
        seen.insert(number(&delivery));
        delivery.acknowledge();
    }
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn longer_delays_wait_in_queues_of_their_own_and_nothing_waits_behind_them() {
    let url = spawn_blocking(Server::shared).await.unwrap().url();
    let topology = topology();
    let broker = client(url, &topology).await;
    let queue = topology.worker("main", patterns(&["a.b"]));
    let mut consumer = consume(&broker, queue.clone(), 50).await;
    for (n, delay) in Delay::ALL.into_iter().enumerate().rev() {
        broker.publish(later(&queue.name, delay, n)).await.await.unwrap();
    }
    let first = next(&mut consumer).await;
    assert_eq!(number(&first), 0);
    first.acknowledge();
    for delay in [Delay::OneMinute, Delay::TenMinutes] {
        assert_eq!(broker.depth(&topology.retry(delay).name).await.unwrap(), Some(1), "{delay:?}");
    }
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_queue_that_somebody_deleted_is_there_again_after_a_moment() {
    let url = spawn_blocking(Server::shared).await.unwrap().url();
    let topology = topology();
    let broker = client(url, &topology).await;
    let queue = topology.worker("main", patterns(&["a.b"]));
    let mut consumer = consume(&broker, queue.clone(), 50).await;
    broker.publish(later(&queue.name, Delay::OneSecond, 0)).await.await.unwrap();
    assert_eq!(numbers(&mut consumer, 1).await, [0]);

    let retry = topology.retry(Delay::OneSecond).name;
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.queue_delete(retry.as_str().into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    channel.exchange_delete(retry.as_str().into(), lapin::options::ExchangeDeleteOptions::default()).await.unwrap();
    let again = async {
        while broker.publish(later(&queue.name, Delay::OneSecond, 1)).await.await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("it is declared again");
    assert_eq!(numbers(&mut consumer, 1).await, [1]);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_survives_its_readers_and_a_killed_broker() {
    let mut server = spawn_blocking(Server::start).await.unwrap();
    let topology = topology();
    let stream = topology.said("irc", "n");
    let to_stream = |n| Message { to: Address::Queue(stream.name.clone()), ..event("a.b", n) };
    let broker = client(server.url(), &topology).await;
    assert!(broker.read_stream(stream.clone()).await.unwrap().is_empty());
    sleep(QUEUE_IS_ON_DISK).await;
    for n in 0..300 {
        broker.publish(to_stream(n)).await.await.unwrap();
    }
    broker.close().await;
    block_in_place(|| server.kill());
    block_in_place(|| server.start_again());
    let broker = client(server.url(), &topology).await;
    // just started, RabbitMQ does not find it for some moments
    assert_eq!(broker.read_stream(stream.clone()).await.unwrap().len(), 300);
    for n in 300..310 {
        broker.publish(to_stream(n)).await.await.unwrap();
    }
    let bodies = broker.read_stream(stream.clone()).await.unwrap();
    assert_eq!(bodies, (0..310).map(|n| to_stream(n).body).collect::<Vec<_>>());
    broker.close().await;
}
