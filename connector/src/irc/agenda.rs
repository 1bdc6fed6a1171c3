//! What is to be said next: replies from the two queues, answers before notices, line by line. Reads what comes, holds
//! answers of which only the best is said, cuts what is too long, and keeps each reply until it is settled.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bus::{Consumer, Delivery, Error};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use protocol::{IrcText, Reply, more_lines};
use tokio::time::Instant;
use uuid::Uuid;

use super::choice::{Choices, Decision, handler};
use super::line::Line;
use super::loops::Loops;
use super::proof::Written;
use super::split::split;
use super::{Answers, Network};
use crate::replies::{Consumers, PREFETCH, Replies, ToSay};
use crate::said::Progress;

/// The replies at hand on one connection.
pub(super) struct Agenda {
    network: Arc<Network>,
    answers: Source,
    notices: Source,
    choices: Choices,
    /// A decision that is being written down.
    deciding: Option<(Decision, BoxFuture<'static, Result<(), Error>>)>,
    /// Replies that are being said, until all their lines are proved.
    under_way: HashMap<Uuid, UnderWay>,
    loops: Loops,
    /// The length of our own address, which receivers see before each line.
    pub identity: usize,
}

/// A line to write.
pub(super) struct Next {
    pub reply: Uuid,
    /// How many of the reply's lines are written with it.
    pub number: u32,
    pub channel: String,
    pub line: Line,
}

/// One of the reply queues.
struct Source {
    consumer: Option<Consumer>,
    waiting: VecDeque<Delivery>,
    /// Read already: the best answers.
    chosen: VecDeque<ToSay>,
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
}

/// A reply that is being said, or waits for the proofs of its lines.
struct UnderWay {
    to_say: ToSay,
    /// How many lines it has.
    total: u32,
}

impl Agenda {
    pub fn new(network: Arc<Network>, loops: Loops) -> Self {
        Agenda {
            answers: Source::new(network.expiry.answers),
            notices: Source::new(network.expiry.notices),
            choices: Choices::new(network.answers_window),
            deciding: None,
            under_way: HashMap::new(),
            loops,
            identity: 0,
            network,
        }
    }

    /// Takes replies from these queues from now on.
    pub fn open(&mut self, consumers: Consumers) {
        self.answers.consumer = Some(consumers.answers);
        self.notices.consumer = Some(consumers.notices);
    }

    pub fn is_open(&self) -> bool {
        self.answers.consumer.is_some() || self.notices.consumer.is_some()
    }

    /// Takes no more replies, and gives back those that are not waiting for a proof of `unproved` lines.
    pub fn close(&mut self, replies: &mut Replies, unproved: impl Fn(Uuid) -> bool) {
        let mut held = self.choices.clear();
        if let Some((Decision { best, others, .. }, _)) = self.deciding.take() {
            held.extend(best.into_iter().chain(others));
        }
        for source in [&mut self.answers, &mut self.notices] {
            source.consumer = None;
            source.waiting.clear();
            source.saying = None;
            held.extend(source.chosen.drain(..));
        }
        held.into_iter().for_each(|to_say| replies.give_back(to_say));
        self.give_back_orphans(replies, unproved);
    }

    /// Gives back the replies that nobody says any more and whose written lines are all proved.
    pub fn give_back_orphans(&mut self, replies: &mut Replies, unproved: impl Fn(Uuid) -> bool) {
        let (answers, notices) = (&self.answers, &self.notices);
        let orphan = |id: &Uuid| !answers.is_saying(*id) && !notices.is_saying(*id) && !unproved(*id);
        for (_, UnderWay { to_say, .. }) in self.under_way.extract_if(|id, _| orphan(id)) {
            replies.give_back(to_say);
        }
    }

    /// Whether there is a line to say; reads until one is found. What has become too old meanwhile is not begun.
    pub fn has_line(&mut self, replies: &mut Replies) -> bool {
        self.find_answer(replies) || self.find_notice(replies)
    }

    /// The next line, if [`Agenda::has_line`] has found one.
    pub fn next_line(&mut self) -> Option<Next> {
        let source = if self.answers.saying.is_some() { &mut self.answers } else { &mut self.notices };
        let saying = source.saying.as_mut()?;
        let line = saying.lines.pop_front()?;
        saying.number += 1;
        let next = Next { reply: saying.id, number: saying.number, channel: saying.channel.clone(), line };
        source.saying.take_if(|saying| saying.lines.is_empty());
        Some(next)
    }

