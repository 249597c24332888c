//! Application of a new config to a running scheduler.
//!
//! Unchanged sources keep their values and schedule, removed ones disappear from snapshot and metrics, and new ones
//! are polled immediately.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use super::business::BusinessState;
use super::due_queue::DueQueue;
use super::state::{NewConfig, Scheduler, SourceRuntime, limiter_config, polled_businesses};
use crate::model::AccountId;
use crate::plan::SourceKind;
use crate::platform::clock;
use crate::snapshot::{Snapshot, SourceState};

impl Scheduler {
    /// Replaces the config.
    pub(super) fn reload(&mut self, new_config: NewConfig) {
        let NewConfig {
            config,
            plan,
            client,
            applied,
        } = new_config;
        let mut moved_tokens = Vec::new();
        let before = Arc::clone(&self.snapshot);
        let mut old_businesses: BTreeMap<_, _> = std::mem::take(&mut self.businesses);
        let old_sources = std::mem::take(&mut self.sources);
        self.deps.client = client;
        self.polling = config.polling.clone();
        self.request_timeout = config.graph.timeout;
        let version_changed = self.api_version != config.graph.version;
        self.api_version.clone_from(&config.graph.version);
        let limiter_config = limiter_config(&config, &plan);
        if limiter_config != self.limiter.limits() {
            self.limiter.set_limits(limiter_config);
        }
        for business in polled_businesses(&config, &plan) {
            let name = Box::from(business.name.as_str());
            let old = old_businesses.remove(&name);
            let is_known = old.is_some();
            let unchanged = old.filter(|old| old.matches_config(business));
            if is_known && unchanged.is_none() {
                moved_tokens.push(Box::<str>::clone(&name));
            }
            // Another token source may provide another token.
            let mut state = unchanged.unwrap_or_else(|| {
                self.limiter.unblock_business(&name);
                BusinessState::new(business)
            });
            // Another version or config may make a rejected field valid.
            state.request_fields_at = None;
            self.businesses.insert(name, state);
        }
        // The causes may have been fixed.
        self.limiter.end_refusals();
        self.breakers.clear();
        self.snapshot = Arc::new(Snapshot::restore(&plan, &before, clock::now()));
        self.restore_sources(&before, old_sources);
        if version_changed {
            for source in &mut self.sources {
                source.mode.reset();
            }
        }
        let removed_businesses = old_businesses.into_keys().map(|name| (name, None));
        self.removed.extend(removed_businesses);
        let old_accounts = before.sources.iter().map(|source_state| {
            let business = source_state.source.business.clone();
            (business, source_account(source_state))
        });
        self.removed.extend(old_accounts);
        self.prune_removed();
        self.publish_source_counts(&plan);
        let sources = plan.sources.iter();
        let planned: BTreeSet<_> = sources
            .map(|source| (&source.business, &source.name))
            .collect();
        self.failures
            .retain(|(business, source, _)| planned.contains(&(business, source)));
        for business in moved_tokens {
            self.poll_business_now(&business);
        }
        // Windows that waited for secrets of the previous config.
        for source_idx in 0..self.sources.len() {
            self.start_next(source_idx);
        }
        self.deps.publish.send_replace(Arc::clone(&self.snapshot));
        if let Some(applied) = applied {
            // Fails if the caller has given up waiting.
            let _ = applied.send(Arc::clone(&self.snapshot));
        }
    }

    /// Removes businesses and ad accounts without a source from the self metrics and their health. Called again whenever
    /// a task ends until no task of a removed source is left, because such a task can still update them.
    pub(super) fn prune_removed(&mut self) {
        let sources = &self.snapshot.sources;
        self.removed.retain(|(business, account)| {
            let mut business_sources = sources
                .iter()
                .filter(|source_state| source_state.source.business == *business);
            !self.businesses.contains_key(business)
                || account.is_some()
                    && business_sources.all(|source_state| source_account(source_state) != *account)
        });
        for (business, account) in &self.removed {
            match account {
                Some(account) if self.businesses.contains_key(business) => {
                    self.deps.health.remove_account(business, account.digits());
                }
                _ => {
                    self.deps.health.remove_business(business);
                    self.deps.self_metrics.remove_business(business);
                }
            }
        }
        if self.is_settled() {
            self.removed.clear();
        }
    }

    /// Moves the runtime state and due times of unchanged sources to their new indexes, and aborts the polls of
    /// changed and removed sources.
    ///
    /// Failed polls are repeated at once.
    fn restore_sources(&mut self, before: &Snapshot, old_sources: Vec<SourceRuntime>) {
        let now = Instant::now();
        self.postponed.clear();
        let old_queue: DueQueue = std::mem::take(&mut self.due_queue);
        let mut old: HashMap<(&str, &str), (usize, &SourceState, SourceRuntime)> = HashMap::new();
        for (old_idx, (source_state, runtime)) in before.sources.iter().zip(old_sources).enumerate()
        {
            old.insert(source_key(source_state), (old_idx, source_state, runtime));
        }
        let snapshot = Arc::clone(&self.snapshot);
        let mut new_idxs = HashMap::new();
        for (source_idx, source_state) in snapshot.sources.iter().enumerate() {
            let source = &source_state.source;
            let (runtime, due_times) = match old.remove(&source_key(source_state)) {
                // Labels and thresholds may differ, because they are applied when the page is rendered. A running
                // poll depends on everything else.
                Some((old_idx, old_state, mut runtime))
                    if source.same_queries(&old_state.source) =>
                {
                    new_idxs.insert(old_idx, source_idx);
                    let inventory = source_state.inventory.as_ref();
                    if inventory.is_some_and(|inventory| source.needs_rediscovery(inventory)) {
                        runtime.discover_at = None;
                    }
                    let mut due_times = old_queue.due_times(old_idx).to_vec();
                    for (due, window) in due_times.iter_mut().zip(&mut runtime.windows) {
                        if std::mem::take(&mut window.failures) > 0 {
                            *due = now;
                        }
                    }
                    (runtime, due_times)
                }
                _ => (
                    self.new_source(source_idx),
                    self.initial_due_times(source_idx),
                ),
            };
            self.sources.push(runtime);
            self.due_queue.add(due_times);
        }
        self.reindex();
        let mut interrupted = Vec::new();
        self.running_polls.retain(|_, poll| {
            let moved: Vec<usize> = poll
                .source_idxs
                .iter()
                .filter_map(|old_idx| new_idxs.get(old_idx).copied())
                .collect();
            if moved.len() == poll.source_idxs.len() {
                poll.source_idxs = moved;
                return true;
            }
            poll.abort.abort();
            interrupted.extend(moved);
            false
        });
        // Other sources of the same poll are polled again.
        for source_idx in interrupted {
            if let Some(source) = self.sources.get_mut(source_idx) {
                source.is_polling = false;
                let windows = std::mem::take(&mut source.running_windows);
                source.due_windows.extend(windows);
            }
        }
    }
}

/// Returns what identifies a source across reloads: business and source name.
fn source_key(source_state: &SourceState) -> (&str, &str) {
    let source = &source_state.source;
    (source.business.as_ref(), source.name.as_ref())
}

/// Returns the ad account of a source; `None` for a campaign before its first discovery.
pub(super) fn source_account(source_state: &SourceState) -> Option<AccountId> {
    match (&source_state.source.kind, &source_state.inventory) {
        (SourceKind::AdAccount { id, .. }, _) => Some(id.clone()),
        (SourceKind::Campaign(_), inventory) => inventory
            .as_ref()
            .map(|inventory| inventory.account.id.clone()),
    }
}
