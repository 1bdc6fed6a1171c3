//! Says what is to be said: the session's lines at once, replies as the flood budget allows, answers before notices.
//! It alone writes to the socket, and writes replies only while it may speak.
//!
//! At most [`Network::unproved`] lines are written and not yet proved and remembered: so many may be said twice when
//! this process is killed. A reply is acknowledged once the server has proved that it took all its lines and the memory
//! of that is safe. What is not proved when the connection is lost is given back, and said on the next one.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::irc::hear::isupport::Isupport;
use crate::irc::reach::dial::Writer;
use crate::irc::register::capabilities::Capabilities;
use crate::irc::session::Known;
use crate::irc::speak::agenda::Agenda;
use crate::irc::speak::asked::Asked;
use crate::irc::speak::deeds::Abilities;
use crate::irc::speak::flood::{Budget, Urgency};
use crate::irc::speak::line::{Frame, Line};
use crate::irc::speak::loops::Loops;
use crate::irc::speak::pace::Pace;
use crate::irc::speak::proof::{Means, Proof, Refusal, Unproved};
use crate::irc::speak::round::Next;
use crate::irc::voice::Permission;
use crate::irc::{Flood, Network};
use crate::memory::Writing;
use crate::replies::{Consumers, Replies};

/// How long a write may take until the connection counts as lost.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// A write is not filled with further lines once it has so many bytes.
const WRITE_BYTES: usize = 16 * 1024;
/// How often a speaker that may not speak looks whether it may again.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long lines may stand without a fence behind them while more are to follow: each fence costs as much as a line.
const FENCE_AFTER: Duration = Duration::from_secs(10);
/// How long a server may take to answer a fence until it is asked with another one.
const FENCE_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long a server may take to echo a line until it is asked with a fence.
const ECHO_WITHIN: Duration = Duration::from_secs(5);
/// How long a server may take to prove that it took a line: longer than one takes that lets the line and a fence wait for
/// its own flood limit, and short enough that a connection is given up within 90 s on which only we are not heard.
const PROOF_WITHIN: Duration = Duration::from_secs(75);
/// How long to wait before the memory is written again that could not be written.
const REMEMBER_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long the memory may take to be written at the very end.
const REMEMBER_WITHIN: Duration = Duration::from_secs(2);
/// How long the last lines may take to be proved and remembered before we leave.
pub(crate) const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// What the session tells the speaker.
pub(crate) enum Order {
    /// Write this line.
    Write(Line),
    /// Write this line when a notice could be said; there is no second one before it is answered, or given up.
    Ask(Line),
    /// This limits how much can be said on a line from now on.
    Frame(Frame),
    /// This was agreed upon.
    Capabilities(Capabilities),
    /// The server says this of itself (005 ISUPPORT).
    Supports(Arc<Isupport>),
    /// What the nick allows, now that it has changed.
    Nick(Nick),
    /// The server took a line, or all before a fence.
    Proved(Proof),
    /// The server would not take a line.
    Refused(Refusal),
    /// The server lets us know that we say too much: halve the pace.
    Halve,
    /// Say nothing new but what is at hand for so long, wait for the last proofs, and write this line as the last one.
    Leave { goodbye: Line, linger: Duration },
}

/// Whether the nick allows to say replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nick {
    /// We are not registered, or somebody else may be speaking under our own.
    Forbids,
    /// It is another one, and nobody else has had the lock while it was ours by this grant.
    AllowsUnder(u64),
    /// It is our own.
    Allows,
}

impl Nick {
    /// Whether it allows to say replies under this grant.
    fn allows(self, grant: u64) -> bool {
        match self {
            Nick::Forbids => false,
            Nick::AllowsUnder(number) => number == grant,
            Nick::Allows => true,
        }
    }
}

/// What outlives a connection.
pub(crate) struct Speaker {
    replies: Replies,
    network: Arc<Network>,
    permission: Permission,
    /// The grant under which the memory was read last.
    read_under: Option<u64>,
    loops: Loops,
    budget: Budget,
    asked: Asked,
}

