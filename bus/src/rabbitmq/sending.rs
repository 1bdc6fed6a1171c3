//! What is under way on one channel: published, not yet confirmed.
//!
//! RabbitMQ confirms a message that reached no queue, too; before that it returns it. lapin hands the returned message
//! out with whichever confirm it completes next. So the confirms that are there are looked at together, and returned
//! messages are recognised by where they were going and by their id.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream};
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use protocol::Ambient;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::connection::short;
use super::link::Live;
use super::properties;
use crate::message::CONFIRM_WITHIN;
use crate::{Address, Error, Message, Topology};

/// Messages that are not yet confirmed, at most: enough to keep the broker busy, few enough to lose in memory.
pub(super) const UNCONFIRMED: usize = 1_000;

/// What RabbitMQ 4 takes unless told otherwise: 16 MiB. A larger message would close the channel.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// A message on its way, with whom to tell.
pub(super) struct Outgoing {
    pub(super) message: Message,
    /// Through this fanout exchange, whatever the message says, to whoever listens.
    pub(super) exchange: Option<String>,
    pub(super) waiting: Waiting,
}

/// Whoever waits for a confirm. Dropped, it makes room for another message.
pub(super) struct Waiting {
    answer: oneshot::Sender<Result<(), Error>>,
    _room: OwnedSemaphorePermit,
}

impl Waiting {
    pub(super) fn new(answer: oneshot::Sender<Result<(), Error>>, room: OwnedSemaphorePermit) -> Self {
        Waiting { answer, _room: room }
    }

    /// Nobody waits any more.
    pub(super) fn is_over(&self) -> bool {
        self.answer.is_closed()
    }

    fn tell(self, result: Result<(), Error>) {
        // whoever stopped waiting does not need to know
        self.answer.send(result).ok();
    }
}

/// A message's number, and what became of it.
pub(super) type Confirmed = (u64, lapin::Result<Confirmation>);
type Publishing = Pin<Box<dyn Future<Output = Confirmed> + Send>>;

/// What is published on one channel and not yet confirmed.
pub(super) struct Sending {
    live: Live,
    channel: Channel,
    topology: Topology,
    exchange: String,
    ambient: Arc<dyn Ambient>,
    publishing: FuturesUnordered<Publishing>,
    unconfirmed: HashMap<u64, Unconfirmed>,
    last_number: u64,
    /// When something was last confirmed, or nothing was to be.
    last_sign: Instant,
    /// By their marks: the mandatory messages that are unconfirmed.
    mandatory: HashMap<u64, Mandatory>,
    marks: RandomState,
}

struct Unconfirmed {
    to: Address,
    /// `None` when nobody waits any more.
    waiting: Option<Waiting>,
    mark: Option<u64>,
}

/// Messages with the same destination and id: all of them or none reach a queue.
#[derive(Default)]
struct Mandatory {
    unconfirmed: usize,
    returned: bool,
}

/// The channel is of no use any more.
pub(super) struct Broken;

