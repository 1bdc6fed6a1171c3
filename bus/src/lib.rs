//! Carries events and replies between the roles: one trait, two brokers.
//!
//! [`Embedded`] lives in one process, in memory. [`RabbitMq`] is the only place that names lapin. [`socket`] lets other
//! processes on the same machine reach an embedded broker. What queues exist, and with which arguments, is one table:
//! [`Topology`]. The same suite of tests holds all of them to the same rules (`tests/conformance.rs`).

mod broker;
mod consumer;
mod dead;
mod embedded;
mod journal;
mod lock;
mod message;
pub mod mutants;
mod partition;
mod rabbitmq;
pub mod socket;
mod system;
mod topology;

pub use broker::{Broker, Error};
pub use consumer::{Consumer, Delivery, Outcome, Settle, consumer};
pub use dead::{DeadLetter, Past};
pub use embedded::Embedded;
pub use journal::{Cursor, Durability, Entry, JOURNAL_BYTES, Journal, JournalSettings, Refused};
pub use lock::{Lease, Lock, boot_time};
pub use message::{Address, Confirm, Message, Properties};
pub use partition::{PARTITION_HEADER, PARTITIONS, partition};
pub use rabbitmq::RabbitMq;
pub use system::System;
pub use topology::{Argument, DEFAULT_PREFIX, Delay, Queue, STREAM_MESSAGES, Topology};
