//! End of a poll: records what was learned about the API, publishes the result, and schedules the next poll.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError};
use tokio::time::Instant;

use super::breaker::{Admission, Availability, BreakerScope};
use super::due_queue::WindowRef;
use super::group_poll::{MemberOutcome, TaskOutcome};
use super::poll::{DiscoveryMemory, PollOutcome, ResumePoint};
use super::reload::source_account;
use super::state::{RunningPoll, Scheduler, duration_until, to_timestamp, today};
use super::telemetry;
use crate::model::{ErrorReason, PollError, early_retry_backoff, exponential_backoff};
use crate::plan::ACCOUNT_SPEND_INTERVAL;
use crate::platform::clock;
use crate::snapshot::{PollResult, SourceState};

/// Time after which sources are polled together again after the token could not read their ad account.
const GROUP_RETRY_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Time after which a list that lost many campaigns is requested again.
const LOSS_CONFIRMATION: Duration = Duration::from_secs(60);

impl Scheduler {
    /// Applies the outcome of a poll task that ended, and starts the next queued poll of its source.
    pub(super) fn on_poll_finished(&mut self, ended: Result<(Id, TaskOutcome), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        // A task without an entry polled a source that a reload removed.
        let Some(running) = self.running_polls.remove(&id) else {
            self.prune_removed();
            return;
        };
        let RunningPoll {
            source_idxs,
            window_idxs,
            ..
        } = running;
        for source_idx in &source_idxs {
            self.sources[*source_idx].running_windows.clear();
            self.sources[*source_idx].is_polling = false;
            // The due time was not published while the poll was running.
            self.expiry_watch.changed_sources.insert(*source_idx);
        }
        match ended {
            Ok((_, outcomes)) => {
                for (source_idx, outcome) in source_idxs.iter().zip(outcomes) {
                    match outcome {
                        MemberOutcome::Polled(outcome) => {
                            self.apply_outcome(*source_idx, *outcome);
                        }
                        MemberOutcome::Elsewhere => {
                            let missed = &mut self.sources[*source_idx].missed_groups;
                            *missed = missed.saturating_add(1);
                            self.poll_apart(*source_idx, &window_idxs);
                        }
                        MemberOutcome::Refused => {
                            let until = Instant::now() + GROUP_RETRY_INTERVAL;
                            self.sources[*source_idx].apart_until = Some(until);
                            self.poll_apart(*source_idx, &window_idxs);
                        }
                    }
                }
            }
            Err(error) if error.is_panic() => {
                for source_idx in &source_idxs {
                    self.breakers.abandon_probe(*source_idx);
                    for window_idx in &window_idxs {
                        let error = PollError::new(
                            ErrorReason::Panicked,
                            "the poll panicked; please report this bug",
                        );
                        let result = PollResult::failed(*window_idx, clock::now(), error);
                        self.finish_poll(*source_idx, result);
                    }
                }
            }
            // The task was aborted.
            Err(_) => {
                for source_idx in &source_idxs {
                    self.breakers.abandon_probe(*source_idx);
                }
            }
        }
        for source_idx in source_idxs {
            self.start_next(source_idx);
        }
    }

    /// Queues windows of a source that a poll of several sources did not include.
    fn poll_apart(&mut self, source_idx: usize, window_idxs: &[usize]) {
        let due_windows = &mut self.sources[source_idx].due_windows;
        for window_idx in window_idxs {
            if !due_windows.contains(window_idx) {
                due_windows.push_back(*window_idx);
            }
        }
    }

