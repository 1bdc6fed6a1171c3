//! The rules that hold on every broker. One function a rule; each is given an empty broker.

use std::collections::BTreeSet;
use std::time::Duration;

use bus::{Address, Argument, Broker, Delay, Error, Lock, Message, Properties, STREAM_MESSAGES};
use bytes::Bytes;
use protocol::{ChatKind, RoutingKey};
use tokio::time::{Instant, timeout};

use super::world::{A_WHILE, PATIENCE, consume, event, next, nothing, number, numbers, patterns, publish, publish_all};

pub async fn patterns_follow_the_topic_rules(broker: &dyn Broker) {
    let rust = RoutingKey::chat("irc", "#rust.dev", ChatKind::Chat);
    let keys = ["a", "a.b", "a.b.c", "a.x.y.c", rust.as_str(), "chat.irc.#rust.join", "c"];
    let expected: [(&str, &[usize]); 10] = [
        ("#", &[0, 1, 2, 3, 4, 5, 6]),
        ("a.#", &[0, 1, 2, 3]),
        ("a.*", &[1]),
        ("a.*.c", &[2]),
        ("a.#.c", &[2, 3]),
        ("#.c", &[2, 3, 6]),
        ("*", &[0, 6]),
        ("chat.irc.#rust%2Edev.chat", &[4]),
        ("chat.irc.*.*", &[4, 5]),
        ("*.irc.#rust.#", &[5]),
    ];
    let mut consumers = Vec::new();
    for (i, (pattern, _)) in expected.iter().enumerate() {
        let queue = broker.topology().worker(&format!("g{i}"), patterns(&[pattern, "the.end"]));
        consumers.push(consume(broker, queue, 100).await);
    }
    for (n, key) in keys.iter().enumerate() {
        publish(broker, event(key, n)).await;
    }
    publish(broker, event("the.end", 99)).await;
    for (mut consumer, (pattern, expected)) in consumers.into_iter().zip(expected) {
        let mut expected = expected.to_vec();
        expected.push(99);
        assert_eq!(numbers(&mut consumer, expected.len()).await, expected, "{pattern}");
    }
}

pub async fn workers_of_a_group_share_its_events(broker: &dyn Broker) {
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let mut one = consume(broker, queue.clone(), 10).await;
    let mut other = consume(broker, queue, 10).await;
    publish_all(broker, "a.b", 0..100).await;
    let (mut seen, mut by_one) = (BTreeSet::new(), 0);
    while seen.len() < 100 {
        let delivery = tokio::select! {
            delivery = next(&mut one) => { by_one += 1; delivery }
            delivery = next(&mut other) => delivery,
        };
        assert!(seen.insert(number(&delivery)), "twice: {delivery:?}");
        delivery.acknowledge();
    }
    assert!(0 < by_one && by_one < 100, "one of them got {by_one} of 100");
}

pub async fn each_group_gets_a_copy(broker: &dyn Broker) {
    let mut main = consume(broker, broker.topology().worker("main", patterns(&["a.b"])), 10).await;
    let mut archive = consume(broker, broker.topology().worker("archive", patterns(&["#"])), 10).await;
    publish_all(broker, "a.b", 0..5).await;
    assert_eq!(numbers(&mut main, 5).await, [0, 1, 2, 3, 4]);
    assert_eq!(numbers(&mut archive, 5).await, [0, 1, 2, 3, 4]);
}

pub async fn a_queue_with_several_matching_patterns_gets_one_copy(broker: &dyn Broker) {
    let queue = broker.topology().worker("main", patterns(&["a.b", "a.*", "#", "#.b"]));
    let mut consumer = consume(broker, queue, 10).await;
    publish_all(broker, "a.b", 0..3).await;
    assert_eq!(numbers(&mut consumer, 3).await, [0, 1, 2]);
    nothing(&mut consumer).await;
}

pub async fn what_is_acknowledged_never_comes_again(broker: &dyn Broker) {
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let mut consumer = consume(broker, queue.clone(), 10).await;
    publish_all(broker, "a.b", 0..20).await;
    assert_eq!(numbers(&mut consumer, 20).await.len(), 20);
    drop(consumer);
    let mut again = consume(broker, queue, 10).await;
    publish_all(broker, "a.b", 20..21).await;
    assert_eq!(numbers(&mut again, 1).await, [20]);
}

