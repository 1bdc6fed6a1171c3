//! The archive: every event of a channel, once, with the words in it. [`Archive::store`] takes them in, the other questions
//! are a file each.

mod calendar;
mod forgetting;
pub mod key;
mod page;
mod place;
mod record;
mod retention;
mod searching;
mod taking;

pub use calendar::Day;
pub use page::{MAX_PAGE, Message};
pub(crate) use place::Places;
pub use record::{Kind, Record};

use crate::Store;

/// The archive of a database.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a>(&'a Store);

impl Store {
    /// What was said.
    pub fn archive(&self) -> Archive<'_> {
        Archive(self)
    }
}