    /// Records what a poll learned about the API, then its result.
    fn apply_outcome(&mut self, source_idx: usize, outcome: PollOutcome) {
        let source_state = Arc::clone(&self.snapshot.sources[source_idx]);
        let business = source_state.source.business.as_ref();
        let source_name = source_state.source.name.as_ref();
        let self_metrics = Arc::clone(&self.deps.self_metrics);
        let source = &mut self.sources[source_idx];
        let known_fields = &source.rejected_fields;
        let mut rejected_fields = outcome.rejected_fields;
        // Fields that became requested again while the poll was running stay so.
        let is_current = |field: &String| {
            known_fields.contains(field) || !outcome.omitted_fields.contains(field)
        };
        rejected_fields.retain(is_current);
        let newly_rejected = rejected_fields
            .iter()
            .filter(|field| !known_fields.contains(field));
        for field in newly_rejected {
            // Each source learns this separately; it is logged once per business.
            if self_metrics.set_field_rejected(business, field) {
                tracing::warn!(
                    business,
                    source = source_name,
                    field,
                    "field rejected by the API; omitting it from further queries"
                );
            }
        }
        telemetry::record_invalid(&self_metrics, &source_state, &outcome.invalid);
        if outcome.has_discovered {
            let inventory = outcome.inventory.as_deref();
            let error = outcome.discovery_error.as_ref();
            telemetry::log_discovery(&source_state, inventory, error, outcome.suspected_loss);
        }
        source.rejected_fields = rejected_fields;
        let mode_before = source.mode.confirmed();
        source.mode = outcome.mode;
        let mode = source.mode.confirmed();
        if let (Some(mode), true) = (mode, mode != mode_before && mode_before.is_some()) {
            tracing::info!(
                business,
                source = source_name,
                mode = mode.as_str(),
                "API queries adapted to what the API accepts"
            );
        }
        for job in &outcome.windows {
            if let Some(window) = source.windows.get_mut(job.window_idx) {
                window.probe_history = job.probe_history;
                window.page_size = job.page_size;
            }
        }
        let discovered = outcome.inventory.is_some();
        if outcome.has_discovered {
            source.has_requested_early_spend = false;
            // What failed is tried again with the next poll, or when the pause of its limit ends.
            source.discover_at = outcome
                .discovery_error
                .is_none()
                .then(|| Instant::now() + self.polling.discovery_interval);
            source.discovery = DiscoveryMemory {
                failures: if outcome.discovery_error.is_some() {
                    source.discovery.failures.saturating_add(1)
                } else {
                    0
                },
                is_loss_suspected: outcome.suspected_loss > 0,
                retry_first_form: !discovered && source.discovery.retry_first_form,
            };
            let confirm_after = LOSS_CONFIRMATION.min(self.polling.discovery_interval);
            source.confirm_at =
                (outcome.suspected_loss > 0).then(|| Instant::now() + confirm_after);
        }
        // A campaign that the inventory does not contain may be new, so it triggers one discovery. If the new
        // inventory does not contain it either, it is deleted or belongs to another ad account.
        let has_new_unlisted = outcome
            .unlisted_campaigns
            .iter()
            .any(|id| !source.unlisted_campaigns.contains(id));
        if has_new_unlisted && !discovered {
            source.discover_at = None;
        }
        // Ids are removed only when an inventory contains them: not every window has rows of every campaign.
        if let Some(inventory) = outcome.inventory.as_deref() {
            source
                .unlisted_campaigns
                .retain(|id| !inventory.contains(id));
        }
        source.unlisted_campaigns.extend(outcome.unlisted_campaigns);
        let mut errors = outcome.results.iter().filter_map(PollResult::error);
        if let Some(error) = errors.find(|error| error.reason == ErrorReason::Forbidden) {
            let scope = self.request_scope(source_idx);
            self.limiter.block_source(&scope, error);
        }
        let has_listed = discovered && outcome.discovery_error.is_none();
        self.record_availability(source_idx, &outcome.results, has_listed);
        if outcome.has_discovered {
            let mut state = SourceState::clone(&source_state);
            state.discovery_error = outcome.discovery_error;
            if state.discovery_error.is_none() {
                state.discovery_success = Some(clock::now());
            }
            // The inventory becomes visible together with the first result.
            if let (true, Some(inventory)) = (outcome.results.is_empty(), &outcome.inventory) {
                state = state.with_inventory(Arc::clone(inventory));
            }
            self.expiry_watch.changed_sources.insert(source_idx);
            let snapshot = self.snapshot.with_source(source_idx, state);
            self.publish(snapshot);
        }
        let inventory = outcome.inventory;
        for result in outcome.results {
            let result = PollResult {
                inventory: inventory.clone(),
                ..result
            };
            self.finish_poll(source_idx, result);
        }
        if let Some(totals) = outcome.account_spend {
            self.sources[source_idx].account_spend_at =
                Some(Instant::now() + ACCOUNT_SPEND_INTERVAL);
            let mut state = SourceState::clone(&self.snapshot.sources[source_idx]);
            for (window_idx, total) in totals {
                state = state.with_account_spend(window_idx, total);
            }
            self.expiry_watch.track_expiry(&state);
            let snapshot = self.snapshot.with_source(source_idx, state);
            self.publish(snapshot);
        }
        // At most once per discovery, whatever the cause.
        let source = &mut self.sources[source_idx];
        if !source.has_requested_early_spend
            && self.snapshot.sources[source_idx].has_outdated_account_spend()
        {
            source.has_requested_early_spend = true;
            source.account_spend_at = None;
        }
        let account = source_account(&self.snapshot.sources[source_idx]);
        if let (Some(mode), Some(account)) = (mode, account) {
            self.deps.health.update(business, |health| {
                health.query_modes.insert(account.digits().into(), mode);
            });
        }
    }

