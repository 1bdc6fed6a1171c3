//! What the bot remembers: the archive of what was said, and logs of other programs that are read into it.
//!
//! The archive's records are plain data; the formats in which logs come and go know no database.

pub mod archive;
pub mod logs;
