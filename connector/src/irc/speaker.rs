//! Says what is to be said: the session's lines at once, replies as the flood budget allows, answers before notices.
//! It alone writes to the socket, and writes replies only while it may speak.
//!
//! At most [`Network::unproved`] lines are written and not yet proved and remembered: so many may be said twice when
//! this process is killed. A reply is acknowledged once the server has proved that it took all its lines and the memory
//! of that is safe. What is not proved when the connection is lost is given back, and said on the next one.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bus::{Consumer, Delivery};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use protocol::{IrcText, Reply};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Network;
use super::capabilities::Capabilities;
use super::dial::Writer;
use super::flood::Budget;
use super::line::Line;
use super::proof::{Means, Proof, Refusal, Unproved};
use super::split::split;
use super::voice::Permission;
use crate::replies::{Consumers, MAX_LINES, PREFETCH, Replies, ToSay};
use crate::said::Progress;

/// How long a write may take until the connection counts as lost.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// A write is not filled with further lines once it has so many bytes.
const WRITE_BYTES: usize = 16 * 1024;
/// How often a speaker that may not speak looks whether it may again.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long lines may stand without a fence behind them while more are to follow: each fence costs as much as a line.
const FENCE_AFTER: Duration = Duration::from_secs(10);
/// How long a server may take to echo a line until it is asked with a fence.
const ECHO_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait before the memory is written again that could not be written.
const REMEMBER_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long the last lines may take to be proved and remembered before we leave.
pub(super) const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// What the session tells the speaker.
pub(super) enum Order {
    /// Write this line.
    Write(Line),
    /// Our own address, `nick!user@host`, has so many bytes.
    Identity { bytes: usize },
    /// This was agreed upon.
    Capabilities(Capabilities),
    /// We are registered under a nick that allows it: replies may be said.
    Speak,
    /// The nick allows it no more.
    Hush,
    /// The server took a line, or all before a fence.
    Proved(Proof),
    /// The server would not take a line.
    Refused(Refusal),
    /// Say nothing new but what is at hand for so long, wait for the last proofs, and write this line as the last one.
    Leave { goodbye: Line, linger: Duration },
}

/// What outlives a connection.
pub(super) struct Speaker {
    replies: Replies,
    network: Arc<Network>,
    permission: Permission,
    /// The grant under which the memory was read last.
    read_under: Option<u64>,
}

