//! The reply queues of a network: answers and notices. Declares them, consumes them, reads what comes and settles all
//! that is not to be said: the malformed and the misdirected are buried; what was said or has expired is acknowledged.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus::mutants::{self, Mutant};
use bus::{Broker, Consumer, DeadLetter, Delivery, Error, Message, Queue};
use bytes::Bytes;
use futures_util::FutureExt;
use protocol::{Ambient, ReplyContext, Request, Timestamp, check_destination, event_id};
use uuid::Uuid;

use crate::memory::Memory;
use crate::permits::Permits;
use crate::recent::Recent;
use crate::said::Progress;

/// How many replies of each queue may be unsettled here; those not yet written are delivered again after a crash.
pub(crate) const PREFETCH: u16 = 64;
/// How many answers may be unsettled here where some are held until the best of them is known: more than may be held, so
/// that the others are still said meanwhile.
const PREFETCH_TO_CHOOSE: u16 = 320;
/// At most so many lines are said for one event by one handler in one place.
pub(crate) const MAX_LINES: u32 = 5;
/// At most so many lines are written for the actions of one handler that follow from one event: as many as one action may
/// need where a server takes modes one by one.
const MAX_DEED_LINES: u32 = 20;
/// How long to wait until a broker that would not let us consume is asked again.
const CONSUME_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How long a reply is kept that could not be set aside, before it is given back.
const BURY_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Of so many answered events it is known how many lines were said for them.
const ANSWERED: usize = 4_096;

/// How old a reply may be, counted from its publication, until it is not said any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// An answer, which somebody waits for: 15 min unless set.
    pub answers: Duration,
    /// A notice, which nobody waits for: 1 h unless set.
    pub notices: Duration,
}

impl Default for Expiry {
    fn default() -> Self {
        Expiry { answers: Duration::from_secs(15 * 60), notices: Duration::from_secs(60 * 60) }
    }
}

/// The reply queues of one network, and what was said of them.
pub(crate) struct Replies {
    broker: Arc<dyn Broker>,
    ambient: Arc<dyn Ambient>,
    network: String,
    answers: Queue,
    notices: Queue,
    pub memory: Memory,
    /// How many answers may be unsettled here.
    answers_prefetch: u16,
    /// The replies that are being said, with what was delivered of the same ones meanwhile.
    in_hand: HashMap<Uuid, Vec<Delivery>>,
    /// Those that were said and wait to be remembered.
    said: HashMap<Uuid, ToSay>,
    allowance: Allowance,
    permits: Permits,
}

/// Both queues, being consumed. Dropped, it gives back what is unsettled.
pub(crate) struct Consumers {
    /// What somebody waits for.
    pub answers: Consumer,
    /// What nobody waits for.
    pub notices: Consumer,
    /// What others wrote down of what they said, if that was asked for.
    pub records: Vec<Bytes>,
}

/// A reply that is to be said, or an action that is to be done, and its delivery, to be settled after that.
pub(crate) struct ToSay {
    pub request: Request,
    /// How many of its lines were said before.
    pub said: u32,
    /// Not to be begun after this.
    pub expires_at: Timestamp,
    delivery: Delivery,
}

impl Replies {
    pub fn new(broker: Arc<dyn Broker>, ambient: Arc<dyn Ambient>, proto: &str, network: &str) -> Self {
        let topology = broker.topology();
        let (answers, notices) = (topology.replies(proto, network), topology.notices(proto, network));
        let memory = Memory::new(broker.clone(), proto, network);
        let (in_hand, said, allowance, permits) = Default::default();
        let (network, answers_prefetch) = (network.to_owned(), PREFETCH);
        Replies {
            broker,
            ambient,
            network,
            answers,
            notices,
            memory,
            answers_prefetch,
            in_hand,
            said,
            allowance,
            permits,
        }
    }

    /// The same, where groups may ask for these actions.
    pub fn with_permits(self, permits: Permits) -> Self {
        Replies { permits, ..self }
    }

    /// The same, where answers are held until the best of them is known.
    pub fn with_choices(self) -> Self {
        Replies { answers_prefetch: PREFETCH_TO_CHOOSE, ..self }
    }

