//! Runs handlers, within their time. What runs in a lane is one task on the handlers' threads; a watch elsewhere takes
//! the work away from one that doesn't return, and goes on with it.

use std::any::Any;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use crate::brief::brief;
use crate::context::Matched;
use crate::error::Failure;
use crate::executor::{Loss, SPARE_THREADS};
use crate::lanes::{Lane, Seat, TakenOver};
use crate::matcher::Hit;
use crate::publish::{self, Origin, PUBLISH_WITHIN};
use crate::runner::{Ready, Runner, Work};
use crate::{Context, Error, Reply};

/// How often the watch looks for handlers that don't return.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How much later than its limit a handler is abandoned: one that can be cancelled has been by then.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

impl Runner {
    /// Works in a lane until nothing waits there.
    pub(crate) async fn drive(self: Arc<Self>, lane: Lane, seat: Arc<Seat<Box<Work>>>, first: Box<Work>) {
        let mut next = Some(first);
        while let Some(work) = next {
            let Some(work) = self.handle(&seat, work).await else { return };
            self.finish(work);
            next = self.lanes.next(lane);
        }
    }

    /// Runs the handlers that an event still has, and publishes what they say. `None`: somebody else goes on with it.
    async fn handle(&self, seat: &Seat<Box<Work>>, mut work: Box<Work>) -> Option<Box<Work>> {
        while let Some(Hit { handler: index, matched }) = work.hits.next() {
            let handler = &self.handlers[index];
            let context = self.context(handler, &work, matched);
            work.running = index;
            seat.put(work, Instant::now() + handler.timeout + GRACE);
            let returned = replies(run(seat, handler.timeout, (handler.handler)(context)).await);
            work = seat.take()?;
            let said = match returned {
                Ok(replies) => self.say(&mut work, index, replies).await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = said {
                work.failures.push((index, failure));
            }
        }
        Some(work)
    }

    fn context(&self, handler: &Ready, work: &Work, matched: Matched) -> Context {
        Context {
            event: work.event.clone(),
            chat: work.chat.clone(),
            matched,
            states: handler.states.clone(),
            catalogue: self.catalogue.clone(),
            #[cfg(feature = "store")]
            database: self.database.clone(),
        }
    }

    /// Publishes what a handler says; the confirms are awaited when the event is settled.
    async fn say(&self, work: &mut Work, index: usize, replies: Vec<Reply>) -> Result<(), Failure> {
        let Work { delivery, event, chat, confirms, .. } = work;
        let reply_to = delivery.properties.reply_to.as_deref();
        let origin = Origin { event, chat: chat.as_deref(), reply_to, handler: &self.handlers[index].name };
        for (ordinal, reply) in brief(replies).into_iter().enumerate() {
            let publishing = publish::publish(&*self.broker, &self.networks, &origin, ordinal, reply);
            let too_long = bus::Error::TimedOut { what: "take a reply", after: PUBLISH_WITHIN };
            let confirm = timeout(PUBLISH_WITHIN, publishing).await.unwrap_or(Err(Failure::Unsent(too_long)))?;
            confirms.push((index, confirm));
        }
        Ok(())
    }

    /// Looks for handlers that don't return, as long as anything runs.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            self.lanes.busy().await;
            sleep(LOOK_EVERY).await;
            self.executor.nudge();
            self.lanes.take_over(Instant::now()).into_iter().for_each(|taken| self.go_on(taken));
        }
    }

    /// Goes on with an event whose handler did not return.
    fn go_on(self: &Arc<Self>, TakenOver { lane, mut work, lost }: TakenOver<Box<Work>>) {
        let Ready { name, timeout, .. } = &self.handlers[work.running];
        let failure = match lost {
            Some(threads) => {
                let loss = self.executor.lose(&threads);
                tracing::error!(handler = name, event = %work.event.id, "a handler blocks its thread for longer than {timeout:?}: it is abandoned");
                self.tell(&loss);
                Failure::Blocked(*timeout)
            }
            None => Failure::TimedOut(*timeout),
        };
        work.failures.push((work.running, failure));
        let seat = self.lanes.new_seat(lane, self.executor.threads());
        self.executor.spawn(self.clone().drive(lane, seat, work));
    }

    pub(crate) fn tell(&self, loss: &Loss) {
        match loss {
            Loss::Bearable(lost) => {
                tracing::warn!(lost, "threads are blocked by handlers; {SPARE_THREADS} are too many")
            }
            Loss::Replaced => tracing::error!("{SPARE_THREADS} threads are blocked by handlers: handlers get new ones"),
            Loss::TooMany => {
                tracing::error!("{SPARE_THREADS} threads are blocked by handlers: the worker ends");
                self.worn_out.cancel();
            }
        }
    }
}

/// Runs a handler to its end, or to that of its time.
pub(crate) async fn run<W, T>(
    seat: &Seat<W>,
    limit: Duration,
    handler: impl Future<Output = T> + Unpin,
) -> Result<T, Failure> {
    let mut running = AssertUnwindSafe(handler).catch_unwind();
    let polled = poll_fn(|cx| {
        if seat.is_abandoned() {
            return Poll::Ready(None);
        }
        seat.set_inside(true);
        let polled = running.poll_unpin(cx);
        seat.set_inside(false);
        polled.map(Some)
    });
    match timeout(limit, polled).await {
        Ok(Some(Ok(returned))) => Ok(returned),
        Ok(Some(Err(panic))) => Err(Failure::Panic(panic_text(&*panic))),
        Ok(None) | Err(_) => Err(Failure::TimedOut(limit)),
    }
}

/// What a handler says by what it returned.
fn replies(returned: Result<Result<Vec<Reply>, Error>, Failure>) -> Result<Vec<Reply>, Failure> {
    match returned? {
        Ok(replies) => Ok(replies),
        Err(Error::Tell(text)) => Ok(vec![Reply::text(text)]),
        Err(Error::NotForMe) => Ok(Vec::new()),
        Err(Error::Failed(why)) => Err(Failure::Handler(why)),
        Err(Error::GaveUp(why)) => Err(Failure::GaveUp(why)),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
