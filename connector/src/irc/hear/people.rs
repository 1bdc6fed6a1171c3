//! The people of a network whom we share a channel with: each once, however many channels that are. Small, since there
//! may be many: 40 bytes for somebody with a short nick and account, and a few for finding them.

use std::hash::{BuildHasher, Hasher, RandomState};

use hashbrown::HashTable;

use crate::irc::hear::casemap::CaseMapping;

/// The most people of a network to keep track of.
const MAX_PEOPLE: usize = 200_000;
/// The longest nick or account that is kept, in bytes; no network has longer ones.
const MAX_NAME_BYTES: usize = 128;
/// So few are not worth to be packed anew when most of them have left.
const NOT_WORTH_IT: usize = 1_024;

/// Somebody, as long as they share a channel with us.
pub(crate) type Id = u32;

/// The people of a network, found by their nicks.
#[derive(Default)]
pub(crate) struct People {
    casemapping: CaseMapping,
    hashing: RandomState,
    slots: Vec<Option<Person>>,
    free: Vec<Id>,
    by_nick: HashTable<Id>,
}

/// What is known of somebody.
struct Person {
    nick: Name,
    account: Account,
    /// In how many channels with us.
    channels: u16,
}

/// A services account, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Account {
    #[default]
    Unknown,
    None,
    Known(Name),
}

impl People {
    /// Nobody yet; names are compared by this rule.
    pub fn new(casemapping: CaseMapping) -> Self {
        People { casemapping, ..People::default() }
    }

    /// Who has this nick.
    pub fn find(&self, nick: &str) -> Option<Id> {
        let same = |id: &Id| self.nick(*id).is_some_and(|it| self.casemapping.same(it, nick));
        self.by_nick.find(self.hash(nick), same).copied()
    }

    /// Somebody is in one more channel with us; `None` if there are too many people, or the nick is too long.
    pub fn enter(&mut self, nick: &str) -> Option<Id> {
        let id = match self.find(nick) {
            Some(id) => id,
            None => self.add(Name::new(nick)?)?,
        };
        let person = self.get_mut(id)?;
        person.channels = person.channels.saturating_add(1);
        Some(id)
    }

    /// Somebody is in one channel less; who is in none is forgotten.
    pub fn leave(&mut self, id: Id) {
        let Some(person) = self.get_mut(id) else { return };
        person.channels = person.channels.saturating_sub(1);
        if person.channels == 0 {
            self.take_out(id);
            self.slots[id as usize] = None;
            self.free.push(id);
        }
    }

    /// Somebody has another nick from now on. Nobody else may have it.
    pub fn rename(&mut self, id: Id, nick: &str) {
        let Some(name) = Name::new(nick) else { return };
        self.take_out(id);
        if let Some(person) = self.get_mut(id) {
            person.nick = name;
        }
        self.put_in(id);
    }

    /// The nick of somebody, as it was said last.
    pub fn nick(&self, id: Id) -> Option<&str> {
        self.get(id).map(|person| person.nick.as_str())
    }

    /// The account of somebody; `None` if it is not known, or there is none.
    pub fn account(&self, id: Id) -> Option<&str> {
        match &self.get(id)?.account {
            Account::Known(name) => Some(name.as_str()),
            Account::Unknown | Account::None => None,
        }
    }

    /// Somebody is logged in to this account, or to none.
    pub fn log_in(&mut self, id: Id, account: Option<&str>) {
        if let Some(person) = self.get_mut(id) {
            person.account =
                account.map_or(Account::None, |name| Name::new(name).map_or(Account::Unknown, Account::Known));
        }
    }

    /// How many people there are.
    pub fn len(&self) -> usize {
        self.by_nick.len()
    }

    /// When most of those who were here have left, makes the memory small again: then everybody has another id, and `moved`
    /// is told each, old and new. Their order stays.
    pub fn pack(&mut self, mut moved: impl FnMut(&[Option<Id>])) {
        if self.slots.len() < NOT_WORTH_IT || self.len() > self.slots.len() / 4 {
            return;
        }
        let (mut ids, mut next) = (vec![None; self.slots.len()], 0);
        for (id, _) in ids.iter_mut().zip(&self.slots).filter(|(_, slot)| slot.is_some()) {
            *id = Some(next);
            next += 1;
        }
        self.slots.retain(Option::is_some);
        self.slots.shrink_to_fit();
        (self.free, self.by_nick) = (Vec::new(), HashTable::with_capacity(self.slots.len()));
        (0..next).for_each(|id| self.put_in(id));
        moved(&ids);
    }

