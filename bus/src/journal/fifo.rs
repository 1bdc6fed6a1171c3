//! A journal: entries go in at one end, are read in their order at the other, and are forgotten once they are confirmed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::Ambient;
use thiserror::Error;

use super::frame::{self, Part};
use super::log::Log;
use super::{Durability, JournalSettings};

/// The limit is spread over so many files, each of which goes as a whole.
const SEGMENTS: u64 = 64;
/// One file has at most this: 4 MiB. As much is read at once.
const MAX_SEGMENT_BYTES: u64 = 4 * 1024 * 1024;
/// One file has at least this: 4 KiB.
const MIN_SEGMENT_BYTES: u64 = 4 * 1024;
/// How many processes may have a journal in one folder: as many connectors of one network on one machine.
const SUB_FOLDERS: u32 = 16;
/// The file that tells up to where all is confirmed, and how much of it one of its two places takes.
const CONFIRMED: &str = "confirmed";
const SLOT_BYTES: usize = 16;
/// After so many confirms it is written down, and whenever nothing is left: what is not written down when the process
/// is killed is read once more.
const CONFIRMS_UNWRITTEN: u64 = 64;
/// A file that the disk can't read so often is set aside, so that what is behind it goes on. With 5 s between the tries
/// that is a minute.
const READ_TRIES: u32 = 12;
/// The disk's error for a part of it that it can't read (errno(3)). Others are not the file's fault, and pass.
const EIO: i32 = 5;
/// An entry's number, which stands before it in its record.
const NUMBER_BYTES: usize = 8;

/// Entries on disk. Clones share it.
///
/// What [`Journal::append`] has returned survives a kill -9, and comes again after it, in order and under the same
/// number, until it is confirmed. Entries live on disk only: memory does not grow with them.
#[derive(Clone)]
pub struct Journal {
    home: Arc<Home>,
    state: Arc<Mutex<State>>,
}

/// Where it is, among others.
struct Home {
    settings: JournalSettings,
    ambient: Arc<dyn Ambient>,
    /// The number of its sub-folder.
    own: u32,
}

struct State {
    log: Log,
    limit: u64,
    /// The number of the next entry.
    next: u64,
    /// All up to this number is confirmed.
    confirmed: u64,
    written: u64,
    slots: Option<File>,
    /// The last entry's number in each file.
    last: HashMap<u64, u64>,
}

/// Why an entry was not taken.
#[derive(Debug, Error)]
pub enum Refused {
    /// The journal has as many bytes as it may have.
    #[error("the journal is full")]
    Full,
    /// It can't be written: most often the disk is full.
    #[error("the journal can't be written: {0}")]
    Failed(#[from] io::Error),
}

/// An entry that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number: 1 for the first of all.
    pub number: u64,
    /// What was appended.
    pub payload: Bytes,
}

/// A place in a journal: where reading goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    segment: u64,
    offset: u64,
    /// How often that could not be read.
    tries: u32,
}

impl Journal {
    /// Opens a journal in the first sub-folder (`0`, `1`, …) that can be used and that no other process has, and takes
    /// over what dead processes left in the others, see [`Journal::adopt`].
    ///
    /// # Errors
    /// When none of them can be made, read or locked, or 16 processes have journals in it. Damaged files are no error.
    pub fn open(settings: &JournalSettings, ambient: &Arc<dyn Ambient>) -> io::Result<Self> {
        let mut unusable = None;
        for own in 0..SUB_FOLDERS {
            let folder = sub_folder(settings, own);
            match State::open(&folder, settings, ambient) {
                Ok(Some(state)) => {
                    let home = Home { settings: settings.clone(), ambient: ambient.clone(), own };
                    let journal = Journal { home: Arc::new(home), state: Arc::new(Mutex::new(state)) };
                    journal.adopt();
                    return Ok(journal);
                }
                Ok(None) => {}
                Err(why) => {
                    tracing::warn!(folder = %folder.display(), %why, "a journal can't be used: trying the next");
                    unusable = Some(why);
                }
            }
        }
        let taken = || {
            let why = format!("{SUB_FOLDERS} processes use {} already", settings.folder.display());
            io::Error::new(io::ErrorKind::WouldBlock, why)
        };
        Err(unusable.unwrap_or_else(taken))
    }

