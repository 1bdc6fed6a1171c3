//! How a command ends when it does not succeed: what is told, once and in words for people, and the exit status. Errors
//! of the other crates become one of these where a command ends.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::Report;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// It could not: status 1.
    Failed(String),
    /// It was not asked in a way that makes sense: status 2, and nothing was done.
    Usage(String),
    /// The configuration is wrong: status 78, `EX_CONFIG` of sysexits.h.
    Configuration(String),
    /// Whatever there was to tell has been told: status 1.
    Told,
}

impl Failure {
    /// It could not.
    pub fn failed(why: impl Display) -> Self {
        Failure::Failed(why.to_string())
    }

    /// It was not asked in a way that makes sense.
    pub fn usage(why: impl Display) -> Self {
        Failure::Usage(why.to_string())
    }

    /// Tells on standard error, unless it has been told.
    pub fn report(&self) {
        if !matches!(self, Failure::Told) {
            // with standard error closed, the status still tells
            writeln!(io::stderr(), "error: {self}").ok();
        }
    }

    /// The exit status.
    pub fn status(&self) -> ExitCode {
        match self {
            Failure::Failed(_) | Failure::Told => 1.into(),
            Failure::Usage(_) => 2.into(),
            Failure::Configuration(_) => 78.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(why) | Failure::Usage(why) | Failure::Configuration(why) => f.write_str(why.trim_end()),
            Failure::Told => f.write_str("see above"),
        }
    }
}

impl From<bus::Error> for Failure {
    fn from(error: bus::Error) -> Self {
        match error {
            bus::Error::Url(_) => Failure::Configuration(error.to_string()),
            bus::Error::OtherArguments { .. } => Failure::failed(format!(
                "{error}; delete that queue when it is empty, or set broker.prefix to another prefix"
            )),
            error => Failure::failed(error),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Url(_) => Failure::Configuration(error.to_string()),
            error => Failure::failed(error),
        }
    }
}

impl From<worker::RunError> for Failure {
    fn from(error: worker::RunError) -> Self {
        match error {
            worker::RunError::Broker(error) => error.into(),
            error => Failure::failed(error),
        }
    }
}

impl From<worker::BuildError> for Failure {
    fn from(error: worker::BuildError) -> Self {
        Failure::failed(error)
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Failure::Configuration(report.to_string())
    }
}

/// Something could not be written to standard output. Whoever closed it wants no more: that is no failure.
pub fn unless_closed(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(why) => Err(Failure::failed(format!("standard output can't be written: {why}"))),
        Ok(()) => Ok(()),
    }
}
