//! Owns the chat connection: turns what is said into events on the broker, and replies from the broker into lines.
//!
//! [`irc`] is the only place in pubbot that knows IRC; [`console`] is a chat of one person at a terminal. Both put their
//! events into the same outbox and read their replies with the same code. Nothing here looks into what is said, but for
//! the bot's own name at the beginning of a line.

mod address;
pub mod console;
mod heard;
pub mod irc;
mod line_buffer;
mod memory;
mod outbox;
mod permits;
mod recent;
mod replies;
mod said;
mod secret;
#[cfg(test)]
mod testing;

pub use permits::{Permits, USUAL};
pub use replies::Expiry;
pub use secret::Secret;

/// Who publishes the connector's events: the AMQP `app_id`.
const APP_ID: &str = "pubbot";