pub async fn what_is_given_back_or_dropped_comes_again_and_is_counted(broker: &dyn Broker) {
    let mut consumer = consume(broker, broker.topology().worker("main", patterns(&["a.b"])), 10).await;
    publish(broker, event("a.b", 7)).await;
    let first = next(&mut consumer).await;
    assert_eq!((number(&first), first.attempts), (7, 0));
    first.requeue();
    let second = next(&mut consumer).await;
    assert_eq!((number(&second), second.attempts), (7, 1));
    drop(second);
    let third = next(&mut consumer).await;
    assert_eq!((number(&third), third.attempts), (7, 2));
    third.acknowledge();
    nothing(&mut consumer).await;
}

pub async fn no_more_than_the_prefetch_is_unsettled(broker: &dyn Broker) {
    let mut consumer = consume(broker, broker.topology().worker("main", patterns(&["a.b"])), 2).await;
    publish_all(broker, "a.b", 0..5).await;
    let (first, _second) = (next(&mut consumer).await, next(&mut consumer).await);
    nothing(&mut consumer).await;
    first.acknowledge();
    assert_eq!(number(&next(&mut consumer).await), 2);
}

pub async fn one_consumer_sees_the_order_also_after_giving_back(broker: &dyn Broker) {
    let mut consumer = consume(broker, broker.topology().worker("main", patterns(&["a.b"])), 3).await;
    publish_all(broker, "a.b", 0..6).await;
    let zero = next(&mut consumer).await;
    let one = next(&mut consumer).await;
    let two = next(&mut consumer).await;
    assert_eq!([number(&zero), number(&one), number(&two)], [0, 1, 2]);
    one.requeue();
    let one = next(&mut consumer).await;
    assert_eq!(number(&one), 1);
    for delivery in [zero, one, two] {
        delivery.acknowledge();
    }
    assert_eq!(numbers(&mut consumer, 3).await, [3, 4, 5]);
}

pub async fn acknowledging_in_any_order_acknowledges_exactly_that(broker: &dyn Broker) {
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let mut consumer = consume(broker, queue.clone(), 100).await;
    publish_all(broker, "a.b", 0..100).await;
    let mut deliveries = Vec::new();
    for _ in 0..100 {
        deliveries.push(next(&mut consumer).await);
    }
    drop(consumer);
    // the last first; every tenth is given back
    for delivery in deliveries.into_iter().rev() {
        if number(&delivery) % 10 == 3 { delivery.requeue() } else { delivery.acknowledge() }
    }
    let mut again = consume(broker, queue, 100).await;
    let mut left = numbers(&mut again, 10).await;
    left.sort_unstable();
    assert_eq!(left, (0..100).filter(|n| n % 10 == 3).collect::<Vec<_>>());
    nothing(&mut again).await;
}

pub async fn what_is_buried_is_in_the_queue_of_dead_letters(broker: &dyn Broker) {
    let mut consumer = consume(broker, broker.topology().worker("main", patterns(&["a.b"])), 10).await;
    let mut dead = consume(broker, broker.topology().dead(), 10).await;
    let message = event("a.b", 1);
    publish(broker, message.clone()).await;
    next(&mut consumer).await.bury();
    let mut buried = next(&mut dead).await;
    // left out, it may be filled in; and the broker may add how it came here
    buried.properties.published_at = None;
    buried.properties.headers.retain(|name, _| !name.starts_with("x-"));
    assert_eq!((&*buried.key, &buried.properties, &buried.body), ("a.b", &message.properties, &message.body));
    buried.acknowledge();
    nothing(&mut consumer).await;
    nothing(&mut dead).await;
}

pub async fn a_reply_queue_has_one_active_consumer_at_a_time(broker: &dyn Broker) {
    let queue = broker.topology().replies("irc", "n");
    let mut active = consume(broker, queue.clone(), 10).await;
    let mut standby = consume(broker, queue.clone(), 10).await;
    for n in 0..10 {
        publish(broker, to(&queue.name, n)).await;
    }
    assert_eq!(numbers(&mut active, 5).await, [0, 1, 2, 3, 4]);
    nothing(&mut standby).await;
    let held = next(&mut active).await;
    assert_eq!(&*held.key, queue.name.as_str());
    drop(active);
    held.requeue();
    let mut taken_over = numbers(&mut standby, 5).await;
    taken_over.sort_unstable();
    assert_eq!(taken_over, [5, 6, 7, 8, 9]);
}

