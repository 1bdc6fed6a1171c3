//! One IRC network: dials, registers, joins; what is heard becomes events, and replies are said. Begins again whenever
//! the connection is lost, until it is stopped.
//!
//! For each connection a `Session` reads the socket and a `Speaker` writes it, each in a task of its own. The session
//! never waits for the broker: its events go to the outbox. The speaker alone waits for replies.

mod agenda;
mod backoff;
mod capabilities;
mod casemap;
mod channel_modes;
mod channels;
mod choice;
mod ctcp;
mod dial;
mod ended;
mod events;
mod fingerprint;
mod flood;
mod formatting;
mod framing;
mod handover;
mod identity;
mod isupport;
mod labels;
mod line;
mod lines;
mod login;
mod loops;
mod modes;
mod nickserv;
mod pace;
mod pem;
mod proof;
mod reach;
mod reason;
mod refusal;
mod registration;
mod rejoin;
mod resolve;
mod round;
mod sasl;
mod scram;
mod server;
mod session;
mod speaker;
mod split;
mod sts;
mod tags;
#[cfg(test)]
mod tests;
mod tls;
mod trust;
mod under_way;
mod voice;

use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, JournalSettings};
use protocol::{Ambient, event_id};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use self::backoff::Backoff;
pub use self::dial::DialError;
use self::dial::{Dial, Dialer, Socket};
pub use self::fingerprint::Fingerprint;
pub use self::flood::Flood;
use self::handover::Handover;
pub use self::login::{Login, Mechanism, Sasl};
use self::loops::Loops;
pub use self::pem::FileError;
pub use self::reach::{Reached, Unreachable, reach};
use self::reason::Reason;
pub use self::server::Server;
use self::session::{Ended, NickFence, Session};
use self::speaker::Speaker;
pub use self::sts::{Sts, StsAnswer};
pub use self::tls::{ClientCertificate, Tls};
pub use self::trust::{Certificate, Distrust, Trust};
use self::voice::{Grant, Voice};
use crate::outbox::Outbox;
use crate::replies::Replies;
use crate::{Expiry, Secret};

/// This network's protocol, in routing keys and names of queues.
const PROTO: &str = "irc";
/// A connection that lasted so long counts as a success: the next loss is answered by a short pause again.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// How long the last events may take to reach the broker once the connector was stopped.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// How long reading the memory on the broker may keep us from the network: a broker that takes no messages for now must
/// not keep us from hearing.
const TAKE_OVER_WITHIN: Duration = Duration::from_secs(3);
/// How many lines of the session may wait for the speaker.
const ORDERS: usize = 256;

/// An IRC network, and who the bot is there.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its name in events, replies and queues: a word of letters, digits, `_` and `-`.
    pub name: String,
    /// Its servers, one at least. They are tried in this order; after a lost connection the next one comes first.
    pub servers: Vec<Server>,
    /// How they prove who they are, and how we do, where TLS is spoken.
    pub tls: Tls,
    /// The nick to use. If it is taken, one much like it.
    pub nick: String,
    /// The user name, before the `@`.
    pub user: String,
    /// The real name, free text.
    pub realname: String,
    /// The server's password (PASS).
    pub password: Option<Secret>,
    /// How to log in to the services account.
    pub login: Login,
    /// The user modes to set after the welcome, as in `+iB-w`.
    pub modes: Option<String>,
    /// Where to be.
    pub channels: Vec<Channel>,
    /// Which invitations to follow.
    pub invites: Invites,
    /// How fast to speak.
    pub flood: Flood,
    /// How old a reply may be that is said.
    pub expiry: Expiry,
    /// How many lines may be written of which the server has not yet proved that it took them, 1 at least: so many may
    /// be said twice when this process is killed.
    pub unproved: usize,
    /// In channels where only the best answer is said: how long to wait for a better one, from the first on.
    pub answers_window: Duration,
    /// How long to go on with what is to be said once told to stop.
    pub linger: Duration,
    /// Which it is of the networks that are started together, from 0: the first dials at once, the others a moment later.
    pub place: usize,
}

/// The usual number of lines that may be unproved.
pub const UNPROVED: usize = 4;
/// How long is usually waited for a better answer.
pub const ANSWERS_WINDOW: Duration = Duration::from_millis(150);

/// A channel to be in.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name, with the `#`.
    pub name: String,
    /// Its key, if one is needed to get in (channel mode `k`).
    pub key: Option<Secret>,
    /// Which answers to a line are said.
    pub answers: Answers,
}

/// Which invitations are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Invites {
    /// To the channels that the bot should be in anyway.
    #[default]
    Configured,
    /// To any channel, of which 50 in a session at most; until the session ends.
    Anywhere,
}

/// Which answers to a line are said, when several handlers answer it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// All of them.
    #[default]
    All,
    /// Those of one handler: of the highest rank, and of those the first.
    Best,
}

