//! `once`: polls every source once and returns the metrics of its campaigns. Failed polls are logged to standard error,
//! as when serving, and every source that has no values is named at the end.

use super::CommandError;
use crate::app::{self, App};
use crate::cli::{CommonFlags, OnceFlags, PageOutput};
use crate::metrics::formats;
use crate::platform::file_reader;

/// Polls once; returns the metrics, and whether every poll succeeded.
///
/// # Errors
/// Returns an error if the config or the shard is invalid, or the page cannot be rendered.
pub async fn run(flags: &CommonFlags, once: &OnceFlags) -> Result<(String, bool), CommandError> {
    let config = file_reader::load(&flags.config_file)?;
    let shard = flags.shard()?;
    let (config, errors) = app::with_all_accounts(config).await;
    for (business, error) in &errors {
        tracing::error!(business, error, "lookup of ad accounts failed");
    }
    let app = App::new(&config, shard)?;
    tracing::info!(
        businesses = config.businesses.len(),
        windows = config.windows.len(),
        "polling every source once"
    );
    let polled = app.once().await?;
    for poll in &polled.failed {
        let (business, source, window) = (&*poll.business, &*poll.source, &*poll.window);
        match poll.paused_until {
            Some(until) => {
                tracing::error!(business, source, window, paused_until = %until, "source was not polled");
            }
            None => tracing::error!(business, source, window, "source has no values"),
        }
    }
    let succeeded = polled.failed.is_empty() && errors.is_empty();
    let page = if once.own {
        polled.own + &polled.campaigns
    } else {
        polled.campaigns
    };
    let page = match once.output {
        PageOutput::Text => page,
        PageOutput::Openmetrics => formats::to_openmetrics(&page),
        PageOutput::Json => formats::to_json(&page),
    };
    Ok((page, succeeded))
}