    /// Declares both queues, so that replies wait in them from now on, and the memory.
    pub async fn declare(&self) -> Result<(), Error> {
        self.broker.declare(self.answers.clone()).await?;
        self.broker.declare(self.notices.clone()).await?;
        self.broker.declare(self.memory.stream().clone()).await
    }

    /// Begins to consume both queues; asks again until the broker lets us. With `records`, reads first what others
    /// wrote down.
    pub fn consume(&self, records: bool) -> impl Future<Output = Consumers> + Send + 'static {
        let (broker, answers, notices) = (self.broker.clone(), self.answers.clone(), self.notices.clone());
        let stream = records.then(|| self.memory.stream().clone());
        let (network, prefetch) = (self.network.clone(), self.answers_prefetch);
        async move {
            loop {
                match consume_both(&*broker, stream.as_ref(), (&answers, prefetch), &notices).await {
                    Ok(consumers) => return consumers,
                    Err(why) => tracing::warn!(network, %why, "replies can't be read; trying again"),
                }
                tokio::time::sleep(CONSUME_AGAIN_AFTER).await;
            }
        }
    }

    /// Reads a delivery, which may be so old; settles it if it is not to be said.
    pub fn read(&mut self, delivery: Delivery, patience: Duration) -> Option<ToSay> {
        match self.judge(&delivery, patience) {
            Ok(Judged::InHand(id)) => {
                self.in_hand.entry(id).or_default().push(delivery);
                None
            }
            Ok(Judged::ToSay { request, said, expires_at }) => {
                self.in_hand.insert(request.id(), Vec::new());
                Some(ToSay { request, said, expires_at, delivery })
            }
            Err(Refusal::Pointless(why)) => {
                tracing::info!(network = self.network, message_id = delivery.properties.message_id, "not said: {why}");
                delivery.acknowledge();
                None
            }
            Err(Refusal::Wrong(why)) => {
                tracing::warn!(network = self.network, message_id = delivery.properties.message_id, "buried: {why}");
                self.set_aside(delivery, &why);
                None
            }
        }
    }

    /// How many lines may still be said for what this reply answers; it may say so many of its own, `lines`.
    pub fn allow(&mut self, request: &Request, lines: u32) -> u32 {
        self.allowance.take(request, lines)
    }

    /// Whether it is too late to begin with it.
    pub fn has_expired(&self, to_say: &ToSay) -> bool {
        to_say.expires_at < self.ambient.now()
    }

    /// There is nothing to remember of it: it is acknowledged.
    pub fn drop_unsaid(&mut self, to_say: ToSay, why: &str) {
        tracing::info!(network = self.network, id = %to_say.request.id(), "not said: {why}");
        self.acknowledge(to_say);
    }

    /// All of it was said: it is acknowledged once that is remembered.
    pub fn said(&mut self, to_say: ToSay) {
        self.said.insert(to_say.request.id(), to_say);
    }

    /// This record of the memory is safe: what is whole in it is acknowledged.
    pub fn remembered(&mut self, record: u64) {
        if mutants::is(Mutant::NoAcknowledgement) {
            return;
        }
        for id in self.memory.written(record) {
            if let Some(to_say) = self.said.remove(&id) {
                self.acknowledge(to_say);
            }
        }
    }

    /// It was printed, which needs no proof, and is remembered as long as this process lives.
    pub fn printed(&mut self, to_say: ToSay) {
        self.memory.note_here(to_say.request.id(), Progress::Whole);
        self.acknowledge(to_say);
    }

    /// Nothing more is to be done about it: it is acknowledged.
    pub fn acknowledge(&mut self, to_say: ToSay) {
        self.deliveries(to_say).into_iter().for_each(Delivery::acknowledge);
    }

    /// The server would not have it: it goes to the dead letters, with the reason.
    pub fn refused(&mut self, to_say: ToSay, why: &str) {
        self.bury(to_say, &format!("the server refused it: {why}"));
    }

    /// It can't be said or done: it goes to the dead letters, with the reason.
    pub fn bury(&mut self, to_say: ToSay, why: &str) {
        let (id, channel, handler) = (to_say.request.id(), to_say.request.channel(), to_say.request.handler());
        match &to_say.request {
            Request::Say(_) => tracing::warn!(network = self.network, %id, channel, handler, "not said: {why}"),
            Request::Do(action) => {
                let action = action.deed.kind().word();
                tracing::warn!(network = self.network, %id, action, channel, handler, "not done: {why}");
            }
        }
        let mut deliveries = self.deliveries(to_say);
        // one of several may have come with a connection that is gone: the last one is here
        let last = deliveries.pop();
        deliveries.into_iter().for_each(Delivery::acknowledge);
        if let Some(last) = last {
            self.set_aside(last, why);
        }
    }

    /// All that was delivered of it, in that order. It is in hand no more.
    fn deliveries(&mut self, ToSay { request, delivery, .. }: ToSay) -> Vec<Delivery> {
        let others = self.in_hand.remove(&request.id()).into_iter().flatten();
        std::iter::once(delivery).chain(others).collect()
    }

    /// Publishes a dead letter, and acknowledges the delivery once that is confirmed; beside everything else.
    fn set_aside(&self, delivery: Delivery, why: &str) {
        let letter = DeadLetter::new(&delivery, &delivery.queue, why);
        let message = Message::dead(self.broker.topology(), &delivery, &letter);
        let (broker, network) = (self.broker.clone(), self.network.clone());
        let mut burying = Box::pin(async move {
            match broker.publish(message).await.await {
                Ok(()) => delivery.acknowledge(),
                // somebody has deleted the queue of dead letters
                Err(Error::Unroutable(_)) => delivery.bury(),
                Err(why) => {
                    tracing::warn!(network, %why, "a dead letter can't be published: its reply is given back");
                    tokio::time::sleep(BURY_AGAIN_AFTER).await;
                    delivery.requeue();
                }
            }
        });
        // an embedded broker has done it at once
        if burying.as_mut().now_or_never().is_none() {
            tokio::spawn(burying);
        }
    }

    /// It was not said, or not all of it: it is given back, to be said another time.
    pub fn give_back(&mut self, unsaid: ToSay) {
        // one of them may have come with a connection that is gone, so all are given back
        self.deliveries(unsaid).into_iter().for_each(Delivery::requeue);
    }

    fn judge(&mut self, delivery: &Delivery, patience: Duration) -> Result<Judged, Refusal> {
        let request = Request::read(&delivery.body, self.context(delivery)).map_err(wrong)?;
        if request.network() != self.network {
            return Err(wrong(format!("a reply for the network {:?}", request.network())));
        }
        match &request {
            Request::Say(reply) => check_destination(&reply.channel).map_err(wrong)?,
            Request::Do(action) => {
                action.deed.check().map_err(wrong)?;
                self.permits.check(action).map_err(wrong)?;
            }
        }
        let id = request.id();
        if self.in_hand.contains_key(&id) {
            return Ok(Judged::InHand(id));
        }
        let said = match self.memory.progress(id) {
            Progress::Lines(said) => said,
            Progress::Whole if mutants::is(Mutant::NoDedupe) => 0,
            Progress::Whole => return Err(Refusal::Pointless("it was said before")),
        };
        let now = self.ambient.now();
        let published_at = delivery.properties.published_at.unwrap_or(now);
        let expires_at = request.expires_at().unwrap_or_else(|| published_at.plus(patience));
        // what was begun is brought to its end
        if expires_at < now && said == 0 {
            return Err(Refusal::Pointless("it has expired"));
        }
        Ok(Judged::ToSay { request, said, expires_at })
    }

    fn context<'a>(&'a self, delivery: &'a Delivery) -> ReplyContext<'a> {
        let properties = &delivery.properties;
        let nameless = properties.correlation_id.is_none() && properties.message_id.is_none();
        ReplyContext {
            network: &self.network,
            correlation_id: properties.correlation_id.as_deref(),
            message_id: properties.message_id.as_deref(),
            app_id: properties.app_id.as_deref(),
            random_id: if nameless { event_id(&*self.ambient) } else { Uuid::nil() },
        }
    }
}

