//! How a session begins: capabilities, login, welcome; and how the bot comes to its nick.

pub(crate) mod capabilities;
pub(crate) mod login;
pub(crate) mod losses;
pub(crate) mod modes;
pub(crate) mod nickserv;
pub(crate) mod regain;
pub(crate) mod registration;
pub(crate) mod sasl;
pub(crate) mod scram;
pub(crate) mod services;
