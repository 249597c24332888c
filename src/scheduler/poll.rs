//! One poll of the due windows of a source: discovery if it is due, then the queries.
//!
//! Neither [`PollJob`] nor [`PollOutcome`] shares state with the scheduler: a job owns its input, and the scheduler
//! applies the outcome when the poll has ended. `query_plan` groups the windows into requests, `mode_state` remembers
//! what the API accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::mode_state::{ModeState, PageSize, QuerySplits};
use super::query_plan::{GroupWindow, WindowGroup, window_groups};
use crate::config::QuestionMode;
use crate::graph::{
    ApiError, DiscoveryInput, ErrorKind, ExceededLimit, InvalidParts, QueryAdaptation, Session,
    discover, fetch, fetch_at_most,
};
use crate::model::ErrorReason;
use crate::model::{
    InsightField, Inventory, Level, MajorUnits, ObjectId, PollError, Row, RowValue, RowValues,
    WindowDates,
};
use crate::plan::{
    DateMode, DateSpan, MAX_IDS_PER_FILTER, ProbeHistory, Query, QueryKind, QueryMode,
    ROWS_PER_PAGE, Source, SourceKind, TargetNode, UnfilteredProbe,
};
use crate::platform::clock;
use crate::snapshot::{AccountSpend, PollResult, QueryResult};

/// Attempts of a query with rows of two days in its result, as around midnight, before it fails.
const MAX_MIXED_ATTEMPTS: usize = 2;

/// Reduction of the page size from which a query that takes too long is split by campaigns.
const HEAVY_REDUCTION: usize = 8;

/// Parts of a query that may fail in a row before the others are not sent.
const MAX_FAILED_PARTS: usize = 2;

/// Campaigns that the error of a query names.
const MAX_NAMED_CAMPAIGNS: usize = 5;

/// Splits in a row after errors that can also mean an outage.
const MAX_DOUBTFUL_SPLITS: u32 = 4;

/// Input of a poll.
#[derive(Clone, Debug)]
pub(super) struct PollJob {
    pub(super) source: Arc<Source>,
    /// Windows to poll, each once.
    pub(super) windows: Vec<WindowJob>,
    /// Inventory from the last discovery; `None` before the first one.
    pub(super) inventory: Option<Arc<Inventory>>,
    /// Whether to update the inventory first.
    pub(super) discover: bool,
    /// Whether the poll only probes an API that was unavailable: it ends with the first request that fails.
    pub(super) is_probe: bool,
    pub(super) discovery: DiscoveryMemory,
    /// Whether to request the spend of the whole ad account too.
    pub(super) account_spend: bool,
    pub(super) rejected_fields: Vec<String>,
    /// Campaigns that the last poll did not answer. They are requested first, so that polls that are stopped by a limit
    /// reach all campaigns in turn.
    pub(super) unanswered: BTreeSet<Box<str>>,
    pub(super) mode: ModeState,
}

/// What a discovery has to know of the previous ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DiscoveryMemory {
    /// Number of consecutive ones that failed, entirely or in part.
    pub(super) failures: u32,
    /// Whether the last one lost more than half of the campaigns, which a second list has to confirm.
    pub(super) is_loss_suspected: bool,
    /// Whether to begin with the first form of the requests.
    pub(super) retry_first_form: bool,
}

/// State of a window that a poll uses and updates.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowJob {
    pub(super) window_idx: usize,
    /// Results of earlier unfiltered queries of this window.
    pub(super) probe_history: ProbeHistory,
    pub(super) page_size: PageSize,
}

/// Result of a poll, and what it learned about the API.
#[derive(Debug)]
pub(super) struct PollOutcome {
    /// One result for each window of the job.
    pub(super) results: Vec<PollResult>,
    pub(super) inventory: Option<Arc<Inventory>>,
    /// Whether the poll began with a discovery.
    pub(super) has_discovered: bool,
    /// Error of a discovery that failed, entirely or in part.
    pub(super) discovery_error: Option<PollError>,
    /// Number of campaigns that are missing from a list that is not confirmed yet; 0 if the list is in use.
    pub(super) suspected_loss: usize,
    pub(super) rejected_fields: Vec<String>,
    /// Fields that were rejected before this poll.
    pub(super) omitted_fields: Vec<String>,
    pub(super) mode: ModeState,
    pub(super) windows: Vec<WindowJob>,
    /// Spend of the whole ad account by window index, without `attribution` and `valid_until`; `None` if it was not
    /// requested or the request failed.
    pub(super) account_spend: Option<Vec<(usize, AccountSpend)>>,
    /// Ids of campaigns that have rows but are missing from the inventory.
    pub(super) unlisted_campaigns: BTreeSet<Box<str>>,
    /// Values and rows that were dropped.
    pub(super) invalid: InvalidParts,
}

/// A poll that is running.
struct Poll<'a> {
    source: Arc<Source>,
    session: Session<'a>,
    inventory: Option<Arc<Inventory>>,
    adaptation: QueryAdaptation,
    splits: QuerySplits,
    windows: Vec<WindowJob>,
    /// Campaigns that are requested first.
    unanswered: BTreeSet<Box<str>>,
    results: BTreeMap<usize, PollResult>,
    /// First error after which all further requests would fail too.
    final_error: Option<ApiError>,
    unlisted_campaigns: BTreeSet<Box<str>>,
    invalid: InvalidParts,
    is_probe: bool,
}

