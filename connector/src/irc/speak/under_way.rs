//! The replies that are being said, and the actions that are being done: from their first line until the server has proved
//! that it took the last.

use std::collections::{HashMap, VecDeque};

use protocol::{Action, Reply, Request};
use uuid::Uuid;

use crate::irc::speak::asked::Change;
use crate::irc::speak::deeds::{Abilities, Undoable};
use crate::irc::speak::line::{Frame, Line};
use crate::irc::speak::lines::{cut, lines};
use crate::irc::speak::loops::Loops;
use crate::irc::speak::proof::Written;
use crate::irc::speak::round::Saying;
use crate::replies::{Replies, ToSay};
use crate::said::Progress;

/// The tag that says which message a line answers (IRCv3 client tag `reply`).
const ANSWERS: &str = "+reply";

/// Replies that were begun.
pub(crate) struct UnderWay {
    begun: HashMap<Uuid, Begun>,
    loops: Loops,
    /// What limits how much can be said on a line.
    pub frame: Frame,
    /// What the server lets us do.
    pub abilities: Abilities,
}

/// A reply that is being said, or waits for the proofs of its lines.
struct Begun {
    to_say: ToSay,
    /// How many lines it has; several that are one message count as one.
    total: u32,
}

impl UnderWay {
    pub fn new(loops: Loops) -> Self {
        UnderWay { begun: HashMap::new(), loops, frame: Frame::default(), abilities: Abilities::default() }
    }

    /// Begins with a reply; `None` if nothing of it is to be said, which settles it.
    pub fn begin(&mut self, to_say: ToSay, replies: &mut Replies) -> Option<Saying> {
        // what was begun on an earlier connection is brought to its end
        if to_say.said == 0 && replies.has_expired(&to_say) {
            replies.drop_unsaid(to_say, "it has expired");
            return None;
        }
        let lines = match &to_say.request {
            request @ Request::Say(reply) => self.said_lines(request, reply, to_say.said, replies),
            request @ Request::Do(action) => self.done_lines(request, action, replies),
        };
        let mut lines = match lines {
            Ok(lines) => lines,
            Err(Undoable::Pointless(why)) => {
                replies.drop_unsaid(to_say, why);
                return None;
            }
            Err(Undoable::Wrong(why)) => {
                replies.bury(to_say, &why);
                return None;
            }
        };
        let total = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        lines.drain(..lines.len().min(usize::try_from(to_say.said).unwrap_or(usize::MAX)));
        if lines.is_empty() {
            replies.acknowledge(to_say);
            return None;
        }
        let (id, channel, number) = (to_say.request.id(), to_say.request.channel().to_owned(), to_say.said);
        let (is_deed, change) = match &to_say.request {
            Request::Say(_) => (false, None),
            Request::Do(action) => (true, Change::of(&action.deed)),
        };
        self.begun.insert(id, Begun { to_say, total });
        Some(Saying { id, channel, lines, number, is_deed, change })
    }

    /// The lines of a reply, as many as are allowed, of which so many were said before.
    fn said_lines(
        &self,
        request: &Request,
        reply: &Reply,
        said: u32,
        replies: &mut Replies,
    ) -> Result<VecDeque<Line>, Undoable> {
        self.abilities.check_target(&reply.channel)?;
        if reply.in_reply_to.is_some_and(|event| !self.loops.allows(event)) {
            return Err(Undoable::Pointless("two bots answer each other"));
        }
        let (all, first) = lines(reply, self.frame);
        let wanted = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let allowed = replies.allow(request, wanted);
        if allowed == 0 && wanted > 0 {
            return Err(Undoable::Pointless("its handler has said enough about this event"));
        }
        let mut lines = cut(all, allowed, reply, self.frame);
        if let Some(event) = reply.in_reply_to {
            lines.iter().for_each(|_| self.loops.said(event, &first));
        }
        // what was begun line by line goes on so
        if let Some(multiline) = self.abilities.multiline.filter(|_| said == 0) {
            lines = multiline.join(reply, lines, wanted > allowed, self.frame);
        }
        let answered = reply.msgid.iter().map(|msgid| (ANSWERS, msgid.as_str()));
        Ok(lines.into_iter().map(|line| line.tagged(answered.clone())).collect())
    }

    /// The lines of an action: all of them, or none.
    fn done_lines(
        &self,
        request: &Request,
        action: &Action,
        replies: &mut Replies,
    ) -> Result<VecDeque<Line>, Undoable> {
        let lines = self.abilities.lines(&action.deed)?;
        let wanted = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        match replies.allow(request, wanted) < wanted {
            true => Err(Undoable::Pointless("its handler has done enough about this event")),
            false => Ok(lines),
        }
    }

    /// Whether a reply, of which no line is written, has become too old meanwhile; then it is settled.
    pub fn drops_expired(&mut self, saying: &Saying, replies: &mut Replies) -> bool {
        let Some(begun) = self.begun.get(&saying.id).filter(|_| saying.number == 0) else { return false };
        let expired = replies.has_expired(&begun.to_say);
        if let Some(Begun { to_say, .. }) = expired.then(|| self.begun.remove(&saying.id)).flatten() {
            replies.drop_unsaid(to_say, "it has expired");
        }
        expired
    }

    /// The server took a line: that is to be remembered.
    pub fn proved(&mut self, line: &Written, replies: &mut Replies) {
        let Some(Begun { total, .. }) = self.begun.get(&line.reply) else { return };
        if line.number < *total {
            replies.memory.note(line.reply, Progress::Lines(line.number));
        } else if let Some(Begun { to_say, .. }) = self.begun.remove(&line.reply) {
            replies.memory.note(line.reply, Progress::Whole);
            replies.said(to_say);
        }
    }

    /// The server would not take a line: that is the end of its reply.
    pub fn refused(&mut self, line: &Written, why: &str, replies: &mut Replies) {
        if let Some(Begun { to_say, .. }) = self.begun.remove(&line.reply) {
            replies.refused(to_say, why);
        }
    }

    /// Gives back the replies that nobody needs here any more.
    pub fn give_back(&mut self, replies: &mut Replies, is_needed: impl Fn(Uuid) -> bool) {
        for (_, Begun { to_say, .. }) in self.begun.extract_if(|id, _| !is_needed(*id)) {
            replies.give_back(to_say);
        }
    }
}
