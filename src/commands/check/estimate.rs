//! Estimated API calls, quota shares and series of each source. The number of campaigns is taken from the state file of
//! an exporter if there is one, else from the config, else assumed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::live::LearnedSources;
use crate::config::Config;
use crate::metrics::catalog::{
    CampaignSample, FAMILIES, PREFIX, PollSample, RowSample, SampleSource,
};
use crate::metrics::write_campaign_page;
use crate::model::AccountId;
use crate::plan::{CostEstimate, Plan, Source, SourceKind, SourceSize};
use crate::snapshot::{Snapshot, SourceState};
use crate::state;

/// Average size of a series on the uncompressed metrics page, in bytes. The measurement in `docs/scaling.md`, 478 MB
/// for 2.4 million series, confirms it within a few percent. Long names and labels of the config increase it.
const BYTES_PER_SERIES: usize = 195;

/// Estimate for all sources of the plan.
pub(super) struct ConfigEstimate {
    /// Estimates of the sources, in the order of the plan.
    pub(super) sources: Vec<SourceCost>,
    /// Names of the businesses with `ad_accounts: all` of which the ad accounts are not known. They have no estimate.
    pub(super) unlisted: Vec<String>,
    /// Name and sum of each business that has sources in this shard, in the order of the config.
    pub(super) businesses: Vec<(Box<str>, RequestCost)>,
    /// Sum of all sources.
    pub(super) total: RequestCost,
    /// Estimated size of the uncompressed metrics page, in bytes.
    pub(super) page_bytes: usize,
}

/// Estimate for one source.
pub(super) struct SourceCost {
    /// Name of the business.
    pub(super) business: Box<str>,
    /// Name of the source: `act_` and digits, or the id of a campaign.
    pub(super) name: Box<str>,
    /// Id of the app of the business, if it is configured.
    pub(super) app: Option<String>,
    /// Ad account of which the source uses the quota; `None` for a campaign source of which it is not known.
    pub(super) account: Option<AccountId>,
    /// Number of exported campaigns.
    pub(super) campaigns: usize,
    /// Whether `campaigns` comes from the state file or the config, rather than from `--assume-campaigns`.
    pub(super) is_known: bool,
    pub(super) cost: RequestCost,
}

/// API calls and series of a source or of several: a [`CostEstimate`] that can be summed.
#[derive(Clone, Copy, Default)]
pub(super) struct RequestCost {
    /// Average number of requests to the API per hour.
    pub(super) calls_per_hour: f64,
    /// Number of series on the metrics page.
    pub(super) series: usize,
}

impl RequestCost {
    /// Returns the average number of requests per day.
    pub(super) fn calls_per_day(&self) -> f64 {
        self.calls_per_hour * 24.0
    }

    /// Returns the fraction of a quota that is used; more than 1 if the quota is exceeded. `quota` is in calls per
    /// hour.
    pub(super) fn share_of(&self, quota: f64) -> f64 {
        self.calls_per_hour / quota
    }

    fn add(&mut self, other: Self) {
        self.calls_per_hour += other.calls_per_hour;
        self.series = self.series.saturating_add(other.series);
    }
}

/// Reads the snapshot in the state file, for the inventories in it. Returns no snapshot and a warning if the file
/// does not exist or is not usable, and neither if `path` is `None`.
pub(super) fn read_snapshot(
    path: Option<&Path>,
    plan: &Plan,
    now: Timestamp,
) -> (Option<Snapshot>, Option<String>) {
    let Some(path) = path else {
        return (None, None);
    };
    match state::read(path) {
        Ok(Some(restored)) => (Some(restored.to_snapshot(plan, now)), None),
        Ok(None) => (
            None,
            Some(format!("{}: state file does not exist yet", path.display())),
        ),
        Err(error) => (None, Some(format!("{}: {error}", path.display()))),
    }
}

impl ConfigEstimate {
    /// Estimates the cost of every source. If the number of campaigns of an ad account is neither learned, nor in
    /// `snapshot` or the config, it is `assumed` (per ad account, from `--assume-campaigns`). `today` determines which windows
    /// cover only past days and are therefore polled less often.
    ///
    /// The sources of a business must be adjacent in `plan`, as `Plan::for_shard` returns them.
    pub(super) fn of(
        config: &Config,
        plan: &Plan,
        snapshot: Option<&Snapshot>,
        learned: &LearnedSources,
        assumed: usize,
        today: Date,
    ) -> Self {
        let unlisted = config.businesses.iter().filter(|business| {
            // A lookup replaces `ad_accounts: all` by the ad accounts.
            business.enabled
                && business.all_ad_accounts.is_some()
                && business.ad_accounts.is_empty()
        });
        let mut estimate = Self {
            sources: Vec::new(),
            unlisted: unlisted.map(|business| business.name.clone()).collect(),
            businesses: Vec::new(),
            total: RequestCost::default(),
            page_bytes: 0,
        };
        for (source_idx, source) in plan.sources.iter().enumerate() {
            let state = snapshot.and_then(|snapshot| snapshot.sources.get(source_idx));
            let learned = learned.get(&(source.business.clone(), source.name.clone()));
            let inventory = match learned {
                Some(learned) => Some(learned.inventory.as_ref()),
                None => state.and_then(|state| state.inventory.as_deref()),
            };
            let configured = match &source.kind {
                SourceKind::Campaign(_) => Some(1),
                SourceKind::AdAccount {
                    campaign_allowlist, ..
                } => Some(campaign_allowlist.len()).filter(|count| *count > 0),
            };
            let size = match inventory {
                Some(inventory) => SourceSize::of(source, inventory),
                None => SourceSize::assumed(source, assumed),
            };
            let mode = match learned {
                Some(learned) => learned.mode,
                None => state.and_then(|state| state.query_mode),
            };
            let CostEstimate {
                calls_per_hour,
                series,
            } = source.estimate(today, config.polling.discovery_interval, size, mode);
            let excluded = excluded_series(source, size);
            let series = state
                .and_then(exported_series)
                .unwrap_or_else(|| series.saturating_sub(excluded));
            let cost = RequestCost {
                calls_per_hour,
                series,
            };
            estimate.total.add(cost);
            // Sources of a business are adjacent, so that it can only be the last one.
            match estimate.businesses.last_mut() {
                Some((name, sum)) if *name == source.business => sum.add(cost),
                _ => estimate.businesses.push((source.business.clone(), cost)),
            }
            estimate.sources.push(SourceCost {
                business: source.business.clone(),
                name: source.name.clone(),
                app: config
                    .businesses
                    .iter()
                    .find(|business| business.name == *source.business)
                    .and_then(|business| Some(business.app.as_ref()?.id.clone())),
                account: match &source.kind {
                    SourceKind::AdAccount { id, .. } => Some(id.clone()),
                    SourceKind::Campaign(_) => {
                        inventory.map(|inventory| inventory.account.id.clone())
                    }
                },
                campaigns: size.campaigns,
                is_known: inventory.is_some() || configured.is_some(),
                cost,
            });
        }
        estimate.apply_series_limits(config);
        estimate.page_bytes = estimate.total.series.saturating_mul(BYTES_PER_SERIES);
        estimate
    }

