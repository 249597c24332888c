//! Queries that are sent in parts, each with some of the campaigns: what was answered stays if another part fails.
//!
//! A query is divided if its filter would be too long, or by halves if its result is too large at every page size.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Poll, is_final};
use crate::graph::{ApiError, ErrorKind};
use crate::model::{ObjectId, Row};
use crate::plan::{ProbeHistory, Query, QueryKind, TargetNode};
use crate::scheduler::query_plan::WindowGroup;

/// Parts of a query that may fail in a row before the others are not sent.
const MAX_FAILED_PARTS: usize = 2;

/// Campaigns that the error of a query names.
const MAX_NAMED_CAMPAIGNS: usize = 5;

/// Splits in a row after errors that can also mean an outage.
const MAX_DOUBTFUL_SPLITS: u32 = 4;

/// Rows of one query, of all windows of a group.
#[derive(Debug, Default)]
pub(super) struct GroupRows {
    pub(super) rows: Vec<Row>,
    pub(super) withheld: BTreeSet<Box<str>>,
    /// Keys of withheld rows with other dates than requested.
    pub(super) other_dates: BTreeSet<Box<str>>,
    /// Those of `other_dates` that the age of their campaign does not explain.
    pub(super) unexplained_dates: BTreeSet<Box<str>>,
    pub(super) has_doubled_rows: bool,
    /// Ids of campaigns with actions that cannot be retrieved.
    pub(super) too_heavy: BTreeSet<Box<str>>,
    /// Ids of campaigns that were not answered.
    pub(super) unanswered: BTreeSet<Box<str>>,
    /// Ids of campaigns that an earlier poll answered, so that they were not requested.
    pub(super) answered: BTreeSet<Box<str>>,
    pub(super) fetched_at: Option<Timestamp>,
    /// Whether a query had several pages, between which rows can shift.
    pub(super) has_pages: bool,
}

/// Why a query has no complete result.
#[derive(Debug)]
pub(super) struct QueryFailure {
    pub(super) error: ApiError,
    /// Rows of the campaigns that were answered; `None` if none was.
    pub(super) part: Option<Box<GroupRows>>,
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

impl Poll<'_> {
    /// Runs queries with fewer campaigns each, without smaller pages, of all campaigns or only of `rest`. A campaign with actions that cannot be retrieved
    /// even in a separate query loses only its conversions.
    pub(super) async fn run_split(
        &mut self,
        queries: Vec<Query>,
        kind: QueryKind,
        rest: Option<Vec<ObjectId>>,
        history: &mut ProbeHistory,
    ) -> Result<GroupRows, QueryFailure> {
        let Some(template) = queries.first().cloned() else {
            return Ok(GroupRows::default());
        };
        let is_whole = rest.is_none();
        let mut campaigns = rest.unwrap_or_else(|| {
            let queries = queries.iter();
            queries.flat_map(|query| query.campaigns.clone()).collect()
        });
        if campaigns.is_empty() && is_whole {
            campaigns = self
                .source
                .campaigns(self.inventory.as_deref())
                .unwrap_or_default();
        }
        let mut progress = PartialResult::default();
        let mut retried = Vec::new();
        if kind == QueryKind::Conversions {
            let (too_heavy, again) = (&self.splits.too_heavy, &self.splits.retried);
            campaigns.retain(|id| !too_heavy.contains(id.as_str()));
            progress.rows.too_heavy.clone_from(too_heavy);
            (retried, campaigns) = campaigns
                .into_iter()
                .partition(|id| again.contains(id.as_str()));
        }
        let size = self.splits.campaigns_per_query.unwrap_or(campaigns.len());
        let ranges = template.ranges.len().max(1);
        let max_size = self.source.ids_per_filter(&campaigns, kind, ranges);
        let mut parts: Vec<Vec<ObjectId>> = campaigns
            .chunks(size.clamp(1, max_size))
            .map(<[ObjectId]>::to_vec)
            .chain(retried.into_iter().map(|id| vec![id]))
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
            let failure = match self.run_query(&query, None, history).await {
                Ok(fetched) => {
                    progress.record_answer(fetched);
                    doubtful = 0;
                    if was_too_large {
                        self.splits.record_split(part.len());
                        was_too_large = false;
                    }
                    continue;
                }
                Err(failure) => failure,
            };
            let error = &failure.error;
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
            } else if !progress.record_failure(&part, failure) {
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
    pub(super) async fn run_queries(
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
                Err(failure) => {
                    if !progress.record_failure(&query.campaigns, failure) || self.is_probe {
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
    pub(super) fn has_answer_for(&self, campaigns: &[ObjectId]) -> bool {
        let mut ids = campaigns.iter();
        ids.all(|id| !self.unanswered.contains(id.as_str()))
    }

    /// Records the error of a query for the windows of its group, with the rows of the campaigns that were answered.
    pub(super) fn fail_group(
        &mut self,
        group: &WindowGroup,
        kind: QueryKind,
        failure: QueryFailure,
    ) {
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
}

impl PartialResult {
    fn record_answer(&mut self, fetched: GroupRows) {
        self.rows.extend(fetched);
        self.is_answered = true;
        self.failures = 0;
    }

    /// Records a part that failed. Returns whether the other parts are sent too.
    fn record_failure(&mut self, campaigns: &[ObjectId], failure: QueryFailure) -> bool {
        let QueryFailure { error, part } = failure;
        match part {
            Some(mut part) => {
                self.unanswered.append(&mut part.unanswered);
                self.rows.extend(*part);
                self.is_answered = true;
            }
            None => self.add_unsent(campaigns),
        }
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
    pub(super) fn extend(&mut self, other: Self) {
        self.fetched_at = self.fetched_at.or(other.fetched_at);
        self.has_pages |= other.has_pages;
        self.rows.extend(other.rows);
        self.withheld.extend(other.withheld);
        self.other_dates.extend(other.other_dates);
        self.unexplained_dates.extend(other.unexplained_dates);
        self.has_doubled_rows |= other.has_doubled_rows;
        self.too_heavy.extend(other.too_heavy);
    }
}
