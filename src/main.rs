//! The executable `pubbot`: chooses a role and wires it, nothing else. The command line is defined in `cli`, the
//! configuration in `config`, and what a command does stands in its own file under `commands`.

mod bot;
mod broker;
mod cli;
mod commands;
mod config;
mod database;
mod failure;
mod input;
mod logs;
mod nearest;
mod notify;
mod roles;
mod runtime;
mod signals;
mod terminal;
mod zone;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::config::Environment;

fn main() -> ExitCode {
    // an error would mean that a provider is there already
    rustls::crypto::ring::default_provider().install_default().ok();
    let Cli { options, command } = Cli::parse();
    match command.run(&options, &Environment::of_this_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.status()
        }
    }
}
