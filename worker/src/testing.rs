//! Talking to plugins as people would: [`FakeChat`] runs them in a real worker over an embedded broker.
//!
//! A test reads as a conversation, and fails when a reply is left unheard or a handler failed. What a handler failed on is
//! tried again when the test says so ([`FakeChat::tries_again`]), and not before. While a handler of batches fails, its
//! events wait until the test says that it works again ([`FakeChat::recovers`]).

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, Consumer, DeadLetter, Embedded, Message, Topology};
use protocol::{Ambient, Chat, ChatKind, Event, Head, ReplyContext, ReplyKind, Request, RoutingKey, Timestamp};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::batches::Waiting;
use self::retries::Retries;
use crate::action::in_channel;
use crate::reply::Place;
use crate::{Action, Plugin, Worker};

mod batches;
mod retries;

/// The network that everything is said on.
pub const NETWORK: &str = "test";
/// The channel that everybody is in.
pub const CHANNEL: &str = "#test";
/// The bot's nick.
pub const BOT: &str = "pubbot";

/// When everything is said, in ms since 1970.
const TODAY: i64 = 1_700_000_000_000;

/// A test that waits longer than this for a bot has found a bug.
const PATIENCE: Duration = Duration::from_secs(60);

/// It is always the same day.
struct Today;

impl Ambient for Today {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(TODAY)
    }

    fn random(&self) -> u64 {
        0
    }
}

/// A chat with a bot in it.
pub struct FakeChat {
    broker: Embedded,
    retries: Arc<Retries>,
    replies: [Consumer; 2],
    dead: Consumer,
    heard: Vec<Request>,
    place: String,
    said: u64,
    waiting: Waiting,
    stop: CancellationToken,
}

impl FakeChat {
    /// A chat with a bot that has these plugins.
    ///
    /// # Panics
    /// When the plugins can't be put together.
    pub async fn with(plugins: impl IntoIterator<Item = Plugin>) -> Self {
        Self::with_worker(Worker::new("main").plugins(plugins)).await
    }

    /// A chat with this worker; replies may go to the network `test`.
    ///
    /// # Panics
    /// When its plugins can't be put together.
    pub async fn with_worker(worker: Worker) -> Self {
        let broker = Embedded::new(Topology::default());
        let topology = broker.topology();
        let queues = [topology.replies("irc", NETWORK), topology.notices("irc", NETWORK), topology.dead()];
        let [replies, notices, dead] = queues.map(|queue| broker.consume(queue, u16::MAX));
        let replies = [replies.await.expect("a queue"), notices.await.expect("a queue")];
        let dead = dead.await.expect("a queue");
        let stop = CancellationToken::new();
        let group = worker.group().to_owned();
        let worker = worker.networks([(NETWORK.to_owned(), "irc".to_owned())]).ambient(Arc::new(Today)).here();
        let retries = Arc::new(Retries::on(broker.clone()));
        let attached = worker.attach(retries.clone()).await.unwrap_or_else(|why| panic!("{why}"));
        let waiting = Waiting::of(attached.runner.clone(), broker.clone(), &group);
        tokio::spawn(attached.work(stop.clone()));
        let (heard, place) = (Vec::new(), CHANNEL.to_owned());
        FakeChat { broker, retries, replies, dead, heard, place, said: 0, waiting, stop }
    }

    /// Somebody says something in the channel; waits until the bot has answered all of it. `pubbot: …` speaks to the
    /// bot.
    pub async fn says(&mut self, nick: &str, text: &str) -> &mut Self {
        let directly = text.strip_prefix(BOT).and_then(|rest| rest.strip_prefix([':', ','])).map(str::trim_start);
        let mut chat = self.chat(CHANNEL, nick, directly.unwrap_or(text));
        chat.direct = directly.is_some();
        chat.raw = directly.map(|_| text.to_owned());
        self.publish_chat(CHANNEL, &chat).await
    }

    /// Somebody says something to the bot alone.
    pub async fn says_privately(&mut self, nick: &str, text: &str) -> &mut Self {
        let chat = Chat { direct: true, private: true, ..self.chat(nick, nick, text) };
        self.publish_chat(nick, &chat).await
    }

