//! What is heard becomes events: who said what where, who came and went. What others' commands mean for the channels
//! is noted on the way, since a QUIT's events depend on it.

use std::sync::Arc;
use std::time::Duration;

use irc_proto::{Command, Message, Prefix};
use protocol::{
    Account, Ambient, Chat, ChatKind, Connection, Event, Head, Invite, Join, Leave, LeaveKind, Member, Mode,
    ModeChange, Names, Nick, RoutingKey, Timestamp, Topic, event_id, message_event_id, source_id,
};
use serde::Serialize;
use uuid::Uuid;

use crate::address::said_to;
use crate::heard::Heard;
use crate::irc::PROTO;
use crate::irc::hear::channels::{self, Channels, Snapshot};
use crate::irc::hear::framing::MODE;
use crate::irc::hear::identity::Identity;
use crate::irc::hear::isupport::Isupport;
use crate::irc::hear::tags::Tags;
use crate::irc::session::Known;
use crate::irc::speak::loops::Loops;
use crate::outbox::Outbox;

/// Servers of a network may tell times that differ by so much.
const SKEW: Duration = Duration::from_secs(60);

/// What the bot knows of the network during one session.
pub(crate) struct View {
    pub me: Identity,
    pub isupport: Isupport,
    pub channels: Channels,
}

impl View {
    pub fn new(nick: &str) -> Self {
        View { me: Identity::new(nick), isupport: Isupport::default(), channels: Channels::default() }
    }

    /// Takes the parameters of `005`.
    pub fn learn<'a>(&mut self, parameters: impl Iterator<Item = &'a str>) {
        let ranks = self.isupport.ranks.clone();
        parameters.for_each(|parameter| self.isupport.take(parameter));
        self.channels.compare_by(self.isupport.casemapping);
        if ranks != self.isupport.ranks {
            self.channels.rank_by(&ranks, &self.isupport.ranks);
        }
    }

    pub fn is_me(&self, nick: &str) -> bool {
        self.same(nick, &self.me.nick)
    }

    /// A mode of a channel was changed: somebody's rank there, or one of its own.
    fn note_mode(&mut self, channel: &str, change: &ModeChange) {
        let Isupport { ranks, channel_modes, .. } = &self.isupport;
        match (ranks.of_letter(change.mode), &change.parameter) {
            (Some(rank), Some(nick)) => self.channels.set_rank(channel, nick, rank, change.set),
            (None, _) if !channel_modes.is_list(change.mode) => self.channels.change_mode(channel, change),
            _ => {}
        }
    }

    /// Those of a channel whose rank is among these changes, each once, as they are now.
    fn ranked(&self, channel: &str, changes: &[ModeChange]) -> Vec<Member> {
        let Isupport { ranks, .. } = &self.isupport;
        let of_ranks = changes.iter().filter(|change| ranks.of_letter(change.mode).is_some());
        let mut members: Vec<Member> = Vec::new();
        for nick in of_ranks.filter_map(|change| change.parameter.as_deref()) {
            let member = self.channels.member(channel, nick, ranks);
            members.extend(member.filter(|member| members.iter().all(|known| known.nick != member.nick)));
        }
        members
    }

    /// The account of somebody in a channel with us, as far as it is known.
    fn account_in(&self, channel: &str, nick: &str) -> Option<String> {
        self.channels.member(channel, nick, &self.isupport.ranks)?.account
    }

    /// Whether two names are one.
    pub fn same(&self, a: &str, b: &str) -> bool {
        self.isupport.casemapping.same(a, b)
    }
}

/// Writes down what happens in one session, numbered from 1.
pub(crate) struct Events<'a> {
    network: String,
    session: Uuid,
    seq: u64,
    ambient: Arc<dyn Ambient>,
    outbox: &'a mut Outbox,
    loops: Loops,
    heard: Heard,
    /// When this session began, by the server's clock.
    began: Option<Timestamp>,
    /// The tags of the message at hand.
    tags: Tags,
    /// It comes out of the network's history.
    replayed: bool,
}

impl<'a> Events<'a> {
    pub fn new(network: &str, ambient: Arc<dyn Ambient>, outbox: &'a mut Outbox, known: Known) -> Self {
        let (session, network, Known { loops, heard, .. }) = (event_id(&*ambient), network.to_owned(), known);
        let (began, tags, replayed) = Default::default();
        Events { network, session, seq: 0, ambient, outbox, loops, heard, began, tags, replayed }
    }

    /// The session begins with this message.
    pub fn begin(&mut self, welcome: &Message) {
        self.began = Tags::time(welcome, self.ambient.now());
    }

