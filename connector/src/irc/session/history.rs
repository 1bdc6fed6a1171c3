//! What was said before this session: events of a kind of their own, and asked for where the network keeps it.

use irc_proto::Message;

use super::Session;
use crate::irc::ended::Ended;
use crate::irc::hear::standard_reply::StandardReply;
use crate::irc::speak::speaker::Order;

impl Session<'_> {
    /// Something that was said before this session began: nothing but an event, and nothing at all if we said it.
    pub(super) fn hear_again(&mut self, message: Message) {
        self.history.hear(&message, &self.view.isupport, &*self.ambient);
        // it may have been said under our own nick, when we have another one now
        let by_own_nick = message.source_nickname().is_some_and(|nick| self.view.same(nick, &self.network.nick));
        if !by_own_nick && !self.is_ours(&message) && !self.is_ignored(&message) {
            self.events.hear_again(message, &mut self.view);
        }
    }

    /// Asks for the next part of what was said while we were away, if there is one.
    pub(super) async fn ask_for_history(&mut self) -> Result<(), Ended> {
        match self.history.next(&self.view.isupport, &*self.ambient) {
            Some(line) => self.order(Order::Ask(line)).await,
            None => Ok(()),
        }
    }

    /// What a server says of a command in words (IRCv3 `standard-replies`).
    pub(super) fn note_standard_reply(&mut self, message: &Message) {
        let Some(reply) = StandardReply::read(&message.command) else { return };
        reply.log(&self.network.name);
        if reply.is_refusal() && reply.command.eq_ignore_ascii_case("CHATHISTORY") {
            self.history.refused(&reply.why);
        }
    }
}
