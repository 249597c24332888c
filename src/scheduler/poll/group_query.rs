//! Queries of a group of windows: chooses between a filtered and an unfiltered query, and adapts the page size.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::partial_result::{GroupRows, QueryFailure};
use super::window_result::has_mixed_dates;
use super::{Poll, WindowJob, is_final};
use crate::graph::{ApiError, ErrorKind, ExceededLimit, fetch, fetch_at_most};
use crate::model::{Level, Row};
use crate::plan::{ProbeHistory, Query, QueryKind, ROWS_PER_PAGE, SourceKind, UnfilteredProbe};
use crate::scheduler::mode_state::PageSize;
use crate::scheduler::query_plan::WindowGroup;

/// Attempts of a query with rows of two days in its result, as around midnight, before it fails.
const MAX_MIXED_ATTEMPTS: usize = 2;

/// Reduction of the page size from which a query that takes too long is split by campaigns.
const HEAVY_REDUCTION: usize = 8;

impl Poll<'_> {
    /// Returns the queries of one kind for a group; `None` if no query returns a correct result.
    pub(super) fn queries(&self, group: &WindowGroup, kind: QueryKind) -> Option<Vec<Query>> {
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
    pub(super) async fn fetch_kind(
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

    pub(super) async fn fetch_group(
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

    /// Runs an unfiltered query; returns `None` if it failed and the filtered queries should be sent instead.
    pub(super) async fn run_probe(
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
    pub(super) async fn run_query(
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
}
