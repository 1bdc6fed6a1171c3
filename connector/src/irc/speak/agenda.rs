//! What is to be said next: replies from the two queues, answers before notices, line by line, one channel after the
//! other. Reads what comes, and holds answers of which only the best is said.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bus::{Consumer, Delivery, Error};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use protocol::Request;
use tokio::time::Instant;
use uuid::Uuid;

use crate::irc::speak::choice::{Choices, Decision, handler};
use crate::irc::speak::deeds::Abilities;
use crate::irc::speak::flood::Urgency;
use crate::irc::speak::line::Frame;
use crate::irc::speak::loops::Loops;
use crate::irc::speak::proof::Written;
use crate::irc::speak::round::{Next, Round};
use crate::irc::speak::under_way::UnderWay;
use crate::irc::{Answers, Network};
use crate::replies::{Consumers, PREFETCH, Replies, ToSay};

/// The replies at hand on one connection.
pub(crate) struct Agenda {
    network: Arc<Network>,
    answers: Source,
    notices: Source,
    choices: Choices,
    /// A decision that is being written down.
    deciding: Option<(Decision, BoxFuture<'static, Result<(), Error>>)>,
    under_way: UnderWay,
}

/// One of the reply queues.
struct Source {
    consumer: Option<Consumer>,
    /// How old its replies may be.
    patience: Duration,
    /// What came of it: no more than the broker hands out unsettled.
    round: Round,
}

impl Agenda {
    pub fn new(network: Arc<Network>, loops: Loops) -> Self {
        Agenda {
            answers: Source::new(network.expiry.answers),
            notices: Source::new(network.expiry.notices),
            choices: Choices::new(network.answers_window),
            deciding: None,
            under_way: UnderWay::new(loops),
            network,
        }
    }

    /// This limits how much can be said on a line from now on.
    pub fn set_frame(&mut self, frame: Frame) {
        self.under_way.frame = frame;
    }

    /// The server lets us do this.
    pub fn set_abilities(&mut self, abilities: Abilities) {
        self.under_way.abilities = abilities;
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
            held.extend(source.round.clear());
        }
        held.into_iter().for_each(|to_say| replies.give_back(to_say));
        self.give_back_orphans(replies, unproved);
    }

    /// Gives back the replies that nobody says any more and whose written lines are all proved.
    pub fn give_back_orphans(&mut self, replies: &mut Replies, unproved: impl Fn(Uuid) -> bool) {
        let Agenda { answers, notices, under_way, .. } = self;
        let is_needed = |id| answers.round.is_saying(id) || notices.round.is_saying(id) || unproved(id);
        under_way.give_back(replies, is_needed);
    }

    /// What the next line is, if there is one: an answer, if possible.
    pub fn next_is(&mut self, replies: &mut Replies) -> Option<Urgency> {
        let Agenda { answers, notices, under_way, .. } = self;
        if answers.round.has_line(under_way, replies) {
            Some(Urgency::Answer)
        } else if notices.round.has_line(under_way, replies) {
            Some(Urgency::Notice)
        } else {
            None
        }
    }

    /// The next line, if [`Agenda::next_is`] has found one.
    pub fn next_line(&mut self) -> Option<Next> {
        self.answers.round.next_line().or_else(|| self.notices.round.next_line())
    }

    /// The server took a line: that is to be remembered.
    pub fn proved(&mut self, line: &Written, replies: &mut Replies) {
        self.under_way.proved(line, replies);
    }

    /// The server would not take a line: that is the end of its reply.
    pub fn refused(&mut self, line: &Written, why: &str, replies: &mut Replies) {
        for source in [&mut self.answers, &mut self.notices] {
            source.round.stop(line.reply);
        }
        self.under_way.refused(line, why, replies);
    }

    /// When the next decision is due.
    pub fn next_decision(&self) -> Option<Instant> {
        self.choices.next().filter(|_| self.deciding.is_none())
    }

    /// Waits for deliveries and reads them, or for a decision to be written down.
    pub async fn fill(&mut self, replies: &mut Replies) {
        tokio::select! {
            biased;
            written = written(&mut self.deciding) => self.decided(written, replies),
            answers = self.answers.next() => self.take_answers(answers, replies),
            notices = self.notices.next() => self.take_notices(notices, replies),
        }
    }

    fn take_answers(&mut self, deliveries: Vec<Delivery>, replies: &mut Replies) {
        for delivery in deliveries {
            let answer = replies.read(delivery, self.answers.patience);
            if let Some(answer) = answer.and_then(|answer| self.choose(answer, replies)) {
                self.answers.round.add(answer);
            }
        }
    }

    fn take_notices(&mut self, deliveries: Vec<Delivery>, replies: &mut Replies) {
        for delivery in deliveries {
            if let Some(notice) = replies.read(delivery, self.notices.patience) {
                self.notices.round.add(notice);
            }
        }
    }

    /// The answer, if it is to be said now: where only the best is said, it is held, or its choice has been made.
    fn choose(&mut self, to_say: ToSay, replies: &mut Replies) -> Option<ToSay> {
        let Request::Say(reply) = &to_say.request else { return Some(to_say) };
        let Some(event) = reply.in_reply_to.filter(|_| self.says_best(&reply.channel)) else { return Some(to_say) };
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
        let best = |it: &crate::irc::Channel| it.answers == Answers::Best && it.name.eq_ignore_ascii_case(channel);
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
            if let Some(chosen) = self.choose(answer, replies) {
                self.answers.round.add(chosen);
            }
        }
        None
    }

    fn decided(&mut self, written: Result<(), Error>, replies: &mut Replies) {
        let Some((decision, _)) = self.deciding.take() else { return };
        match written {
            Ok(()) => {
                replies.memory.note_choice(decision.chosen);
                decision.best.into_iter().for_each(|answer| self.answers.round.add(answer));
                decision.others.into_iter().for_each(|other| replies.drop_unsaid(other, "another answer was better"));
            }
            Err(why) => {
                tracing::warn!(network = self.network.name, %why, "which answer is best can't be remembered; trying again");
                self.choices.undo(decision);
            }
        }
    }
}

impl Source {
    fn new(patience: Duration) -> Self {
        Source { consumer: None, patience, round: Round::default() }
    }

    /// The next deliveries. The broker keeps the rest until some of those that it handed out are settled.
    async fn next(&mut self) -> Vec<Delivery> {
        let Some(consumer) = &mut self.consumer else { return pending().await };
        let mut deliveries = Vec::new();
        if consumer.next_many(&mut deliveries, usize::from(PREFETCH)).await == 0 {
            self.consumer = None;
        }
        deliveries
    }
}

async fn written(deciding: &mut Option<(Decision, BoxFuture<'static, Result<(), Error>>)>) -> Result<(), Error> {
    match deciding {
        Some((_, writing)) => writing.await,
        None => pending().await,
    }
}
