//! `check`: validates the config and prints estimated API calls and series; sends requests only with `--live`.
//!
//! `estimate` computes the numbers, `warnings` reports valid but probably unintended settings, and `live` tests tokens
//! and sources against the API. This module formats the results as text or JSON.

mod estimate;
mod live;
mod warnings;

pub use self::warnings::METRICS_OF_ALERTS;

use std::fmt::Write;

use serde_json::{Value, json};

use self::estimate::{ConfigEstimate, RequestCost};
use self::live::{LearnedSources, LiveReport};
use super::{CommandError, serve};
use crate::app;
use crate::cli::{self, CheckOutput};
use crate::graph::{DEVELOPMENT_CALLS_PER_HOUR, STANDARD_CALLS_PER_HOUR};
use crate::plan::{ASSUMED_CHILDREN, Plan, Shard};
use crate::platform::clock;

/// Returns the result as text or JSON, and whether all live checks succeeded (true without `--live`) and there are no
/// warnings (with `--strict`). Up to the first poll, the config is used as when serving: every file is read and every
/// client is built. `show_status` receives the current step of the live checks.
///
/// # Errors
/// Returns all errors of the config, or an error if the shard is invalid or the API client cannot be created.
pub async fn run(
    flags: &cli::CommonFlags,
    check: &cli::CheckFlags,
    show_status: impl Fn(&str),
) -> Result<(String, bool), CommandError> {
    let (_, loaded, _) = serve::load(flags)?;
    if !loaded.refused.is_empty() {
        return Err(loaded.refused.into());
    }
    let config = loaded.config;
    serve::validate(flags, &config)?;
    let (config, listing_errors) = if check.live {
        show_status("ad accounts");
        app::with_all_accounts(config).await
    } else {
        (config, Vec::new())
    };
    let now = clock::now();
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let shard = flags.shard()?;
    let plan = Plan::for_shard(&config, shard);
    let (snapshot, state_warning) = estimate::read_snapshot(flags.state_file(), &plan, now);
    let live = if check.live {
        Some(live::check(&config, &plan, show_status).await?)
    } else {
        None
    };
    let nothing_learned = LearnedSources::new();
    let learned = live.as_ref().map_or(&nothing_learned, |live| &live.learned);
    let assumed = check.assume_campaigns;
    let estimate = ConfigEstimate::of(&config, &plan, snapshot.as_ref(), learned, assumed, today);
    let mut warnings: Vec<String> = state_warning.into_iter().chain(loaded.warnings).collect();
    warnings.extend(warnings::all(&config, &estimate, today));
    let with_currency = plan.sources.iter().enumerate().filter_map(|(idx, source)| {
        let learned = learned.get(&(source.business.clone(), source.name.clone()));
        let restored = || snapshot.as_ref()?.sources.get(idx)?.inventory.as_deref();
        let inventory = learned.map(|learned| learned.inventory.as_ref());
        let account = &inventory.or_else(restored)?.account;
        Some((source.as_ref(), account.currency.as_deref()?))
    });
    warnings.extend(warnings::limits_in_several_currencies(with_currency));
    for (business, error) in &listing_errors {
        warnings.push(format!("{business}: ad_accounts: all: {error}"));
    }
    let file = flags.config_file.display().to_string();
    let ok = live.as_ref().is_none_or(LiveReport::is_ok)
        && listing_errors.is_empty()
        && (warnings.is_empty() || !check.strict);
    let output = match check.output {
        CheckOutput::Text => {
            let mut text = match shard {
                Shard::ALL => format!("{file}: valid\n\n"),
                shard => format!(
                    "{file}: valid; shard {} of {} polls {} of {} sources\n\n",
                    shard.index(),
                    shard.count(),
                    plan.sources.len(),
                    plan.configured,
                ),
            };
            text.push_str(&self::text(&estimate, assumed, &warnings));
            if let Some(live) = live {
                text.push('\n');
                text.push_str(&live.text());
            }
            text
        }
        CheckOutput::Json => {
            let mut value = json(&file, &estimate, assumed, &warnings);
            value["shard"] = json!({
                "index": shard.index(),
                "count": shard.count(),
                "sources": plan.sources.len(),
                "sources_configured": plan.configured,
            });
            if let Some(live) = live {
                value["live"] = live.json();
            }
            format!("{value:#}\n")
        }
    };
    Ok((output, ok))
}

/// Returns the output for a config that is refused: with `--output=json` an object with the errors, otherwise nothing,
/// because standard error has them.
pub fn refusal(flags: &cli::CommonFlags, check: &cli::CheckFlags, error: &CommandError) -> String {
    match check.output {
        CheckOutput::Text => String::new(),
        CheckOutput::Json => {
            let error = error.to_string();
            let value = json!({
                "config": flags.config_file.display().to_string(),
                "valid": false,
                "errors": error.lines().collect::<Vec<_>>(),
            });
            format!("{value:#}\n")
        }
    }
}