/// Rows of one query, of all windows of a group.
#[derive(Debug, Default)]
struct GroupRows {
    rows: Vec<Row>,
    withheld: BTreeSet<Box<str>>,
    /// Keys of withheld rows with other dates than requested.
    other_dates: BTreeSet<Box<str>>,
    /// Those of `other_dates` that the age of their campaign does not explain.
    unexplained_dates: BTreeSet<Box<str>>,
    has_doubled_rows: bool,
    /// Ids of campaigns with actions that cannot be retrieved.
    too_heavy: BTreeSet<Box<str>>,
    /// Ids of campaigns that were not answered.
    unanswered: BTreeSet<Box<str>>,
    fetched_at: Option<Timestamp>,
}

/// Why a query has no complete result.
#[derive(Debug)]
struct QueryFailure {
    error: ApiError,
    /// Rows of the campaigns that were answered; `None` if none was.
    part: Option<Box<GroupRows>>,
}

impl From<ApiError> for QueryFailure {
    fn from(error: ApiError) -> Self {
        Self { error, part: None }
    }
}

/// Progress of a query that is sent in parts, each with the ids of some campaigns.
#[derive(Debug, Default)]
struct PartialResult {
    rows: GroupRows,
    is_answered: bool,
    unanswered: BTreeSet<Box<str>>,
    /// Error of the first part that failed.
    error: Option<ApiError>,
    /// Parts that failed in a row.
    failures: usize,
}

/// Why a poll continues in another mode.
#[derive(Debug)]
enum Objection {
    /// The API refused the query.
    Refused(ApiError),
    /// The result is too large at every page size.
    TooLarge(ApiError),
    /// The API fails for the joined query.
    Failing(ApiError),
    /// The API answered with other, doubled or missing ranges.
    OtherDates(BTreeSet<Box<str>>),
}

impl PollJob {
    /// Runs the poll. Errors are part of the outcome.
    pub(super) async fn run(self, session: Session<'_>) -> PollOutcome {
        let (start, started_at) = (Instant::now(), clock::now());
        let empty = |window: &WindowJob| {
            let window_idx = window.window_idx;
            (window_idx, PollResult::empty(window_idx, started_at))
        };
        let omitted_fields = self.rejected_fields.clone();
        let mut poll = Poll {
            source: Arc::clone(&self.source),
            session,
            inventory: self.inventory.clone(),
            adaptation: QueryAdaptation {
                rejected_fields: self.rejected_fields,
                ..QueryAdaptation::default()
            },
            splits: QuerySplits::default(),
            results: self.windows.iter().map(empty).collect(),
            windows: self.windows,
            unanswered: self.unanswered,
            final_error: None,
            unlisted_campaigns: BTreeSet::new(),
            invalid: InvalidParts::default(),
            is_probe: self.is_probe,
        };
        let (mut discovered, mut discovery_error, mut suspected_loss) = (None, None, 0);
        if self.discover {
            let previous = self.inventory.as_deref();
            let input = DiscoveryInput {
                source: &self.source,
                previous,
                // In an outage, the simpler requests are tried less and less often.
                has_failed: self.discovery.failures > 0
                    && (self.discovery.failures + 1).is_power_of_two(),
                retry_first_form: self.discovery.retry_first_form,
                archived_since: DiscoveryInput::first_day(&self.source, previous, started_at),
                now: started_at,
            };
            match discover(session, input, &mut poll.adaptation.rejected_fields).await {
                Ok(discovery) => {
                    let inventory = match previous {
                        Some(previous) if !self.discovery.is_loss_suspected => {
                            suspected_loss = sudden_loss(previous, &discovery.inventory);
                            if suspected_loss > 0 {
                                keep_campaigns(previous, discovery.inventory)
                            } else {
                                discovery.inventory
                            }
                        }
                        _ => discovery.inventory,
                    };
                    discovery_error = discovery.error.map(|error| error.error);
                    discovered = Some(Arc::new(inventory));
                    poll.inventory.clone_from(&discovered);
                }
                // The poll fails if no campaigns are known or if every query would fail too. Otherwise it uses the
                // previous inventory. A forbidden discovery does not end the poll: a token without access to the node
                // may have access to its insights. Discovery has separate limits.
                Err(error)
                    if (is_final(error.kind)
                        && error.kind != ErrorKind::Forbidden
                        && !is_limit_of_discovery(session, &error))
                        || self.source.campaigns(self.inventory.as_deref()).is_none() =>
                {
                    discovery_error = Some(error.error.clone());
                    poll.final_error = Some(error);
                }
                Err(error) => discovery_error = Some(error.error),
            }
        }
        let mut mode = self.mode;
        // Also forgets what is to be tried again.
        let _ = mode.begin(Instant::now());
        poll.splits = std::mem::take(&mut mode.splits);
        poll.adaptation.statuses = mode.statuses.for_next_poll();
        match self.source.questions {
            _ if poll.final_error.is_some() => {}
            QuestionMode::Auto => poll.run_adaptively(&mut mode).await,
            QuestionMode::Separate => {
                // Objections are final here, because no other mode is allowed.
                let objection = poll.run_mode(QueryMode::SEPARATE, &mut mode, true).await;
                if objection.is_none() && poll.has_answer() {
                    mode.accept(QueryMode::SEPARATE);
                }
            }
        }
        mode.splits = std::mem::take(&mut poll.splits);
        let account_spend = if self.account_spend && poll.final_error.is_none() && poll.has_answer()
        {
            let dates = mode.confirmed().unwrap_or(QueryMode::FIRST).dates;
            poll.fetch_account_spend(dates).await
        } else {
            None
        };
        mode.statuses = poll.adaptation.statuses;
        poll.fail_unanswered();
        let (finished_at, duration) = (clock::now(), start.elapsed());
        let results = poll.results.into_values().map(|result| PollResult {
            finished_at,
            duration,
            ..result
        });
        PollOutcome {
            results: results.collect(),
            inventory: discovered,
            has_discovered: self.discover,
            discovery_error,
            suspected_loss,
            rejected_fields: poll.adaptation.rejected_fields,
            omitted_fields,
            mode,
            windows: poll.windows,
            account_spend,
            unlisted_campaigns: poll.unlisted_campaigns,
            invalid: poll.invalid,
        }
    }
}

