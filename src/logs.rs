//! Logs: on standard error, one sentence a line with fields, in colour only on a terminal. How much is logged is
//! decided by -q and -v, else by PUBBOT_LOG, else by the command.

use std::fmt;
use std::io::{self, IsTerminal};

use bus::System;
use protocol::Ambient;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::cli::Options;
use crate::config::Environment;
use crate::failure::Failure;

/// How much is logged unless somebody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// What a role does.
    Role,
    /// Only what goes wrong: for commands that answer, and for a chat at the terminal.
    Quiet,
}

/// Begins to log: by the options, else by `PUBBOT_LOG`, else by default.
///
/// # Errors
/// When `PUBBOT_LOG` is no filter.
pub fn start(options: &Options, environment: &Environment, default: Default) -> Result<(), Failure> {
    let variable = environment.get("PUBBOT_LOG").map(|value| value.to_string_lossy());
    let filter = filter(options, variable.as_deref(), default)?;
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_timer(Milliseconds)
        .with_target(options.verbose > 0)
        .init();
    Ok(())
}

fn filter(options: &Options, variable: Option<&str>, default: Default) -> Result<EnvFilter, Failure> {
    // whatever lapin knows of a broken connection, the bus says once and in words
    let directives = match (options.verbose, variable) {
        _ if options.quiet => "error,lapin=off",
        (0, Some(filter)) => filter,
        (0, None) if default == Default::Quiet => "warn,lapin=off",
        (0, None) => "info,lapin=off,sea_orm_migration=warn,sqlx=error",
        (1, _) => {
            "info,pubbot=debug,bus=debug,connector=debug,worker=debug,plugins=debug,store=debug,lapin=off,sea_orm_migration=warn,sqlx=error"
        }
        (_, _) => "debug",
    };
    EnvFilter::try_new(directives).map_err(|why| {
        let expected = "expected a level (error, warn, info, debug, trace) or a filter such as info,bus=debug";
        Failure::Configuration(format!("environment variable PUBBOT_LOG: {why}; {expected}"))
    })
}

/// The time as everywhere in pubbot: UTC, with milliseconds.
struct Milliseconds;

impl FormatTime for Milliseconds {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{}", System.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_go_before_the_variable_and_the_variable_before_the_default() {
        let shown = |options: &Options, variable| filter(options, variable, Default::Quiet).unwrap().to_string();
        let (plain, loud) = (Options::default(), Options { verbose: 2, ..Options::default() });
        assert_eq!(shown(&plain, None), "lapin=off,warn");
        assert_eq!(shown(&plain, Some("trace")), "trace");
        assert_eq!(shown(&loud, Some("trace")), "debug");
        assert_eq!(shown(&Options { quiet: true, ..Options::default() }, Some("trace")), "lapin=off,error");
    }

    #[test]
    fn a_variable_that_is_no_filter_is_a_wrong_configuration() {
        let failure = filter(&Options::default(), Some("bus=loud"), Default::Role).unwrap_err();
        assert!(matches!(failure, Failure::Configuration(why) if why.contains("PUBBOT_LOG")));
    }
}
