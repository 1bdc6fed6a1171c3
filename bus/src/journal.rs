//! What is kept on disk so that it outlives the process: the [`Journal`] between a connector and its broker, and the log
//! that the embedded broker keeps its queues in.
//!
//! Both are files to which records are only ever appended, each with its length and a checksum, in a folder that one
//! process has at a time. A file that was cut short or damaged costs the records that are damaged, no others.

mod fifo;
mod folder;
mod frame;
mod log;
mod sync;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::fifo::{Cursor, Entry, Journal, Refused};
pub(crate) use self::log::Log;
pub(crate) use self::sync::Failure;

/// A journal keeps at most this many bytes unless told otherwise: 256 MiB.
pub const JOURNAL_BYTES: u64 = 256 * 1024 * 1024;

/// What accepted messages survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// The end of the process, however it comes (kill -9): the operating system has them.
    #[default]
    Process,
    /// A power failure, too: the disk has written them down (fdatasync(2)), many at a time. Accepting takes as long as
    /// that takes.
    Power,
}

/// Where a journal is, and how it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// The folder; it is made, if it is not there. Each process that uses it has a sub-folder of its own.
    pub folder: PathBuf,
    /// What its entries survive.
    pub durability: Durability,
    /// How many bytes it may have on disk.
    pub limit: u64,
}

impl JournalSettings {
    /// A journal in this folder, of at most 256 MiB.
    pub fn new(folder: impl Into<PathBuf>, durability: Durability) -> Self {
        JournalSettings { folder: folder.into(), durability, limit: JOURNAL_BYTES }
    }
}