/// Speaks for the bot on a network until `stop`: waits until it is the only one that does, stays connected, and goes
/// on as a standby if another takes over. In the end it says QUIT, gives the network free for another, lets the last
/// events reach the broker, and returns. Events go to the broker by way of the journal, if there is one; a broker in this
/// process needs none. Hosts that want to be spoken to through TLS only are known and remembered by `sts`.
///
/// # Errors
/// When the broker refuses the network's reply queues. A broker that is away is waited for.
pub async fn run(
    network: Network,
    broker: Arc<dyn Broker>,
    ambient: Arc<dyn Ambient>,
    journal: Option<JournalSettings>,
    sts: Sts,
    stop: CancellationToken,
) -> Result<(), bus::Error> {
    let dialer = Dialer::new(&network, &sts);
    Connector::new(network, broker, ambient, journal, sts, stop).run(dialer).await
}

/// Everything that outlives a connection.
struct Connector {
    network: Arc<Network>,
    broker: Arc<dyn Broker>,
    ambient: Arc<dyn Ambient>,
    journal: Option<JournalSettings>,
    sts: Sts,
    stop: CancellationToken,
    backoff: Backoff,
    /// Before this nothing is dialed.
    not_before: Instant,
    /// The grant under which a session of ours ended that might speak, and so had the nick, or was preceded by one.
    spoke_under: Option<u64>,
    /// The last session was such a one.
    might_speak: bool,
    loops: Loops,
    /// By which a successor can call upon us.
    secret: Uuid,
}

impl Connector {
    fn new(
        network: Network,
        broker: Arc<dyn Broker>,
        ambient: Arc<dyn Ambient>,
        journal: Option<JournalSettings>,
        sts: Sts,
        stop: CancellationToken,
    ) -> Self {
        let backoff = Backoff::new(ambient.clone());
        let not_before = Instant::now() + backoff.stagger(network.place);
        let (network, loops, secret) = (Arc::new(network), Loops::default(), event_id(&*ambient));
        Connector {
            network,
            broker,
            ambient,
            journal,
            sts,
            stop,
            backoff,
            not_before,
            spoke_under: None,
            might_speak: false,
            loops,
            secret,
        }
    }

    async fn run(mut self, dialer: impl Dial) -> Result<(), bus::Error> {
        let replies = Replies::new(self.broker.clone(), self.ambient.clone(), PROTO, &self.network.name);
        let chooses = self.network.channels.iter().any(|channel| channel.answers == Answers::Best);
        let replies = if chooses { replies.with_choices() } else { replies };
        if self.declare(&replies).await?.is_none() {
            return Ok(());
        }
        let (broker, ambient, journal) = (self.broker.clone(), self.ambient.clone(), self.journal.take());
        let mut outbox = Outbox::open(broker, ambient, PROTO, &self.network.name, journal);
        let mut voice = Voice::ask(self.broker.clone(), &self.network.name);
        let permission = voice.permission();
        let mut speaker = Speaker::new(replies, self.network.clone(), permission, self.loops.clone());
        let stop = self.stop.clone();
        while let Some(grant) = stop.run_until_cancelled(voice.granted()).await {
            speaker = self.hold(&dialer, &mut voice, grant, speaker, &mut outbox).await;
        }
        speaker.remember().await;
        // before all else: another one waits for it
        drop(voice);
        if let Err(events) = outbox.close(SETTLE_WITHIN).await {
            tracing::error!(network = self.network.name, events, "stopped before the broker confirmed all events");
        }
        Ok(())
    }

    /// Stays connected until stopped, or until somebody else speaks for the bot. Gives the speaker back.
    async fn hold(
        &mut self,
        dialer: &impl Dial,
        voice: &mut Voice,
        mut grant: Grant,
        mut speaker: Speaker,
        outbox: &mut Outbox,
    ) -> Speaker {
        let leave = self.stop.child_token();
        let Some(mut handover) = self.take_over(&mut speaker, voice, &grant).await else { return speaker };
        while let Some(socket) = self.dial(dialer, voice).await {
            let fence = self.fence(&grant);
            speaker = {
                let conversing = self.converse(socket, speaker, outbox, fence, handover.clone(), &leave);
                tokio::pin!(conversing);
                tokio::select! {
                    speaker = &mut conversing => speaker,
                    () = voice.taken() => {
                        leave.cancel();
                        conversing.await
                    }
                }
            };
            if leave.is_cancelled() {
                break;
            }
            // without the lock the network is still heard, if the nick is free: nobody else is there then
            let now = voice.permission().get();
            let unbroken = now.as_ref().map(|now| now.number).filter(|number| *number == grant.number);
            self.spoke_under = if std::mem::take(&mut self.might_speak) {
                unbroken
            } else {
                self.spoke_under.filter(|number| Some(*number) == unbroken)
            };
            if let Some(now) = now.filter(|now| now.number != grant.number) {
                let Some(taken) = self.take_over(&mut speaker, voice, &now).await else { break };
                (handover, grant) = (taken, now);
            }
        }
        if leave.is_cancelled() && !self.stop.is_cancelled() {
            self.spoke_under = None;
            tracing::warn!(network = self.network.name, "another connector speaks on this network now: standing by");
        }
        speaker
    }

