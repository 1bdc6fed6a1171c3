//! Who is in the channels that the bot is in: needed since a QUIT or a NICK does not say which channels it is about.

use std::collections::{BTreeMap, HashMap};

use protocol::{ChatKind, Member, RoutingKey, check_destination};

use crate::irc::PROTO;
use crate::irc::hear::casemap::CaseMapping;

/// The most channels to keep track of; a server could force the bot into any number.
const MAX_CHANNELS: usize = 1_000;
/// The most members to keep track of in one channel.
const MAX_MEMBERS: usize = 50_000;

/// The channels that the bot is in.
#[derive(Default)]
pub(crate) struct Channels {
    casemapping: CaseMapping,
    by_name: BTreeMap<String, Channel>,
}

struct Channel {
    /// As the server wrote it when the bot came in.
    name: String,
    /// The routing key of what is said here, made once.
    chat_key: RoutingKey,
    /// Nicks, by their folded form.
    members: HashMap<String, String>,
    /// The names told so far, after a join of the bot.
    listing: Option<Vec<Member>>,
}

impl Channels {
    /// Compares names by another rule from now on.
    pub fn compare_by(&mut self, casemapping: CaseMapping) {
        if self.casemapping == casemapping {
            return;
        }
        self.casemapping = casemapping;
        for (_, mut channel) in std::mem::take(&mut self.by_name) {
            channel.members = channel.members.into_values().map(|nick| (casemapping.fold(&nick), nick)).collect();
            let folded = casemapping.fold(&channel.name);
            channel.chat_key = RoutingKey::chat(PROTO, &folded, ChatKind::Chat);
            self.by_name.insert(folded, channel);
        }
    }

    /// The routing key of something in a channel; `None` for a name that is no sound channel or nick.
    pub fn key(&self, channel: &str, kind: ChatKind) -> Option<RoutingKey> {
        let folded = self.casemapping.fold(channel);
        match self.by_name.get(&folded) {
            Some(known) if kind == ChatKind::Chat => Some(known.chat_key.clone()),
            Some(_) => Some(RoutingKey::chat(PROTO, &folded, kind)),
            None => check_destination(channel).ok().map(|()| RoutingKey::chat(PROTO, &folded, kind)),
        }
    }

    /// The bot came into a channel, and will be told who is there.
    pub fn enter(&mut self, channel: &str) {
        if self.by_name.len() >= MAX_CHANNELS || check_destination(channel).is_err() {
            tracing::warn!(channel, "in a channel too many, or one with an unsound name: not keeping track of it");
            return;
        }
        let folded = self.casemapping.fold(channel);
        let chat_key = RoutingKey::chat(PROTO, &folded, ChatKind::Chat);
        let entered =
            Channel { name: channel.to_owned(), chat_key, members: HashMap::new(), listing: Some(Vec::new()) };
        self.by_name.insert(folded, entered);
    }

    /// The bot left a channel.
    pub fn leave(&mut self, channel: &str) {
        self.by_name.remove(&self.casemapping.fold(channel));
    }

    /// Somebody came into a channel.
    pub fn join(&mut self, channel: &str, nick: &str) {
        let folded = self.casemapping.fold(nick);
        if let Some(channel) = self.get_mut(channel) {
            channel.add(folded, nick);
        }
    }

    /// Somebody left a channel.
    pub fn part(&mut self, channel: &str, nick: &str) {
        let folded = self.casemapping.fold(nick);
        if let Some(channel) = self.get_mut(channel) {
            channel.members.remove(&folded);
        }
    }

    /// Somebody left the network: from these channels.
    pub fn quit(&mut self, nick: &str) -> Vec<String> {
        let folded = self.casemapping.fold(nick);
        let mut left = Vec::new();
        for channel in self.by_name.values_mut() {
            if channel.members.remove(&folded).is_some() {
                left.push(channel.name.clone());
            }
        }
        left
    }

    /// The channels that somebody is in with us.
    pub fn of(&self, nick: &str) -> Vec<String> {
        let folded = self.casemapping.fold(nick);
        let shared = self.by_name.values().filter(|channel| channel.members.contains_key(&folded));
        shared.map(|channel| channel.name.clone()).collect()
    }