impl Poll<'_> {
    /// Polls in the first mode that the API accepts.
    async fn run_adaptively(&mut self, state: &mut ModeState) {
        let start = state.begin(Instant::now());
        let mut mode = start;
        let mut tried = vec![start];
        let mut suspects: BTreeSet<Box<str>> = BTreeSet::new();
        // Whether the mode that is found is used by later polls too.
        let mut is_lasting = true;
        let mut is_failing = false;
        let mut first_error: Option<ApiError> = None;
        loop {
            let is_last = self.is_probe || !state.should_adapt();
            let Some(objection) = self.run_mode(mode, state, is_last).await else {
                break;
            };
            let next = match &objection {
                Objection::OtherDates(keys) => {
                    suspects.extend(keys.iter().cloned());
                    mode.with_simpler_dates()
                }
                Objection::Refused(error) => {
                    // The start of one window is too long ago: only its own request fails.
                    is_lasting &= error.error.code != Some(3018);
                    next_after_refusal(start, mode, &tried, &error.error.message)
                }
                Objection::TooLarge(_) => next_lighter(start, &tried),
                Objection::Failing(_) => {
                    is_failing = true;
                    mode.with_separate_queries()
                }
            };
            let error = match objection {
                Objection::Refused(error)
                | Objection::TooLarge(error)
                | Objection::Failing(error) => Some(error),
                Objection::OtherDates(_) => None,
            };
            if let Some(error) = error {
                first_error.get_or_insert(error);
            }
            match next.filter(|next| !tried.contains(next)) {
                Some(next) => {
                    tried.push(next);
                    mode = next;
                }
                None if !suspects.is_empty() && first_error.is_none() => {
                    // These campaigns have other dates in every mode, so the first mode is as good as the last.
                    state.ignore_dates_of(std::mem::take(&mut suspects));
                    mode = start;
                    tried = QueryMode::ALL.to_vec();
                }
                None => {
                    // No mode is accepted. The error that is reported is that of the preferred one.
                    if let Some(error) = first_error {
                        state.record_refusal();
                        for result in self.results.values_mut().filter(|result| is_open(result)) {
                            result.delivery = QueryResult::failed(error.error.clone());
                        }
                    }
                    return;
                }
            }
        }
        if !self.has_answer() {
            return;
        }
        // Conversions that were answered separately mean that the joined query failed by chance.
        let conversions_failed = |result: &PollResult| {
            let conversions = result.conversions.as_ref();
            conversions.is_some_and(|result| result.error.is_some())
        };
        is_lasting &= !is_failing || self.results.values().any(conversions_failed);
        if mode == start || is_lasting {
            state.accept(mode);
        }
    }

    /// Requests the spend of the whole ad account in all windows; `None` if a request fails, which only delays it.
    async fn fetch_account_spend(&mut self, dates: DateMode) -> Option<Vec<(usize, AccountSpend)>> {
        let source = Arc::clone(&self.source);
        let account = self.inventory.as_ref().map(|inventory| &inventory.account);
        let timezone = account.and_then(|account| account.timezone.clone());
        let currency = account.and_then(|account| account.currency.clone());
        let window_idxs = 0..source.windows.len();
        let now = clock::now();
        let groups = window_groups(&source, window_idxs, dates, timezone.as_ref(), now);
        let mut totals = Vec::new();
        for group in groups {
            let expected = group.expected();
            let query = source.spend_query(group.dates, &group.ranges, &expected)?;
            let fetched = fetch(self.session, &query, &mut self.adaptation, |_| true).await;
            let fetched = match fetched {
                Ok(fetched) => fetched,
                Err(error) => {
                    tracing::debug!(
                        business = source.business.as_ref(),
                        source = source.name.as_ref(),
                        error = %error.error,
                        "request of the spend of the ad account failed"
                    );
                    return None;
                }
            };
            for window in &group.windows {
                let is_of_window = |row: &&Row| {
                    let dates = (row.start, row.stop);
                    window.accepted.is_empty() || window.accepted.contains(&dates)
                };
                let row = fetched.rows.iter().find(is_of_window);
                // Without a row, nothing was spent, unless a row was withheld.
                let spend = match row.map(|row| row.values.get(InsightField::Spend.column())) {
                    Some(RowValue::Present(spend)) => spend,
                    None if fetched.withheld.is_empty() => 0.0,
                    _ => continue,
                };
                let row_currency = row.and_then(|row| row.dimensions.currency.clone());
                let Some(currency) = row_currency.or_else(|| currency.clone()) else {
                    continue;
                };
                let total = AccountSpend {
                    spend: MajorUnits(spend),
                    currency,
                    attribution: None,
                    dates: row
                        .map(|row| (row.start, row.stop))
                        .or(window.accepted.first().copied()),
                    fetched_at: fetched.fetched_at.unwrap_or(now),
                    valid_until: None,
                };
                totals.push((window.window_idx, total));
            }
        }
        Some(totals)
    }

    /// Returns whether a query of any window succeeded.
    fn has_answer(&self) -> bool {
        let mut results = self.results.values();
        results.any(|result| result.delivery.rows.is_some())
    }

    /// Polls all windows that have no result yet. Stops at the first objection to the mode, unless `is_last`; then
    /// objections are errors.
    async fn run_mode(
        &mut self,
        mode: QueryMode,
        state: &mut ModeState,
        is_last: bool,
    ) -> Option<Objection> {
        let source = Arc::clone(&self.source);
        let timezone = self
            .inventory
            .as_ref()
            .and_then(|inventory| inventory.account.timezone.clone());
        let open: Vec<usize> = self
            .results
            .iter()
            .filter(|(_, result)| is_open(result))
            .map(|(window_idx, _)| *window_idx)
            .collect();
        let dates = match source.questions {
            QuestionMode::Auto => mode.dates,
            QuestionMode::Separate => DateMode::DatePreset,
        };
        let groups = window_groups(
            &source,
            open.into_iter(),
            dates,
            timezone.as_ref(),
            clock::now(),
        );
        for group in groups {
            let mut kinds = source.query_kinds_in(mode).to_vec();
            if kinds == [QueryKind::Joined] && self.queries(&group, QueryKind::Joined).is_none() {
                kinds = source.query_kinds().to_vec();
            }
            for kind in kinds {
                let fetched = match self.fetch_kind(&group, kind).await {
                    Ok(fetched) => fetched,
                    Err(failure)
                        if is_final(failure.error.kind)
                            || self.is_probe && failure.error.kind == ErrorKind::Unavailable =>
                    {
                        self.final_error.get_or_insert(failure.error.clone());
                        self.fail_group(&group, kind, failure);
                        return None;
                    }
                    Err(failure) => {
                        let error = &failure.error;
                        // Delivery, or a part of the query, was accepted in this mode, so the mode is not the cause.
                        // A campaign that is too heavy by itself needs a lighter mode although others were accepted.
                        let is_part_accepted =
                            failure.part.is_some() && error.kind != ErrorKind::TooLarge;
                        let is_accepted = kind == QueryKind::Conversions || is_part_accepted;
                        let objection = match error.kind {
                            _ if is_last || is_accepted => None,
                            ErrorKind::Rejected => Some(Objection::Refused(error.clone())),
                            ErrorKind::TooLarge => Some(Objection::TooLarge(error.clone())),
                            ErrorKind::Unavailable | ErrorKind::InvalidResponse
                                if kind == QueryKind::Joined
                                    && (error.error.code.is_some() || error.may_be_heavy())
                                    && state.should_try_separately() =>
                            {
                                Some(Objection::Failing(error.clone()))
                            }
                            _ => None,
                        };
                        if objection.is_some() {
                            return objection;
                        }
                        let is_outage = failure.part.is_none()
                            && kind.has_delivery()
                            && error.kind == ErrorKind::Unavailable;
                        self.fail_group(&group, kind, failure);
                        if is_outage {
                            state.record_outage();
                            if source.questions == QuestionMode::Auto {
                                break;
                            }
                        }
                        continue;
                    }
                };
                let Some(mut fetched) = fetched else { continue };
                fetched
                    .unexplained_dates
                    .retain(|key| !state.ignores_dates(key));
                let has_other_dates = !fetched.unexplained_dates.is_empty()
                    || (fetched.has_doubled_rows && group.ranges.len() > 1);
                if !is_last
                    && !group.ranges.is_empty()
                    && (has_other_dates
                        || self.is_range_missing(&group, kind, &fetched, state).await)
                {
                    return Some(Objection::OtherDates(fetched.unexplained_dates));
                }
                self.store(&group, kind, fetched);
            }
        }
        None
    }

    /// Returns whether the API left out one of several ranges. A range without rows is requested again once, because
    /// nothing may have happened in it.
    async fn is_range_missing(
        &mut self,
        group: &WindowGroup,
        kind: QueryKind,
        fetched: &GroupRows,
        state: &mut ModeState,
    ) -> bool {
        let has_rows = |range: &DateSpan| {
            let accepted = group
                .windows
                .iter()
                .find(|window| window.accepted.first() == Some(range));
            let accepted = accepted.map_or(&[][..], |window| &window.accepted);
            fetched
                .rows
                .iter()
                .any(|row| accepted.contains(&(row.start, row.stop)))
        };
        let (full, empty): (Vec<DateSpan>, Vec<DateSpan>) = group
            .ranges
            .iter()
            .copied()
            .partition(|range| has_rows(range));
        if group.ranges.len() < 2 || full.is_empty() {
            return false;
        }
        // Days with activity are part of a longer range too.
        let is_within =
            |inner: &DateSpan, outer: &DateSpan| outer.0 <= inner.0 && inner.1 <= outer.1;
        if empty
            .iter()
            .any(|outer| full.iter().any(|inner| is_within(inner, outer)))
        {
            return true;
        }
        if state.ranges_verified {
            return false;
        }
        for range in empty {
            let windows = group.windows.iter();
            let single = WindowGroup {
                windows: windows
                    .filter(|window| window.accepted.first() == Some(&range))
                    .cloned()
                    .collect(),
                dates: group.dates,
                ranges: vec![range],
            };
            match self.fetch_kind(&single, kind).await {
                Ok(Some(fetched)) if fetched.rows.is_empty() => {}
                Ok(Some(_)) => return true,
                Ok(None) | Err(_) => return false,
            }
        }
        state.ranges_verified = true;
        false
    }

    /// Returns the queries of one kind for a group; `None` if no query returns a correct result.
    fn queries(&self, group: &WindowGroup, kind: QueryKind) -> Option<Vec<Query>> {
        self.source.queries_for_ranges(
            group.dates,
            &group.ranges,
            &group.expected(),
            kind,
            self.inventory.as_deref(),
        )
    }

    /// Runs all queries of one kind and merges their rows. If one query fails, the rows of the others are part of the
    /// failure. A result with rows of two days is requested again.
    async fn fetch_kind(
        &mut self,
        group: &WindowGroup,
        kind: QueryKind,
    ) -> Result<Option<GroupRows>, QueryFailure> {
        let is_mixed = |fetched: &GroupRows| {
            let mut windows = group.windows.iter();
            windows.any(|window| has_mixed_dates(group, window, &fetched.rows))
        };
        for attempt in 1.. {
            let fetched = match self.fetch_group(group, kind).await {
                Ok(Some(fetched)) => fetched,
                Ok(None) => return Ok(None),
                Err(failure) => {
                    let part = failure.part.filter(|part| !is_mixed(part));
                    return Err(QueryFailure { part, ..failure });
                }
            };
            if !is_mixed(&fetched) {
                return Ok(Some(fetched));
            }
            if attempt == MAX_MIXED_ATTEMPTS {
                break;
            }
        }
        let message = "invalid rows: one window was answered with the rows of two days";
        Err(ApiError::invalid_response(message).into())
    }

    async fn fetch_group(
        &mut self,
        group: &WindowGroup,
        kind: QueryKind,
    ) -> Result<Option<GroupRows>, QueryFailure> {
        let Some(queries) = self.queries(group, kind) else {
            return Ok(None);
        };
        let of_group = |window: &&mut WindowJob| {
            let mut windows = group.windows.iter();
            windows.any(|other| other.window_idx == window.window_idx)
        };
        let page_size = self
            .windows
            .iter_mut()
            .filter(of_group)
            .map(|window| window.page_size.rows);
        self.adaptation.page_size = page_size.min().unwrap_or(self.adaptation.page_size);
        let page_size = self.adaptation.page_size;
        let history = self
            .windows
            .iter_mut()
            .find(of_group)
            .map(|window| window.probe_history);
        let mut history = history.unwrap_or_default();
        let rows_per_object = group.ranges.len().max(1);
        let inventory = self.inventory.clone();
        let source = Arc::clone(&self.source);
        let is_split = self.splits.campaigns_per_query.is_some()
            || kind == QueryKind::Conversions && !self.splits.too_heavy.is_empty();
        if is_split && source.level != Level::Account {
            return self.run_split(queries, kind, &mut history).await.map(Some);
        }
        let strategy = source.strategy(
            queries,
            kind,
            inventory.as_deref(),
            rows_per_object,
            history,
        );
        // Recorded before the probe, because the probe may end the poll.
        if kind.has_delivery() {
            history.record_filtered();
        }
        let mut result = None;
        if let Some(probe) = &strategy.probe {
            result = self.run_probe(probe, &mut history).await;
        }
        let mut result = match result {
            Some(result) => result.map_err(QueryFailure::from),
            None => self.run_queries(&strategy.queries, &mut history).await,
        };
        let is_too_large = |QueryFailure { error, part }: &QueryFailure| {
            let was_reduced = page_size <= ROWS_PER_PAGE / HEAVY_REDUCTION;
            error.kind == ErrorKind::TooLarge
                || error.may_be_heavy() && was_reduced && !self.is_probe && part.is_none()
        };
        let reduced_by = result.as_ref().err().map(|_| self.adaptation.page_size);
        if result.as_ref().is_err_and(is_too_large) {
            // Smaller pages did not help, so they are not kept.
            self.adaptation.page_size = page_size;
            if source.level != Level::Account {
                result = self.run_split(strategy.queries, kind, &mut history).await;
            }
        }
        let error = result.as_ref().err().map(|failure| &failure.error);
        let is_doubtful = error.is_some_and(ApiError::may_be_heavy);
        let is_over_limit = error.is_some_and(|error| {
            matches!(
                error.kind,
                ErrorKind::Throttled(ExceededLimit::Platform | ExceededLimit::App)
            )
        });
        if is_over_limit {
            // The limit of the insights platform depends on the size of requests.
            let rows = inventory.map_or(page_size, |inventory| inventory.max_rows);
            self.adaptation.page_size = page_size.min(rows.saturating_mul(rows_per_object)) / 2;
        } else if let (true, Some(rows)) = (is_doubtful, reduced_by) {
            self.adaptation.page_size = rows;
        }
        let reduced = (self.adaptation.page_size < page_size).then_some(self.adaptation.page_size);
        for window in self.windows.iter_mut().filter(of_group) {
            window.probe_history = history;
            match reduced {
                Some(rows) if is_doubtful => window.page_size = PageSize::doubtful(rows),
                Some(rows) => window.page_size = PageSize::reduced_to(rows),
                None if result.is_ok() && kind.has_delivery() => window.page_size.record_success(),
                None => {}
            }
        }
        result.map(Some)
    }

    /// Runs queries with fewer campaigns each, without smaller pages. A campaign with actions that cannot be retrieved
    /// even in a separate query loses only its conversions.
    async fn run_split(
        &mut self,
        queries: Vec<Query>,
        kind: QueryKind,
        history: &mut ProbeHistory,
    ) -> Result<GroupRows, QueryFailure> {
        let Some(template) = queries.first().cloned() else {
            return Ok(GroupRows::default());
        };
        let mut campaigns: Vec<ObjectId> = queries
            .iter()
            .flat_map(|query| query.campaigns.iter().cloned())
            .collect();
        if campaigns.is_empty() {
            campaigns = self
                .source
                .campaigns(self.inventory.as_deref())
                .unwrap_or_default();
        }
        let mut progress = PartialResult::default();
        if kind == QueryKind::Conversions {
            let too_heavy = &self.splits.too_heavy;
            campaigns.retain(|id| !too_heavy.contains(id.as_str()));
            progress.rows.too_heavy.clone_from(too_heavy);
        }
        let size = self.splits.campaigns_per_query.unwrap_or(campaigns.len());
        let mut parts: Vec<Vec<ObjectId>> = campaigns
            .chunks(size.clamp(1, MAX_IDS_PER_FILTER))
            .map(<[ObjectId]>::to_vec)
            .collect();
        parts.sort_by_key(|part| self.has_answer_for(part));
        parts.reverse();
        self.adaptation.min_page_size = self.adaptation.page_size;
        let mut was_too_large = false;
        // Requests in a row that may have been too heavy, or failed because of an outage.
        let mut doubtful = 0;
        let before = self.splits.campaigns_per_query;
        let known_heavy = self.splits.too_heavy.len();
        while let Some(part) = parts.pop() {
            let query = Query {
                // The insights of a campaign's own node need no filter.
                campaigns: match template.node {
                    TargetNode::AdAccount(_) => part.clone(),
                    TargetNode::Object(_) => Vec::new(),
                },
                ..template.clone()
            };
            let error = match self.run_query(&query, None, history).await {
                Ok(fetched) => {
                    progress.record_answer(fetched);
                    doubtful = 0;
                    if was_too_large {
                        self.splits.record_split(part.len());
                        was_too_large = false;
                    }
                    continue;
                }
                Err(error) => error,
            };
            if part.len() > 1
                && (error.kind == ErrorKind::TooLarge
                    || error.may_be_heavy() && doubtful < MAX_DOUBTFUL_SPLITS)
            {
                doubtful += u32::from(error.kind != ErrorKind::TooLarge);
                let (first, second) = part.split_at(part.len() / 2);
                parts.push(second.to_vec());
                parts.push(first.to_vec());
                was_too_large = true;
            } else if error.kind == ErrorKind::TooLarge && kind == QueryKind::Conversions {
                for id in &part {
                    self.splits.record_too_heavy(id.as_str());
                    progress.rows.too_heavy.insert(id.as_str().into());
                }
                was_too_large = false;
            } else if !progress.record_failure(&part, error) {
                parts.drain(..).for_each(|part| progress.add_unsent(&part));
            }
        }
        self.adaptation.min_page_size = 1;
        // The size was not the cause if a single campaign is too heavy.
        if progress.error.is_some() || self.splits.too_heavy.len() > known_heavy {
            self.splits.campaigns_per_query = before;
        }
        progress.finish()
    }

    /// Runs the queries of different campaigns. Those after one that failed are sent too, because the cause may be one of
    /// its campaigns.
    async fn run_queries(
        &mut self,
        queries: &[Query],
        history: &mut ProbeHistory,
    ) -> Result<GroupRows, QueryFailure> {
        let mut progress = PartialResult::default();
        let mut queries: Vec<&Query> = queries.iter().collect();
        queries.sort_by_key(|query| self.has_answer_for(&query.campaigns));
        let mut queries = queries.into_iter();
        while let Some(query) = queries.next() {
            match self.run_query(query, None, history).await {
                Ok(fetched) => progress.record_answer(fetched),
                Err(error) => {
                    if self.is_probe || !progress.record_failure(&query.campaigns, error.clone()) {
                        progress.error.get_or_insert(error);
                        progress.add_unsent(&query.campaigns);
                        queries
                            .by_ref()
                            .for_each(|query| progress.add_unsent(&query.campaigns));
                    }
                }
            }
        }
        progress.finish()
    }

    /// Whether the last poll answered for all of these campaigns.
    fn has_answer_for(&self, campaigns: &[ObjectId]) -> bool {
        let mut ids = campaigns.iter();
        ids.all(|id| !self.unanswered.contains(id.as_str()))
    }

    /// Runs an unfiltered query; returns `None` if it failed and the filtered queries should be sent instead.
    async fn run_probe(
        &mut self,
        probe: &UnfilteredProbe,
        history: &mut ProbeHistory,
    ) -> Option<Result<GroupRows, ApiError>> {
        let UnfilteredProbe { query, max_calls } = probe;
        let page_size = self.adaptation.page_size;
        match self.run_query(query, Some(*max_calls), history).await {
            Ok(fetched) => Some(Ok(fetched)),
            Err(error) if is_final(error.kind) => Some(Err(error)),
            Err(_) => {
                // A page size that is too large for the unfiltered query may be fine for the filtered ones. A
                // failure of any cause is recorded, so that the next poll does not probe again.
                self.adaptation.page_size = page_size;
                history.record_failure(*max_calls);
                None
            }
        }
    }

    /// Runs one query, with at most `max_calls` requests if given.
    async fn run_query(
        &mut self,
        query: &Query,
        max_calls: Option<usize>,
        history: &mut ProbeHistory,
    ) -> Result<GroupRows, ApiError> {
        let source = Arc::clone(&self.source);
        let inventory = self.inventory.clone();
        let unlisted_campaigns = &mut self.unlisted_campaigns;
        let keep = |row: &mut Row| {
            // Shares the strings of the inventory.
            let interned = inventory
                .as_ref()
                .and_then(|inventory| inventory.shared_dimensions(&row.dimensions));
            if let Some(dimensions) = interned {
                row.dimensions = dimensions;
            }
            match (&row.dimensions.campaign, &source.kind) {
                (None, _) | (_, SourceKind::Campaign(_)) => true,
                (Some(campaign), SourceKind::AdAccount { .. }) => {
                    let id = campaign.id.as_str();
                    if inventory
                        .as_ref()
                        .is_some_and(|inventory| !inventory.contains(id))
                    {
                        unlisted_campaigns.insert(id.into());
                    }
                    source.is_exported(&campaign.id, inventory.as_deref())
                }
            }
        };
        let adaptation = &mut self.adaptation;
        let session = self.session;
        let insights = match max_calls {
            Some(max_calls) => fetch_at_most(session, query, max_calls, adaptation, keep).await?,
            None => fetch(session, query, adaptation, keep).await?,
        };
        self.invalid.merge(insights.invalid);
        if query.campaigns.is_empty() && query.kind.has_delivery() {
            history.record_success(insights.pages);
        }
        let keys = |keys: BTreeSet<Box<str>>| {
            keys.into_iter()
                .map(|key| source.configured_key(key))
                .collect()
        };
        let mut withheld = insights.withheld;
        if let Some(inventory) = inventory.filter(|_| insights.has_unknown_rows) {
            // Any missing row can be the one without a key.
            let entities = inventory.entities.iter();
            withheld.extend(entities.map(|entity| Box::from(entity.dimensions.key())));
        }
        let rows = insights.rows.into_iter();
        Ok(GroupRows {
            rows: rows.map(|row| source.with_configured_id(row)).collect(),
            withheld: keys(withheld),
            other_dates: keys(insights.other_dates),
            unexplained_dates: keys(insights.unexplained_dates),
            has_doubled_rows: insights.has_doubled_rows,
            too_heavy: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            fetched_at: insights.fetched_at,
        })
    }

    /// Assigns the rows of a query to the windows of its group.
    fn store(&mut self, group: &WindowGroup, kind: QueryKind, fetched: GroupRows) {
        let delivery_width = self.source.columns.width(QueryKind::Delivery);
        for window in &group.windows {
            let Some(result) = self.results.get_mut(&window.window_idx) else {
                continue;
            };
            let mut withheld = fetched.withheld.clone();
            let mut other_dates = fetched.other_dates.clone();
            let mut rows = Vec::new();
            for row in &fetched.rows {
                let dates = (row.start, row.stop);
                if window.is_one_day && row.start != row.stop {
                    withheld.insert(row.dimensions.key().into());
                    other_dates.insert(row.dimensions.key().into());
                } else if window.accepted.is_empty() || window.accepted.contains(&dates) {
                    rows.push(row.clone());
                }
            }
            // A campaign that ignores dates can have the dates of one of the windows by chance.
            for row in &rows {
                withheld.remove(row.dimensions.key());
                other_dates.remove(row.dimensions.key());
            }
            let query_result = |rows: Vec<Row>| QueryResult {
                dates: window_dates(group, window, &rows),
                rows: Some(rows),
                fetched_at: fetched.fetched_at,
                withheld: withheld.clone(),
                too_heavy: fetched.too_heavy.clone(),
                other_dates: other_dates.clone(),
                unanswered: fetched.unanswered.clone(),
                error: None,
            };
            match kind {
                QueryKind::Delivery | QueryKind::Spend => result.delivery = query_result(rows),
                QueryKind::Conversions => result.conversions = Some(query_result(rows)),
                QueryKind::Joined => {
                    let (delivery, conversions) = rows
                        .into_iter()
                        .map(|row| split_row(row, delivery_width))
                        .unzip();
                    result.delivery = query_result(delivery);
                    result.conversions = Some(query_result(conversions));
                }
            }
        }
    }

    /// Records the error of a query for the windows of its group, with the rows of the campaigns that were answered.
    fn fail_group(&mut self, group: &WindowGroup, kind: QueryKind, failure: QueryFailure) {
        let mut error = failure.error.error;
        if let Some(part) = failure.part {
            let names: Vec<&str> = part.unanswered.iter().map(AsRef::as_ref).collect();
            let named = names.get(..MAX_NAMED_CAMPAIGNS).unwrap_or(&names);
            let more = if names.len() > named.len() {
                " …"
            } else {
                ""
            };
            error.message = format!(
                "{} campaigns keep their previous values ({}{more}): {}",
                names.len(),
                named.join(", "),
                error.message
            );
            self.store(group, kind, *part);
        }
        for window in &group.windows {
            if let Some(result) = self.results.get_mut(&window.window_idx) {
                let result = match kind {
                    QueryKind::Conversions => result.conversions.get_or_insert_default(),
                    _ => &mut result.delivery,
                };
                result.error = Some(error.clone());
            }
        }
    }

    /// Records the final error for the queries that were not sent.
    fn fail_unanswered(&mut self) {
        let Some(error) = &self.final_error else {
            return;
        };
        for result in self.results.values_mut() {
            let conversions_missing = self.source.conversions && result.conversions.is_none();
            if is_open(result) {
                result.delivery = QueryResult::failed(error.error.clone());
            } else if conversions_missing && result.delivery.error.is_none() {
                result.conversions = Some(QueryResult::failed(error.error.clone()));
            }
        }
    }
}

