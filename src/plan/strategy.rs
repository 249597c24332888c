//! Chooses between an id filter and an unfiltered query where the number of rows is not known in
//! advance.
//!
//! An unfiltered query returns the rows of all campaigns of the ad account, but only of those with
//! activity in the window, on some days a handful out of thousands. A filtered query gives no
//! information about the others. Therefore some polls probe the unfiltered query, with a limit on
//! its requests, and [`ProbeHistory`] records the outcome.

use super::query_split::filtered_calls;
use super::{Query, QueryKind, Source};
use crate::model::{Inventory, Level};

/// Every Nth filtered poll probes the unfiltered query.
///
/// A poll has two filtered queries, and a probe costs no more requests than one of them (not
/// counting retries), so probes add at most 1 / (2 × 8), a sixteenth.
const PROBE_EVERY_N_POLLS: u32 = 8;

/// Outcome of earlier unfiltered queries of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeHistory {
    /// Requests of the last unfiltered query: the exact number after a success, one more than the
    /// limit after a failure; `None` before the first one.
    calls: Option<usize>,
    /// Polls since the last unfiltered success, modulo [`PROBE_EVERY_N_POLLS`].
    filtered_polls: u32,
}

/// Queries of one kind in the order in which they are tried.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryStrategy {
    /// Unfiltered query to try first; `None` to send only `queries`.
    pub probe: Option<UnfilteredProbe>,
    /// Queries to send without a probe, or after it failed.
    pub queries: Vec<Query>,
}

/// An unfiltered query that may need more requests than the filtered ones.
#[derive(Clone, Debug, PartialEq)]
pub struct UnfilteredProbe {
    /// The query without its id filter.
    pub query: Query,
    /// Maximum requests, after which the probe has failed.
    pub max_calls: usize,
}

impl ProbeHistory {
    /// Records an unfiltered delivery query that succeeded with this number of requests.
    pub fn record_success(&mut self, calls: usize) {
        *self = Self {
            calls: Some(calls),
            filtered_polls: 0,
        };
    }

    /// Records an unfiltered query that failed, or was not complete after this number of requests.
    pub fn record_failure(&mut self, calls: usize) {
        self.calls = Some(calls.saturating_add(1));
    }

    /// Records a poll that uses the id filter, also after a failed probe.
    ///
    /// Called at the start of a poll; [`record_success`](Self::record_success) resets the count.
    pub fn record_filtered(&mut self) {
        self.filtered_polls = (self.filtered_polls + 1) % PROBE_EVERY_N_POLLS;
    }

    /// Whether a query that needs `filtered_calls` requests with a filter is tried without one.
    ///
    /// Periodic probes use the delivery query, which is the first of a poll; the conversions query
    /// follows its outcome.
    fn should_probe(self, kind: QueryKind, filtered_calls: usize) -> bool {
        let was_cheaper = self.calls.is_some_and(|calls| calls <= filtered_calls);
        let is_nth_poll = self.filtered_polls + 1 == PROBE_EVERY_N_POLLS;
        was_cheaper || (kind.has_delivery() && is_nth_poll)
    }
}

impl Source {
    /// Adds a probe to the queries of one kind where the unfiltered query may be cheaper. `rows_per_object` is the
    /// number of ranges that are queried together.
    pub fn strategy(
        &self,
        queries: Vec<Query>,
        kind: QueryKind,
        inventory: Option<&Inventory>,
        rows_per_object: usize,
        history: ProbeHistory,
    ) -> QueryStrategy {
        let filtered_ids = queries.iter().map(|query| query.campaigns.len()).sum();
        let calls = filtered_calls(filtered_ids, inventory, rows_per_object);
        // A single request cannot be improved, and the row of an ad account is the sum over its
        // filter.
        let is_probe_useful = filtered_ids > 0 && calls > 1 && self.level != Level::Account;
        let probed_query = queries
            .first()
            .filter(|_| is_probe_useful && history.should_probe(kind, calls));
        let probe = probed_query.map(|query| UnfilteredProbe {
            query: Query {
                campaigns: Vec::new(),
                ..query.clone()
            },
            max_calls: calls,
        });
        QueryStrategy { probe, queries }
    }
}
