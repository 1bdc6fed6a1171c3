//! The broker's queues on disk. Every change of the broker's state is one record of a log, in one write(2). Reading the
//! log from its beginning gives the state again.
//!
//! What is dead in the log goes with the oldest files: a file in which no message lives any more is removed, and when too
//! much is dead, the messages that live in the oldest files are written once more at the end.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::Ambient;
use tokio::time::Instant;

use super::queue::{Held, Home, Stored};
use super::record::{self, Put, Step};
use super::tail::Tail;
use crate::journal::{Durability, Log};
use crate::{Error, Queue};

/// One file: 2 MiB.
const SEGMENT_BYTES: u64 = 2 * 1024 * 1024;
/// So much may be dead in the log, or as much as is alive: 4 MiB.
const GARBAGE_BYTES: u64 = 4 * 1024 * 1024;
/// One record, when messages are written anew: 512 KiB.
const BATCH_BYTES: usize = 512 * 1024;
/// What a record takes on disk besides its steps, or more.
const RECORD_OVERHEAD: u64 = 16;
/// The pause before a disk that could not be written is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// About what a message takes on disk besides its body and names; only how much is dead depends on it.
const MESSAGE_OVERHEAD: usize = 250;

/// The broker's log.
pub(super) struct Disk {
    tail: Arc<Tail>,
    /// The steps of the present change.
    steps: Vec<u8>,
    /// The newest file, and about how many bytes it has; `None` before the first change.
    file: Option<File>,
    /// In some file nothing lives any more.
    has_dead_file: bool,
    /// The messages that live in each file.
    alive: BTreeMap<u64, Alive>,
    alive_bytes: u64,
    /// What all the files have; rather more than less.
    bytes: u64,
    failing: Option<Failing>,
}

#[derive(Clone, Copy, Default)]
struct Alive {
    messages: u64,
    bytes: u64,
}

#[derive(Clone, Copy)]
struct File {
    number: u64,
    /// With what is put down and not yet written; rather more than less.
    bytes: u64,
}

/// The disk can't be written; everything is in memory only, until all of it can be written anew.
struct Failing {
    try_again: Instant,
    changes: u64,
}

/// What was on disk.
#[derive(Default)]
pub(super) struct Found {
    /// With when each was last used.
    pub queues: HashMap<String, (Queue, i64)>,
    /// By their positions.
    pub messages: BTreeMap<u64, (Put, Home)>,
    /// No position beyond this one was ever written.
    pub last_position: u64,
}

impl Disk {
    /// Opens the log, and reads what is in it.
    ///
    /// # Errors
    /// When the folder can't be used, or another process uses it.
    pub fn open(folder: &Path, durability: Durability, ambient: Arc<dyn Ambient>) -> Result<(Self, Found), Error> {
        let unusable = |why: String| Error::Folder { folder: folder.display().to_string(), why };
        let (mut found, mut unreadable) = (Found::default(), 0_u64);
        // we begin every file ourselves, with the queues that there are
        let opened = Log::open(folder, u64::MAX, durability, ambient, |segment, record| {
            for step in record::steps(record) {
                match step {
                    Ok(step) => found.take(step, segment),
                    Err(record::Unreadable) => unreadable += 1,
                }
            }
        });
        let Some(log) = opened.map_err(|why| unusable(why.to_string()))? else {
            return Err(unusable("another process uses it".to_owned()));
        };
        if unreadable > 0 {
            tracing::error!(folder = %folder.display(), records = unreadable, "records of the queues can't be understood");
        }
        let mut disk = Disk {
            tail: Arc::new(Tail::new(log)),
            steps: Vec::new(),
            file: None,
            has_dead_file: false,
            alive: BTreeMap::new(),
            alive_bytes: 0,
            bytes: 0,
            failing: None,
        };
        for (_, home) in found.messages.values_mut() {
            disk.born(*home);
        }
        Ok((disk, found))
    }

    /// Where changes go that are put down.
    pub fn tail(&self) -> Arc<Tail> {
        self.tail.clone()
    }

    /// A message is in this queue.
    pub fn put(&mut self, queue: &str, stored: &mut Stored, delivered: bool) {
        let before = self.steps.len();
        let Stored { position, attempts, moment, .. } = *stored;
        let message = record::Message {
            queue,
            position,
            attempts,
            delivered,
            moment,
            key: &stored.key,
            properties: &stored.properties,
            body: &stored.body,
        };
        record::put(&mut self.steps, &message);
        let segment = self.file.map_or(0, |file| file.number);
        stored.home = Home { segment, bytes: (self.steps.len() - before) as u64 };
        self.born(stored.home);
    }

    /// A message is gone.
    pub fn done(&mut self, stored: &Stored) {
        record::done(&mut self.steps, stored.position);
        self.died(stored.home);
    }

    /// A message is with a consumer.
    pub fn delivered(&mut self, position: u64) {
        record::delivered(&mut self.steps, position);
    }

    /// A message came back.
    pub fn returned(&mut self, position: u64) {
        record::returned(&mut self.steps, position);
    }