    /// Whether something was said before the session began, by the server's own clock: a bouncer tells it again.
    pub fn is_older(&self, message: &Message) -> bool {
        let said = matches!(message.command, Command::PRIVMSG(..) | Command::NOTICE(..));
        let at = || Tags::time(message, self.ambient.now());
        said && self.began.is_some_and(|began| at().is_some_and(|at| at.plus(SKEW) < began))
    }

    /// Makes the events of one message, if it has any.
    pub fn hear(&mut self, message: Message, view: &mut View) {
        self.tags = Tags::of(&message, self.ambient.now());
        // who had the nick then may be somebody else, and a login is told below
        let is_of_now = !self.replayed && !matches!(message.command, Command::ACCOUNT(_));
        if let Some(from) = message.prefix {
            self.hear_from(&from, message.command, view);
            // who has just come in is known by now
            if let Some(account) = self.tags.account.as_ref().filter(|_| is_of_now) {
                view.channels.log_in(name(&from), Some(account));
            }
        }
        self.tags = Tags::default();
    }

    /// Makes an event of something that was said before this session, if it has not been one yet. Nothing else that
    /// happened then is of any interest: who is here now is known.
    pub fn hear_again(&mut self, message: Message, view: &mut View) {
        if matches!(message.command, Command::PRIVMSG(..) | Command::NOTICE(..)) {
            self.replayed = true;
            self.hear(message, view);
            self.replayed = false;
        }
    }

    fn hear_from(&mut self, from: &Prefix, command: Command, view: &mut View) {
        match command {
            Command::PRIVMSG(target, text) => self.heard(view, from, &target, text, ChatKind::Chat),
            Command::NOTICE(target, text) => self.heard(view, from, &target, text, ChatKind::Notice),
            // behind the channel an account and a real name may stand (IRCv3 `extended-join`)
            Command::JOIN(channels, account, _) => {
                each(&channels).for_each(|channel| self.joined(view, from, channel, account.as_deref()));
            }
            Command::PART(channels, reason) => {
                each(&channels).for_each(|channel| self.parted(view, name(from), channel, reason.clone()));
            }
            Command::KICK(channels, nicks, reason) => {
                let kicks = each_kick(&channels, &nicks);
                kicks.for_each(|(channel, nick)| self.kicked(view, name(from), channel, nick, reason.clone()));
            }
            Command::QUIT(reason) => self.quit(view, name(from), reason),
            Command::NICK(nick) => self.renamed(view, name(from), &nick),
            Command::TOPIC(channel, topic) => self.topic(view, name(from), channel, topic.unwrap_or_default()),
            Command::Raw(mode, parameters) if mode == MODE => self.modes_changed(view, name(from), &parameters),
            Command::ACCOUNT(account) => self.logged_in(view, name(from), &account),
            Command::CHGHOST(user, host) if view.is_me(name(from)) => view.me.seen(&user, &host),
            Command::INVITE(nick, channel) => self.invited(view, name(from), nick, channel),
            _ => {}
        }
    }

    /// The network was gained (`up`) or lost (`down`, and why).
    pub fn connection(&mut self, view: &View, what: &str, reason: Option<&impl ToString>) {
        let Ok(key) = RoutingKey::parse(&format!("connection.{PROTO}.{}.{what}", self.network)) else { return };
        let connection = Connection {
            id: event_id(&*self.ambient),
            at: self.ambient.now(),
            network: self.network.clone(),
            nick: view.me.nick.clone(),
            session: self.session,
            reason: reason.map(ToString::to_string),
        };
        self.publish(key, connection.id, &connection);
    }

    /// Who is in a channel, and what else is known of it.
    pub fn names(&mut self, view: &View, channel: &str) {
        let Some(Snapshot { members, topic, modes }) = view.channels.snapshot(channel, &view.isupport.ranks) else {
            return;
        };
        let (topic, topic_by, topic_at) = topic.map_or((None, None, None), |it| (Some(it.text), it.by, it.at));
        self.put(view, channel, ChatKind::Names, |head| Names { head, members, topic, topic_by, topic_at, modes });
    }

