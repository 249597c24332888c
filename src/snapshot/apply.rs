//! Transitions of the snapshot: applying poll results, expiring old values, marking duplicates.
//!
//! A successful query replaces the rows of the one before. A failed query leaves them in place
//! until they are older than the window's `stale_after`; then they are withdrawn.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{MissingCampaigns, RowSet, Snapshot, SourceState, WindowState};
use crate::model::{AccountId, Dimensions, Inventory, ObjectId, PollError, Row};
use crate::plan::{DateSpan, SourceKind};

/// Result of one poll of one window.
#[derive(Clone, Debug, PartialEq)]
pub struct PollResult {
    /// Index of the window in its source.
    pub window_idx: usize,
    /// Time at which the poll ended.
    pub finished_at: Timestamp,
    /// Duration of the poll.
    pub duration: Duration,
    /// New inventory; `None` if discovery was not due or failed.
    pub inventory: Option<Arc<Inventory>>,
    /// Result of the delivery query.
    pub delivery: QueryResult,
    /// Result of the conversions query; `None` if the source has none.
    pub conversions: Option<QueryResult>,
}

/// Result of one query: rows, an error, or the valid rows and the error that invalidated the
/// others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryResult {
    /// Valid rows; `None` if the query failed.
    pub rows: Option<Vec<Row>>,
    /// Time of the first result page; `None` if it is that of the end of the poll.
    pub fetched_at: Option<Timestamp>,
    /// First and last day that the result covers; `None` if unknown.
    pub dates: Option<DateSpan>,
    /// Keys of rows that were received but rejected.
    pub withheld: BTreeSet<Box<str>>,
    /// Those of `withheld` with other dates than those of the window.
    pub other_dates: BTreeSet<Box<str>>,
    /// Ids of campaigns with actions that cannot be retrieved.
    pub too_heavy: BTreeSet<Box<str>>,
    /// Ids of campaigns without an answer, because a part of the query failed. Their previous rows are kept.
    pub unanswered: BTreeSet<Box<str>>,
    /// Ids of campaigns that were not requested, because an earlier part of the query answered them. Their rows are
    /// kept, and the time of the result is that of the earlier part.
    pub answered: BTreeSet<Box<str>>,
    /// Error of the query.
    pub error: Option<PollError>,
}

impl QueryResult {
    /// Returns the result of a query that failed.
    pub fn failed(error: PollError) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }

    /// Sorts and deduplicates the rows, and shares their dimensions with `state`.
    ///
    /// Result pages can shift while they are read, so that a row is received twice. The later one
    /// is kept.
    fn into_row_set(
        self,
        window_idx: usize,
        finished_at: Timestamp,
        state: &SourceState,
        previous: Option<&RowSet>,
    ) -> Option<Arc<RowSet>> {
        let mut rows = self.rows?;
        let fetched_at = self.fetched_at.unwrap_or(finished_at);
        for row in &mut rows {
            if let Some(shared) = state.shared_dimensions(&row.dimensions) {
                row.dimensions = shared;
            }
        }
        // The sort is stable: after the reversal, the later of two rows with one key comes first.
        rows.reverse();
        let mut row_set = RowSet {
            fetched_at,
            dates: self.dates,
            valid_until: None,
            rows,
            withheld: self.withheld,
            other_dates: self.other_dates,
            too_heavy: self.too_heavy,
            missing: MissingCampaigns::default(),
        };
        if !self.unanswered.is_empty() || !self.answered.is_empty() {
            row_set.keep_previous(previous, self.unanswered, self.answered);
        }
        let dates = row_set.dates;
        row_set.valid_until =
            dates.and_then(|dates| state.valid_until(window_idx, dates, row_set.fetched_at));
        let rows = &mut row_set.rows;
        rows.sort_by(|a, b| a.dimensions.key().cmp(b.dimensions.key()));
        rows.dedup_by(|duplicate, kept| duplicate.dimensions.key() == kept.dimensions.key());
        rows.shrink_to_fit();
        Some(Arc::new(row_set))
    }
}

impl PollResult {
    /// Returns a result without an inventory, rows or errors, to be filled by a poll.
    pub fn empty(window_idx: usize, at: Timestamp) -> Self {
        Self {
            window_idx,
            finished_at: at,
            duration: Duration::ZERO,
            inventory: None,
            delivery: QueryResult::default(),
            conversions: None,
        }
    }