pub async fn a_reply_to_nobody_is_unroutable_and_only_that_one(broker: &dyn Broker) {
    let queue = broker.topology().replies("irc", "n");
    let _consumer = consume(broker, queue.clone(), 10).await;
    let nobody = broker.topology().replies_name("irc", "nowhere");
    let mut confirms = Vec::new();
    for n in 0..1_000 {
        let name = if n == 500 { &nobody } else { &queue.name };
        confirms.push(broker.publish(to(name, n)).await);
    }
    for (n, confirm) in confirms.into_iter().enumerate() {
        match confirm.await {
            Ok(()) => assert_ne!(n, 500),
            Err(Error::Unroutable(name)) => assert_eq!((n, &name), (500, &nobody)),
            Err(why) => panic!("{n}: {why}"),
        }
    }
}

pub async fn an_event_for_nobody_is_fine_unless_it_is_mandatory(broker: &dyn Broker) {
    publish(broker, event("a.b", 0)).await;
    let unroutable = broker.publish(event("a.b", 1).mandatory()).await.await;
    assert!(matches!(&unroutable, Err(Error::Unroutable(key)) if key == "a.b"), "{unroutable:?}");
    let _consumer = consume(broker, broker.topology().worker("main", patterns(&["a.b"])), 10).await;
    publish(broker, event("a.b", 2).mandatory()).await;
    // a name that no broker takes
    let long = "x".repeat(300);
    let unroutable = broker.publish(to(&long, 3)).await.await;
    assert!(matches!(&unroutable, Err(Error::Unroutable(name)) if *name == long), "{unroutable:?}");
}

pub async fn a_thousand_pipelined_events_are_confirmed_and_keep_their_order(broker: &dyn Broker) {
    let mut consumer = consume(broker, broker.topology().worker("main", patterns(&["a.b"])), 100).await;
    publish_all(broker, "a.b", 0..1_000).await;
    assert_eq!(numbers(&mut consumer, 1_000).await, (0..1_000).collect::<Vec<_>>());
}

pub async fn a_tail_goes_away_with_its_consumer(broker: &dyn Broker) {
    let mut tail = consume(broker, broker.topology().tail(patterns(&["a.*"])), 10).await;
    publish(broker, event("a.b", 1).mandatory()).await;
    assert_eq!(numbers(&mut tail, 1).await, [1]);
    drop(tail);
    let begin = Instant::now();
    while broker.publish(event("a.b", 2).mandatory()).await.await.is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it is still there");
        tokio::time::sleep(A_WHILE / 10).await;
    }
}

pub async fn properties_and_any_body_survive(broker: &dyn Broker) {
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let mut consumer = consume(broker, queue.clone(), 10).await;
    let text = |text: &str| Some(text.to_owned());
    let full = Properties {
        message_id: text("an id that is no UUID"),
        kind: text("a.b"),
        correlation_id: text("another"),
        reply_to: text("some.queue"),
        app_id: text("ünïcode"),
        published_at: Some(protocol::Timestamp::from_millis(1_600_000_000_000)),
        headers: [
            ("x-number".to_owned(), Argument::Number(-7)),
            ("x-word".to_owned(), Argument::from("ünïcode")),
            ("x-flag".to_owned(), Argument::Flag(true)),
        ]
        .into(),
    };
    let bodies =
        [Bytes::from_static(b"{}"), Bytes::new(), Bytes::from_static(b"\0\xff\n{"), vec![b'x'; 300_000].into()];
    for properties in [full, Properties::default()] {
        for body in &bodies {
            let to = Address::Topic(RoutingKey::parse("a.b").unwrap());
            publish(broker, Message { to, mandatory: false, properties: properties.clone(), body: body.clone() }).await;
            let mut delivery = next(&mut consumer).await;
            // left out, it may be filled in
            delivery.properties.published_at = properties.published_at.and(delivery.properties.published_at);
            assert_eq!((&*delivery.key, &delivery.properties), ("a.b", &properties));
            assert!(delivery.body == *body, "{} bytes became {}", body.len(), delivery.body.len());
            delivery.acknowledge();
        }
    }
}