    /// Moves the entries that dead processes left in other sub-folders to the end of this journal, as far as it has
    /// room. How many it took over.
    pub fn adopt(&self) -> u64 {
        let others = (0..SUB_FOLDERS).filter(|other| *other != self.home.own);
        others.map(|other| self.adopt_from(&sub_folder(&self.home.settings, other))).sum()
    }

    /// The same from one of them. What is cut off in the middle comes twice, under two numbers.
    fn adopt_from(&self, folder: &Path) -> u64 {
        if !has_segments(folder) {
            return 0;
        }
        let settings = JournalSettings { durability: Durability::Process, ..self.home.settings.clone() };
        match State::open(folder, &settings, &self.home.ambient) {
            Ok(Some(state)) => {
                let other = Journal { home: self.home.clone(), state: Arc::new(Mutex::new(state)) };
                let (moved, result) = self.take_all(&other);
                if moved > 0 {
                    tracing::info!(folder = %folder.display(), events = moved, "took over the journal of a dead process");
                }
                if let Err(why) = result {
                    tracing::warn!(folder = %folder.display(), %why, "a dead process's journal stays for now");
                }
                moved
            }
            // its process lives
            Ok(None) => 0,
            Err(why) => {
                tracing::warn!(folder = %folder.display(), %why, "a dead process's journal can't be read");
                0
            }
        }
    }

    fn take_all(&self, other: &Journal) -> (u64, Result<(), Refused>) {
        let (mut cursor, mut moved) = (Cursor::default(), 0);
        loop {
            let entries = match other.read(&mut cursor) {
                Ok(entries) if entries.is_empty() => return (moved, Ok(())),
                Ok(entries) => entries,
                Err(why) => return (moved, Err(why.into())),
            };
            for Entry { number, payload } in entries {
                if let Err(why) = self.append(|buffer| buffer.extend_from_slice(&payload)) {
                    return (moved, Err(why));
                }
                moved += 1;
                other.confirm(number);
            }
        }
    }

    /// Appends what `write` appends to the buffer. The entry's number.
    ///
    /// # Errors
    /// When the journal is full or can't be written; then the entry is not in it.
    pub fn append(&self, write: impl FnOnce(&mut Vec<u8>)) -> Result<u64, Refused> {
        let mut state = self.lock();
        if state.log.bytes() >= state.limit {
            return Err(Refused::Full);
        }
        let number = state.next;
        state.log.append(|buffer| {
            buffer.extend_from_slice(&number.to_le_bytes());
            write(buffer);
        })?;
        state.next += 1;
        if let Some(segment) = state.log.segments().back().map(|segment| segment.number()) {
            state.last.insert(segment, number);
        }
        Ok(number)
    }

