//! What a change makes of what is known: the rules, without a database. Each thing that is known has the version of the event
//! that told it, and only a greater one changes it: so it makes no difference in which order events come, and how often.

use protocol::{Member, Timestamp};
use uuid::Uuid;

use super::change::{Change, Deed, How, Version, What};
use super::fold::key;

/// Who was here before a gap in what the bot knows, and is here after it, was here all the time, if it was no longer than this.
const SHORT_GAP_MS: i64 = 10 * 60 * 1_000;

/// How far a network has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Network {
    /// What is known of members from before this version is of a session that is over.
    pub floor: Version,
    /// The session that was lost last, and when.
    pub lost: Uuid,
    pub lost_ms: i64,
    /// When what is too old was forgotten.
    pub tidied_ms: i64,
}

/// What the bot knows of who is in a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing, or only who came in since something happened.
    #[default]
    Unknown,
    /// Everybody.
    Complete,
}

/// A channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Room {
    /// The last event that told all, or that made all unknown: what is older counts no more.
    pub floor: Version,
    pub state: State,
    /// The session that something was heard in last, and when.
    pub heard: Uuid,
    pub heard_ms: i64,
    /// The bot was not here for a while: from this moment to the first event behind this version.
    pub gap: Version,
    pub gap_ms: i64,
}

/// Somebody in a channel, now or once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub nick: String,
    pub here: bool,
    pub version: Version,
    pub prefix: String,
    pub prefix_version: Version,
    pub account: Option<String>,
    pub account_version: Version,
    pub since_ms: i64,
    pub seen_ms: i64,
    pub seen: How,
}

/// The rows of a channel that a change is about.
pub(super) trait Rows {
    /// Somebody's row, a new one if need be.
    fn of(&mut self, nick: &str) -> &mut Row;
    /// Everybody who is here by an older version is gone: they were not named.
    fn older_are_gone(&mut self, version: Version, room: &Room);
}

/// When and in which place something happened.
#[derive(Clone, Copy)]
struct Moment {
    version: Version,
    at: i64,
}

impl Network {
    /// Takes note of a change, whatever it is.
    pub fn note(&mut self, change: &Change) {
        let Version { session, .. } = change.version;
        match change.what {
            What::Lost => {
                self.floor = self.floor.max(change.version);
                if session >= self.lost {
                    (self.lost, self.lost_ms) = (session, change.at.millis());
                }
            }
            What::Gained | What::In(..) => self.floor = self.floor.max(Version::first(session)),
        }
    }
}

impl Room {
    /// Takes a change.
    pub fn apply(&mut self, network: &Network, at: Timestamp, version: Version, deed: &Deed, rows: &mut impl Rows) {
        let moment = Moment { version, at: at.millis() };
        if !matches!(deed, Deed::Said { replayed: true, .. }) {
            self.hear(network, moment);
        }
        match deed {
            Deed::Joined { nick, account, is_me } => {
                if *is_me {
                    self.raise(version, State::Unknown);
                }
                let member = Member { nick: nick.clone(), prefix: String::new(), account: account.clone() };
                self.is_here(moment, &member, How::Joined, rows);
            }
            Deed::Left { nick, how, is_me } => {
                if *is_me && self.raise(version, State::Unknown) {
                    self.interrupt(version, moment.at);
                }
                rows.of(nick).leave(moment, (*how).into());
            }
            Deed::Renamed { from, to } => self.renamed(moment, from, to, rows),
            Deed::Ranked(members) => {
                members.iter().for_each(|member| self.is_here(moment, member, How::There, rows));
            }
            Deed::LoggedIn { nick, account } => {
                let row = rows.of(nick);
                self.present(row, moment, nick, How::There);
                row.log_in(version, account.as_deref());
            }
            Deed::Named(members) => self.named(moment, members, rows),
            Deed::Said { nick, account, replayed } => {
                let row = rows.of(nick);
                row.see(moment.at, How::Said);
                if !replayed && account.is_some() {
                    row.log_in(version, account.as_deref());
                }
            }
        }
    }