    /// A queue was declared.
    pub fn queue(&mut self, held: &Held) {
        record::queue(&mut self.steps, &held.queue, held.last_used);
    }

    /// A queue is gone, with its messages.
    pub fn removed(&mut self, held: &Held) {
        record::removed(&mut self.steps, &held.queue.name);
        for stored in held.ready.iter().chain(held.unsettled.values().map(|it| &it.stored)) {
            self.died(stored.home);
        }
    }

    fn born(&mut self, home: Home) {
        let alive = self.alive.entry(home.segment).or_default();
        alive.messages += 1;
        alive.bytes += home.bytes;
        self.alive_bytes += home.bytes;
    }

    fn died(&mut self, home: Home) {
        if let Some(alive) = self.alive.get_mut(&home.segment) {
            alive.messages = alive.messages.saturating_sub(1);
            alive.bytes = alive.bytes.saturating_sub(home.bytes);
            self.alive_bytes = self.alive_bytes.saturating_sub(home.bytes);
            self.has_dead_file |= alive.messages == 0 && self.file.is_none_or(|file| file.number != home.segment);
        }
    }

    /// A change is about to begin, and needs a file to go to.
    pub fn needs_a_file(&self) -> bool {
        self.failing.is_none() && self.file.is_none_or(|file| file.bytes >= SEGMENT_BYTES)
    }

    /// Begins a new file, which says again what queues there are: older files may go.
    pub fn begin_file<'a>(&mut self, queues: impl Iterator<Item = &'a Held>) {
        if let Err(why) = self.try_begin_file(&catalogue(queues)) {
            self.fail(&why);
        }
    }

    fn try_begin_file(&mut self, catalogue: &[u8]) -> io::Result<()> {
        let mut log = self.tail.log();
        log.begin_segment()?;
        if !catalogue.is_empty() {
            log.append(|buffer| buffer.extend_from_slice(catalogue))?;
        }
        let number = log.segments().back().map_or(0, |segment| segment.number());
        self.file = Some(File { number, bytes: catalogue.len() as u64 });
        self.bytes = log.bytes();
        // what lived in the last one may be gone already
        self.has_dead_file = true;
        Ok(())
    }

    /// The change is over: puts it down to be written. What can't be written is in memory only.
    pub fn commit(&mut self) {
        if let Some(why) = self.tail.failure() {
            self.fail(&why);
        }
        match &mut self.failing {
            None => self.put_down(),
            Some(failing) if !self.steps.is_empty() => {
                failing.changes += 1;
                self.steps.clear();
            }
            Some(_) => {}
        }
        if std::mem::take(&mut self.has_dead_file) {
            self.remove_dead();
        }
    }

    fn put_down(&mut self) {
        if self.steps.is_empty() {
            return;
        }
        if let Some(file) = &mut self.file {
            file.bytes += self.steps.len() as u64 + RECORD_OVERHEAD;
        }
        self.bytes += self.steps.len() as u64 + RECORD_OVERHEAD;
        self.tail.put_down(&mut self.steps);
    }

    /// Writes what has gathered, at once.
    fn append(&mut self) -> io::Result<()> {
        self.put_down();
        drop(self.tail.log());
        self.tail.failure().map_or(Ok(()), Err)
    }

    /// The disk can't be written.
    pub fn fail(&mut self, why: &io::Error) {
        self.steps.clear();
        self.tail.forget();
        let try_again = Instant::now() + TRY_AGAIN_AFTER;
        match &mut self.failing {
            Some(failing) => failing.try_again = try_again,
            None => {
                let folder = self.tail.log().folder().display().to_string();
                tracing::error!(folder, %why, "the queues can't be written to the disk: messages are in memory only");
                self.failing = Some(Failing { try_again, changes: 1 });
            }
        }
    }

    /// When the disk, which could not be written, is to be tried again.
    pub fn tries_again(&self) -> Option<Instant> {
        self.failing.as_ref().map(|failing| failing.try_again)
    }

    /// Removes the oldest files as long as no message lives in them.
    fn remove_dead(&mut self) {
        let mut log = self.tail.log();
        while log.segments().len() > 1 {
            let Some(oldest) = log.segments().front().map(|segment| segment.number()) else { return };
            if self.alive.get(&oldest).is_some_and(|alive| alive.messages > 0) {
                return;
            }
            log.remove_oldest();
            if log.segments().front().is_some_and(|segment| segment.number() == oldest) {
                return;
            }
            if let Some(alive) = self.alive.remove(&oldest) {
                self.alive_bytes = self.alive_bytes.saturating_sub(alive.bytes);
            }
            self.bytes = log.bytes();
        }
    }

    /// Too much is dead: all that lives in the files up to this one is to be written anew.
    pub fn to_be_compacted(&self) -> Option<u64> {
        let limit = GARBAGE_BYTES.max(self.alive_bytes);
        let mut garbage = self.bytes.saturating_sub(self.alive_bytes);
        if garbage <= limit || self.failing.is_some() {
            return None;
        }
        let log = self.tail.log();
        let mut up_to = None;
        let but_the_newest = log.segments().len().saturating_sub(1);
        for segment in log.segments().iter().take(but_the_newest) {
            let alive = self.alive.get(&segment.number()).copied().unwrap_or_default();
            garbage = garbage.saturating_sub(segment.bytes.saturating_sub(alive.bytes));
            up_to = Some(segment.number());
            if garbage <= limit / 2 {
                break;
            }
        }
        up_to
    }

    /// Writes what lives in the files up to this one once more, at the end, and removes them.
    pub fn compact(&mut self, up_to: u64, queues: &mut HashMap<u64, Held>) {
        match self.rewrite(up_to, queues) {
            Ok(()) => self.remove_dead(),
            Err(why) => self.fail(&why),
        }
    }

    /// The disk could not be written: writes everything anew. Says so when that goes well.
    pub fn try_again(&mut self, queues: &mut HashMap<u64, Held>) {
        let Some(failing) = &self.failing else { return };
        let changes = failing.changes;
        let last_before = self.tail.log().segments().back().map_or(0, |segment| segment.number());
        self.steps.clear();
        self.tail.log().forget_failure();
        let rewritten = self.try_begin_file(&catalogue(queues.values())).and_then(|()| self.rewrite(u64::MAX, queues));
        match rewritten {
            Ok(()) => {
                self.failing = None;
                self.remove_dead();
                let folder = self.tail.log().folder().display().to_string();
                tracing::warn!(folder, changes, "the disk can be written again; so many changes were in memory only");
            }
            Err(why) => {
                // half of everything helps nobody, and takes room; the old files still hold what they held
                self.tail.log().remove_newer_than(last_before);
                self.fail(&why);
            }
        }
    }

    /// Writes down again every message that lives in a file up to this one. When that fails, they live where they did.
    fn rewrite(&mut self, up_to: u64, queues: &mut HashMap<u64, Held>) -> io::Result<()> {
        let (alive, alive_bytes) = (self.alive.clone(), self.alive_bytes);
        let mut homes = HashMap::new();
        self.move_messages(up_to, queues, &mut homes).inspect_err(|_| {
            (self.alive, self.alive_bytes) = (alive, alive_bytes);
            let messages = queues.values_mut().flat_map(Held::messages_mut);
            for (stored, _) in messages {
                if let Some(home) = homes.remove(&stored.position) {
                    stored.home = home;
                }
            }
        })
    }

    /// The same; `homes` gets where each message was.
    fn move_messages(
        &mut self,
        up_to: u64,
        queues: &mut HashMap<u64, Held>,
        homes: &mut HashMap<u64, Home>,
    ) -> io::Result<()> {
        let catalogue = catalogue(queues.values());
        for held in queues.values_mut().filter(|held| held.is_durable()) {
            let name = held.queue.name.clone();
            for (stored, delivered) in held.messages_mut().filter(|(stored, _)| stored.home.segment <= up_to) {
                self.make_room(&catalogue)?;
                homes.insert(stored.position, stored.home);
                self.died(stored.home);
                self.put(&name, stored, delivered);
            }
        }
        self.append()
    }

    /// Appends what has gathered once it is much, and begins a new file when the last is full.
    fn make_room(&mut self, catalogue: &[u8]) -> io::Result<()> {
        if self.steps.len() >= BATCH_BYTES {
            self.append()?;
        }
        if self.file.is_none_or(|file| file.bytes >= SEGMENT_BYTES) {
            self.append()?;
            self.try_begin_file(catalogue)?;
        }
        Ok(())
    }
}

