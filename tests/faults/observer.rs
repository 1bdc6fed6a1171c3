//! Sees every event of the chat in a worker group of its own: the numbers of a session have no gap, or a line was lost. It may also
//! deliver what it sees once more, as a broker may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Address, Broker, Message};
use protocol::{Pattern, Reply};
use serde_json::Value;

use super::outside::{connect, runtime};
use crate::world::World;

/// How many events are unsettled at a time.
const PREFETCH: u16 = 500;

/// After which a reply has been said.
const SAID_BY_THEN: Duration = Duration::from_millis(500);

/// What it does with an event beside counting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Count,
    /// Puts the same event into the work queue once more.
    DeliverAgain,
    /// Answers `!twice …`, with the same reply three times: twice at once, and when these have been said.
    AnswerTwice,
}

/// A running observer.
pub struct Observer {
    seen: Arc<Mutex<BTreeMap<String, BTreeSet<u64>>>>,
    shed: Arc<AtomicU64>,
    /// Users and how often each came, by the last word of the key.
    users: Arc<Mutex<BTreeMap<(String, String), usize>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Observer {
    /// Begins to watch a world's broker.
    pub fn watch(world: &World) -> Self {
        Self::start(world, Deed::Count)
    }

    pub fn start(world: &World, deed: Deed) -> Self {
        let runtime = runtime();
        let (seen, shed) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(AtomicU64::new(0)));
        let users = Arc::new(Mutex::new(BTreeMap::new()));
        let broker = runtime.block_on(connect(
            world.kind(),
            world.broker_url(),
            world.prefix(),
            &world.path("data/pubbot.sock"),
        ));
        let patterns = ["chat.#", "gap.#"].map(|pattern| Pattern::parse(pattern).unwrap()).to_vec();
        let queue = broker.topology().worker("observer", patterns);
        let mut events = runtime.block_on(broker.consume(queue, PREFETCH)).unwrap();
        runtime.spawn({
            let (seen, shed, users) = (seen.clone(), shed.clone(), users.clone());
            async move {
                while let Some(event) = events.next().await {
                    shed.fetch_add(shed_by(&event), Ordering::SeqCst);
                    if note(&seen, &event.body) {
                        note_user(&users, &event);
                    }
                    act(&broker, deed, &event).await;
                    event.acknowledge();
                }
            }
        });
        Observer { seen, shed, users, _runtime: runtime }
    }

    /// Panics when a session's numbers have a gap. The first that it saw of a session is the first that counts.
    pub fn assert_no_gap(&self) {
        let seen = self.seen.lock().unwrap();
        assert!(!seen.is_empty(), "the observer saw nothing");
        for (session, numbers) in &*seen {
            let (first, last) = (numbers.first().unwrap(), numbers.last().unwrap());
            let missing: Vec<u64> = (*first..=*last).filter(|number| !numbers.contains(number)).take(20).collect();
            assert!(missing.is_empty(), "session {session} lost {missing:?} of {first} to {last}");
        }
    }

    /// How many events a connector has told that it did not keep.
    pub fn shed(&self) -> u64 {
        self.shed.load(Ordering::SeqCst)
    }

    /// How often it has seen each user in events of this type.
    pub fn users(&self, kind: &str) -> BTreeMap<String, usize> {
        let users = self.users.lock().unwrap();
        users.iter().filter(|((of, _), _)| of == kind).map(|((_, user), count)| (user.clone(), *count)).collect()
    }

    /// How many sessions it saw.
    pub fn sessions(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// What an event tells of those that were not kept.
fn shed_by(event: &bus::Delivery) -> u64 {
    let body = serde_json::from_slice::<Value>(&event.body).unwrap_or_default();
    let counts = body["shed"].as_object().filter(|_| event.key.starts_with("gap."));
    counts.map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum())
}

/// Whether it is new.
fn note(seen: &Mutex<BTreeMap<String, BTreeSet<u64>>>, body: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<Value>(body) else { return false };
    match (event["session"].as_str(), event["seq"].as_u64()) {
        (Some(session), Some(seq)) => seen.lock().unwrap().entry(session.to_owned()).or_default().insert(seq),
        _ => false,
    }
}

fn note_user(users: &Mutex<BTreeMap<(String, String), usize>>, event: &bus::Delivery) {
    let body = serde_json::from_slice::<Value>(&event.body).unwrap_or_default();
    if let (Some(user), Some((_, kind))) = (body["user"].as_str(), event.key.rsplit_once('.')) {
        *users.lock().unwrap().entry((kind.to_owned(), user.to_owned())).or_default() += 1;
    }
}

async fn act(broker: &Arc<dyn Broker>, deed: Deed, event: &bus::Delivery) {
    match deed {
        Deed::Count => {}
        Deed::DeliverAgain => {
            let queue = broker.topology().worker("main", Vec::new()).name;
            let (properties, body) = (event.properties.clone(), event.body.clone());
            let again = Message { to: Address::Queue(queue), mandatory: true, properties, body };
            broker.publish(again).await.await.unwrap();
        }
        Deed::AnswerTwice => {
            let Some(answer) = answer(event) else { return };
            let confirms = [broker.publish(answer.clone()).await, broker.publish(answer.clone()).await];
            let broker = broker.clone();
            // one answer's confirms keep no other one waiting
            tokio::spawn(async move {
                for confirm in confirms {
                    confirm.await.unwrap();
                }
                tokio::time::sleep(SAID_BY_THEN).await;
                broker.publish(answer).await.await.unwrap();
            });
        }
    }
}

fn answer(event: &bus::Delivery) -> Option<Message> {
    let chat: Value = serde_json::from_slice(&event.body).ok()?;
    let text = chat["content"].as_str()?.strip_prefix("!twice ")?;
    let body = serde_json::json!({ "channel": chat["channel"], "content": text }).to_string();
    let context = protocol::ReplyContext {
        network: chat["network"].as_str()?,
        correlation_id: event.properties.message_id.as_deref(),
        app_id: Some("observer"),
        ..Default::default()
    };
    let reply = Reply::read(body.as_bytes(), context).ok()?;
    Message::reply(&reply, event.properties.reply_to.as_deref()?).ok()
}