    /// Returns the result of a poll that failed before its first query.
    pub fn failed(window_idx: usize, at: Timestamp, error: PollError) -> Self {
        Self {
            delivery: QueryResult::failed(error),
            ..Self::empty(window_idx, at)
        }
    }

    /// Returns the first error of the poll.
    pub fn error(&self) -> Option<&PollError> {
        let conversions = self.conversions.as_ref();
        let conversions = conversions.and_then(|result| result.error.as_ref());
        self.delivery.error.as_ref().or(conversions)
    }
}

impl SourceState {
    /// Returns the state after `poll`.
    #[must_use]
    pub fn apply(&self, poll: PollResult) -> Self {
        let error = poll.error().cloned();
        let mut next = match poll.inventory {
            Some(inventory) => self.with_inventory(inventory),
            None => self.clone(),
        };
        let finished_at = poll.finished_at;
        let window_idx = poll.window_idx;
        let previous = next.windows.get(window_idx).cloned();
        // The delivery rows are stored first, so that the conversions rows share their dimensions.
        let previous_rows = previous
            .as_ref()
            .and_then(|window| window.delivery.as_deref());
        let delivery = poll.delivery;
        if let Some(row_set) = delivery.into_row_set(window_idx, finished_at, &next, previous_rows)
            && let Some(window) = next.windows.get_mut(window_idx)
        {
            if row_set.missing.is_empty() {
                window.delivery_success = Some(row_set.fetched_at);
            }
            window.delivery = Some(row_set);
        }
        let previous_rows = previous
            .as_ref()
            .and_then(|window| window.conversions.as_deref());
        let conversions = poll
            .conversions
            .and_then(|result| result.into_row_set(window_idx, finished_at, &next, previous_rows));
        let Some(window) = next.windows.get_mut(window_idx) else {
            return next;
        };
        if let Some(row_set) = conversions {
            if row_set.missing.is_empty() {
                window.conversions_success = Some(row_set.fetched_at);
            }
            window.conversions = Some(row_set);
        }
        window.attempted = true;
        window.up = error.is_none();
        if window.up {
            window.last_success = Some(finished_at);
        }
        window.last_duration = Some(poll.duration);
        window.error = error;
        next
    }

    /// Returns the state with another inventory. Earlier results do not answer for the campaigns that it adds.
    #[must_use]
    pub fn with_inventory(&self, inventory: Arc<Inventory>) -> Self {
        let before = self.source.campaigns(self.inventory.as_deref());
        let before: BTreeSet<&ObjectId> = before.iter().flatten().collect();
        let campaigns = inventory.campaigns.iter().chain(&inventory.archived);
        let added = campaigns
            .map(|campaign| &campaign.id)
            .filter(|id| !before.contains(id))
            .map(|id| id.as_str().into());
        let added: BTreeSet<Box<str>> = added.collect();
        let mut next = self.clone();
        if !added.is_empty() {
            for window in &mut next.windows {
                let row_sets = [&mut window.delivery, &mut window.conversions];
                for row_set in row_sets.into_iter().flatten() {
                    Arc::make_mut(row_set).add_unknown(&added);
                }
            }
        }
        next.inventory = Some(inventory);
        next
    }

    /// Returns equal dimensions that the inventory or another row set already holds. Dimensions
    /// are most of the memory of a row, and all queries of all windows return the same ones.
    fn shared_dimensions(&self, dimensions: &Dimensions) -> Option<Arc<Dimensions>> {
        let inventory = self.inventory.as_ref();
        if let Some(shared) =
            inventory.and_then(|inventory| inventory.shared_dimensions(dimensions))
        {
            return Some(shared);
        }
        let row_sets = self
            .windows
            .iter()
            .flat_map(|window| [&window.delivery, &window.conversions]);
        row_sets.flatten().find_map(|row_set| {
            let row = row_set.row(dimensions.key())?;
            (*row.dimensions == *dimensions).then(|| Arc::clone(&row.dimensions))
        })
    }

    /// Returns the state of the window with this name.
    fn window_of_name(&self, name: &str) -> Option<&WindowState> {
        let mut windows = self.source.windows.iter().zip(&self.windows);
        let found = windows.find(|(window, _)| window.name.as_ref() == name);
        found.map(|(_, state)| state)
    }