impl Speaker {
    pub fn new(replies: Replies, network: Arc<Network>, permission: Permission) -> Self {
        Speaker { replies, network, permission, read_under: None }
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
    /// The nick allows to speak.
    nick_allows: bool,
    leaving: Option<Leaving>,
    /// Consumers on their way from the broker, asked for under this grant.
    consuming: Option<(u64, BoxFuture<'static, Consumers>)>,
    answers: Source,
    notices: Source,
    budget: Budget,
    means: Means,
    unproved: Unproved,
    /// Replies of which lines are being said, until all are proved.
    under_way: HashMap<Uuid, UnderWay>,
    /// The memory being written, and when it may be tried again.
    remembering: Option<BoxFuture<'static, Result<(), bus::Error>>>,
    remember_again: Option<Instant>,
    /// The length of our own address, which receivers see before each line.
    identity: usize,
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

/// One of the reply queues.
struct Source {
    consumer: Option<Consumer>,
    waiting: VecDeque<Delivery>,
    /// How old its replies may be.
    patience: Duration,
    /// The reply whose lines are being said.
    saying: Option<Saying>,
}

/// A reply whose lines are being said.
struct Saying {
    id: Uuid,
    channel: String,
    lines: VecDeque<Line>,
    /// How many were said before, or are written.
    number: u32,
    /// None of it is written yet.
    fresh: bool,
}

/// A reply that is being said, or waits for the proofs of its lines.
struct UnderWay {
    to_say: ToSay,
    /// How many lines it has.
    total: u32,
}

impl<'a> Turn<'a> {
    fn new(speaker: &'a mut Speaker, writer: Writer, orders: mpsc::Receiver<Order>) -> Self {
        let Speaker { replies, network, permission, read_under } = speaker;
        let expiry = replies.expiry;
        Turn {
            replies,
            network: network.clone(),
            permission,
            read_under,
            writer,
            orders,
            dismissed: false,
            nick_allows: false,
            leaving: None,
            consuming: None,
            answers: Source::new(expiry.answers),
            notices: Source::new(expiry.notices),
            budget: Budget::new(network.flood),
            means: Means::default(),
            unproved: Unproved::default(),
            under_way: HashMap::new(),
            remembering: None,
            remember_again: None,
            identity: 0,
            write: Vec::with_capacity(WRITE_BYTES + 512),
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        while !self.dismissed {
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

    /// Fills the next write with all that may be said now: orders first, then answers, then notices.
    fn gather(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
        self.remember();
        self.look_whether_to_speak();
        while self.write.len() < WRITE_BYTES && self.may_say_a_line() && self.budget.take() {
            self.say_line();
        }
        self.fence();
        self.leave();
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Write(line) => self.add(&line),
            Order::Identity { bytes } => self.identity = bytes,
            Order::Capabilities(capabilities) => self.means = capabilities.means(),
            Order::Speak => self.nick_allows = true,
            Order::Hush => self.nick_allows = false,
            Order::Proved(proof) => self.proved(&proof),
            Order::Refused(refusal) => self.refused(&refusal),
            Order::Leave { goodbye, linger } => {
                let now = Instant::now();
                self.leaving = Some(Leaving { goodbye, linger: now + linger, until: now + linger + FINISH_WITHIN });
            }
        }
    }

    fn add(&mut self, line: &Line) {
        self.budget.charge();
        self.write.extend_from_slice(line.bytes());
    }

    /// Begins to consume, or stops, as we may speak or may not.
    fn look_whether_to_speak(&mut self) {
        let grant = self.permission.get().filter(|_| self.nick_allows && !self.has_lingered());
        match grant {
            None => self.hush(),
            Some(_) if self.is_speaking() || self.consuming.is_some() || self.leaving.is_some() => {}
            Some(grant) => {
                let records = *self.read_under != Some(grant.number);
                self.consuming = Some((grant.number, self.replies.consume(records).boxed()));
            }
        }
    }

    fn is_speaking(&self) -> bool {
        self.answers.consumer.is_some() || self.notices.consumer.is_some()
    }

    fn has_lingered(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.linger <= Instant::now())
    }

    /// Takes no more replies, and gives back those of which nothing was written.
    fn hush(&mut self) {
        self.consuming = None;
        for source in [&mut self.answers, &mut self.notices] {
            source.consumer = None;
            source.waiting.clear();
            source.saying = None;
        }
        self.give_back_orphans();
    }

    /// Gives back the replies that nobody says and whose written lines are proved.
    fn give_back_orphans(&mut self) {
        let (answers, notices, unproved) = (&self.answers, &self.notices, &self.unproved);
        let orphan = |id: &Uuid| !answers.is_saying(*id) && !notices.is_saying(*id) && !unproved.has(*id);
        for (_, UnderWay { to_say, .. }) in self.under_way.extract_if(|id, _| orphan(id)) {
            self.replies.give_back(to_say);
        }
    }

    /// The broker's consumers are here, and what others wrote down of what they said.
    fn arrived(&mut self, grant: u64, consumers: Consumers) {
        if self.permission.get().is_none_or(|now| now.number != grant) {
            // somebody else may have spoken since these were read
            return;
        }
        self.replies.memory.learn(&consumers.records);
        *self.read_under = Some(grant);
        self.answers.consumer = Some(consumers.answers);
        self.notices.consumer = Some(consumers.notices);
    }

    /// Whether a line may be written, but for the budget; asks whether we may speak just before.
    fn may_say_a_line(&mut self) -> bool {
        !self.dismissed && self.has_room() && self.has_line() && self.permission.get().is_some()
    }

    /// Whether few enough lines are written and not yet proved and remembered.
    fn has_room(&self) -> bool {
        self.unproved.len() + self.replies.memory.unwritten() < self.network.unproved
    }

    fn has_line(&mut self) -> bool {
        self.answers.has_line(self.replies, &mut self.under_way, self.identity)
            || self.notices.has_line(self.replies, &mut self.under_way, self.identity)
    }

    fn say_line(&mut self) {
        let source = if self.answers.saying.is_some() { &mut self.answers } else { &mut self.notices };
        let Some(saying) = source.saying.as_mut() else { return };
        if let Some(line) = saying.lines.pop_front() {
            saying.number += 1;
            saying.fresh = false;
            match self.unproved.write(saying.id, saying.number, &saying.channel, self.means) {
                Some(label) => self.write.extend_from_slice(line.labelled(label).bytes()),
                None => self.write.extend_from_slice(line.bytes()),
            }
        }
        source.saying.take_if(|saying| saying.lines.is_empty());
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
        let since = self.unproved.unfenced_since()?;
        let more = self.leaving.is_none() && self.has_room() && self.has_line();
        Some(match self.means {
            Means::Labels | Means::Echoes => since + ECHO_WITHIN,
            Means::Fences if more => since + FENCE_AFTER,
            Means::Fences => since,
        })
    }

    /// The server took lines: that is to be remembered.
    fn proved(&mut self, proof: &Proof) {
        for line in self.unproved.prove(proof) {
            let Some(UnderWay { total, .. }) = self.under_way.get(&line.reply) else { continue };
            if line.number < *total {
                self.replies.memory.note(line.reply, Progress::Lines(line.number));
            } else if let Some(UnderWay { to_say, .. }) = self.under_way.remove(&line.reply) {
                self.replies.memory.note(line.reply, Progress::Whole);
                self.replies.said(to_say);
            }
        }
        self.give_back_orphans();
    }

    /// The server would not take a line: that is the end of its reply.
    fn refused(&mut self, refusal: &Refusal) {
        let Some(line) = self.unproved.refuse(refusal) else { return };
        for source in [&mut self.answers, &mut self.notices] {
            source.saying.take_if(|saying| saying.id == line.reply);
        }
        if let Some(UnderWay { to_say, .. }) = self.under_way.remove(&line.reply) {
            self.replies.bury(to_say, &refusal.why);
        }
    }

    /// Writes the memory down, if there is something to write.
    fn remember(&mut self) {
        if self.remember_again.is_some_and(|again| again > Instant::now()) {
            return;
        }
        self.remember_again = None;
        while self.remembering.is_none() {
            let Some(mut writing) = self.replies.memory.write() else { return };
            // an embedded broker has done it at once
            match writing.as_mut().now_or_never() {
                Some(written) => self.remembered(written),
                None => self.remembering = Some(writing),
            }
            if self.remember_again.is_some() {
                return;
            }
        }
    }

    fn remembered(&mut self, written: Result<(), bus::Error>) {
        self.remembering = None;
        match written {
            Ok(()) => {
                self.remember_again = None;
                self.replies.remembered();
            }
            Err(why) => {
                tracing::warn!(network = self.network.name, %why, "what was said can't be remembered; trying again");
                self.replies.memory.not_written();
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
        if !late && (!done || (lingers && self.is_speaking() && self.has_line())) {
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
            written = done(&mut self.remembering) => self.remembered(written),
            () = self.answers.fill() => {}
            () = self.notices.fill() => {}
            () = sleep_until(moment) => {}
        }
    }

    /// When to look again, whatever else happens.
    fn next_moment(&mut self) -> Instant {
        let now = Instant::now();
        let look = if self.permission.get().is_some() { now + LOOK_EVERY * 10 } else { now + LOOK_EVERY };
        let line = self.may_say_a_line().then(|| self.budget.next());
        let leaving =
            self.leaving.as_ref().map(|leaving| if leaving.linger > now { leaving.linger } else { leaving.until });
        let others = [line, self.fence_due(), leaving, self.remember_again];
        others.into_iter().flatten().fold(look, Instant::min)
    }

    /// Gives back what was not proved.
    fn give_back(mut self) {
        self.replies.memory.not_written();
        // first of all no more deliveries, lest what is given back comes again at once
        self.unproved = Unproved::default();
        self.hush();
    }
}

impl Source {
    fn new(patience: Duration) -> Self {
        Source { consumer: None, waiting: VecDeque::new(), patience, saying: None }
    }

    fn is_saying(&self, id: Uuid) -> bool {
        self.saying.as_ref().is_some_and(|saying| saying.id == id)
    }

    /// Waits for deliveries, unless there are some.
    async fn fill(&mut self) {
        let Some(consumer) = self.consumer.as_mut().filter(|_| self.saying.is_none() && self.waiting.is_empty()) else {
            return pending().await;
        };
        let mut deliveries = Vec::new();
        if consumer.next_many(&mut deliveries, usize::from(PREFETCH)).await == 0 {
            self.consumer = None;
        }
        self.waiting.extend(deliveries);
    }

    /// Whether there is a line to say; reads waiting deliveries until one has lines. What has become too old meanwhile
    /// is not begun.
    fn has_line(&mut self, replies: &mut Replies, under_way: &mut HashMap<Uuid, UnderWay>, identity: usize) -> bool {
        let expired = |saying: &mut Saying| {
            saying.fresh && under_way.get(&saying.id).is_some_and(|it| replies.has_expired(&it.to_say))
        };
        if let Some(saying) = self.saying.take_if(expired)
            && let Some(UnderWay { to_say, .. }) = under_way.remove(&saying.id)
        {
            replies.drop_unsaid(to_say, "it has expired");
        }
        while self.saying.is_none() {
            let Some(delivery) = self.waiting.pop_front() else { return false };
            let Some(to_say) = replies.read(delivery, self.patience) else { continue };
            self.saying = begin(to_say, replies, under_way, identity);
        }
        true
    }
}

/// Begins with a reply; without anything left to say of it, it is acknowledged.
fn begin(
    to_say: ToSay,
    replies: &mut Replies,
    under_way: &mut HashMap<Uuid, UnderWay>,
    identity: usize,
) -> Option<Saying> {
    let all = lines(&to_say.reply, identity);
    let wanted = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let allowed = replies.allow(&to_say.reply, wanted.min(MAX_LINES));
    if allowed == 0 && wanted > 0 {
        replies.drop_unsaid(to_say, "its handler has said enough about this event");
        return None;
    }
    let mut lines = cut(all, allowed, &to_say.reply, identity);
    let total = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    lines.drain(..lines.len().min(usize::try_from(to_say.said).unwrap_or(usize::MAX)));
    if lines.is_empty() {
        replies.acknowledge(to_say);
        return None;
    }
    let (id, channel, number) = (to_say.reply.id, to_say.reply.channel.clone(), to_say.said);
    under_way.insert(id, UnderWay { to_say, total });
    Some(Saying { id, channel, lines, number, fresh: number == 0 })
}

/// The first of the lines, as many as are allowed; where some are cut, the last says how many.
fn cut(mut lines: VecDeque<Line>, allowed: u32, reply: &Reply, identity: usize) -> VecDeque<Line> {
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    if lines.len() > allowed {
        let left_out = lines.len() - (allowed - 1);
        lines.truncate(allowed - 1);
        let note = format!("… {left_out} more lines");
        let room = Line::room(reply.kind, &reply.channel, identity);
        lines.extend(split(&note, room).next().map(|note| Line::say(reply.kind, &reply.channel, note)));
    }
    lines
}

/// What stands in a fence, so that it isn't taken for another PING of ours.
const FENCE: &str = "pubbot-";

fn fence_token(number: u64) -> String {
    format!("{FENCE}{number}")
}

/// The number of the fence that a PONG answers.
pub(super) fn fence_number(token: &str) -> Option<u64> {
    token.strip_prefix(FENCE)?.parse().ok()
}

/// A reply's lines: as many as its text has, and more where one would be too long for its receivers.
fn lines(reply: &Reply, identity: usize) -> VecDeque<Line> {
    let room = Line::room(reply.kind, &reply.channel, identity);
    let mut lines = VecDeque::new();
    for content in &reply.content.0 {
        for text in IrcText::lines(content) {
            let text = without_ctcp(&text);
            lines.extend(split(&text, room).map(|piece| Line::say(reply.kind, &reply.channel, piece)));
        }
    }
    lines
}

/// Only its kind makes a reply an action: its text can't begin or end a CTCP message.
fn without_ctcp(text: &str) -> Cow<'_, str> {
    if text.contains('\x01') { Cow::Owned(text.replace('\x01', "")) } else { Cow::Borrowed(text) }
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

async fn done(writing: &mut Option<BoxFuture<'static, Result<(), bus::Error>>>) -> Result<(), bus::Error> {
    match writing {
        Some(writing) => writing.await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::{ReplyContext, ReplyKind};

    fn reply(kind: ReplyKind, channel: &str, content: &str) -> Reply {
        let body = format!(r#"{{"channel":"{channel}","content":"x","kind":"{}"}}"#, kind.word());
        Reply { content: content.into(), ..Reply::read(body.as_bytes(), ReplyContext::default()).unwrap() }
    }

    proptest! {
        #[test]
        fn whatever_is_said_reaches_its_receivers_whole_and_in_lines_of_512_bytes(
            text in "[a-zäß€🎉 \r\n\0\x01]{0,900}|\\PC{0,400}",
            channel in "#[a-z]{0,60}",
            nick in "[a-z]{1,30}",
            kind in prop_oneof![Just(ReplyKind::Chat), Just(ReplyKind::Action), Just(ReplyKind::Notice)],
        ) {
            let identity = format!("{nick}!~user@host.example");
            let mut said = String::new();
            for line in lines(&reply(kind, &channel, &text), identity.len()) {
                let line = std::str::from_utf8(line.bytes()).expect("cut within a character");
                prop_assert!(":".len() + identity.len() + " ".len() + line.len() <= 512);
                let (head, text) = line.split_once(" :").unwrap();
                let expected = if kind == ReplyKind::Notice { "NOTICE" } else { "PRIVMSG" };
                prop_assert_eq!(head, format!("{expected} {channel}"));
                let text = text.strip_suffix("\r\n").unwrap();
                let text = match kind {
                    ReplyKind::Action => text.strip_prefix("\x01ACTION ").and_then(|it| it.strip_suffix('\x01')).unwrap(),
                    _ => text,
                };
                prop_assert!(!text.is_empty() && !text.contains(['\r', '\n', '\0', '\x01']));
                said.push_str(text);
            }
            prop_assert_eq!(said.replace(' ', ""), text.replace([' ', '\r', '\n', '\0', '\x01'], ""));
        }
    }
}
