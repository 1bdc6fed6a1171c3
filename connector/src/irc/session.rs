//! One connection, from its first line to its last: registers, joins, answers PING, notices when the server falls
//! silent, and hands everything else that it hears to [`Events`]. It alone reads the socket, and never waits for the
//! broker; what it has to say goes to the speaker as orders.

mod history;
mod joining;
mod nick;
mod welcome;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use irc_proto::{Command, Message, Prefix, Response};
use protocol::Ambient;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::heard::Heard;
pub(crate) use crate::irc::ended::Ended;
use crate::irc::handover::Handover;
use crate::irc::hear::batches::{Batches, Labelled, Taken};
use crate::irc::hear::bouncer::Bouncer;
use crate::irc::hear::ctcp::Ctcp;
use crate::irc::hear::events::{Events, View};
use crate::irc::hear::framing::{Framing, numbered};
use crate::irc::hear::history::History;
use crate::irc::hear::inquiry::Inquiry;
use crate::irc::hear::mask::ignored_by;
use crate::irc::hear::refusal::refusal;
use crate::irc::hear::rejoin::Rejoin;
use crate::irc::reach::dial::Reader;
use crate::irc::reach::reason::Reason;
use crate::irc::reach::sts::Sts;
use crate::irc::register::capabilities::Capabilities;
use crate::irc::register::losses::Losses;
use crate::irc::register::modes::Modes;
use crate::irc::register::nickserv;
use crate::irc::register::regain::Regain;
use crate::irc::register::registration::Registration;
use crate::irc::speak::asked::Asked;
use crate::irc::speak::line::{Frame, Line};
use crate::irc::speak::loops::Loops;
use crate::irc::speak::proof::{Means, Proof};
use crate::irc::speak::speaker::{FINISH_WITHIN, JOIN_FENCE, Nick, Order, fence_number};
use crate::irc::{Flood, Network, Server};
use crate::outbox::Outbox;

/// A server that is silent for so long is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(45);
/// How long it may take to answer that.
pub(crate) const PONG_WITHIN: Duration = Duration::from_secs(30);
/// How long the speaker may take to have room for one more line of ours: it waits for the server only.
const ORDER_WITHIN: Duration = Duration::from_secs(30);
/// How long a server may take to close the connection after our QUIT.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;
/// What our own PING asks to be sent back.
const PING_TOKEN: &str = "pubbot";
/// The parting words.
const GOODBYE: &str = "pubbot";

/// What was heard and asked for on other connections, as far as it matters on this one; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Known {
    pub loops: Loops,
    pub heard: Heard,
    pub asked: Asked,
    pub losses: Losses,
}

