//! The whole bot from outside: real processes, real servers, real sockets. One binary, one file a thing that is tested.

mod chat;
mod commands;
mod echo;
mod groups;
mod late;
mod tidy;
mod world;