pub async fn a_queue_can_not_be_declared_with_other_arguments(broker: &dyn Broker) {
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let mut consumer = consume(broker, queue.clone(), 10).await;
    let mut other = queue.clone();
    other.arguments.retain(|(name, _)| *name != "x-max-length-bytes");
    other.arguments.push(("x-max-length-bytes", 1_000.into()));
    let declared = broker.declare(other.clone()).await;
    let Err(Error::OtherArguments { queue: name, argument, asked, found }) = declared else { panic!("{declared:?}") };
    let expected = [&*queue.name, "x-max-length-bytes", "1000", "268435456"];
    assert_eq!([&*name, &*argument, &*asked, &*found], expected);
    let consumed = broker.consume(other, 1).await;
    assert!(matches!(consumed, Err(Error::OtherArguments { .. })));
    // one more, and one less
    let mut more = queue.clone();
    more.arguments.push(("x-max-length", 7.into()));
    let declared = broker.declare(more).await;
    assert!(
        matches!(&declared, Err(Error::OtherArguments { argument, asked, found, .. })
        if [&**argument, &**asked, &**found] == ["x-max-length", "7", "absent"]),
        "{declared:?}"
    );
    let mut less = queue.clone();
    less.arguments.retain(|(name, _)| *name != "x-expires");
    let declared = broker.declare(less).await;
    assert!(
        matches!(&declared, Err(Error::OtherArguments { argument, asked, .. })
        if [&**argument, &**asked] == ["x-expires", "absent"]),
        "{declared:?}"
    );
    // nobody else is disturbed
    broker.declare(queue).await.unwrap();
    publish(broker, event("a.b", 1)).await;
    assert_eq!(numbers(&mut consumer, 1).await, [1]);
}

pub async fn a_declared_queue_keeps_events_until_somebody_consumes(broker: &dyn Broker) {
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    broker.declare(queue.clone()).await.unwrap();
    publish_all(broker, "a.b", 0..10).await;
    let mut consumer = consume(broker, queue, 3).await;
    assert_eq!(numbers(&mut consumer, 10).await, (0..10).collect::<Vec<_>>());
}

pub async fn a_dropped_consumer_gives_back_what_nobody_saw_and_still_settles_the_rest(broker: &dyn Broker) {
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let mut first = consume(broker, queue.clone(), 10).await;
    publish_all(broker, "a.b", 0..10).await;
    let (zero, one) = (next(&mut first).await, next(&mut first).await);
    drop(first);
    let mut second = consume(broker, queue, 10).await;
    let mut unseen = numbers(&mut second, 8).await;
    unseen.sort_unstable();
    assert_eq!(unseen, (2..10).collect::<Vec<_>>());
    zero.acknowledge();
    one.requeue();
    assert_eq!(numbers(&mut second, 1).await, [1]);
    nothing(&mut second).await;
}

pub async fn a_consumer_that_is_dropped_while_events_pour_in_loses_none(broker: &dyn Broker) {
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    broker.declare(queue.clone()).await.unwrap();
    for round in 0..20 {
        publish_all(broker, "a.b", 0..200).await;
        let mut hasty = consume(broker, queue.clone(), 200).await;
        for _ in 0..=round % 5 {
            drop(next(&mut hasty).await);
        }
        drop(hasty);
        let mut patient = consume(broker, queue.clone(), 200).await;
        let mut all = numbers(&mut patient, 200).await;
        all.sort_unstable();
        assert_eq!(all, (0..200).collect::<Vec<_>>());
    }
}

pub async fn closing_ends_the_consumers(broker: &dyn Broker) {
    let mut consumer = consume(broker, broker.topology().worker("main", patterns(&["a.b"])), 10).await;
    broker.close().await;
    assert!(timeout(PATIENCE, consumer.next()).await.unwrap().is_none());
}

