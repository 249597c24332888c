//! The subcommands, one file each. They return what `main` is to exit with, and print only what
//! they were asked for.

pub mod check;
pub mod demo;
pub mod discover;
pub mod healthcheck;
pub mod once;
pub mod serve;

use std::fmt;
use std::process::ExitCode;

use crate::app;
use crate::config::Complaints;
use crate::plan::NoSuchShard;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub enum Failure {
    /// It ran, and something failed: exit status 1.
    Failed(String),
    /// The command line or the config was refused: exit status 2.
    Refused(String),
}

impl Failure {
    /// What the process exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Refused(_) => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Refused(text) => f.write_str(text.trim_end()),
        }
    }
}

impl From<Complaints> for Failure {
    fn from(complaints: Complaints) -> Self {
        Self::Refused(complaints.to_string())
    }
}

impl From<NoSuchShard> for Failure {
    fn from(error: NoSuchShard) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<app::Error> for Failure {
    fn from(error: app::Error) -> Self {
        match error {
            app::Error::Setup(_) => Self::Refused(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}
