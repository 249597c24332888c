//! A window: when it is polled, and how long it is believed.

use std::time::Duration;

use jiff::civil::Date;

use crate::row::Dates;

/// Meta restates numbers for 28 days; after that a window is history.
/// Source: Meta's best practices for insights.
pub const RESTATED_DAYS: i64 = 28;

/// How often a window that is history is asked all the same.
const DAILY: Duration = Duration::from_secs(24 * 60 * 60);

/// A named date range of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The `window` label.
    pub name: Box<str>,
    /// Its days.
    pub dates: Dates,
    /// How often it is polled while its numbers still move.
    interval: Duration,
    /// The config's `stale_after`.
    stale_after: Duration,
}

impl Window {
    /// A window that is polled every `interval` while its numbers still move, and believed for
    /// `stale_after`, or longer where it is asked seldom.
    pub fn new(name: &str, dates: Dates, interval: Duration, stale_after: Duration) -> Self {
        Self {
            name: name.into(),
            dates,
            interval,
            stale_after,
        }
    }

    /// How often the window is polled, seen from `today`.
    pub fn interval(&self, today: Date) -> Duration {
        if self.is_history(today) {
            self.interval.max(DAILY)
        } else {
            self.interval
        }
    }

    /// How long its values are believed without a successful poll: never less than two intervals.
    pub fn stale_after(&self, today: Date) -> Duration {
        self.stale_after.max(2 * self.interval(today))
    }

    /// Whether Meta no longer restates it.
    fn is_history(&self, today: Date) -> bool {
        match self.dates {
            Dates::Range { until, .. } => until
                .until(today)
                .is_ok_and(|gone| i64::from(gone.get_days()) > RESTATED_DAYS),
            Dates::Preset(_) | Dates::Unsent => false,
        }
    }
}