    /// The entries from this place on that are not confirmed, up to the end of one file, and moves the place behind
    /// them. None when there are no more for now. Begin with `Cursor::default()`.
    ///
    /// # Errors
    /// When a file can't be read; at the twelfth time in a row that the disk can't, it is set aside as `….damaged`
    /// instead. What is damaged in it is no error, but left out.
    pub fn read(&self, cursor: &mut Cursor) -> io::Result<Vec<Entry>> {
        loop {
            let Some((path, salt, from, to, confirmed)) = self.next_range(cursor) else { return Ok(Vec::new()) };
            let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(usize::MAX)];
            match File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, from)) {
                Ok(()) => {}
                Err(why) if matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                    // somebody removed or cut it: waiting would not bring it back
                    tracing::error!(file = %path.display(), %why, "a file of a journal is lost");
                    cursor.offset = to;
                    continue;
                }
                Err(why) if why.raw_os_error() == Some(EIO) && cursor.tries + 1 >= READ_TRIES => {
                    self.set_aside(cursor.segment, &why);
                    (cursor.offset, cursor.tries) = (to, 0);
                    continue;
                }
                Err(why) => {
                    cursor.tries += 1;
                    return Err(why);
                }
            }
            (cursor.offset, cursor.tries) = (to, 0);
            let bytes = Bytes::from(bytes);
            let entries = entries(&bytes, salt).filter(|entry| entry.number > confirmed).collect::<Vec<_>>();
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
    }

    /// What is in this file can't be read, and nobody waits for it any more.
    fn set_aside(&self, segment: u64, why: &io::Error) {
        let mut state = self.lock();
        let (folder, last) = (state.log.folder().display().to_string(), state.last.remove(&segment));
        tracing::error!(folder, last, %why, "a file of a journal can't be read: it is set aside, with its events up to this one");
        if let Err(why) = state.log.set_aside(segment) {
            tracing::error!(folder, %why, "it can't be set aside either, and is left out");
        }
    }

    /// There is something to read from this place on.
    pub fn has_more(&self, cursor: &Cursor) -> bool {
        self.next_range(&mut cursor.clone()).is_some()
    }

    /// What is to be read next; a file that is behind its end is left for the next one.
    fn next_range(&self, cursor: &mut Cursor) -> Option<(PathBuf, u32, u64, u64, u64)> {
        let state = self.lock();
        for segment in state.log.segments() {
            if segment.number() < cursor.segment {
                continue;
            }
            if segment.number() > cursor.segment {
                *cursor = Cursor { segment: segment.number(), ..Cursor::default() };
            }
            if cursor.offset < segment.bytes {
                let (path, salt) = state.log.place(segment);
                return Some((path, salt, cursor.offset, segment.bytes, state.confirmed));
            }
        }
        None
    }

    /// All entries up to this number are done with, and will not be read again. Files in which nothing else is go.
    pub fn confirm(&self, up_to: u64) {
        let mut state = self.lock();
        state.confirmed = state.confirmed.max(up_to.min(state.next - 1));
        let all = state.confirmed + 1 == state.next;
        if all || state.confirmed - state.written >= CONFIRMS_UNWRITTEN {
            state.write_confirmed();
        }
        state.forget();
    }

    /// How many entries are not confirmed.
    pub fn len(&self) -> u64 {
        let state = self.lock();
        state.next - 1 - state.confirmed
    }

    /// Everything is confirmed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much of its limit it has on disk: 0 for nothing, 1 when it is full.
    pub fn fill(&self) -> f64 {
        let state = self.lock();
        // exact enough: both are far below 2^52
        state.log.bytes() as f64 / state.limit.max(1) as f64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// `None` when another process has the folder.
    fn open(folder: &Path, settings: &JournalSettings, ambient: &Arc<dyn Ambient>) -> io::Result<Option<Self>> {
        let segment_bytes = (settings.limit / SEGMENTS).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES);
        let (mut last, mut highest) = (HashMap::new(), 0);
        let opened = Log::open(folder, segment_bytes, settings.durability, ambient.clone(), |segment, record| {
            if let Some(number) = number(record) {
                last.insert(segment, number);
                highest = highest.max(number);
            }
        })?;
        let Some(log) = opened else { return Ok(None) };
        let confirmed = read_confirmed(&folder.join(CONFIRMED));
        let next = highest.max(confirmed) + 1;
        let mut state = State { log, limit: settings.limit, next, confirmed, written: confirmed, slots: None, last };
        state.forget();
        Ok(Some(state))
    }

    /// Removes the files in which everything is confirmed; the newest only when it has grown.
    fn forget(&mut self) {
        while let Some(oldest) = self.log.segments().front() {
            let number = oldest.number();
            let done = self.last.get(&number).is_none_or(|last| *last <= self.confirmed);
            let newest = self.log.segments().len() == 1 && !self.log.is_full();
            if !done || newest {
                break;
            }
            if self.written < self.confirmed {
                self.write_confirmed();
            }
            self.log.remove_oldest();
            if self.log.segments().front().is_some_and(|segment| segment.number() == number) {
                break;
            }
            self.last.remove(&number);
        }
    }

    /// Writes down up to where all is confirmed, in one of two places in turn, so that one of them is always whole.
    fn write_confirmed(&mut self) {
        if let Err(why) = self.try_write_confirmed() {
            // what was confirmed since is read once more after a restart, under the same numbers
            tracing::debug!(%why, "a journal's confirmed position can't be written down");
        }
        self.written = self.confirmed;
    }

    fn try_write_confirmed(&mut self) -> io::Result<()> {
        let path = self.log.folder().join(CONFIRMED);
        let file = match self.slots.take() {
            Some(file) => file,
            None => File::options().create(true).truncate(false).write(true).open(path)?,
        };
        file.write_all_at(&slot(self.confirmed), SLOT_BYTES as u64 * (self.confirmed & 1))?;
        self.slots = Some(file);
        Ok(())
    }
}