impl Speaker {
    pub fn new(replies: Replies, network: Arc<Network>, permission: Permission, known: &Known) -> Self {
        let Known { loops, asked, .. } = known.clone();
        let budget = Budget::new(network.flood);
        Speaker { replies, network, permission, read_under: None, loops, budget, asked }
    }

    /// Reads what was said under other grants, and takes over from whoever wrote that: their secret.
    ///
    /// # Errors
    /// When the broker is away.
    pub async fn take_over(&mut self, ourselves: Uuid, grant: u64) -> Result<Option<Uuid>, bus::Error> {
        let theirs = self.replies.memory.take_over(ourselves).await?;
        self.read_under = Some(grant);
        Ok(theirs)
    }

    /// Writes down what was proved, for at most 2 s: at the end, so that the next one doesn't say it again.
    pub async fn remember(mut self) {
        let memory = &mut self.replies.memory;
        memory.forsake();
        if let Some(writing) = memory.write(true)
            && let Ok((record, Ok(()))) = timeout(REMEMBER_WITHIN, writing).await
        {
            self.replies.remembered(record);
        }
    }

    /// The server threw us out because we said too much.
    pub fn thrown_out(&mut self) {
        halve(&mut self.budget, Instant::now(), &self.network);
        if self.network.flood != Flood::Learned {
            let network = &self.network.name;
            tracing::warn!(
                network,
                "this server does not bear the pace that flood fixes: choose a slower one, or \"auto\""
            );
        }
    }

    /// Speaks on one connection until the session gives no more orders or hangs up, or a write fails; that is told
    /// through `hang_up`. Gives itself back for the next connection.
    pub async fn speak(mut self, writer: Writer, orders: mpsc::Receiver<Order>, hang_up: CancellationToken) -> Self {
        let mut turn = Turn::new(&mut self, writer, orders);
        tokio::select! {
            biased;
            () = hang_up.cancelled() => {}
            outcome = turn.run() => if let Err(why) = outcome {
                tracing::warn!(network = turn.network.name, %why, "writing failed");
                hang_up.cancel();
            }
        }
        turn.give_back();
        self
    }
}

/// Speaking on one connection.
struct Turn<'a> {
    replies: &'a mut Replies,
    network: Arc<Network>,
    permission: &'a Permission,
    read_under: &'a mut Option<u64>,
    writer: Writer,
    orders: mpsc::Receiver<Order>,
    /// No more orders will come, or no more are obeyed.
    dismissed: bool,
    nick: Nick,
    leaving: Option<Leaving>,
    /// Consumers on their way from the broker, asked for under this grant.
    consuming: Option<(u64, BoxFuture<'static, Consumers>)>,
    agenda: Agenda,
    budget: &'a mut Budget,
    asked: &'a Asked,
    abilities: Abilities,
    means: Means,
    unproved: Unproved,
    /// Records of the memory being written, and when it may be tried again.
    remembering: FuturesUnordered<Writing>,
    remember_again: Option<Instant>,
    /// A question that waits for the budget.
    question: Option<Line>,
    /// The next write.
    write: Vec<u8>,
}

/// What is left to do before the connection is closed.
struct Leaving {
    goodbye: Line,
    /// What is at hand may be said until then.
    linger: Instant,
    until: Instant,
}

