//! Summary for the user: estimated cost before the backfill; gaps and their causes after it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lock;
use super::progress::human_duration;
use super::run::BackfillRun;
use crate::graph::{self, DEVELOPMENT_READS, DEVELOPMENT_WINDOW};
use crate::plan::DayRange;
use crate::scheduler::MIN_REQUESTS_PER_SECOND;

/// Logs the maximum number of calls, and the minimum time that they take under the request rate and the quotas.
pub(super) fn log_estimate(run: &BackfillRun) {
    let source_plans = lock(&run.source_plans);
    let planned = || source_plans.iter().filter(|(_, plan)| !plan.is_duplicate);
    let business_of = |source_idx: &usize| run.plan.sources[*source_idx].business.clone();
    let mut businesses: Vec<_> = planned()
        .map(|(source_idx, _)| business_of(source_idx))
        .collect();
    businesses.dedup();
    let mut account_calls: BTreeMap<_, usize> = BTreeMap::new();
    for (_, plan) in planned() {
        *account_calls.entry(&plan.account).or_default() += plan.missing_calls;
    }
    let campaigns: usize = planned().map(|(_, plan)| plan.campaigns).sum();
    let calls: usize = account_calls.values().sum();
    let stats = run.session.stats();
    let to_f64 = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let account_seconds = account_calls.iter().map(|(account, calls)| {
        let is_standard = stats
            .tiers
            .get(*account)
            .is_some_and(|tier| graph::is_standard_tier(tier));
        if is_standard {
            return 0.0;
        }
        // The first DEVELOPMENT_READS calls need no pause.
        let pauses = calls.div_ceil(DEVELOPMENT_READS).saturating_sub(1);
        to_f64(pauses) * DEVELOPMENT_WINDOW.as_secs_f64()
    });
    let min_seconds = account_seconds.fold(to_f64(calls) / MIN_REQUESTS_PER_SECOND, f64::max);
    let rows = planned().map(|(_, plan)| plan.missing_rows).sum();
    tracing::info!(
        businesses = businesses.len(),
        ad_accounts = account_calls.len(),
        campaigns,
        days = %run.days,
        calls_so_far = stats.calls,
        max_calls = calls,
        min_duration = human_duration(Some(Duration::from_secs_f64(min_seconds.ceil()))),
        "estimate of the remaining work"
    );
    let all_days_ended = planned().all(|(_, plan)| plan.days == Some(run.days));
    if !all_days_ended {
        tracing::info!("days omitted that have not ended in the ad account's time zone");
    }
    run.progress.start(rows);
}

/// Logs the missing days of each source with the reason; returns whether there are any.
pub(super) fn log_missing(run: &BackfillRun) -> bool {
    let errors = lock(&run.errors);
    let source_plans = lock(&run.source_plans);
    let mut has_gaps = false;
    for (source_idx, source) in run.plan.sources.iter().enumerate() {
        let gaps = match source_plans.get(&source_idx) {
            None => vec![run.days],
            Some(plan) if plan.is_duplicate => continue,
            Some(plan) => {
                let days = plan.days.into_iter();
                let gaps = days.flat_map(|days| {
                    let query_kinds = plan.query_kinds.iter();
                    query_kinds.flat_map(move |query_kind| run.gaps(source_idx, *query_kind, days))
                });
                let mut gaps: Vec<DayRange> = gaps.collect();
                gaps.sort();
                gaps.dedup();
                gaps
            }
        };
        if gaps.is_empty() {
            continue;
        }
        has_gaps = true;
        let error = errors
            .get(&source_idx)
            .map_or("not queried", String::as_str);
        tracing::warn!(business = %source.business, source = %source.name, days = format_days(&gaps), error, "history incomplete");
    }
    has_gaps
}

/// Logs the objects for which the API returns no daily values; returns whether there are any.
pub(super) fn log_withheld(run: &BackfillRun) -> bool {
    let journal = lock(&run.journal);
    let mut has_withheld = false;
    for (source_idx, source) in run.plan.sources.iter().enumerate() {
        let mut keys: Vec<&str> = journal.withheld(source_idx).map(|(.., key)| key).collect();
        if keys.is_empty() {
            continue;
        }
        keys.sort_unstable();
        keys.dedup();
        has_withheld = true;
        let inventory = journal.inventory(source_idx).ok().flatten();
        for key in keys {
            let campaign = inventory
                .as_ref()
                .and_then(|inventory| inventory.campaign(key));
            let name = campaign.map_or("", |campaign| &campaign.name);
            tracing::warn!(business = %source.business, source = %source.name, id = key, name, "no daily history: created before the API supported dates, so that only lifetime values are available");
        }
    }
    has_withheld
}

/// Formats the first ranges of days, and the number of further ones.
fn format_days(days: &[DayRange]) -> String {
    const MAX_LISTED_RANGES: usize = 3;
    let ranges: Vec<String> = days
        .iter()
        .take(MAX_LISTED_RANGES)
        .map(ToString::to_string)
        .collect();
    match days.len() {
        ..=MAX_LISTED_RANGES => ranges.join(", "),
        count => format!(
            "{} and {} more ranges",
            ranges.join(", "),
            count - MAX_LISTED_RANGES
        ),
    }
}
