//! One log that is imported: what it is, as far as its lines and its path tell, and its events in batches.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use protocol::Target;
use store::archive::{Record, key};
use store::logs::{Broken, Context, Format, Place, Reader, Why};

use super::Import;
use super::counts::{BrokenLines, MAX_SHOWN};
use crate::terminal::harmless;
use crate::zone::Zone;

/// Events of one transaction: a few milliseconds, for which nobody else writes on SQLite.
const BATCH: usize = 1_000;
/// By so much of its beginning a format is told.
const HEAD_BYTES: usize = 64 * 1024;

/// A log that is being read.
pub struct Log {
    name: String,
    format: Format,
    reader: Reader<BufReader<File>, Zone>,
}

/// Some of its events, in its order.
pub struct Batch {
    pub records: Vec<Record>,
    pub broken: BrokenLines,
    /// There are no more.
    pub is_last: bool,
    /// Why there are no more, if that is not its end.
    pub unreadable: Option<String>,
}

impl Log {
    /// Opens it, and finds out what it is; `None` for an empty file.
    ///
    /// # Errors
    /// What is wrong, and what to do: for people.
    pub fn open(path: &Path, import: &Import) -> Result<Option<Log>, String> {
        if path.is_dir() {
            return Err("it is a folder: name the files in it".to_owned());
        }
        let file = File::open(path).map_err(|why| format!("it can't be read: {why}"))?;
        let mut source = BufReader::with_capacity(HEAD_BYTES, file);
        let shown = path.display().to_string();
        let head = source.fill_buf().map_err(|why| format!("it can't be read: {why}"))?;
        if head.is_empty() {
            return Ok(None);
        }
        let guessed = import.format.or_else(|| Format::guess(head, &shown));
        let format = guessed.ok_or("it is in no known format: --format says in which")?;
        let (network, channel) = place(format, &shown, import)?;
        let context = Context { day: import.day, source_name: shown.clone(), ..Context::new(&network, &channel) };
        let reader = Reader::new(format, source, context.in_zone(import.zone.unwrap_or(Zone::Local)));
        Ok(Some(Log { name: harmless(&shown), format, reader }))
    }

    /// Its path, safe to print.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its times are those of a clock on a wall.
    pub fn needs_zone(&self) -> bool {
        self.format != Format::Json
    }

    /// How much of it was read.
    pub fn bytes(&self) -> u64 {
        self.reader.bytes()
    }

    /// How many lines of it were read.
    pub fn lines(&self) -> u64 {
        self.reader.line()
    }

    /// What comes next of it.
    pub fn next_batch(&mut self) -> Batch {
        let (records, broken) = (Vec::with_capacity(BATCH), BrokenLines::default());
        let mut batch = Batch { records, broken, is_last: false, unreadable: None };
        for _ in 0..BATCH {
            match self.reader.next() {
                None => {
                    batch.is_last = true;
                    break;
                }
                Some(Err(Broken { why: why @ Why::Unreadable(_), .. })) => batch.unreadable = Some(why.to_string()),
                Some(Err(broken)) => batch.broken.add(broken.to_string()),
                Some(Ok(record)) => match problem(&record) {
                    Some(why) => batch.broken.add(format!("line {}: {why}", self.reader.line())),
                    None => batch.records.push(record),
                },
            }
        }
        batch
    }
}

impl BrokenLines {
    fn add(&mut self, line: String) {
        self.count += 1;
        if self.first.len() < MAX_SHOWN {
            self.first.push(line);
        }
    }
}

/// Network and channel of a log: what was said on the command line, else what its path tells. The network is none of the
/// path's business: clients call networks as they like.
fn place(format: Format, path: &str, import: &Import) -> Result<(String, String), String> {
    let channel = import.channel.clone().or_else(|| Place::of(format, path).channel);
    if format == Format::Json {
        return Ok((import.network.clone().unwrap_or_default(), channel.unwrap_or_default()));
    }
    let network = import.network.clone().ok_or("--network has to say on which network it was written")?;
    let channel =
        channel.ok_or("its path does not tell the channel: --channel says which (private talk is not archived)")?;
    Ok((network, channel))
}

/// What the archive could not keep as it is.
fn problem(record: &Record) -> Option<String> {
    if record.network.is_empty() || record.channel.is_empty() {
        return Some("it names no network or no channel: --network and --channel say which".to_owned());
    }
    if let Err(why) = Target::new(&record.network, &record.channel) {
        return Some(why.to_string());
    }
    if key::time(key::first(record.at)) != record.at {
        return Some("its time is before 1970 or after 2248".to_owned());
    }
    None
}