    /// The server took a line: that is to be remembered.
    pub fn proved(&mut self, line: &Written, replies: &mut Replies) {
        let Some(UnderWay { total, .. }) = self.under_way.get(&line.reply) else { return };
        if line.number < *total {
            replies.memory.note(line.reply, Progress::Lines(line.number));
        } else if let Some(UnderWay { to_say, .. }) = self.under_way.remove(&line.reply) {
            replies.memory.note(line.reply, Progress::Whole);
            replies.said(to_say);
        }
    }

    /// The server would not take a line: that is the end of its reply.
    pub fn refused(&mut self, line: &Written, why: &str, replies: &mut Replies) {
        for source in [&mut self.answers, &mut self.notices] {
            source.saying.take_if(|saying| saying.id == line.reply);
        }
        if let Some(UnderWay { to_say, .. }) = self.under_way.remove(&line.reply) {
            replies.bury(to_say, why);
        }
    }

    /// When the next decision is due.
    pub fn next_decision(&self) -> Option<Instant> {
        self.choices.next().filter(|_| self.deciding.is_none())
    }

    /// Waits for deliveries, or for a decision to be written down.
    pub async fn fill(&mut self, replies: &mut Replies) {
        tokio::select! {
            biased;
            written = written(&mut self.deciding) => self.decided(written, replies),
            () = self.answers.fill() => {}
            () = self.notices.fill() => {}
        }
    }

    fn find_answer(&mut self, replies: &mut Replies) -> bool {
        self.drop_expired(replies, |agenda| &mut agenda.answers);
        while self.answers.saying.is_none() {
            let Some(to_say) = self.answers.next(replies) else { return false };
            let Some(to_say) = self.choose(to_say, replies) else { continue };
            self.answers.saying = self.begin(to_say, replies);
        }
        true
    }

    fn find_notice(&mut self, replies: &mut Replies) -> bool {
        self.drop_expired(replies, |agenda| &mut agenda.notices);
        while self.notices.saying.is_none() {
            let Some(to_say) = self.notices.next(replies) else { return false };
            self.notices.saying = self.begin(to_say, replies);
        }
        true
    }

    /// What was not begun until now may be too late.
    fn drop_expired(&mut self, replies: &mut Replies, source: impl Fn(&mut Self) -> &mut Source) {
        let begun = |saying: &&Saying| saying.number > 0;
        let saying = source(self).saying.as_ref().filter(|saying| !begun(saying));
        let Some(id) = saying.map(|saying| saying.id) else { return };
        if self.under_way.get(&id).is_some_and(|it| replies.has_expired(&it.to_say)) {
            source(self).saying = None;
            if let Some(UnderWay { to_say, .. }) = self.under_way.remove(&id) {
                replies.drop_unsaid(to_say, "it has expired");
            }
        }
    }

    /// The answer, if it is to be said now: where only the best is said, it is held, or its choice has been made.
    fn choose(&mut self, to_say: ToSay, replies: &mut Replies) -> Option<ToSay> {
        let Some(event) = to_say.reply.in_reply_to.filter(|_| self.says_best(&to_say.reply.channel)) else {
            return Some(to_say);
        };
        match replies.memory.choice(event) {
            Some(chosen) if chosen == handler(&to_say) => Some(to_say),
            Some(_) => {
                replies.drop_unsaid(to_say, "another answer was better");
                None
            }
            None => {
                self.choices.hold(event, to_say);
                None
            }
        }
    }

    fn says_best(&self, channel: &str) -> bool {
        let best = |it: &super::Channel| it.answers == Answers::Best && it.name.eq_ignore_ascii_case(channel);
        self.network.channels.iter().any(best)
    }

    /// Makes the choices that are due, and writes each down before anything of it is said.
    pub fn decide(&mut self, replies: &mut Replies) {
        while self.deciding.is_none() {
            let Some(decision) = self.choices.decide() else { return };
            let Some(decision) = self.undecided(decision, replies) else { continue };
            let mut writing = replies.memory.choose(decision.chosen.clone());
            // an embedded broker has done it at once
            let written = writing.as_mut().now_or_never();
            self.deciding = Some((decision, writing));
            if let Some(written) = written {
                self.decided(written, replies);
            }
        }
    }

    /// What came while an earlier choice between answers to the same event was written down follows that one.
    fn undecided(&mut self, decision: Decision, replies: &mut Replies) -> Option<Decision> {
        if replies.memory.choice(decision.chosen.event).is_none() {
            return Some(decision);
        }
        for answer in decision.best.into_iter().chain(decision.others) {
            let chosen = self.choose(answer, replies);
            self.answers.chosen.extend(chosen);
        }
        None
    }

