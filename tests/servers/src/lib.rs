//! Starts private servers for tests and benchmarks, and ends them.
//!
//! Everything here blocks and uses loopback, a free port and a folder of its own; no system service is touched. A server ends when its
//! value is dropped, and also when the test process dies, however it dies (see `guarded`). A fixture that fails panics, and says what it
//! saw until then.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test's fixture fails by panicking

use std::time::Duration;

mod atheme;
mod certificate;
mod counting;
mod daemon;
mod fake_irc;
mod guarded;
mod hybrid;
mod inspircd;
mod irc_user;
mod ngircd;
mod ports;
mod postgresql;
mod process;
mod program;
mod rabbitmq;
mod relay;
mod service;
mod transcript;

pub use atheme::Atheme;
pub use certificate::Certificate;
pub use counting::{Counting, Doubled, Load, Report};
pub use fake_irc::{FakeIrc, FakeOptions, Line, Script, Visit};
pub use hybrid::Hybrid;
pub use inspircd::{Inspircd, InspircdLimits, InspircdOptions, InspircdProofs};
pub use irc_user::IrcUser;
pub use ngircd::{Ngircd, NgircdOptions};
pub use ports::free_port;
pub use postgresql::{Held, PostgreSql};
pub use process::resident_kib;
pub use program::{Output, Program};
pub use rabbitmq::RabbitMq;
pub use relay::Relay;
pub use service::Service;

/// How long anything here waits before it panics, unless its documentation says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);