impl<'a> Turn<'a> {
    fn new(speaker: &'a mut Speaker, writer: Writer, orders: mpsc::Receiver<Order>) -> Self {
        let Speaker { replies, network, permission, read_under, loops, budget, asked } = speaker;
        budget.connected();
        let is_alone = permission.get().is_some_and(|grant| grant.lease.is_endless());
        let abilities = Abilities { nick: network.nick.clone(), is_alone, ..Abilities::default() };
        Turn {
            replies,
            network: network.clone(),
            permission,
            read_under,
            writer,
            orders,
            dismissed: false,
            nick: Nick::Forbids,
            leaving: None,
            consuming: None,
            agenda: Agenda::new(network.clone(), loops.clone()),
            budget,
            asked,
            abilities,
            means: Means::default(),
            unproved: Unproved::default(),
            remembering: FuturesUnordered::new(),
            remember_again: None,
            question: None,
            write: Vec::with_capacity(WRITE_BYTES + 512),
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        while !self.dismissed {
            self.check_proofs()?;
            self.gather();
            if self.write.is_empty() {
                self.wait().await;
            } else {
                self.write_out().await?;
            }
        }
        self.write_out().await?;
        self.writer.shutdown().await
    }

    /// A server that proves nothing for so long does not read what we write, though it may still be heard.
    fn check_proofs(&self) -> io::Result<()> {
        match self.unproved.since().filter(|since| since.elapsed() >= PROOF_WITHIN) {
            Some(_) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not prove that it takes our lines"))
            }
            None => Ok(()),
        }
    }

