//! The reply queues of a network: answers and notices. Declares them, consumes them, reads what comes and settles all
//! that is not to be said: the malformed and the misdirected are buried; what was said or has expired is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, Consumer, Delivery, Error, Queue};
use protocol::{Ambient, Reply, ReplyContext, check_destination, event_id};
use uuid::Uuid;

use crate::said::Said;

/// How many replies of each queue may be unsettled here; those not yet written are delivered again after a crash.
pub(crate) const PREFETCH: u16 = 64;
/// How long to wait until a broker that would not let us consume is asked again.
const CONSUME_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// The reply queues of one network, and what was said of them.
pub(crate) struct Replies {
    broker: Arc<dyn Broker>,
    ambient: Arc<dyn Ambient>,
    network: String,
    answers: Queue,
    notices: Queue,
    said: Said,
}

/// Both queues, being consumed. Dropped, it gives back what is unsettled.
pub(crate) struct Consumers {
    /// What somebody waits for.
    pub answers: Consumer,
    /// What nobody waits for.
    pub notices: Consumer,
}

/// A reply that is to be said, and its delivery, to be settled after that.
pub(crate) struct ToSay {
    pub reply: Reply,
    delivery: Delivery,
}

impl Replies {
    pub fn new(broker: Arc<dyn Broker>, ambient: Arc<dyn Ambient>, proto: &str, network: &str) -> Self {
        let topology = broker.topology();
        let (answers, notices) = (topology.replies(proto, network), topology.notices(proto, network));
        Replies { broker, ambient, network: network.to_owned(), answers, notices, said: Said::default() }
    }

    /// Declares both queues, so that replies wait in them from now on.
    pub async fn declare(&self) -> Result<(), Error> {
        self.broker.declare(self.answers.clone()).await?;
        self.broker.declare(self.notices.clone()).await
    }

    /// Begins to consume both queues; asks again until the broker lets us.
    pub fn consume(&self) -> impl Future<Output = Consumers> + Send + 'static {
        let (broker, answers, notices) = (self.broker.clone(), self.answers.clone(), self.notices.clone());
        let network = self.network.clone();
        async move {
            loop {
                match consume_both(&*broker, &answers, &notices).await {
                    Ok(consumers) => return consumers,
                    Err(why) => tracing::warn!(network, %why, "replies can't be read; trying again"),
                }
                tokio::time::sleep(CONSUME_AGAIN_AFTER).await;
            }
        }
    }

    /// Reads a delivery; settles it if it is not to be said.
    pub fn read(&mut self, delivery: Delivery) -> Option<ToSay> {
        match self.judge(&delivery) {
            Ok(reply) => Some(ToSay { reply, delivery }),
            Err(Refusal::Pointless(why)) => {
                tracing::info!(network = self.network, message_id = delivery.properties.message_id, "not said: {why}");
                delivery.acknowledge();
                None
            }
            Err(Refusal::Wrong(why)) => {
                tracing::warn!(network = self.network, message_id = delivery.properties.message_id, "buried: {why}");
                delivery.bury();
                None
            }
        }
    }

    /// It was said.
    pub fn done(&mut self, said: ToSay) {
        said.delivery.acknowledge();
    }

    /// It was not said, or not all of it: it is given back, to be said another time.
    pub fn give_back(&mut self, unsaid: ToSay) {
        self.said.forget(unsaid.reply.id);
        unsaid.delivery.requeue();
    }

    fn judge(&mut self, delivery: &Delivery) -> Result<Reply, Refusal> {
        let reply =
            Reply::read(&delivery.body, self.context(delivery)).map_err(|why| Refusal::Wrong(why.to_string()))?;
        if reply.network != self.network {
            return Err(Refusal::Wrong(format!("a reply for the network {:?}", reply.network)));
        }
        check_destination(&reply.channel).map_err(|why| Refusal::Wrong(why.to_string()))?;
        if reply.expires_at.is_some_and(|at| at < self.ambient.now()) {
            return Err(Refusal::Pointless("it has expired"));
        }
        if !self.said.begin(reply.id) {
            return Err(Refusal::Pointless("it was said before"));
        }
        Ok(reply)
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

async fn consume_both(broker: &dyn Broker, answers: &Queue, notices: &Queue) -> Result<Consumers, Error> {
    let answers = broker.consume(answers.clone(), PREFETCH).await?;
    let notices = broker.consume(notices.clone(), PREFETCH).await?;
    Ok(Consumers { answers, notices })
}

/// Why a reply is not said.
enum Refusal {
    /// It would do no good any more.
    Pointless(&'static str),
    /// It should never have come.
    Wrong(String),
}
