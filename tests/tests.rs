//! The whole bot from outside: real processes, real servers, real sockets. One binary, one file a thing that is tested.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod actions;
mod archive;
mod archive_commands;
mod chat;
mod check;
mod commands;
mod dead;
mod durable;
mod echo;
mod faults;
mod groups;
mod history;
mod late;
mod login;
mod memory;
mod networks;
mod nick;
mod ordered;
mod people;
mod presence;
mod queues;
mod service;
mod settings;
mod state;
mod tidy;
mod world;
