//! What handlers remember things in: the database that the worker was given.

use std::ops::Deref;

use store::Store;

use crate::extract::misuse;
use crate::{Context, Error, Extract};

/// The whole database, with everything that the bot remembers. Questions to it fail while it is away; such an error is
/// [`Error::Failed`], and the handler is tried again.
#[derive(Clone, Debug)]
pub struct Database(pub Store);

impl Deref for Database {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.0
    }
}

impl Extract for Database {
    fn extract(context: &Context) -> Result<Self, Error> {
        context.database.clone().map(Database).ok_or_else(|| misuse("Database", "a worker with .database(…)"))
    }
}
