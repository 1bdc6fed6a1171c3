//! The handler SDK and its runner: what a worker of pubbot is made of.
//!
//! A handler is a plain async function. Its parameters say what it needs (see [`Extract`]), its return value is the
//! reply (see [`IntoReplies`]), or what is to be done ([`Action`]). A [`Plugin`] puts handlers beside what they react to ([`trigger`], [`command`],
//! [`event`]), one event at a time or [in batches](Plugin::in_batches); a [`Worker`] runs plugins as one of the processes of its group. [`testing::FakeChat`] talks to plugins
//! as people would.
//!
//! ```
//! use serde::Deserialize;
//! use worker::{Captures, Plugin, testing::FakeChat, trigger};
//!
//! #[derive(Deserialize)]
//! struct Greeting { whom: String }
//!
//! async fn greet(Captures(it): Captures<Greeting>) -> String {
//!     format!("hello, {}!", it.whom)
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let plugin = Plugin::new("greeter").on(trigger(r"greet (?<whom>\w+)"), greet);
//! let mut chat = FakeChat::with([plugin]).await;
//! chat.says("alice", "please greet bob").await.hears("hello, bob!");
//! # });
//! ```

mod action;
mod batch;
mod batches;
mod brief;
mod captures;
mod catalogue;
mod context;
#[cfg(feature = "store")]
mod database;
mod drive;
mod error;
mod executor;
mod extract;
mod handler;
mod incoming;
pub mod index;
mod lanes;
mod matcher;
mod plugin;
mod publish;
mod reply;
mod runner;
mod seen;
mod serve;
mod settle;
mod spec;
pub mod testing;
mod worker;

pub use action::Action;
pub use batch::{Batch, BatchContext, BatchEvent, BatchHandler, LARGEST_BATCH};
pub use catalogue::{Catalogue, Entry};
pub use context::Context;
#[cfg(feature = "store")]
pub use database::Database;
pub use error::{BuildError, Error, RunError};
pub use extract::{Args, Captures, Channel, Event, Extract, Sender, State};
pub use handler::{Handler, IntoReplies};
pub use plugin::Plugin;
pub use reply::Reply;
pub use spec::{DEFAULT_TIMEOUT, Example, LONGEST_TIMEOUT, Source, Spec, command, event, trigger};
pub use worker::{Attached, DEFAULT_COMMAND_PREFIX, Worker};
