//! What the plan will cost and yield, source by source: from the config, and from the state file
//! of an exporter that ran, where there is one.

use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::config::Config;
use crate::plan::{Estimate, Plan, Subject};
use crate::snapshot::Snapshot;
use crate::state;

/// Calls an hour that Meta allows on an ad account in the development tier, without the 400 more for
/// each active ad. Source: Meta's document on rate limits.
pub(super) const DEVELOPMENT: f64 = 600.0;

/// The same in the standard tier.
pub(super) const STANDARD: f64 = 190_000.0;

/// What a series takes on a plain page, with names of a usual length.
const BYTES_A_SERIES: usize = 195;

/// The whole plan in numbers.
pub(super) struct Forecast {
    pub(super) sources: Vec<SourceCost>,
    /// In the order of the config.
    pub(super) businesses: Vec<(Box<str>, Cost)>,
    pub(super) total: Cost,
    pub(super) page_bytes: usize,
}

/// One source in numbers.
pub(super) struct SourceCost {
    pub(super) business: Box<str>,
    pub(super) name: Box<str>,
    pub(super) campaigns: usize,
    /// Whether that many campaigns were seen or named, and not assumed.
    pub(super) is_known: bool,
    pub(super) cost: Cost,
}

/// What something costs and yields.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    pub(super) calls_an_hour: f64,
    pub(super) series: usize,
}

impl Cost {
    pub(super) fn calls_a_day(&self) -> f64 {
        self.calls_an_hour * 24.0
    }

    /// The part of an hourly quota that it takes.
    pub(super) fn share_of(&self, quota: f64) -> f64 {
        self.calls_an_hour / quota
    }

    fn add(&mut self, other: Self) {
        self.calls_an_hour += other.calls_an_hour;
        self.series = self.series.saturating_add(other.series);
    }
}

/// What an exporter of that plan knew, and why that cannot be told.
pub(super) fn kept(
    path: Option<&Path>,
    plan: &Plan,
    now: Timestamp,
) -> (Option<Snapshot>, Option<String>) {
    let Some(path) = path else {
        return (None, None);
    };
    match state::read(path) {
        Ok(Some(restored)) => (Some(restored.into_snapshot(plan, now)), None),
        Ok(None) => (
            None,
            Some(format!("{}: there is no state file yet", path.display())),
        ),
        Err(refused) => (None, Some(format!("{}: {refused}", path.display()))),
    }
}

impl Forecast {
    /// The forecast for ad accounts of `assumed` message campaigns, where `kept` knows no better.
    pub(super) fn of(
        config: &Config,
        plan: &Plan,
        kept: Option<&Snapshot>,
        assumed: usize,
        today: Date,
    ) -> Self {
        let mut forecast = Self {
            sources: Vec::new(),
            businesses: Vec::new(),
            total: Cost::default(),
            page_bytes: 0,
        };
        for (place, source) in plan.sources.iter().enumerate() {
            let known = kept.and_then(|snapshot| snapshot.sources.get(place));
            let listing = known.and_then(|known| known.listing.as_deref());
            let named = match &source.subject {
                Subject::Campaign(_) => Some(1),
                Subject::AdAccount { only, .. } => Some(only.len()).filter(|named| *named > 0),
            };
            let seen = listing.map(|listing| listing.campaigns.len());
            let campaigns = seen.or(named);
            // Below campaigns each has several rows.
            let rows = listing.map(|listing| listing.members.len().max(listing.campaigns.len()));
            let rows = rows.or(campaigns).unwrap_or(assumed);
            let estimate = source.estimate(today, config.polling.discovery_interval, rows);
            let Estimate {
                calls_an_hour,
                series,
            } = estimate;
            let cost = Cost {
                calls_an_hour,
                series,
            };
            forecast.total.add(cost);
            match forecast.businesses.last_mut() {
                Some((name, sum)) if *name == source.business => sum.add(cost),
                _ => forecast.businesses.push((source.business.clone(), cost)),
            }
            forecast.sources.push(SourceCost {
                business: source.business.clone(),
                name: source.name.clone(),
                campaigns: campaigns.unwrap_or(assumed),
                is_known: campaigns.is_some(),
                cost,
            });
        }
        forecast.page_bytes = forecast.total.series.saturating_mul(BYTES_A_SERIES);
        forecast
    }
}
