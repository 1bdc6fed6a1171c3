//! The chat that is archived: made up, the same in each run, and shaped as chat is. A few words are in every other line and
//! most words in hardly any; a few people say most of it, and thousands were there once.

use protocol::{self, ChatKind, Event, Head, Join, Leave, LeaveKind, RoutingKey, Timestamp};
use store::archive::{Kind, Record};
use uuid::{Builder, Uuid};

use crate::failure::{Context, Result};
use crate::random::Random;

/// When the first line is said: 2024-01-01, UTC.
const BEGINS: i64 = 1_704_067_200_000;
/// The longest silence, in ms; half of it on average.
const SILENCE_MS: usize = 10_000;
/// Words of the language, and how steeply they become rarer: the r-th comes as often as 1 / r^slope.
const WORDS: usize = 50_000;
const WORDS_SLOPE: f64 = 1.0;
/// People, likewise: of 10 million events the last one has about 20.
const NICKS: usize = 8_000;
const NICKS_SLOPE: f64 = 1.3;
/// Channels, likewise.
const CHANNELS: usize = 40;
const CHANNELS_SLOPE: f64 = 1.0;
/// Words of a line.
const LINE: std::ops::RangeInclusive<usize> = 3..=15;
/// Of a hundred words, so many are numbers or links, of which there is no end.
const NUMBERS: usize = 2;
/// Of a hundred events, so many are joins, and as many are leaves.
const COMINGS: usize = 5;
/// Of a hundred people, so many have a services account.
const HAVE_ACCOUNT: usize = 70;
const NETWORKS: [&str; 2] = ["libera", "oftc"];

const SYLLABLES: [&str; 40] = [
    "ba", "be", "bi", "bo", "ca", "ce", "co", "cu", "da", "de", "di", "do", "fa", "fe", "ga", "go", "ha", "hi", "ka",
    "ki", "la", "le", "li", "lo", "ma", "me", "mi", "mo", "na", "ne", "no", "pa", "pe", "ra", "re", "ri", "sa", "se",
    "ta", "to",
];

/// Things of which the first ones are common and the last ones rare.
pub(crate) struct Ranked {
    names: Vec<String>,
    /// For each, how likely it or one before it is.
    up_to: Vec<f64>,
}

impl Ranked {
    fn new(count: usize, slope: f64, name: impl Fn(usize) -> String) -> Self {
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += (rank as f64).powf(-slope);
                sum
            })
            .collect();
        up_to.iter_mut().for_each(|share| *share /= sum);
        Ranked { names: (0..count).map(name).collect(), up_to }
    }

    fn draw(&self, random: &mut Random) -> usize {
        let share = random.share();
        self.up_to.partition_point(|up_to| *up_to <= share).min(self.names.len() - 1)
    }

    /// The one of this rank, from 0 on.
    pub(crate) fn name(&self, rank: usize) -> &str {
        &self.names[rank.min(self.names.len() - 1)]
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The rank of those of which there are about `wanted` among so many draws.
    pub(crate) fn rank_of(&self, wanted: f64, draws: usize) -> usize {
        let share = wanted / draws as f64;
        let too_rare = |rank: &usize| self.up_to[*rank] - self.up_to[rank - 1] < share;
        (1..self.names.len()).find(too_rare).unwrap_or(self.names.len() - 1)
    }
}

/// Who speaks, where, and in which words.
pub(crate) struct World {
    pub(crate) words: Ranked,
    pub(crate) nicks: Ranked,
    pub(crate) channels: Ranked,
}

impl World {
    pub(crate) fn new() -> Self {
        World {
            words: Ranked::new(WORDS, WORDS_SLOPE, word),
            nicks: Ranked::new(NICKS, NICKS_SLOPE, |rank| format!("{}_{}", word(rank % 499), rank)),
            channels: Ranked::new(CHANNELS, CHANNELS_SLOPE, |rank| format!("#{}", word(rank + 1_600))),
        }
    }
}

