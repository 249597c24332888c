//! Planning of a backfill: reads the inventory of each source, from the journal or the API, and derives its days, queries
//! and maximum cost.

use std::collections::{BTreeSet, VecDeque};

use jiff::civil::Date;
use jiff::{SignedDuration, ToSpan};

use super::job::{Abort, SourceJob, next_job};
use super::lock;
use super::run::{BackfillRun, SourcePlan};
use crate::config::BusinessConfig;
use crate::graph::{self, ApiError};
use crate::model::Inventory;
use crate::plan::{DayRange, QueryKind, RETENTION_MONTHS, Source, SourceKind};

/// Maximum age of an inventory in the journal. An older one is fetched again, because there may be new campaigns.
const INVENTORY_TTL: SignedDuration = SignedDuration::from_hours(24);

impl BackfillRun {
    pub(super) async fn plan_business(&self, business: &BusinessConfig, source_idxs: &[usize]) {
        let mut jobs: VecDeque<SourceJob> = source_idxs
            .iter()
            .map(|source_idx| SourceJob::new(*source_idx))
            .collect();
        while let Some(mut job) = next_job(&mut jobs).await {
            let (source_idx, source) = (job.source_idx, &self.plan.sources[job.source_idx]);
            match self.inventory(business, source_idx).await {
                Ok(inventory) => self.plan_source(source_idx, source, &inventory),
                Err(ListError::Local(error)) => self.plan_from_journal(&[source_idx], &error),
                Err(ListError::Api(error)) => match self.handle_error(&mut job, business, &error) {
                    Ok(()) => jobs.push_back(job),
                    Err(Abort::Source(error)) => self.plan_from_journal(&[source_idx], &error),
                    Err(Abort::Business(error)) => {
                        let remaining = jobs.iter().map(|job| job.source_idx);
                        let remaining: Vec<usize> = remaining.chain([source_idx]).collect();
                        self.plan_from_journal(&remaining, &error);
                        break;
                    }
                },
            }
        }
        self.mark_duplicates(source_idxs);
    }

    /// Records why the inventory of these sources cannot be fetched. If the journal contains an earlier inventory, it
    /// is used, so that the rows in the journal can be written.
    fn plan_from_journal(&self, source_idxs: &[usize], error: &str) {
        self.record_error(source_idxs, error);
        for source_idx in source_idxs {
            let inventory = lock(&self.journal).inventory(*source_idx).ok().flatten();
            if let Some(inventory) = inventory {
                self.plan_source(*source_idx, &self.plan.sources[*source_idx], &inventory);
            }
        }
    }

    /// Returns the inventory of a source: from the journal if it is not older than [`INVENTORY_TTL`], else from the API.
    async fn inventory(
        &self,
        business: &BusinessConfig,
        source_idx: usize,
    ) -> Result<Inventory, ListError> {
        let journal_error =
            |error: &dyn std::fmt::Display| ListError::Local(format!("journal: {error}"));
        let source = &self.plan.sources[source_idx];
        let stored = lock(&self.journal).inventory(source_idx);
        let stored = stored.map_err(|error| journal_error(&error))?;
        let is_fresh = |inventory: &Inventory| {
            (self.now)().duration_since(inventory.fetched_at) < INVENTORY_TTL
        };
        let stored_zone = stored
            .as_ref()
            .and_then(|inventory| inventory.account.timezone.clone());
        if let Some(inventory) = stored.filter(is_fresh) {
            return Ok(inventory);
        }
        let account = match &source.kind {
            SourceKind::AdAccount { id, .. } => Some(id),
            SourceKind::Campaign(_) => None,
        };
        let caller = self.session.caller(business, account, &source.name);
        let caller = caller.map_err(ListError::Local)?;
        self.progress.set_current(&source.business, &source.name);
        let now = (self.now)();
        let inventory = self.session.call(&caller, async |session| {
            let input = graph::DiscoveryInput::first(source, now);
            graph::discover(session, input, &mut Vec::new()).await
        });
        let inventory = inventory.await.map_err(ListError::Api)?.inventory;
        if stored_zone.is_some() && stored_zone != inventory.account.timezone {
            return Err(ListError::Local(format!(
                "the time zone of {} has changed since the journal was created, and with it the limits of its days; remove the journal",
                inventory.account.id
            )));
        }
        let result = lock(&self.journal).append_inventory(source_idx, &inventory);
        result.map_err(|error| journal_error(&error))?;
        Ok(inventory)
    }

