//! The channels that the bot is in: who is there, with which ranks and accounts, the topic and the modes. Kept right by
//! what the server tells; a QUIT or a NICK does not say which channels it is about, so this knows.

use std::collections::BTreeMap;

use protocol::{ChatKind, Member, ModeChange, RoutingKey, Timestamp, check_destination};

use crate::irc::PROTO;
use crate::irc::hear::casemap::CaseMapping;
use crate::irc::hear::people::{Id, People};
use crate::irc::hear::ranks::{Rank, Ranks};

/// The most channels to keep track of; a server could force the bot into any number.
const MAX_CHANNELS: usize = 1_000;
/// The most members to keep track of in one channel.
const MAX_MEMBERS: usize = 50_000;
/// The most members of all channels together, 8 bytes each.
const MAX_MEMBERSHIPS: usize = 500_000;
/// The most modes of one channel.
const MAX_MODES: usize = 64;
/// The longest parameter of a mode that is kept, in bytes.
const MAX_PARAMETER_BYTES: usize = 256;

/// The channels that the bot is in, and the people there.
#[derive(Default)]
pub(crate) struct Channels {
    casemapping: CaseMapping,
    by_name: BTreeMap<String, Channel>,
    people: People,
    memberships: usize,
}

struct Channel {
    /// As the server wrote it when the bot came in.
    name: String,
    /// The routing key of what is said here, made once.
    chat_key: RoutingKey,
    /// By their ids.
    members: Vec<(Id, Rank)>,
    topic: Option<Topic>,
    /// Those that are set; `None` until the server has told all of them.
    modes: Option<Vec<ModeChange>>,
    /// The bot came in, and the list of names is not complete.
    listing: bool,
}

/// What a channel is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topic {
    /// Empty if there is none.
    pub text: String,
    /// Who has set it, if that was told.
    pub by: Option<String>,
    /// When, if that was told.
    pub at: Option<Timestamp>,
}

/// What is known of a channel at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Everybody there, in no particular order.
    pub members: Vec<Member>,
    pub topic: Option<Topic>,
    pub modes: Option<Vec<ModeChange>>,
}

impl Channels {
    /// Compares names by another rule from now on. Names that are one by the new rule become one.
    pub fn compare_by(&mut self, casemapping: CaseMapping) {
        if self.casemapping == casemapping {
            return;
        }
        let new = Channels { casemapping, people: People::new(casemapping), ..Channels::default() };
        let old = std::mem::replace(self, new);
        for channel in old.by_name.into_values() {
            let name = channel.name.clone();
            let members = channel.members.clone();
            let folded = casemapping.fold(&name);
            let chat_key = RoutingKey::chat(PROTO, &folded, ChatKind::Chat);
            self.by_name.entry(folded).or_insert(Channel { chat_key, members: Vec::new(), ..channel });
            for (id, rank) in members {
                let Some(nick) = old.people.nick(id) else { continue };
                self.add(&name, nick, rank);
                if let Some(account) = old.people.account(id) {
                    self.log_in(nick, Some(account));
                }
            }
        }
    }

    /// The ranks of the network are others from now on: who has which is known by their marks.
    pub fn rank_by(&mut self, old: &Ranks, new: &Ranks) {
        let members = self.by_name.values_mut().flat_map(|channel| &mut channel.members);
        members.for_each(|(_, rank)| *rank = new.of_marks(&old.marks(*rank)));
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
        self.leave(channel);
        if self.by_name.len() >= MAX_CHANNELS || check_destination(channel).is_err() {
            tracing::warn!(channel, "in a channel too many, or one with an unsound name: not keeping track of it");
            return;
        }
        let folded = self.casemapping.fold(channel);
        let chat_key = RoutingKey::chat(PROTO, &folded, ChatKind::Chat);
        let (name, members) = (channel.to_owned(), Vec::new());
        self.by_name.insert(folded, Channel { name, chat_key, members, topic: None, modes: None, listing: true });
    }

    /// The bot left a channel.
    pub fn leave(&mut self, channel: &str) {
        let Some(left) = self.by_name.remove(&self.casemapping.fold(channel)) else { return };
        self.memberships -= left.members.len();
        left.members.iter().rev().for_each(|(id, _)| self.people.leave(*id));
        self.pack();
    }

    /// Somebody came into a channel.
    pub fn join(&mut self, channel: &str, nick: &str) {
        self.add(channel, nick, Rank::default());
    }

    /// Somebody left a channel.
    pub fn part(&mut self, channel: &str, nick: &str) {
        let Some(id) = self.people.find(nick) else { return };
        let removed = self.get_mut(channel).is_some_and(|channel| channel.remove(id));
        self.removed(id, usize::from(removed));
    }