    fn add(&mut self, nick: Name) -> Option<Id> {
        let person = Person { nick, account: Account::Unknown, channels: 0 };
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.slots.len() < MAX_PEOPLE => {
                self.slots.push(None);
                Id::try_from(self.slots.len() - 1).ok()?
            }
            None => return None,
        };
        self.slots[id as usize] = Some(person);
        self.put_in(id);
        Some(id)
    }

    fn put_in(&mut self, id: Id) {
        let People { casemapping, hashing, slots, by_nick, .. } = self;
        let hash_of = |id: &Id| hash(hashing, *casemapping, nick_of(slots, *id));
        by_nick.insert_unique(hash_of(&id), id, hash_of);
    }

    fn take_out(&mut self, id: Id) {
        let Some(hash) = self.nick(id).map(|nick| self.hash(nick)) else { return };
        if let Ok(entry) = self.by_nick.find_entry(hash, |it| *it == id) {
            entry.remove();
        }
    }

    fn hash(&self, nick: &str) -> u64 {
        hash(&self.hashing, self.casemapping, nick)
    }

    fn get(&self, id: Id) -> Option<&Person> {
        self.slots.get(id as usize)?.as_ref()
    }

    fn get_mut(&mut self, id: Id) -> Option<&mut Person> {
        self.slots.get_mut(id as usize)?.as_mut()
    }
}

fn nick_of(slots: &[Option<Person>], id: Id) -> &str {
    slots.get(id as usize).and_then(Option::as_ref).map_or("", |person| person.nick.as_str())
}

/// Names that are the same have the same hash, which nobody outside can foresee.
fn hash(hashing: &RandomState, casemapping: CaseMapping, nick: &str) -> u64 {
    let mut hasher = hashing.build_hasher();
    nick.chars().for_each(|c| hasher.write_u32(u32::from(casemapping.fold_char(c))));
    hasher.finish()
}

/// A short text in 16 bytes; only a long one has memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Short {
        length: u8,
        bytes: [u8; Name::SHORT],
    },
    /// Boxed twice, since a `Box<str>` alone takes 16 bytes.
    Long(Box<Box<str>>),
}

impl Name {
    /// What fits beside the length and the mark of the kind.
    const SHORT: usize = 14;

    /// `None` for more than 128 bytes, or none.
    fn new(text: &str) -> Option<Self> {
        match text.len() {
            length @ 1..=Name::SHORT => {
                let mut bytes = [0; Name::SHORT];
                bytes[..length].copy_from_slice(text.as_bytes());
                Some(Name::Short { length: u8::try_from(length).ok()?, bytes })
            }
            1..=MAX_NAME_BYTES => Some(Name::Long(Box::new(text.into()))),
            _ => None,
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Name::Short { length, bytes } => std::str::from_utf8(&bytes[..usize::from(*length)]).unwrap_or_default(),
            Name::Long(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_takes_40_bytes() {
        assert_eq!(size_of::<Option<Person>>(), 40);
    }

    #[test]
    fn a_name_is_what_it_was_whatever_its_length() {
        for text in ["a", "Ä", &"x".repeat(14), &"x".repeat(15), &"ü".repeat(64)] {
            assert_eq!(Name::new(text).unwrap().as_str(), text);
        }
        assert_eq!((Name::new(""), Name::new(&"x".repeat(129))), (None, None));
    }

    #[test]
    fn somebody_is_known_as_long_as_there_is_a_shared_channel() {
        let mut people = People::default();
        let alice = people.enter("Alice").unwrap();
        assert_eq!(people.enter("aLICE"), Some(alice));
        people.log_in(alice, Some("wonderland"));
        people.leave(alice);
        assert_eq!((people.find("alice"), people.account(alice)), (Some(alice), Some("wonderland")));
        people.leave(alice);
        assert_eq!((people.find("alice"), people.len()), (None, 0));
        let again = people.enter("alice").unwrap();
        assert_eq!(people.account(again), None, "the account is not remembered");
    }

    #[test]
    fn there_is_a_maximum() {
        let mut people = People::default();
        let known = (0..=MAX_PEOPLE).filter(|n| people.enter(&format!("n{n}")).is_some()).count();
        assert_eq!(known, MAX_PEOPLE);
        assert_eq!(people.enter("n0"), people.find("n0"), "who is known may enter more channels");
    }

    #[test]
    fn when_most_have_left_their_memory_is_given_back() {
        let mut people = People::default();
        let ids: Vec<Id> = (0..10_000).filter_map(|n| people.enter(&format!("n{n}"))).collect();
        let (stay, go): (Vec<Id>, Vec<Id>) = ids.iter().partition(|id| *id % 10 == 9);
        go.iter().for_each(|id| people.leave(*id));
        let mut moved = Vec::new();
        people.pack(|ids| moved = ids.to_vec());
        assert_eq!(people.slots.capacity(), 1_000);
        for old in stay {
            let new = moved[old as usize].unwrap();
            assert_eq!(people.nick(new), Some(&*format!("n{old}")));
            assert_eq!(people.find(&format!("N{old}")), Some(new));
        }
        people.pack(|_| panic!("there is nothing to gain"));
    }
}
