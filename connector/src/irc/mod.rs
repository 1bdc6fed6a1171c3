//! One IRC network: dials, registers, joins; what is heard becomes events, and replies are said. Begins again whenever
//! the connection is lost, until it is stopped.
//!
//! For each connection a `Session` reads the socket and a `Speaker` writes it, each in a task of its own. The session
//! never waits for the broker: its events go to the outbox. The speaker alone waits for replies.

mod backoff;
mod casemap;
mod channels;
mod dial;
mod events;
mod flood;
mod framing;
mod identity;
mod isupport;
mod line;
mod reach;
mod registration;
mod session;
mod speaker;
mod split;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, JournalSettings};
use protocol::Ambient;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::backoff::Backoff;
pub use self::dial::DialError;
use self::dial::{Dial, Dialer, Socket};
pub use self::flood::Flood;
pub use self::reach::{Reached, Unreachable, reach};
use self::session::{Ended, Session};
use self::speaker::Speaker;
use crate::Secret;
use crate::outbox::Outbox;
use crate::replies::Replies;

/// This network's protocol, in routing keys and names of queues.
const PROTO: &str = "irc";
/// A connection that lasted so long counts as a success: the next loss is answered by a short pause again.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// How long the last events may take to reach the broker once the connector was stopped.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// How many lines of the session may wait for the speaker.
const ORDERS: usize = 256;

/// An IRC network, and who the bot is there.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its name in events, replies and queues: a word of letters, digits, `_` and `-`.
    pub name: String,
    /// The server's host name or address. With TLS, its certificate must name it.
    pub host: String,
    /// The server's port: 6697 is usual with TLS, 6667 without.
    pub port: u16,
    /// Encrypt, and verify the server by the system's roots.
    pub tls: bool,
    /// The nick to use. If it is taken, one much like it.
    pub nick: String,
    /// The user name, before the `@`.
    pub user: String,
    /// The real name, free text.
    pub realname: String,
    /// The server's password (PASS).
    pub password: Option<Secret>,
    /// Where to be.
    pub channels: Vec<Channel>,
    /// How fast to speak.
    pub flood: Flood,
}

/// A channel to be in.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name, with the `#`.
    pub name: String,
    /// Its key, if one is needed to get in (channel mode `k`).
    pub key: Option<Secret>,
}

/// Stays connected to a network until `stop`: then says QUIT, lets the last events reach the broker, and returns. Events
/// go to the broker by way of the journal, if there is one; a broker in this process needs none.
///
/// # Errors
/// When the broker refuses the network's reply queues. A broker that is away is waited for.
pub async fn run(
    network: Network,
    broker: Arc<dyn Broker>,
    ambient: Arc<dyn Ambient>,
    journal: Option<JournalSettings>,
    stop: CancellationToken,
) -> Result<(), bus::Error> {
    let dialer = Dialer::new(&network);
    Connector::new(network, broker, ambient, journal, stop).run(dialer).await
}

/// Everything that outlives a connection.
struct Connector {
    network: Arc<Network>,
    broker: Arc<dyn Broker>,
    ambient: Arc<dyn Ambient>,
    journal: Option<JournalSettings>,
    stop: CancellationToken,
    backoff: Backoff,
}

impl Connector {
    fn new(
        network: Network,
        broker: Arc<dyn Broker>,
        ambient: Arc<dyn Ambient>,
        journal: Option<JournalSettings>,
        stop: CancellationToken,
    ) -> Self {
        let backoff = Backoff::new(ambient.clone());
        Connector { network: Arc::new(network), broker, ambient, journal, stop, backoff }
    }

    async fn run(mut self, dialer: impl Dial) -> Result<(), bus::Error> {
        let replies = Replies::new(self.broker.clone(), self.ambient.clone(), PROTO, &self.network.name);
        if self.declare(&replies).await?.is_none() {
            return Ok(());
        }
        let (broker, ambient, journal) = (self.broker.clone(), self.ambient.clone(), self.journal.take());
        let mut outbox = Outbox::open(broker, ambient, PROTO, &self.network.name, journal);
        let mut speaker = Speaker::new(replies, self.network.clone());
        while let Some(socket) = self.dial(&dialer).await {
            speaker = self.converse(socket, speaker, &mut outbox).await;
        }
        if let Err(events) = outbox.close(SETTLE_WITHIN).await {
            tracing::error!(network = self.network.name, events, "stopped before the broker confirmed all events");
        }
        Ok(())
    }

    /// Declares the reply queues; waits for a broker that is away. `None` when stopped meanwhile.
    async fn declare(&mut self, replies: &Replies) -> Result<Option<()>, bus::Error> {
        loop {
            let declared = tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                declared = replies.declare() => declared,
            };
            match declared {
                Ok(()) => {
                    self.backoff.reset();
                    return Ok(Some(()));
                }
                Err(why @ (bus::Error::Away { .. } | bus::Error::TimedOut { .. })) => self.pause(&why).await,
                Err(why) => return Err(why),
            }
        }
    }

    /// Dials until the server answers; `None` when stopped.
    async fn dial(&mut self, dialer: &impl Dial) -> Option<Socket> {
        while !self.stop.is_cancelled() {
            let dialed = tokio::select! {
                () = self.stop.cancelled() => return None,
                dialed = dialer.dial() => dialed,
            };
            match dialed {
                Ok(socket) => return Some(socket),
                Err(why) => self.pause(&why).await,
            }
        }
        None
    }

    /// One connection, from its first line to its last; pauses after it, unless stopped. Gives the speaker back.
    async fn converse(&mut self, socket: Socket, speaker: Speaker, outbox: &mut Outbox) -> Speaker {
        let (orders, receiver) = mpsc::channel(ORDERS);
        let hang_up = CancellationToken::new();
        let speaking = AbortOnDropHandle::new(tokio::spawn(speaker.speak(socket.writer, receiver, hang_up.clone())));
        let mut session = Session::new(self.network.clone(), self.ambient.clone(), orders, outbox);
        let why = session.run(socket.reader, &self.stop, &hang_up).await;
        let lasted = session.registered_for();
        hang_up.cancel();
        let speaker = speaking.await.unwrap_or_else(|panic| std::panic::resume_unwind(Box::new(panic)));
        if lasted.is_some_and(|lasted| lasted >= STABLE_AFTER) {
            self.backoff.reset();
        }
        match why {
            Ended::Stopped => tracing::info!(network = self.network.name, "left"),
            why => self.pause(&why).await,
        }
        speaker
    }

    /// Waits before the next try, or until stopped.
    async fn pause(&mut self, why: &impl std::fmt::Display) {
        let pause = self.backoff.next_pause();
        tracing::warn!(network = self.network.name, %why, next_try_in = ?pause, "not connected");
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