    /// Somebody said something; not the bot itself, which the session sees to. Servers and services without an address
    /// are nobody.
    fn heard(&mut self, view: &View, from: &Prefix, target: &str, text: String, kind: ChatKind) {
        let Prefix::Nickname(source, user, host) = from else { return };
        if user.is_empty() || host.is_empty() {
            return;
        }
        let Some((kind, text)) = unwrap_ctcp(kind, text) else { return };
        let private = view.is_me(target);
        let place = if private { Some(("", source.as_str())) } else { view.isupport.split_target(target) };
        let Some((status, channel)) = place else { return };
        if !self.is_new(view, channel, kind, source, &text) {
            return;
        }
        let said = Said::new(view, text);
        let (loops, tags, replayed) = (self.loops.clone(), self.tags.clone(), self.replayed);
        self.put(view, channel, kind, |head| {
            if !replayed {
                loops.heard(&format!("{status}{channel}"), source, &said.content, head.id);
            }
            Chat { replayed, ..said.by(source, private, status, tags, head) }
        });
    }

    /// Takes note of something that was said; false if it is replayed and was an event before.
    fn is_new(&mut self, view: &View, channel: &str, kind: ChatKind, source: &str, text: &str) -> bool {
        let (Some(at), Some(key)) = (self.tags.at, view.channels.key(channel, kind)) else { return true };
        let place = view.isupport.casemapping.fold(channel);
        // without an id of its own it is known by what it says
        let msgid = self.tags.msgid.clone().unwrap_or_else(|| format!("{source}\0{text}"));
        let id = message_event_id(at, &self.network, &key, &msgid);
        if self.replayed && self.heard.knows(&place, id) {
            return false;
        }
        self.heard.note(&place, at, id, self.replayed);
        true
    }

    /// `account` is told by `extended-join`: `*` for none.
    fn joined(&mut self, view: &mut View, from: &Prefix, channel: &str, account: Option<&str>) {
        let Prefix::Nickname(user, ident, host) = from else { return };
        let is_me = view.is_me(user);
        if is_me {
            view.me.seen(ident, host);
            view.channels.enter(channel);
        }
        view.channels.join(channel, user);
        if let Some(account) = account {
            view.channels.log_in(user, Some(account).filter(|account| *account != "*"));
        }
        let account = view.account_in(channel, user);
        self.put(view, channel, ChatKind::Join, |head| Join { head, user: user.clone(), is_me, account });
    }

    fn parted(&mut self, view: &mut View, user: &str, channel: &str, reason: Option<String>) {
        self.left(view, channel, user, LeaveKind::Part, None, reason);
    }

    fn kicked(&mut self, view: &mut View, by: &str, channel: &str, user: &str, reason: Option<String>) {
        self.left(view, channel, user, LeaveKind::Kicked, Some(by.to_owned()), reason);
    }

    fn left(
        &mut self,
        view: &mut View,
        channel: &str,
        user: &str,
        kind: LeaveKind,
        by: Option<String>,
        reason: Option<String>,
    ) {
        let is_me = view.is_me(user);
        match is_me {
            true => view.channels.leave(channel),
            false => view.channels.part(channel, user),
        }
        self.put(view, channel, ChatKind::Leave, |head| Leave { head, user: user.to_owned(), kind, by, reason, is_me });
    }

    fn quit(&mut self, view: &mut View, user: &str, reason: Option<String>) {
        for channel in view.channels.quit(user) {
            let (user, reason) = (user.to_owned(), reason.clone());
            let is_me = view.is_me(&user);
            let leave = |head| Leave { head, user, kind: LeaveKind::Quit, by: None, reason, is_me };
            self.put(view, &channel, ChatKind::Leave, leave);
        }
    }

    fn renamed(&mut self, view: &mut View, user: &str, nick: &str) {
        let is_me = view.is_me(user);
        if is_me {
            view.me.nick = nick.to_owned();
        }
        for channel in view.channels.rename(user, nick) {
            let known = view.channels.member(&channel, nick, &view.isupport.ranks);
            let (prefix, account) = known.map_or_else(Default::default, |known| (known.prefix, known.account));
            let (user, nick) = (user.to_owned(), nick.to_owned());
            self.put(view, &channel, ChatKind::Nick, |head| Nick { head, user, nick, is_me, prefix, account });
        }
    }

    fn topic(&mut self, view: &mut View, user: &str, channel: String, topic: String) {
        let at = self.tags.at.unwrap_or_else(|| self.ambient.now());
        view.channels
            .set_topic(&channel, channels::Topic { text: topic.clone(), by: Some(user.to_owned()), at: Some(at) });
        self.put(view, &channel, ChatKind::Topic, |head| Topic { head, user: user.to_owned(), topic });
    }

    /// The modes of a channel were changed; those of a user are nobody else's business.
    fn modes_changed(&mut self, view: &mut View, user: &str, parameters: &[String]) {
        let [channel, modes, parameters @ ..] = parameters else { return };
        if view.isupport.is_channel(channel) {
            let modes = view.isupport.channel_modes.changes(&view.isupport.ranks, modes, parameters);
            modes.iter().for_each(|change| view.note_mode(channel, change));
            let members = view.ranked(channel, &modes);
            self.put(view, channel, ChatKind::Mode, |head| Mode { head, user: user.to_owned(), modes, members });
        }
    }

