//! Speaks for the bot on one network: holds its lock, dials, converses, and begins again.

use std::sync::Arc;
use std::time::Duration;

use bus::{Broker, JournalSettings};
use protocol::{Ambient, event_id};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::irc::ended::Ended;
use crate::irc::handover::Handover;
use crate::irc::reach::backoff::Backoff;
use crate::irc::reach::dial::{Dial, Dialer, Socket};
use crate::irc::reach::reason::Reason;
use crate::irc::session::{Known, NickFence, Session};
use crate::irc::speak::speaker::Speaker;
use crate::irc::voice::{Grant, Voice};
use crate::irc::{Answers, Channel, Network, PROTO, Sts};
use crate::outbox::Outbox;
use crate::replies::Replies;

/// A connection that lasted so long counts as a success: the next loss is answered by a short pause again.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// How long the last events may take to reach the broker once the connector was stopped.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// How long reading the memory on the broker may keep us from the network: a broker that takes no messages for now must
/// not keep us from hearing.
const TAKE_OVER_WITHIN: Duration = Duration::from_secs(3);
/// How many lines of the session may wait for the speaker.
const ORDERS: usize = 256;

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
pub(crate) struct Connector {
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
    known: Known,
    /// Where to be: what is configured, and what actions have made of it.
    channels: Vec<Channel>,
    /// By which a successor can call upon us.
    secret: Uuid,
}

impl Connector {
    pub fn new(
        network: Network,
        broker: Arc<dyn Broker>,
        ambient: Arc<dyn Ambient>,
        journal: Option<JournalSettings>,
        sts: Sts,
        stop: CancellationToken,
    ) -> Self {
        let backoff = Backoff::new(ambient.clone());
        let not_before = Instant::now() + backoff.stagger(network.place);
        let (network, secret) = (Arc::new(network), event_id(&*ambient));
        let channels = network.channels.clone();
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
            known: Known::default(),
            channels,
            secret,
        }
    }

    pub async fn run(mut self, dialer: impl Dial) -> Result<(), bus::Error> {
        let mut replies = Replies::new(self.broker.clone(), self.ambient.clone(), PROTO, &self.network.name)
            .with_permits(self.network.permits.clone());
        replies.memory.heard = self.known.heard.clone();
        let chooses = self.network.channels.iter().any(|channel| channel.answers == Answers::Best);
        let replies = if chooses { replies.with_choices() } else { replies };
        if self.declare(&replies).await?.is_none() {
            return Ok(());
        }
        let (broker, ambient, journal) = (self.broker.clone(), self.ambient.clone(), self.journal.take());
        let mut outbox = Outbox::open(broker, ambient, PROTO, &self.network.name, journal);
        let mut voice = Voice::ask(self.broker.clone(), &self.network.name);
        let permission = voice.permission();
        let mut speaker = Speaker::new(replies, self.network.clone(), permission, &self.known);
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
                self.known.heard.is_to_be_read();
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
        let (network, ambient, known) = (self.network.clone(), self.ambient.clone(), self.known.clone());
        let mut session = Session::new(network, ambient, orders, outbox, fence, handover, known)
            .keeping(&self.channels)
            .with(socket.server.clone(), self.sts.clone());
        let why = session.run(socket.reader, leave, &hang_up).await;
        let (lasted, refusal) = (session.registered_for(), session.refusal());
        self.known.losses = session.losses(why.is_kill());
        self.channels = session.channels();
        self.might_speak = session.might_speak() && !why.is_kill();
        if why.is_kill() {
            // no ghost of ours is left, and who had us killed may speak under our nick now
            self.spoke_under = None;
        }
        hang_up.cancel();
        let mut speaker = speaking.await.unwrap_or_else(|panic| std::panic::resume_unwind(Box::new(panic)));
        if why.is_flood() {
            speaker.thrown_out();
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
