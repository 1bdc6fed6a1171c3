//! One file a command: its arguments with their help, and what it does. To add one, write the file and name it in
//! `cli.rs`.

pub mod archive;
pub mod check;
pub mod completions;
pub mod connector;
pub mod dead;
pub mod migrate;
pub mod people;
pub mod publish;
pub mod say;
pub mod search;
pub mod settings;
pub mod tail;
pub mod up;
pub mod worker;
