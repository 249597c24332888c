//! Estimates the requests and series of a source from its config and its size.

use std::time::Duration;

use jiff::civil::Date;

use super::query_split::{MAX_IDS_PER_FILTER, ROWS_PER_PAGE};
use super::{DateMode, QueryMode, Source, SourceKind};
use crate::config::{QuestionMode, ThresholdSet};
use crate::model::{InsightField, Inventory, Level};

/// Series per row with conversions in addition to one per action type, if every row has a purchase:
/// `conversion_value` and `website_purchase_roas`.
const PURCHASE_SERIES: usize = 2;

/// Series per row: start and end of the window.
const DATE_SERIES: usize = 2;

/// Series per campaign: `campaign_info`, a budget, start and end.
const CAMPAIGN_SERIES: usize = 4;

/// Series per source and window: `up`, last successes, duration, interval and times of polls, page size.
const WINDOW_SERIES: usize = 9;

/// Campaigns per page of the request that lists them together with the properties of the ad account.
const CAMPAIGNS_PER_LISTING: usize = 200;

/// Time between two requests of the spend of a whole ad account.
pub const ACCOUNT_SPEND_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Assumed ad sets per campaign, and ads per ad set, if an inventory has not shown them.
pub const ASSUMED_CHILDREN: usize = 2;

/// Estimated cost of a source, without requests to the API.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CostEstimate {
    /// Requests per hour to the API.
    pub calls_per_hour: f64,
    /// Series on the metrics page, if every row has a purchase.
    pub series: usize,
}

/// Number of objects of a source, on which its cost depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceSize {
    /// Exported campaigns.
    pub campaigns: usize,
    /// Campaigns that discovery lists: exported, ordinary and archived ones.
    pub listed: usize,
    /// Rows of the exported campaigns per window.
    pub rows: usize,
    /// Rows per window of a query without a filter of campaigns.
    pub unfiltered_rows: usize,
}

impl SourceSize {
    /// Returns the size of a source in its inventory.
    pub fn of(source: &Source, inventory: &Inventory) -> Self {
        let campaigns = inventory.campaigns.len();
        let listed = campaigns + inventory.archived.len() + inventory.other_campaigns.len();
        Self {
            campaigns,
            listed,
            rows: match source.level {
                Level::Account => 1,
                _ => inventory.entities.len().max(campaigns),
            },
            unfiltered_rows: inventory.max_rows,
        }
    }

    /// Returns the size of a source with this number of exported campaigns, the same number of ordinary ones, and
    /// [`ASSUMED_CHILDREN`].
    pub fn assumed(source: &Source, campaigns: usize) -> Self {
        let (campaigns, listed) = match &source.kind {
            SourceKind::Campaign(_) => (1, 1),
            SourceKind::AdAccount {
                campaign_allowlist, ..
            } => match campaign_allowlist.len() {
                0 => (campaigns, 2 * campaigns),
                allowed => (allowed, 2 * campaigns.max(allowed)),
            },
        };
        let children = match source.level {
            Level::Account => return Self::of_account(campaigns, listed),
            Level::Campaign => 1,
            Level::Adset => ASSUMED_CHILDREN,
            Level::Ad => ASSUMED_CHILDREN * ASSUMED_CHILDREN,
        };
        Self {
            campaigns,
            listed,
            rows: campaigns * children,
            unfiltered_rows: listed * children,
        }
    }

    fn of_account(campaigns: usize, listed: usize) -> Self {
        Self {
            campaigns,
            listed,
            rows: 1,
            unfiltered_rows: 1,
        }
    }

    /// Returns the requests of one query of `ranges` windows, by the way that needs fewer.
    fn calls(self, ranges: usize) -> usize {
        let pages = |rows: usize| rows.saturating_mul(ranges).div_ceil(ROWS_PER_PAGE).max(1);
        let filtered = self.campaigns.div_ceil(MAX_IDS_PER_FILTER);
        filtered
            .max(pages(self.rows))
            .min(pages(self.unfiltered_rows))
    }
}