pub async fn a_lock_has_one_holder_at_a_time(broker: &dyn Broker) {
    let first = lock(broker, "n").await;
    let elsewhere = lock(broker, "another").await;
    let mut second = broker.lock("n");
    for _ in 0..10 {
        assert!(timeout(A_WHILE, &mut second).await.is_err(), "two have it");
        assert!(first.holds());
    }
    let lease = first.lease();
    drop(first);
    let second = timeout(PATIENCE, second).await.unwrap().unwrap();
    assert!(second.holds() && elsewhere.holds());
    assert!(!lease.holds());
    assert!(timeout(A_WHILE, second.lost()).await.is_err());
}

pub async fn whoever_stops_waiting_for_a_lock_leaves_it_free(broker: &dyn Broker) {
    for after in [0, 0, 1, 3, 10, 30] {
        // given up while it is asked for, or just granted
        drop(timeout(Duration::from_millis(after), broker.lock("n")).await);
    }
    let first = lock(broker, "n").await;
    assert!(timeout(A_WHILE, broker.lock("n")).await.is_err());
    drop(first);
    assert!(lock(broker, "n").await.holds());
}

pub async fn the_depth_of_a_queue_is_what_waits_in_it(broker: &dyn Broker) {
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    assert_eq!(broker.depth(&queue.name).await.unwrap(), None);
    broker.declare(queue.clone()).await.unwrap();
    assert_eq!(broker.depth(&queue.name).await.unwrap(), Some(0));
    publish_all(broker, "a.b", 0..10).await;
    depth_becomes(broker, &queue.name, 10).await;
    let mut consumer = consume(broker, queue.clone(), 3).await;
    // those that are being worked on don't count
    depth_becomes(broker, &queue.name, 7).await;
    assert_eq!(numbers(&mut consumer, 10).await.len(), 10);
    depth_becomes(broker, &queue.name, 0).await;
    // a question about a queue that is not there disturbs nobody
    assert_eq!(broker.depth(&"x".repeat(300)).await.unwrap(), None);
    publish_all(broker, "a.b", 10..11).await;
    assert_eq!(numbers(&mut consumer, 1).await, [10]);
}

async fn depth_becomes(broker: &dyn Broker, queue: &str, expected: u64) {
    let begin = Instant::now();
    loop {
        let depth = broker.depth(queue).await.unwrap();
        if depth == Some(expected) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{depth:?} instead of {expected}");
        tokio::time::sleep(A_WHILE / 10).await;
    }
}

pub async fn a_stream_is_read_from_its_beginning_to_its_end_by_anybody(broker: &dyn Broker) {
    let stream = broker.topology().said("irc", "n");
    let begin = Instant::now();
    assert!(broker.read_stream(stream.clone()).await.unwrap().is_empty());
    assert!(begin.elapsed() < PATIENCE / 3, "after {:?}", begin.elapsed());
    let mut expected = Vec::new();
    for round in 0..3 {
        let mut confirms = Vec::new();
        for n in round * 1_000..(round + 1) * 1_000 {
            expected.push(to(&stream.name, n).body);
            confirms.push(broker.publish(to(&stream.name, n)).await);
        }
        for confirm in confirms {
            confirm.await.unwrap();
        }
        // two at a time, and again what was read before
        let (one, other) = tokio::join!(broker.read_stream(stream.clone()), broker.read_stream(stream.clone()));
        assert!(one.unwrap() == expected && other.unwrap() == expected);
    }
}

pub async fn of_a_long_stream_the_last_messages_are_read(broker: &dyn Broker) {
    let stream = broker.topology().said("irc", "n");
    broker.declare(stream.clone()).await.unwrap();
    let count = STREAM_MESSAGES + STREAM_MESSAGES / 2;
    let mut confirms = Vec::new();
    for n in 0..count {
        confirms.push(broker.publish(to(&stream.name, n)).await);
    }
    for confirm in confirms {
        confirm.await.unwrap();
    }
    let read = broker.read_stream(stream.clone()).await.unwrap();
    // counted from the last chunk that was written, which is one of some hundred at most
    let about = STREAM_MESSAGES - 100..count - 1_000;
    assert!(about.contains(&read.len()), "{}", read.len());
    assert!(read.iter().zip(count - read.len()..).all(|(body, n)| *body == to(&stream.name, n).body));
}