/// A made-up word: one of two syllables or more, a different one for each rank.
fn word(rank: usize) -> String {
    let (mut rest, mut word) = (rank + SYLLABLES.len(), String::new());
    while rest > 0 {
        word.push_str(SYLLABLES[rest % SYLLABLES.len()]);
        rest /= SYLLABLES.len();
    }
    word
}

/// Events in the order of their time.
pub(crate) struct Chat<'w> {
    world: &'w World,
    random: Random,
    at: i64,
    seq: u64,
}

impl<'w> Chat<'w> {
    pub(crate) fn new(world: &'w World, seed: u64) -> Self {
        Chat { world, random: Random(seed), at: BEGINS, seq: 0 }
    }

    /// The next ones.
    pub(crate) fn batch(&mut self, count: usize) -> Vec<Record> {
        (0..count).map(|_| self.event()).collect()
    }

    /// When the latest one was said.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.at)
    }

    fn event(&mut self) -> Record {
        self.at += self.random.below(SILENCE_MS + 1) as i64;
        self.seq += 1;
        let channel = self.world.channels.draw(&mut self.random);
        let nick = self.world.nicks.draw(&mut self.random);
        let (kind, text) = match self.random.below(100) {
            percent if percent < COMINGS => (Kind::Join, String::new()),
            percent if percent < 2 * COMINGS => (Kind::Part, "see you".to_owned()),
            percent if percent < 2 * COMINGS + 2 => (Kind::Action, self.line()),
            _ => (Kind::Chat, self.line()),
        };
        let has_account = nick % 100 < HAVE_ACCOUNT;
        Record {
            event_id: self.id(),
            at: self.now(),
            seq: Some(self.seq),
            network: NETWORKS[channel % NETWORKS.len()].to_owned(),
            channel: self.world.channels.name(channel).to_owned(),
            kind,
            nick: self.world.nicks.name(nick).to_owned(),
            account: has_account.then(|| self.world.nicks.name(nick).to_owned()),
            msgid: None,
            whom: None,
            text,
        }
    }

    /// A UUIDv7, as the connector makes them.
    fn id(&mut self) -> Uuid {
        let number = u128::from(self.random.number()) << 64 | u128::from(self.random.number());
        let random = number.to_be_bytes().first_chunk().copied().unwrap_or_default();
        Builder::from_unix_timestamp_millis(self.at.unsigned_abs(), &random).into_uuid()
    }

    fn line(&mut self) -> String {
        let count = LINE.start() + self.random.below(LINE.end() - LINE.start() + 1);
        let mut line = String::with_capacity(count * 8);
        for index in 0..count {
            if index > 0 {
                line.push(' ');
            }
            match self.random.below(100) {
                percent if percent < NUMBERS => line.push_str(&self.random.below(1_000_000).to_string()),
                _ => line.push_str(self.world.words.name(self.world.words.draw(&mut self.random))),
            }
        }
        line
    }
}

/// The event that a record comes from, as a worker has read it.
pub(crate) fn event(record: &Record) -> Result<(Event, Option<protocol::Chat>)> {
    let Record { event_id, at, seq, network, channel, kind, nick, account, text, .. } = record.clone();
    let folded = channel.to_lowercase();
    let head = Head { id: event_id, at, network, channel, session: None, seq };
    let made = match kind {
        Kind::Join => {
            let join = Join { head, user: nick, is_me: false, account };
            Event::new(RoutingKey::chat("irc", &folded, ChatKind::Join), event_id, &join)
        }
        Kind::Part => {
            let leave = Leave { head, user: nick, kind: LeaveKind::Part, by: None, reason: Some(text), is_me: false };
            Event::new(RoutingKey::chat("irc", &folded, ChatKind::Leave), event_id, &leave)
        }
        kind => {
            let chat = protocol::Chat { account, ..protocol::Chat::new(head, &nick, &text) };
            let kind = if kind == Kind::Action { ChatKind::Action } else { ChatKind::Chat };
            let event = Event::new(RoutingKey::chat("irc", &folded, kind), event_id, &chat);
            return Ok((event.context("an event")?, Some(chat)));
        }
    };
    Ok((made.context("an event")?, None))
}