    /// Something was heard here. The first thing in a session ends a gap.
    fn hear(&mut self, network: &Network, Moment { version, at }: Moment) {
        if version.session < self.heard {
            return;
        }
        if version.session == self.heard {
            self.heard_ms = self.heard_ms.max(at);
            return;
        }
        let lost_ms = if network.lost == self.heard { network.lost_ms } else { 0 };
        self.interrupt(Version::first(version.session), self.heard_ms.max(lost_ms));
        (self.heard, self.heard_ms) = (version.session, at);
    }

    /// What is known from before this version was known until this moment.
    fn interrupt(&mut self, version: Version, until: i64) {
        if version > self.gap {
            (self.gap, self.gap_ms) = (version, until);
        }
    }

    /// What is older counts no more.
    fn raise(&mut self, version: Version, state: State) -> bool {
        let is_newer = version > self.floor;
        if is_newer {
            (self.floor, self.state) = (version, state);
        }
        is_newer
    }

    fn renamed(&self, moment: Moment, from: &str, to: &Member, rows: &mut impl Rows) {
        let mut since = None;
        if key(from) != key(&to.nick) {
            let before = rows.of(from);
            since = Some(before.since_ms).filter(|_| before.here && before.version < moment.version);
            before.leave(moment, How::Renamed);
        }
        let is_news = moment.version > rows.of(&to.nick).version;
        self.is_here(moment, to, How::There, rows);
        if let Some(since) = since.filter(|_| is_news) {
            rows.of(&to.nick).since_ms = since;
        }
    }

    fn named(&mut self, moment: Moment, members: &[Member], rows: &mut impl Rows) {
        self.raise(moment.version, State::Complete);
        members.iter().for_each(|member| self.is_here(moment, member, How::There, rows));
        if moment.version == self.floor {
            rows.older_are_gone(moment.version, self);
        }
    }

    fn is_here(&self, moment: Moment, member: &Member, how: How, rows: &mut impl Rows) {
        let row = rows.of(&member.nick);
        self.present(row, moment, &member.nick, how);
        row.rank(moment.version, &member.prefix);
        row.log_in(moment.version, member.account.as_deref());
    }

    /// Somebody was here at that moment.
    fn present(&self, row: &mut Row, moment: Moment, nick: &str, how: How) {
        row.see(moment.at, how);
        if moment.version <= row.version {
            return;
        }
        let was_away = row.version < self.gap && moment.at - self.gap_ms > SHORT_GAP_MS;
        if how == How::Joined || !row.here || was_away {
            row.since_ms = moment.at;
        }
        // a later list did not name them
        row.here = moment.version >= self.floor || self.state != State::Complete;
        (row.version, row.nick) = (moment.version, nick.to_owned());
    }
}

impl Row {
    /// Somebody of whom nothing is known yet.
    pub fn new(nick: &str) -> Self {
        let version = Version::default();
        Row {
            nick: nick.to_owned(),
            here: false,
            version,
            prefix: String::new(),
            prefix_version: version,
            account: None,
            account_version: version,
            since_ms: 0,
            seen_ms: i64::MIN,
            seen: How::There,
        }
    }

    /// What their nick is looked for by.
    pub fn folded(&self) -> String {
        crate::fold(&self.nick)
    }

    /// They were here when a list came that did not name them.
    pub fn vanish(&mut self, version: Version, room: &Room) {
        if self.here && self.version < version {
            if self.version < room.gap {
                self.see(room.gap_ms, How::There);
            }
            (self.here, self.version) = (false, version);
        }
    }

    fn see(&mut self, at: i64, how: How) {
        if (at, how) > (self.seen_ms, self.seen) {
            (self.seen_ms, self.seen) = (at, how);
        }
    }

    fn leave(&mut self, moment: Moment, how: How) {
        self.see(moment.at, how);
        if moment.version > self.version {
            (self.here, self.version) = (false, moment.version);
        }
    }

    fn rank(&mut self, version: Version, prefix: &str) {
        if version > self.prefix_version {
            (self.prefix, self.prefix_version) = (prefix.to_owned(), version);
        }
    }

    fn log_in(&mut self, version: Version, account: Option<&str>) {
        if version > self.account_version {
            (self.account, self.account_version) = (account.map(str::to_owned), version);
        }
    }
}