    /// Reads what others have said on this network, before anything is said, if that can be done soon; `None` when
    /// stopped, or when somebody else has the lock meanwhile.
    async fn take_over(&self, speaker: &mut Speaker, voice: &mut Voice, grant: &Grant) -> Option<Handover> {
        let ours = self.secret;
        let permission = voice.permission();
        let taken_over = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            () = voice.taken() => return None,
            taken_over = timeout(TAKE_OVER_WITHIN, speaker.take_over(ours, grant.number)) => taken_over,
        };
        let theirs = match taken_over {
            Ok(Ok(theirs)) => theirs,
            // the speaker reads it before it speaks; listening can't wait for that
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(
                    network = self.network.name,
                    "what was said before can't be read yet: listening meanwhile"
                );
                None
            }
        };
        Some(Handover::new(ours, theirs, permission))
    }

    /// Whether the nick must keep us silent if it is not our own. Not so where nobody else can have the lock, and while
    /// it was ours without a break since our own last session ended: then the nick is held by that session's ghost,
    /// which can't speak, or by a stranger.
    fn fence(&self, grant: &Grant) -> NickFence {
        let unbroken = self.spoke_under == Some(grant.number);
        let is_down = unbroken || grant.lease.is_endless();
        if is_down { NickFence::Down { under: grant.number } } else { NickFence::Up }
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
                Err(why @ (bus::Error::Away { .. } | bus::Error::TimedOut { .. })) => {
                    self.put_off(&why, Reason::Lost);
                    self.pause(&self.stop).await;
                }
                Err(why) => return Err(why),
            }
        }
    }

    /// Dials until the server answers; `None` when stopped, or when somebody else has the lock.
    async fn dial(&mut self, dialer: &impl Dial, voice: &mut Voice) -> Option<Socket> {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = voice.taken() => None,
            socket = self.dial_patiently(dialer) => Some(socket),
        }
    }

    async fn dial_patiently(&mut self, dialer: &impl Dial) -> Socket {
        loop {
            sleep_until(self.not_before).await;
            match dialer.dial().await {
                Ok(socket) => {
                    let (network, server, address) = (&self.network.name, &socket.server, socket.address);
                    tracing::info!(network, %server, ?address, tls = server.tls, "reached a server");
                    return socket;
                }
                Err(why) => self.put_off(&why, Reason::of_dial(&why)),
            }
        }
    }

    /// One connection, from its first line to its last, or until `leave`; pauses after it, unless it is to leave. Gives
    /// the speaker back.
    async fn converse(
        &mut self,
        socket: Socket,
        speaker: Speaker,
        outbox: &mut Outbox,
        fence: NickFence,
        handover: Handover,
        leave: &CancellationToken,
    ) -> Speaker {
        let (orders, receiver) = mpsc::channel(ORDERS);
        let hang_up = CancellationToken::new();
        let speaking = AbortOnDropHandle::new(tokio::spawn(speaker.speak(socket.writer, receiver, hang_up.clone())));
        let (network, ambient, loops) = (self.network.clone(), self.ambient.clone(), self.loops.clone());
        let mut session = Session::new(network, ambient, orders, outbox, fence, handover, loops)
            .with(socket.server.clone(), self.sts.clone());
        let why = session.run(socket.reader, leave, &hang_up).await;
        let (lasted, refusal) = (session.registered_for(), session.refusal());
        self.might_speak = session.might_speak();
        hang_up.cancel();
        let mut speaker = speaking.await.unwrap_or_else(|panic| std::panic::resume_unwind(Box::new(panic)));
        if why.is_flood() {
            speaker.halve();
        }
        if lasted.is_some_and(|lasted| lasted >= STABLE_AFTER) {
            self.backoff.reset();
        }
        let server = socket.server;
        self.sts.left(&server);
        match why {
            Ended::Stopped => tracing::info!(network = self.network.name, "left"),
            _ if !server.tls && self.sts.wants_tls(&server.host) => {
                tracing::info!(
                    network = self.network.name,
                    host = server.host,
                    "the server wants TLS: dialing it again"
                );
            }
            why => {
                self.put_off(&why, Reason::of_end(&why, refusal));
                // who is to leave goes without a pause, but whoever has the lock again dials no sooner
                self.pause(leave).await;
            }
        }
        speaker
    }

    /// Puts the next try off.
    fn put_off(&mut self, why: &impl std::fmt::Display, reason: Reason) {
        let pause = self.backoff.next_pause(reason);
        self.not_before = Instant::now() + pause;
        tracing::warn!(network = self.network.name, %why, next_try_in = ?pause, "not connected");
    }

    /// Waits until the next try, or until told to leave.
    async fn pause(&self, leave: &CancellationToken) {
        tokio::select! {
            () = leave.cancelled() => {}
            () = sleep_until(self.not_before) => {}
        }
    }
}
