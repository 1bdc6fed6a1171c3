//! Ordered groups on RabbitMQ: what happens in a channel is handled in order, while workers come, go and die.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bus::{Address, Broker, Delay, Delivery, Message, PARTITION_HEADER, RabbitMq, System, Topology, partition};
use protocol::{ChatKind, Event, RoutingKey, foreign_uuid};
use servers::{RabbitMq as Server, Relay};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, block_in_place, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::world::{PATIENCE, QUEUE_IS_ON_DISK, number, patterns, topology};

const CHANNELS: usize = 5;
const EVENTS: usize = 2_000;
const PREFETCH: u16 = 64;
/// How long every third event takes: so long that there is always a backlog.
const HANDLED_WITHIN: Duration = Duration::from_millis(50);
/// What a worker that died had is had by others then: its beats are missed for 4 s.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(15);

async fn server() -> &'static Server {
    spawn_blocking(Server::shared).await.unwrap()
}

/// Not the fixed chance of other tests: workers tell each other apart by it.
async fn client(url: &str, topology: &Topology) -> Arc<RabbitMq> {
    Arc::new(RabbitMq::connect(url, topology.clone(), "pubbot test", Arc::new(System)).await.unwrap())
}

/// The n-th event of a channel.
fn said(channel: usize, n: usize) -> Message {
    let key = RoutingKey::chat("irc", &format!("#c{channel}"), ChatKind::Chat);
    let id = foreign_uuid(&format!("{channel} {n}"));
    let body = serde_json::json!({ "id": id, "network": "net", "n": n });
    Message::event(Event::new(key, id, &body).unwrap(), "test", None)
}

/// What all workers have handled, in the order in which they began to.
#[derive(Default)]
struct Record {
    handled: Mutex<Vec<(Arc<str>, usize)>>,
}

impl Record {
    /// How many events were handled, and how many of them for the first time after a later one of the same channel.
    fn count(&self) -> (usize, usize) {
        let (mut seen, mut last, mut inversions) = (BTreeSet::new(), HashMap::<&str, usize>::new(), 0);
        let handled = self.handled.lock().unwrap();
        for (channel, n) in &*handled {
            if seen.insert((channel, n)) {
                let last = last.entry(channel).or_default();
                inversions += usize::from(n < last);
                *last = (*last).max(*n);
            }
        }
        (seen.len(), inversions)
    }

    async fn wait_for(&self, count: usize, limit: Duration) {
        let begin = Instant::now();
        while self.count().0 < count {
            assert!(begin.elapsed() < limit, "{} of {count} were handled", self.count().0);
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A process of the group, as far as its broker can tell.
struct Worker {
    broker: Arc<RabbitMq>,
    relay: Relay,
    dead: Arc<AtomicBool>,
    working: JoinHandle<()>,
    stop: Arc<tokio::sync::Notify>,
    handled: Arc<AtomicU64>,
}

impl Worker {
    /// What happens in a channel is handled in order.
    async fn start(topology: &Topology, record: &Arc<Record>) -> Self {
        let relay = Relay::to(server().await.port());
        let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port());
        let broker = client(&url, topology).await;
        let mut consumer = broker.consume_ordered("main", patterns(&["chat.#"]), PREFETCH).await.unwrap();
        let (dead, stop, handled) =
            (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Notify::new()), Arc::default());
        let working = tokio::spawn({
            let (record, dead, stop, handled) = (record.clone(), dead.clone(), stop.clone(), Arc::clone(&handled));
            async move {
                let mut lanes: HashMap<Arc<str>, mpsc::UnboundedSender<Delivery>> = HashMap::new();
                let mut tasks = tokio::task::JoinSet::new();
                loop {
                    let delivery = tokio::select! {
                        delivery = consumer.next() => delivery,
                        () = stop.notified() => break,
                    };
                    let Some(delivery) = delivery else { break };
                    let lane = lanes.entry(delivery.key.clone()).or_insert_with(|| {
                        let (sender, lane) = mpsc::unbounded_channel();
                        tasks.spawn(work(lane, record.clone(), dead.clone(), Arc::clone(&handled)));
                        sender
                    });
                    lane.send(delivery).unwrap();
                }
                drop((consumer, lanes));
                while tasks.join_next().await.is_some() {}
            }
        });
        Worker { broker, relay, dead, working, stop, handled }
    }

    /// As kill -9: nothing more happens here, and the connections end.
    async fn kill(self) {
        self.dead.store(true, Ordering::SeqCst);
        self.working.abort();
        self.relay.cut();
    }

    /// As SIGTERM: it finishes what it began, and gives back the rest.
    async fn stop(self) {
        self.stop.notify_one();
        timeout(PATIENCE, self.working).await.unwrap().unwrap();
        self.broker.close().await;
    }

    fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }
}

