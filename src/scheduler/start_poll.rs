//! Start of polls: due windows are queued per source, and each source runs one poll at a time.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError};
use tokio::time::{Instant, timeout_at};

use super::breaker::Admission;
use super::business::SecretRead;
use super::due_queue::WindowRef;
use super::group_poll::{GroupJob, MemberOutcome, TaskOutcome};
use super::poll::{LastRows, PollJob, WindowJob};
use super::state::{RunningPoll, Scheduler, today};
use super::telemetry;
use crate::graph::{
    ApiCaller, CallRecord, Credentials, MAX_ATTEMPTS, PollDeadline, RequestKind, RequestScope,
    Session,
};
use crate::plan::ACCOUNT_SPEND_INTERVAL;
use crate::platform::secrets::SecretError;

/// Time after which fields that the API rejected are requested again.
const REJECTED_FIELD_RETRY_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum time before its due time at which a window is requested together with others of its source.
const MAX_EARLY_POLL: Duration = Duration::from_secs(60);

impl Scheduler {
    /// Starts the due windows round-robin over the businesses: the first source of each, then the second, and so on.
    /// Windows that never succeeded are first.
    pub(super) fn start_due(&mut self) {
        let now = Instant::now();
        let mut due = self.due_queue.due_before(now);
        let is_closed = self.breakers.is_closed();
        due.sort_by_cached_key(|window_ref| {
            let WindowRef {
                source_idx,
                window_idx,
            } = *window_ref;
            let member = &self.breaker_members[source_idx];
            let probe_order = (!is_closed).then(|| self.breakers.probe_order(member));
            let window = &self.snapshot.sources[source_idx].windows[window_idx];
            let never_succeeded = window.last_success.is_none();
            let position = self.sources[source_idx].business_position;
            (probe_order, Reverse(never_succeeded), position, *window_ref)
        });
        // All due windows of a source are queued before its poll starts, which then requests them together.
        for window_ref in &due {
            self.on_due(*window_ref, now);
        }
        for window_ref in due {
            self.start_next(window_ref.source_idx);
        }
    }

    /// Queues a due window and schedules its next poll. A paused window is rescheduled instead; one that is queued or
    /// running already is counted as skipped.
    fn on_due(&mut self, window_ref: WindowRef, now: Instant) {
        let WindowRef {
            source_idx,
            window_idx,
        } = window_ref;
        if let Some(paused_until) = self.source_paused_until(source_idx) {
            return self.postpone(window_ref, paused_until);
        }
        let member = &self.breaker_members[source_idx];
        match self.breakers.admit(member, now) {
            Admission::Poll => {}
            Admission::Probe => self.breakers.begin_probe(member),
            Admission::Postpone(until) => return self.postpone(window_ref, until),
        }
        let next_due = self.next_regular_due(source_idx, window_idx);
        self.reschedule(window_ref, next_due);
        if self.snapshot.sources[source_idx].windows[window_idx].duplicate {
            return;
        }
        let source = &mut self.sources[source_idx];
        if source.running_windows.contains(&window_idx) || source.due_windows.contains(&window_idx)
        {
            let business = &self.snapshot.sources[source_idx].source.business;
            self.deps.self_metrics.record_skipped(business);
        } else {
            source.due_windows.push_back(window_idx);
        }
        debug_assert!(
            next_due > now,
            "the next due time should be in the future, or the scheduler would loop"
        );
    }

