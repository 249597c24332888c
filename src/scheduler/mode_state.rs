//! What polls of a source learned about the API: the mode of its queries and the size of its pages.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::graph::StatusFilter;
use crate::plan::{QueryMode, ROWS_PER_PAGE};

/// Time after which the first mode is tried again.
const RETRY_FIRST_MODE_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Good polls after which a reduced page size is doubled.
const GOOD_POLLS_TO_DOUBLE: u32 = 8;

/// Rows per request of a window. Halved when a result is too large, doubled after eight good polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageSize {
    pub(super) rows: usize,
    /// Good polls since the last change.
    good_polls: u32,
    /// Whether the reduction followed an error that can also mean an outage.
    is_doubtful: bool,
}

impl PageSize {
    /// Returns the size after a result that was too large.
    pub(super) fn reduced_to(rows: usize) -> Self {
        Self {
            rows: rows.clamp(1, ROWS_PER_PAGE),
            good_polls: 0,
            is_doubtful: false,
        }
    }

    /// Returns the size after an error that can also mean an outage. It doubles with each good poll.
    pub(super) fn doubtful(rows: usize) -> Self {
        Self {
            is_doubtful: true,
            ..Self::reduced_to(rows)
        }
    }

    /// Counts a good poll.
    pub(super) fn record_success(&mut self) {
        self.good_polls += 1;
        if self.rows >= ROWS_PER_PAGE {
            self.good_polls = 0;
        } else if self.is_doubtful {
            *self = Self::doubtful(self.rows.saturating_mul(2));
        } else if self.good_polls >= GOOD_POLLS_TO_DOUBLE {
            *self = Self::reduced_to(self.rows.saturating_mul(2));
        }
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self {
            rows: ROWS_PER_PAGE,
            good_polls: 0,
            is_doubtful: false,
        }
    }
}

/// Time after which queries that were split by campaigns are tried whole again.
const RETRY_WHOLE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Polls after which campaigns with actions that could not be retrieved are requested again; doubles with each attempt in
/// vain. Such refusals also come in waves, for small queries too.
const POLLS_TO_RETRY_HEAVY: u32 = 8;

/// Maximum number of polls between two attempts: a day at the default interval of `today`.
const MAX_POLLS_TO_RETRY_HEAVY: u32 = 96;

/// How queries that are too large at every page size are split.
#[derive(Clone, Debug, Default)]
pub(super) struct QuerySplits {
    /// Campaigns per query; `None` if queries are not split.
    pub(super) campaigns_per_query: Option<usize>,
    /// Ids of campaigns with actions that cannot be retrieved even in a separate query.
    pub(super) too_heavy: BTreeSet<Box<str>>,
    /// Campaigns that were too heavy and are requested again by the running poll, each with a separate query.
    pub(super) retried: BTreeSet<Box<str>>,
    /// Remaining polls until those in `too_heavy` are requested again.
    polls_to_retry: u32,
    /// Attempts in vain to request them again.
    failed_retries: u32,
    /// When queries are tried whole again; `None` while they are.
    retry_at: Option<Instant>,
}

impl QuerySplits {
    /// Returns the splits of before a restart, with the time at which queries are tried whole again.
    pub(super) fn restored(
        campaigns_per_query: Option<usize>,
        too_heavy: BTreeSet<Box<str>>,
        retry_at: Option<Instant>,
    ) -> Self {
        let is_split = campaigns_per_query.is_some() || !too_heavy.is_empty();
        // The stored time may be wrong.
        let latest = Instant::now() + RETRY_WHOLE_AFTER;
        Self {
            campaigns_per_query,
            too_heavy,
            polls_to_retry: POLLS_TO_RETRY_HEAVY,
            retry_at: is_split.then(|| retry_at.map_or(latest, |at| at.min(latest))),
            ..Self::default()
        }
    }

    /// Returns when queries are tried whole again; `None` while they are.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Records that a query succeeds with this number of campaigns only.
    pub(super) fn record_split(&mut self, campaigns: usize) {
        let before = self.campaigns_per_query.unwrap_or(usize::MAX);
        self.campaigns_per_query = Some(campaigns.max(1).min(before));
        self.retry_at = Some(Instant::now() + RETRY_WHOLE_AFTER);
    }

    /// Whether the actions of some campaigns are requested separately or not at all.
    pub(super) fn has_heavy(&self) -> bool {
        !self.too_heavy.is_empty() || !self.retried.is_empty()
    }

    /// Counts a poll that begins. Selects the campaigns that it requests again.
    pub(super) fn begin_poll(&mut self) {
        self.retried.clear();
        if self.too_heavy.is_empty() {
            self.failed_retries = 0;
            return;
        }
        self.polls_to_retry = self.polls_to_retry.saturating_sub(1);
        if self.polls_to_retry == 0 {
            self.retried = std::mem::take(&mut self.too_heavy);
            self.failed_retries = self.failed_retries.saturating_add(1);
        }
    }

    /// Records a campaign with actions that cannot be retrieved.
    pub(super) fn record_too_heavy(&mut self, campaign_id: &str) {
        if self.polls_to_retry == 0 {
            let polls = POLLS_TO_RETRY_HEAVY << self.failed_retries.min(8);
            self.polls_to_retry = polls.min(MAX_POLLS_TO_RETRY_HEAVY);
        }
        self.too_heavy.insert(campaign_id.into());
        self.retry_at = Some(Instant::now() + RETRY_WHOLE_AFTER);
    }
}

