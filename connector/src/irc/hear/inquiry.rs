//! What the server tells of the channels that we are in by numbers: who is there, the topic, the modes, the accounts. The
//! names and the topic come by themselves after our JOIN; the modes, and the accounts where the server has WHOX, are asked
//! for once after that, one question at a time, so that answers come first.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::Timestamp;
use tokio::time::Instant;

use crate::irc::hear::channels::Topic;
use crate::irc::hear::events::View;
use crate::irc::speak::line::Line;

/// How long a server may take to answer a question; then the next one is asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The time between two questions where there is a flood budget: about half of what the slowest server allows.
const PAUSE: Duration = Duration::from_secs(4);
/// How long to wait when the server says that it has too much to do (263).
const LATER: Duration = Duration::from_secs(60);
/// How often a question is asked that is put off.
const MAX_TRIES: u32 = 3;
/// In channels with more members nobody's account is asked for: some servers throw out whoever is told so much at once.
const MAX_MEMBERS: usize = 5_000;
/// The most questions that wait: two for each channel that there can be.
const MAX_QUESTIONS: usize = 2_000;

/// The questions of one session.
pub(crate) struct Inquiry {
    pause: Duration,
    waiting: VecDeque<Question>,
    asked: Option<Asked>,
    not_before: Instant,
    /// Tells the answers to one WHO from those to another, which came late: 1 to 999.
    token: u16,
}

struct Question {
    channel: String,
    about: About,
    tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Modes,
    Accounts,
}

struct Asked {
    question: Question,
    until: Instant,
}

impl Inquiry {
    /// Nothing is asked yet. Without a flood budget questions follow each other at once.
    pub fn new(is_paced: bool) -> Self {
        let pause = if is_paced { PAUSE } else { Duration::ZERO };
        Inquiry { pause, waiting: VecDeque::new(), asked: None, not_before: Instant::now(), token: 0 }
    }

    /// Takes a number and its parameters, of which the first is our nick. The channel of which more is known now, if
    /// that is worth to be told.
    pub fn hear(&mut self, number: u16, parameters: &[String], view: &mut View) -> Option<String> {
        let [_, told @ ..] = parameters else { return None };
        match (number, told) {
            // RPL_NAMREPLY; the mark of the channel's kind before its name is missing on some servers
            (353, [.., channel, names]) => list(view, channel, names),
            // RPL_ENDOFNAMES
            (366, [channel, ..]) if view.channels.listed(channel) => {
                self.entered(channel, view);
                return Some(channel.clone());
            }
            // RPL_NOTOPIC
            (331, [channel, ..]) => view.channels.set_topic(channel, Topic::default()),
            // RPL_TOPIC
            (332, [channel, text, ..]) => {
                view.channels.set_topic(channel, Topic { text: text.clone(), ..Topic::default() });
            }
            // RPL_TOPICWHOTIME
            (333, [channel, by, at, ..]) => view.channels.topic_was_set(channel, by, seconds(at)),
            // RPL_CHANNELMODEIS
            (324, [channel, modes, parameters @ ..]) => {
                let changes = view.isupport.channel_modes.changes(&view.isupport.ranks, modes, parameters);
                let lists = |mode| view.isupport.channel_modes.is_list(mode);
                view.channels.set_modes(channel, changes.iter().filter(|change| !lists(change.mode)));
                return self.answered(About::Modes, channel, view);
            }
            // RPL_WHOSPCRPL: what we have asked for is the token, the nick, and the account or 0
            (354, [token, nick, account]) if self.is_told(token) => {
                view.channels.log_in(nick, Some(account.as_str()).filter(|account| *account != "0"));
            }
            // RPL_ENDOFWHO
            (315, [channel, ..]) => return self.answered(About::Accounts, channel, view),
            // RPL_TRYAGAIN
            (263, [command, ..]) if command == "WHO" => self.put_off(),
            _ => {}
        }
        None
    }

    /// When there may be something to ask.
    pub fn next(&self) -> Option<Instant> {
        match &self.asked {
            Some(asked) => Some(asked.until),
            None => (!self.waiting.is_empty()).then_some(self.not_before),
        }
    }

    /// The next question, if it is time; call again at [`Inquiry::next`]. Questions about channels that we have left are
    /// not asked.
    pub fn ask(&mut self, view: &View) -> Option<Line> {
        let now = Instant::now();
        if self.next().is_none_or(|next| next > now) {
            return None;
        }
        self.asked = None;
        let question = std::iter::from_fn(|| self.waiting.pop_front())
            .find(|question| view.channels.members(&question.channel) > 0)?;
        let line = match question.about {
            About::Modes => Line::ask_modes(&question.channel),
            About::Accounts => {
                self.token = self.token % 999 + 1;
                Line::who(&question.channel, &format!("%tna,{}", self.token))
            }
        };
        self.asked = Some(Asked { question, until: now + ANSWER_WITHIN });
        Some(line)
    }

    /// Our names are complete in a channel that we came into: asks for the rest.
    fn entered(&mut self, channel: &str, view: &View) {
        let accounts = view.isupport.whox && view.channels.members(channel) <= MAX_MEMBERS;
        let about = [(About::Modes, view.isupport.channel_modes.is_told()), (About::Accounts, accounts)];
        // what was left to be asked when we were here last
        self.waiting.retain(|question| !view.isupport.casemapping.same(&question.channel, channel));
        if self.waiting.is_empty() && self.asked.is_none() {
            self.not_before = self.not_before.max(Instant::now() + self.pause);
        }
        for (about, _) in about.into_iter().filter(|(_, sensible)| *sensible) {
            if self.waiting.len() < MAX_QUESTIONS {
                self.waiting.push_back(Question { channel: channel.to_owned(), about, tries: 0 });
            }
        }
    }

    /// The answer is complete. The channel, if it was the last question about it.
    fn answered(&mut self, about: About, channel: &str, view: &View) -> Option<String> {
        let same = |other: &str| view.isupport.casemapping.same(channel, other);
        let asked = self.asked.take_if(|asked| asked.question.about == about && same(&asked.question.channel))?;
        self.not_before = Instant::now() + self.pause;
        let more = self.waiting.iter().any(|question| same(&question.channel));
        (!more).then_some(asked.question.channel)
    }

    /// The server would not say now.
    fn put_off(&mut self) {
        let Some(mut asked) = self.asked.take_if(|asked| asked.question.about == About::Accounts) else { return };
        self.not_before = Instant::now() + LATER;
        asked.question.tries += 1;
        if asked.question.tries < MAX_TRIES {
            self.waiting.push_front(asked.question);
        }
    }

    /// Whether this is the token of the WHO that is under way.
    fn is_told(&self, token: &str) -> bool {
        let asked = self.asked.as_ref().is_some_and(|asked| asked.question.about == About::Accounts);
        asked && token.parse() == Ok(self.token)
    }
}

fn list(view: &mut View, channel: &str, names: &str) {
    let (isupport, channels) = (&view.isupport, &mut view.channels);
    let members = names.split_ascii_whitespace().map(|word| isupport.split_member(word));
    channels.list(channel, members.map(|(marks, nick)| (isupport.ranks.of_marks(marks), nick)));
}

/// Seconds since 1970, as servers tell a time.
fn seconds(text: &str) -> Option<Timestamp> {
    let millis = text.parse::<i64>().ok()?.checked_mul(1_000)?;
    // what is later than the year 9999 can't be written down
    (0..253_402_300_800_000).contains(&millis).then(|| Timestamp::from_millis(millis))
}