    /// Takes over the result of reading the secrets of a business, and starts the polls that waited for it.
    pub(super) fn on_secrets_read(&mut self, ended: Result<(Id, SecretRead), JoinError>) {
        let (id, read) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "reading secrets panicked; please report this bug");
                let id = error.id();
                let mut businesses = self.businesses.iter();
                let Some((name, _)) = businesses.find(|(_, business)| business.is_reading(id))
                else {
                    return;
                };
                let error = SecretError::Transient("reading secrets panicked".to_owned());
                let read = SecretRead {
                    business: name.clone(),
                    result: Err(error),
                };
                (id, read)
            }
        };
        let Some(business) = self.businesses.get_mut(&read.business) else {
            return;
        };
        let Some(is_replaced) = business.finish_read(id, read.result, Instant::now()) else {
            return;
        };
        if is_replaced {
            tracing::info!(
                business = read.business.as_ref(),
                "access token changed; polling immediately"
            );
            business.token_rejected = false;
            // Another token can have other permissions.
            for (source, source_state) in self.sources.iter_mut().zip(&self.snapshot.sources) {
                if source_state.source.business == read.business {
                    source.mode.reset();
                }
            }
            self.poll_business_now(&read.business);
        }
        for source_idx in 0..self.sources.len() {
            let is_waiting = !self.sources[source_idx].due_windows.is_empty();
            if is_waiting && self.snapshot.sources[source_idx].source.business == read.business {
                self.start_next(source_idx);
            }
        }
    }

    /// Lifts the pause of a business and makes all of its windows due.
    pub(super) fn poll_business_now(&mut self, business: &str) {
        self.limiter.unblock_business(business);
        let now = Instant::now();
        for source_idx in 0..self.sources.len() {
            if self.snapshot.sources[source_idx].source.business.as_ref() != business {
                continue;
            }
            for window_idx in 0..self.sources[source_idx].windows.len() {
                let window_ref = WindowRef {
                    source_idx,
                    window_idx,
                };
                self.reschedule(window_ref, now);
            }
        }
    }

    /// Starts the discoveries that confirm a list of campaigns.
    pub(super) fn start_confirmations(&mut self) {
        for source_idx in 0..self.sources.len() {
            if self.is_confirmation_due(source_idx) {
                self.start_next(source_idx);
            }
        }
    }

    fn is_confirmation_due(&self, source_idx: usize) -> bool {
        let confirm_at = self.sources[source_idx].confirm_at;
        confirm_at.is_some_and(|at| at <= Instant::now())
    }

    /// Starts a poll of the queued windows of a source, unless one is running. Without a queued window, it updates only
    /// the inventory, if a list of campaigns has to be confirmed.
    pub(super) fn start_next(&mut self, source_idx: usize) {
        let confirms = self.is_confirmation_due(source_idx);
        let is_queue_empty = self.sources[source_idx].due_windows.is_empty();
        if self.sources[source_idx].is_polling || is_queue_empty && !confirms {
            return;
        }
        if !is_queue_empty {
            self.queue_nearly_due(source_idx);
            let member = &self.breaker_members[source_idx];
            // A probe requests only what the poll that is due requests.
            let is_regular = self.breakers.admit(member, Instant::now()) == Admission::Poll;
            if is_regular && self.is_account_spend_due(source_idx) {
                self.queue_compared_windows(source_idx);
            }
        }
        let mut window_idxs: Vec<usize> = self.sources[source_idx].due_windows.drain(..).collect();
        window_idxs.sort_unstable();
        // The source may have been paused after the windows were queued.
        if let Some(paused_until) = self.source_paused_until(source_idx) {
            for window_idx in window_idxs {
                let window_ref = WindowRef {
                    source_idx,
                    window_idx,
                };
                self.postpone(window_ref, paused_until);
            }
            return self.breakers.abandon_probe(source_idx);
        }
        let source_state = Arc::clone(&self.snapshot.sources[source_idx]);
        let Some(business) = self.businesses.get_mut(&source_state.source.business) else {
            return;
        };
        let credentials = match business.credentials(Instant::now()) {
            Some(Ok(credentials)) => {
                let business = &source_state.source.business;
                self.deps
                    .health
                    .update(business, |health| health.credentials_loaded = Some(true));
                credentials
            }
            Some(Err(message)) => {
                for window_idx in window_idxs {
                    let window_ref = WindowRef {
                        source_idx,
                        window_idx,
                    };
                    self.fail_missing_token(window_ref, message.clone());
                }
                return self.breakers.abandon_probe(source_idx);
            }
            None => {
                self.sources[source_idx].due_windows.extend(window_idxs);
                let name = &source_state.source.business;
                return business.start_read(name, &mut self.secret_reads);
            }
        };
        let now = Instant::now();
        let fields_due = business.request_fields_at.is_none_or(|at| at <= now);
        if fields_due {
            business.request_fields_at = Some(now + REJECTED_FIELD_RETRY_INTERVAL);
        }
        self.queue_inspection(&source_state.source.business);
        if fields_due {
            self.request_rejected_fields(&source_state.source.business);
        }
        let member = &self.breaker_members[source_idx];
        let admission = self.breakers.admit(member, now);
        let is_probe = admission == Admission::Probe;
        let inventory = source_state.inventory.as_deref();
        let can_wait = source_state.source.campaigns(inventory).is_some();
        let scope = self.request_scope(source_idx);
        let discovery_pause = self
            .limiter
            .kind_paused_until(&scope, RequestKind::Management);
        let account_spend = self.is_account_spend_due(source_idx) && !is_probe;
        let discovery_tolerance = MAX_EARLY_POLL.min(self.polling.discovery_interval / 10);
        let source = &mut self.sources[source_idx];
        let is_discovery_due = confirms
            || source
                .discover_at
                .is_none_or(|at| at <= now + discovery_tolerance);
        let discover = is_discovery_due && !(can_wait && (is_probe || discovery_pause.is_some()));
        source.running_windows.clone_from(&window_idxs);
        source.is_polling = true;
        source.confirm_at = source.confirm_at.filter(|_| !confirms);
        let windows = window_idxs.iter().map(|window_idx| WindowJob {
            window_idx: *window_idx,
            probe_history: source.windows[*window_idx].probe_history,
            page_size: source.windows[*window_idx].page_size,
        });
        let windows: Vec<WindowJob> = windows.collect();
        let mut resume_points = BTreeMap::new();
        for window_idx in &window_idxs {
            let interval = source_state.source.windows[*window_idx].interval(today());
            let point = &mut source.windows[*window_idx].resume_point;
            *point = point.take().filter(|point| point.is_current(interval, now));
            resume_points.extend(point.clone().map(|point| (*window_idx, point)));
        }
        let last_rows = window_idxs.iter().map(|window_idx| {
            let window = &source_state.windows[*window_idx];
            let last_rows = LastRows {
                delivery: window.delivery.clone(),
                conversions: window.conversions.clone(),
            };
            (*window_idx, last_rows)
        });
        let row_sets = window_idxs.iter().flat_map(|window_idx| {
            let window = &source_state.windows[*window_idx];
            [&window.delivery, &window.conversions]
        });
        let unanswered = row_sets.flatten().flat_map(|row_set| row_set.missing.ids());
        let job = PollJob {
            unanswered: unanswered.cloned().collect(),
            source: Arc::clone(&source_state.source),
            windows,
            resume_points,
            last_rows: last_rows.collect(),
            inventory: source_state.inventory.clone(),
            discover,
            is_probe,
            discovery: source.discovery,
            account_spend,
            rejected_fields: source.rejected_fields.clone(),
            mode: source.mode.clone(),
        };
        // A probe is one request.
        let members = if is_probe {
            Vec::new()
        } else {
            self.claim_members(source_idx, &window_idxs)
        };
        let others = members.iter().map(|idx| {
            let state = &self.snapshot.sources[*idx];
            (Arc::clone(&state.source), state.inventory.clone())
        });
        let group = GroupJob {
            leader: job,
            others: others.collect(),
        };
        let poll = self.poll(source_idx, group, credentials);
        let abort = self.poll_tasks.spawn(poll);
        let mut source_idxs = vec![source_idx];
        source_idxs.extend(members);
        let running = RunningPoll {
            source_idxs,
            window_idxs,
            abort: abort.clone(),
        };
        self.running_polls.insert(abort.id(), running);
    }

    /// Requests the fields of a business again that the API rejected: it may accept them by now.
    fn request_rejected_fields(&mut self, business: &str) {
        self.deps.self_metrics.clear_rejected_fields(business);
        let sources = self.snapshot.sources.iter().zip(&mut self.sources);
        for (source_state, source) in sources {
            if source_state.source.business.as_ref() == business {
                source.rejected_fields.clear();
                source.discovery.retry_first_form = true;
            }
        }
    }

    fn is_account_spend_due(&self, source_idx: usize) -> bool {
        let soon = Instant::now() + MAX_EARLY_POLL;
        let at = self.sources[source_idx].account_spend_at;
        let source = &self.snapshot.sources[source_idx].source;
        source.exports_account_spend() && at.is_none_or(|at| at <= soon)
    }

    /// Queues the windows of a source that are polled at least as often as the spend of its ad account is requested, so
    /// that the spend is compared with rows of the same time.
    fn queue_compared_windows(&mut self, source_idx: usize) {
        let today = today();
        for window_idx in 0..self.sources[source_idx].windows.len() {
            let interval =
                self.snapshot.sources[source_idx].source.windows[window_idx].interval(today);
            let is_queued = self.sources[source_idx].due_windows.contains(&window_idx);
            if is_queued || interval > ACCOUNT_SPEND_INTERVAL {
                continue;
            }
            let window_ref = WindowRef {
                source_idx,
                window_idx,
            };
            let next_due = self.next_regular_due(source_idx, window_idx);
            self.reschedule(window_ref, next_due);
            self.sources[source_idx].due_windows.push_back(window_idx);
        }
    }

    /// Queues the windows of a source that are due soon, so that they are requested together with those that are due.
    fn queue_nearly_due(&mut self, source_idx: usize) {
        let today = today();
        let source = &self.snapshot.sources[source_idx].source;
        let intervals = source.windows.iter().map(|window| window.interval(today));
        let shortest = intervals.min().unwrap_or_default();
        let soon = Instant::now() + MAX_EARLY_POLL.min(shortest / 10);
        let due_times = self.due_queue.due_times(source_idx).to_vec();
        for (window_idx, due) in due_times.into_iter().enumerate() {
            if due <= soon && !self.sources[source_idx].due_windows.contains(&window_idx) {
                let window_ref = WindowRef {
                    source_idx,
                    window_idx,
                };
                let next_due = self.next_regular_due(source_idx, window_idx);
                self.reschedule(window_ref, next_due.max(soon));
                self.sources[source_idx].due_windows.push_back(window_idx);
            }
        }
    }

    /// Returns a future that waits for a poll slot and runs the poll, until the shortest interval of its windows has
    /// passed. It owns all of its data.
    fn poll(
        &self,
        source_idx: usize,
        job: GroupJob,
        credentials: Credentials,
    ) -> impl Future<Output = TaskOutcome> + Send + 'static {
        let caller = self.caller(self.request_scope(source_idx), credentials);
        let on_call = self.call_recorder(&caller);
        let today = today();
        let leader = &job.leader;
        let intervals = leader.windows.iter().filter_map(|window| {
            let window = leader.source.windows.get(window.window_idx)?;
            Some(window.interval(today))
        });
        let interval = intervals.min().unwrap_or_default();
        let duration = interval.max(2 * self.request_timeout);
        // A probe is one request.
        let max_attempts = if leader.is_probe { 1 } else { MAX_ATTEMPTS };
        async move {
            let deadline = PollDeadline::after(duration);
            let slot = caller.limiter.acquire_poll_slot(&caller.scope);
            // Without a slot, the poll fails because of its deadline.
            let _slot = timeout_at(deadline.at(), slot).await;
            let session = Session {
                caller: &caller,
                deadline: Some(&deadline),
                max_attempts,
                on_call: &on_call,
            };
            if job.others.is_empty() {
                let outcome = job.leader.run(session).await;
                return vec![MemberOutcome::Polled(Box::new(outcome))];
            }
            job.run(session).await
        }
    }

    /// Returns API access for requests of this scope.
    pub(super) fn caller(&self, scope: RequestScope, credentials: Credentials) -> ApiCaller {
        ApiCaller {
            client: self.deps.client.clone(),
            credentials,
            limiter: Arc::clone(&self.limiter),
            scope,
        }
    }

    /// Returns the callback that counts every call of a caller.
    pub(super) fn call_recorder(
        &self,
        caller: &ApiCaller,
    ) -> impl Fn(&CallRecord<'_>) + Send + Sync + use<> {
        let self_metrics = Arc::clone(&self.deps.self_metrics);
        let health = Arc::clone(&self.deps.health);
        let (scope, api_version) = (caller.scope.clone(), self.api_version.clone());
        move |call| {
            telemetry::record_call(&self_metrics, &scope, &api_version, call);
            telemetry::update_health(&health, &scope, call);
        }
    }
}
