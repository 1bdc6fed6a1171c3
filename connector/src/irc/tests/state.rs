//! What the bot knows of channels and people is what a naive model of them says, whatever happens there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bus::{Embedded, Topology};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::irc::hear::casemap::CaseMapping;
use crate::irc::hear::events::{Events, View};
use crate::irc::hear::framing::{Framing, numbered};
use crate::irc::hear::inquiry::Inquiry;
use crate::irc::session::Known;
use crate::outbox::Outbox;
use crate::testing::TestAmbient;

/// Some are one name by one casemapping and two by another.
const NICKS: [&str; 9] =
    ["pubbot", "PUBBOT", "alice", "ALICE", "[x]", "{X}", "a^", "A~", "a-nick-too-long-to-be-inline"];
const CHANNELS: [&str; 4] = ["#a", "#A", "#[b]", "#{b}"];
const ACCOUNTS: [&str; 3] = ["*", "wonder", "Land"];

/// Something that the server says.
#[derive(Clone, Debug)]
enum Happens {
    Join { nick: &'static str, channel: &'static str, account: Option<&'static str> },
    Part { nick: &'static str, channels: Vec<&'static str> },
    Kick { channel: &'static str, nicks: Vec<&'static str> },
    Quit { nick: &'static str },
    Nick { from: &'static str, to: &'static str },
    Mode { channel: &'static str, changes: Vec<(bool, char, &'static str)> },
    Names { channel: &'static str, members: Vec<(&'static str, &'static str)> },
    Account { nick: &'static str, account: &'static str },
    Says { nick: &'static str, account: &'static str },
}

impl Happens {
    fn line(&self) -> String {
        match self {
            Happens::Join { nick, channel, account: None } => format!(":{nick}!u@h JOIN {channel}"),
            Happens::Join { nick, channel, account: Some(account) } => {
                format!(":{nick}!u@h JOIN {channel} {account} :Real name")
            }
            Happens::Part { nick, channels } => format!(":{nick}!u@h PART {} :bye", channels.join(",")),
            Happens::Kick { channel, nicks } => format!(":op!o@h KICK {channel} {} :out", nicks.join(",")),
            Happens::Quit { nick } => format!(":{nick}!u@h QUIT :hub.example leaf.example"),
            Happens::Nick { from, to } => format!(":{from}!u@h NICK :{to}"),
            Happens::Mode { channel, changes } => {
                let modes: String =
                    changes.iter().map(|(set, mode, _)| format!("{}{mode}", if *set { '+' } else { '-' })).collect();
                let nicks: Vec<&str> = changes.iter().map(|(_, _, nick)| *nick).collect();
                format!(":op!o@h MODE {channel} {modes} {}", nicks.join(" "))
            }
            Happens::Names { channel, members } => {
                let words: Vec<String> = members.iter().map(|(marks, nick)| format!("{marks}{nick}!u@h")).collect();
                format!(":irc.test 353 pubbot = {channel} :{}", words.join(" "))
            }
            Happens::Account { nick, account } => format!(":{nick}!u@h ACCOUNT {account}"),
            Happens::Says { nick, account } => format!("@account={account} :{nick}!u@h PRIVMSG #a :hello"),
        }
    }
}

fn happens() -> impl Strategy<Value = Happens> {
    let (nick, channel) = (|| select(NICKS.to_vec()), || select(CHANNELS.to_vec()));
    let nicks = || proptest::collection::vec(nick(), 1..4);
    let account = || select(ACCOUNTS.to_vec());
    let change = (any::<bool>(), select(vec!['o', 'v']), nick());
    let listed = (select(vec!["", "@", "+", "@+"]), nick());
    prop_oneof![
        6 => (nick(), channel(), proptest::option::of(account()))
            .prop_map(|(nick, channel, account)| Happens::Join { nick, channel, account }),
        2 => (nick(), subsequence(CHANNELS.to_vec(), 1..=2)).prop_map(|(nick, channels)| Happens::Part { nick, channels }),
        1 => (channel(), nicks()).prop_map(|(channel, nicks)| Happens::Kick { channel, nicks }),
        1 => nick().prop_map(|nick| Happens::Quit { nick }),
        3 => (nick(), nick()).prop_map(|(from, to)| Happens::Nick { from, to }),
        2 => (channel(), proptest::collection::vec(change, 1..4))
            .prop_map(|(channel, changes)| Happens::Mode { channel, changes }),
        2 => (channel(), proptest::collection::vec(listed, 1..5))
            .prop_map(|(channel, members)| Happens::Names { channel, members }),
        2 => (nick(), account()).prop_map(|(nick, account)| Happens::Account { nick, account }),
        1 => (nick(), select(ACCOUNTS[1..].to_vec())).prop_map(|(nick, account)| Happens::Says { nick, account }),
    ]
}

/// Marks of ranks by nicks by channels, and accounts by nicks; all names in small letters.
struct Model {
    casemapping: CaseMapping,
    me: String,
    channels: BTreeMap<String, BTreeMap<String, BTreeSet<char>>>,
    accounts: BTreeMap<String, String>,
}

impl Model {
    fn happens(&mut self, what: &Happens) {
        match what {
            Happens::Join { nick, channel, account } => {
                let (nick, channel) = (self.fold(nick), self.fold(channel));
                if nick == self.me {
                    self.channels.insert(channel.clone(), BTreeMap::new());
                    self.forget_strangers();
                }
                if let Some(members) = self.channels.get_mut(&channel) {
                    members.insert(nick.clone(), BTreeSet::new());
                }
                if let Some(account) = account {
                    self.log_in(nick, account);
                }
            }
            Happens::Part { nick, channels } => channels.iter().for_each(|channel| self.leave(channel, nick)),
            Happens::Kick { channel, nicks } => nicks.iter().for_each(|nick| self.leave(channel, nick)),
            Happens::Quit { nick } => self.quit(&self.fold(nick)),
            Happens::Nick { from, to } => {
                let (from, to) = (self.fold(from), self.fold(to));
                let known = self.knows(&from);
                if from == self.me {
                    self.me.clone_from(&to);
                }
                if known && from != to {
                    self.quit(&to);
                    for members in self.channels.values_mut() {
                        members.remove(&from).map(|marks| members.insert(to.clone(), marks));
                    }
                    self.accounts.remove(&from).map(|account| self.accounts.insert(to, account));
                }
            }
            Happens::Mode { channel, changes } => {
                for (set, mode, nick) in changes {
                    let (nick, mark) = (self.fold(nick), if *mode == 'o' { '@' } else { '+' });
                    let marks = self.channels.get_mut(&self.casemapping.fold(channel)).and_then(|it| it.get_mut(&nick));
                    marks.map(|marks| if *set { marks.insert(mark) } else { marks.remove(&mark) });
                }
            }
            Happens::Names { channel, members } => {
                for (marks, nick) in members {
                    let nick = self.fold(nick);
                    let channel = self.channels.get_mut(&self.casemapping.fold(channel));
                    channel.map(|members| members.insert(nick, marks.chars().collect()));
                }
            }
            Happens::Account { nick, account } | Happens::Says { nick, account } => {
                self.log_in(self.fold(nick), account)
            }
        }
    }

    fn fold(&self, name: &str) -> String {
        self.casemapping.fold(name)
    }

    fn knows(&self, nick: &str) -> bool {
        self.channels.values().any(|members| members.contains_key(nick))
    }

    fn leave(&mut self, channel: &str, nick: &str) {
        let (channel, nick) = (self.fold(channel), self.fold(nick));
        if nick == self.me {
            self.channels.remove(&channel);
        } else if let Some(members) = self.channels.get_mut(&channel) {
            members.remove(&nick);
        }
        self.forget_strangers();
    }

    fn quit(&mut self, nick: &str) {
        self.channels.values_mut().for_each(|members| drop(members.remove(nick)));
        self.forget_strangers();
    }

    fn log_in(&mut self, nick: String, account: &str) {
        if account == "*" {
            self.accounts.remove(&nick);
        } else if self.knows(&nick) {
            self.accounts.insert(nick, account.to_owned());
        }
    }

    fn forget_strangers(&mut self) {
        let known: BTreeSet<String> = self.channels.values().flat_map(|members| members.keys().cloned()).collect();
        self.accounts.retain(|nick, _| known.contains(nick));
    }
}

/// Nick, marks and account of everybody in a channel, in order.
type Members = Vec<(String, String, Option<String>)>;

fn expected(model: &Model, channel: &str) -> Option<Members> {
    let members = model.channels.get(&model.fold(channel))?;
    // the mark of operators comes first
    let marks = |marks: &BTreeSet<char>| marks.iter().rev().collect::<String>();
    Some(members.iter().map(|(nick, it)| (nick.clone(), marks(it), model.accounts.get(nick).cloned())).collect())
}

fn known(view: &View, channel: &str) -> Option<Members> {
    let snapshot = view.channels.snapshot(channel, &view.isupport.ranks)?;
    let fold = |nick: &str| view.isupport.casemapping.fold(nick);
    let mut members: Members = snapshot.members.into_iter().map(|it| (fold(&it.nick), it.prefix, it.account)).collect();
    members.sort();
    Some(members)
}

fn outbox() -> Outbox {
    Outbox::open(Arc::new(Embedded::new(Topology::default())), TestAmbient::arc(), "irc", "test", None)
}

/// Hears lines as the session does, and compares after each.
fn compare(casemapping: &str, script: &[Happens]) {
    let mut outbox = outbox();
    let mut events = Events::new("test", TestAmbient::arc(), &mut outbox, Known::default());
    let (mut view, mut inquiry, mut framing) = (View::new("pubbot"), Inquiry::new(true), Framing::new("test"));
    view.learn([format!("CASEMAPPING={casemapping}").as_str()].into_iter());
    let casemapping = view.isupport.casemapping;
    let mut model =
        Model { casemapping, me: "pubbot".to_owned(), channels: BTreeMap::new(), accounts: BTreeMap::new() };
    for (number, what) in script.iter().enumerate() {
        framing.feed(format!("{}\r\n", what.line()).as_bytes());
        let message = framing.next_message().expect("a sound line");
        match numbered(&message.command) {
            Some((number, parameters)) => drop(inquiry.hear(number, parameters, &mut view)),
            None => events.hear(message, &mut view),
        }
        model.happens(what);
        assert_eq!(casemapping.fold(&view.me.nick), model.me, "{:?}", &script[..=number]);
        for channel in CHANNELS {
            assert_eq!(known(&view, channel), expected(&model, channel), "{channel} after {:?}", &script[..=number]);
        }
    }
}

#[tokio::test]
async fn what_is_told_again_says_nothing_of_who_has_the_nick_now() {
    let mut outbox = outbox();
    let mut events = Events::new("test", TestAmbient::arc(), &mut outbox, Known::default());
    let mut view = View::new("pubbot");
    let line = |line: &str| line.parse().unwrap();
    events.hear(line(":pubbot!u@h JOIN #a"), &mut view);
    events.hear(line(":alice!u@h JOIN #a"), &mut view);
    events.hear_again(line("@account=wonder :alice!u@h PRIVMSG #a :hello"), &mut view);
    let account = |view: &View| known(view, "#a").unwrap()[0].2.clone();
    assert_eq!(account(&view), None);
    events.hear(line("@account=land :alice!u@h PRIVMSG #a :hello"), &mut view);
    assert_eq!(account(&view).as_deref(), Some("land"));
}

proptest! {
    #[test]
    fn members_ranks_and_accounts_are_those_of_a_naive_model(
        casemapping in select(vec!["ascii", "rfc1459", "strict-rfc1459"]),
        script in proptest::collection::vec(happens(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { compare(casemapping, &script) });
    }
}
