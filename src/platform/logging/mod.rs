//! Logs on standard error, in logfmt or JSON, one line per event.
//!
//! `format` defines the line format. The log level applies to this crate; of its dependencies only
//! warnings and errors are logged. Panics are logged as errors, with their location.

mod format;

use std::io::{self, IsTerminal, Write};
use std::panic;

use clap::ValueEnum;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Registry, reload};

use self::format::LineFormat;

/// Minimum level of the messages that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Failures that stop the exporter
    Error,
    /// Failures that the exporter survives
    Warn,
    /// Changes of state
    Info,
    /// Single operations
    Debug,
    /// Everything
    Trace,
}

impl LogLevel {
    /// Returns the next level with more messages.
    fn next(self) -> Self {
        match self {
            Self::Error => Self::Warn,
            Self::Warn => Self::Info,
            Self::Info => Self::Debug,
            Self::Debug | Self::Trace => Self::Trace,
        }
    }

    /// Returns the name of the level as used by `--log.level`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs
    Logfmt,
    /// One JSON object per line
    Json,
}

/// Starts logging and installs a panic hook that logs panics.
///
/// # Errors
///
/// Returns an error if a global subscriber is already set in this process.
pub fn start(level: LogLevel, format: LogFormat) -> Result<LogLevelHandle, TryInitError> {
    let (filter, handle) = reload::Layer::new(filter(level));
    panic::set_hook(Box::new(|panic| {
        // Only the location: a panic message can quote any data, including secrets.
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panic; please report this bug");
    }));
    let layer = tracing_subscriber::fmt::layer()
        .event_format(LineFormat(format))
        .with_writer(stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()?;
    Ok(LogLevelHandle {
        handle,
        configured: level,
        current: level,
    })
}

/// Returns the filter for a level.
fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Debug messages of the HTTP libraries can contain URLs and headers, and so access tokens.
    Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("marketing_messages_exporter", level)
        .with_target("graph_simulator", level)
}

/// Changes the log level while the program runs.
#[derive(Debug)]
pub struct LogLevelHandle {
    handle: reload::Handle<Targets, Registry>,
    configured: LogLevel,
    current: LogLevel,
}

impl LogLevelHandle {
    /// Logs messages of the next lower level too.
    pub fn increase(&mut self) {
        self.set(self.current.next());
    }

    /// Returns to the level that logging was started with.
    pub fn reset(&mut self) {
        self.set(self.configured);
    }

    fn set(&mut self, level: LogLevel) {
        match self.handle.reload(filter(level)) {
            Ok(()) => {
                self.current = level;
                // Visible at every level except the lowest ones.
                tracing::warn!(level = level.as_str(), "log level changed");
            }
            Err(error) => tracing::error!(%error, "changing the log level failed"),
        }
    }
}

/// Returns standard error. On a terminal it first clears the current line, which can show the
/// progress of `backfill`.
fn stderr() -> impl Write {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        // A failed clear only affects the appearance of the terminal.
        let _ = stderr.write_all(b"\r\x1b[K");
    }
    stderr
}