/// Column titles of the table; the first two columns are texts, the others numbers.
const COLUMNS: [&str; 8] = [
    "business",
    "source",
    "campaigns",
    "calls/hour",
    "calls/day",
    "of dev. quota",
    "of std. quota",
    "series",
];

/// Returns the rows of the table. Quotas apply per ad account, so that sums have no quota columns, and a business with
/// one source has no sum.
fn table(estimate: &ConfigEstimate) -> Vec<[String; COLUMNS.len()]> {
    let row = |business: &str, source: &str, campaigns: String, cost: &RequestCost, quotas| {
        let share = |quota: f64| match quotas {
            true => format!("{:.2}%", cost.share_of(quota) * 100.0),
            false => String::new(),
        };
        [
            business.to_owned(),
            source.to_owned(),
            campaigns,
            format!("{:.1}", cost.calls_per_hour),
            format!("{:.0}", cost.calls_per_day()),
            share(DEVELOPMENT_CALLS_PER_HOUR),
            share(STANDARD_CALLS_PER_HOUR),
            cost.series.to_string(),
        ]
    };
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    for source in &estimate.sources {
        let mark = if source.is_known { "" } else { "?" };
        let campaigns = format!("{}{mark}", source.campaigns);
        let (business, cost) = (&source.business, &source.cost);
        rows.push(row(business, &source.name, campaigns, cost, true));
    }
    for (business, cost) in &estimate.businesses {
        let mut sources = estimate.sources.iter();
        if sources
            .by_ref()
            .filter(|source| source.business == *business)
            .count()
            > 1
        {
            rows.push(row(business, "", String::new(), cost, false));
        }
    }
    rows.push(row("all", "", String::new(), &estimate.total, false));
    rows
}

/// Maximum width of a column of the table; longer names shift their own row only. Widths above 65535 panic.
const MAX_COLUMN_CHARS: usize = 200;

fn text(estimate: &ConfigEstimate, assumed: usize, warnings: &[String]) -> String {
    let mut text = String::new();
    let mut add_line = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    let rows = table(estimate);
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).min(MAX_COLUMN_CHARS)
    });
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = match column {
                0 | 1 => write!(line, "{cell:<width$}  "),
                _ => write!(line, "{cell:>width$}  "),
            };
        }
        add_line(format_args!("{}", line.trim_end()));
    }
    let tenths_of_mb = estimate.page_bytes.div_ceil(100_000);
    add_line(format_args!(
        "\nMetrics page: about {}.{} MB uncompressed, a tenth of that with gzip.",
        tenths_of_mb / 10,
        tenths_of_mb % 10
    ));
    add_line(format_args!(
        "Quota of an ad account without active ads, each of which adds to it: {:.0} calls per hour in the development \
         tier, {:.0} in the standard tier.",
        DEVELOPMENT_CALLS_PER_HOUR, STANDARD_CALLS_PER_HOUR
    ));
    if estimate.sources.iter().any(|source| !source.is_known) {
        add_line(format_args!(
            "? assumed: {assumed} message campaigns per ad account, the same number of others, {ASSUMED_CHILDREN} ad sets per campaign and \
             {ASSUMED_CHILDREN} ads per ad set; set --assume-campaigns, or --state.file for real counts"
        ));
    }
    if !estimate.unlisted.is_empty() {
        add_line(format_args!(
            "Not estimated, because only the API knows their ad accounts (ad_accounts: all): {}; run check --live",
            estimate.unlisted.join(", ")
        ));
    }
    for warning in warnings {
        add_line(format_args!("warning: {warning}"));
    }
    text
}

fn json(file: &str, estimate: &ConfigEstimate, assumed: usize, warnings: &[String]) -> Value {
    let cost = |cost: &RequestCost| {
        json!({
            "calls_per_hour": cost.calls_per_hour,
            "calls_per_day": cost.calls_per_day(),
            "series": cost.series,
        })
    };
    let source = |source: &estimate::SourceCost| {
        let mut value = cost(&source.cost);
        value["business"] = source.business.as_ref().into();
        value["source"] = source.name.as_ref().into();
        value["campaigns"] = source.campaigns.into();
        value["campaigns_known"] = source.is_known.into();
        value["development_quota_ratio"] = source.cost.share_of(DEVELOPMENT_CALLS_PER_HOUR).into();
        value["standard_quota_ratio"] = source.cost.share_of(STANDARD_CALLS_PER_HOUR).into();
        value
    };
    let business = |(name, sum): &(Box<str>, RequestCost)| {
        let mut value = cost(sum);
        value["business"] = name.as_ref().into();
        value
    };
    let mut total = cost(&estimate.total);
    total["page_bytes"] = estimate.page_bytes.into();
    json!({
        "config": file,
        "valid": true,
        "assumed_campaigns": assumed,
        "sources": estimate.sources.iter().map(source).collect::<Vec<Value>>(),
        "businesses": estimate.businesses.iter().map(business).collect::<Vec<Value>>(),
        "businesses_not_estimated": estimate.unlisted,
        "total": total,
        "warnings": warnings,
    })
}
