//! Whose turn it is: each channel that has something to say gets one line at a time, one channel after the other. Within
//! a channel replies are said in their order.

use std::collections::VecDeque;

use uuid::Uuid;

use crate::irc::speak::asked::Change;
use crate::irc::speak::line::Line;
use crate::irc::speak::under_way::UnderWay;
use crate::replies::{Replies, ToSay};

/// The channels that have something to say, the next one first. There are no more of them than replies at hand.
#[derive(Default)]
pub(crate) struct Round {
    channels: VecDeque<Channel>,
}

/// A channel, or a nick, to which something is to be said.
struct Channel {
    name: String,
    /// The reply whose lines are being said.
    saying: Option<Saying>,
    /// The replies behind it.
    waiting: VecDeque<ToSay>,
}

/// A reply whose lines are being said.
pub(crate) struct Saying {
    pub id: Uuid,
    pub channel: String,
    pub lines: VecDeque<Line>,
    /// How many were said before, or are written.
    pub number: u32,
    /// They do something, and say nothing.
    pub is_deed: bool,
    /// What the session is to know of them.
    pub change: Option<Change>,
}

/// A line to write.
pub(crate) struct Next {
    pub reply: Uuid,
    /// How many of the reply's lines are written with it.
    pub number: u32,
    pub channel: String,
    pub line: Line,
    /// It does something, and says nothing.
    pub is_deed: bool,
    /// What the session is to know before it is written.
    pub change: Option<Change>,
}

impl Round {
    /// Puts a reply behind the others for its channel; a channel that had nothing to say is the last in the round.
    pub fn add(&mut self, to_say: ToSay) {
        let name = to_say.request.channel();
        match self.channels.iter_mut().find(|channel| channel.name.eq_ignore_ascii_case(name)) {
            Some(channel) => channel.waiting.push_back(to_say),
            None => {
                let name = name.to_owned();
                self.channels.push_back(Channel { name, saying: None, waiting: VecDeque::from([to_say]) });
            }
        }
    }

    /// Whether there is a line to say; begins with replies until one is found. What has become too old is not begun.
    pub fn has_line(&mut self, under_way: &mut UnderWay, replies: &mut Replies) -> bool {
        while let Some(channel) = self.channels.front_mut() {
            channel.saying.take_if(|saying| under_way.drops_expired(saying, replies));
            while channel.saying.is_none()
                && let Some(to_say) = channel.waiting.pop_front()
            {
                channel.saying = under_way.begin(to_say, replies);
            }
            if channel.saying.is_some() {
                return true;
            }
            self.channels.pop_front();
        }
        false
    }

    /// The next line, if [`Round::has_line`] has found one; then it is the next channel's turn.
    pub fn next_line(&mut self) -> Option<Next> {
        let saying = self.channels.front_mut()?.saying.as_mut()?;
        let line = saying.lines.pop_front()?;
        saying.number += 1;
        let next = Next {
            reply: saying.id,
            number: saying.number,
            channel: saying.channel.clone(),
            line,
            is_deed: saying.is_deed,
            change: saying.change.take(),
        };
        let mut channel = self.channels.pop_front()?;
        channel.saying.take_if(|saying| saying.lines.is_empty());
        if channel.saying.is_some() || !channel.waiting.is_empty() {
            self.channels.push_back(channel);
        }
        Some(next)
    }

    pub fn is_saying(&self, id: Uuid) -> bool {
        self.channels.iter().filter_map(|channel| channel.saying.as_ref()).any(|saying| saying.id == id)
    }

    /// The rest of this reply is not said.
    pub fn stop(&mut self, id: Uuid) {
        for channel in &mut self.channels {
            channel.saying.take_if(|saying| saying.id == id);
        }
    }

    /// Says nothing more, and gives what was not begun.
    pub fn clear(&mut self) -> impl Iterator<Item = ToSay> {
        self.channels.drain(..).flat_map(|channel| channel.waiting)
    }
}