    /// Returns the time at which the next row set expires.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let windows = self.windows.iter();
        let times = |window: &WindowState| {
            let total = window.account_spend_expiry();
            window.expiry_times().chain(total).min()
        };
        windows.filter_map(times).min()
    }

    /// Returns the state without the row sets that are expired at `now`, or `None` if none is.
    pub fn expire(&self, now: Timestamp) -> Option<Self> {
        let has_expired = |window: &WindowState| {
            let total = window.account_spend_expiry();
            window
                .expiry_times()
                .chain(total)
                .any(|expiry| expiry <= now)
        };
        if !self.windows.iter().any(has_expired) {
            return None;
        }
        let mut next = self.clone();
        for window in &mut next.windows {
            let stale_after = window.stale_after;
            let is_expired = |row_set: &mut Arc<RowSet>| row_set.expires_at(stale_after) <= now;
            let delivery = window.delivery.take_if(is_expired);
            let conversions = window.conversions.take_if(is_expired);
            window.up &= delivery.is_none() && conversions.is_none();
            let row_sets = [&mut window.delivery, &mut window.conversions];
            for row_set in row_sets.into_iter().flatten() {
                let expiry = row_set.missing_expires_at(stale_after);
                if expiry.is_some_and(|expiry| expiry <= now) {
                    Arc::make_mut(row_set).expire_missing(stale_after, now);
                }
            }
            if window
                .account_spend_expiry()
                .is_some_and(|expiry| expiry <= now)
            {
                window.account_spend = None;
            }
        }
        Some(next)
    }

    /// Returns the midnight at which values of these dates no longer belong to a window; `None` if the time zone is
    /// unknown.
    pub(super) fn valid_until(
        &self,
        window_idx: usize,
        dates: DateSpan,
        fetched_at: Timestamp,
    ) -> Option<Timestamp> {
        let timezone = self.inventory.as_ref()?.account.timezone.as_ref()?;
        let window = self.source.windows.get(window_idx)?;
        let day = fetched_at.to_zoned(timezone.clone()).date();
        match window.dates_on(day) {
            // Midnight passed while the result was on its way.
            Some((first, _)) if dates.1 < first => Some(fetched_at),
            // The API's clock is ahead: its day is already the next one.
            Some((_, last)) if last < dates.0 => {
                window.valid_until(dates, day.tomorrow().ok()?, timezone)
            }
            _ => window.valid_until(dates, day, timezone),
        }
    }
}

impl WindowState {
    fn expiry_times(&self) -> impl Iterator<Item = Timestamp> {
        let row_sets = [&self.delivery, &self.conversions].into_iter().flatten();
        row_sets.flat_map(|row_set| {
            let missing = row_set.missing_expires_at(self.stale_after);
            missing
                .into_iter()
                .chain([row_set.expires_at(self.stale_after)])
        })
    }
}

impl RowSet {
    fn expires_at(&self, stale_after: Duration) -> Timestamp {
        let stale_at = self.fetched_at + stale_after;
        self.valid_until
            .map_or(stale_at, |until| until.min(stale_at))
    }
}

impl Snapshot {
    /// Returns a snapshot in which one source has the new state. The states of other sources are
    /// shared with this snapshot, except that campaign sources of the same business are marked as
    /// duplicates, or no longer.
    #[must_use]
    pub fn with_source(&self, source_idx: usize, state: SourceState) -> Self {
        let mut next = self.clone();
        if let Some(entry) = next.sources.get_mut(source_idx) {
            *entry = Arc::new(state);
        }
        let business = next.business_range(source_idx);
        mark_duplicates(&mut next.sources[business]);
        next
    }

    /// Returns the indexes of all sources of the business that the source belongs to.
    pub fn business_range(&self, source_idx: usize) -> Range<usize> {
        let source_idx = source_idx.min(self.sources.len());
        let (before, from) = self.sources.split_at(source_idx);
        let business = from.first().map(|state| &state.source.business);
        let in_business = |state: &&Arc<SourceState>| Some(&state.source.business) == business;
        let before = before.iter().rev().take_while(in_business).count();
        source_idx - before..source_idx + from.iter().take_while(in_business).count()
    }

