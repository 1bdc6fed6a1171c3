//! An ordered group of worker processes: each channel is answered in order, while they come, go and die.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, Message, RabbitMq, System, Topology};
use protocol::{Ambient, Chat, ChatKind, Event, Head, Reply, ReplyContext, RoutingKey, foreign_uuid};
use servers::PATIENCE;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use crate::world::{Kind, World, fresh_prefix};

const CHANNELS: usize = 5;
const LINES: usize = 1_000;
/// Nobody listens there: there is no connector.
const NO_IRC_PORT: u16 = 1;

#[test]
fn an_ordered_group_answers_each_channel_in_order_while_workers_come_go_and_die() {
    let prefix = fresh_prefix();
    let world = World::with_prefix(&prefix, Kind::Spread, NO_IRC_PORT, &[]);
    world.configure("", "[worker]\nordered = true\n");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = servers::RabbitMq::shared().url();
        let broker = Arc::new(RabbitMq::connect(url, Topology::new(&prefix), "test", Arc::new(System)).await.unwrap());
        let start = || {
            block_in_place(|| {
                let worker = world.start(&["worker"]);
                worker.wait_for_stderr("the worker is ready");
                worker
            })
        };
        let replies = broker.consume(broker.topology().replies("irc", "test"), 1_000).await.unwrap();
        let mut workers = vec![start()];
        let answers = tokio::spawn(collect(replies));
        let saying = tokio::spawn(say_all(broker.clone()));
        sleep(Duration::from_secs(2)).await;
        workers.extend((0..3).map(|_| start()));
        sleep(Duration::from_secs(4)).await;
        workers[0].terminate();
        sleep(Duration::from_secs(3)).await;
        block_in_place(|| workers[1].kill());
        sleep(Duration::from_secs(6)).await;
        workers.push(start());
        sleep(Duration::from_secs(2)).await;
        block_in_place(|| workers[2].kill());
        saying.await.unwrap();
        let answers = timeout(PATIENCE * 2, answers).await.unwrap().unwrap();
        for (channel, answers) in answers {
            // what was answered twice has the same id: the connector says it once, when it comes first
            let mut seen = BTreeSet::new();
            let first: Vec<usize> = answers.into_iter().filter(|n| seen.insert(*n)).collect();
            assert!(first.is_sorted(), "{channel}: {first:?}");
            assert_eq!(first.len(), LINES, "{channel}");
        }
        broker.close().await;
    });
}

/// Says the lines of all channels in turns, over some 20 s.
async fn say_all(broker: Arc<RabbitMq>) {
    let reply_to = broker.topology().replies_name("irc", "test");
    for n in 0..LINES {
        for channel in 0..CHANNELS {
            broker.publish(line(&format!("#c{channel}"), n, &reply_to)).await.await.unwrap();
        }
        if n % 10 == 0 {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

fn line(channel: &str, n: usize, reply_to: &str) -> Message {
    let id = foreign_uuid(&format!("{channel} {n}"));
    let head = Head { id, at: System.now(), network: "test".into(), channel: channel.into(), session: None, seq: None };
    let chat = Chat::new(head, "alice", &format!("!echo {n}"));
    let event = Event::new(RoutingKey::chat("irc", channel, ChatKind::Chat), id, &chat).unwrap();
    Message::event(event, "test", Some(reply_to))
}

/// The numbers that are answered in each channel, as they come, until all have come.
async fn collect(mut replies: bus::Consumer) -> HashMap<String, Vec<usize>> {
    let (mut answers, mut seen) = (HashMap::<String, Vec<usize>>::new(), BTreeSet::new());
    while seen.len() < CHANNELS * LINES {
        let Ok(Some(delivery)) = timeout(PATIENCE, replies.next()).await else {
            panic!("{} of {} were answered", seen.len(), CHANNELS * LINES)
        };
        let reply = Reply::read(&delivery.body, ReplyContext::default()).unwrap();
        delivery.acknowledge();
        let n: usize = reply.content.0.concat().parse().unwrap();
        seen.insert((reply.channel.clone(), n));
        answers.entry(reply.channel).or_default().push(n);
    }
    answers
}
