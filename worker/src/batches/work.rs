//! Takes events in batches from a queue, one batch at a time, and acknowledges a batch when its handler has done it. While
//! the handler fails, the events wait in their queue, and one of them in our hand, with which it is tried again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bus::Consumer;
use tokio::sync::RwLockReadGuard;
use tokio::time::Instant;

use super::{Item, Taker, is_waited_for};
use crate::batch::LARGEST_BATCH;
use crate::error::Failure;
use crate::runner::Runner;

/// One batch is worked on, the next is at hand.
const PREFETCH: u16 = 2 * LARGEST_BATCH as u16;
/// At first, and while the handler fails: what is in nobody's hand is not counted as delivered in vain.
pub(crate) const ONE_EVENT: u16 = 1;

/// The first pause after a failure is at most this, and each further one twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long one event is held while its handler fails; RabbitMQ wants it settled within 30 min, and a try may take 15.
const HELD_FOR: Duration = Duration::from_secs(10 * 60);

/// Who takes events for a handler of batches.
pub(super) struct Work {
    runner: Arc<Runner>,
    taker: usize,
    /// `None`: to be consumed anew.
    events: Option<Consumer>,
    /// One event at a time: nobody knows yet whether the handler works, and what its events do to us.
    careful: bool,
    pause: Duration,
    /// Since when the handler fails, and how often it was tried since.
    failing: Option<(Instant, u32)>,
}

impl Runner {
    /// Takes events for the handler of batches at this place, until the worker stops.
    pub(crate) async fn take_batches(self: Arc<Self>, taker: usize, events: Consumer) {
        let work = Work { runner: self, taker, events: Some(events), careful: true, pause: FIRST_PAUSE, failing: None };
        work.run().await;
    }
}

impl Work {
    async fn run(mut self) {
        while let Some(items) = self.gather().await {
            self.work_on(items).await;
            if self.runner.stopping.is_cancelled() {
                return;
            }
        }
    }

    fn taker(&self) -> &Taker {
        &self.runner.takers[self.taker]
    }

    /// What is at hand; `None` when the worker stops.
    async fn gather(&mut self) -> Option<VecDeque<Item>> {
        if self.events.is_none() {
            self.events = Some(self.consume().await?);
        }
        let (limit, mut deliveries) = (if self.careful { 1 } else { LARGEST_BATCH }, Vec::new());
        let events = self.events.as_mut()?;
        let taken = self.runner.stopping.run_until_cancelled(events.next_many(&mut deliveries, limit)).await?;
        let sort = |delivery| self.runner.sort(self.taker(), delivery, false);
        (taken > 0).then(|| deliveries.into_iter().filter_map(sort).collect())
    }

    /// Consumes from the queue, as soon as the broker lets us; `None` when the worker stops.
    async fn consume(&mut self) -> Option<Consumer> {
        let prefetch = if self.careful { ONE_EVENT } else { PREFETCH };
        loop {
            let (topology, taker) = (self.runner.broker.topology(), self.taker());
            let queue = topology.worker(&taker.group, vec![taker.pattern.clone()]);
            let consuming = self.runner.broker.consume(queue, prefetch);
            match self.runner.stopping.run_until_cancelled(consuming).await? {
                Ok(events) => return Some(events),
                Err(bus::Error::Closed) => return None,
                Err(why) => {
                    let group = &self.taker().group;
                    tracing::warn!(group, %why, "the queue of a handler of batches can't be consumed");
                    self.sleep().await?;
                }
            }
        }
    }

