//! Subcommands, one module each; `serve` runs without a subcommand. A command returns its output, or a [`CommandError`]
//! that `main` prints and maps to the exit status. Commands that run for long take the functions for printing and for
//! showing progress as arguments, so that tests can run them without a terminal.
//!
//! - `serve`, `once`: poll and serve metrics; poll once and return the metrics page
//! - `check`, `discover`: validate the config and estimate its cost; list the campaigns that a token can access
//! - `backfill`: daily history as OpenMetrics text
//! - `demo`: exporter with a simulated API
//! - `healthcheck`: HTTP client for health checks of containers
//! - `status_line`: the current step of a command, on a terminal

pub mod backfill;
pub mod check;
pub mod demo;
pub mod discover;
pub mod healthcheck;
pub mod once;
pub mod serve;
mod status_line;

use std::fmt;
use std::process::ExitCode;

pub use self::status_line::new_status_line;
use crate::app;
use crate::config::ConfigErrors;
use crate::plan::ShardOutOfRange;
use crate::state::StoreError;

/// Error of a command. The variant determines the exit status; the text, complete and possibly of several lines, is
/// printed to standard error.
#[derive(Debug)]
pub enum CommandError {
    /// The command ran, but failed, for example because an address is in use or the API is not reachable: exit status
    /// 1.
    Failed(String),
    /// The command line, the config or a file that the user provides is invalid: exit status 2. The text names it.
    InvalidInput(String),
}

impl CommandError {
    /// Returns the exit status of the process.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::InvalidInput(_) => ExitCode::from(2),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::InvalidInput(text) => f.write_str(text.trim_end()),
        }
    }
}

impl From<ConfigErrors> for CommandError {
    fn from(errors: ConfigErrors) -> Self {
        Self::InvalidInput(errors.to_string())
    }
}

impl From<ShardOutOfRange> for CommandError {
    fn from(error: ShardOutOfRange) -> Self {
        Self::InvalidInput(error.to_string())
    }
}

impl From<app::AppError> for CommandError {
    /// An API client that cannot be created is the config's error; other errors are failures.
    fn from(error: app::AppError) -> Self {
        match error {
            app::AppError::Setup(_) | app::AppError::InvalidAddress { .. } => {
                Self::InvalidInput(error.to_string())
            }
            app::AppError::StateFile {
                source: StoreError::Foreign(_),
                ..
            } => Self::InvalidInput(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}
