//! A naive model of a network: who is where, and what a bot that is not always connected is told of it.

use std::collections::BTreeMap;

use protocol::{LeaveKind, Member, Timestamp};
use store::presence::{Change, Deed, Version, What};
use uuid::Uuid;

pub const CHANNELS: [&str; 2] = ["#a", "#b"];
const BOT: &str = "pubbot";
const NICKS: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "bob[", "bob{"];
const ACCOUNTS: [&str; 3] = ["", "wonder", "land"];
const PREFIXES: [&str; 4] = ["", "@", "+", "@+"];

/// A session that began so many thousand seconds after 1970.
pub fn session(number: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(number * 1_000_000, &[7; 10]).into_uuid()
}

/// The network, and what the bot was told.
pub struct Model {
    network: String,
    random: u64,
    /// Who is where: nick and rank.
    channels: BTreeMap<&'static str, BTreeMap<String, String>>,
    accounts: BTreeMap<String, String>,
    /// The bot's session, and how many events it had; `None` while it is away.
    session: Option<(u64, u64)>,
    sessions: u64,
    now: i64,
    /// All events, in order.
    pub told: Vec<Change>,
}

impl Model {
    pub fn new(network: &str, seed: u64) -> Self {
        let channels = CHANNELS.map(|channel| (channel, BTreeMap::new())).into();
        let (network, accounts, told) = (network.to_owned(), BTreeMap::new(), Vec::new());
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Model { network, random, channels, accounts, session: None, sessions: 0, now: 1_000_000, told }
    }

    /// Who is in a channel, as far as the bot can know.
    pub fn members(&self, channel: &str) -> Option<Vec<Member>> {
        let is_here = self.session.is_some() && self.channels[channel].contains_key(BOT);
        is_here.then(|| self.list(channel))
    }

    /// One thing happens, or some that belong together.
    pub fn happens(&mut self) {
        let (nick, channel) = (self.one_of(&NICKS).to_owned(), self.one_of(&CHANNELS));
        match self.below(16) {
            0..4 => self.joins(&nick, channel),
            4 => self.leaves(&nick, channel, LeaveKind::Part),
            5 => self.leaves(&nick, channel, LeaveKind::Kicked),
            6 => self.quits(&nick),
            7 => self.renames(&nick),
            8 | 9 => self.ranks(&nick, channel),
            10 => self.logs_in(&nick),
            11 => self.tell(channel, Deed::Said { nick, account: None, replayed: false }),
            12 => NICKS.iter().filter(|nick| nick.len() > 3).for_each(|nick| self.quits(nick)),
            13 => self.leaves(BOT, channel, LeaveKind::Kicked),
            14 => self.enters(channel),
            _ => match self.session {
                Some(_) => self.is_cut_off(),
                None => self.comes_back(),
            },
        }
        if self.session.is_none() && self.below(3) == 0 {
            self.comes_back();
        }
    }

    /// A bot that was cut off without a word comes back: until then nobody can know that it is away.
    pub fn settles(&mut self) {
        let is_told = matches!(self.told.last(), Some(Change { what: What::Lost, .. }));
        if self.session.is_none() && !is_told {
            self.comes_back();
        }
    }

    /// Puts events into any order, some of them twice.
    pub fn shuffle(&mut self, changes: &mut Vec<Change>) {
        for _ in 0..changes.len() / 4 {
            let again = self.below(changes.len());
            changes.push(changes[again].clone());
        }
        for place in (1..changes.len()).rev() {
            let other = self.below(place + 1);
            changes.swap(place, other);
        }
    }