pub async fn a_delivery_tells_its_queue_and_the_key_that_its_header_has(broker: &dyn Broker) {
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let mut consumer = consume(broker, queue.clone(), 10).await;
    publish(broker, event("a.b", 1)).await;
    let mut retried = to(&queue.name, 2);
    retried.properties.headers.insert("key".to_owned(), Argument::from("a.b"));
    publish(broker, retried).await;
    for n in 1..=2 {
        let delivery = next(&mut consumer).await;
        assert_eq!((number(&delivery), &*delivery.queue, &*delivery.key), (n, queue.name.as_str(), "a.b"));
        delivery.acknowledge();
    }
}

pub async fn what_is_to_come_later_comes_on_time_to_its_queue_and_nowhere_else(broker: &dyn Broker) {
    for delay in Delay::ALL {
        broker.declare(broker.topology().retry(delay)).await.unwrap();
    }
    let queue = broker.topology().worker("main", patterns(&["a.b"]));
    let mut consumer = consume(broker, queue.clone(), 10).await;
    let mut other = consume(broker, broker.topology().worker("other", patterns(&["#"])), 10).await;
    let mut message = event("a.b", 7);
    message.to = Address::Later { queue: queue.name.clone(), after: Delay::OneSecond };
    message.properties.published_at = Some(protocol::Timestamp::from_millis(1_600_000_000_000));
    message.properties.reply_to = Some("some.queue".to_owned());
    let headers = &mut message.properties.headers;
    headers.insert("key".to_owned(), Argument::from("a.b"));
    headers.insert("handler".to_owned(), Argument::from("main/weather/forecast"));
    headers.insert("attempts".to_owned(), Argument::Number(1));
    // a message goes this way several times
    for round in 1..=2 {
        message.properties.headers.insert("attempts".to_owned(), Argument::Number(round));
        let begin = Instant::now();
        publish(broker, message.clone()).await;
        let delivery = next(&mut consumer).await;
        let after = begin.elapsed();
        // RabbitMQ counts in whole milliseconds from the moment at which it has the message
        let (soonest, latest) = (Duration::from_millis(990), PATIENCE / 2);
        assert!(soonest <= after && after < latest, "after {after:?}");
        assert_eq!((&*delivery.key, &*delivery.queue, delivery.attempts), ("a.b", queue.name.as_str(), 0));
        assert_eq!(delivery.body, message.body);
        let (mut came, went) = (delivery.properties.clone(), &message.properties);
        // the broker may add how it came here
        came.headers.retain(|name, _| went.headers.contains_key(name));
        assert_eq!(&came, went);
        delivery.acknowledge();
    }
    nothing(&mut consumer).await;
    nothing(&mut other).await;
}

pub async fn what_is_to_come_later_to_nobody_is_gone_and_disturbs_nobody(broker: &dyn Broker) {
    broker.declare(broker.topology().retry(Delay::OneSecond)).await.unwrap();
    let mut consumer = consume(broker, broker.topology().worker("main", patterns(&["a.b"])), 10).await;
    let nobody = Address::Later { queue: "nobody's".to_owned(), after: Delay::OneSecond };
    publish(broker, Message { to: nobody, ..event("a.b", 1) }).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    publish(broker, event("a.b", 2)).await;
    assert_eq!(numbers(&mut consumer, 1).await, [2]);
}

async fn lock(broker: &dyn Broker, name: &str) -> Lock {
    timeout(PATIENCE, broker.lock(name)).await.expect("a lock within 30 s").unwrap()
}

/// A message for the queue of this name.
fn to(queue: &str, n: usize) -> Message {
    Message { to: Address::Queue(queue.to_owned()), ..event("reply", n) }
}

pub async fn who_stops_waiting_for_a_consumer_leaves_none_behind(broker: &dyn Broker) {
    let queue = broker.topology().replies("irc", "n");
    broker.declare(queue.clone()).await.unwrap();
    let to_queue = || Message { to: Address::Queue(queue.name.clone()), ..event("a.b", 1) };
    for patience in [1, 3, 5, 8, 12, 20] {
        drop(timeout(std::time::Duration::from_millis(patience), broker.consume(queue.clone(), 1)).await);
        publish(broker, to_queue()).await;
        let mut consumer = consume(broker, queue.clone(), 1).await;
        next(&mut consumer).await.acknowledge();
    }
}
