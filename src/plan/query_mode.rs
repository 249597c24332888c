//! How the queries of an ad account are sent: dates and kinds of queries that the API accepts.
//!
//! The first mode needs the fewest requests. After a refusal the next one is tried, down to the two queries per window
//! that Meta's page on measuring marketing messages shows.

use serde::{Deserialize, Serialize};

/// How the dates of windows are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DateMode {
    /// One request for all windows, with `time_ranges`.
    TimeRanges,
    /// One request per window, with `time_range`.
    TimeRange,
    /// One request per window, with `date_preset` if the window is one.
    DatePreset,
}

/// How the queries of an ad account are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryMode {
    /// How dates are sent.
    pub dates: DateMode,
    /// Whether one query has the fields of delivery and of conversions.
    pub joined: bool,
}

impl QueryMode {
    /// The mode with the fewest requests, tried first.
    pub const FIRST: Self = Self {
        dates: DateMode::TimeRanges,
        joined: true,
    };

    /// Two queries per window, as Meta's page shows them.
    pub const SEPARATE: Self = Self {
        dates: DateMode::DatePreset,
        joined: false,
    };

    /// All modes.
    pub const ALL: [Self; 6] = [
        Self::FIRST,
        Self {
            dates: DateMode::TimeRange,
            joined: true,
        },
        Self {
            dates: DateMode::DatePreset,
            joined: true,
        },
        Self {
            dates: DateMode::TimeRanges,
            joined: false,
        },
        Self {
            dates: DateMode::TimeRange,
            joined: false,
        },
        Self::SEPARATE,
    ];

    /// Returns the value of the label `mode`.
    pub fn as_str(self) -> &'static str {
        match (self.joined, self.dates) {
            (true, DateMode::TimeRanges) => "joined_time_ranges",
            (true, DateMode::TimeRange) => "joined_time_range",
            (true, DateMode::DatePreset) => "joined_date_preset",
            (false, DateMode::TimeRanges) => "separate_time_ranges",
            (false, DateMode::TimeRange) => "separate_time_range",
            (false, DateMode::DatePreset) => "separate_date_preset",
        }
    }

    /// Returns the mode with dates that fewer versions of the API refuse; `None` if there is none.
    #[must_use]
    pub fn with_simpler_dates(self) -> Option<Self> {
        let dates = match self.dates {
            DateMode::TimeRanges => DateMode::TimeRange,
            DateMode::TimeRange => DateMode::DatePreset,
            DateMode::DatePreset => return None,
        };
        Some(Self { dates, ..self })
    }

    /// Returns the mode with a query for delivery and one for conversions; `None` if it has them already.
    #[must_use]
    pub fn with_separate_queries(self) -> Option<Self> {
        self.joined.then_some(Self {
            joined: false,
            ..self
        })
    }
}