async fn work(
    mut lane: mpsc::UnboundedReceiver<Delivery>,
    record: Arc<Record>,
    dead: Arc<AtomicBool>,
    handled: Arc<AtomicU64>,
) {
    while let Some(delivery) = lane.recv().await {
        {
            let mut record = record.handled.lock().unwrap();
            if dead.load(Ordering::SeqCst) {
                return;
            }
            record.push((delivery.key.clone(), number(&delivery)));
        }
        handled.fetch_add(1, Ordering::Relaxed);
        if number(&delivery).is_multiple_of(3) {
            sleep(HANDLED_WITHIN).await;
        }
        if !dead.load(Ordering::SeqCst) {
            delivery.acknowledge();
        }
    }
}

/// Publishes the events `from..to` of each channel, in turns, over so long.
async fn publish(broker: &RabbitMq, events: std::ops::Range<usize>, over: Duration) {
    let (begin, count) = (Instant::now(), u32::try_from(events.len()).unwrap());
    let mut confirms = Vec::new();
    for (i, n) in (0u32..).zip(events) {
        for channel in 0..CHANNELS {
            confirms.push(broker.publish(said(channel, n)).await);
        }
        let due = begin + over * i / count;
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            sleep(early).await;
        }
    }
    for confirm in confirms {
        confirm.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_holds_while_workers_come_go_and_die_and_nothing_is_lost() {
    let (topology, record) = (topology(), Arc::new(Record::default()));
    let publisher = client(server().await.url(), &topology).await;
    let mut workers = vec![Worker::start(&topology, &record).await];
    let publishing = tokio::spawn({
        let publisher = publisher.clone();
        async move { publish(&publisher, 0..EVENTS, Duration::from_secs(10)).await }
    });
    // 1
    sleep(Duration::from_secs(4)).await;
    assert!(record.count().0 > 0);
    // 4
    for _ in 0..3 {
        workers.push(Worker::start(&topology, &record).await);
    }
    sleep(Duration::from_secs(6)).await;
    let shares: Vec<u64> = workers.iter().map(Worker::handled).collect();
    // 2: one goes, one dies
    workers.remove(0).stop().await;
    sleep(Duration::from_secs(3)).await;
    workers.remove(0).kill().await;
    sleep(Duration::from_secs(8)).await;
    // others instead of those who die
    for _ in 0..2 {
        workers.push(Worker::start(&topology, &record).await);
        sleep(Duration::from_secs(2)).await;
        workers.remove(0).kill().await;
        sleep(Duration::from_secs(2)).await;
    }
    timeout(PATIENCE * 3, publishing).await.unwrap().unwrap();
    record.wait_for(CHANNELS * EVENTS, PATIENCE * 2).await;
    assert_eq!(record.count(), (CHANNELS * EVENTS, 0));
    // five channels are in at least two parts
    assert!(shares.iter().filter(|share| **share > 0).count() > 1, "{shares:?}");
    for worker in workers {
        worker.stop().await;
    }
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_had_by_another_worker_at_once_when_its_worker_goes_and_soon_when_it_dies() {
    let (topology, record) = (topology(), Arc::new(Record::default()));
    let publisher = client(server().await.url(), &topology).await;
    let mut workers = Vec::new();
    for _ in 0..2 {
        workers.push(Worker::start(&topology, &record).await);
    }
    sleep(Duration::from_secs(2)).await;
    publish(&publisher, 0..1, Duration::ZERO).await;
    record.wait_for(CHANNELS, PATIENCE).await;
    let begin = Instant::now();
    workers.remove(0).stop().await;
    publish(&publisher, 1..2, Duration::ZERO).await;
    record.wait_for(2 * CHANNELS, Duration::from_secs(3)).await;
    eprintln!("handed over within {:?}", begin.elapsed());

    workers.push(Worker::start(&topology, &record).await);
    sleep(Duration::from_secs(2)).await;
    let begin = Instant::now();
    workers.remove(0).kill().await;
    publish(&publisher, 2..3, Duration::ZERO).await;
    record.wait_for(3 * CHANNELS, TAKEN_OVER_WITHIN).await;
    eprintln!("taken over within {:?}", begin.elapsed());
    assert_eq!(record.count().1, 0);
    for worker in workers {
        worker.stop().await;
    }
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_group_survives_a_killed_broker() {
    let mut server = spawn_blocking(Server::start).await.unwrap();
    let topology = topology();
    let broker = client(server.url(), &topology).await;
    let mut consumer = broker.consume_ordered("main", patterns(&["chat.#"]), PREFETCH).await.unwrap();
    sleep(QUEUE_IS_ON_DISK).await;
    for round in 0..3 {
        publish(&broker, round * 10..(round + 1) * 10, Duration::ZERO).await;
        let mut seen = BTreeSet::new();
        while seen.len() < 10 * CHANNELS {
            let delivery = timeout(PATIENCE, consumer.next()).await.expect("all events").unwrap();
            if number(&delivery) >= round * 10 {
                seen.insert((delivery.key.to_string(), number(&delivery)));
            }
            delivery.acknowledge();
        }
        block_in_place(|| server.kill());
        block_in_place(|| server.start_again());
        while broker.publish(said(0, 0)).await.await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    }
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_comes_once_and_a_retry_goes_back_to_its_partition() {
    let (topology, url) = (topology(), server().await.url());
    let broker = client(url, &topology).await;
    // two patterns that both match, and an event that happened nowhere
    let all = patterns(&["chat.#", "#"]);
    let mut consumer = broker.consume_ordered("main", all, PREFETCH).await.unwrap();
    publish(&broker, 0..1, Duration::ZERO).await;
    broker.publish(super::world::event("music.track", 7)).await.await.unwrap();
    let mut odd = said(0, 8);
    odd.properties.headers.insert(PARTITION_HEADER.to_owned(), "99".into());
    broker.publish(odd).await.await.unwrap();
    let mut came = HashMap::new();
    for _ in 0..CHANNELS + 2 {
        let delivery = timeout(PATIENCE, consumer.next()).await.unwrap().unwrap();
        came.insert((delivery.key.to_string(), number(&delivery)), delivery.queue.to_string());
        if number(&delivery) == 0 {
            let to = Address::Later { queue: delivery.queue.to_string(), after: Delay::OneSecond };
            let mut properties = delivery.properties.clone();
            properties.headers.insert("key".to_owned(), (&*delivery.key).into());
            let retry = Message { to, mandatory: true, properties, body: delivery.body.clone() };
            broker.publish(retry).await.await.unwrap();
        }
        delivery.acknowledge();
    }
    let queue = |partition: u32| topology.partition("main", partition).name;
    for channel in 0..CHANNELS {
        let key = (format!("chat.irc.#c{channel}.chat"), 0);
        assert_eq!(came[&key], queue(partition("net", &format!("#c{channel}"))));
        let delivery = timeout(PATIENCE, consumer.next()).await.unwrap().unwrap();
        assert_eq!(came[&(delivery.key.to_string(), 0)], delivery.queue.to_string());
        delivery.acknowledge();
    }
    assert_eq!(came[&("music.track".to_owned(), 7)], queue(0));
    assert_eq!(came[&("chat.irc.#c0.chat".to_owned(), 8)], queue(0));
    super::world::nothing(&mut consumer).await;
    broker.close().await;
}

/// Prints how fast four workers empty a group's queues: with and without order. Figures count in release builds only.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn the_throughput_of_four_workers_with_and_without_order() {
    const SAID: usize = 40_000;
    const PLACES: usize = 64;
    let url = server().await.url();
    for round in 0..6 {
        let (is_ordered, topology) = (round % 2 == 1, topology());
        let publisher = client(url, &topology).await;
        let (opened, gate) = tokio::sync::watch::channel(false);
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut brokers = Vec::new();
        for worker in 0..4 {
            let broker = client(url, &topology).await;
            let mut consumer = if is_ordered {
                broker.consume_ordered("main", patterns(&["chat.#"]), PREFETCH).await.unwrap()
            } else {
                broker.consume(topology.worker("main", patterns(&["chat.#"])), 256).await.unwrap()
            };
            let (mut gate, tell) = (gate.clone(), tell.clone());
            tokio::spawn(async move {
                gate.wait_for(|open| *open).await.unwrap();
                let mut batch = Vec::new();
                while consumer.next_many(&mut batch, 64).await > 0 {
                    tell.send((worker, batch.len())).unwrap();
                    batch.drain(..).for_each(Delivery::acknowledge);
                }
            });
            brokers.push(broker);
        }
        sleep(Duration::from_secs(3)).await;
        let mut confirms = Vec::new();
        for n in 0..SAID {
            confirms.push(publisher.publish(said(n % PLACES, n)).await);
        }
        for confirm in confirms {
            confirm.await.unwrap();
        }
        sleep(Duration::from_secs(2)).await;
        let (begin, mut done, mut shares) = (Instant::now(), 0, [0; 4]);
        opened.send_replace(true);
        while done < SAID {
            let (worker, count) = timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
            done += count;
            shares[worker] += count;
        }
        let rate = 40_000.0 / begin.elapsed().as_secs_f64();
        println!("{} {rate:.0} events/s, shares {shares:?}", if is_ordered { "ordered  " } else { "unordered" });
        for broker in brokers {
            broker.close().await;
        }
        publisher.close().await;
    }
}
