//! One connection, from its first line to its last: registers, joins, answers PING, notices when the server falls
//! silent, and hands everything else that it hears to [`Events`]. It alone reads the socket, and never waits for the
//! broker; what it has to say goes to the speaker as orders.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use irc_proto::{Command, Message, Prefix, Response};
use protocol::Ambient;
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Network;
use super::capabilities::Negotiation;
use super::dial::Reader;
use super::events::{Events, View};
use super::flood::is_flood;
use super::framing::Framing;
use super::handover::Handover;
use super::labels::{Labelled, Labels};
use super::line::Line;
use super::loops::Loops;
use super::proof::{Means, Proof, Refusal};
use super::registration::{Nicks, join_lines};
use super::speaker::{FINISH_WITHIN, JOIN_FENCE, Nick, Order, fence_number, fence_token};
use crate::outbox::Outbox;

/// How long a registration may take, from the connection to `001`.
const REGISTER_WITHIN: Duration = Duration::from_secs(60);
/// A server that is silent for so long is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(45);
/// How long it may take to answer that.
const PONG_WITHIN: Duration = Duration::from_secs(30);
/// How long the speaker may take to have room for one more line of ours: it waits for the server only.
const ORDER_WITHIN: Duration = Duration::from_secs(30);
/// How long a server may take to close the connection after our QUIT.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;
/// How often the nick is asked for that somebody else has: at first, and after a minute.
const REGAIN_EVERY: Duration = Duration::from_secs(2);
const REGAIN_LATER_EVERY: Duration = Duration::from_secs(15);
/// From then on the nick is asked for less often.
const REGAIN_EAGERLY: Duration = Duration::from_secs(60);
/// What our own PING asks to be sent back.
const PING_TOKEN: &str = "pubbot";
/// The parting words.
const GOODBYE: &str = "pubbot";

/// Why a session is over.
#[derive(Debug, Error)]
pub(super) enum Ended {
    /// By us, on purpose.
    #[error("stopped")]
    Stopped,
    /// The server closed the connection; what it said about it.
    #[error("the server closed the connection{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Closed(Option<String>),
    /// The socket failed.
    #[error("reading failed: {0}")]
    Reading(io::Error),
    /// The speaker could not write, and has said why.
    #[error("writing failed")]
    Writing,
    /// Nothing was heard, not even an answer to PING.
    #[error("the server is silent, and did not answer PING within {} s", PONG_WITHIN.as_secs())]
    Silent,
    /// The server never said `001`.
    #[error("the server did not welcome us within {} s", REGISTER_WITHIN.as_secs())]
    NotWelcomed,
    /// The nick and all others like it were refused.
    #[error("every nick was refused, the last one with: {0}")]
    NoNick(String),
}

impl Ended {
    /// Whether the server threw us out because we said too much.
    pub fn is_flood(&self) -> bool {
        matches!(self, Ended::Closed(Some(last_words)) if is_flood(last_words))
    }
}

/// One connection's state.
pub(super) struct Session<'a> {
    network: Arc<Network>,
    orders: Option<mpsc::Sender<Order>>,
    framing: Framing,
    nicks: Nicks,
    view: View,
    events: Events<'a>,
    phase: Phase,
    last_heard: Instant,
    /// When PING was sent into the present silence.
    pinged: Option<Instant>,
    /// The length of our own address that the speaker was told.
    told_identity: usize,
    /// What the server said before it closed the connection.
    last_words: Option<String>,
    negotiation: Negotiation,
    labels: Labels,
    fence: NickFence,
    handover: Handover,
    /// Whoever speaks now has told us to leave.
    called: bool,
    /// When the nick is asked for next that we should have.
    regain: Option<Instant>,
    /// The server welcomed us.
    was_up: bool,
    /// The channels were asked for.
    joined: bool,
    /// The server has heard that, so it lets us in because of it.
    join_is_heard: bool,
    /// What the nick allows, as the speaker knows.
    told_nick: Nick,
    /// Another session shares our nick, which was said.
    shared: bool,
    linger: Duration,
}

