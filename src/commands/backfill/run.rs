//! Shared state of a backfill, and its tasks: one per business, all concurrent.
//!
//! `plan` determines what to query, `fetch` queries it, and `job` decides how to continue after an error. An error has
//! the same scope as in a poll: an invalid token affects its business, a forbidden source only that source, and an
//! exhausted quota only delays its ad account.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio::time::Instant;

use super::lock;
use super::progress::Progress;
use crate::app::ApiSession;
use crate::config::{BusinessConfig, Config};
use crate::model::AccountId;
use crate::plan::{DayRange, Plan, QueryKind, Source};
use crate::state::Journal;

/// State that the tasks of all businesses share.
pub(super) struct BackfillRun {
    pub(super) config: Config,
    pub(super) plan: Plan,
    /// Requested days.
    pub(super) days: DayRange,
    /// Clock.
    pub(super) now: fn() -> Timestamp,
    pub(super) session: ApiSession,
    pub(super) journal: Mutex<Journal>,
    pub(super) progress: Progress,
    /// Plan of each source that was listed, by source index.
    pub(super) source_plans: Mutex<BTreeMap<usize, SourcePlan>>,
    /// Last error of each source, by source index: the reason for its missing days.
    pub(super) errors: Mutex<BTreeMap<usize, String>>,
}

/// What to query for a source.
#[derive(Clone, Debug)]
pub(super) struct SourcePlan {
    /// The ad account itself, or that of the campaign.
    pub(super) account: AccountId,
    /// Requested days that have ended in the ad account's time zone; `None` if there are none.
    pub(super) days: Option<DayRange>,
    /// The part of `days` that Meta still keeps. Less than `days` if days have expired since the journal was created.
    pub(super) retained_days: Option<DayRange>,
    /// End of the last of `days`.
    pub(super) newest_day_end: Option<Timestamp>,
    /// Queries that can be sent for the source.
    pub(super) query_kinds: Vec<QueryKind>,
    /// Number of its message campaigns.
    pub(super) campaigns: usize,
    /// Maximum number of rows that are not in the journal yet.
    pub(super) missing_rows: usize,
    /// Maximum number of calls for these rows.
    pub(super) missing_calls: usize,
    /// Whether the source is a campaign of an ad account source of the same business, in this or another shard.
    pub(super) is_duplicate: bool,
}

impl BackfillRun {
    /// Plans every source, with inventories from the journal or the API.
    pub(super) async fn plan_all(self: Arc<Self>) {
        self.for_each_business(|run, business, source_idxs| async move {
            run.plan_business(&business, &source_idxs).await;
        })
        .await;
    }

    /// Fetches all days that are not in the journal.
    pub(super) async fn fetch_all(self: Arc<Self>) {
        self.for_each_business(|run, business, source_idxs| async move {
            run.fetch_business(&business, &source_idxs).await;
        })
        .await;
    }

    /// Runs a task for each business of the plan, all concurrently. The arguments of `task` include the indexes of the
    /// sources of the business.
    async fn for_each_business<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        task: impl Fn(Arc<Self>, BusinessConfig, Vec<usize>) -> F,
    ) {
        // Dropping the set, as after a signal, aborts all tasks.
        let mut tasks = tokio::task::JoinSet::new();
        let planned = self.plan.businesses();
        let businesses = self.config.businesses.iter();
        for business in businesses.filter(|business| planned.contains_key(business.name.as_str())) {
            let sources = self.plan.sources.iter().enumerate();
            let source_idxs = sources
                .filter(|(_, source)| *source.business == *business.name)
                .map(|(source_idx, _)| source_idx)
                .collect();
            tasks.spawn(task(Arc::clone(self), business.clone(), source_idxs));
        }
        while let Some(result) = tasks.join_next().await {
            if result.is_err() {
                // The days that the task has not fetched are reported as missing.
                tracing::error!("backfill task panicked; please report this bug");
            }
        }
    }

    /// Returns the part of `days` that is not in the journal for this query.
    pub(super) fn gaps(
        &self,
        source_idx: usize,
        query_kind: QueryKind,
        days: DayRange,
    ) -> Vec<DayRange> {
        days.without(lock(&self.journal).covered_days(source_idx, query_kind))
    }

    pub(super) fn log_pause(&self, source: &Source, until: Instant, reason: &str) {
        let until = (self.now)() + until.saturating_duration_since(Instant::now());
        self.progress
            .log_pause(&source.business, &source.name, until, reason);
    }

    pub(super) fn record_error(&self, source_idxs: &[usize], error: &str) {
        let mut errors = lock(&self.errors);
        for source_idx in source_idxs {
            errors.insert(*source_idx, error.to_owned());
        }
    }
}
