//! Changes between polls: expired values, replaced tokens, and pauses that begin or end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::clock_watch::ClockWatch;
use super::due_queue::WindowRef;
use super::state::{MAX_RESTORED_PAUSE, Scheduler, duration_until, to_timestamp};
use crate::model::ErrorReason;
use crate::platform::clock;
use crate::snapshot::{Snapshot, SourceState};

/// Time between two checks for replacements of rejected tokens and of the CA file.
const TOKEN_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Maximum time between two checks of every source for outdated pauses and due times. Without other events, this
/// notices pauses that end and changes of the system clock.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// Difference below which two timestamps count as equal: both are converted from the monotonic clock at slightly
/// different times.
const TIMESTAMP_TOLERANCE: Duration = Duration::from_millis(500);

/// Sources and times that need a check between polls.
#[derive(Debug)]
pub(super) struct ExpiryWatch {
    /// Time of the next check for replaced tokens.
    check_tokens_at: Instant,
    /// Indexes of sources with a changed schedule since the last publication.
    pub(super) changed_sources: BTreeSet<usize>,
    /// Time at which all sources are checked next.
    check_all_at: Instant,
    /// Version of the limiter's pauses at the last check of all sources.
    pauses_version: u64,
    /// Lower bound of the time at which values expire: newer values may have replaced the ones it was calculated for.
    pub(super) next_expiry: Option<Timestamp>,
    pub(super) clock: ClockWatch,
}

impl ExpiryWatch {
    /// Creates a watch that checks everything at once.
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let now = Instant::now();
        Self {
            check_tokens_at: now,
            changed_sources: BTreeSet::new(),
            check_all_at: now,
            pauses_version: 0,
            next_expiry: snapshot.next_expiry(),
            clock: ClockWatch::new(clock::now_and_uptime()),
        }
    }

    /// Takes the expiry of the new data into account.
    pub(super) fn track_expiry(&mut self, source_state: &SourceState) {
        let expiries = [self.next_expiry, source_state.next_expiry()];
        self.next_expiry = expiries.into_iter().flatten().min();
    }
}

impl Scheduler {
    /// Checks whether a rejected token has been replaced, and if so schedules the business's windows immediately.
    pub(super) fn recheck_tokens(&mut self) {
        let now = Instant::now();
        if now < self.expiry_watch.check_tokens_at {
            return;
        }
        self.expiry_watch.check_tokens_at = now + TOKEN_CHECK_INTERVAL;
        // The result is logged by the read.
        let _ = self.ca_reads.try_join_next();
        if self.ca_reads.is_empty() {
            let client = self.deps.client.clone();
            self.ca_reads.spawn(async move { client.reread_ca().await });
        }
        for (name, business) in &mut self.businesses {
            if business.needs_recheck() {
                business.start_read(name, &mut self.secret_reads);
            }
        }
    }

    /// Publishes changed pauses and due times. A source that is paused or postponed before its first result counts as
    /// attempted, because requests would only be refused.
    ///
    /// The due time of a running poll is published when it ends: its result needs a new page anyway, and another page
    /// at its start would double the cost of rendering.
    pub(super) fn publish_pauses(&mut self) {
        let (now, pauses_version) = (Instant::now(), self.limiter.version());
        let mut source_idxs = std::mem::take(&mut self.expiry_watch.changed_sources);
        if pauses_version != self.expiry_watch.pauses_version
            || now >= self.expiry_watch.check_all_at
        {
            self.expiry_watch.pauses_version = pauses_version;
            self.expiry_watch.check_all_at = now + PUBLISH_INTERVAL;
            source_idxs = (0..self.sources.len()).collect();
        }
        let refreshed: Vec<(usize, SourceState)> = source_idxs
            .into_iter()
            .filter_map(|source_idx| Some((source_idx, self.refreshed_source(source_idx)?)))
            .collect();
        if refreshed.is_empty() {
            return;
        }
        let mut snapshot = self.snapshot.as_ref().clone();
        for (source_idx, source_state) in refreshed {
            snapshot.sources[source_idx] = Arc::new(source_state);
        }
        self.publish(snapshot);
    }

    /// Returns a source with its current pause and due times; `None` if the published ones are still correct.
    fn refreshed_source(&self, source_idx: usize) -> Option<SourceState> {
        let source_state = &self.snapshot.sources[source_idx];
        let due_times = self.due_queue.due_times(source_idx);
        let running_windows = &self.sources[source_idx].running_windows;
        let next_poll = |window_idx: usize| {
            if running_windows.contains(&window_idx) {
                source_state.windows[window_idx].next_poll
            } else {
                Some(to_timestamp(due_times[window_idx]))
            }
        };
        let differs = |a: Option<Timestamp>, b: Option<Timestamp>| match (a, b) {
            (Some(a), Some(b)) => a.duration_since(b).unsigned_abs() > TIMESTAMP_TOLERANCE,
            (a, b) => a != b,
        };
        let paused_until = self.source_paused_until(source_idx).map(to_timestamp);
        let is_postponed = (0..due_times.len()).any(|window_idx| {
            self.postponed.contains(&WindowRef {
                source_idx,
                window_idx,
            })
        });
        let newly_attempted =
            (paused_until.is_some() || is_postponed) && !source_state.is_attempted();
        let mut windows = source_state.windows.iter().enumerate();
        let rescheduled =
            windows.any(|(window_idx, window)| differs(window.next_poll, next_poll(window_idx)));
        if !(newly_attempted || rescheduled || differs(source_state.paused_until, paused_until)) {
            return None;
        }
        let mut refreshed = SourceState::clone(source_state);
        refreshed.paused_until = paused_until;
        for (window_idx, window) in refreshed.windows.iter_mut().enumerate() {
            window.next_poll = next_poll(window_idx);
            window.attempted |= newly_attempted;
        }
        Some(refreshed)
    }

