//! From what a handler said to a reply in the right queue.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{Broker, Confirm, Message};
use protocol::{Chat, reply_id};
use uuid::Uuid;

use crate::Reply;
use crate::error::Failure;
use crate::reply::Place;

/// How long the broker may take to accept a message, which it confirms later.
pub(crate) const PUBLISH_WITHIN: Duration = Duration::from_secs(30);

/// The networks that replies may go to: name and protocol word.
pub(crate) type Networks = BTreeMap<String, String>;

/// What is known of the event that replies belong to.
pub(crate) struct Origin<'a> {
    pub(crate) event: Uuid,
    pub(crate) chat: Option<&'a Chat>,
    /// The queue for replies to where the event came from.
    pub(crate) reply_to: Option<&'a str>,
    /// `group/plugin/name`.
    pub(crate) handler: &'a str,
}

/// Publishes one reply; resolves to its confirm as soon as it is on its way.
pub(crate) async fn publish(
    broker: &dyn Broker,
    networks: &Networks,
    origin: &Origin<'_>,
    ordinal: usize,
    reply: Reply,
) -> Result<Confirm, Failure> {
    let (network, channel, queue) = destination(broker, networks, origin, &reply.to)?;
    let reply = protocol::Reply {
        id: reply_id(origin.event, origin.handler, ordinal),
        in_reply_to: Some(origin.event),
        network,
        channel,
        content: reply.content,
        kind: reply.kind,
        handler: Some(origin.handler.to_owned()),
        expires_at: None,
        rank: reply.rank,
    };
    let message = Message::reply(&reply, &queue).map_err(|why| Failure::Handler(Box::new(why)))?;
    Ok(broker.publish(message).await)
}

/// Network, channel and queue of a reply.
fn destination(
    broker: &dyn Broker,
    networks: &Networks,
    origin: &Origin<'_>,
    place: &Place,
) -> Result<(String, String, String), Failure> {
    if let Place::Elsewhere(target) = place {
        let proto = networks.get(&target.network).ok_or_else(|| Failure::UnknownNetwork(target.network.clone()))?;
        let queue = broker.topology().notices_name(proto, &target.network);
        return Ok((target.network.clone(), target.channel.clone(), queue));
    }
    let (Some(chat), Some(reply_to)) = (origin.chat, origin.reply_to) else { return Err(Failure::Nowhere) };
    let channel = match (place, &chat.status) {
        (Place::Private, _) => chat.source.clone(),
        // what was said to the operators is answered to them alone
        (_, Some(status)) => format!("{status}{}", chat.head.channel),
        (_, None) => chat.head.channel.clone(),
    };
    Ok((chat.head.network.clone(), channel, reply_to.to_owned()))
}