    /// Returns the snapshot without the row sets that are expired at `now`, or `None` if none is.
    pub fn expire(&self, now: Timestamp) -> Option<Self> {
        let mut changed = false;
        let sources = self.sources.iter().map(|state| match state.expire(now) {
            Some(next) => {
                changed = true;
                Arc::new(next)
            }
            None => Arc::clone(state),
        });
        let mut next = Self {
            sources: sources.collect(),
        };
        changed.then(|| {
            next.mark_all_duplicates();
            next
        })
    }

    /// Returns the time at which the next row set expires.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let sources = self.sources.iter();
        sources.filter_map(|state| state.next_expiry()).min()
    }

    /// Updates [`SourceState::duplicate`] of all sources.
    pub(super) fn mark_all_duplicates(&mut self) {
        self.businesses().for_each(mark_duplicates);
    }

    /// Iterates over the sources of each business, which are adjacent in every plan.
    fn businesses(&mut self) -> impl Iterator<Item = &mut [Arc<SourceState>]> {
        let same_business =
            |a: &Arc<SourceState>, b: &Arc<SourceState>| a.source.business == b.source.business;
        self.sources.chunk_by_mut(same_business)
    }
}

/// Updates [`SourceState::duplicate`] of the sources of one business.
fn mark_duplicates(sources: &mut [Arc<SourceState>]) {
    mark_described_accounts(sources);
    let is_campaign =
        |state: &Arc<SourceState>| matches!(state.source.kind, SourceKind::Campaign(_));
    if !sources.iter().any(is_campaign) {
        return;
    }
    // By campaign, the ad account source that has it.
    let mut owners: BTreeMap<Box<str>, Arc<SourceState>> = BTreeMap::new();
    for state in sources.iter() {
        let inventory = state.inventory.as_ref();
        let Some(inventory) = inventory.filter(|_| !is_campaign(state)) else {
            continue;
        };
        for campaign in inventory.campaigns.iter().chain(&inventory.archived) {
            owners.insert(campaign.id.as_str().into(), Arc::clone(state));
        }
    }
    for state in sources {
        let SourceKind::Campaign(id) = &state.source.kind else {
            continue;
        };
        // The configured id can be that of an ad or ad set.
        let resolved = state.source.resolved_campaign(state.inventory.as_deref());
        let owner = owners.get(resolved.unwrap_or(id).as_str());
        // An ad account source that another shard polls has no state here.
        let has_sibling = state
            .inventory
            .as_ref()
            .is_some_and(|inventory| state.source.has_sibling_account(inventory));
        let duplicate = owner.is_some() || has_sibling;
        let covered: Vec<bool> = state
            .source
            .windows
            .iter()
            .map(|window| {
                let shown = owner.and_then(|owner| owner.window_of_name(&window.name));
                shown.is_some_and(|window| window.delivery.is_some()) || has_sibling
            })
            .collect();
        let is_current = duplicate == state.duplicate
            && state
                .windows
                .iter()
                .map(|window| window.duplicate)
                .eq(covered.iter().copied());
        if !is_current {
            let state = Arc::make_mut(state);
            state.duplicate = duplicate;
            for (window, duplicate) in state.windows.iter_mut().zip(covered) {
                window.duplicate = duplicate;
            }
        }
    }
}

/// Updates [`SourceState::describes_account`] of the sources of one business: the first source of each ad account
/// describes it, preferably an ad account source.
fn mark_described_accounts(sources: &mut [Arc<SourceState>]) {
    let account = |state: &SourceState| {
        let inventory = state.inventory.as_ref()?;
        let account = &inventory.account;
        account.is_readable().then(|| account.id.clone())
    };
    let is_account_source =
        |state: &SourceState| matches!(state.source.kind, SourceKind::AdAccount { .. });
    let mut described: BTreeSet<AccountId> = BTreeSet::new();
    let own = sources
        .iter()
        .filter(|state| is_account_source(state))
        .filter_map(|state| account(state));
    let of_account_sources: BTreeSet<AccountId> = own.collect();
    for state in sources {
        let describes = account(state).is_some_and(|id| {
            (is_account_source(state) || !of_account_sources.contains(&id)) && described.insert(id)
        });
        if describes != state.describes_account {
            Arc::make_mut(state).describes_account = describes;
        }
    }
}