    /// Keeps the ages of all values if the clock was set: they are neither withdrawn nor kept for longer. Values of a day
    /// that is over by the new time are withdrawn.
    pub(super) fn follow_clock(&mut self, now: Timestamp, uptime: SignedDuration) {
        let Some(step) = self.expiry_watch.clock.step(now, uptime) else {
            return;
        };
        tracing::warn!(
            step_seconds = step.as_secs(),
            "the clock was set; values keep their ages"
        );
        let snapshot = self.snapshot.shifted(step);
        self.publish(snapshot);
        self.expiry_watch.next_expiry = self.snapshot.next_expiry();
    }

    /// Publishes a snapshot without the values that have expired.
    pub(super) fn expire(&mut self) {
        let (now, uptime) = clock::now_and_uptime();
        self.follow_clock(now, uptime);
        self.deps.self_metrics.expire_version_warning(now);
        self.deps.health.expire_quotas(now);
        if self.expiry_watch.next_expiry.is_none_or(|at| at > now) {
            return;
        }
        if let Some(snapshot) = self.snapshot.expire(now) {
            let totals = |state: &SourceState| {
                let windows = state.windows.iter();
                windows
                    .filter(|window| window.account_spend.is_some())
                    .count()
            };
            let mut uncovered = Vec::new();
            let sources = self.snapshot.sources.iter().zip(&snapshot.sources);
            for (source_idx, (before, after)) in sources.enumerate() {
                let windows = before.windows.iter().zip(&after.windows).enumerate();
                let uncovered_windows =
                    windows.filter(|(_, (before, after))| before.duplicate && !after.duplicate);
                uncovered.extend(uncovered_windows.map(|(window_idx, _)| WindowRef {
                    source_idx,
                    window_idx,
                }));
            }
            let sources = self.snapshot.sources.iter().zip(&snapshot.sources);
            for (runtime, (before, after)) in self.sources.iter_mut().zip(sources) {
                // Spend of an ad account that was withdrawn is requested with the next poll.
                if totals(after) < totals(before) {
                    runtime.account_spend_at = None;
                }
            }
            self.publish(snapshot);
            // The ad account source has no values any longer, so that campaign sources are polled again.
            for window_ref in uncovered {
                self.reschedule(window_ref, Instant::now());
            }
        }
        self.expiry_watch.next_expiry = self.snapshot.next_expiry();
    }

    /// Counts the reads of before a restart against the quota of the development tier. Sources of one ad account store
    /// the same reads; the newest are those of the source that was polled last.
    pub(super) fn restore_reads(&self) {
        let now = clock::now();
        let mut newest: BTreeMap<(Box<str>, Option<Box<str>>), usize> = BTreeMap::new();
        for (source_idx, source_state) in self.snapshot.sources.iter().enumerate() {
            let scope = self.request_scope(source_idx);
            let account = scope.account.map(|account| account.digits().into());
            let last = newest
                .entry((scope.business, account))
                .or_insert(source_idx);
            if source_state.recent_reads.last() > self.snapshot.sources[*last].recent_reads.last() {
                *last = source_idx;
            }
        }
        for source_idx in newest.into_values() {
            let reads = self.snapshot.sources[source_idx].recent_reads.iter();
            // Times in the future are those of a clock that was changed.
            let ages: Vec<Duration> = reads
                .filter(|read| **read <= now)
                .map(|read| now.duration_since(*read).unsigned_abs())
                .collect();
            let scope = self.request_scope(source_idx);
            self.limiter.restore_reads(&scope, &ages);
        }
    }

    /// Continues throttling pauses that began before a restart. Pauses for other reasons are not restored, because
    /// the cause may have been fixed meanwhile.
    pub(super) fn restore_pauses(&self) {
        for (source_idx, source_state) in self.snapshot.sources.iter().enumerate() {
            let mut errors = source_state
                .windows
                .iter()
                .filter_map(|window| window.error.as_ref());
            let throttled = errors.find(|error| error.reason == ErrorReason::Throttled);
            if let (Some(paused_until), Some(error)) = (source_state.paused_until, throttled) {
                let wait = duration_until(paused_until).min(MAX_RESTORED_PAUSE);
                let scope = self.request_scope(source_idx);
                self.limiter.restore(&scope, wait, error);
            }
        }
    }
}