/// Under which nick the bot may be in channels and speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NickFence {
    /// Under its own alone: so the server itself refuses a second bot.
    Up,
    /// Under any like it, while nobody else can be speaking for us: as long as the lock is ours by this grant.
    Down { under: u64 },
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Registering { until: Instant },
    Registered { since: Instant },
    Leaving { until: Instant },
}

impl<'a> Session<'a> {
    pub fn new(
        network: Arc<Network>,
        ambient: Arc<dyn Ambient>,
        orders: mpsc::Sender<Order>,
        outbox: &'a mut Outbox,
        fence: NickFence,
        handover: Handover,
        loops: Loops,
    ) -> Self {
        let now = Instant::now();
        Session {
            orders: Some(orders),
            framing: Framing::new(&network.name),
            nicks: Nicks::new(&network.nick),
            view: View::new(&network.nick),
            events: Events::new(&network.name, ambient, outbox, loops),
            phase: Phase::Registering { until: now + REGISTER_WITHIN },
            last_heard: now,
            pinged: None,
            told_identity: 0,
            last_words: None,
            negotiation: Negotiation::default(),
            labels: Labels::default(),
            fence,
            handover,
            called: false,
            regain: None,
            was_up: false,
            joined: false,
            join_is_heard: false,
            told_nick: Nick::Forbids,
            shared: false,
            linger: network.linger,
            network,
        }
    }

    /// Lives until the connection is lost, or until `stop` and a goodbye; `stop` is cancelled when the successor calls.
    /// `hang_up` says that the speaker gave up.
    pub async fn run(&mut self, reader: Reader, stop: &CancellationToken, hang_up: &CancellationToken) -> Ended {
        let ended = match self.register().await {
            Ok(()) => self.listen(reader, stop, hang_up).await,
            Err(ended) => ended,
        };
        self.orders = None;
        let ended = match (self.phase, ended) {
            (Phase::Leaving { .. }, _) => Ended::Stopped,
            (_, Ended::Reading(_) | Ended::Writing) if self.last_words.is_some() => {
                Ended::Closed(self.last_words.take())
            }
            (_, ended) => ended,
        };
        if self.was_up {
            self.events.connection(&self.view, "down", Some(&ended));
        }
        ended
    }

    /// Whether it was under a nick that allows to speak, at some time.
    pub fn might_speak(&self) -> bool {
        self.joined
    }

    /// How long it was registered; `None` if never.
    pub fn registered_for(&self) -> Option<Duration> {
        match self.phase {
            Phase::Registered { since } => Some(since.elapsed()),
            _ => None,
        }
    }

    async fn register(&mut self) -> Result<(), Ended> {
        tracing::info!(network = self.network.name, "connected, registering");
        let network = self.network.clone();
        if let Some(password) = &network.password {
            self.send(Line::pass(password)).await?;
        }
        self.send(Line::capabilities()).await?;
        self.ask_for_next_nick("").await?;
        self.send(Line::user(&network.user, &network.realname)).await
    }

    async fn listen(&mut self, mut reader: Reader, stop: &CancellationToken, hang_up: &CancellationToken) -> Ended {
        let mut bytes = vec![0; READ_BYTES];
        let alarm = sleep_until(self.next_check());
        let (stopped, hung_up) = (stop.cancelled(), hang_up.cancelled());
        tokio::pin!(alarm, stopped, hung_up);
        loop {
            if self.called {
                stop.cancel();
            }
            let leaving = matches!(self.phase, Phase::Leaving { .. });
            let outcome = tokio::select! {
                biased;
                () = &mut stopped, if !leaving => self.say_goodbye().await,
                read = reader.read(&mut bytes) => self.take(read, &bytes).await,
                // after reading: what the server said last tells more than that it doesn't listen any more
                () = &mut hung_up, if !leaving => Err(Ended::Writing),
                () = &mut alarm => self.check().await,
                () = closed(&self.orders), if leaving => self.goodbye_is_said(),
            };
            if let Err(ended) = outcome {
                return ended;
            }
            let next_check = self.next_check();
            // a later check waits for the alarm, so that not every line sets a timer
            if alarm.is_elapsed() || next_check < alarm.deadline() {
                alarm.as_mut().reset(next_check);
            }
        }
    }