    /// Somebody left the network: from these channels.
    pub fn quit(&mut self, nick: &str) -> Vec<String> {
        let Some(id) = self.people.find(nick) else { return Vec::new() };
        let mut left = Vec::new();
        for channel in self.by_name.values_mut() {
            if channel.remove(id) {
                left.push(channel.name.clone());
            }
        }
        self.removed(id, left.len());
        left
    }

    /// The channels that somebody is in with us.
    pub fn of(&self, nick: &str) -> Vec<String> {
        let Some(id) = self.people.find(nick) else { return Vec::new() };
        let shared = self.by_name.values().filter(|channel| channel.place(id).is_ok());
        shared.map(|channel| channel.name.clone()).collect()
    }

    /// Somebody has another nick: in these channels. Whoever had it before, as far as we knew, has left.
    pub fn rename(&mut self, from: &str, to: &str) -> Vec<String> {
        let Some(id) = self.people.find(from) else { return Vec::new() };
        if self.people.find(to).is_some_and(|other| other != id) {
            self.quit(to);
        }
        // their ids may be others now
        if let Some(id) = self.people.find(from) {
            self.people.rename(id, to);
        }
        self.of(to)
    }

    /// Somebody is logged in to this account, or to none.
    pub fn log_in(&mut self, nick: &str, account: Option<&str>) {
        if let Some(id) = self.people.find(nick) {
            self.people.log_in(id, account);
        }
    }

    /// `353`: some of those who are in a channel, with their ranks.
    pub fn list<'a>(&mut self, channel: &str, names: impl Iterator<Item = (Rank, &'a str)>) {
        names.for_each(|(rank, nick)| self.add(channel, nick, rank));
    }

    /// `366`: the names are complete. Whether that is news, since the bot has just come in.
    pub fn listed(&mut self, channel: &str) -> bool {
        self.get_mut(channel).is_some_and(|channel| std::mem::take(&mut channel.listing))
    }

    /// Somebody was given a rank, or it was taken from them.
    pub fn set_rank(&mut self, channel: &str, nick: &str, rank: Rank, set: bool) {
        let Some(id) = self.people.find(nick) else { return };
        if let Some(member) = self.get_mut(channel).and_then(|channel| channel.member_mut(id)) {
            *member = member.with(rank, set);
        }
    }

    /// A mode of the channel itself was set or removed.
    pub fn change_mode(&mut self, channel: &str, change: &ModeChange) {
        if let Some(modes) = self.get_mut(channel).and_then(|channel| channel.modes.as_mut()) {
            apply(modes, change);
        }
    }

    /// `324`: all modes of the channel that are set.
    pub fn set_modes<'a>(&mut self, channel: &str, changes: impl Iterator<Item = &'a ModeChange>) {
        if let Some(channel) = self.get_mut(channel) {
            let mut modes = Vec::new();
            changes.for_each(|change| apply(&mut modes, change));
            channel.modes = Some(modes);
        }
    }

    /// The topic is this one.
    pub fn set_topic(&mut self, channel: &str, topic: Topic) {
        if let Some(channel) = self.get_mut(channel) {
            channel.topic = Some(topic);
        }
    }

    /// `333`: who has set the topic, and when.
    pub fn topic_was_set(&mut self, channel: &str, by: &str, at: Option<Timestamp>) {
        if let Some(topic) = self.get_mut(channel).and_then(|channel| channel.topic.as_mut()) {
            (topic.by, topic.at) = (Some(by.to_owned()), at);
        }
    }

    /// How many are in a channel.
    pub fn members(&self, channel: &str) -> usize {
        self.by_name.get(&self.casemapping.fold(channel)).map_or(0, |channel| channel.members.len())
    }

    /// What is known of a channel now.
    pub fn snapshot(&self, channel: &str, ranks: &Ranks) -> Option<Snapshot> {
        let channel = self.by_name.get(&self.casemapping.fold(channel))?;
        let member = |(id, rank): &(Id, Rank)| {
            let (nick, account) = (self.people.nick(*id)?.to_owned(), self.people.account(*id).map(str::to_owned));
            Some(Member { nick, prefix: ranks.marks(*rank), account })
        };
        let members = channel.members.iter().filter_map(member).collect();
        Some(Snapshot { members, topic: channel.topic.clone(), modes: channel.modes.clone() })
    }

    /// What is known of somebody in a channel.
    pub fn member(&self, channel: &str, nick: &str, ranks: &Ranks) -> Option<Member> {
        let (channel, id) = (self.by_name.get(&self.casemapping.fold(channel))?, self.people.find(nick)?);
        let (_, rank) = channel.members.get(channel.place(id).ok()?)?;
        let (nick, account) = (self.people.nick(id)?.to_owned(), self.people.account(id).map(str::to_owned));
        Some(Member { nick, prefix: ranks.marks(*rank), account })
    }

    /// Somebody is in a channel, with these ranks and no others.
    fn add(&mut self, channel: &str, nick: &str, rank: Rank) {
        let room = self.memberships < MAX_MEMBERSHIPS;
        let Some(channel) = self.by_name.get_mut(&self.casemapping.fold(channel)) else { return };
        if let Some(known) = self.people.find(nick).and_then(|id| channel.member_mut(id)) {
            *known = rank;
        } else if room
            && channel.members.len() < MAX_MEMBERS
            && let Some(id) = self.people.enter(nick)
            && let Err(place) = channel.place(id)
        {
            channel.members.insert(place, (id, rank));
            self.memberships += 1;
        }
    }

    /// Somebody is no longer in so many channels.
    fn removed(&mut self, id: Id, channels: usize) {
        self.memberships -= channels;
        (0..channels).for_each(|_| self.people.leave(id));
        self.pack();
    }

    /// Gives memory back when most people have left.
    fn pack(&mut self) {
        let channels = &mut self.by_name;
        self.people.pack(|ids| {
            for channel in channels.values_mut() {
                let new = |(id, rank): &(Id, Rank)| ids.get(*id as usize).copied().flatten().map(|id| (id, *rank));
                channel.members = channel.members.iter().filter_map(new).collect();
            }
        });
    }

    fn get_mut(&mut self, channel: &str) -> Option<&mut Channel> {
        self.by_name.get_mut(&self.casemapping.fold(channel))
    }
}

