//! Handlers of batches over a real RabbitMQ: that they keep up, and lose and bury nothing while they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Broker, Message, RabbitMq, System, Topology};
use protocol::{Event, Pattern, RoutingKey};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::{Batch, Error, Plugin, State, Worker, event};

const EVENTS: u128 = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// What was stored, and how often it fails before that.
#[derive(Default)]
struct Store {
    ids: Vec<Uuid>,
    batches: usize,
    failures: usize,
}

async fn store_all(batch: Batch, store: State<Arc<Mutex<Store>>>) -> Result<(), Error> {
    // a transaction takes its time
    tokio::time::sleep(Duration::from_millis(2)).await;
    let mut store = store.lock().unwrap();
    if !store.ids.is_empty() && store.failures > 0 {
        store.failures -= 1;
        return Err(std::io::Error::other("the database is locked").into());
    }
    store.ids.extend(batch.iter().map(|it| it.event.id));
    store.batches += 1;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_are_stored_though_the_handler_fails_for_a_while() {
    let url = servers::RabbitMq::shared().url();
    for failures in [0, 2] {
        let topology = Topology::new(&format!("batches-{}-{failures}", std::process::id()));
        let broker = Arc::new(RabbitMq::connect(url, topology.clone(), "test", Arc::new(System)).await.unwrap());
        let queue = topology.worker("main-archive", vec![Pattern::parse("chat.#").unwrap()]);
        broker.declare(queue.clone()).await.unwrap();
        let publish = |n: u128| {
            let body = serde_json::json!({
                "id": Uuid::from_u128(n), "at": "2020-01-01T00:00:00Z", "network": "n", "channel": "#c",
                "source": "alice", "content": "hello, world",
            });
            let key = RoutingKey::parse("chat.irc.#c.chat").unwrap();
            let event = Event::new(key, Uuid::from_u128(n), &body).unwrap();
            broker.publish(Message::event(event, "test", None).mandatory())
        };
        let mut confirms = Vec::new();
        for n in 0..EVENTS {
            confirms.push(publish(n).await);
        }
        for confirm in confirms {
            confirm.await.unwrap();
        }
        let store = Arc::new(Mutex::new(Store { failures, ..Store::default() }));
        let plugin = Plugin::new("archive").state(store.clone());
        let plugin = plugin.in_batches(event("chat.#").any_age(), store_all);
        let began = Instant::now();
        let worker = Worker::new("main").plugin(plugin).attach(broker.clone()).await.unwrap();
        let stop = CancellationToken::new();
        let working = tokio::spawn(worker.work(stop.clone()));
        let all = async {
            while store.lock().unwrap().ids.len() < EVENTS as usize {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("all is stored in time");
        let took = began.elapsed();
        stop.cancel();
        timeout(PATIENCE, working).await.unwrap().unwrap().unwrap();
        {
            let store = store.lock().unwrap();
            println!("{} events in {} batches, {took:?}, {failures} failures", store.ids.len(), store.batches);
            assert_eq!(store.ids.iter().collect::<HashSet<_>>().len(), EVENTS as usize, "each is there");
            assert_eq!(store.ids.len(), EVENTS as usize, "each once");
            if failures == 0 {
                // the one that was on its way when more than one was asked for may come back among the others
                let steps_back = store.ids.windows(2).filter(|pair| pair[0] > pair[1]).count();
                assert!(steps_back <= 1, "{steps_back}");
            }
        }
        assert_eq!(broker.depth(&queue.name).await.unwrap(), Some(0));
        assert_eq!(broker.depth(&topology.suspect("main").name).await.unwrap(), Some(0));
        assert!(!matches!(broker.depth(&topology.dead().name).await.unwrap(), Some(1..)), "something was buried");
        broker.close().await;
    }
}