    /// Fills the next write with all that may be said now: orders first, then answers, then notices, one channel after
    /// the other.
    fn gather(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
        self.remember();
        self.look_whether_to_speak();
        self.agenda.decide(self.replies);
        while self.write.len() < WRITE_BYTES
            && let Some(urgency) = self.may_say_a_line()
            && self.budget.take(urgency)
        {
            self.say_line();
        }
        self.ask();
        self.fence();
        self.leave();
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Write(line) => self.add(&line),
            Order::Ask(line) => self.question = Some(line),
            Order::Frame(frame) => self.agenda.set_frame(frame),
            Order::Capabilities(capabilities) => {
                self.means = capabilities.means();
                self.abilities.takes_tags = capabilities.takes_tags();
                self.abilities.multiline = capabilities.multiline;
                self.agenda.set_abilities(self.abilities.clone());
            }
            Order::Supports(isupport) => {
                self.abilities.isupport = isupport;
                self.agenda.set_abilities(self.abilities.clone());
            }
            Order::Nick(nick) => self.nick = nick,
            Order::Proved(proof) => self.proved(&proof),
            Order::Refused(refusal) => self.refused(&refusal),
            Order::Halve => self.halve(Instant::now()),
            Order::Leave { goodbye, linger } => {
                let now = Instant::now();
                self.leaving = Some(Leaving { goodbye, linger: now + linger, until: now + linger + FINISH_WITHIN });
            }
        }
    }

    fn add(&mut self, line: &Line) {
        self.budget.charge(line);
        self.write.extend_from_slice(line.bytes());
    }

    /// Puts the session's question to the server, if the budget has room for it.
    fn ask(&mut self) {
        let Turn { question, budget, .. } = self;
        if let Some(line) = question.take_if(|_| budget.take(Urgency::Notice)) {
            self.write.extend_from_slice(line.bytes());
        }
    }

    /// Begins to consume, or stops, as we may speak or may not.
    fn look_whether_to_speak(&mut self) {
        let grant = self.grant().filter(|_| !self.has_lingered());
        match grant {
            None => self.hush(),
            // what is at hand was read under a grant that was lost meanwhile
            Some(grant) if self.agenda.is_open() && *self.read_under != Some(grant) => self.hush(),
            Some(_) if self.agenda.is_open() || self.consuming.is_some() || self.leaving.is_some() => {}
            Some(grant) => {
                let records = *self.read_under != Some(grant);
                self.consuming = Some((grant, self.replies.consume(records).boxed()));
            }
        }
    }

    /// The number of the grant that allows us to speak at this moment.
    fn grant(&self) -> Option<u64> {
        self.permission.number().filter(|grant| self.nick.allows(*grant))
    }

    fn has_lingered(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.linger <= Instant::now())
    }

    /// Takes no more replies, and gives back those of which nothing was written.
    fn hush(&mut self) {
        self.consuming = None;
        let unproved = &self.unproved;
        self.agenda.close(self.replies, |id| unproved.has(id));
    }

    /// The broker's consumers are here, and what others wrote down of what they said.
    fn arrived(&mut self, grant: u64, consumers: Consumers) {
        if self.permission.number() != Some(grant) {
            // somebody else may have spoken since these were read
            return;
        }
        self.replies.memory.learn(&consumers.records);
        *self.read_under = Some(grant);
        self.agenda.open(consumers);
    }

    /// The line that may be written, but for the budget; asks whether we may speak just before.
    fn may_say_a_line(&mut self) -> Option<Urgency> {
        if self.dismissed || !self.has_room() || self.awaits_a_proof() {
            return None;
        }
        self.agenda.next_is(self.replies).filter(|_| self.grant().is_some())
    }

    /// Whether few enough lines are written and not yet proved and remembered.
    fn has_room(&self) -> bool {
        self.unproved.len() + self.replies.memory.unwritten() < self.network.unproved
    }

    /// Whether a proof is late: what is written now would wait behind what the server has not yet worked on.
    fn awaits_a_proof(&self) -> bool {
        self.unproved.asked_at(self.means).is_some_and(|asked_at| self.budget.awaits(asked_at))
    }

    fn has_line(&mut self) -> bool {
        self.agenda.next_is(self.replies).is_some()
    }

    fn say_line(&mut self) {
        let Some(Next { reply, number, channel, line, is_deed, change }) = self.agenda.next_line() else { return };
        self.budget.charge_rest(&line);
        if let Some(change) = change {
            self.asked.note(change);
        }
        let label = self.unproved.write(reply, number, &channel, &line, is_deed, self.means);
        line.write(label, self.abilities.takes_tags, &mut self.write);
    }

    /// Puts a PING behind the lines that need one: at once when there is nothing more to say or no more may be said
    /// before a proof.
    fn fence(&mut self) {
        if self.fence_due().is_some_and(|due| due <= Instant::now()) {
            let number = self.unproved.fence();
            self.add(&Line::ping(&fence_token(number)));
        }
    }

    /// When a fence is due, as things stand.
    fn fence_due(&mut self) -> Option<Instant> {
        // an answer can be swallowed by a line that was too long: the next one proves the same and more
        let again = self.unproved.fenced_at().map(|at| at + FENCE_AGAIN_AFTER);
        let Some(since) = self.unproved.unfenced_since() else { return again };
        let more = self.leaving.is_none() && self.has_room() && self.has_line();
        Some(match self.means {
            Means::Labels => since + ECHO_WITHIN,
            Means::Echoes if !self.unproved.has_unfenced_deed() => since + ECHO_WITHIN,
            Means::Echoes | Means::Fences if more => since + FENCE_AFTER,
            Means::Echoes | Means::Fences => since,
        })
    }

    /// The server took lines.
    fn proved(&mut self, proof: &Proof) {
        let lines = self.unproved.prove(proof);
        if let Some(last) = lines.last() {
            self.budget.proved(last.asked_at(proof), lines.len(), self.unproved.len());
        }
        for line in lines {
            self.agenda.proved(&line, self.replies);
        }
        let unproved = &self.unproved;
        self.agenda.give_back_orphans(self.replies, |id| unproved.has(id));
    }

    /// The server would not take a line.
    fn refused(&mut self, refusal: &Refusal) {
        if let Some(line) = self.unproved.refuse(refusal) {
            self.agenda.refused(&line, &refusal.why, self.replies);
            if refusal.too_fast {
                self.halve(line.at);
            }
        }
    }

    /// Something written at that time was too much for the server.
    fn halve(&mut self, written_at: Instant) {
        halve(self.budget, written_at, &self.network);
    }

    /// Writes the memory down, if there is something to write.
    fn remember(&mut self) {
        if self.remember_again.is_some_and(|again| again > Instant::now()) {
            return;
        }
        self.remember_again = None;
        while self.remember_again.is_none()
            && let Some(mut writing) = self.replies.memory.write(false)
        {
            // an embedded broker has done it at once
            match writing.as_mut().now_or_never() {
                Some((record, written)) => self.remembered(record, written),
                None => self.remembering.push(writing),
            }
        }
    }

    fn remembered(&mut self, record: u64, written: Result<(), bus::Error>) {
        match written {
            Ok(()) => self.replies.remembered(record),
            Err(why) => {
                if self.replies.memory.not_written(record) {
                    tracing::warn!(network = self.network.name, %why, "what was said can't be remembered; trying again");
                }
                self.remember_again = Some(Instant::now() + REMEMBER_AGAIN_AFTER);
            }
        }
    }

    /// Says goodbye once nothing is left to do, or time is up.
    fn leave(&mut self) {
        let Some(leaving) = &self.leaving else { return };
        let now = Instant::now();
        let (lingers, late) = (leaving.linger > now, leaving.until <= now);
        let done = self.unproved.len() + self.replies.memory.unwritten() == 0;
        if !late && (!done || (lingers && self.agenda.is_open() && self.has_line())) {
            return;
        }
        if let Some(Leaving { goodbye, .. }) = self.leaving.take() {
            self.add(&goodbye);
            self.dismissed = true;
        }
    }

    async fn write_out(&mut self) -> io::Result<()> {
        match timeout(WRITE_WITHIN, write_all(&mut self.writer, &self.write)).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        self.write.clear();
        Ok(())
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) {
        let moment = self.next_moment();
        tokio::select! {
            biased;
            order = self.orders.recv() => match order {
                Some(order) => self.obey(order),
                None => self.dismissed = true,
            },
            (grant, consumers) = arrival(&mut self.consuming) => {
                self.consuming = None;
                self.arrived(grant, consumers);
            }
            Some((record, written)) = self.remembering.next() => self.remembered(record, written),
            () = self.agenda.fill(self.replies) => {}
            () = sleep_until(moment) => {}
        }
    }

    /// When to look again, whatever else happens.
    fn next_moment(&mut self) -> Instant {
        let now = Instant::now();
        let look = if self.permission.number().is_some() { now + LOOK_EVERY * 10 } else { now + LOOK_EVERY };
        let line = self.may_say_a_line().map(|urgency| self.budget.next(urgency));
        let leaving =
            self.leaving.as_ref().map(|leaving| if leaving.linger > now { leaving.linger } else { leaving.until });
        let decision = self.agenda.next_decision();
        let proofs = self.unproved.since().map(|since| since + PROOF_WITHIN);
        let question = self.question.as_ref().map(|_| self.budget.next(Urgency::Notice));
        let others = [line, decision, question, self.fence_due(), leaving, self.remember_again, proofs];
        others.into_iter().flatten().fold(look, Instant::min)
    }

    /// Gives back what was not proved.
    fn give_back(mut self) {
        // a proof may have come with the last that was heard
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Proved(proof) => self.proved(&proof),
                Order::Refused(refusal) => self.refused(&refusal),
                Order::Halve => self.halve(Instant::now()),
                _ => {}
            }
        }
        self.replies.memory.forsake();
        // first of all no more deliveries, lest what is given back comes again at once
        self.unproved = Unproved::default();
        self.hush();
    }
}

/// What stands in a fence, so that it isn't taken for another PING of ours.
const FENCE: &str = "pubbot-";

/// The fence before the session's JOIN; those of the speaker have numbers from 1 on.
pub(crate) const JOIN_FENCE: u64 = 0;

/// What a PING asks to be sent back that is this fence.
pub(crate) fn fence_token(number: u64) -> String {
    format!("{FENCE}{number}")
}

/// The number of the fence that a PONG answers.
pub(crate) fn fence_number(token: &str) -> Option<u64> {
    token.strip_prefix(FENCE)?.parse().ok()
}

fn halve(budget: &mut Budget, written_at: Instant, Network { name, .. }: &Network) {
    if let Some(Pace { burst, per_second }) = budget.halve(written_at) {
        tracing::warn!(
            network = name,
            burst,
            per_second,
            "we say too much for this server: from now on at half the pace"
        );
    }
}

async fn write_all(writer: &mut Writer, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

async fn arrival(consuming: &mut Option<(u64, BoxFuture<'static, Consumers>)>) -> (u64, Consumers) {
    match consuming {
        Some((grant, consumers)) => (*grant, consumers.await),
        None => pending().await,
    }
}