impl Channel {
    fn place(&self, id: Id) -> Result<usize, usize> {
        self.members.binary_search_by_key(&id, |(id, _)| *id)
    }

    fn member_mut(&mut self, id: Id) -> Option<&mut Rank> {
        let place = self.place(id).ok()?;
        self.members.get_mut(place).map(|(_, rank)| rank)
    }

    fn remove(&mut self, id: Id) -> bool {
        self.place(id).map(|place| self.members.remove(place)).is_ok()
    }
}

/// Notes what is set. A parameter that is too long, as that of `k`, which is a secret, is left out.
fn apply(modes: &mut Vec<ModeChange>, change: &ModeChange) {
    modes.retain(|known| known.mode != change.mode);
    if change.set && modes.len() < MAX_MODES {
        let told = |parameter: &&String| change.mode != 'k' && parameter.len() <= MAX_PARAMETER_BYTES;
        let parameter = change.parameter.as_ref().filter(told).cloned();
        modes.push(ModeChange { parameter, ..*change });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks() -> Ranks {
        Ranks::parse("(ov)@+").unwrap()
    }

    fn channels() -> Channels {
        let mut channels = Channels::default();
        for channel in ["#a", "#B"] {
            channels.enter(channel);
            let names = [("", "pubbot"), ("@", "Alice")];
            channels.list(channel, names.into_iter().map(|(marks, nick)| (ranks().of_marks(marks), nick)));
        }
        channels
    }

    fn members(channels: &Channels, channel: &str) -> String {
        let mut words: Vec<String> = channels
            .snapshot(channel, &ranks())
            .unwrap()
            .members
            .into_iter()
            .map(|it| format!("{}{}{}", it.prefix, it.nick, it.account.map_or(String::new(), |it| format!("={it}"))))
            .collect();
        words.sort();
        words.join(" ")
    }

    fn change(set: bool, mode: char, parameter: Option<&str>) -> ModeChange {
        ModeChange { set, mode, parameter: parameter.map(str::to_owned) }
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
    fn who_has_another_nick_is_known_by_that_with_rank_and_account() {
        let mut channels = channels();
        channels.log_in("alice", Some("wonderland"));
        assert_eq!(channels.rename("alice", "Bob"), ["#a", "#B"]);
        assert_eq!(channels.quit("Alice"), Vec::<String>::new());
        assert_eq!(members(&channels, "#a"), "@Bob=wonderland pubbot");
        assert_eq!(channels.quit("bob"), ["#a", "#B"]);
    }

    #[test]
    fn a_nick_that_only_changes_its_letters_case_stays_a_member() {
        let mut channels = channels();
        assert_eq!(channels.rename("alice", "ALICE").len(), 2);
        assert_eq!(members(&channels, "#a"), "@ALICE pubbot");
        assert_eq!(channels.quit("alice").len(), 2);
    }

    #[test]
    fn who_takes_a_nick_that_was_somebody_elses_replaces_them() {
        let mut channels = channels();
        channels.join("#a", "ghost");
        channels.join("#b", "ghost");
        channels.part("#b", "alice");
        assert_eq!(channels.rename("alice", "Ghost"), ["#a"]);
        assert_eq!((members(&channels, "#a"), members(&channels, "#b")), ("@Ghost pubbot".into(), "pubbot".into()));
    }

    #[test]
    fn the_names_are_complete_once_after_the_bot_came_in() {
        let mut channels = channels();
        assert_eq!(["#b", "#b", "#nowhere"].map(|channel| channels.listed(channel)), [true, false, false]);
    }

    #[test]
    fn who_shares_no_channel_any_more_is_forgotten() {
        let mut channels = channels();
        channels.log_in("alice", Some("wonderland"));
        channels.leave("#a");
        assert_eq!(members(&channels, "#b"), "@Alice=wonderland pubbot");
        channels.part("#b", "alice");
        channels.join("#b", "alice");
        assert_eq!(members(&channels, "#b"), "alice pubbot");
        channels.leave("#b");
        assert_eq!((channels.people.len(), channels.memberships), (0, 0));
    }

    #[test]
    fn the_modes_are_known_once_the_server_has_told_them_and_the_key_is_not_kept() {
        let mut channels = channels();
        let modes = |channels: &Channels| channels.snapshot("#a", &ranks()).unwrap().modes;
        channels.change_mode("#a", &change(true, 'm', None));
        assert_eq!(modes(&channels), None);
        channels.set_modes("#a", [change(true, 'n', None), change(true, 'k', Some("sesame"))].iter());
        channels.change_mode("#a", &change(true, 'l', Some("50")));
        channels.change_mode("#a", &change(true, 'l', Some("60")));
        channels.change_mode("#a", &change(false, 'n', None));
        assert_eq!(modes(&channels), Some(vec![change(true, 'k', None), change(true, 'l', Some("60"))]));
        for mode in ('a'..='z').chain('A'..='Z').chain('à'..='ÿ') {
            channels.change_mode("#a", &change(true, mode, Some(&"x".repeat(300))));
        }
        let modes = modes(&channels).unwrap();
        assert!(modes.len() == MAX_MODES && modes.iter().all(|mode| mode.parameter.is_none()));
    }

    #[test]
    fn the_topic_is_known_with_who_has_set_it_and_when() {
        let mut channels = channels();
        channels.topic_was_set("#a", "nobody", None);
        channels.set_topic("#A", Topic { text: "tea".into(), ..Topic::default() });
        channels.topic_was_set("#a", "alice!a@h", Some(Timestamp::from_millis(1_000)));
        let topic = channels.snapshot("#a", &ranks()).unwrap().topic.unwrap();
        assert_eq!((&*topic.text, topic.by.as_deref()), ("tea", Some("alice!a@h")));
        assert_eq!(topic.at, Some(Timestamp::from_millis(1_000)));
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
    fn case_twins_become_one_when_the_casemapping_is_learned_late() {
        let mut channels = Channels::default();
        channels.compare_by(CaseMapping::Ascii);
        channels.enter("#a");
        channels.join("#a", "[x]");
        channels.join("#a", "{x}");
        channels.log_in("{x}", Some("twin"));
        assert_eq!(members(&channels, "#a"), "[x] {x}=twin");
        channels.compare_by(CaseMapping::Rfc1459);
        assert_eq!(members(&channels, "#a"), "[x]=twin");
        assert_eq!(channels.quit("{X}"), ["#a"]);
        assert_eq!((channels.people.len(), channels.memberships), (0, 0));
    }

    #[test]
    fn other_ranks_are_known_by_their_marks() {
        let mut channels = channels();
        channels.set_rank("#a", "alice", ranks().of_marks("+"), true);
        let more = Ranks::parse("(qaohv)~&@%+").unwrap();
        channels.rank_by(&ranks(), &more);
        let alice = channels.snapshot("#a", &more).unwrap().members.pop().unwrap();
        assert_eq!((&*alice.nick, &*alice.prefix), ("Alice", "@+"));
    }

    #[test]
    fn there_is_a_maximum_of_everything() {
        let mut channels = Channels::default();
        for n in 0..=MAX_CHANNELS {
            channels.enter(&format!("#{n}"));
        }
        assert_eq!(channels.by_name.len(), MAX_CHANNELS);
        let nicks: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("n{n}")).collect();
        for n in 0..=MAX_MEMBERSHIPS / MAX_MEMBERS {
            nicks.iter().for_each(|nick| channels.join(&format!("#{n}"), nick));
        }
        assert_eq!((channels.members("#0"), channels.memberships), (MAX_MEMBERS, MAX_MEMBERSHIPS));
        (0..=MAX_CHANNELS).for_each(|n| channels.leave(&format!("#{n}")));
        assert_eq!((channels.people.len(), channels.memberships), (0, 0));
    }

    #[test]
    fn an_unsound_name_has_no_key() {
        assert_eq!(channels().key("#a b", ChatKind::Topic), None);
        assert_eq!(channels().key("", ChatKind::Chat), None);
    }
}
