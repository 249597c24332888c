//! Fetches all days that are not in the journal yet, and appends each response to the journal before the next request.

use std::collections::{BTreeSet, VecDeque};

use super::job::{Abort, SourceJob, next_job};
use super::lock;
use super::run::BackfillRun;
use crate::config::BusinessConfig;
use crate::graph::{self, ApiCaller, ApiError, ErrorKind, QueryAdaptation};
use crate::model::{Inventory, Row};
use crate::plan::{DayRange, QueryKind, Source, SourceKind};

impl BackfillRun {
    pub(super) async fn fetch_business(&self, business: &BusinessConfig, source_idxs: &[usize]) {
        let mut jobs = VecDeque::new();
        for source_idx in source_idxs {
            let plan = lock(&self.source_plans).get(source_idx).cloned();
            let Some(plan) = plan.filter(|plan| !plan.is_duplicate) else {
                continue;
            };
            let Some(days) = plan.retained_days else {
                continue;
            };
            let mut job = SourceJob::new(*source_idx);
            for query_kind in plan.query_kinds {
                let gaps = self.gaps(*source_idx, query_kind, days);
                job.gaps.push((query_kind, gaps.into()));
            }
            if !job.is_done() {
                jobs.push_back(job);
            }
        }
        while let Some(mut job) = next_job(&mut jobs).await {
            let source_idx = job.source_idx;
            match self.fetch_source(business, &mut job).await {
                Ok(()) if job.is_done() => {}
                // At the front: a source is completed before the next one, unless it has to wait.
                Ok(()) => jobs.push_front(job),
                Err(Abort::Source(error)) => self.record_error(&[source_idx], &error),
                Err(Abort::Business(error)) => {
                    let remaining: Vec<usize> = jobs.iter().map(|job| job.source_idx).collect();
                    self.record_error(&[source_idx], &error);
                    self.record_error(&remaining, &error);
                    return;
                }
            }
        }
    }

    /// Fetches days until the job is done or has to wait.
    async fn fetch_source(
        &self,
        business: &BusinessConfig,
        job: &mut SourceJob,
    ) -> Result<(), Abort> {
        let (source_idx, source) = (job.source_idx, &self.plan.sources[job.source_idx]);
        let inventory = lock(&self.journal).inventory(source_idx);
        let inventory = inventory.ok().flatten().ok_or_else(|| {
            Abort::Source("the journal contains no inventory of the source".to_owned())
        })?;
        let account = &inventory.account.id;
        let caller = self.session.caller(business, Some(account), &source.name);
        let caller = caller.map_err(Abort::Business)?;
        if job.days_per_query == 0 {
            job.days_per_query = source.days_per_query(&inventory);
        }
        loop {
            // At most two query kinds, delivery and conversions, which are fetched concurrently.
            let (first, second) = (job.take_days(0), job.take_days(1));
            if first.is_none() && second.is_none() {
                return Ok(());
            }
            self.progress.set_current(&source.business, &source.name);
            if let Some(until) = self.session.paused_until(&caller) {
                self.log_pause(source, until, "quota nearly exhausted");
            }
            let adaptation = &job.adaptation;
            let (first, second) = tokio::join!(
                self.fetch_kind(&caller, source, &inventory, adaptation, first),
                self.fetch_kind(&caller, source, &inventory, adaptation, second),
            );
            // Both results are stored before the error of either is handled.
            let first = first.map(|fetched| self.store_rows(job, 0, fetched, source, &inventory));
            let second = second.map(|fetched| self.store_rows(job, 1, fetched, source, &inventory));
            let first_error = first.transpose()?.flatten();
            if let Some(error) = first_error.or(second.transpose()?.flatten()) {
                self.handle_error(job, business, &error)?;
                if job.not_before.is_some() {
                    return Ok(());
                }
            }
        }
    }

