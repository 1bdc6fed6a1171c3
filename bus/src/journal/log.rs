//! A log on disk: records are appended to the newest of several files, and the oldest file is removed when nothing in it
//! counts any more. What was appended is with the operating system when [`Log::append`] returns: it survives a kill -9.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Ambient;
use tokio::sync::oneshot;

use super::Durability;
use super::folder::{Folder, Name};
use super::frame::{self, Part};
use super::sync::{Failure, Syncer, sync_folder};
use crate::Error;

/// A buffer that has grown beyond this for one large record shrinks again: 1 MiB.
const MAX_KEPT_BUFFER: usize = 1024 * 1024;

/// A log. One process has it at a time.
pub(crate) struct Log {
    folder: Folder,
    segment_bytes: u64,
    ambient: Arc<dyn Ambient>,
    segments: VecDeque<Segment>,
    /// The newest segment's file, once something was appended since the log was opened.
    current: Option<Arc<File>>,
    last_number: u64,
    /// What all the files have together.
    bytes: u64,
    syncer: Option<Syncer>,
    failure: Failure,
    buffer: Vec<u8>,
}

/// One of the files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    name: Name,
    pub bytes: u64,
}

/// What was found when a log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Recovered {
    /// Whole records.
    records: u64,
    /// Files with bytes in them that are no record; they were set aside as `….damaged`.
    damaged_files: u64,
    /// How many such bytes there were.
    damaged_bytes: u64,
}

impl Segment {
    /// Numbers grow from file to file.
    pub fn number(&self) -> u64 {
        self.name.number
    }
}

impl Log {
    /// Opens the log in this folder, and passes every whole record to `read`, with the number of its segment, in the
    /// order in which they were appended. `None` when another process has it.
    ///
    /// # Errors
    /// When the folder can't be made, read or locked. Damaged files are no error.
    pub fn open(
        folder: &Path,
        segment_bytes: u64,
        durability: Durability,
        ambient: Arc<dyn Ambient>,
        mut read: impl FnMut(u64, &[u8]),
    ) -> io::Result<Option<Self>> {
        let Some(folder) = Folder::take(folder)? else { return Ok(None) };
        let failure = Failure::default();
        let syncer = match durability {
            Durability::Process => None,
            Durability::Power => Some(Syncer::start(failure.clone())?),
        };
        let (segments, current, buffer) = (VecDeque::new(), None, Vec::new());
        let mut log = Log {
            folder,
            segment_bytes,
            ambient,
            segments,
            current,
            last_number: 0,
            bytes: 0,
            syncer,
            failure,
            buffer,
        };
        let mut recovered = Recovered::default();
        for name in log.folder.segments()? {
            log.recover(name, &mut recovered, &mut read);
        }
        if recovered.damaged_files > 0 {
            let Recovered { records, damaged_files, damaged_bytes } = recovered;
            let folder = log.folder.path().display();
            tracing::error!(
                %folder, damaged_files, damaged_bytes, records,
                "a journal is damaged: all that is whole is read, damaged files are kept as *.damaged"
            );
        }
        Ok(Some(log))
    }

    fn recover(&mut self, name: Name, recovered: &mut Recovered, read: &mut impl FnMut(u64, &[u8])) {
        self.last_number = name.number;
        let bytes = match fs::read(self.folder.file(name)) {
            Ok(bytes) => bytes,
            Err(why) => {
                recovered.damaged_files += 1;
                tracing::error!(file = %self.folder.file(name).display(), %why, "a file of a journal can't be read");
                return;
            }
        };
        let (mut whole, mut damaged) = (Vec::new(), 0);
        for part in frame::parts(&bytes, name.salt) {
            match part {
                Part::Record(payload) => {
                    recovered.records += 1;
                    read(name.number, &bytes[payload.clone()]);
                    whole.push(frame::whole(&payload));
                }
                Part::Damage(range) => damaged += range.len() as u64,
            }
        }
        let mut length = bytes.len() as u64;
        if damaged > 0 {
            recovered.damaged_files += 1;
            recovered.damaged_bytes += damaged;
            let whole: Vec<u8> = whole.into_iter().flat_map(|range| &bytes[range]).copied().collect();
            match self.folder.salvage(name, &whole) {
                Ok(()) => length = whole.len() as u64,
                Err(why) => tracing::warn!(%why, "a damaged file of a journal can't be set aside now"),
            }
        }
        if length > 0 {
            self.segments.push_back(Segment { name, bytes: length });
            self.bytes += length;
        } else {
            // an empty file, or one that was only set aside
            fs::remove_file(self.folder.file(name)).ok();
        }
    }

