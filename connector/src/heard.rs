//! Up to when everything was heard, in each channel: after a break, what was said since then is asked for, if the network
//! keeps a history. It stands in the memory on the broker, so whoever takes over knows it, too. The last messages are known
//! by the ids of their events, so that none becomes an event twice.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

/// Servers of a network don't agree about the time, nor about the order of what is said: history is asked for from so
/// long before the last message on.
pub(crate) const OVERLAP: Duration = Duration::from_secs(10);
/// How often it is written down, at most: what was heard since then may come again after a kill -9, under the same ids.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// How often all places are: what was written long ago is not read.
const WRITE_ALL_EVERY: Duration = Duration::from_secs(60 * 60);
/// How many channels, and nicks of private messages, are known. Of more, the one where nothing was said for longest is
/// forgotten.
const PLACES: usize = 1_000;
/// How many of its last messages are known in each of them, and how many are written down.
const MESSAGES: usize = 256;
const WRITTEN_MESSAGES: usize = 128;

/// What was heard; clones share what they know.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    places: HashMap<String, Place>,
    /// What others have written down is not read yet.
    unread: bool,
    /// It is to be written down.
    kept: bool,
    written: Option<Instant>,
    written_all: Option<Instant>,
}

struct Place {
    /// Everything that was said before is heard, or given up.
    upto: Timestamp,
    /// What was heard live, while the gap before that is not closed.
    ahead: Option<Timestamp>,
    /// The last messages, and when they were said.
    messages: VecDeque<(Timestamp, u64)>,
    changed: bool,
}

/// Some places, as they are written down.
pub(crate) type Places = BTreeMap<String, Written>;

/// A place as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Everything that was said before is heard.
    upto: Timestamp,
    /// The messages of the last 10 s before that: the last 64 bits of their events' ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ids: Vec<u64>,
}

impl Heard {
    /// Whether a message is known: by the id of its event.
    pub fn knows(&self, place: &str, id: Uuid) -> bool {
        let known = |place: &Place| place.messages.iter().any(|(_, known)| *known == short(id));
        self.state().places.get(place).is_some_and(known)
    }

    /// Takes note of a message.
    pub fn note(&self, place: &str, at: Timestamp, id: Uuid, replayed: bool) {
        let mut state = self.state();
        let unread = state.unread;
        let place = state.place(place);
        match &mut place.ahead {
            Some(ahead) if !replayed => *ahead = at.max(*ahead),
            // others may have heard all up to a later moment than we know of
            None if unread && !replayed => place.ahead = Some(at),
            _ => place.upto = at.max(place.upto),
        }
        place.know(at, short(id));
        place.changed = true;
    }

    /// We are back: since when there is a gap. `None` if nothing was ever heard there. What is heard live doesn't count
    /// until the gap is closed.
    pub fn begin(&self, place: &str) -> Option<Timestamp> {
        let mut state = self.state();
        let place = state.places.get_mut(place)?;
        if place.upto == Timestamp::from_millis(0) {
            place.upto = place.ahead.take()?;
            return None;
        }
        place.ahead.get_or_insert(place.upto);
        Some(place.upto)
    }

    /// The gap is closed, or given up.
    pub fn end(&self, place: &str) {
        if let Some(place) = self.state().places.get_mut(place) {
            place.upto = place.ahead.take().unwrap_or(place.upto).max(place.upto);
            place.changed = true;
        }
    }

    /// When something was heard last, anywhere.
    pub fn latest(&self) -> Option<Timestamp> {
        self.state().places.values().map(|place| place.upto).max()
    }

    /// From now on it is to be written down: the network keeps a history.
    pub fn keep(&self) {
        self.state().kept = true;
    }

    /// What is to be written down now, if it is time to, or the last time.
    pub fn to_write(&self, last: bool) -> Option<Places> {
        let mut state = self.state();
        let now = Instant::now();
        let due = |at: Option<Instant>, every| at.is_none_or(|at| now.duration_since(at) >= every);
        if !state.kept || !(last || due(state.written, WRITE_EVERY)) {
            return None;
        }
        let all = due(state.written_all, WRITE_ALL_EVERY);
        let wanted = state.places.iter_mut().filter(|(_, place)| place.changed || all);
        let places: Places = wanted.map(|(name, place)| (name.clone(), place.write())).collect();
        if places.is_empty() {
            return None;
        }
        state.written = Some(now);
        state.written_all = if all { Some(now) } else { state.written_all };
        Some(places)
    }

    /// It could not be written.
    pub fn not_written(&self, places: &Places) {
        let mut state = self.state();
        for name in places.keys() {
            if let Some(place) = state.places.get_mut(name) {
                place.changed = true;
            }
        }
    }