    /// Counts and logs a poll, schedules the next one, and publishes the result.
    pub(super) fn finish_poll(&mut self, source_idx: usize, result: PollResult) {
        let source_state = Arc::clone(&self.snapshot.sources[source_idx]);
        let window_idx = result.window_idx;
        let error = result.error().cloned();
        let reason = error.as_ref().map(|error| error.reason);
        self.deps
            .self_metrics
            .record_poll(&source_state.source.business, reason);
        telemetry::log_poll(&mut self.failures, &source_state, &result, error.as_ref());
        if let Some(business) = self.businesses.get_mut(&source_state.source.business) {
            match reason {
                None => business.token_rejected = false,
                Some(ErrorReason::Unauthenticated | ErrorReason::Misconfigured) => {
                    business.token_rejected = true
                }
                Some(_) => {}
            }
        }
        if error.is_none() {
            self.limiter.record_success(&self.request_scope(source_idx));
        }
        let now = Instant::now();
        let regular_due = self.next_regular_due(source_idx, window_idx);
        let paused_until = self.source_paused_until(source_idx);
        let page_size = self.sources[source_idx].windows[window_idx].page_size.rows;
        let query_mode = self.sources[source_idx].mode.confirmed();
        let inventory = result
            .inventory
            .as_ref()
            .or(source_state.inventory.as_ref());
        let campaigns = source_state.source.campaigns(inventory.map(AsRef::as_ref));
        let window = &mut self.sources[source_idx].windows[window_idx];
        window.resume_point = ResumePoint::after(
            &result,
            &campaigns.unwrap_or_default(),
            window.resume_point.take(),
            now,
        );
        window.failures = if error.is_some() {
            window.failures.saturating_add(1)
        } else {
            0
        };
        let interval = source_state.source.windows[window_idx].interval(today());
        let backoff_max = self.polling.backoff_max;
        let member = &self.breaker_members[source_idx];
        let admission = self.breakers.admit(member, now);
        let mut is_postponed = false;
        let due = match (reason, admission) {
            (Some(ErrorReason::Unavailable), Admission::Postpone(until)) => {
                is_postponed = true;
                until
            }
            (reason, _) => match reason {
                None => regular_due,
                // When the pause ends.
                Some(
                    ErrorReason::Throttled
                    | ErrorReason::Unauthenticated
                    | ErrorReason::Misconfigured
                    | ErrorReason::Forbidden,
                ) => {
                    is_postponed = paused_until.is_some();
                    // Without a pause, the poll ended because it waited too long for its quota.
                    paused_until.unwrap_or_else(|| match reason {
                        Some(ErrorReason::Throttled) => {
                            now + early_retry_backoff(interval, window.failures, backoff_max)
                        }
                        _ => regular_due,
                    })
                }
                Some(ErrorReason::Unavailable | ErrorReason::InvalidResponse) => {
                    now + early_retry_backoff(interval, window.failures, backoff_max)
                }
                Some(ErrorReason::Rejected | ErrorReason::Panicked) => {
                    now + exponential_backoff(interval, window.failures, backoff_max)
                }
            },
        };
        let window_ref = WindowRef {
            source_idx,
            window_idx,
        };
        if is_postponed {
            self.postpone(window_ref, due);
        } else {
            self.reschedule(window_ref, due);
        }
        let archived_interval = self.archived_interval(source_idx);
        let interval_in_force = self.interval_in_force(source_idx, window_idx);
        let mut next_state = source_state.apply(result);
        next_state.paused_until = paused_until.map(to_timestamp);
        next_state.query_mode = query_mode;
        next_state.refusals = self.refusals(source_idx);
        let reads = self.limiter.recent_reads(&self.request_scope(source_idx));
        let now_at = clock::now();
        next_state.recent_reads = reads.into_iter().map(|age| now_at - age).collect();
        if let Some(window) = next_state.windows.get_mut(window_idx) {
            window.next_poll = Some(to_timestamp(due));
            window.page_size = Some(page_size);
            window.interval = interval_in_force;
            window.stale_after = next_state.source.windows[window_idx]
                .stale_after(today())
                .max(2 * archived_interval.unwrap_or_default());
        }
        self.expiry_watch.track_expiry(&next_state);
        let before = Arc::clone(&self.snapshot);
        self.publish(before.with_source(source_idx, next_state));
        // The time zone may have become known with this poll.
        if let Some(at) = self.due_after_midnight(source_idx, window_idx) {
            let at = now + duration_until(at);
            if at < due && reason.is_none_or(should_poll_after_midnight) {
                self.reschedule(window_ref, at);
            }
        }
        let warned_rows = &mut self.sources[source_idx].warned_rows;
        telemetry::warn_on_change(&before, &self.snapshot, source_idx, window_idx, warned_rows);
    }