    /// The next record begins a new file.
    pub fn is_full(&self) -> bool {
        self.current.is_none() || self.segments.back().is_none_or(|segment| segment.bytes >= self.segment_bytes)
    }

    /// Appends a record: what `write` appends to the buffer. Then it is with the operating system.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidInput` when it is longer than 64 MiB. Nothing is appended then.
    pub fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        if self.is_full() {
            self.begin_segment()?;
        }
        let (Some(file), Some(segment)) = (&self.current, self.segments.back_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.buffer.clear();
        if !frame::append(&mut self.buffer, segment.name.salt, write) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a record is empty or too long"));
        }
        match (&**file).write_all(&self.buffer) {
            Ok(()) => {
                segment.bytes += self.buffer.len() as u64;
                self.bytes += self.buffer.len() as u64;
            }
            Err(why) => {
                // a part of it may be there: nothing may follow that
                if file.set_len(segment.bytes).is_err() {
                    self.current = None;
                }
                return Err(why);
            }
        }
        if let Some(syncer) = &self.syncer {
            syncer.appended(file);
        }
        self.buffer.shrink_to(MAX_KEPT_BUFFER);
        Ok(())
    }

    /// Ends the newest file: the next record begins another.
    pub fn begin_segment(&mut self) -> io::Result<()> {
        let salt = u32::try_from(self.ambient.random() & u64::from(u32::MAX)).unwrap_or_default();
        let name = Name { number: self.last_number + 1, salt };
        let file = File::options().append(true).create_new(true).open(self.folder.file(name))?;
        if self.syncer.is_some() {
            sync_folder(self.folder.path())?;
        }
        self.last_number = name.number;
        if self.current.is_some() && self.segments.back().is_some_and(|segment| segment.bytes == 0) {
            self.remove_newest();
        }
        self.segments.push_back(Segment { name, bytes: 0 });
        self.current = Some(Arc::new(file));
        Ok(())
    }

    /// An empty file.
    fn remove_newest(&mut self) {
        if let Some(segment) = self.segments.pop_back() {
            self.remove(segment);
        }
    }

    /// Removes the oldest file, with all that is in it.
    pub fn remove_oldest(&mut self) {
        // what stands in for it has to be on the disk first
        if let (Some(_), Some(file)) = (&self.syncer, &self.current)
            && let Err(why) = file.sync_data()
        {
            tracing::warn!(%why, "an old file of a journal stays: the disk does not write down the new one");
            return;
        }
        if let Some(segment) = self.segments.pop_front() {
            if self.segments.is_empty() {
                self.current = None;
            }
            self.remove(segment);
        }
    }

    /// Sets a file aside as damaged, with all that is in it. Nothing is appended to it any more.
    ///
    /// # Errors
    /// Whatever the file system says; then it is as it was.
    pub fn set_aside(&mut self, number: u64) -> io::Result<()> {
        if self.segments.back().is_some_and(|newest| newest.number() == number) {
            self.begin_segment()?;
        }
        let place = self.segments.iter().position(|segment| segment.number() == number);
        let Some(segment) = place.and_then(|place| self.segments.get(place).copied()) else { return Ok(()) };
        self.folder.salvage(segment.name, &[])?;
        self.segments.retain(|segment| segment.number() != number);
        self.bytes -= segment.bytes;
        Ok(())
    }

    /// Removes the files after this one.
    pub fn remove_newer_than(&mut self, number: u64) {
        self.current = None;
        while self.segments.back().is_some_and(|segment| segment.number() > number) {
            self.remove_newest();
        }
    }

    fn remove(&mut self, segment: Segment) {
        self.bytes -= segment.bytes;
        let path = self.folder.file(segment.name);
        if let Err(why) = fs::remove_file(&path) {
            tracing::warn!(file = %path.display(), %why, "an old file of a journal can't be removed");
        }
    }

    /// The files, the oldest first.
    pub fn segments(&self) -> &VecDeque<Segment> {
        &self.segments
    }

    /// What all the files have together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a segment is, and the number that its checksums begin with.
    pub(super) fn place(&self, segment: &Segment) -> (PathBuf, u32) {
        (self.folder.file(segment.name), segment.name.salt)
    }

    /// Where it says that what was appended can't be made as safe as was asked for.
    pub fn failure(&self) -> Failure {
        self.failure.clone()
    }

    /// Everything that counts is going to be appended anew, to another file.
    pub fn forget_failure(&self) {
        if let Some(syncer) = &self.syncer {
            syncer.forget_failure();
        }
    }

    /// Resolves when all that was appended is as safe as was asked for; `None`: it is already.
    pub fn safe(&self) -> Option<oneshot::Receiver<Result<(), Error>>> {
        self.syncer.as_ref().map(Syncer::done)
    }
}
