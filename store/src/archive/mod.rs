//! The archive: every event of a channel, once.

mod record;

pub use record::{Kind, Record};