impl PartialResult {
    fn record_answer(&mut self, fetched: GroupRows) {
        self.rows.extend(fetched);
        self.is_answered = true;
        self.failures = 0;
    }

    /// Records a part that failed. Returns whether the other parts are sent too.
    fn record_failure(&mut self, campaigns: &[ObjectId], error: ApiError) -> bool {
        self.add_unsent(campaigns);
        self.failures += 1;
        let may_continue = !is_final(error.kind)
            && error.kind != ErrorKind::TooLarge
            && self.failures < MAX_FAILED_PARTS;
        self.error.get_or_insert(error);
        may_continue
    }

    fn add_unsent(&mut self, campaigns: &[ObjectId]) {
        let ids = campaigns.iter().map(|id| Box::from(id.as_str()));
        self.unanswered.extend(ids);
    }

    fn finish(self) -> Result<GroupRows, QueryFailure> {
        let Some(error) = self.error else {
            return Ok(self.rows);
        };
        // Only parts with known campaigns can be merged with earlier ones.
        let is_part = self.is_answered && !self.unanswered.is_empty();
        let part = is_part.then_some(Box::new(GroupRows {
            unanswered: self.unanswered,
            ..self.rows
        }));
        Err(QueryFailure { error, part })
    }
}

impl GroupRows {
    /// Adds the rows of another query of the same group.
    fn extend(&mut self, other: Self) {
        self.fetched_at = self.fetched_at.or(other.fetched_at);
        self.rows.extend(other.rows);
        self.withheld.extend(other.withheld);
        self.other_dates.extend(other.other_dates);
        self.unexplained_dates.extend(other.unexplained_dates);
        self.has_doubled_rows |= other.has_doubled_rows;
        self.too_heavy.extend(other.too_heavy);
    }
}