    /// Has the speaker bring to an end what it has begun, and say goodbye; what is heard meanwhile is still heard.
    async fn say_goodbye(&mut self) -> Result<(), Ended> {
        let patience = if self.is_registering() { Duration::ZERO } else { self.linger + FINISH_WITHIN };
        self.phase = Phase::Leaving { until: Instant::now() + patience + GOODBYE_WITHIN };
        let linger = if patience.is_zero() { patience } else { self.linger };
        self.order(Order::Leave { goodbye: Line::quit(GOODBYE), linger }).await
    }

    /// The speaker has written QUIT: the server may close the connection now.
    fn goodbye_is_said(&mut self) -> Result<(), Ended> {
        self.orders = None;
        self.phase = Phase::Leaving { until: Instant::now() + GOODBYE_WITHIN };
        Ok(())
    }

    async fn take(&mut self, read: io::Result<usize>, bytes: &[u8]) -> Result<(), Ended> {
        let length = read.map_err(Ended::Reading)?;
        if length == 0 {
            return Err(Ended::Closed(self.last_words.take()));
        }
        (self.last_heard, self.pinged) = (Instant::now(), None);
        self.framing.feed(&bytes[..length]);
        while let Some(message) = self.framing.next_message() {
            self.handle(message).await?;
        }
        Ok(())
    }

    async fn handle(&mut self, message: Message) -> Result<(), Ended> {
        if self.handover.is_called(&message) {
            self.called = true;
            return Ok(());
        }
        let labelled = self.labels.see(&message);
        if let Some(refusal) = refusal(&message, labelled) {
            self.order(Order::Refused(refusal)).await?;
        } else if let Labelled::End(label) = labelled {
            self.order(Order::Proved(Proof::Label(label))).await?;
        }
        match message.command {
            Command::PING(token, _) => self.send(Line::pong(&token)).await,
            Command::PONG(first, second) => self.ponged(&second.unwrap_or(first)).await,
            Command::CAP(_, subcommand, third, last) => {
                let parameters: Vec<&str> = [third.as_deref(), last.as_deref()].into_iter().flatten().collect();
                self.negotiate(subcommand.to_str(), &parameters).await
            }
            Command::ERROR(why) => {
                self.last_words = Some(why);
                Ok(())
            }
            Command::Response(numeric, parameters) => self.answered(numeric, &parameters).await,
            Command::PRIVMSG(ref target, ref text) | Command::NOTICE(ref target, ref text)
                if self.is_ours(&message) =>
            {
                let (target, text) = (target.clone(), text.clone());
                self.echoed(&message, target, text, labelled).await
            }
            _ => {
                self.hear_ourselves(&message);
                self.events.hear(message, &mut self.view);
                self.nick_may_have_changed().await?;
                self.tell_identity().await
            }
        }
    }

    /// Something that we said, sent back to us.
    async fn echoed(
        &mut self,
        message: &Message,
        target: String,
        text: String,
        labelled: Labelled,
    ) -> Result<(), Ended> {
        match self.negotiation.agreed().means() {
            Means::Echoes => self.order(Order::Proved(Proof::Echo { target, text })).await?,
            // what we say to ourselves is sent to us by every server
            _ if labelled != Labelled::No || self.view.is_me(&target) => {}
            // no echo of ours: another session has said this, so it proves nothing
            Means::Labels | Means::Fences => self.note_shared(),
        }
        if let Some(Prefix::Nickname(_, user, host)) = &message.prefix {
            self.view.me.seen(user, host);
        }
        self.tell_identity().await
    }

