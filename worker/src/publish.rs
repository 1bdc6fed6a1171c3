//! From what a handler said to a reply in the right queue.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{Broker, Confirm, Message};
use protocol::{Chat, Deed, Event, reply_id};
use serde::Deserialize;

use crate::Reply;
use crate::action::{REACT, in_channel};
use crate::error::Failure;
use crate::reply::{Place, What};

/// How long the broker may take to accept a message, which it confirms later.
pub(crate) const PUBLISH_WITHIN: Duration = Duration::from_secs(30);

/// The networks that replies may go to: name and protocol word.
pub(crate) type Networks = BTreeMap<String, String>;

/// What is known of the event that replies belong to.
pub(crate) struct Origin<'a> {
    pub(crate) event: &'a Event,
    pub(crate) chat: Option<&'a Chat>,
    /// The queue for replies to where the event came from.
    pub(crate) reply_to: Option<&'a str>,
    /// `group/plugin/name`.
    pub(crate) handler: &'a str,
}

/// Where an event comes from that happened in a channel without being said, and who did it.
#[derive(Deserialize)]
struct Scene {
    network: String,
    channel: String,
    /// The marks of those to whom alone it was said.
    status: Option<String>,
    user: Option<String>,
    /// Who invites.
    by: Option<String>,
}

/// The tag that says to what something belongs (IRCv3 client tag `reply`).
const ANSWERS: &str = "+reply";

/// Publishes one reply; resolves to its confirm as soon as it is on its way.
pub(crate) async fn publish(
    broker: &dyn Broker,
    networks: &Networks,
    origin: &Origin<'_>,
    ordinal: usize,
    reply: Reply,
) -> Result<Confirm, Failure> {
    let says = matches!(reply.what, What::Say { .. });
    let (network, channel, queue) = destination(broker, networks, origin, &reply.to, says)?;
    let (id, in_reply_to) = (reply_id(origin.event.id, origin.handler, ordinal), Some(origin.event.id));
    let handler = Some(origin.handler.to_owned());
    let msgid = origin.chat.and_then(|chat| chat.msgid.clone()).filter(|_| reply.to == Place::Back);
    let message = match reply.what {
        What::Say { content, kind } => {
            let (expires_at, rank) = (None, reply.rank);
            let reply =
                protocol::Reply { id, in_reply_to, network, channel, content, kind, handler, expires_at, rank, msgid };
            Message::reply(&reply, &queue)
        }
        What::Do(deed) => {
            let deed = belonging_to(in_channel(deed, channel), msgid);
            let action = protocol::Action { id, in_reply_to, network, deed, handler, expires_at: None };
            Message::action(&action, &queue)
        }
    };
    Ok(broker.publish(message.map_err(|why| Failure::Handler(Box::new(why)))?).await)
}

/// A reaction says to which message it belongs, if it doesn't yet.
fn belonging_to(mut deed: Deed, msgid: Option<String>) -> Deed {
    if let (Deed::Tag { tags, .. }, Some(msgid)) = (&mut deed, msgid)
        && tags.contains_key(REACT)
    {
        tags.entry(ANSWERS.to_owned()).or_insert(msgid);
    }
    deed
}

/// Network, channel and queue of a reply.
fn destination(
    broker: &dyn Broker,
    networks: &Networks,
    origin: &Origin<'_>,
    place: &Place,
    says: bool,
) -> Result<(String, String, String), Failure> {
    if let Place::Elsewhere(target) = place {
        let proto = networks.get(&target.network).ok_or_else(|| Failure::UnknownNetwork(target.network.clone()))?;
        let queue = broker.topology().notices_name(proto, &target.network);
        return Ok((target.network.clone(), target.channel.clone(), queue));
    }
    let (Some(scene), Some(reply_to)) = (origin.scene(), origin.reply_to) else { return Err(Failure::Nowhere) };
    let channel = match (place, scene.status) {
        (Place::Private, _) => scene.user.or(scene.by).ok_or(Failure::Nowhere)?,
        (Place::Beside(channel), _) => channel.clone(),
        // what was said to the operators is answered to them alone
        (_, Some(status)) if says => format!("{status}{}", scene.channel),
        (_, _) => scene.channel,
    };
    Ok((scene.network, channel, reply_to.to_owned()))
}

impl Origin<'_> {
    /// Where the event comes from, if it comes from a channel or a person.
    fn scene(&self) -> Option<Scene> {
        match self.chat {
            Some(Chat { head, source, status, .. }) => {
                let (network, channel, user) = (head.network.clone(), head.channel.clone(), Some(source.clone()));
                Some(Scene { network, channel, status: status.clone(), user, by: None })
            }
            None => self.event.key.chat_kind().and_then(|_| self.event.decode().ok()),
        }
    }
}