    /// Something happens: an event with this key and body. Waits until the bot has answered all of it.
    ///
    /// # Panics
    /// When the key is none, or the body is no JSON.
    pub async fn happens(&mut self, key: &str, body: impl Serialize) -> &mut Self {
        let key = RoutingKey::parse(key).unwrap_or_else(|why| panic!("{key:?}: {why}"));
        let event = Event::new(key, self.next_id(), &body).unwrap_or_else(|why| panic!("{why}"));
        self.publish(event).await
    }

    /// The bot said this next, in the channel or in private, wherever it was spoken to last.
    ///
    /// # Panics
    /// When it said something else, somewhere else, or nothing.
    #[track_caller]
    pub fn hears(&mut self, text: &str) -> &mut Self {
        let place = self.place.clone();
        self.expect(&place, ReplyKind::Chat, text)
    }

    /// The bot did this next, as an action.
    ///
    /// # Panics
    /// As [`FakeChat::hears`].
    #[track_caller]
    pub fn sees(&mut self, text: &str) -> &mut Self {
        let place = self.place.clone();
        self.expect(&place, ReplyKind::Action, text)
    }

    /// The bot said this next, as a message to this channel or nick.
    ///
    /// # Panics
    /// As [`FakeChat::hears`].
    #[track_caller]
    pub fn hears_in(&mut self, channel: &str, text: &str) -> &mut Self {
        self.expect(channel, ReplyKind::Chat, text)
    }

    /// The bot asked for this next: in the channel or in private, wherever it was spoken to last, unless it says where.
    ///
    /// # Panics
    /// When it asked for something else, somewhere else, or for nothing; and when the connector would refuse it.
    #[track_caller]
    pub fn does(&mut self, action: Action) -> &mut Self {
        assert!(!self.heard.is_empty(), "the bot did nothing; expected {action:?}");
        let place = match action.to {
            Place::Beside(channel) => channel,
            Place::Elsewhere(target) => target.channel,
            Place::Back | Place::Private => self.place.clone(),
        };
        match self.heard.remove(0) {
            Request::Do(done) => {
                assert_eq!(done.deed, in_channel(action.deed, place));
                done.deed.check().unwrap_or_else(|why| panic!("{why}"));
            }
            Request::Say(said) => panic!("expected {:?}, and the bot said {:?}", action.deed, said.content),
        }
        self
    }

    /// The bot said nothing more.
    ///
    /// # Panics
    /// When it did.
    #[track_caller]
    pub fn hears_nothing(&mut self) -> &mut Self {
        assert!(self.heard.is_empty(), "nobody expected {:?}", self.heard);
        self
    }

    /// A handler failed on the last event: it would be tried again after a while, or was set aside.
    ///
    /// # Panics
    /// When it did not.
    pub async fn fails(&mut self) -> &mut Self {
        if self.retries.take().is_none() {
            self.gives_up().await;
        }
        self
    }

    /// A handler failed on the last event, and it is tried again now, without the wait. Waits until the bot has
    /// answered all of it.
    ///
    /// # Panics
    /// When no handler failed, or none that would be tried again.
    pub async fn tries_again(&mut self) -> &mut Self {
        let retry = self.retries.take().unwrap_or_else(|| panic!("nothing is to be tried again"));
        self.broker.publish(retry).await.await.unwrap_or_else(|why| panic!("{why}"));
        self.listen_in_time().await
    }

    /// A handler failed for good on the last event, so it was set aside with the dead letters: the error.
    ///
    /// # Panics
    /// When it was not.
    pub async fn gives_up(&mut self) -> String {
        match tokio::time::timeout(PATIENCE, self.dead.next()).await {
            Ok(Some(dead)) => {
                let letter = DeadLetter::read(&dead);
                dead.acknowledge();
                letter.error.unwrap_or_default()
            }
            _ => panic!("no handler failed"),
        }
    }

    /// A handler of batches failed on what happened so far, which waits for it.
    ///
    /// # Panics
    /// When none did, or all of it is settled.
    #[track_caller]
    pub fn waits(&mut self) -> &mut Self {
        assert!(self.waiting.is_waiting(), "nothing waits for a handler of batches");
        self
    }

