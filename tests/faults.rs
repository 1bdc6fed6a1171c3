//! The promises under faults: a test for each fault that the bot must survive, on real processes, the real RabbitMQ and an IRC server
//! that counts. `row_NN` is the number of the fault in the table that they come from (CONTRIBUTING.md).
//!
//! The rule is the same everywhere: of the lines that the bot has read none is lost and none answered twice, except where a test says
//! how many may be; and at most 30 s after the last fault all is answered.

mod bad_worker;
mod broker;
mod clock;
mod connector;
mod database;
mod disk;
mod flood;
mod input;
mod network;
mod observer;
mod outside;
mod size;
mod stage;
mod unwelcome;
mod worker;

pub use self::stage::wait_until;
