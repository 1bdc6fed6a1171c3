//! Chat logs of other programs, read line by line into records of the archive, and records written as logs.
//!
//! [`Reader`] turns any `BufRead` into records and never holds more of it than a line; a line that it can't use is a
//! [`Broken`] with its number and the reason, and reading goes on. [`Writer`] is the way back. Neither knows a database.
//! Who said something is taken as the log has it: a nick. No log tells an account for certain, so none is imported
//! but from [`json`], the archive's own format.

mod broken;
mod clock;
mod energymech;
mod entry;
mod format;
mod irssi;
pub mod json;
mod lines;
mod mirc;
mod numbering;
mod place;
mod reader;
#[cfg(test)]
mod round_trips;
mod weechat;
mod writer;
mod znc;

pub use broken::{Broken, Why};
pub use clock::day_in_name;
pub use format::Format;
pub use lines::MAX_LINE_BYTES;
pub use numbering::MAX_LINES_OF_A_MOMENT;
pub use place::Place;
pub use reader::{Context, Reader};
pub use writer::{Style, Writer};