    /// Works on what was taken, until nothing of it is left.
    async fn work_on(&mut self, mut items: VecDeque<Item>) {
        let began = Instant::now();
        while let Some(mut part) = first_part(&mut items) {
            let failure = match self.run_part(&mut part).await {
                Ok(()) => {
                    self.works(&part);
                    part.into_iter().for_each(|item| item.delivery.acknowledge());
                    continue;
                }
                Err(failure) => failure,
            };
            if is_waited_for(&failure) {
                self.fails(&failure);
                if !self.careful {
                    // given back, one after the other: part, items, and what lies behind them
                    self.careful = true;
                    self.events = None;
                    drop((part, items));
                    self.sleep().await;
                    return;
                }
                if self.sleep().await.is_none() {
                    return;
                }
                if began.elapsed() >= HELD_FOR {
                    return self.to_the_end(part).await;
                }
            } else if part.len() == 1 {
                self.send_on(part, &failure).await;
                continue;
            }
            part.iter_mut().for_each(|item| item.alone = true);
            part.into_iter().rev().for_each(|item| items.push_front(item));
            if self.runner.stopping.is_cancelled() {
                return;
            }
        }
    }

    /// Runs the handler. A worker that stops meanwhile gives back what lies behind, at once.
    async fn run_part(&mut self, part: &mut [Item]) -> Result<(), Failure> {
        let (runner, taker) = (self.runner.clone(), self.taker);
        let running = async {
            let _nothing_is_tried_alone: RwLockReadGuard<'_, ()> = runner.batching.read().await;
            runner.run_batch(&runner.takers[taker], part).await
        };
        tokio::pin!(running);
        if let Some(result) = self.runner.stopping.run_until_cancelled(&mut running).await {
            return result;
        }
        self.events = None;
        running.await
    }

    /// The handler has done a part of what was taken.
    fn works(&mut self, part: &[Item]) {
        self.pause = FIRST_PAUSE;
        if let Some((since, tries)) = self.failing.take() {
            let seconds = since.elapsed().as_secs();
            let handler = &self.taker().name;
            tracing::info!(
                handler,
                seconds,
                tries,
                "a handler of batches works again: what waited for it is worked on"
            );
        }
        if self.careful && !part.iter().any(|item| self.runner.is_suspicious(&item.delivery)) {
            self.careful = false;
            self.events = None;
        }
    }

    /// The handler fails: that is told once.
    fn fails(&mut self, failure: &Failure) {
        match &mut self.failing {
            Some((_, tries)) => *tries = tries.saturating_add(1),
            None => {
                self.failing = Some((Instant::now(), 1));
                let handler = &self.taker().name;
                tracing::error!(
                    handler,
                    why = %failure,
                    "a handler of batches fails: its events wait in their queue, and it is tried every 30 s or sooner"
                );
            }
        }
    }

    /// Waits before the next try; `None` when the worker stops.
    async fn sleep(&mut self) -> Option<()> {
        let most = self.pause;
        self.pause = (most * 2).min(LONGEST_PAUSE);
        let micros = u64::try_from(most.as_micros() / 2).unwrap_or(u64::MAX).max(1);
        let pause = most / 2 + Duration::from_micros(self.runner.ambient.random() % micros);
        self.runner.stopping.run_until_cancelled(self.taker().waits.pause(pause)).await
    }

    /// Nothing is wrong with the handler's world: an event of which it says that it can't be, or that makes it panic.
    async fn send_on(&self, part: Vec<Item>, failure: &Failure) {
        for item in part {
            self.runner.send_on_alone(item.delivery, &self.taker().name, failure).await;
        }
    }

    /// Held too long, an event goes to the end of its queue, as if it had just come.
    async fn to_the_end(&self, part: Vec<Item>) {
        let queue = self.taker().queue(self.runner.broker.topology());
        for item in part {
            self.runner.move_to(item.delivery, &queue).await;
        }
    }
}

