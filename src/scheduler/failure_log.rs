//! Decides which failures are logged: the first one, one for another reason, and the recovery. Repeated failures are
//! summarized every 15 minutes, so that the length of the log depends on what changes, not on how long it lasts.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Time between two summaries of repeated failures.
pub const SUMMARY_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// What fails, by key, since when and why.
#[derive(Debug)]
pub struct FailureLog<K> {
    failing: HashMap<K, OngoingFailure>,
    /// Failures since the last summary that were not logged.
    repeated: u64,
    /// When the next summary is due; `None` while nothing fails.
    summary_at: Option<Instant>,
}

#[derive(Debug)]
struct OngoingFailure {
    since: Instant,
    reason: String,
}

/// How a failure is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureEvent {
    /// The first failure.
    First,
    /// A failure for another reason than the one before.
    Changed,
    /// A failure for the same reason.
    Repeated,
}

/// Failures that last.
#[derive(Debug, PartialEq)]
pub struct FailureSummary {
    /// Number of keys by reason.
    pub failing: BTreeMap<String, usize>,
    /// Failures since the last summary that were not logged.
    pub repeated: u64,
}

impl<K> Default for FailureLog<K> {
    fn default() -> Self {
        Self {
            failing: HashMap::new(),
            repeated: 0,
            summary_at: None,
        }
    }
}

impl<K: Eq + Hash> FailureLog<K> {
    /// Records a failure.
    pub fn record_failure(&mut self, key: K, reason: &str, now: Instant) -> FailureEvent {
        self.summary_at.get_or_insert(now + SUMMARY_INTERVAL);
        let Some(failure) = self.failing.get_mut(&key) else {
            let reason = reason.to_owned();
            self.failing
                .insert(key, OngoingFailure { since: now, reason });
            return FailureEvent::First;
        };
        if failure.reason == reason {
            self.repeated += 1;
            return FailureEvent::Repeated;
        }
        reason.clone_into(&mut failure.reason);
        FailureEvent::Changed
    }

    /// Records a success. Returns how long it had failed; `None` if it had not.
    pub fn record_success(&mut self, key: &K, now: Instant) -> Option<Duration> {
        let failure = self.failing.remove(key)?;
        Some(now.saturating_duration_since(failure.since))
    }

    /// Whether nothing fails.
    pub fn is_empty(&self) -> bool {
        self.failing.is_empty()
    }

    /// Forgets the failures of keys that no longer exist.
    pub fn retain(&mut self, exists: impl Fn(&K) -> bool) {
        self.failing.retain(|key, _| exists(key));
    }

    /// Returns a summary if one is due.
    pub fn summary(&mut self, now: Instant) -> Option<FailureSummary> {
        if self.summary_at.is_none_or(|at| at > now) {
            return None;
        }
        let mut failing = BTreeMap::new();
        for failure in self.failing.values() {
            *failing.entry(failure.reason.clone()).or_default() += 1;
        }
        self.summary_at = (!failing.is_empty()).then(|| now + SUMMARY_INTERVAL);
        let repeated = std::mem::take(&mut self.repeated);
        (!failing.is_empty()).then_some(FailureSummary { failing, repeated })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{FailureEvent, FailureLog, SUMMARY_INTERVAL};

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn first_failure_other_reason_and_recovery_are_events() {
        let mut log = FailureLog::default();
        let start = Instant::now();
        let mut fail =
            |reason, minute: u32| log.record_failure("act_1", reason, start + MINUTE * minute);
        assert_eq!(fail("unavailable", 0), FailureEvent::First);
        assert_eq!(fail("unavailable", 1), FailureEvent::Repeated);
        assert_eq!(fail("throttled", 2), FailureEvent::Changed);
        assert_eq!(fail("throttled", 3), FailureEvent::Repeated);
        assert_eq!(
            log.record_success(&"act_1", start + MINUTE * 4),
            Some(MINUTE * 4)
        );
        assert_eq!(log.record_success(&"act_1", start + MINUTE * 5), None);
        assert_eq!(
            log.record_failure("act_1", "unavailable", start + MINUTE * 6),
            FailureEvent::First
        );
    }

    #[test]
    fn repeated_failures_are_summarized_every_15_minutes() {
        let mut log = FailureLog::default();
        let start = Instant::now();
        assert_eq!(log.summary(start), None);
        for minute in 0..15 {
            let now = start + MINUTE * minute;
            log.record_failure(1, "unavailable", now);
            log.record_failure(2, "throttled", now);
            assert_eq!(log.summary(now), None, "minute {minute}");
        }
        let summary = log.summary(start + SUMMARY_INTERVAL).unwrap();
        assert_eq!(summary.repeated, 28);
        assert_eq!(
            summary.failing.into_iter().collect::<Vec<_>>(),
            [("throttled".to_owned(), 1), ("unavailable".to_owned(), 1)]
        );
        assert_eq!(log.summary(start + SUMMARY_INTERVAL), None);
        log.retain(|key| *key == 1);
        let summary = log.summary(start + SUMMARY_INTERVAL * 2).unwrap();
        assert_eq!((summary.failing.len(), summary.repeated), (1, 0));
        log.record_success(&1, start + SUMMARY_INTERVAL * 2);
        assert_eq!(log.summary(start + SUMMARY_INTERVAL * 3), None);
    }
}