    async fn ponged(&mut self, token: &str) -> Result<(), Ended> {
        match fence_number(token) {
            Some(JOIN_FENCE) => {
                self.join_is_heard = true;
                Ok(())
            }
            Some(number) => self.order(Order::Proved(Proof::Fence(number))).await,
            None => Ok(()),
        }
    }

    async fn negotiate(&mut self, subcommand: &str, parameters: &[&str]) -> Result<(), Ended> {
        let before = self.negotiation.agreed();
        if let Some(line) = self.negotiation.hear(subcommand, parameters) {
            self.send(line).await?;
        }
        let agreed = self.negotiation.agreed();
        if agreed == before { Ok(()) } else { self.order(Order::Capabilities(agreed)).await }
    }

    fn is_ours(&self, message: &Message) -> bool {
        matches!(&message.prefix, Some(Prefix::Nickname(nick, ..)) if self.view.is_me(nick))
    }

    /// A JOIN of ours that we have not asked for: a session of the same nick is in that channel already.
    fn hear_ourselves(&mut self, message: &Message) {
        if matches!(message.command, Command::JOIN(..)) && !self.join_is_heard && self.is_ours(message) {
            self.note_shared();
        }
    }

    /// The server lets several sessions have one nick, so the nick keeps nobody silent.
    fn note_shared(&mut self) {
        if !std::mem::replace(&mut self.shared, true) {
            tracing::warn!(
                network = self.network.name,
                nick = self.view.me.nick,
                "another session has the same nick, and this server allows it: the nick keeps no second bot silent here; \
                 the lock on the broker alone does"
            );
        }
    }