    /// Somebody has another nick: in these channels.
    pub fn rename(&mut self, from: &str, to: &str) -> Vec<String> {
        let (folded_from, folded_to) = (self.casemapping.fold(from), self.casemapping.fold(to));
        let mut seen = Vec::new();
        for channel in self.by_name.values_mut() {
            if channel.members.remove(&folded_from).is_some() {
                channel.members.insert(folded_to.clone(), to.to_owned());
                seen.push(channel.name.clone());
            }
        }
        seen
    }

    /// `353`: some of those who are in a channel, with their marks.
    pub fn list<'a>(&mut self, channel: &str, names: impl Iterator<Item = (&'a str, &'a str)>) {
        let casemapping = self.casemapping;
        let Some(channel) = self.get_mut(channel) else { return };
        for (prefix, nick) in names {
            let new = channel.add(casemapping.fold(nick), nick);
            if let Some(listing) = channel.listing.as_mut().filter(|_| new) {
                listing.push(Member { nick: nick.to_owned(), prefix: prefix.to_owned() });
            }
        }
    }

    /// `366`: the names are complete. Who is here, if the bot just came in.
    pub fn listed(&mut self, channel: &str) -> Option<Vec<Member>> {
        self.get_mut(channel)?.listing.take()
    }

    fn get_mut(&mut self, channel: &str) -> Option<&mut Channel> {
        self.by_name.get_mut(&self.casemapping.fold(channel))
    }
}

impl Channel {
    /// Adds a member; false if there are too many.
    fn add(&mut self, folded: String, nick: &str) -> bool {
        let room = self.members.len() < MAX_MEMBERS;
        if room {
            self.members.insert(folded, nick.to_owned());
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels() -> Channels {
        let mut channels = Channels::default();
        for channel in ["#a", "#B"] {
            channels.enter(channel);
            channels.list(channel, [("", "pubbot"), ("@", "Alice")].into_iter());
        }
        channels
    }

    #[test]
    fn who_quits_is_gone_from_every_shared_channel_once() {
        let mut channels = channels();
        channels.part("#b", "ALICE");
        assert_eq!(channels.quit("alice"), ["#a"]);
        assert_eq!(channels.quit("alice"), Vec::<String>::new());
        channels.join("#A", "[x]");
        assert_eq!(channels.quit("{X}"), ["#a"]);
    }

    #[test]
    fn who_has_another_nick_is_known_by_that() {
        let mut channels = channels();
        assert_eq!(channels.rename("alice", "Bob"), ["#a", "#B"]);
        assert_eq!(channels.quit("Alice"), Vec::<String>::new());
        assert_eq!(channels.quit("bob"), ["#a", "#B"]);
    }

    #[test]
    fn a_nick_that_only_changes_its_letters_case_stays_a_member() {
        let mut channels = channels();
        assert_eq!(channels.rename("alice", "ALICE").len(), 2);
        assert_eq!(channels.quit("alice").len(), 2);
    }

    #[test]
    fn the_names_are_a_snapshot_once_after_the_bot_came_in() {
        let mut channels = channels();
        let names = channels.listed("#b").unwrap();
        assert_eq!(names.len(), 2);
        assert_eq!(names[1], Member { nick: "Alice".into(), prefix: "@".into() });
        assert_eq!(channels.listed("#b"), None);
        assert_eq!(channels.listed("#nowhere"), None);
    }

    #[test]
    fn another_casemapping_separates_what_was_one_name() {
        let mut channels = Channels::default();
        channels.enter("#[x]");
        assert_eq!(channels.key("#{X}", ChatKind::Chat).unwrap().as_str(), "chat.irc.#{x}.chat");
        channels.compare_by(CaseMapping::Ascii);
        assert_eq!(channels.key("#[X]", ChatKind::Chat).unwrap().as_str(), "chat.irc.#[x].chat");
        channels.join("#[x]", "^a");
        assert_eq!(channels.quit("~a"), Vec::<String>::new());
        assert_eq!(channels.quit("^A"), ["#[x]"]);
    }

    #[test]
    fn an_unsound_name_has_no_key() {
        assert_eq!(channels().key("#a b", ChatKind::Topic), None);
        assert_eq!(channels().key("", ChatKind::Chat), None);
    }
}
