//! What the plan costs and yields, from the config alone.

use std::time::Duration;

use jiff::civil::Date;

use super::{PAGE_SIZE, Source, Subject};
use crate::row::{Level, Scalar};

/// What a source costs and yields, as far as can be told without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Calls to the API.
    pub calls_an_hour: f64,
    /// Series on the page, with a purchase in every row.
    pub series: usize,
}

impl Source {
    /// The estimate for a source with that many message campaigns and no others.
    pub fn estimate(
        &self,
        today: Date,
        discovery_interval: Duration,
        campaigns: usize,
    ) -> Estimate {
        let rows = match &self.subject {
            _ if self.level == Level::Account => 1,
            Subject::Campaign(_) => 1,
            Subject::AdAccount { only, .. } if only.is_empty() => campaigns,
            Subject::AdAccount { only, .. } => only.len(),
        };
        let pages = rows.div_ceil(PAGE_SIZE).max(1);
        // The account, its campaigns and its ad sets.
        let mut calls_an_hour = an_hour(1 + 2 * pages, discovery_interval);
        for window in &self.windows {
            calls_an_hour += an_hour(self.questions().len() * pages, window.interval(today));
        }
        let actions = if self.conversions {
            self.columns.action_types.len() + 2
        } else {
            0
        };
        let bounds = 2;
        let a_row = Scalar::ALL.len() + self.columns.extra.len() + actions + bounds;
        let a_campaign = 3;
        Estimate {
            calls_an_hour,
            series: rows * (self.windows.len() * a_row + a_campaign),
        }
    }
}

fn an_hour(calls: usize, interval: Duration) -> f64 {
    let calls = u32::try_from(calls).unwrap_or(u32::MAX);
    f64::from(calls) * 3600.0 / interval.as_secs_f64().max(f64::MIN_POSITIVE)
}