/// Mode of the queries of a source, and what led to it.
#[derive(Clone, Debug)]
pub(super) struct ModeState {
    mode: QueryMode,
    /// Whether the API accepted the mode.
    is_confirmed: bool,
    /// When the first mode is tried again; `None` while it is in use.
    retry_at: Option<Instant>,
    /// Whether ranges without rows were requested again, with the same result.
    pub(super) ranges_verified: bool,
    /// Keys of rows that have other dates than requested in every mode.
    undated: BTreeSet<Box<str>>,
    /// Whether every mode was refused since the last success.
    is_refused: bool,
    /// Consecutive polls that failed because the API is not available.
    outages: u32,
    pub(super) splits: QuerySplits,
    /// Filter by status.
    pub(super) statuses: StatusFilter,
}

impl ModeState {
    /// Creates the state of a source with the mode of before a restart, if it is known, the time at which the first
    /// mode is tried again, and the splits.
    pub(super) fn restored(
        mode: Option<QueryMode>,
        retry_at: Option<Instant>,
        splits: QuerySplits,
    ) -> Self {
        let mut state = Self {
            splits,
            ..Self::default()
        };
        if let Some(mode) = mode {
            state.accept(mode);
            state.retry_at = state.retry_at.min(retry_at).or(state.retry_at);
        }
        state
    }

    /// Returns when the first mode is tried again; `None` while it is in use.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Returns the mode if the API accepted it.
    pub(super) fn confirmed(&self) -> Option<QueryMode> {
        self.is_confirmed.then_some(self.mode)
    }

    /// Returns the mode in which a poll begins.
    pub(super) fn begin(&mut self, now: Instant) -> QueryMode {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.reset();
        }
        if self.splits.retry_at.is_some_and(|at| at <= now) {
            self.splits = QuerySplits::default();
        }
        self.mode
    }

    /// Forgets what was learned, so that the next poll begins in the first mode.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether a poll may continue in another mode after a refusal. After every mode was refused, only one is tried.
    pub(super) fn should_adapt(&self) -> bool {
        !self.is_refused
    }

    /// Records that every mode was refused.
    pub(super) fn record_refusal(&mut self) {
        self.is_refused = true;
    }

    /// Records a poll that succeeded in this mode.
    pub(super) fn accept(&mut self, mode: QueryMode) {
        if mode != self.mode || !self.is_confirmed {
            self.retry_at =
                (mode != QueryMode::FIRST).then(|| Instant::now() + RETRY_FIRST_MODE_AFTER);
        }
        self.mode = mode;
        self.is_confirmed = true;
        self.is_refused = false;
        self.outages = 0;
    }

    /// Whether the queries are tried separately after the joined one failed: in the first poll of an outage, and then
    /// less and less often.
    pub(super) fn should_try_separately(&self) -> bool {
        (self.outages + 1).is_power_of_two()
    }

    /// Records a poll that failed because the API is not available.
    pub(super) fn record_outage(&mut self) {
        self.outages = self.outages.saturating_add(1).min(1 << 20);
    }

    /// Records rows that have other dates than requested in every mode.
    pub(super) fn ignore_dates_of(&mut self, keys: BTreeSet<Box<str>>) {
        self.undated.extend(keys);
    }

    /// Whether the row has other dates than requested in every mode.
    pub(super) fn ignores_dates(&self, key: &str) -> bool {
        self.undated.contains(key)
    }
}

impl Default for ModeState {
    fn default() -> Self {
        Self {
            mode: QueryMode::FIRST,
            is_confirmed: false,
            retry_at: None,
            ranges_verified: false,
            undated: BTreeSet::new(),
            is_refused: false,
            outages: 0,
            splits: QuerySplits::default(),
            statuses: StatusFilter::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GOOD_POLLS_TO_DOUBLE, PageSize, QuerySplits};
    use crate::plan::ROWS_PER_PAGE;

    #[test]
    fn too_heavy_campaign_is_requested_again_less_and_less_often() {
        let mut splits = QuerySplits::default();
        splits.record_too_heavy("7");
        let mut retries = Vec::new();
        for poll in 1..=300 {
            splits.begin_poll();
            if !splits.retried.is_empty() {
                assert!(splits.has_heavy() && splits.too_heavy.is_empty());
                retries.push(poll);
                splits.record_too_heavy("7");
            }
        }
        assert_eq!(retries, [8, 24, 56, 120, 216]);
        // Another campaign does not delay it, and an answer ends the counting.
        splits.record_too_heavy("8");
        splits.polls_to_retry = 1;
        splits.begin_poll();
        assert_eq!(splits.retried.len(), 2);
        splits.begin_poll();
        assert!(!splits.has_heavy());
        splits.record_too_heavy("7");
        (0..8).for_each(|_| splits.begin_poll());
        assert_eq!(splits.retried.len(), 1);
    }

    #[test]
    fn page_size_doubles_after_eight_good_polls() {
        let mut size = PageSize::reduced_to(125);
        for _ in 1..GOOD_POLLS_TO_DOUBLE {
            size.record_success();
        }
        assert_eq!(size.rows, 125);
        size.record_success();
        assert_eq!(size.rows, 250);
        for _ in 0..GOOD_POLLS_TO_DOUBLE * 3 {
            size.record_success();
        }
        assert_eq!(size.rows, ROWS_PER_PAGE);
        assert_eq!(PageSize::reduced_to(0).rows, 1);
    }

    #[test]
    fn doubtful_page_size_doubles_after_each_good_poll() {
        let mut size = PageSize::doubtful(125);
        size.record_success();
        assert_eq!(size.rows, 250);
        size.record_success();
        assert_eq!(size.rows, ROWS_PER_PAGE);
    }
}
