//! What the bot remembers, in SQLite or PostgreSQL: the URL decides. One module for each thing that is remembered, with its
//! entities and the questions that are asked of them; the shape of the tables is the crate `migrations`.
//!
//! Every question is bounded in time and in what it returns, and is asked of both engines by the same tests.

pub mod archive;
mod connect;
mod error;
mod fold;
pub mod logs;
pub mod people;
pub mod plugin_data;
mod plugin_steps;
pub mod presence;
mod schema;
pub mod search;
pub mod settings;
mod sql;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod words;

pub use error::Error;
pub use fold::{fold, fold_char};
pub use plugin_steps::PluginSteps;
pub use schema::{Schema, Step};
pub use store::{Engine, Store, Writing};
/// For plugins that bring tables of their own.
pub use {sea_orm, sea_orm_migration};