/// What is to be run next: up to where something is to be run alone.
fn first_part(items: &mut VecDeque<Item>) -> Option<Vec<Item>> {
    let together = items.iter().take_while(|item| !item.alone).count();
    let part: Vec<Item> = items.drain(..together.max(1).min(items.len())).collect();
    (!part.is_empty()).then_some(part)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use bus::{Broker, Embedded, Message, Topology};
    use protocol::{Ambient, RoutingKey, Timestamp};
    use serde_json::json;
    use tokio_util::sync::CancellationToken;
    use uuid::Uuid;

    use super::*;
    use crate::{Batch, Error, Plugin, State, Worker, event};

    /// The shortest pauses, by a clock that stands still.
    struct Least;

    impl Ambient for Least {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }
        fn random(&self) -> u64 {
            0
        }
    }

    /// When it ran, with how many events, and how often it fails; the event with the id 0 always fails.
    struct Runs {
        began: Instant,
        runs: Mutex<Vec<(Duration, usize)>>,
        stored: Mutex<Vec<u128>>,
        fails: usize,
    }

    async fn run(batch: Batch, runs: State<Arc<Runs>>) -> Result<(), Error> {
        let mut all = runs.runs.lock().unwrap();
        all.push((runs.began.elapsed(), batch.len()));
        let ids: Vec<u128> = batch.iter().map(|it| it.event.id.as_u128()).collect();
        if all.len() <= runs.fails || ids.contains(&0) {
            return Err(std::io::Error::other("no disk").into());
        }
        runs.stored.lock().unwrap().extend(ids);
        Ok(())
    }

    async fn start(fails: usize, ids: impl IntoIterator<Item = u128>) -> (Embedded, Arc<Runs>) {
        let broker = Embedded::new(Topology::default());
        let (runs, stored) = Default::default();
        let runs = Arc::new(Runs { began: Instant::now(), runs, stored, fails });
        let plugin = Plugin::new("p").state(runs.clone()).in_batches(event("a"), run);
        let worker = Worker::new("main").plugin(plugin).ambient(Arc::new(Least)).here();
        let attached = worker.attach(Arc::new(broker.clone())).await.unwrap();
        for id in ids {
            let event = protocol::Event::new(RoutingKey::parse("a").unwrap(), Uuid::from_u128(id), &json!({})).unwrap();
            broker.publish(Message::event(event, "test", None)).await.await.unwrap();
        }
        tokio::spawn(attached.work(CancellationToken::new()));
        (broker, runs)
    }

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_tried_with_one_event_after_1_s_2_s_up_to_30_s_and_tells_of_it_twice() {
        let log = Log::default();
        let writer = log.clone();
        let logs = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(logs);
        let (broker, runs) = start(9, 1..=100).await;
        broker.idle().await;
        // half of that at least, as chance has it
        let expected = [0, 500, 1_500, 3_500, 7_500, 15_500, 30_500, 45_500, 60_500, 75_500, 75_500];
        let runs = runs.runs.lock().unwrap();
        let at: Vec<u128> = runs.iter().map(|(at, _)| at.as_millis()).collect();
        assert_eq!(at, expected);
        assert_eq!(runs.iter().map(|(_, events)| *events).collect::<Vec<_>>(), [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 99]);
        let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
        let lines = |part| log.lines().filter(|line| line.contains(part)).count();
        assert_eq!((lines("batches fails: its events wait"), lines("works again")), (1, 1), "{log}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_fails_for_ever_holds_up_the_others_for_ten_minutes_at_a_time() {
        let (broker, runs) = start(0, 0..=1_500).await;
        let queue = broker.topology().worker("main-p", Vec::new()).name;
        while broker.held(&queue) > 1 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let (first, _) = runs.runs.lock().unwrap()[0];
        assert!(first < Duration::from_secs(1));
        assert!(runs.began.elapsed() < HELD_FOR + LONGEST_PAUSE, "{:?}", runs.began.elapsed());
        assert_eq!(*runs.stored.lock().unwrap(), (1..=1_500).collect::<Vec<_>>());
        tokio::time::sleep(2 * HELD_FOR).await;
        assert_eq!(broker.held(&queue), 1, "it waits");
        assert_eq!(broker.held(&broker.topology().dead().name), 0, "it is not buried");
    }
}
