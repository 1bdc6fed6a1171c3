//! Where events wait for the courier: in a journal on disk; in memory only without one, or while it can't be written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::mutants::{self, Mutant};
use bus::{Cursor, Journal, JournalSettings, Refused};
use protocol::{Ambient, ChatKind, Event, Gap, RoutingKey, Timestamp, event_id};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::record;

/// How many events wait in memory, at most: at 10 lines/s for a quarter of an hour.
const EVENTS_IN_MEMORY: usize = 10_000;
/// Above this part of the limit, who came and went is not kept any more, so that there is room for what is said.
const CROWDED: f64 = 7.0 / 8.0;
/// Below this part there is room again: far enough from the other that not every event makes a gap of its own.
const ROOMY: f64 = 3.0 / 4.0;
/// The pause before a journal that can't be opened is tried again.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The events that are not confirmed, but for those that the courier took out of memory.
pub(super) struct Store {
    proto: String,
    network: String,
    ambient: Arc<dyn Ambient>,
    settings: Option<JournalSettings>,
    state: Mutex<State>,
    /// There is something new for the courier.
    news: Notify,
    /// Something was confirmed.
    room: Notify,
}

#[derive(Default)]
struct State {
    journal: Option<Journal>,
    /// When to try again to open the journal.
    open_again: Option<Instant>,
    /// Later than everything in the journal.
    memory: VecDeque<Event>,
    /// Taken out of memory by the courier, and not confirmed.
    taken: usize,
    closed: bool,
    shed: Option<Shed>,
    /// Events kept in memory because the journal can't be written.
    unwritten: u64,
    /// That it can't be has been said.
    trouble: bool,
}

impl State {
    /// How many events go with this process.
    fn in_memory(&self) -> usize {
        self.memory.len() + self.taken
    }
}

/// What was not kept since there was room.
struct Shed {
    first: Timestamp,
    last: Timestamp,
    counts: BTreeMap<String, u64>,
}

/// What became of an event.
pub(super) enum Put {
    Kept,
    /// There is no room.
    Refused(Event),
}

/// An event for the courier.
pub(super) struct Waiting {
    pub event: Event,
    /// Its number in the journal; `None`: it is in memory only.
    pub number: Option<u64>,
}

impl Store {
    pub fn open(proto: &str, network: &str, ambient: Arc<dyn Ambient>, settings: Option<JournalSettings>) -> Self {
        let settings = settings.filter(|_| !mutants::is(Mutant::NoJournal));
        let (state, news, room) = (Mutex::default(), Notify::new(), Notify::new());
        let store =
            Store { proto: proto.to_owned(), network: network.to_owned(), ambient, settings, state, news, room };
        store.open_journal(&mut store.lock());
        store
    }

    /// Keeps the event; counts it when there is no room.
    pub fn put(&self, event: Event) {
        let mut state = self.lock();
        self.tell_gap(&mut state);
        if let Put::Refused(event) = self.keep(&mut state, event) {
            self.note_shed(&mut state, &event);
        }
    }

    /// Keeps the event, or gives it back.
    pub fn try_put(&self, event: Event) -> Put {
        self.keep(&mut self.lock(), event)
    }

    /// Waits until something was confirmed.
    pub async fn room(&self) {
        self.room.notified().await;
    }