/// Returns the number of campaigns that a new list lacks if it lacks more than half of them, else 0.
fn sudden_loss(previous: &Inventory, inventory: &Inventory) -> usize {
    let campaigns = previous.campaigns.iter();
    let lost = campaigns
        .filter(|campaign| inventory.exported_campaign(campaign.id.as_str()).is_none())
        .count();
    if lost * 2 > previous.campaigns.len() {
        lost
    } else {
        0
    }
}

/// Returns the previous inventory with the other properties of a list that is not confirmed yet.
fn keep_campaigns(previous: &Inventory, unconfirmed: Inventory) -> Inventory {
    Inventory {
        account: unconfirmed.account,
        account_fetched_at: unconfirmed.account_fetched_at,
        listing: unconfirmed.listing,
        ..previous.clone()
    }
}

/// Returns whether the delivery query of a window has no result yet.
fn is_open(result: &PollResult) -> bool {
    result.delivery.rows.is_none() && result.delivery.error.is_none()
}

/// Returns the mode to try after a result that is too large for every page size and number of campaigns: a request for
/// each window, then the action fields apart, then both.
fn next_lighter(start: QueryMode, tried: &[QueryMode]) -> Option<QueryMode> {
    let by_window = start
        .with_simpler_dates()
        .filter(|_| start.dates == DateMode::TimeRanges);
    let apart = start.with_separate_queries();
    let both = by_window.and_then(QueryMode::with_separate_queries);
    let mut modes = [by_window, apart, both].into_iter().flatten();
    modes.find(|mode| !tried.contains(mode))
}