    /// What others have written down can't be read yet: nobody knows where the gap begins.
    pub fn is_to_be_read(&self) {
        self.state().unread = true;
    }

    /// It is read.
    pub fn is_read(&self) {
        self.state().unread = false;
    }

    /// Whether it is still to be read.
    pub fn is_unread(&self) -> bool {
        self.state().unread
    }

    /// Learns what somebody else has heard.
    pub fn learn(&self, places: Places) {
        let mut state = self.state();
        for (name, Written { upto, ids }) in places {
            let place = state.place(&name);
            place.upto = upto.max(place.upto);
            ids.into_iter().for_each(|id| place.know(upto, id));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A place, which is made if there is none; then the one is forgotten where nothing was said for longest.
    fn place(&mut self, name: &str) -> &mut Place {
        if self.places.len() >= PLACES && !self.places.contains_key(name) {
            let silent = self.places.iter().min_by_key(|(_, place)| place.upto).map(|(name, _)| name.clone());
            silent.map(|name| self.places.remove(&name));
        }
        self.places.entry(name.to_owned()).or_insert_with(Place::new)
    }
}

impl Place {
    fn new() -> Self {
        let (ahead, messages, changed) = Default::default();
        Place { upto: Timestamp::from_millis(0), ahead, messages, changed }
    }

    fn know(&mut self, at: Timestamp, id: u64) {
        if self.messages.iter().any(|(_, known)| *known == id) {
            return;
        }
        self.messages.push_back((at, id));
        if self.messages.len() > MESSAGES {
            self.messages.pop_front();
        }
    }

    fn write(&mut self) -> Written {
        self.changed = false;
        let last = self.messages.iter().rev().filter(|(at, _)| at.plus(OVERLAP) >= self.upto);
        Written { upto: self.upto, ids: last.take(WRITTEN_MESSAGES).map(|(_, id)| *id).collect() }
    }
}

/// The end of an id, which is random.
fn short(id: Uuid) -> u64 {
    id.as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn a_gap_begins_with_the_last_message_and_stays_open_until_it_is_closed() {
        let heard = Heard::default();
        assert_eq!(heard.begin("#a"), None, "nothing was ever heard there");
        heard.note("#a", at(10), id(1), false);
        assert_eq!(heard.begin("#a"), Some(at(10)));
        heard.note("#a", at(50), id(5), false);
        heard.note("#a", at(20), id(2), true);
        assert_eq!(heard.begin("#a"), Some(at(20)), "the connection broke meanwhile");
        heard.end("#a");
        assert_eq!((heard.begin("#a"), heard.latest()), (Some(at(50)), Some(at(50))));
        assert!(heard.knows("#a", id(2)) && !heard.knows("#a", id(3)) && !heard.knows("#b", id(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_written_down_now_and_then_and_another_goes_on_from_there() {
        let (heard, other) = (Heard::default(), Heard::default());
        heard.note("#a", at(1), id(1), false);
        assert_eq!(heard.to_write(true), None, "the network keeps no history");
        heard.keep();
        heard.note("#a", at(100), id(2), false);
        heard.note("#quiet", at(7), id(3), false);
        let written = heard.to_write(false).unwrap();
        other.learn(serde_json::from_slice(&serde_json::to_vec(&written).unwrap()).unwrap());
        assert_eq!((other.begin("#a"), other.begin("#quiet")), (Some(at(100)), Some(at(7))));
        assert!(other.knows("#a", id(2)) && !other.knows("#a", id(1)), "what is long ago is not asked for");

        heard.note("#a", at(101), id(4), false);
        assert_eq!(heard.to_write(false), None, "a moment later");
        advance(WRITE_EVERY).await;
        let again = heard.to_write(false).unwrap();
        assert_eq!(again.keys().collect::<Vec<_>>(), ["#a"]);
        heard.not_written(&again);
        assert_eq!(heard.to_write(true), Some(again));
        assert_eq!(heard.to_write(true), None);
        advance(WRITE_ALL_EVERY).await;
        assert_eq!(heard.to_write(false).unwrap().len(), 2);
    }

    #[test]
    fn places_and_messages_are_bounded() {
        let heard = Heard::default();
        for n in 0..2_000 {
            heard.note(&format!("#{n}"), at(n), id(1), false);
        }
        for n in 0..2_000 {
            heard.note("#1999", at(3_000), id(n), false);
        }
        assert_eq!(heard.state().places.len(), PLACES);
        assert_eq!(heard.state().places["#1999"].messages.len(), MESSAGES);
        heard.keep();
        assert_eq!(heard.to_write(true).unwrap()["#1999"].ids.len(), WRITTEN_MESSAGES);
    }
}
