//! Logs: to standard error, as logfmt or JSON, one line an event.

mod logfmt;

use std::io::{self, IsTerminal, Write};
use std::panic;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use self::logfmt::Logfmt;
use crate::cli::{LogFormat, LogLevel};

/// Starts logging; the level holds for this program, and warnings alone for the libraries under it.
///
/// # Errors
/// When somebody else in this process has started it before.
pub fn start(level: LogLevel, format: LogFormat) -> Result<(), TryInitError> {
    // What the HTTP libraries say in detail may hold addresses and headers.
    let filter = EnvFilter::new(format!(
        "warn,marketing_messages_exporter={}",
        level.as_str()
    ));
    let registry = tracing_subscriber::registry().with(filter);
    panic::set_hook(Box::new(|panic| {
        // Where, not what: a panic's message may quote anything.
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "a panic: please report this");
    }));
    match format {
        LogFormat::Logfmt => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .event_format(Logfmt)
                    .with_writer(stderr),
            )
            .try_init(),
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_target(false)
                    .with_writer(stderr),
            )
            .try_init(),
    }
}

/// Standard error, where a line of progress may stand on a terminal: a log line takes its place.
fn stderr() -> impl Write {
    let mut err = io::stderr();
    if err.is_terminal() {
        // What cannot be cleared can still be written to.
        let _ = err.write_all(b"\r\x1b[K");
    }
    err
}
