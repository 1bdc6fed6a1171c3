//! What changes who is where: events as the store takes them, each with its place in the order of its network.

use protocol::{
    Account, Chat, ChatKind, Connection, Event, Head, Join, Leave, LeaveKind, Malformed, Member, Mode, Names, Nick,
    Timestamp,
};
use uuid::Uuid;

/// An event's place in the order of its network: the session (a UUIDv7, so later ones are greater), then the number within
/// it. Of two events about one thing the greater one counts, whichever comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The connector's session; nil for events of somebody who has none.
    pub session: Uuid,
    /// Counts the session's events.
    pub seq: u64,
}

impl Version {
    /// Before all events of a session.
    pub fn first(session: Uuid) -> Self {
        Version { session, seq: 0 }
    }

    /// After all events of a session.
    pub fn last(session: Uuid) -> Self {
        Version { session, seq: u64::MAX }
    }

    fn of(head: &Head) -> Self {
        // who counts no sessions has at least a clock
        let by_time = u64::try_from(head.at.millis()).unwrap_or(0);
        match head.session.filter(|session| session.get_version_num() == 7) {
            Some(session) => Version { session, seq: head.seq.unwrap_or(0) },
            None => Version { session: Uuid::nil(), seq: by_time },
        }
    }

    /// Bytes that sort as versions do.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [&self.session.as_bytes()[..], &self.seq.to_be_bytes()].concat()
    }

    /// The same from [`to_bytes`](Version::to_bytes); what has another length counts as older than everything.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let read = |(session, seq): (&[u8; 16], &[u8])| {
            let seq = u64::from_be_bytes(seq.try_into().ok()?);
            Some(Version { session: Uuid::from_bytes(*session), seq })
        };
        bytes.split_first_chunk::<16>().and_then(read).unwrap_or_default()
    }
}

/// Something that happened to who is where.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The network's name.
    pub network: String,
    /// Its place in the network's order.
    pub version: Version,
    /// When it happened.
    pub at: Timestamp,
    /// What.
    pub what: What,
}

/// What happened, and in which channel, by its word in routing keys.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A session began.
    Gained,
    /// A session ended: of no channel is known any more who is there.
    Lost,
    /// Something in a channel.
    In(String, Deed),
}

/// What somebody did, or what became of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// They came in.
    Joined {
        /// Their nick.
        nick: String,
        /// Their account, as far as it is known.
        account: Option<String>,
        /// It was the bot itself, which is told next who else is there.
        is_me: bool,
    },
    /// They left.
    Left {
        /// Their nick.
        nick: String,
        /// How.
        how: LeaveKind,
        /// It was the bot itself, which knows nothing of the channel any more.
        is_me: bool,
    },
    /// They have another nick.
    Renamed {
        /// The nick before.
        from: String,
        /// What they are from now on.
        to: Member,
    },
    /// These have other ranks.
    Ranked(Vec<Member>),
    /// They logged in, or out.
    LoggedIn {
        /// Their nick.
        nick: String,
        /// Their account.
        account: Option<String>,
    },
    /// These are here and nobody else.
    Named(Vec<Member>),
    /// They said something.
    Said {
        /// Their nick.
        nick: String,
        /// Their account, if it was told.
        account: Option<String>,
        /// It comes out of the network's history: that they are here now does not follow.
        replayed: bool,
    },
}