    /// Cuts them into batches of any size.
    pub fn batches<'a>(&mut self, mut changes: &'a [Change]) -> Vec<&'a [Change]> {
        let mut batches = Vec::new();
        while !changes.is_empty() {
            let length = 1 + self.below(changes.len().min(12));
            let (batch, rest) = changes.split_at(length);
            batches.push(batch);
            changes = rest;
        }
        batches
    }

    fn list(&self, channel: &str) -> Vec<Member> {
        self.channels[channel].keys().filter_map(|nick| self.member(channel, nick)).collect()
    }

    fn member(&self, channel: &str, nick: &str) -> Option<Member> {
        let prefix = self.channels[channel].get(nick)?.clone();
        Some(Member { nick: nick.to_owned(), prefix, account: self.accounts.get(nick).cloned() })
    }

    fn joins(&mut self, nick: &str, channel: &'static str) {
        if self.channels[channel].contains_key(nick) {
            return;
        }
        self.room(channel).insert(nick.to_owned(), String::new());
        let (nick, account) = (nick.to_owned(), self.accounts.get(nick).cloned());
        self.tell(channel, Deed::Joined { nick, account, is_me: false });
    }

    fn leaves(&mut self, nick: &str, channel: &'static str, how: LeaveKind) {
        let is_me = nick == BOT;
        let deed = Deed::Left { nick: nick.to_owned(), how, is_me };
        if self.channels[channel].contains_key(nick) {
            self.tell(channel, deed);
            self.room(channel).remove(nick);
        }
    }

    fn quits(&mut self, nick: &str) {
        CHANNELS.iter().for_each(|channel| self.leaves(nick, channel, LeaveKind::Quit));
        self.accounts.remove(nick);
    }

    fn renames(&mut self, from: &str) {
        let to = self.one_of(&NICKS);
        if self.channels.values().any(|members| members.contains_key(to)) {
            return;
        }
        if let Some(account) = self.accounts.remove(from) {
            self.accounts.insert(to.to_owned(), account);
        } else {
            self.accounts.remove(to);
        }
        for channel in CHANNELS {
            let Some(prefix) = self.room(channel).remove(from) else { continue };
            self.room(channel).insert(to.to_owned(), prefix);
            let to = self.member(channel, to).unwrap();
            self.tell(channel, Deed::Renamed { from: from.to_owned(), to });
        }
    }

    fn ranks(&mut self, nick: &str, channel: &'static str) {
        let prefix = self.one_of(&PREFIXES);
        if let Some(rank) = self.room(channel).get_mut(nick) {
            *rank = prefix.to_owned();
            let member = self.member(channel, nick).unwrap();
            self.tell(channel, Deed::Ranked(vec![member]));
        }
    }

    fn logs_in(&mut self, nick: &str) {
        let account = Some(self.one_of(&ACCOUNTS).to_owned()).filter(|account| !account.is_empty());
        match &account {
            Some(account) => drop(self.accounts.insert(nick.to_owned(), account.clone())),
            None => drop(self.accounts.remove(nick)),
        }
        for channel in CHANNELS {
            if self.channels[channel].contains_key(nick) {
                self.tell(channel, Deed::LoggedIn { nick: nick.to_owned(), account: account.clone() });
            }
        }
    }

    /// The bot comes into a channel; somebody may do so before it is told the names.
    fn enters(&mut self, channel: &'static str) {
        if self.session.is_none() || self.channels[channel].contains_key(BOT) {
            return;
        }
        self.room(channel).insert(BOT.to_owned(), String::new());
        self.tell(channel, Deed::Joined { nick: BOT.to_owned(), account: None, is_me: true });
        let nick = self.one_of(&NICKS).to_owned();
        self.joins(&nick, channel);
        for _ in 0..2 {
            self.tell(channel, Deed::Named(self.list(channel)));
            self.ranks(&nick, channel);
        }
    }

    /// The connection ends: with an event that says so, or without.
    fn is_cut_off(&mut self) {
        if self.below(2) == 0 {
            let session = session(self.sessions);
            self.put(Version::last(session), What::Lost);
        }
        CHANNELS.iter().for_each(|channel| drop(self.room(channel).remove(BOT)));
        self.session = None;
    }

    fn comes_back(&mut self) {
        self.sessions += 1;
        self.session = Some((self.sessions, 0));
        self.put(Version::first(session(self.sessions)), What::Gained);
        CHANNELS.iter().for_each(|channel| self.enters(channel));
    }

    /// The bot is told, if it is there.
    fn tell(&mut self, channel: &'static str, deed: Deed) {
        self.now += 1_000;
        let is_here = self.channels[channel].contains_key(BOT);
        if let Some((number, seq)) = self.session.as_mut().filter(|_| is_here) {
            *seq += 1;
            let version = Version { session: session(*number), seq: *seq };
            self.put(version, What::In(channel.to_owned(), deed));
        }
    }

    fn put(&mut self, version: Version, what: What) {
        let (network, at) = (self.network.clone(), Timestamp::from_millis(self.now));
        self.told.push(Change { network, version, at, what });
    }

    fn room(&mut self, channel: &str) -> &mut BTreeMap<String, String> {
        self.channels.get_mut(channel).unwrap()
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A number below this one (xorshift64*).
    fn below(&mut self, limit: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let number = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % limit
    }
}