/// Returns the mode to try after a refusal. A message that names a parameter excludes the modes that send it.
fn next_after_refusal(
    start: QueryMode,
    refused: QueryMode,
    tried: &[QueryMode],
    message: &str,
) -> Option<QueryMode> {
    let names_dates = message.contains("time_range");
    let names_actions = message.contains("action");
    let order = [
        (true, DateMode::TimeRange),
        (false, DateMode::TimeRanges),
        (false, DateMode::TimeRange),
        (true, DateMode::DatePreset),
        (false, DateMode::DatePreset),
    ];
    order
        .into_iter()
        .map(|(joined, dates)| QueryMode { dates, joined })
        .filter(|mode| !tried.contains(mode))
        .filter(|mode| mode.dates >= start.dates && (start.joined || !mode.joined))
        .find(|mode| {
            let is_refused = names_dates && mode.dates == refused.dates;
            !(is_refused || names_actions && mode.joined)
        })
}

/// Returns whether the rows of a window that is requested by preset cover different dates.
fn has_mixed_dates(group: &WindowGroup, window: &GroupWindow, rows: &[Row]) -> bool {
    let is_checked = group.ranges.is_empty()
        && matches!(group.dates, WindowDates::Preset(_))
        && (window.is_one_day || !window.accepted.is_empty());
    let mut dates = rows
        .iter()
        .filter(|row| !window.is_one_day || row.start == row.stop)
        .map(|row| (row.start, row.stop));
    let first = dates.next();
    is_checked && dates.any(|dates| Some(dates) != first)
}

