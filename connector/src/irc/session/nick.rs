//! The nick: which one the bot should have, what it may do under which, and how it comes back to its own.

use irc_proto::{Command, Message};

use super::{NickFence, Phase, Session};
use crate::irc::ended::Ended;
use crate::irc::register::losses::Losses;
use crate::irc::register::nickserv;
use crate::irc::register::regain::{Meaning, Standing};
use crate::irc::speak::line::Line;
use crate::irc::speak::speaker::{JOIN_FENCE, Nick, Order, fence_token};

impl Session<'_> {
    /// Whether the nick is the one that we should have; a longer one the server cuts.
    pub(super) fn has_own_nick(&self) -> bool {
        self.view.is_me(self.view.isupport.nick_that_fits(&self.own_nick))
    }

    /// The nick that an action has asked for is the one that we should have, as soon as we have it.
    pub(super) fn take_nick(&mut self, message: &Message) {
        let Command::NICK(new) = &message.command else { return };
        let is_it = |asked: &mut String| self.view.same(self.view.isupport.nick_that_fits(asked), new);
        if self.view.is_me(message.source_nickname().unwrap_or_default())
            && let Some(nick) = self.asked_nick.take_if(is_it)
        {
            self.own_nick = nick;
        }
    }

    /// Under the right nick the channels are joined, and replies said; under another one the right one is asked for.
    pub(super) async fn nick_may_have_changed(&mut self) -> Result<(), Ended> {
        let is_over = self.identifying.is_none() && self.introduction.is_none();
        if !matches!(self.phase, Phase::Registered { .. }) || !is_over {
            return Ok(());
        }
        let own = self.has_own_nick();
        let says = match self.fence {
            _ if own => Nick::Allows,
            NickFence::Up => Nick::Forbids,
            NickFence::Down { under } => Nick::AllowsUnder(under),
        };
        let allowed = says != Nick::Forbids;
        if own {
            if self.regain.has() && !self.registration.is_logged_in() {
                self.send_all(nickserv::identify(&self.network.login)).await?;
            }
        } else if self.regain.lacks() {
            let wait = if allowed { "" } else { "; until then it is in no channel and says nothing" };
            let (nick, network) = (&self.own_nick, &self.network.name);
            tracing::warn!(network, nick, "the nick is somebody else's, or that of our own ghost: asking for it{wait}");
        }
        if allowed && !self.joined {
            self.joined = true;
            // its PONG comes before whatever the server says to the JOIN
            self.send(Line::ping(&fence_token(JOIN_FENCE))).await?;
            self.join().await?;
        }
        if std::mem::replace(&mut self.told_nick, says) == says {
            return Ok(());
        }
        self.order(Order::Nick(says)).await
    }

    /// Whether a message answers what was asked for the nick that we should have, and is nothing else.
    pub(super) fn answers_for_nick(&mut self, message: &Message) -> bool {
        let own = self.view.isupport.nick_that_fits(&self.own_nick);
        let meaning = self.regain.hear(message, &self.view.me.nick, |nick| self.view.same(nick, own));
        if meaning == Meaning::Taken {
            self.nick_is_taken();
        }
        meaning == Meaning::Ours
    }

    /// Does what is due for the nick that we should have.
    pub(super) async fn regain(&mut self) -> Result<(), Ended> {
        let nick = self.view.isupport.nick_that_fits(&self.own_nick);
        let calls = self.regain.is_call_due() && self.fence == NickFence::Up;
        let call = if calls { self.handover.call(nick) } else { None };
        let standing = Standing {
            nick,
            monitor: self.view.isupport.monitor,
            logged_in: self.registration.is_logged_in(),
            has_lock: self.handover.may_speak(),
        };
        let lines = self.regain.due(standing, call);
        self.send_all(lines).await
    }

    /// Somebody may have taken our nick because they speak now.
    pub(super) fn nick_is_taken(&mut self) {
        if !self.handover.is_alone() {
            self.fence = NickFence::Up;
        }
    }

    /// How often the nick was taken from us; `killed` is one more time, if we had it.
    pub fn losses(&self, killed: bool) -> Losses {
        let mut losses = self.regain.losses().clone();
        if killed && self.was_up && self.has_own_nick() {
            losses.note();
        }
        losses
    }

    /// Asks for the next nick, since the last was refused.
    pub(super) async fn ask_for_next_nick(&mut self, refusal: &str) -> Result<(), Ended> {
        let nick = self.registration.next_nick(refusal)?;
        tracing::warn!(network = self.network.name, refusal, next = nick, "the nick was refused");
        let line = Line::nick(&nick);
        self.view.me.nick = nick;
        self.send(line).await
    }

    /// A JOIN of ours that we have not asked for: a session of the same nick is in that channel already.
    pub(super) fn hear_ourselves(&mut self, message: &Message) {
        // who logs in is put into channels by some services
        let expected = self.join_is_heard || self.identifying.is_some();
        if matches!(message.command, Command::JOIN(..)) && !expected && self.is_ours(message) {
            self.note_shared();
        }
    }

    /// The server lets several sessions have one nick, so the nick keeps nobody silent.
    pub(super) fn note_shared(&mut self) {
        if !std::mem::replace(&mut self.shared, true) {
            tracing::warn!(
                network = self.network.name,
                nick = self.view.me.nick,
                "another session has the same nick, and this server allows it: the nick keeps no second bot silent here; \
                 the lock on the broker alone does"
            );
        }
    }
}
