//! How a session begins: capabilities, login, welcome.

pub(crate) mod capabilities;
pub(crate) mod login;
pub(crate) mod modes;
pub(crate) mod nickserv;
pub(crate) mod registration;
pub(crate) mod sasl;
pub(crate) mod scram;