    fn decided(&mut self, written: Result<(), Error>, replies: &mut Replies) {
        let Some((decision, _)) = self.deciding.take() else { return };
        match written {
            Ok(()) => {
                replies.memory.note_choice(decision.chosen);
                self.answers.chosen.extend(decision.best);
                decision.others.into_iter().for_each(|other| replies.drop_unsaid(other, "another answer was better"));
            }
            Err(why) => {
                tracing::warn!(network = self.network.name, %why, "which answer is best can't be remembered; trying again");
                self.choices.undo(decision);
            }
        }
    }

    /// Begins with a reply; without anything left to say of it, it is acknowledged.
    fn begin(&mut self, to_say: ToSay, replies: &mut Replies) -> Option<Saying> {
        let reply = &to_say.reply;
        if reply.in_reply_to.is_some_and(|event| !self.loops.allows(event)) {
            replies.drop_unsaid(to_say, "two bots answer each other");
            return None;
        }
        let (all, first) = lines(reply, self.identity);
        let wanted = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let allowed = replies.allow(reply, wanted);
        if allowed == 0 && wanted > 0 {
            replies.drop_unsaid(to_say, "its handler has said enough about this event");
            return None;
        }
        let mut lines = cut(all, allowed, reply, self.identity);
        if let Some(event) = reply.in_reply_to {
            lines.iter().for_each(|_| self.loops.said(event, &first));
        }
        let total = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        lines.drain(..lines.len().min(usize::try_from(to_say.said).unwrap_or(usize::MAX)));
        if lines.is_empty() {
            replies.acknowledge(to_say);
            return None;
        }
        let (id, channel, number) = (reply.id, reply.channel.clone(), to_say.said);
        self.under_way.insert(id, UnderWay { to_say, total });
        Some(Saying { id, channel, lines, number })
    }
}

impl Source {
    fn new(patience: Duration) -> Self {
        Source { consumer: None, waiting: VecDeque::new(), chosen: VecDeque::new(), patience, saying: None }
    }

    fn is_saying(&self, id: Uuid) -> bool {
        self.saying.as_ref().is_some_and(|saying| saying.id == id)
    }

    /// The next reply at hand that may be said.
    fn next(&mut self, replies: &mut Replies) -> Option<ToSay> {
        if let Some(chosen) = self.chosen.pop_front() {
            return Some(chosen);
        }
        loop {
            let delivery = self.waiting.pop_front()?;
            if let Some(to_say) = replies.read(delivery, self.patience) {
                return Some(to_say);
            }
        }
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
}

async fn written(deciding: &mut Option<(Decision, BoxFuture<'static, Result<(), Error>>)>) -> Result<(), Error> {
    match deciding {
        Some((_, writing)) => writing.await,
        None => pending().await,
    }
}

/// The first of the lines, as many as are allowed; where some are cut, the last says how many.
fn cut(mut lines: VecDeque<Line>, allowed: u32, reply: &Reply, identity: usize) -> VecDeque<Line> {
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    if lines.len() > allowed {
        let left_out = lines.len() - (allowed - 1);
        lines.truncate(allowed - 1);
        let note = more_lines(left_out);
        let room = Line::room(reply.kind, &reply.channel, identity);
        lines.extend(split(&note, room).next().map(|note| Line::say(reply.kind, &reply.channel, &note)));
    }
    lines
}

/// A reply's lines, and the first one's text: as many lines as its text has, and more where one would be too long for
/// its receivers.
fn lines(reply: &Reply, identity: usize) -> (VecDeque<Line>, String) {
    let room = Line::room(reply.kind, &reply.channel, identity);
    let (mut lines, mut first) = (VecDeque::new(), None);
    for content in &reply.content.0 {
        for text in IrcText::lines(content) {
            let text = without_ctcp(&text);
            first.get_or_insert_with(|| text.to_string());
            lines.extend(split(&text, room).map(|piece| Line::say(reply.kind, &reply.channel, &piece)));
        }
    }
    (lines, first.unwrap_or_default())
}

/// Only its kind makes a reply an action: its text can't begin or end a CTCP message.
fn without_ctcp(text: &str) -> Cow<'_, str> {
    if text.contains('\x01') { Cow::Owned(text.replace('\x01', "")) } else { Cow::Borrowed(text) }
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
            for line in lines(&reply(kind, &channel, &text), identity.len()).0 {
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
