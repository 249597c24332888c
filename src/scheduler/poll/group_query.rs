//! Queries of a group of windows: chooses between a filtered and an unfiltered query, and adapts the page size.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::partial_result::{GroupRows, QueryFailure};
use super::window_result::has_mixed_dates;
use super::{Poll, WindowJob, is_final};
use crate::graph::{ApiError, ErrorKind, ExceededLimit, InsightsResult, fetch_pages};
use crate::model::{Level, ObjectId, Row};
use crate::plan::{
    DateSpan, ProbeHistory, Query, QueryKind, ROWS_PER_PAGE, SourceKind, UnfilteredProbe,
};
use crate::scheduler::mode_state::PageSize;
use crate::scheduler::query_plan::WindowGroup;

/// Attempts of a query with rows of two days in its result, as around midnight, before it fails.
const MAX_MIXED_ATTEMPTS: usize = 2;

/// Reduction of the page size from which a query that takes too long is split by campaigns.
const HEAVY_REDUCTION: usize = 8;

/// What a query that was stopped has left to request.
struct RestOfQuery {
    /// Ids of campaigns that were answered.
    answered: BTreeSet<Box<str>>,
    /// Campaigns that were not.
    campaigns: Vec<ObjectId>,
}

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
        if let Some(rest) = self.rest_of_query(group, kind, &queries) {
            let answered = rest.answered;
            let add_answered = |rows: GroupRows| GroupRows {
                answered: answered.clone(),
                ..rows
            };
            let run = self.run_split(queries, kind, Some(rest.campaigns), &mut history);
            return match run.await {
                Ok(rows) => Ok(Some(add_answered(rows))),
                Err(QueryFailure { error, part }) => Err(QueryFailure {
                    error,
                    part: part.map(|part| Box::new(add_answered(*part))),
                }),
            };
        }
        let is_split = self.splits.campaigns_per_query.is_some()
            || kind == QueryKind::Conversions && self.splits.has_heavy();
        if is_split && source.level != Level::Account {
            let run = self.run_split(queries, kind, None, &mut history);
            return run.await.map(Some);
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
            Some(result) => result,
            None => self.run_queries(&strategy.queries, &mut history).await,
        };
        if let Ok(fetched) = result {
            let queries = strategy.queries.clone();
            let skipped = self.fetch_skipped(group, kind, queries, fetched, &mut history);
            result = skipped.await;
        }
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
                let run = self.run_split(strategy.queries, kind, None, &mut history);
                result = run.await;
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
    ) -> Option<Result<GroupRows, QueryFailure>> {
        let UnfilteredProbe { query, max_calls } = probe;
        let page_size = self.adaptation.page_size;
        match self.run_query(query, Some(*max_calls), history).await {
            Ok(fetched) => Some(Ok(fetched)),
            Err(failure) if is_final(failure.error.kind) => Some(Err(failure)),
            Err(_) => {
                // A page size that is too large for the unfiltered query may be fine for the filtered ones. A
                // failure of any cause is recorded, so that the next poll does not probe again.
                self.adaptation.page_size = page_size;
                history.record_failure(*max_calls);
                None
            }
        }
    }

    /// Returns what a query that was stopped has left to request; `None` if all is to be requested, because that needs
    /// fewer requests, or because no campaign was answered.
    fn rest_of_query(
        &self,
        group: &WindowGroup,
        kind: QueryKind,
        queries: &[Query],
    ) -> Option<RestOfQuery> {
        let answered = group.answered.of_kind(kind);
        let source = &self.source;
        // The row of an ad account is the sum over all campaigns.
        let has_parts =
            source.level != Level::Account && matches!(source.kind, SourceKind::AdAccount { .. });
        if answered.is_empty() || !has_parts {
            return None;
        }
        let inventory = self.inventory.as_deref();
        let all = source.campaigns(inventory)?;
        let (answered, campaigns): (Vec<ObjectId>, Vec<ObjectId>) = all
            .into_iter()
            .partition(|id| answered.contains(id.as_str()));
        if !campaigns.is_empty() {
            let ranges = group.ranges.len().max(1);
            let ids_per_query = source.ids_per_filter(&campaigns, kind, ranges);
            let ids_per_query = self.splits.campaigns_per_query.unwrap_or(ids_per_query);
            let is_unfiltered = queries.iter().any(|query| query.campaigns.is_empty());
            let all_calls = match inventory {
                Some(inventory) if is_unfiltered => {
                    let rows = inventory.max_rows.saturating_mul(ranges);
                    rows.div_ceil(self.adaptation.page_size.max(1)).max(1)
                }
                _ => queries.len(),
            };
            if campaigns.len().div_ceil(ids_per_query.max(1)) > all_calls {
                return None;
            }
        }
        let answered = answered.iter().map(|id| Box::from(id.as_str()));
        Some(RestOfQuery {
            answered: answered.collect(),
            campaigns,
        })
    }

    /// Runs one query, with at most `max_calls` requests if given. If a limit stops it between two pages, the campaigns
    /// of the pages before are part of the failure.
    pub(super) async fn run_query(
        &mut self,
        query: &Query,
        max_calls: Option<usize>,
        history: &mut ProbeHistory,
    ) -> Result<GroupRows, QueryFailure> {
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
        let mut insights = InsightsResult::default();
        let fetched = fetch_pages(session, query, max_calls, adaptation, keep, &mut insights);
        if let Err(error) = fetched.await {
            let is_stopped = matches!(error.kind, ErrorKind::Throttled(_) | ErrorKind::Paused);
            let part = is_stopped.then(|| self.complete_campaigns(query, insights));
            let part = part.flatten().map(Box::new);
            return Err(QueryFailure { error, part });
        }
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
            answered: BTreeSet::new(),
            fetched_at: insights.fetched_at,
            has_pages: insights.pages > 1,
        })
    }

    /// Requests the rows again that the last result had and this one lacks: if a row disappears while pages are read,
    /// the next one is skipped.
    async fn fetch_skipped(
        &mut self,
        group: &WindowGroup,
        kind: QueryKind,
        queries: Vec<Query>,
        mut fetched: GroupRows,
        history: &mut ProbeHistory,
    ) -> Result<GroupRows, QueryFailure> {
        if !fetched.has_pages {
            return Ok(fetched);
        }
        let skipped = self.skipped_campaigns(group, kind, &fetched.rows);
        if skipped.is_empty() {
            return Ok(fetched);
        }
        let run = self.run_split(queries, kind, Some(skipped.clone()), history);
        match run.await {
            Ok(rows) => {
                fetched.extend(rows);
                Ok(fetched)
            }
            Err(QueryFailure { error, .. }) => {
                let ids = skipped.iter().map(|id| Box::from(id.as_str()));
                fetched.unanswered = ids.collect();
                let part = Some(Box::new(fetched));
                Err(QueryFailure { error, part })
            }
        }
    }

    /// Returns the campaigns of rows that the last result of the same dates had, and these rows lack.
    fn skipped_campaigns(
        &self,
        group: &WindowGroup,
        kind: QueryKind,
        rows: &[Row],
    ) -> Vec<ObjectId> {
        let is_account = matches!(self.source.kind, SourceKind::AdAccount { .. });
        if self.source.level == Level::Account || !is_account || group.ranges.is_empty() {
            return Vec::new();
        }
        let received: BTreeSet<(&str, DateSpan)> = rows
            .iter()
            .map(|row| (row.dimensions.key(), (row.start, row.stop)))
            .collect();
        let last_rows = group.windows.iter().filter_map(|window| {
            let last = self.last_rows.get(&window.window_idx)?;
            let last = match kind {
                QueryKind::Conversions => last.conversions.as_ref(),
                _ => last.delivery.as_ref(),
            };
            last.filter(|last| {
                last.dates.is_some() && last.dates.as_ref() == window.accepted.first()
            })
        });
        let last_rows = last_rows.flat_map(|last| &last.rows);
        let skipped = last_rows
            .filter(|row| !received.contains(&(row.dimensions.key(), (row.start, row.stop))))
            .filter_map(|row| row.dimensions.campaign.as_ref());
        let skipped: BTreeSet<&str> = skipped.map(|campaign| campaign.id.as_str()).collect();
        let campaigns = self.source.campaigns(self.inventory.as_deref());
        let campaigns = campaigns.unwrap_or_default().into_iter();
        campaigns
            .filter(|id| skipped.contains(id.as_str()))
            .collect()
    }

    /// Returns the campaigns that are complete although later pages of the result are missing: those with a row of every
    /// range. `None` if there are none, or if they cannot be distinguished: below the level of campaigns, rows of one
    /// campaign can be on several pages.
    fn complete_campaigns(&mut self, query: &Query, insights: InsightsResult) -> Option<GroupRows> {
        let is_account = matches!(self.source.kind, SourceKind::AdAccount { .. });
        let is_doubtful =
            insights.has_doubled_rows || insights.has_unknown_rows || !insights.withheld.is_empty();
        if self.source.level != Level::Campaign || !is_account || is_doubtful {
            return None;
        }
        let campaigns = if query.campaigns.is_empty() {
            self.source.campaigns(self.inventory.as_deref())?
        } else {
            query.campaigns.clone()
        };
        let mut dates: BTreeMap<&str, BTreeSet<DateSpan>> = BTreeMap::new();
        for row in &insights.rows {
            let dates = dates.entry(row.dimensions.key()).or_default();
            dates.insert((row.start, row.stop));
        }
        let ranges = query.ranges.len().max(1);
        let is_complete = |id: &str| dates.get(id).is_some_and(|dates| dates.len() >= ranges);
        let (complete, unanswered): (Vec<&ObjectId>, Vec<&ObjectId>) =
            campaigns.iter().partition(|id| is_complete(id.as_str()));
        let complete: BTreeSet<Box<str>> =
            complete.iter().map(|id| Box::from(id.as_str())).collect();
        let unanswered = unanswered.iter().map(|id| Box::from(id.as_str())).collect();
        let rows = insights.rows.into_iter();
        let rows = rows.filter(|row| complete.contains(row.dimensions.key()));
        let part = GroupRows {
            rows: rows.collect(),
            unanswered,
            fetched_at: insights.fetched_at,
            ..GroupRows::default()
        };
        self.invalid.merge(insights.invalid);
        (!complete.is_empty()).then_some(part)
    }
}
