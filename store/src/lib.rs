//! What the bot remembers: the archive of what was said.
//!
//! Its records are plain data, the same whatever database keeps them.

pub mod archive;