    /// Stores the result of a query in the journal and in the job. Returns an error that the caller must handle; a
    /// response that is too large is handled here, by querying fewer days.
    fn store_rows(
        &self,
        job: &mut SourceJob,
        gaps_idx: usize,
        fetched: FetchedRows,
        source: &Source,
        inventory: &Inventory,
    ) -> Result<Option<ApiError>, Abort> {
        let (query_kind, days) = (job.gaps[gaps_idx].0, fetched.days);
        let adaptation = &mut job.adaptation;
        adaptation.page_size = adaptation.page_size.min(fetched.adaptation.page_size);
        for field in fetched.adaptation.rejected_fields {
            if !adaptation.rejected_fields.contains(&field) {
                tracing::warn!(business = %source.business, source = %source.name, field, "field rejected by the API; continuing without it");
                adaptation.rejected_fields.push(field);
            }
        }
        let error = match fetched.outcome {
            Ok((rows, withheld)) => {
                let result = lock(&self.journal).append_rows(
                    job.source_idx,
                    query_kind,
                    days,
                    rows,
                    withheld,
                );
                result.map_err(|error| Abort::Business(format!("journal: {error}")))?;
                let max_rows = days.count() * source.max_rows_per_day(inventory).max(1);
                self.progress
                    .record_response(max_rows, self.session.stats().calls);
                (job.failures, job.pauses, job.rejections) = (0, 0, 0);
                return Ok(None);
            }
            Err(error) => error,
        };
        match error.kind {
            ErrorKind::TooLarge if days.count() == 1 && job.adaptation.page_size == 1 => {
                Err(Abort::Source(error.error.to_string()))
            }
            ErrorKind::TooLarge => {
                job.days_per_query = job.days_per_query.min((days.count() / 2).max(1));
                tracing::info!(business = %source.business, source = %source.name, days_per_query = job.days_per_query, page_size = job.adaptation.page_size, "response too large; querying fewer days");
                job.gaps[gaps_idx].1.push_front(days);
                Ok(None)
            }
            // These days are not queried again, because the API would reject them again; other days may succeed.
            ErrorKind::Rejected => Ok(Some(error)),
            _ => {
                job.gaps[gaps_idx].1.push_front(days);
                Ok(Some(error))
            }
        }
    }

    /// Sends the query for the days of one kind; `None` if there are none.
    async fn fetch_kind(
        &self,
        caller: &ApiCaller,
        source: &Source,
        inventory: &Inventory,
        adaptation: &QueryAdaptation,
        days: Option<(QueryKind, DayRange)>,
    ) -> Option<FetchedRows> {
        let (query_kind, days) = days?;
        let mut adaptation = adaptation.clone();
        let outcome = self
            .fetch_rows(caller, source, inventory, &mut adaptation, query_kind, days)
            .await;
        Some(FetchedRows {
            days,
            adaptation,
            outcome,
        })
    }

    async fn fetch_rows(
        &self,
        caller: &ApiCaller,
        source: &Source,
        inventory: &Inventory,
        adaptation: &mut QueryAdaptation,
        query_kind: QueryKind,
        days: DayRange,
    ) -> Result<QueryOutcome, ApiError> {
        let (mut rows, mut withheld) = (Vec::new(), BTreeSet::new());
        let queries = source.daily_queries(query_kind, inventory, days);
        for query in queries.into_iter().flatten() {
            let is_exported = |row: &mut Row| match (&row.dimensions.campaign, &source.kind) {
                (None, _) | (_, SourceKind::Campaign(_)) => true,
                (Some(campaign), SourceKind::AdAccount { .. }) => {
                    source.is_exported(&campaign.id, Some(inventory))
                }
            };
            let result = self.session.call(caller, async |session| {
                graph::fetch(session, &query, adaptation, is_exported).await
            });
            let result = result.await?;
            let result_rows = result.rows.into_iter();
            rows.extend(result_rows.map(|row| source.with_configured_id(row)));
            let keys = result.withheld.into_iter();
            withheld.extend(keys.map(|key| source.configured_key(key)));
        }
        Ok((rows, withheld))
    }
}

/// Rows, and the keys of objects for which the API returns no daily values.
type QueryOutcome = (Vec<Row>, BTreeSet<Box<str>>);

/// Result of one query for some days.
struct FetchedRows {
    days: DayRange,
    /// Adaptation after the query.
    adaptation: QueryAdaptation,
    outcome: Result<QueryOutcome, ApiError>,
}