/// One connection's state.
pub(crate) struct Session<'a> {
    network: Arc<Network>,
    orders: Option<mpsc::Sender<Order>>,
    framing: Framing,
    registration: Registration,
    modes: Modes,
    view: View,
    events: Events<'a>,
    phase: Phase,
    last_heard: Instant,
    /// When PING was sent into the present silence.
    pinged: Option<Instant>,
    /// What the speaker was told that limits a line.
    told_frame: Frame,
    /// What it was told that is agreed upon.
    told_agreed: Capabilities,
    /// What the server said before it closed the connection.
    last_words: Option<String>,
    /// What a number said that refused the registration.
    refusal: Option<Reason>,
    batches: Batches,
    history: History,
    fence: NickFence,
    handover: Handover,
    /// Whoever speaks now has told us to leave.
    called: bool,
    regain: Regain,
    /// The server welcomed us.
    was_up: bool,
    /// Until when the channels wait for what the server says of itself.
    introduction: Option<Instant>,
    /// Until when the channels wait for NickServ's answer.
    identifying: Option<Instant>,
    /// Channels may be asked for.
    joined: bool,
    rejoin: Rejoin,
    inquiry: Inquiry,
    ctcp: Ctcp,
    /// What actions ask for.
    asked: Asked,
    /// The nick that we should have: the configured one, or that of an action.
    own_nick: String,
    /// The nick that an action has asked for, and the server not given yet.
    asked_nick: Option<String>,
    bouncer: Bouncer,
    /// The server as it was dialed, and what hosts have asked for.
    server: Option<(Server, Sts)>,
    ambient: Arc<dyn Ambient>,
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
pub(crate) enum NickFence {
    /// Under its own alone: so the server itself refuses a second bot.
    Up,
    /// Under any like it, while nobody else can be speaking for us: as long as the lock is ours by this grant.
    Down { under: u64 },
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Registering,
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
        known: Known,
    ) -> Self {
        let now = Instant::now();
        Session {
            orders: Some(orders),
            framing: Framing::new(&network.name),
            registration: Registration::new(network.clone(), ambient.clone()),
            modes: Modes::new(network.modes.clone()),
            view: View::new(&network.nick),
            regain: Regain::new(network.clone(), known.losses.clone()),
            history: History::new(&network.name, known.heard.clone()),
            asked: known.asked.clone(),
            events: Events::new(&network.name, ambient.clone(), outbox, known),
            rejoin: Rejoin::new(&network.channels),
            own_nick: network.nick.clone(),
            asked_nick: None,
            inquiry: Inquiry::new(network.flood != Flood::Off),
            ctcp: Ctcp::default(),
            bouncer: Bouncer::default(),
            server: None,
            ambient,
            phase: Phase::Registering,
            last_heard: now,
            pinged: None,
            told_frame: Frame::default(),
            told_agreed: Capabilities::default(),
            last_words: None,
            refusal: None,
            batches: Batches::default(),
            fence,
            handover,
            called: false,
            was_up: false,
            introduction: None,
            identifying: None,
            joined: false,
            join_is_heard: false,
            told_nick: Nick::Forbids,
            shared: false,
            linger: network.linger,
            network,
        }
    }

    /// A session with this server, which may want TLS from now on.
    pub fn with(mut self, server: Server, sts: Sts) -> Self {
        if !server.tls {
            self.registration.in_plain();
        }
        Session { server: Some((server, sts)), ..self }
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

    /// Why the server did not register us, if it has said so by a number.
    pub fn refusal(&self) -> Option<Reason> {
        self.refusal.filter(|_| !self.was_up)
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
        self.framing.feed(&bytes[..length]);
        while let Some(message) = self.framing.next_message() {
            // a line that never ends is a silence, too
            (self.last_heard, self.pinged) = (Instant::now(), None);
            self.handle(message).await?;
        }
        Ok(())
    }

    async fn handle(&mut self, message: Message) -> Result<(), Ended> {
        self.note_asked();
        let Some(Taken { message, labelled, replayed, page }) = self.batches.take(message) else { return Ok(()) };
        if replayed || self.events.is_older(&message) {
            self.hear_again(message);
            return Ok(());
        }
        if let Some(page) = page {
            self.history.page(&page);
            self.ask_for_history().await?;
        }
        if self.handover.is_called(&message) {
            self.called = true;
            return Ok(());
        }
        self.hear_of_tls(&message.command)?;
        self.hear_of_bouncer(&message);
        self.take_nick(&message);
        let join_refused = self.join_refused(&message);
        // what is labelled answers an action
        if !join_refused && labelled == Labelled::No && self.answers_for_nick(&message) {
            return Ok(());
        }
        self.hear_of_proof(&message, labelled, join_refused).await?;
        if join_refused {
            return Ok(());
        }
        self.hear_of_login(&message).await?;
        if let Some(todo) = self.registration.hear(&message)? {
            return self.go_on(todo).await;
        }
        self.hear_of_introduction(&message).await?;
        self.hear_of_inquiry(&message);
        self.hear_what(message, labelled).await
    }

    /// What a message says by its command, after all that it may be an answer to.
    async fn hear_what(&mut self, message: Message, labelled: Labelled) -> Result<(), Ended> {
        match message.command {
            Command::PING(token, _) => self.send(Line::pong(&token)).await,
            Command::PONG(first, second) => self.ponged(&second.unwrap_or(first)).await,
            Command::ERROR(why) => {
                self.last_words = Some(why);
                Ok(())
            }
            Command::Response(Response::RPL_WELCOME, ref parameters) => {
                self.events.begin(&message);
                self.answered(Response::RPL_WELCOME, parameters).await
            }
            Command::Response(numeric, parameters) => self.answered(numeric, &parameters).await,
            Command::PRIVMSG(ref target, ref text) | Command::NOTICE(ref target, ref text)
                if self.is_ours(&message) =>
            {
                let (target, text) = (target.clone(), text.clone());
                self.echoed(&message, target, text, labelled).await
            }
            _ if self.is_ignored(&message) => Ok(()),
            _ => {
                self.hear_ourselves(&message);
                self.note_channels(&message);
                self.note_standard_reply(&message);
                self.ask_for_history().await?;
                self.answer_ctcp(&message).await?;
                self.events.hear(message, &mut self.view);
                self.nick_may_have_changed().await?;
                self.tell_frame().await
            }
        }
    }

    fn hear_of_bouncer(&mut self, message: &Message) {
        if let Some(sign) = self.bouncer.hear(message) {
            tracing::warn!(network = self.network.name, sign, "a bouncer is in between: what it takes counts as said");
        }
    }

    /// The server takes a line, or does not.
    async fn hear_of_proof(&mut self, message: &Message, labelled: Labelled, join_refused: bool) -> Result<(), Ended> {
        if let Some(refusal) = refusal(message, labelled, join_refused) {
            return self.order(Order::Refused(refusal)).await;
        }
        match labelled {
            Labelled::End(label) => self.order(Order::Proved(Proof::Label(label))).await,
            Labelled::Part(_) | Labelled::No => Ok(()),
        }
    }

    /// What was asked about a channel is answered.
    fn hear_of_inquiry(&mut self, message: &Message) {
        if let Some((number, parameters)) = numbered(&message.command)
            && let Some(channel) = self.inquiry.hear(number, parameters, &mut self.view)
        {
            self.events.names(&self.view, &channel);
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
        match self.registration.agreed().means() {
            Means::Echoes => self.order(Order::Proved(Proof::Echo { target, text })).await?,
            // what we say to ourselves is sent to us by every server, and what we said to NickServ has no label
            _ if labelled != Labelled::No || self.view.is_me(&target) || nickserv::is_nickserv(&target) => {}
            // no echo of ours: another session has said this, so it proves nothing
            Means::Labels | Means::Fences => self.note_shared(),
        }
        if let Some(Prefix::Nickname(_, user, host)) = &message.prefix {
            self.view.me.seen(user, host);
        }
        self.tell_frame().await
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

    fn is_ours(&self, message: &Message) -> bool {
        matches!(&message.prefix, Some(Prefix::Nickname(nick, ..)) if self.view.is_me(nick))
    }

    /// Somebody says it whom the operator does not want to be heard.
    fn is_ignored(&self, message: &Message) -> bool {
        let mask = ignored_by(&self.network.ignore, message, self.view.isupport.casemapping);
        if let Some(mask) = mask {
            tracing::debug!(network = self.network.name, %mask, from = message.source_nickname(), "ignored");
        }
        mask.is_some()
    }

    /// The server answers with a number.
    async fn answered(&mut self, numeric: Response, parameters: &[String]) -> Result<(), Ended> {
        let parameter = |index: usize| parameters.get(index).map_or("", String::as_str);
        let last = parameters.last().map_or("", String::as_str);
        match numeric {
            Response::RPL_WELCOME => self.welcomed(parameter(0), last).await,
            Response::RPL_ISUPPORT => {
                self.view.learn(parameters.iter().skip(1).map(|parameter| parameter.trim()));
                self.order(Order::Supports(Arc::new(self.view.isupport.clone()))).await?;
                self.learned().await?;
                let mark = self.modes.of_a_bot(&self.view.me.nick, self.view.isupport.bot);
                self.send_all(mark).await
            }
            Response::RPL_TRYAGAIN if parameter(1) != "WHO" => self.order(Order::Halve).await,
            Response::RPL_HOSTHIDDEN => {
                self.view.me.hidden_as(parameter(1));
                self.tell_frame().await
            }
            Response::ERR_NICKNAMEINUSE | Response::ERR_ERRONEOUSNICKNAME | Response::ERR_UNAVAILRESOURCE
                if self.is_registering() =>
            {
                self.ask_for_next_nick(last).await
            }
            refusal if refusal.is_error() && refusal != Response::ERR_NOMOTD => {
                self.refused(refusal, parameters);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Answers a CTCP question that was put to us in private.
    async fn answer_ctcp(&mut self, message: &Message) -> Result<(), Ended> {
        let Command::PRIVMSG(target, text) = &message.command else { return Ok(()) };
        let Some(asker) = message.source_nickname().filter(|_| self.view.is_me(target)) else { return Ok(()) };
        match self.ctcp.answer(text, self.ambient.now()) {
            Some(answer) => self.send(Line::ctcp(asker, &answer)).await,
            None => Ok(()),
        }
    }

    /// Tells the speaker how much can be said on a line, if that has changed.
    async fn tell_frame(&mut self) -> Result<(), Ended> {
        let frame = Frame { line: self.view.isupport.line_bytes, identity: self.view.me.bytes() };
        if std::mem::replace(&mut self.told_frame, frame) == frame {
            return Ok(());
        }
        self.order(Order::Frame(frame)).await
    }

    async fn send_all(&mut self, lines: impl IntoIterator<Item = Line>) -> Result<(), Ended> {
        for line in lines {
            self.send(line).await?;
        }
        Ok(())
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
        let steps = self.registration.until();
        let of_phase = match (self.phase, self.pinged) {
            (Phase::Leaving { until }, _) => return until,
            (Phase::Registering, _) => None,
            (Phase::Registered { .. }, Some(pinged)) => Some(pinged + PONG_WITHIN),
            (Phase::Registered { .. }, None) => Some(self.last_heard + SILENCE),
        };
        // nothing is asked for before the welcome, nor of a server that may not be there
        let may_ask = matches!((self.phase, self.pinged), (Phase::Registered { .. }, None));
        let asking = [self.regain.next(), self.next_join(), self.inquiry.next()];
        let [regain, join, question] = asking.map(|at| at.filter(|_| may_ask));
        let moments =
            [steps, self.introduction, self.identifying, self.history.until(), regain, join, question, of_phase];
        moments.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + SILENCE)
    }

    /// Looks whether all is well; PING breaks a silence.
    async fn check(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        let is_due = |moment: Option<Instant>| moment.is_some_and(|moment| moment <= now);
        if now < self.next_check() {
            return Ok(());
        }
        match (self.phase, self.pinged) {
            (Phase::Leaving { .. }, _) => Err(Ended::Stopped),
            _ if is_due(self.registration.until()) => {
                let todo = self.registration.late()?;
                self.go_on(todo).await
            }
            _ if is_due(self.history.until()) => {
                self.history.refused("there is no answer");
                self.ask_for_history().await
            }
            _ if is_due(self.introduction) => self.introduced().await,
            _ if is_due(self.identifying) => self.stop_waiting_for_nickserv().await,
            (Phase::Registering, _) => Ok(()),
            (Phase::Registered { .. }, Some(_)) => Err(Ended::Silent),
            (Phase::Registered { .. }, None) if is_due(self.regain.next()) => self.regain().await,
            (Phase::Registered { .. }, None) if is_due(self.next_join()) => self.join().await,
            (Phase::Registered { .. }, None) if is_due(self.inquiry.next()) => {
                let question = self.inquiry.ask(&self.view);
                self.send_all(question).await
            }
            (Phase::Registered { .. }, None) => {
                self.pinged = Some(now);
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