    /// Nothing waits, and the courier holds nothing.
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.memory.is_empty() && state.taken == 0 && state.journal.as_ref().is_none_or(Journal::is_empty)
    }

    /// How many events go with this process.
    pub fn left(&self) -> usize {
        self.lock().in_memory()
    }

    /// How many events stay in the journal.
    pub fn in_journal(&self) -> u64 {
        self.lock().journal.as_ref().map_or(0, Journal::len)
    }

    /// There is a journal, beside which dead processes may have left theirs.
    pub fn adopts(&self) -> bool {
        self.lock().journal.is_some()
    }

    /// Takes over what dead processes left in their journals.
    pub fn adopt(&self) {
        let journal = self.lock().journal.clone();
        if journal.is_some_and(|journal| journal.adopt() > 0) {
            self.news.notify_one();
        }
    }

    /// No more will be put in.
    pub fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits until there is something to take, or the store is closed.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// The next events in order; none when there are no more for now.
    pub fn take(&self, cursor: &mut Cursor) -> std::io::Result<VecDeque<Waiting>> {
        let journal = self.lock().journal.clone();
        if let Some(journal) = journal {
            // a file at a time, and not under the lock
            let mut waiting = VecDeque::new();
            while waiting.is_empty() {
                let entries = journal.read(cursor)?;
                if entries.is_empty() {
                    break;
                }
                for entry in entries {
                    match record::read(&entry.payload) {
                        Some(event) => waiting.push_back(Waiting { event, number: Some(entry.number) }),
                        None => tracing::error!(network = self.network, "an entry of the journal is no event"),
                    }
                }
            }
            if !waiting.is_empty() {
                return Ok(waiting);
            }
        }
        let mut state = self.lock();
        // what was put into the journal meanwhile was there first
        if state.journal.as_ref().is_some_and(|journal| journal.has_more(cursor)) {
            self.news.notify_one();
            return Ok(VecDeque::new());
        }
        let memory = std::mem::take(&mut state.memory);
        state.taken += memory.len();
        Ok(memory.into_iter().map(|event| Waiting { event, number: None }).collect())
    }

    /// The broker has this event, and all before it.
    pub fn confirm(&self, number: Option<u64>) {
        let mut state = self.lock();
        match (number, &state.journal) {
            (Some(number), Some(journal)) => journal.confirm(number),
            (Some(_), None) => {}
            (None, _) => state.taken = state.taken.saturating_sub(1),
        }
        self.tell_gap(&mut state);
        drop(state);
        self.room.notify_one();
    }

    fn keep(&self, state: &mut State, event: Event) -> Put {
        if self.fill(state) >= CROWDED && is_dispensable(&event) {
            return Put::Refused(event);
        }
        self.open_journal(state);
        let kept = match state.journal.clone() {
            Some(journal) => self.append(state, &journal, event),
            None => remember(state, event),
        };
        if let Put::Kept = kept {
            self.news.notify_one();
        }
        kept
    }

    /// Appends the event, after whatever is in memory, since that came first.
    fn append(&self, state: &mut State, journal: &Journal, event: Event) -> Put {
        while let Some(earlier) = state.memory.front() {
            match journal.append(|buffer| record::write(earlier, buffer)) {
                Ok(_) => drop(state.memory.pop_front()),
                Err(why) => return self.remember_instead(state, &why, event),
            }
        }
        match journal.append(|buffer| record::write(&event, buffer)) {
            Ok(_) => {
                self.note_written(state);
                Put::Kept
            }
            Err(Refused::Full) => Put::Refused(event),
            Err(why) => self.remember_instead(state, &why, event),
        }
    }

    fn remember_instead(&self, state: &mut State, why: &Refused, event: Event) -> Put {
        if !std::mem::replace(&mut state.trouble, true) {
            let network = &self.network;
            tracing::error!(network, %why, "the journal can't be written: events are kept in memory only");
        }
        state.unwritten += 1;
        remember(state, event)
    }

    fn note_written(&self, state: &mut State) {
        if std::mem::take(&mut state.trouble) {
            let (network, events) = (&self.network, std::mem::take(&mut state.unwritten));
            tracing::warn!(network, events, "the journal can be written again; so many were kept in memory meanwhile");
        }
    }

    /// How much of what may wait does: 1 when nothing more is taken.
    fn fill(&self, state: &State) -> f64 {
        let memory = state.in_memory() as f64 / EVENTS_IN_MEMORY as f64;
        state.journal.as_ref().map_or(0.0, Journal::fill).max(memory)
    }

    fn note_shed(&self, state: &mut State, event: &Event) {
        let now = self.ambient.now();
        if state.shed.is_none() {
            let network = &self.network;
            tracing::error!(network, "too many events wait for the broker: some are not kept from now on");
        }
        let shed = state.shed.get_or_insert_with(|| Shed { first: now, last: now, counts: BTreeMap::new() });
        shed.last = now;
        *shed.counts.entry(kind(event).to_owned()).or_default() += 1;
    }

    /// Once there is room again, what was not kept is told.
    fn tell_gap(&self, state: &mut State) {
        if state.shed.is_none() || self.fill(state) >= ROOMY {
            return;
        }
        let Some(Shed { first, last, counts }) = state.shed.take() else { return };
        let (network, events) = (self.network.clone(), counts.values().sum::<u64>());
        tracing::warn!(network, events, shed = ?counts, "there is room for events again");
        let id = event_id(&*self.ambient);
        let gap = Gap { id, at: self.ambient.now(), network, first, last, shed: counts };
        let key = RoutingKey::gap(&self.proto, &self.network);
        match key
            .map_err(|why| why.to_string())
            .and_then(|key| Event::new(key, id, &gap).map_err(|why| why.to_string()))
        {
            // there is room: less than three quarters are taken
            Ok(event) => drop(self.keep(state, event)),
            Err(why) => tracing::error!(network = self.network, why, "the gap can't be told"),
        }
    }

    fn open_journal(&self, state: &mut State) {
        let Some(settings) = self.settings.as_ref().filter(|_| state.journal.is_none()) else { return };
        let now = Instant::now();
        if state.open_again.is_some_and(|again| now < again) {
            return;
        }
        match Journal::open(settings, &self.ambient) {
            Ok(journal) => {
                if !journal.is_empty() {
                    let (network, events) = (&self.network, journal.len());
                    tracing::info!(network, events, "events of an earlier run wait in the journal");
                }
                state.journal = Some(journal);
                self.note_written(state);
            }
            Err(why) => {
                state.open_again = Some(now + OPEN_AGAIN_AFTER);
                if !std::mem::replace(&mut state.trouble, true) {
                    let (network, folder) = (&self.network, settings.folder.display());
                    tracing::error!(network, %folder, %why, "no journal: events are kept in memory only");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the event in memory.
fn remember(state: &mut State, event: Event) -> Put {
    if state.in_memory() >= EVENTS_IN_MEMORY {
        return Put::Refused(event);
    }
    state.memory.push_back(event);
    Put::Kept
}

/// Who came, left and changed names, and who is here: the next snapshot tells all of it again.
fn is_dispensable(event: &Event) -> bool {
    use ChatKind::{Join, Leave, Names, Nick};
    matches!(event.key.chat_kind(), Some(Join | Leave | Nick | Names))
}

/// The last word of its key.
fn kind(event: &Event) -> &str {
    event.key.words().last().unwrap_or_default()
}