    /// Records whether the API answered a poll. When a breaker closes, its failed windows are due; when one opens, they
    /// wait for its probes.
    fn record_availability(&mut self, source_idx: usize, results: &[PollResult], has_listed: bool) {
        let mut has_answer = has_listed;
        let mut is_unavailable = false;
        for result in results {
            let conversions = result.conversions.as_ref();
            has_answer |= result.delivery.rows.is_some()
                || conversions.is_some_and(|result| result.rows.is_some());
            match result.error().map(|error| error.reason) {
                Some(ErrorReason::Unavailable) => is_unavailable = true,
                // Nothing may have been sent.
                Some(ErrorReason::Throttled | ErrorReason::Misconfigured) => {}
                _ => has_answer = true,
            }
        }
        let availability = match (has_answer, is_unavailable) {
            (true, _) => Availability::Answered,
            (false, true) => Availability::Unavailable,
            (false, false) => return self.breakers.abandon_probe(source_idx),
        };
        let (now, today) = (Instant::now(), today());
        let member = self.breaker_members[source_idx].clone();
        let windows = &self.snapshot.sources[source_idx].source.windows;
        let intervals = windows.iter().map(|window| window.interval(today));
        let interval = intervals.min().unwrap_or_default();
        let (closed, opened) = self.breakers.record(&member, availability, interval, now);
        for scope in &opened {
            tracing::warn!(
                scope = scope_name(scope),
                "API unavailable; single polls replace all others until it answers"
            );
        }
        for scope in &closed {
            tracing::info!(
                scope = scope_name(scope),
                "API available again; polling what is due"
            );
        }
        for scope in closed.iter().chain(&opened) {
            self.reschedule_failed(scope, opened.contains(scope));
        }
    }

    /// Makes the failed windows of a breaker due now, or postpones them to its next probe.
    fn reschedule_failed(&mut self, scope: &BreakerScope, is_open: bool) {
        let now = Instant::now();
        for source_idx in 0..self.sources.len() {
            let member = &self.breaker_members[source_idx];
            if !member.scopes.iter().any(|(other, _)| other == scope) {
                continue;
            }
            let admission = self.breakers.admit(member, now);
            for window_idx in 0..self.sources[source_idx].windows.len() {
                let window_ref = WindowRef {
                    source_idx,
                    window_idx,
                };
                let has_failed = self.sources[source_idx].windows[window_idx].failures > 0;
                if !has_failed && !self.postponed.contains(&window_ref) {
                    continue;
                }
                match admission {
                    Admission::Postpone(until) if is_open => self.postpone(window_ref, until),
                    _ => self.reschedule(window_ref, now),
                }
            }
        }
    }

    /// Makes windows due after a pause that ended earlier than expected.
    pub(super) fn release_postponed(&mut self) {
        let version = self.limiter.version();
        if version == self.checked_pauses {
            return;
        }
        self.checked_pauses = version;
        let now = Instant::now();
        for window_ref in self.postponed.clone() {
            let WindowRef {
                source_idx,
                window_idx,
            } = window_ref;
            let due = self.due_queue.due_times(source_idx)[window_idx];
            let member = &self.breaker_members[source_idx];
            let admission = self.breakers.admit(member, now);
            match (self.source_paused_until(source_idx), admission) {
                (Some(until), _) if until < due => self.postpone(window_ref, until),
                (None, Admission::Poll) if due > now => self.reschedule(window_ref, now),
                _ => {}
            }
        }
    }

    /// Records a failed poll of a window of a business without readable credentials.
    pub(super) fn fail_missing_token(&mut self, window_ref: WindowRef, message: String) {
        let WindowRef {
            source_idx,
            window_idx,
        } = window_ref;
        let business = self.snapshot.sources[source_idx].source.business.clone();
        self.deps
            .health
            .update(&business, |health| health.credentials_loaded = Some(false));
        let error = PollError::new(ErrorReason::Misconfigured, message);
        self.limiter.block_business(&business, &error);
        let result = PollResult::failed(window_idx, clock::now(), error);
        self.finish_poll(source_idx, result);
    }
}

/// Returns the name of a breaker's scope, for logs.
fn scope_name(scope: &BreakerScope) -> String {
    match scope {
        BreakerScope::Api => "api".to_owned(),
        BreakerScope::App(id) => format!("app {id}"),
        BreakerScope::Business(name) => format!("business {name}"),
    }
}

/// Returns whether a window is polled after midnight although its last poll failed for this reason: not while its
/// source is paused.
fn should_poll_after_midnight(reason: ErrorReason) -> bool {
    match reason {
        ErrorReason::Throttled
        | ErrorReason::Unauthenticated
        | ErrorReason::Misconfigured
        | ErrorReason::Forbidden => false,
        ErrorReason::Rejected
        | ErrorReason::Unavailable
        | ErrorReason::InvalidResponse
        | ErrorReason::Panicked => true,
    }
}
