//! A RabbitMQ that is short of memory takes nothing, for as long as that lasts.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "conformance/world.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod world;

use std::time::Duration;

use bus::{Broker, RabbitMq};
use servers::RabbitMq as Server;
use tokio::task::block_in_place;
use tokio::time::timeout;

use world::{PATIENCE, ambient, consume, event, next, number, patterns, topology};

/// More than may be unconfirmed.
const MANY: usize = 1_500;

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_nobody_waits_for_take_no_room_while_the_broker_takes_none() {
    let server = block_in_place(Server::start);
    let broker = RabbitMq::connect(server.url(), topology(), "pubbot test", ambient()).await.unwrap();
    let mut consumer = consume(&broker, broker.topology().worker("main", patterns(&["a.b"])), 50).await;
    block_in_place(|| server.control(&["set_vm_memory_high_watermark", "absolute", "1MB"]));
    // whoever publishes is told of the alarm
    let first = broker.publish(event("a.b", 0)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    timeout(PATIENCE, async {
        for n in 0..MANY {
            drop(broker.publish(event("a.b", n)).await);
        }
    })
    .await
    .expect("there is room again and again");
    let last = [broker.publish(event("a.b", MANY)).await, broker.publish(event("a.b", MANY + 1)).await];
    block_in_place(|| server.control(&["set_vm_memory_high_watermark", "0.4"]));
    for confirm in [first].into_iter().chain(last) {
        timeout(PATIENCE, confirm).await.unwrap().unwrap();
    }
    let mut came = vec![];
    while came.last() != Some(&(MANY + 1)) {
        let delivery = next(&mut consumer).await;
        came.push(number(&delivery));
        delivery.acknowledge();
    }
    assert!(came.is_sorted(), "in their order: {came:?}");
    broker.close().await;
}
