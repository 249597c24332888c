//! Polls every source once and prints the page; faults are log lines on standard error.

use super::Failure;
use crate::app::App;
use crate::cli::{Flags, Once, PageOutput};
use crate::config_file;
use crate::exposition::formats;

/// Polls once; returns the page, and whether every source answered.
///
/// # Errors
/// When the config is refused.
pub async fn run(flags: &Flags, once: &Once) -> Result<(String, bool), Failure> {
    let config = config_file::load(&flags.config_file)?;
    let (page, succeeded) = App::new(&config, flags.shard()?)?.once().await?;
    let page = match once.output {
        PageOutput::Text => page,
        PageOutput::Openmetrics => formats::openmetrics(&page),
        PageOutput::Json => formats::json(&page),
    };
    Ok((page, succeeded))
}
