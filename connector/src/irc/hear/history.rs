//! What was said while nobody of us was there (IRCv3 `chathistory`): for each channel that we come into, the gap since the
//! last message heard there is asked for, page by page; so is what was said to us in private. One question at a time, and
//! only so much: what was said long ago, or too much of it, is not asked for.

use std::collections::VecDeque;
use std::time::Duration;

use irc_proto::{Command, Message};
use protocol::{Ambient, Timestamp};
use tokio::time::Instant;

use crate::heard::{Heard, OVERLAP};
use crate::irc::hear::batches::Page;
use crate::irc::hear::isupport::Isupport;
use crate::irc::hear::tags::Tags;
use crate::irc::speak::line::Line;

/// What was said longer ago is not asked for.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// At most so many messages of one channel are asked for, the oldest first.
const MOST: usize = 1_000;
/// So many at once, if the server allows as many.
const PAGE: usize = 100;
/// How long an answer may take, with the wait for the flood budget, before the next channel is asked for.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);
/// How many channels may wait, and with how many people private messages are asked for.
const WAITING: usize = 1_000;
const PEOPLE: usize = 50;
/// A server's clock may be ahead of ours.
const AHEAD: Duration = Duration::from_secs(60 * 60);

/// The gaps of one session.
pub(crate) struct History {
    network: String,
    heard: Heard,
    /// When something was heard last, before this session.
    latest: Option<Timestamp>,
    /// The channels that we came into before it could be read what others have heard.
    early: Vec<String>,
    waiting: VecDeque<Gap>,
    asked: Option<Asked>,
    people: usize,
}

/// What is to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gap {
    /// A channel or nick; empty: who said something to us.
    target: String,
    /// As it is known.
    place: String,
    after: Reference,
    /// How many messages of it came so far.
    messages: usize,
}

/// The question that waits for its answer.
struct Asked {
    gap: Gap,
    at: Instant,
    /// The last message of the page.
    last: Option<Reference>,
}

/// A message, as servers can be told which.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reference {
    Time(Timestamp),
    Message(String),
}

impl History {
    pub fn new(network: &str, heard: Heard) -> Self {
        let latest = heard.latest();
        let (early, waiting, asked, people) = Default::default();
        History { network: network.to_owned(), heard, latest, early, waiting, asked, people }
    }

    /// We came into a channel of a network that keeps a history.
    pub fn entered(&mut self, channel: &str, isupport: &Isupport, ambient: &dyn Ambient) {
        self.heard.keep();
        if self.heard.is_unread() {
            if self.early.len() < WAITING {
                self.early.push(channel.to_owned());
            }
            return;
        }
        if !isupport.message_references.iter().any(|kind| kind == "timestamp") {
            return;
        }
        if let Some(latest) = self.latest.take() {
            self.waits(String::new(), String::new(), since(latest, ambient));
        }
        let place = isupport.casemapping.fold(channel);
        if let Some(upto) = self.heard.begin(&place) {
            self.waits(channel.to_owned(), place, since(upto, ambient));
        }
    }

    /// We are no longer in a channel: what is not yet asked for is asked for when we are back.
    pub fn left(&mut self, channel: &str, isupport: &Isupport) {
        let place = isupport.casemapping.fold(channel);
        self.waiting.retain(|gap| gap.place != place);
        self.early.retain(|early| isupport.casemapping.fold(early) != place);
    }

    /// What others have heard may be known now: then the gaps of the channels that we came into before are.
    fn learn(&mut self, isupport: &Isupport, ambient: &dyn Ambient) {
        if self.early.is_empty() || self.heard.is_unread() {
            return;
        }
        self.latest = self.latest.or_else(|| self.heard.latest());
        for channel in std::mem::take(&mut self.early) {
            self.entered(&channel, isupport, ambient);
        }
    }