    /// The server answers with a number.
    async fn answered(&mut self, numeric: Response, parameters: &[String]) -> Result<(), Ended> {
        let parameter = |index: usize| parameters.get(index).map_or("", String::as_str);
        let last = parameters.last().map_or("", String::as_str);
        match numeric {
            Response::RPL_WELCOME => self.welcomed(parameter(0), last).await,
            Response::RPL_ISUPPORT => {
                self.view.learn(parameters.iter().skip(1).map(|parameter| parameter.trim()));
                Ok(())
            }
            Response::RPL_TRYAGAIN => self.order(Order::Halve).await,
            Response::RPL_HOSTHIDDEN => {
                self.view.me.hidden_as(parameter(1));
                self.tell_identity().await
            }
            Response::RPL_NAMREPLY => {
                // the mark of the channel's kind before its name is missing on some servers
                self.list(parameter(parameters.len().saturating_sub(2)), last);
                Ok(())
            }
            Response::RPL_ENDOFNAMES => {
                if let Some(members) = self.view.channels.listed(parameter(1)) {
                    self.events.names(&self.view, parameter(1), members);
                }
                Ok(())
            }
            Response::ERR_NICKNAMEINUSE | Response::ERR_ERRONEOUSNICKNAME | Response::ERR_UNAVAILRESOURCE
                if self.is_registering() =>
            {
                self.ask_for_next_nick(last).await
            }
            // it is asked for again and again
            Response::ERR_NICKNAMEINUSE | Response::ERR_UNAVAILRESOURCE if self.regain.is_some() => Ok(()),
            refusal if refusal.is_error() && refusal != Response::ERR_NOMOTD => {
                self.refused(refusal, parameters);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// `001`: registered. The nick that the server gives us is ours, whatever we asked for.
    async fn welcomed(&mut self, nick: &str, welcome: &str) -> Result<(), Ended> {
        if !self.is_registering() {
            return Ok(());
        }
        self.phase = Phase::Registered { since: Instant::now() };
        self.was_up = true;
        if !nick.is_empty() {
            self.view.me.nick = nick.to_owned();
        }
        self.view.me.welcomed(welcome);
        tracing::info!(network = self.network.name, nick = self.view.me.nick, "registered");
        self.events.connection(&self.view, "up", None::<&Ended>);
        self.tell_identity().await?;
        self.nick_may_have_changed().await
    }

    /// Under the right nick the channels are joined, and replies said; under another one the right one is asked for.
    async fn nick_may_have_changed(&mut self) -> Result<(), Ended> {
        let Phase::Registered { since } = self.phase else { return Ok(()) };
        let own = self.view.is_me(&self.network.nick);
        let says = match self.fence {
            _ if own => Nick::Allows,
            NickFence::Up => Nick::Forbids,
            NickFence::Down { under } => Nick::AllowsUnder(under),
        };
        let allowed = says != Nick::Forbids;
        if own {
            self.regain = None;
        } else if self.regain.is_none() {
            let wait = if allowed { "" } else { "; until then it is in no channel and says nothing" };
            let (nick, network) = (&self.network.nick, &self.network.name);
            tracing::warn!(network, nick, "the nick is somebody else's, or that of our own ghost: asking for it{wait}");
            self.regain = Some(Instant::now() + regain_pause(since));
        }
        if allowed && !self.joined {
            self.joined = true;
            // its PONG comes before whatever the server says to the JOIN
            self.send(Line::ping(&fence_token(JOIN_FENCE))).await?;
            for line in join_lines(&self.network.name, &self.network.channels) {
                self.send(line).await?;
            }
        }
        if std::mem::replace(&mut self.told_nick, says) == says {
            return Ok(());
        }
        self.order(Order::Nick(says)).await
    }

    /// Asks for the nick that we should have.
    async fn ask_for_own_nick(&mut self, since: Instant) -> Result<(), Ended> {
        self.regain = Some(Instant::now() + regain_pause(since));
        if let Some(call) = self.handover.call(&self.network.nick).filter(|_| self.fence == NickFence::Up) {
            self.send(call).await?;
        }
        self.send(Line::nick(&self.network.nick.clone())).await
    }

    /// Asks for the nick, or for the next one like it since the last was refused.
    async fn ask_for_next_nick(&mut self, refusal: &str) -> Result<(), Ended> {
        let nick = self.nicks.next().ok_or_else(|| Ended::NoNick(refusal.to_owned()))?;
        if !refusal.is_empty() {
            tracing::warn!(network = self.network.name, refusal, next = nick, "the nick was refused");
        }
        let line = Line::nick(&nick);
        self.view.me.nick = nick;
        self.send(line).await
    }

    fn list(&mut self, channel: &str, names: &str) {
        let (isupport, channels) = (&self.view.isupport, &mut self.view.channels);
        channels.list(channel, names.split_ascii_whitespace().map(|name| isupport.split_marks(name)));
    }

    /// Something that we asked for was refused: a password, a channel.
    fn refused(&mut self, refusal: Response, parameters: &[String]) {
        let why = parameters.get(1..).unwrap_or_default().join(" ");
        tracing::warn!(network = self.network.name, number = refusal as u16, why, "the server refused");
        if self.is_registering() {
            self.last_words = Some(why);
        }
    }

    fn is_registering(&self) -> bool {
        matches!(self.phase, Phase::Registering { .. })
    }

    /// Tells the speaker how long our own address is, if that has changed.
    async fn tell_identity(&mut self) -> Result<(), Ended> {
        let bytes = self.view.me.bytes();
        if std::mem::replace(&mut self.told_identity, bytes) == bytes {
            return Ok(());
        }
        self.order(Order::Identity { bytes }).await
    }

    async fn send(&mut self, line: Line) -> Result<(), Ended> {
        self.order(Order::Write(line)).await
    }

    async fn order(&mut self, order: Order) -> Result<(), Ended> {
        let Some(orders) = &self.orders else { return Ok(()) };
        let leaving = matches!(self.phase, Phase::Leaving { .. });
        let within = if leaving { GOODBYE_WITHIN } else { ORDER_WITHIN };
        match timeout(within, orders.send(order)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) if leaving => self.goodbye_is_said(),
            Ok(Err(_)) | Err(_) => Err(Ended::Writing),
        }
    }

    /// When to look next whether all is well.
    fn next_check(&self) -> Instant {
        match (self.phase, self.pinged) {
            (Phase::Registering { until } | Phase::Leaving { until }, _) => until,
            (Phase::Registered { .. }, Some(pinged)) => pinged + PONG_WITHIN,
            (Phase::Registered { .. }, None) => {
                let silence = self.last_heard + SILENCE;
                self.regain.map_or(silence, |regain| regain.min(silence))
            }
        }
    }

    /// Looks whether all is well; PING breaks a silence.
    async fn check(&mut self) -> Result<(), Ended> {
        if Instant::now() < self.next_check() {
            return Ok(());
        }
        match (self.phase, self.pinged) {
            (Phase::Registering { .. }, _) => Err(Ended::NotWelcomed),
            (Phase::Leaving { .. }, _) => Err(Ended::Stopped),
            (Phase::Registered { .. }, Some(_)) => Err(Ended::Silent),
            (Phase::Registered { since }, None) if self.regain.is_some_and(|regain| regain <= Instant::now()) => {
                self.ask_for_own_nick(since).await
            }
            (Phase::Registered { .. }, None) => {
                self.pinged = Some(Instant::now());
                self.send(Line::ping(PING_TOKEN)).await
            }
        }
    }
}

/// Waits until the speaker takes no more orders.
async fn closed(orders: &Option<mpsc::Sender<Order>>) {
    match orders {
        Some(orders) => orders.closed().await,
        None => std::future::pending().await,
    }
}

fn regain_pause(since: Instant) -> Duration {
    if since.elapsed() < REGAIN_EAGERLY { REGAIN_EVERY } else { REGAIN_LATER_EVERY }
}

/// The numbers by which a server says that it does not take a message: no such nick or channel, not allowed to send,
/// too many targets, no colours, a bad mask, targets that change too fast, not in the channel, not identified, silenced,
/// ignored (RFC 2812, section 5.2, and the numerics of modern servers).
const REFUSALS: [u16; 18] = [401, 403, 404, 407, 408, 412, 413, 414, 415, 439, 442, 477, 486, 489, 492, 531, 707, 716];
/// From here on, numbers tell of errors: as the answer to a labelled line, any of them is a refusal.
const ERRORS: u16 = 400;

/// The refusal of something that we said, if the message is one.
fn refusal(message: &Message, labelled: Labelled) -> Option<Refusal> {
    let (number, target, parameters) = match &message.command {
        // the first parameter is our own nick
        Command::Response(numeric, parameters) => (*numeric as u16, parameters.get(1)?, parameters.get(2..)?),
        Command::Raw(number, parameters) if number.len() == 3 => {
            (number.parse().ok()?, parameters.get(1)?, parameters.get(2..)?)
        }
        Command::Raw(fail, parameters) if fail.eq_ignore_ascii_case("FAIL") => {
            let said = matches!(parameters.first()?.as_str(), "PRIVMSG" | "NOTICE");
            let code = parameters.get(1)?;
            // what stands between the code and the text may be missing
            let target = parameters.get(2).filter(|_| parameters.len() > 3);
            return said.then(|| Refusal {
                label: label(labelled),
                target: target.cloned(),
                why: format!("{code} {}", parameters.last().map_or("", String::as_str)),
            });
        }
        _ => return None,
    };
    let is_refusal = REFUSALS.contains(&number) || labelled != Labelled::No && number >= ERRORS;
    is_refusal.then(|| Refusal {
        label: label(labelled),
        target: Some(target.clone()),
        why: format!("{number} {}", parameters.join(" ")),
    })
}

fn label(labelled: Labelled) -> Option<u64> {
    match labelled {
        Labelled::Part(label) | Labelled::End(label) => Some(label),
        Labelled::No => None,
    }
}