    /// Limits the series of each business to its `max_series`.
    fn apply_series_limits(&mut self, config: &Config) {
        for (name, cost) in &mut self.businesses {
            let business = config
                .businesses
                .iter()
                .find(|business| business.name == **name);
            let max_series = business.and_then(|business| business.max_series);
            cost.series = cost.series.min(max_series.unwrap_or(usize::MAX));
        }
        self.total.series = self.businesses.iter().map(|(_, cost)| cost.series).sum();
    }

    /// Returns the requests per hour that use the same quota: those for one ad account with one app. The campaign
    /// sources of a business of which the ad account is not known are taken as those of one ad account.
    pub(super) fn quota_groups(&self) -> Vec<QuotaGroup<'_>> {
        let mut groups: BTreeMap<(&str, Option<&AccountId>), QuotaGroup<'_>> = BTreeMap::new();
        for source in &self.sources {
            let account = source.account.as_ref();
            // An ad account without a configured app, or an unknown ad account, is not known to be shared.
            let owner = match (&source.app, account) {
                (Some(app), Some(_)) => app.as_str(),
                _ => &source.business,
            };
            let group = groups.entry((owner, account)).or_insert(QuotaGroup {
                business: &source.business,
                account,
                sources: Vec::new(),
                calls_per_hour: 0.0,
            });
            group.sources.push(&source.name);
            group.calls_per_hour += source.cost.calls_per_hour;
        }
        groups.into_values().collect()
    }
}

/// Sources that use the quota of one ad account.
pub(super) struct QuotaGroup<'a> {
    /// Business of the first source.
    pub(super) business: &'a str,
    /// The ad account; `None` if it is not known.
    pub(super) account: Option<&'a AccountId>,
    /// Names of the sources.
    pub(super) sources: Vec<&'a str>,
    /// Sum of the sources.
    pub(super) calls_per_hour: f64,
}

/// Returns the estimated series of a source that `metrics.exclude` leaves out.
fn excluded_series(source: &Source, size: SourceSize) -> usize {
    let limits = &source.export_limits;
    let is_excluded = |name: &str| !limits.is_exported(&format!("{PREFIX}{name}"));
    let windows = source.windows.len();
    let rows = size.rows * windows;
    let mut series = 0;
    for family in FAMILIES.iter().filter(|family| is_excluded(family.name)) {
        series += match family.source {
            SampleSource::Row(RowSample::Action(_) | RowSample::ActionMoney(_))
                if !source.conversions =>
            {
                0
            }
            SampleSource::Row(RowSample::Action(_)) if family.name == "conversions" => {
                rows * source.columns.action_types.len()
            }
            SampleSource::Row(RowSample::Threshold(limit)) => {
                let windows = source.windows.iter();
                let limits =
                    windows.filter_map(|window| source.thresholds.for_window(&window.name));
                size.rows * limits.filter_map(limit).count()
            }
            SampleSource::Row(_) => rows,
            SampleSource::Campaign(CampaignSample::Info | CampaignSample::Time(_)) => {
                size.campaigns
            }
            SampleSource::Poll(PollSample::Window(_)) => windows,
            SampleSource::Poll(PollSample::Queries) => {
                windows * (1 + usize::from(source.conversions))
            }
            _ => 0,
        };
    }
    let extra = source.columns.extra.iter();
    series + rows * extra.filter(|field| is_excluded(&field.metric)).count()
}

/// Returns the number of series that a source exports now; `None` if a window has no values yet.
fn exported_series(state: &Arc<SourceState>) -> Option<usize> {
    let mut windows = state.windows.iter();
    if state.inventory.is_none() || windows.any(|window| window.delivery.is_none()) {
        return None;
    }
    let snapshot = Snapshot {
        sources: vec![Arc::clone(state)],
    };
    let series = write_campaign_page(&snapshot, &mut std::io::sink()).ok()?;
    usize::try_from(series).ok()
}
