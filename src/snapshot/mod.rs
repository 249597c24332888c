//! What is known now, and how old it is.
//!
//! A snapshot is never changed, only replaced: readers hold it as long as they like. `advance`
//! makes the next one out of what a poll heard, `adopt` out of one that another plan or process
//! left, and `shown` says which numbers are true enough to be put on a page. Nothing here asks, waits, or reads a clock.

mod adopt;
mod advance;
mod shown;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::fault::Fault;
use crate::listing::Listing;
use crate::plan::{Plan, Source};
use crate::row::Row;

pub use self::advance::{Heard, Polled};
pub use self::shown::{Rows, Said, Shown, Told, shown};

/// Everything that is known at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Every source, in the plan's order.
    pub sources: Vec<Arc<Known>>,
}

/// What is known of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// What it is.
    pub source: Arc<Source>,
    /// What discovery found, once it did.
    pub listing: Option<Arc<Listing>>,
    /// Its windows, in the source's order.
    pub windows: Vec<WindowKnown>,
    /// Until when its polls are held off; `None` where they are not.
    pub held_until: Option<Timestamp>,
    /// Whether an ad account source of the same business, of whichever shard, shows this campaign
    /// already.
    pub gives_way: bool,
}

/// What is known of one window of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowKnown {
    /// The last answer to the delivery query that is not yet stale.
    pub delivery: Option<Arc<Answer>>,
    /// The last answer to the conversions query that is not yet stale.
    pub conversions: Option<Arc<Answer>>,
    /// Whether it was polled at all, or restored.
    pub tried: bool,
    /// Whether its last poll succeeded.
    pub up: bool,
    /// When a poll last succeeded.
    pub last_success: Option<Timestamp>,
    /// How long the last poll took.
    pub last_duration: Option<Duration>,
    /// When it will be polled next.
    pub next_poll: Option<Timestamp>,
    /// The limit in force on the age of its values.
    pub stale_after: Duration,
    /// What went wrong in the last poll; `None` after one that succeeded.
    pub fault: Option<Fault>,
}

/// The rows that answered one query.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// When the answer was complete.
    pub at: Timestamp,
    /// Its rows, by key.
    pub rows: Vec<Row>,
    /// The keys of rows that came and were not believed: nothing is said of them, not even zero.
    pub withheld: BTreeSet<Box<str>>,
}

impl Snapshot {
    /// Nothing known yet of anything in the plan.
    pub fn unknown(plan: &Plan, now: Timestamp) -> Self {
        let sources = plan.sources.iter();
        Self {
            sources: sources
                .map(|source| Arc::new(Known::unknown(Arc::clone(source), now)))
                .collect(),
        }
    }

    /// Every window, as its source and its place there.
    pub fn windows(&self) -> impl Iterator<Item = (&Known, usize)> {
        let sources = self.sources.iter().map(AsRef::as_ref);
        sources.flat_map(|known: &Known| (0..known.windows.len()).map(move |place| (known, place)))
    }

    /// Whether every window of every source was polled or restored.
    pub fn is_ready(&self) -> bool {
        self.sources.iter().all(|known| known.is_tried())
    }
}

impl Known {
    /// Nothing known yet.
    pub fn unknown(source: Arc<Source>, now: Timestamp) -> Self {
        let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
        let windows = source.windows.iter().map(|window| WindowKnown {
            delivery: None,
            conversions: None,
            tried: false,
            up: false,
            last_success: None,
            last_duration: None,
            next_poll: None,
            stale_after: window.stale_after(today),
            fault: None,
        });
        Self {
            windows: windows.collect(),
            source,
            listing: None,
            held_until: None,
            gives_way: false,
        }
    }

    /// Whether every window was polled or restored.
    pub fn is_tried(&self) -> bool {
        self.windows.iter().all(|window| window.tried)
    }
}

impl Answer {
    /// The row of that key.
    pub fn row(&self, key: &str) -> Option<&Row> {
        let found = self
            .rows
            .binary_search_by(|row| row.identity.key().cmp(key));
        found.ok().map(|at| &self.rows[at])
    }
}
