//! Polls every source once and prints the page; faults are log lines on standard error.

use super::Failure;
use crate::app::App;
use crate::cli::Flags;
use crate::config_file;

/// Polls once; returns the page, and whether every source answered.
///
/// # Errors
/// When the config is refused.
pub async fn run(flags: &Flags) -> Result<(String, bool), Failure> {
    let config = config_file::load(&flags.config_file)?;
    Ok(App::new(&config)?.once().await?)
}