    fn plan_source(&self, source_idx: usize, source: &Source, inventory: &Inventory) {
        let account = &inventory.account;
        let Some(zone) = account.timezone.clone() else {
            let error = format!(
                "the time zone of {} is unknown, and with it the end of each day",
                account.id
            );
            return self.record_error(&[source_idx], &error);
        };
        let today = (self.now)().to_zoned(zone.clone()).date();
        let days = finished_days(self.days, today);
        let retained_days = days.and_then(|days| retained_days(days, today));
        if retained_days != days {
            let error = || format!("Meta keeps insights for {RETENTION_MONTHS} months only");
            lock(&self.errors).entry(source_idx).or_insert_with(error);
        }
        let newest_day_end =
            days.and_then(|days| days.until().tomorrow().ok()?.to_zoned(zone).ok());
        // At level account, the conversions query needs all campaign ids in one filter, which can be too many.
        let is_possible = |query_kind: &QueryKind| {
            source
                .daily_queries(*query_kind, inventory, self.days)
                .is_some()
        };
        let query_kinds: Vec<QueryKind> = source
            .query_kinds()
            .iter()
            .copied()
            .filter(is_possible)
            .collect();
        if query_kinds.len() < source.query_kinds().len() {
            tracing::warn!(business = %source.business, source = %source.name, "conversions at level account omitted, as on the metrics page: too many campaigns for one filter");
        }
        let missing_days = |query_kind: &QueryKind| {
            let gaps = retained_days.map(|days| self.gaps(source_idx, *query_kind, days));
            gaps.into_iter()
                .flatten()
                .map(DayRange::count)
                .sum::<usize>()
        };
        let missing_days: Vec<usize> = query_kinds.iter().map(missing_days).collect();
        let calls = missing_days
            .iter()
            .map(|days| source.max_daily_calls(inventory, *days));
        let plan = SourcePlan {
            account: account.id.clone(),
            days,
            retained_days,
            newest_day_end: newest_day_end.map(|end| end.timestamp()),
            campaigns: inventory.campaigns.len(),
            missing_calls: calls.sum(),
            missing_rows: missing_days.iter().sum::<usize>()
                * source.max_rows_per_day(inventory).max(1),
            query_kinds,
            is_duplicate: false,
        };
        lock(&self.source_plans).insert(source_idx, plan);
    }

    /// Marks campaign sources that belong to an ad account source of the same business, in this or another shard.
    fn mark_duplicates(&self, source_idxs: &[usize]) {
        let campaign_id = |source_idx: usize| match &self.plan.sources[source_idx].kind {
            SourceKind::Campaign(id) => Some(id),
            SourceKind::AdAccount { .. } => None,
        };
        let (campaigns, accounts): (Vec<usize>, Vec<usize>) = source_idxs
            .iter()
            .partition(|source_idx| campaign_id(**source_idx).is_some());
        if campaigns.is_empty() {
            return;
        }
        let journal = lock(&self.journal);
        let inventories = accounts
            .into_iter()
            .filter_map(|source_idx| journal.inventory(source_idx).ok().flatten());
        let listed: BTreeSet<_> = inventories
            .flat_map(|inventory| inventory.campaigns)
            .map(|campaign| campaign.id)
            .collect();
        let mut source_plans = lock(&self.source_plans);
        for source_idx in campaigns {
            if let (Some(id), Some(plan)) =
                (campaign_id(source_idx), source_plans.get_mut(&source_idx))
            {
                let inventory = journal.inventory(source_idx).ok().flatten();
                let source = &self.plan.sources[source_idx];
                let has_sibling_account =
                    inventory.is_some_and(|inventory| source.has_sibling_account(&inventory));
                plan.is_duplicate = listed.contains(id) || has_sibling_account;
            }
        }
    }
}

/// Reason why the inventory of a source is not available.
enum ListError {
    /// No request was sent, or its result cannot be used or stored.
    Local(String),
    Api(ApiError),
}

/// Returns the days that ended before `today`.
fn finished_days(days: DayRange, today: Date) -> Option<DayRange> {
    let until = days.until().min(today.yesterday().ok()?);
    DayRange::new(days.since(), until)
}

/// Returns the days that Meta still keeps at `today`.
fn retained_days(days: DayRange, today: Date) -> Option<DayRange> {
    DayRange::new(days.since().max(oldest_day(today)), days.until())
}

/// Returns the oldest day that Meta still keeps at `today`.
pub(super) fn oldest_day(today: Date) -> Date {
    today.saturating_sub(RETENTION_MONTHS.months())
}
