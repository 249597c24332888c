//! Checks the config and prints what it would ask of the API, without asking.

use std::fmt::Write;
use std::time::Duration;

use super::Failure;
use crate::cli;
use crate::config::Config;
use crate::config_file;
use crate::plan::{Estimate, IDS_A_WHOLE_FILTER, Plan};
use crate::poll::clock;
use crate::row::Level;
use crate::secret_store;

/// Meta refreshes insights about every 15 minutes: asking more often costs quota, and brings
/// nothing new.
const REFRESH: Duration = Duration::from_secs(15 * 60);

/// The plan as text.
///
/// # Errors
/// Every complaint about the config.
pub fn run(flags: &cli::Flags, check: &cli::Check) -> Result<String, Failure> {
    let config = config_file::load(&flags.config_file)?;
    let mut text = format!("{}: valid\n\n", flags.config_file.display());
    plan(&mut text, &config, check.assume_campaigns);
    warnings(&mut text, &config, check.assume_campaigns);
    Ok(text)
}

fn plan(text: &mut String, config: &Config, campaigns: usize) {
    let today = clock::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let discovery = config.polling.discovery_interval;
    let mut total = Estimate::default();
    line(
        text,
        format_args!(
            "{:<24} {:<24} {:>12} {:>10}",
            "business", "source", "calls/hour", "series"
        ),
    );
    for source in &Plan::of(config).sources {
        let estimate = source.estimate(today, discovery, campaigns);
        let (business, name) = (&source.business, &source.name);
        let Estimate {
            calls_an_hour,
            series,
        } = estimate;
        line(
            text,
            format_args!("{business:<24} {name:<24} {calls_an_hour:>12.1} {series:>10}"),
        );
        total.calls_an_hour += calls_an_hour;
        total.series += series;
    }
    let Estimate {
        calls_an_hour,
        series,
    } = total;
    line(
        text,
        format_args!(
            "{:<24} {:<24} {calls_an_hour:>12.1} {series:>10}",
            "all", ""
        ),
    );
    let megabytes = series.saturating_mul(BYTES_A_SERIES).div_ceil(100_000);
    line(
        text,
        format_args!(
            "\nPage: about {}.{} MB as plain text, a tenth of that with gzip.\n\
             An ad account is assumed to have {campaigns} message campaigns; nobody can know offline (--assume.campaigns).",
            megabytes / 10,
            megabytes % 10
        ),
    );
}

/// What a series takes on a plain page, with names of a usual length.
const BYTES_A_SERIES: usize = 195;

fn warnings(text: &mut String, config: &Config, campaigns: usize) {
    let mut warn = |warning: String| line(text, format_args!("warning: {warning}"));
    if config.polling.interval < REFRESH {
        warn("polling.interval: Meta refreshes insights about every 15 minutes; polling faster only costs quota".to_owned());
    }
    if config.insights.level == Level::Account && campaigns > IDS_A_WHOLE_FILTER {
        warn(format!(
            "insights.level: account: conversions are absent for an ad account of more than {IDS_A_WHOLE_FILTER} message \
             campaigns: their ids do not fit one filter, and without it the account's other campaigns would be counted too"
        ));
    }
    for (place, window) in config.windows.iter().enumerate() {
        if window.interval.is_some_and(|interval| interval < REFRESH) {
            warn(format!(
                "windows[{place}].interval: faster than Meta's refresh of about 15 minutes"
            ));
        }
    }
    for (place, business) in config.businesses.iter().enumerate() {
        if business.interval.is_some_and(|interval| interval < REFRESH) {
            warn(format!(
                "businesses[{place}].interval: faster than Meta's refresh of about 15 minutes"
            ));
        }
        if let Err(complaint) = secret_store::read(&business.token) {
            warn(format!("businesses[{place}]: access token: {complaint}"));
        }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
