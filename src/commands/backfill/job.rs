//! Remaining work of a source, and the reaction to an error: retry with exponential backoff, wait for a quota, or abort
//! the source or the business.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::lock;
use super::run::BackfillRun;
use crate::config::BusinessConfig;
use crate::graph::{ApiError, ErrorKind, QueryAdaptation};
use crate::model::ErrorReason;
use crate::plan::{DayRange, QueryKind, ROWS_PER_PAGE, SourceKind};

/// Consecutive transient errors (outages, invalid responses) after which a source is aborted: a few minutes.
const MAX_FAILURES: u32 = 5;

/// Consecutive quota pauses without a successful query after which a source is aborted: about three hours.
const MAX_PAUSES: u32 = 12;

/// Consecutive rejected queries after which a source is aborted. If the API rejects three ranges of days, it probably
/// rejects all.
const MAX_REJECTIONS: u32 = 3;

/// Delay after the first transient error; doubled after each further one, up to `polling.backoff_max`.
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(2);

/// Remaining work of a source.
pub(super) struct SourceJob {
    pub(super) source_idx: usize,
    /// Days to fetch for each query kind, oldest first.
    pub(super) gaps: Vec<(QueryKind, VecDeque<DayRange>)>,
    /// Maximum number of days per query; 0 until it has been computed from the inventory.
    pub(super) days_per_query: usize,
    pub(super) adaptation: QueryAdaptation,
    pub(super) not_before: Option<Instant>,
    /// Consecutive transient errors.
    pub(super) failures: u32,
    /// Consecutive quota pauses.
    pub(super) pauses: u32,
    /// Consecutive rejected queries.
    pub(super) rejections: u32,
}

impl SourceJob {
    pub(super) fn new(source_idx: usize) -> Self {
        Self {
            source_idx,
            gaps: Vec::new(),
            days_per_query: 0,
            adaptation: QueryAdaptation {
                page_size: ROWS_PER_PAGE,
                ..QueryAdaptation::default()
            },
            not_before: None,
            failures: 0,
            pauses: 0,
            rejections: 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.gaps.iter().all(|(_, gaps)| gaps.is_empty())
    }

    /// Removes and returns the next days of the query kind at this index of `gaps`, at most `days_per_query`.
    pub(super) fn take_days(&mut self, gaps_idx: usize) -> Option<(QueryKind, DayRange)> {
        let (query_kind, gaps) = self.gaps.get_mut(gaps_idx)?;
        let (days, rest) = gaps.pop_front()?.split(self.days_per_query);
        if let Some(rest) = rest {
            gaps.push_front(rest);
        }
        Some((*query_kind, days))
    }
}

/// Removes and returns the first job that does not have to wait. If all have to, waits for the one with the earliest
/// `not_before`.
pub(super) async fn next_job(jobs: &mut VecDeque<SourceJob>) -> Option<SourceJob> {
    let now = Instant::now();
    let start = |job: &SourceJob| job.not_before.unwrap_or(now).max(now);
    let (job_idx, _) = jobs
        .iter()
        .enumerate()
        .min_by_key(|(job_idx, job)| (start(job), *job_idx))?;
    let mut job = jobs.remove(job_idx)?;
    if let Some(until) = job.not_before.take() {
        sleep_until(until).await;
    }
    Some(job)
}

/// Scope and reason of an early end.
pub(super) enum Abort {
    Source(String),
    Business(String),
}

impl BackfillRun {
    /// Handles an error of a source: sets `not_before` if the job can continue, else returns the scope to abort.
    pub(super) fn handle_error(
        &self,
        job: &mut SourceJob,
        business: &BusinessConfig,
        error: &ApiError,
    ) -> Result<(), Abort> {
        let source = &self.plan.sources[job.source_idx];
        let text = error.error.to_string();
        match (error.kind, error.error.reason) {
            (ErrorKind::Unauthenticated | ErrorKind::Misconfigured, _)
            | (ErrorKind::Paused, ErrorReason::Unauthenticated | ErrorReason::Misconfigured) => {
                return Err(Abort::Business(text));
            }
            (ErrorKind::Forbidden, _) | (ErrorKind::Paused, ErrorReason::Forbidden) => {
                return Err(Abort::Source(text));
            }
            (ErrorKind::Throttled(_) | ErrorKind::Paused, _) => {
                job.pauses += 1;
                if job.pauses > MAX_PAUSES {
                    return Err(Abort::Source(text));
                }
                let account = lock(&self.source_plans)
                    .get(&job.source_idx)
                    .map(|plan| plan.account.clone());
                let account = account.or_else(|| match &source.kind {
                    SourceKind::AdAccount { id, .. } => Some(id.clone()),
                    SourceKind::Campaign(_) => None,
                });
                let caller = self
                    .session
                    .caller(business, account.as_ref(), &source.name);
                let caller = caller.map_err(Abort::Business)?;
                let now = Instant::now();
                let until = self.session.paused_until(&caller).unwrap_or(now);
                job.not_before = Some(until);
                self.log_pause(source, until, &text);
            }
            (ErrorKind::Rejected, _) => {
                job.rejections += 1;
                self.record_error(&[job.source_idx], &text);
                if job.rejections >= MAX_REJECTIONS || job.gaps.is_empty() {
                    return Err(Abort::Source(text));
                }
            }
            (ErrorKind::Unavailable | ErrorKind::InvalidResponse | ErrorKind::TooLarge, _) => {
                job.failures += 1;
                if job.failures >= MAX_FAILURES {
                    return Err(Abort::Source(text));
                }
                let delay = FIRST_RETRY_DELAY.saturating_mul(1 << (job.failures - 1));
                let delay = delay.min(self.config.polling.backoff_max);
                job.not_before = Some(Instant::now() + delay);
                tracing::info!(business = business.name, source = %source.name, error = text, retry_in = ?delay, "query failed; retrying");
            }
        }
        Ok(())
    }
}
