//! The executables that are measured: pubbot's, and this one, which is also the relays and the raw clients.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Context, Failure, Result};

/// The one that was named; or else it is built as this executable was, and without cargo the one beside this is taken.
pub(crate) fn pubbot(named: Option<&Path>) -> Result<PathBuf> {
    let pubbot = named.map_or_else(build, |path| Ok(path.to_owned()))?;
    match pubbot.is_file() {
        true => Ok(pubbot),
        false => Err(Failure::new(format!("there is no pubbot executable at {}", pubbot.display()))),
    }
}

fn build() -> Result<PathBuf> {
    let built = current()?.with_file_name("pubbot");
    eprintln!("bench: building pubbot");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--package", "pubbot"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // standard output is for the table
    match cargo.stdin(Stdio::null()).stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(built),
        Ok(status) => Err(Failure::new(format!("cargo build --package pubbot: {status}"))),
        Err(why) => {
            eprintln!("bench: cargo can't be run ({why}): taking what is built");
            Ok(built)
        }
    }
}

/// This executable, as an argument.
pub(crate) fn own() -> Result<String> {
    Ok(current()?.to_string_lossy().into_owned())
}

fn current() -> Result<PathBuf> {
    std::env::current_exe().context("this executable can't be found")
}