fn sub_folder(settings: &JournalSettings, number: u32) -> PathBuf {
    settings.folder.join(number.to_string())
}

/// There is something in it that may not be confirmed.
fn has_segments(folder: &Path) -> bool {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.map(|file| file.path()).any(|path| path.extension().is_some_and(|it| it == "log" || it == "salvaged"))
}

fn slot(confirmed: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&confirmed.to_le_bytes());
    let checksum = crc32fast::hash(&slot[..8]);
    slot[8..12].copy_from_slice(&checksum.to_le_bytes());
    slot
}

/// Up to where all is confirmed; 0 when that can't be read, so that everything comes again.
fn read_confirmed(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap_or_default();
    let number = |bytes: &[u8]| number(bytes).filter(|number| slot(*number) == *bytes);
    bytes.chunks(SLOT_BYTES).filter_map(number).max().unwrap_or(0)
}

fn number(record: &[u8]) -> Option<u64> {
    record.first_chunk::<NUMBER_BYTES>().map(|bytes| u64::from_le_bytes(*bytes))
}

fn entries(bytes: &Bytes, salt: u32) -> impl Iterator<Item = Entry> {
    frame::parts(bytes, salt).filter_map(|part| match part {
        Part::Record(range) => {
            let record = bytes.slice(range);
            Some(Entry { number: number(&record)?, payload: record.slice(NUMBER_BYTES..) })
        }
        Part::Damage(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::System;
    use tempfile::TempDir;

    fn ambient() -> Arc<dyn Ambient> {
        Arc::new(System)
    }

    fn settings(folder: &TempDir) -> JournalSettings {
        JournalSettings::new(folder.path().join("journal/test"), Durability::Process)
    }

    fn open(settings: &JournalSettings) -> Journal {
        Journal::open(settings, &ambient()).unwrap()
    }

    fn append(journal: &Journal, text: &str) -> Result<u64, Refused> {
        journal.append(|buffer| buffer.extend_from_slice(text.as_bytes()))
    }

    fn read_all(journal: &Journal) -> Vec<(u64, String)> {
        let (mut cursor, mut all) = (Cursor::default(), Vec::new());
        loop {
            let entries = journal.read(&mut cursor).unwrap();
            if entries.is_empty() {
                return all;
            }
            all.extend(entries.into_iter().map(|it| (it.number, String::from_utf8_lossy(&it.payload).into_owned())));
        }
    }

    fn numbers(journal: &Journal) -> Vec<u64> {
        read_all(journal).into_iter().map(|(number, _)| number).collect()
    }

    fn logs(settings: &JournalSettings) -> Vec<PathBuf> {
        let entries = fs::read_dir(settings.folder.join("0")).unwrap().map(|entry| entry.unwrap().path());
        let mut logs: Vec<_> = entries.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
        logs.sort();
        logs
    }

    #[test]
    fn what_is_not_confirmed_is_read_in_order_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        let journal = open(&settings);
        for n in 1..=10 {
            assert_eq!(append(&journal, &format!("event {n}")).unwrap(), n);
        }
        let mut cursor = Cursor::default();
        assert_eq!(journal.read(&mut cursor).unwrap().len(), 10);
        assert!(journal.read(&mut cursor).unwrap().is_empty());
        append(&journal, "event 11").unwrap();
        assert_eq!(journal.read(&mut cursor).unwrap()[0].number, 11);
        journal.confirm(4);
        drop(journal);
        let journal = open(&settings);
        // the last few confirms may not have been written down
        assert_eq!(read_all(&journal)[10], (11, "event 11".to_owned()));
        journal.confirm(11);
        assert!(journal.is_empty());
        drop(journal);
        let journal = open(&settings);
        assert!(numbers(&journal).is_empty());
        assert_eq!(append(&journal, "event 12").unwrap(), 12);
        assert_eq!(read_all(&journal), [(12, "event 12".to_owned())]);
    }

    #[test]
    fn it_holds_a_backlog_on_disk_and_confirmed_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let settings = JournalSettings { limit: 64 * 1024, ..settings(&folder) };
        let journal = open(&settings);
        let mut appended = 0;
        while append(&journal, &"x".repeat(100)).is_ok() {
            appended += 1;
        }
        assert!(matches!(append(&journal, "x"), Err(Refused::Full)));
        assert!(journal.fill() >= 1.0 && (500..700).contains(&appended), "{appended}");
        assert_eq!(numbers(&journal), (1..=appended).collect::<Vec<_>>());
        let before = logs(&settings).len();
        journal.confirm(appended / 2);
        assert!(logs(&settings).len() <= before / 2 + 1 && journal.fill() < 0.6);
        assert_eq!(numbers(&journal), (appended / 2 + 1..=appended).collect::<Vec<_>>());
        append(&journal, "room again").unwrap();
        journal.confirm(u64::MAX);
        assert_eq!(logs(&settings).len(), 1);
    }

    #[test]
    fn each_process_has_a_folder_of_its_own_and_takes_over_what_the_dead_left() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        let (first, second, third) = (open(&settings), open(&settings), open(&settings));
        append(&first, "of the first").unwrap();
        append(&second, "of the second").unwrap();
        append(&third, "of the third").unwrap();
        drop((first, third));
        let again = open(&settings);
        assert_eq!(read_all(&again), [(1, "of the first".to_owned()), (2, "of the third".to_owned())]);
        assert_eq!(read_all(&second), [(1, "of the second".to_owned())]);
        again.confirm(2);
        drop(again);
        assert!(numbers(&open(&settings)).is_empty());
    }

    #[test]
    fn a_folder_that_cannot_be_used_keeps_nobody_from_another() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        // neither the first nor a neighbour is a folder
        fs::create_dir_all(&settings.folder).unwrap();
        fs::write(settings.folder.join("0"), b"").unwrap();
        fs::create_dir_all(settings.folder.join("2/lock")).unwrap();
        fs::write(settings.folder.join("2/0000000000000001-00000000.log"), b"").unwrap();
        let journal = open(&settings);
        append(&journal, "kept").unwrap();
        drop(journal);
        assert_eq!(numbers(&open(&settings)), [1]);
        for n in 1..SUB_FOLDERS {
            fs::remove_dir_all(settings.folder.join(n.to_string())).ok();
            fs::write(settings.folder.join(n.to_string()), b"").unwrap();
        }
        assert!(Journal::open(&settings, &ambient()).is_err());
    }

    #[test]
    fn damaged_files_cost_what_is_damaged_and_are_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let settings = JournalSettings { limit: 64 * 1024, ..settings(&folder) };
        let journal = open(&settings);
        for n in 1..=100 {
            append(&journal, &format!("{n:0100}")).unwrap();
        }
        drop(journal);
        let logs_before = logs(&settings);
        assert!(logs_before.len() >= 3);
        let mut bytes = fs::read(&logs_before[0]).unwrap();
        bytes[130] ^= 4; // in the second record
        fs::write(&logs_before[0], bytes).unwrap();
        let bytes = fs::read(&logs_before[1]).unwrap();
        fs::write(&logs_before[1], &bytes[..bytes.len() - 1]).unwrap();
        fs::write(&logs_before[2], b"garbage").unwrap();
        fs::write(settings.folder.join("0/confirmed"), b"garbage too").unwrap();

        let journal = open(&settings);
        let left = read_all(&journal);
        assert_eq!(left.first().unwrap().0, 1);
        assert!(left.iter().all(|(number, text)| text.parse::<u64>().unwrap() == *number && *number != 2));
        let damaged = fs::read_dir(settings.folder.join("0")).unwrap();
        let damaged = damaged.filter(|it| it.as_ref().unwrap().path().extension().is_some_and(|e| e == "damaged"));
        assert_eq!(damaged.count(), 3);
        append(&journal, "goes on").unwrap();
        drop(journal);
        assert_eq!(read_all(&open(&settings)).len(), left.len() + 1);
    }

    #[test]
    fn a_file_that_the_disk_cannot_read_keeps_nothing_from_going_on() {
        let folder = tempfile::tempdir().unwrap();
        let settings = JournalSettings { limit: 64 * 1024, ..settings(&folder) };
        let journal = open(&settings);
        for n in 1..=100 {
            append(&journal, &format!("{n:0100}")).unwrap();
        }
        for last in [false, true] {
            let mut logs = logs(&settings);
            let log = logs.remove(if last { logs.len() - 1 } else { 1 });
            fs::remove_file(&log).unwrap();
            // reading there is an I/O error
            std::os::unix::fs::symlink("/proc/self/mem", &log).unwrap();
            let (mut cursor, mut read, mut errors) = (Cursor::default(), Vec::new(), 0);
            loop {
                match journal.read(&mut cursor) {
                    Ok(entries) if entries.is_empty() => break,
                    Ok(entries) => read.extend(entries.into_iter().map(|entry| entry.number)),
                    Err(_) => errors += 1,
                }
            }
            assert_eq!(errors, READ_TRIES - 1);
            assert!(read.is_sorted() && read.len() > 20 && read.len() < 100 && read[0] == 1, "{read:?}");
            assert_eq!(read.last() == Some(&100), !last);
            assert!(!log.exists() && fs::symlink_metadata(log.with_extension("damaged")).is_ok());
            assert_eq!(numbers(&journal), read, "it is not tried again");
        }
        assert_eq!(append(&journal, "goes on").unwrap(), 101);
        assert_eq!(numbers(&journal).last(), Some(&101));
        journal.confirm(101);
        assert!(journal.is_empty());
    }

    #[test]
    fn a_process_that_was_killed_while_it_salvaged_is_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        let journal = open(&settings);
        append(&journal, "kept").unwrap();
        drop(journal);
        let log = logs(&settings).remove(0);
        fs::write(log.with_extension("salvaged"), b"half").unwrap();
        assert_eq!(numbers(&open(&settings)), [1]);
        fs::rename(&log, log.with_extension("salvaged")).unwrap();
        assert_eq!(numbers(&open(&settings)), [1]);
    }

    #[test]
    fn with_power_durability_it_is_the_same_journal() {
        let folder = tempfile::tempdir().unwrap();
        let settings = JournalSettings { durability: Durability::Power, ..settings(&folder) };
        let journal = open(&settings);
        for n in 1..=100 {
            append(&journal, &n.to_string()).unwrap();
        }
        let safe = journal.lock().log.safe().unwrap();
        safe.blocking_recv().unwrap().unwrap();
        drop(journal);
        assert_eq!(numbers(&open(&settings)).len(), 100);
    }
}