    /// The next question, if none is waiting for its answer.
    pub fn next(&mut self, isupport: &Isupport, ambient: &dyn Ambient) -> Option<Line> {
        self.learn(isupport, ambient);
        if self.asked.is_some() {
            return None;
        }
        let gap = self.waiting.pop_front()?;
        let most = if isupport.history == 0 { PAGE } else { isupport.history.min(PAGE) };
        let line = match gap.target.as_str() {
            "" => {
                let until = Reference::Time(ambient.now().plus(AHEAD));
                Line::history_targets(&gap.after.to_string(), &until.to_string(), most.min(PEOPLE))
            }
            target => Line::history_after(target, &gap.after.to_string(), most),
        };
        self.asked = Some(Asked { gap, at: Instant::now(), last: None });
        Some(line)
    }

    /// A message of a page.
    pub fn hear(&mut self, message: &Message, isupport: &Isupport, ambient: &dyn Ambient) {
        let Some(asked) = &mut self.asked else { return };
        match &message.command {
            Command::PRIVMSG(..) | Command::NOTICE(..) => {
                asked.gap.messages += 1;
                asked.last = reference(message, isupport, ambient).or(asked.last.take());
            }
            Command::Raw(command, words) if command == "CHATHISTORY" && asked.gap.target.is_empty() => {
                if let [_, nick, ..] = words.as_slice()
                    && !isupport.is_channel(nick)
                    && self.people < PEOPLE
                {
                    self.people += 1;
                    let (place, after) = (isupport.casemapping.fold(nick), asked.gap.after.clone());
                    self.heard.begin(&place);
                    self.waiting.push_back(Gap { target: nick.clone(), place, after, messages: 0 });
                }
            }
            _ => {}
        }
    }

    /// A page is complete: there may be another one.
    pub fn page(&mut self, page: &Page) {
        let is_asked_for = |asked: &mut Asked| asked.gap.target.eq_ignore_ascii_case(&page.target);
        let Some(Asked { gap, last, .. }) = self.asked.take_if(is_asked_for) else { return };
        match last.filter(|last| !page.complete && *last != gap.after) {
            Some(after) if gap.messages < MOST => self.waiting.push_front(Gap { after, ..gap }),
            Some(_) => self.give_up(&gap, "there is more than is asked for"),
            None => self.heard.end(&gap.place),
        }
    }

    /// The server will not tell.
    pub fn refused(&mut self, why: &str) {
        if let Some(Asked { gap, .. }) = self.asked.take() {
            self.give_up(&gap, why);
        }
    }

    /// Until when an answer has to come.
    pub fn until(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.at + ANSWER_WITHIN)
    }

    fn give_up(&self, gap: &Gap, why: &str) {
        let (network, target, messages) = (&self.network, &gap.target, gap.messages);
        tracing::warn!(network, target, messages, why, "some of what was said meanwhile is not known");
        self.heard.end(&gap.place);
    }

    fn waits(&mut self, target: String, place: String, since: Timestamp) {
        if self.waiting.len() < WAITING {
            self.waiting.retain(|gap| gap.place != place);
            self.waiting.push_back(Gap { target, place, after: Reference::Time(since), messages: 0 });
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reference::Time(at) => write!(f, "timestamp={at}"),
            Reference::Message(id) => write!(f, "msgid={id}"),
        }
    }
}

/// From when on history is asked for, when all was heard up to then.
fn since(upto: Timestamp, ambient: &dyn Ambient) -> Timestamp {
    upto.minus(OVERLAP).max(ambient.now().minus(LONGEST))
}

/// How to name a message: best by its id, since several may be of the same millisecond.
fn reference(message: &Message, isupport: &Isupport, ambient: &dyn Ambient) -> Option<Reference> {
    let Tags { at, msgid, .. } = Tags::of(message, ambient.now());
    let by_id = isupport.message_references.iter().any(|kind| kind == "msgid");
    let by_time = || at.map(|at| Reference::Time(at.minus(Duration::from_millis(1))));
    msgid.filter(|_| by_id).map(Reference::Message).or_else(by_time)
}