async fn consume_both(
    broker: &dyn Broker,
    stream: Option<&Queue>,
    (answers, prefetch): (&Queue, u16),
    notices: &Queue,
) -> Result<Consumers, Error> {
    let records = match stream {
        Some(stream) => broker.read_stream(stream.clone()).await?,
        None => Vec::new(),
    };
    let answers = broker.consume(answers.clone(), prefetch).await?;
    let notices = broker.consume(notices.clone(), PREFETCH).await?;
    Ok(Consumers { answers, notices, records })
}

/// What a delivery is.
enum Judged {
    /// The same as one that is being said.
    InHand(Uuid),
    /// To be said from here on.
    ToSay { request: Request, said: u32, expires_at: Timestamp },
}

/// Why a reply is not said.
enum Refusal {
    /// It would do no good any more.
    Pointless(&'static str),
    /// It should never have come.
    Wrong(String),
}

fn wrong(why: impl ToString) -> Refusal {
    Refusal::Wrong(why.to_string())
}

/// How many lines were said for each of the last events: what one handler answers to one of them in one place may have
/// few lines, however many replies it makes of them. Actions have lines of their own, wherever they are done.
struct Allowance {
    answered: Recent<Answered, Vec<(Uuid, u32)>>,
}

/// An event, who answers it, and where; an action is done nowhere.
type Answered = (Uuid, String, Option<String>);

impl Default for Allowance {
    fn default() -> Self {
        Allowance { answered: Recent::new(ANSWERED) }
    }
}

impl Allowance {
    /// Grants lines to a reply. One that comes again gets what it got before.
    fn take(&mut self, request: &Request, lines: u32) -> u32 {
        let (most, place) = match request {
            Request::Say(reply) => (MAX_LINES, Some(reply.channel.clone())),
            Request::Do(_) => (MAX_DEED_LINES, None),
        };
        let Some(event) = request.in_reply_to() else { return lines.min(most) };
        let answered = (event, request.handler().to_owned(), place);
        let granted = self.answered.note(answered, Vec::new);
        if let Some((_, before)) = granted.iter().find(|(id, _)| *id == request.id()) {
            return *before;
        }
        let left = most.saturating_sub(granted.iter().map(|(_, lines)| lines).sum());
        let lines = lines.min(left);
        // those that get nothing are not kept: there could be any number of them
        if lines > 0 {
            granted.push((request.id(), lines));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(id: u128, event: Option<u128>) -> Request {
        let event = event.map(Uuid::from_u128);
        let body =
            serde_json::json!({"id": Uuid::from_u128(id), "in_reply_to": event, "channel": "#a", "content": "x"});
        Request::read(body.to_string().as_bytes(), ReplyContext::default()).unwrap()
    }

    fn kick(id: u128, event: u128) -> Request {
        let (id, event) = (Uuid::from_u128(id), Uuid::from_u128(event));
        let body = serde_json::json!({"id": id, "in_reply_to": event, "do": "kick", "channel": "#a", "nick": "b"});
        Request::read(body.to_string().as_bytes(), ReplyContext::default()).unwrap()
    }

    #[test]
    fn one_answer_gets_five_lines_however_many_replies_it_is_made_of() {
        let mut allowance = Allowance::default();
        assert_eq!(allowance.take(&reply(1, Some(7)), 3), 3);
        assert_eq!(allowance.take(&reply(2, Some(7)), 10_000), 2);
        assert_eq!(allowance.take(&reply(3, Some(7)), 1), 0);
        // delivered again, it gets the same
        assert_eq!(allowance.take(&reply(1, Some(7)), 3), 3);
        assert_eq!(allowance.take(&reply(4, Some(8)), 10), 5);
        assert_eq!(allowance.take(&reply(5, None), 10), 5);
        assert_eq!(allowance.take(&reply(6, None), 10), 5);
    }

    #[test]
    fn actions_have_20_lines_of_their_own() {
        let mut allowance = Allowance::default();
        assert_eq!(allowance.take(&reply(1, Some(7)), 5), 5);
        let granted: u32 = (2..40).map(|id| allowance.take(&kick(id, 7), 1)).sum();
        assert_eq!(granted, MAX_DEED_LINES);
        assert_eq!(allowance.take(&kick(99, 8), 1), 1);
    }

    #[test]
    fn only_the_last_events_are_known() {
        let mut allowance = Allowance::default();
        for event in 0..=ANSWERED as u128 {
            allowance.take(&reply(event, Some(event)), 5);
        }
        assert_eq!(allowance.answered.len(), ANSWERED);
        assert_eq!(allowance.take(&reply(99_999, Some(0)), 5), 5);
    }
}