impl Change {
    /// Reads an event; `None` for one that tells nothing of who is where, and for what is said to the bot alone.
    ///
    /// # Errors
    /// [`Malformed`] when its body is not what its key says.
    pub fn read(event: &Event) -> Result<Option<Self>, Malformed> {
        let Some(kind) = event.key.chat_kind() else { return connection(event) };
        let channel = event.key.words().nth(2).unwrap_or_default();
        let change = |head: Head, deed| {
            let (version, what) = (Version::of(&head), What::In(channel.to_owned(), deed));
            Some(Change { network: head.network, version, at: head.at, what })
        };
        Ok(match kind {
            ChatKind::Join => {
                let Join { head, user: nick, is_me, account } = event.decode()?;
                change(head, Deed::Joined { nick, account, is_me })
            }
            ChatKind::Leave => {
                let Leave { head, user: nick, kind: how, is_me, .. } = event.decode()?;
                change(head, Deed::Left { nick, how, is_me })
            }
            ChatKind::Nick => {
                let Nick { head, user: from, nick, prefix, account, .. } = event.decode()?;
                change(head, Deed::Renamed { from, to: Member { nick, prefix, account } })
            }
            ChatKind::Account => {
                let Account { head, user: nick, account, .. } = event.decode()?;
                change(head, Deed::LoggedIn { nick, account })
            }
            ChatKind::Mode => {
                let Mode { head, members, .. } = event.decode()?;
                change(head, Deed::Ranked(members)).filter(Change::is_about_somebody)
            }
            ChatKind::Names => {
                let Names { head, members, .. } = event.decode()?;
                change(head, Deed::Named(members))
            }
            ChatKind::Chat | ChatKind::Action | ChatKind::Notice => {
                let Chat { head, source: nick, account, replayed, private, .. } = event.decode()?;
                change(head, Deed::Said { nick, account, replayed }).filter(|_| !private)
            }
            ChatKind::Topic | ChatKind::Invite => None,
        })
    }

    /// Modes of the channel itself are nobody's.
    fn is_about_somebody(&self) -> bool {
        !matches!(&self.what, What::In(_, Deed::Ranked(members)) if members.is_empty())
    }
}

/// `connection.<proto>.<network>.up` and `.down`.
fn connection(event: &Event) -> Result<Option<Change>, Malformed> {
    let words: Vec<&str> = event.key.words().collect();
    let (version, what): (fn(Uuid) -> Version, _) = match words.as_slice() {
        ["connection", _, _, "up"] => (Version::first, What::Gained),
        ["connection", _, _, "down"] => (Version::last, What::Lost),
        _ => return Ok(None),
    };
    let Connection { network, at, session, .. } = event.decode()?;
    if session.get_version_num() != 7 {
        return Ok(None);
    }
    Ok(Some(Change { network, version: version(session), at, what }))
}

/// How somebody was seen last. Of two at one time the later one here counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// They were there.
    There,
    /// They came in.
    Joined,
    /// They said something.
    Said,
    /// They took another nick.
    Renamed,
    /// They left the channel.
    Parted,
    /// They were thrown out of the channel.
    Kicked,
    /// They left the network.
    Quit,
}

impl How {
    const ALL: [How; 7] = [How::There, How::Joined, How::Said, How::Renamed, How::Parted, How::Kicked, How::Quit];

    /// Its number in the database, which is never another's.
    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_number(number: i64) -> Self {
        let place = usize::try_from(number).ok();
        place.and_then(|place| How::ALL.get(place).copied()).unwrap_or(How::There)
    }
}

impl From<LeaveKind> for How {
    fn from(kind: LeaveKind) -> Self {
        match kind {
            LeaveKind::Part => How::Parted,
            LeaveKind::Kicked => How::Kicked,
            LeaveKind::Quit => How::Quit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_their_bytes_do_and_come_back_from_them() {
        let versions: Vec<Version> =
            [(1, 1), (1, 2), (1, 256), (1, u64::MAX), (2, 0), (1 << 100, 1), (u128::MAX, u64::MAX)]
                .map(|(session, seq)| Version { session: Uuid::from_u128(session), seq })
                .to_vec();
        assert!(versions.is_sorted() && versions.iter().map(|version| version.to_bytes()).is_sorted());
        assert!(versions.iter().all(|version| Version::from_bytes(&version.to_bytes()) == *version));
        assert_eq!(Version::from_bytes(b"short"), Version::default());
    }

    #[test]
    fn numbers_in_the_database_come_back() {
        assert!(How::ALL.iter().all(|how| How::from_number(how.number()) == *how));
        assert_eq!(How::from_number(99), How::There);
    }
}
