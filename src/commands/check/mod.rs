//! Checks the config and prints what it would ask of the API; asks only with `--live`.
//!
//! `forecast` holds the numbers, `warnings` what is allowed and hardly meant, `live` what the API says; here they become
//! text for people or JSON for machines.

mod forecast;
mod live;
mod warnings;

use std::fmt::Write;

use serde_json::{Value, json};

use self::forecast::{Cost, Forecast};
use self::live::Live;
use super::Failure;
use crate::cli::{self, CheckOutput};
use crate::config_file;
use crate::plan::{Plan, Shard};
use crate::poll::clock;

/// The plan as text or JSON, and whether all that was found live is fine. `progress` is told what
/// is asked.
///
/// # Errors
/// Every complaint about the config.
pub async fn run(
    flags: &cli::Flags,
    check: &cli::Check,
    progress: impl Fn(&str),
) -> Result<(String, bool), Failure> {
    let config = config_file::load(&flags.config_file)?;
    let now = clock::now();
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let shard = flags.shard()?;
    let plan = Plan::of(&config, shard);
    let (kept, unread) = forecast::kept(flags.state_file.as_deref(), &plan, now);
    let assumed = check.assume_campaigns;
    let forecast = Forecast::of(&config, &plan, kept.as_ref(), assumed, today);
    let mut warnings: Vec<String> = unread.into_iter().collect();
    warnings.extend(warnings::all(&config, &forecast, today));
    let file = flags.config_file.display().to_string();
    let live = match check.live {
        true => Some(live::check(&config, &plan, progress).await?),
        false => None,
    };
    let fine = live.as_ref().is_none_or(Live::is_fine);
    let told = match check.output {
        CheckOutput::Text => {
            let mut text = match shard {
                Shard::WHOLE => format!("{file}: valid\n\n"),
                shard => format!(
                    "{file}: valid; of its {} sources shard {} of {} polls these {}\n\n",
                    plan.configured,
                    shard.index(),
                    shard.count(),
                    plan.sources.len(),
                ),
            };
            text.push_str(&self::text(&forecast, assumed, &warnings));
            if let Some(live) = live {
                text.push('\n');
                text.push_str(&live.text());
            }
            text
        }
        CheckOutput::Json => {
            let mut told = json(&file, &forecast, assumed, &warnings);
            told["shard"] = json!({
                "index": shard.index(),
                "count": shard.count(),
                "sources": plan.sources.len(),
                "sources_configured": plan.configured,
            });
            if let Some(live) = live {
                told["live"] = live.json();
            }
            format!("{told:#}\n")
        }
    };
    Ok((told, fine))
}

fn text(forecast: &Forecast, assumed: usize, warnings: &[String]) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line(format_args!(
        "{:<20} {:<24} {:>9} {:>10} {:>9} {:>11} {:>8} {:>9}",
        "business",
        "source",
        "campaigns",
        "calls/hour",
        "calls/day",
        "development",
        "standard",
        "series"
    ));
    let mut row = |business: &str, source: &str, campaigns: String, cost: &Cost, quotas: bool| {
        let share = |quota: f64| match quotas {
            true => format!("{:.2}%", cost.share_of(quota) * 100.0),
            false => String::new(),
        };
        line(format_args!(
            "{business:<20} {source:<24} {campaigns:>9} {:>10.1} {:>9.0} {:>11} {:>8} {:>9}",
            cost.calls_an_hour,
            cost.calls_a_day(),
            share(forecast::DEVELOPMENT),
            share(forecast::STANDARD),
            cost.series,
        ));
    };
    for source in &forecast.sources {
        let mark = if source.is_known { "" } else { "?" };
        let campaigns = format!("{}{mark}", source.campaigns);
        row(
            &source.business,
            &source.name,
            campaigns,
            &source.cost,
            true,
        );
    }
    for (business, cost) in &forecast.businesses {
        row(business, "", String::new(), cost, false);
    }
    row("all", "", String::new(), &forecast.total, false);
    let tenths = forecast.page_bytes.div_ceil(100_000);
    line(format_args!(
        "\nPage: about {}.{} MB as plain text, a tenth of that with gzip.",
        tenths / 10,
        tenths % 10
    ));
    line(format_args!(
        "Quotas are of an ad account without active ads, whose ads add to them: {:.0} calls an hour in the \
         development tier, {:.0} in the standard one.",
        forecast::DEVELOPMENT,
        forecast::STANDARD
    ));
    if forecast.sources.iter().any(|source| !source.is_known) {
        line(format_args!(
            "? An ad account is assumed to have {assumed} message campaigns; nobody can know offline \
             (--assume.campaigns, or --state.file of an exporter that ran)."
        ));
    }
    for warning in warnings {
        line(format_args!("warning: {warning}"));
    }
    text
}

fn json(file: &str, forecast: &Forecast, assumed: usize, warnings: &[String]) -> Value {
    let cost = |cost: &Cost| {
        json!({
            "calls_an_hour": cost.calls_an_hour,
            "calls_a_day": cost.calls_a_day(),
            "series": cost.series,
        })
    };
    let source = |source: &forecast::SourceCost| {
        let mut value = cost(&source.cost);
        value["business"] = source.business.as_ref().into();
        value["source"] = source.name.as_ref().into();
        value["campaigns"] = source.campaigns.into();
        value["campaigns_known"] = source.is_known.into();
        value["development_quota_ratio"] = source.cost.share_of(forecast::DEVELOPMENT).into();
        value["standard_quota_ratio"] = source.cost.share_of(forecast::STANDARD).into();
        value
    };
    let business = |(name, sum): &(Box<str>, Cost)| {
        let mut value = cost(sum);
        value["business"] = name.as_ref().into();
        value
    };
    let mut total = cost(&forecast.total);
    total["page_bytes"] = forecast.page_bytes.into();
    json!({
        "config": file,
        "valid": true,
        "assumed_campaigns": assumed,
        "sources": forecast.sources.iter().map(source).collect::<Vec<Value>>(),
        "businesses": forecast.businesses.iter().map(business).collect::<Vec<Value>>(),
        "total": total,
        "warnings": warnings,
    })
}