/// Returns the dates that a result of a window covers; `None` if they are not known.
fn window_dates(group: &WindowGroup, window: &GroupWindow, rows: &[Row]) -> Option<DateSpan> {
    if !group.ranges.is_empty() || matches!(group.dates, WindowDates::Range { .. }) {
        return window.accepted.first().copied();
    }
    let mut dates = rows.iter().map(|row| (row.start, row.stop));
    match dates.next() {
        Some(first) => dates.all(|dates| dates == first).then_some(first),
        None => window.accepted.first().copied(),
    }
}

/// Splits a row of a joined query into those of the delivery and of the conversions query.
fn split_row(row: Row, delivery_width: usize) -> (Row, Row) {
    let values: Vec<RowValue> = row.values.iter().collect();
    let (delivery, conversions) = values.split_at(delivery_width.min(values.len()));
    let part = |values: &[RowValue]| Row {
        values: RowValues::pack(values),
        ..row.clone()
    };
    (part(delivery), part(conversions))
}

/// Returns whether an error of discovery is about a limit that insights do not have.
fn is_limit_of_discovery(session: Session<'_>, error: &ApiError) -> bool {
    error.error.reason == ErrorReason::Throttled
        && session.limiter.paused_until(session.scope).is_none()
}

/// Returns whether all further requests of a poll would fail too.
fn is_final(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Throttled(_)
            | ErrorKind::Unauthenticated
            | ErrorKind::Misconfigured
            | ErrorKind::Forbidden
            | ErrorKind::Paused
    )
}