impl Source {
    /// Estimates the cost of a source of this size. `mode` is how its queries are sent; `None` if unknown, which means
    /// the mode with the fewest requests.
    pub fn estimate(
        &self,
        today: Date,
        discovery_interval: Duration,
        size: SourceSize,
        mode: Option<QueryMode>,
    ) -> CostEstimate {
        let mode = match self.questions {
            QuestionMode::Separate => QueryMode::SEPARATE,
            QuestionMode::Auto => mode.unwrap_or(QueryMode::FIRST),
        };
        CostEstimate {
            calls_per_hour: self.estimated_calls(today, discovery_interval, size, mode),
            series: self.estimated_series(size),
        }
    }

    fn estimated_calls(
        &self,
        today: Date,
        discovery_interval: Duration,
        size: SourceSize,
        mode: QueryMode,
    ) -> f64 {
        let listings = size.listed.div_ceil(CAMPAIGNS_PER_LISTING).max(1);
        let mut calls_per_hour = hourly_rate(listings, discovery_interval);
        if self.exports_account_spend() {
            calls_per_hour += hourly_rate(1, ACCOUNT_SPEND_INTERVAL);
        }
        let size = match (&self.kind, self.level) {
            (SourceKind::Campaign(_), Level::Campaign) | (_, Level::Account) => {
                SourceSize::of_account(1, 1)
            }
            _ => size,
        };
        let queries = self.query_kinds_in(mode).len();
        let (together, apart): (Vec<_>, Vec<_>) = self.windows.iter().partition(|window| {
            mode.dates == DateMode::TimeRanges && window.dates_on(today).is_some()
        });
        for window in apart {
            calls_per_hour += hourly_rate(queries * size.calls(1), window.interval(today));
        }
        // Each request has all windows that are due: the most frequent ones, and sometimes others too.
        let mut intervals: Vec<Duration> = together
            .into_iter()
            .map(|window| window.interval(today))
            .collect();
        intervals.sort_unstable();
        let mut calls_before = 0;
        for (window_idx, interval) in intervals.into_iter().enumerate() {
            let calls = queries * size.calls(window_idx + 1);
            calls_per_hour += hourly_rate(calls - calls_before, interval);
            calls_before = calls;
        }
        calls_per_hour
    }

    fn estimated_series(&self, size: SourceSize) -> usize {
        let conversion_series = if self.conversions {
            self.columns.action_types.len() + PURCHASE_SERIES
        } else {
            0
        };
        let row_series =
            InsightField::ALL.len() + self.columns.extra.len() + conversion_series + DATE_SERIES;
        let thresholds: usize = self
            .windows
            .iter()
            .filter_map(|window| self.thresholds.for_window(&window.name))
            .map(ThresholdSet::count)
            .sum();
        size.rows * (self.windows.len() * row_series + thresholds)
            + size.campaigns * CAMPAIGN_SERIES
            + self.windows.len() * WINDOW_SERIES
    }
}

fn hourly_rate(calls: usize, interval: Duration) -> f64 {
    let calls = u32::try_from(calls).unwrap_or(u32::MAX);
    f64::from(calls) * 3600.0 / interval.as_secs_f64().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::SourceSize;

    #[test]
    fn queries_use_the_way_with_fewer_requests() {
        let size = |campaigns, listed| SourceSize {
            campaigns,
            listed,
            rows: campaigns,
            unfiltered_rows: listed,
        };
        for (size, ranges, calls) in [
            (size(3, 3), 1, 1),
            (size(400, 5400), 1, 4),
            (size(400, 5400), 2, 4),
            (size(400, 400), 1, 1),
            (size(400, 400), 2, 2),
            (size(1000, 1200), 2, 5),
            // The rows of the filtered campaigns do not fit in one page.
            (size(450, 9000), 8, 8),
        ] {
            assert_eq!(size.calls(ranges), calls, "{size:?}, {ranges} windows");
        }
    }
}