/// What queues there are, as steps of a record.
fn catalogue<'a>(queues: impl Iterator<Item = &'a Held>) -> Vec<u8> {
    let mut steps = Vec::new();
    queues.filter(|held| held.is_durable()).for_each(|held| record::queue(&mut steps, &held.queue, held.last_used));
    steps
}

impl Found {
    fn take(&mut self, step: Step, segment: u64) {
        match step {
            Step::Put(put) => {
                self.last_position = self.last_position.max(put.position);
                let bytes = put.body.len() + put.key.len() + put.queue.len() + MESSAGE_OVERHEAD;
                self.messages.insert(put.position, (*put, Home { segment, bytes: bytes as u64 }));
            }
            Step::Done(position) => {
                self.last_position = self.last_position.max(position);
                self.messages.remove(&position);
            }
            Step::Delivered(position) => {
                if let Some((put, _)) = self.messages.get_mut(&position) {
                    // it never came back from the consumer before: that process died with it
                    put.attempts += u32::from(put.delivered);
                    put.delivered = true;
                }
            }
            Step::Returned(position) => {
                if let Some((put, _)) = self.messages.get_mut(&position) {
                    (put.delivered, put.attempts) = (false, put.attempts + 1);
                }
            }
            Step::Queue(queue, last_used) => drop(self.queues.insert(queue.name.clone(), (*queue, last_used))),
            Step::Removed(name) => {
                self.queues.remove(&name);
                self.messages.retain(|_, (put, _)| put.queue != name);
            }
        }
    }
}