impl Sending {
    pub(super) fn new(live: Live, channel: Channel, topology: &Topology, ambient: Arc<dyn Ambient>) -> Self {
        Sending {
            live,
            channel,
            exchange: topology.events_exchange(),
            topology: topology.clone(),
            ambient,
            publishing: FuturesUnordered::new(),
            unconfirmed: HashMap::new(),
            last_number: 0,
            last_sign: Instant::now(),
            mandatory: HashMap::new(),
            marks: RandomState::new(),
        }
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Everything is confirmed.
    pub(super) fn is_empty(&self) -> bool {
        self.unconfirmed.is_empty()
    }

    /// How many more messages may be sent now.
    pub(super) fn room(&self) -> usize {
        if self.live.connection.is_blocked() { 0 } else { UNCONFIRMED.saturating_sub(self.unconfirmed.len()) }
    }

    /// Puts a message on its way, unless nobody waits for it any more.
    pub(super) fn send(&mut self, outgoing: Outgoing) {
        let Outgoing { message, exchange, waiting } = outgoing;
        if waiting.is_over() {
            return;
        }
        match self.publishing(&message, exchange.as_deref()) {
            Ok(Prepared { mut publishing, mark }) => {
                let entry = Unconfirmed { to: message.to, waiting: Some(waiting), mark };
                self.unconfirmed.insert(self.last_number, entry);
                // the first poll queues the frames, here and now: this keeps the order
                match publishing.as_mut().now_or_never() {
                    Some(done) => self.publishing.push(Box::pin(std::future::ready(done))),
                    None => self.publishing.push(publishing),
                }
            }
            Err(why) => waiting.tell(Err(why)),
        }
    }

    fn publishing(&mut self, message: &Message, fanout: Option<&str>) -> Result<Prepared, Error> {
        let (exchange, key, mandatory) = match &message.to {
            _ if let Some(fanout) = fanout => (short(fanout)?, ShortString::default(), false),
            Address::Topic(key) => (short(&self.exchange)?, short(key.as_str())?, message.mandatory),
            Address::Queue(name) => (ShortString::default(), short(name)?, true),
            Address::Later { queue, after } => (short(&self.topology.retry(*after).name)?, short(queue)?, true),
        };
        if message.body.len() > MAX_BODY {
            let what = format!("a message for {}", message.destination());
            return Err(Error::TooLarge { what, bytes: message.body.len(), limit: MAX_BODY });
        }
        let properties = properties::amqp(&message.properties, self.ambient.now())?;
        let mark = mandatory.then(|| self.mark(exchange.as_str(), key.as_str(), properties.message_id().as_ref()));
        if let Some(mark) = mark {
            self.mandatory.entry(mark).or_default().unconfirmed += 1;
        }
        self.last_number += 1;
        let (number, channel, body) = (self.last_number, self.channel.clone(), message.body.clone());
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let publishing =
            Box::pin(async move { (number, publish(&channel, exchange, key, options, body, properties).await) });
        Ok(Prepared { publishing, mark })
    }

    /// A number for everything that is the same about a message when the broker returns it.
    fn mark(&self, exchange: &str, key: &str, id: Option<&ShortString>) -> u64 {
        self.marks.hash_one((exchange, key, id.map(ShortString::as_str)))
    }

    /// The confirms that are there; waits until there is one.
    pub(super) async fn confirmed(&mut self) -> Vec<Confirmed> {
        let publishing = &mut self.publishing;
        poll_fn(|cx| {
            let mut confirmed = Vec::new();
            while let Poll::Ready(Some(done)) = Pin::new(&mut *publishing).poll_next(cx) {
                confirmed.push(done);
            }
            if confirmed.is_empty() { Poll::Pending } else { Poll::Ready(confirmed) }
        })
        .await
    }

    /// Tells those who wait. Fails when the channel broke, after telling those whose messages were confirmed before.
    pub(super) fn settle(&mut self, confirmed: Vec<Confirmed>) -> Result<(), Broken> {
        let mut outcomes = Vec::with_capacity(confirmed.len());
        let mut broken = false;
        for (number, confirmation) in confirmed {
            let (taken, returned) = match confirmation {
                Ok(Confirmation::Ack(returned)) => (true, returned),
                Ok(Confirmation::Nack(returned)) => (false, returned),
                Ok(Confirmation::NotRequested) | Err(_) => {
                    broken = true;
                    continue;
                }
            };
            if let Some(returned) = returned {
                self.note_returned(&returned);
            }
            outcomes.push((number, taken));
        }
        self.last_sign = Instant::now();
        for (number, taken) in outcomes {
            self.settle_one(number, taken);
        }
        if broken { Err(Broken) } else { Ok(()) }
    }

    fn note_returned(&mut self, returned: &BasicReturnMessage) {
        let delivery = &returned.delivery;
        let id = delivery.properties.message_id().as_ref();
        let mark = self.mark(delivery.exchange.as_str(), delivery.routing_key.as_str(), id);
        if let Some(mandatory) = self.mandatory.get_mut(&mark) {
            mandatory.returned = true;
        }
    }

    fn settle_one(&mut self, number: u64, taken: bool) {
        let Some(Unconfirmed { to, waiting, mark, .. }) = self.unconfirmed.remove(&number) else { return };
        let returned = mark.is_some_and(|mark| self.forget_mark(mark));
        let Some(waiting) = waiting else { return };
        waiting.tell(match (taken, returned) {
            (_, true) => Err(Error::Unroutable(destination(&to))),
            (true, false) => Ok(()),
            (false, false) => Err(Error::Full(destination(&to))),
        });
    }

    /// Counts one unconfirmed message less; was it returned?
    fn forget_mark(&mut self, mark: u64) -> bool {
        let Some(mandatory) = self.mandatory.get_mut(&mark) else { return false };
        mandatory.unconfirmed -= 1;
        let returned = mandatory.returned;
        if mandatory.unconfirmed == 0 {
            self.mandatory.remove(&mark);
        }
        returned
    }

    /// Makes room for others where nobody waits any more. Fails when the broker confirms nothing at all, though it
    /// never said that it takes nothing: a single queue that is out of order is not the connection's fault.
    pub(super) fn sweep(&mut self) -> Result<(), Broken> {
        for unconfirmed in self.unconfirmed.values_mut() {
            if unconfirmed.waiting.as_ref().is_some_and(|waiting| waiting.is_over()) {
                unconfirmed.waiting = None;
            }
        }
        let idle = self.unconfirmed.is_empty() || self.live.connection.is_blocked();
        if idle {
            self.last_sign = Instant::now();
        }
        if self.last_sign.elapsed() > CONFIRM_WITHIN { Err(Broken) } else { Ok(()) }
    }

    /// Tells everybody who waits that it came to nothing.
    pub(super) fn fail(&mut self, why: &Error) {
        for (_, unconfirmed) in self.unconfirmed.drain() {
            if let Some(waiting) = unconfirmed.waiting {
                waiting.tell(Err(why.clone()));
            }
        }
    }
}

struct Prepared {
    publishing: Publishing,
    mark: Option<u64>,
}

async fn publish(
    channel: &Channel,
    exchange: ShortString,
    key: ShortString,
    options: BasicPublishOptions,
    body: Bytes,
    properties: BasicProperties,
) -> lapin::Result<Confirmation> {
    channel.basic_publish(exchange, key, options, &body, properties).await?.await
}

fn destination(to: &Address) -> String {
    match to {
        Address::Topic(key) => key.to_string(),
        Address::Queue(name) | Address::Later { queue: name, .. } => name.clone(),
    }
}