    /// Somebody has logged in to an account, or out (`*`): told in each channel that they are in.
    fn logged_in(&mut self, view: &mut View, user: &str, account: &str) {
        let account = Some(account).filter(|account| *account != "*");
        view.channels.log_in(user, account);
        for channel in view.channels.of(user) {
            let source_id = account.map(|account| source_id(&self.network, account));
            let (user, account) = (user.to_owned(), account.map(str::to_owned));
            self.put(view, &channel, ChatKind::Account, |head| Account { head, user, account, source_id });
        }
    }

    fn invited(&mut self, view: &View, by: &str, nick: String, channel: String) {
        let user = Some(nick).filter(|nick| !view.is_me(nick));
        self.put(view, &channel, ChatKind::Invite, |head| Invite { head, by: by.to_owned(), user });
    }

    /// Puts an event of this kind into the outbox; without a sound channel there is none.
    fn put<T: Serialize>(&mut self, view: &View, channel: &str, kind: ChatKind, body: impl FnOnce(Head) -> T) {
        if let Some(key) = view.channels.key(channel, kind) {
            let head = self.head(channel, &key);
            self.publish(key, head.id, &body(head));
        }
    }

    fn head(&mut self, channel: &str, key: &RoutingKey) -> Head {
        self.seq += 1;
        let id = match (self.tags.at, &self.tags.msgid) {
            (Some(at), Some(msgid)) => message_event_id(at, &self.network, key, msgid),
            _ => event_id(&*self.ambient),
        };
        Head {
            id,
            at: self.tags.at.unwrap_or_else(|| self.ambient.now()),
            network: self.network.clone(),
            channel: channel.to_owned(),
            session: Some(self.session),
            seq: Some(self.seq),
        }
    }

    fn publish(&mut self, key: RoutingKey, id: Uuid, body: &impl Serialize) {
        match Event::new(key, id, body) {
            Ok(event) => self.outbox.put(event),
            Err(why) => tracing::error!(network = self.network, %why, "an event can't be written"),
        }
    }
}

/// Something said, and whether it was said to the bot by name.
struct Said {
    content: String,
    raw: Option<String>,
}

impl Said {
    fn new(view: &View, text: String) -> Self {
        match said_to(&view.me.nick, &text, |a, b| view.same(a, b)) {
            Some(content) => Said { content: content.to_owned(), raw: Some(text) },
            None => Said { content: text, raw: None },
        }
    }

    fn by(self, source: &str, private: bool, status: &str, tags: Tags, head: Head) -> Chat {
        let direct = private || self.raw.is_some();
        let source_id = tags.account.as_deref().map(|account| source_id(&head.network, account));
        let Tags { account, msgid, bot, .. } = tags;
        let status = Some(status.to_owned()).filter(|status| !status.is_empty());
        Chat {
            raw: self.raw,
            source_id,
            direct,
            private,
            account,
            msgid,
            bot,
            status,
            ..Chat::new(head, source, &self.content)
        }
    }
}

/// Takes the CTCP frame off an action; `None` for every other CTCP message. The closing mark may be missing.
fn unwrap_ctcp(kind: ChatKind, text: String) -> Option<(ChatKind, String)> {
    let Some(framed) = text.strip_prefix('\x01') else { return Some((kind, text)) };
    let framed = framed.strip_suffix('\x01').unwrap_or(framed);
    let (command, rest) = framed.split_once(' ').unwrap_or((framed, ""));
    let is_action = kind == ChatKind::Chat && command.eq_ignore_ascii_case("ACTION");
    is_action.then(|| (ChatKind::Action, rest.to_owned()))
}

/// The channels of a list. Servers send one at a time, but need not (RFC 1459, section 4.2).
pub(crate) fn each(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|name| !name.is_empty())
}

/// Who is kicked from where: several from one channel, or from as many channels one each (RFC 2812, section 3.2.8).
pub(crate) fn each_kick<'a>(channels: &'a str, nicks: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let only = Some(channels).filter(|channels| !channels.contains(','));
    let mut channels = each(channels);
    each(nicks).map_while(move |nick| Some((only.or_else(|| channels.next())?, nick)))
}

/// A user's nick, or a server's name.
fn name(prefix: &Prefix) -> &str {
    match prefix {
        Prefix::Nickname(name, ..) | Prefix::ServerName(name) => name,
    }
}