    /// A handler of batches failed on what happened so far, and works again: it is tried now, without the wait. Waits
    /// until the bot has answered all of it.
    ///
    /// # Panics
    /// When none failed, or one fails again.
    pub async fn recovers(&mut self) -> &mut Self {
        self.waits();
        self.waiting.end();
        self.listen_in_time().await;
        assert!(!self.waiting.is_waiting(), "a handler of batches fails again");
        self
    }

    #[track_caller]
    fn expect(&mut self, channel: &str, kind: ReplyKind, text: &str) -> &mut Self {
        assert!(!self.heard.is_empty(), "the bot said nothing; expected {text:?}");
        let said = match self.heard.remove(0) {
            Request::Say(said) => said,
            Request::Do(action) => panic!("expected {text:?}, and the bot wants to do {:?}", action.deed),
        };
        let expected = (channel, kind, text.to_owned());
        assert_eq!((said.channel.as_str(), said.kind, said.content.0.join("\n")), expected);
        self
    }

    fn chat(&mut self, channel: &str, source: &str, content: &str) -> Chat {
        let id = self.next_id();
        let head = Head {
            id,
            at: Timestamp::from_millis(TODAY + self.said as i64),
            network: NETWORK.to_owned(),
            channel: channel.to_owned(),
            session: None,
            seq: Some(self.said),
        };
        Chat::new(head, source, content)
    }

    fn next_id(&mut self) -> Uuid {
        self.said += 1;
        Uuid::from_u128(u128::from(self.said))
    }

    async fn publish_chat(&mut self, place: &str, chat: &Chat) -> &mut Self {
        self.place = place.to_owned();
        let key = RoutingKey::chat("irc", &place.to_lowercase(), ChatKind::Chat);
        let event = Event::new(key, chat.head.id, chat).unwrap_or_else(|why| panic!("{why}"));
        self.publish(event).await
    }

    async fn publish(&mut self, event: Event) -> &mut Self {
        let reply_to = self.broker.topology().replies_name("irc", NETWORK);
        let message = Message::event(event, "test", Some(&reply_to));
        self.broker.publish(message).await.await.unwrap_or_else(|why| panic!("{why}"));
        self.listen_in_time().await
    }

    async fn listen_in_time(&mut self) -> &mut Self {
        tokio::time::timeout(PATIENCE, self.listen()).await.unwrap_or_else(|_| panic!("the bot hangs"));
        self
    }

    /// Hears replies until the broker is idle, or has only what waits for handlers of batches.
    async fn listen(&mut self) {
        loop {
            let [answers, notices] = &mut self.replies;
            let next = async {
                tokio::select! {
                    biased;
                    Some(delivery) = answers.next() => delivery,
                    Some(delivery) = notices.next() => delivery,
                }
            };
            let delivery = tokio::select! {
                biased;
                delivery = next => delivery,
                () = self.broker.idle() => return,
                () = self.waiting.all_else_settled() => return,
            };
            let context = ReplyContext { network: NETWORK, ..ReplyContext::default() };
            self.heard.push(Request::read(&delivery.body, context).unwrap_or_else(|why| panic!("{why}")));
            delivery.acknowledge();
        }
    }
}

impl Drop for FakeChat {
    fn drop(&mut self) {
        self.stop.cancel();
        if !std::thread::panicking() {
            assert!(self.heard.is_empty(), "nobody heard {:?}", self.heard);
            let dead = self.broker.held(&self.broker.topology().dead().name);
            assert_eq!(dead, 0, "handlers failed that nobody expected to");
            assert!(self.retries.take().is_none(), "a handler failed that nobody expected to");
            assert!(!self.waiting.is_waiting(), "a handler of batches failed that nobody expected to");
        }
    }
}

/// Says every example of the plugins' specs in a chat of its own, and checks what comes back.
///
/// # Panics
/// When an example is not what the bot says.
pub async fn check_examples(plugins: impl Fn() -> Vec<Plugin>) {
    let examples: Vec<_> =
        plugins().iter().flat_map(|plugin| plugin.specs().flat_map(|spec| spec.examples.clone())).collect();
    for example in examples {
        let mut chat = FakeChat::with(plugins()).await;
        chat.says("alice", example.says).await.hears(example.hears);
    }
}
