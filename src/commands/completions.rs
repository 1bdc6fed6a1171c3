//! `pubbot completions`: what a shell needs to complete pubbot's commands and options. Needs no configuration, so
//! that it works in a package's build.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::{Failure, unless_closed};

const EXAMPLES: &str = "\
Examples:
  pubbot completions bash > /etc/bash_completion.d/pubbot
  pubbot completions zsh > ~/.zfunc/_pubbot
  pubbot completions fish > ~/.config/fish/completions/pubbot.fish";

/// Print a script that completes commands and options in a shell
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "pubbot", &mut script);
        let mut stdout = io::stdout();
        unless_closed(stdout.write_all(&script).and_then(|()| stdout.flush()))
    }
}
