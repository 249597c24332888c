//! Pauses: which scope is paused until when, and why.
//!
//! After a pause because of a limit, one request probes whether the limit still applies; the others
//! wait for its response (a circuit breaker in the state "half open"). After the pause of an app,
//! it is not a request of the ad account that caused it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::scope::{AccountScope, PauseScope};
use crate::model::{PollError, exponential_backoff};

/// First pause after a refused token or a forbidden source.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// First pause of a throttled scope if no header gives the time. Meta's page "Rate Limiting"
/// documents blocks of one and of five minutes.
const THROTTLED_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Time for which other requests wait for the response of a probe.
const MAX_PROBE_WAIT: Duration = Duration::from_secs(60);

/// Time after a pause of an app during which the ad accounts that caused it wait for another one.
const CAUSE_WAIT: Duration = Duration::from_secs(60);

/// Reason of a pause. Of several reasons, the last one in this order is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PauseReason {
    /// A quota is nearly used. The API has not rejected a request yet.
    QuotaExhausted,
    /// The API reported too many calls.
    Throttled,
    /// The token may not read the source.
    Forbidden,
    /// A secret of the business is missing or wrong.
    Misconfigured,
    /// The token is not valid.
    Unauthenticated,
}

impl PauseReason {
    /// Whether one request probes after the pause.
    fn is_limit(self) -> bool {
        matches!(self, Self::QuotaExhausted | Self::Throttled)
    }
}

/// All pauses by scope, with the consecutive failures of each.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// Longest pause, unless the API reports a longer regain time.
    pub(super) backoff_max: Duration,
    by_scope: HashMap<PauseScope, Pause>,
    /// Incremented when a pause is added, extended or lifted early; not when it expires.
    pub(super) version: u64,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    reason: PauseReason,
    /// Error that caused the pause for `reason`; `None` if it is not known.
    error: Option<PollError>,
    /// Consecutive failures. An expired pause is kept for this count until a poll succeeds.
    failures: u32,
    /// Whether a request succeeded after the pause.
    is_probed: bool,
    /// Start of the request that probes, while it has no response.
    probe: Option<Instant>,
    /// Ad accounts with requests that caused the pause of an app.
    causes: Vec<AccountScope>,
}

impl Pauses {
    pub(super) fn new(backoff_max: Duration) -> Self {
        Self {
            backoff_max,
            by_scope: HashMap::new(),
            version: 0,
        }
    }

    /// Pauses a scope: for `wait` if the API gave a time, else with exponential backoff.
    pub(super) fn pause(
        &mut self,
        scope: PauseScope,
        reason: PauseReason,
        wait: Option<Duration>,
        now: Instant,
    ) {
        self.pause_app(scope, reason, wait, &[], now);
    }

    /// Pauses a scope as [`pause`](Self::pause) does. After it, requests of other ad accounts than
    /// `causes` are sent first.
    pub(super) fn pause_app(
        &mut self,
        scope: PauseScope,
        reason: PauseReason,
        wait: Option<Duration>,
        causes: &[AccountScope],
        now: Instant,
    ) {
        let backoff_max = self.backoff_max;
        let pause = self.by_scope.entry(scope).or_insert(Pause {
            until: now,
            reason,
            error: None,
            failures: 0,
            is_probed: false,
            probe: None,
            causes: Vec::new(),
        });
        // Requests in flight that fail together, before the pause took effect, count as one failure.
        if pause.failures == 0 || pause.until <= now {
            pause.failures = pause.failures.saturating_add(1);
            pause.reason = reason;
            pause.error = None;
            pause.causes.clear();
        }
        for cause in causes {
            if !pause.causes.contains(cause) {
                pause.causes.push(cause.clone());
            }
        }
        pause.is_probed = false;
        pause.probe = None;
        if reason > pause.reason {
            pause.reason = reason;
            pause.error = None;
        }
        let length = wait.unwrap_or_else(|| pause_length(reason, pause.failures, backoff_max));
        pause.until = pause.until.max(now + length);
        self.version += 1;
    }

    /// Records the error that caused the pause of a scope. Does nothing if the scope is paused for another reason.
    pub(super) fn set_error(&mut self, scope: &PauseScope, reason: PauseReason, error: &PollError) {
        if let Some(pause) = self.by_scope.get_mut(scope)
            && pause.reason == reason
        {
            pause.error = Some(error.clone());
        }
    }

    /// Returns the error that caused the gravest pause in force of these scopes; `None` if it is not known.
    pub(super) fn error(&self, scopes: &[PauseScope], now: Instant) -> Option<&PollError> {
        let pauses = scopes.iter().filter_map(|scope| self.by_scope.get(scope));
        let in_force = pauses.filter(|pause| pause.until > now);
        in_force.max_by_key(|pause| pause.reason)?.error.as_ref()
    }

    /// Returns until when a request waits for the probe of a scope after its pause; `None` if
    /// it may be sent, as the probe or after it.
    pub(super) fn probe_wait(
        &self,
        scopes: &[PauseScope],
        account: &AccountScope,
        now: Instant,
    ) -> Option<Instant> {
        let waits = scopes.iter().filter_map(|scope| {
            let pause = self.by_scope.get(scope)?;
            if !pause.is_open(now) {
                return None;
            }
            let cause_end = pause.until + CAUSE_WAIT;
            if pause.causes.contains(account) && cause_end > now {
                return Some(cause_end);
            }
            let probe_end = pause.probe? + MAX_PROBE_WAIT;
            (probe_end > now).then_some(probe_end)
        });
        waits.max()
    }

    /// Records the start of a request, which probes all of its scopes with a pause that has ended.
    pub(super) fn begin_probe(&mut self, scopes: &[PauseScope], now: Instant) {
        for scope in scopes {
            if let Some(pause) = self.by_scope.get_mut(scope)
                && pause.is_open(now)
            {
                pause.probe = Some(now);
            }
        }
    }

    /// Records the end of a request. After a success, the other requests need not wait.
    pub(super) fn end_probe(&mut self, scopes: &[PauseScope], is_success: bool, now: Instant) {
        for scope in scopes {
            if let Some(pause) = self.by_scope.get_mut(scope)
                && pause.until <= now
            {
                pause.probe = None;
                pause.is_probed |= is_success;
            }
        }
    }

    /// Removes an expired pause with its count of failures; keeps one in force.
    pub(super) fn clear_expired(&mut self, scope: &PauseScope, now: Instant) {
        if self
            .by_scope
            .get(scope)
            .is_some_and(|pause| pause.until <= now)
        {
            self.by_scope.remove(scope);
        }
    }

    /// Removes a pause for an exhausted quota, because the quota is available again.
    pub(super) fn clear_quota(&mut self, scope: &PauseScope) {
        if self
            .by_scope
            .get(scope)
            .is_some_and(|pause| pause.reason == PauseReason::QuotaExhausted)
        {
            self.remove(scope);
        }
    }

    /// Removes the pause of a scope.
    pub(super) fn remove(&mut self, scope: &PauseScope) {
        self.version += u64::from(self.by_scope.remove(scope).is_some());
    }

    /// Removes all pauses that are not about a limit.
    pub(super) fn remove_refusals(&mut self) {
        let before = self.by_scope.len();
        self.by_scope.retain(|_, pause| pause.reason.is_limit());
        self.version += u64::from(self.by_scope.len() < before);
    }

    /// Returns the latest end of the pauses in force of these scopes, and their gravest reason.
    pub(super) fn until(
        &self,
        scopes: &[PauseScope],
        now: Instant,
    ) -> Option<(Instant, PauseReason)> {
        let pauses = scopes.iter().filter_map(|scope| self.by_scope.get(scope));
        let in_force = pauses.filter(|pause| pause.until > now);
        in_force
            .map(|pause| (pause.until, pause.reason))
            .reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
    }
}

impl Pause {
    /// Whether the pause has ended and no request has succeeded since.
    fn is_open(&self, now: Instant) -> bool {
        self.until <= now && !self.is_probed && self.reason.is_limit()
    }
}

fn pause_length(reason: PauseReason, failures: u32, backoff_max: Duration) -> Duration {
    let (first, max) = match reason {
        PauseReason::Unauthenticated | PauseReason::Forbidden | PauseReason::Misconfigured => {
            (FIRST_PAUSE.min(backoff_max), backoff_max)
        }
        PauseReason::Throttled => (THROTTLED_PAUSE, backoff_max),
        // No backoff: the next response reports whether the quota is still exhausted.
        PauseReason::QuotaExhausted => (THROTTLED_PAUSE, THROTTLED_PAUSE),
    };
    exponential_backoff(first, failures, max)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{
        AccountScope, CAUSE_WAIT, FIRST_PAUSE, PauseReason, PauseScope, Pauses, PollError,
        pause_length,
    };
    use crate::model::ErrorReason;

    const BACKOFF_MAX: Duration = Duration::from_secs(900);

    #[test]
    fn failure_after_a_pause_doubles_it() {
        let mut pauses = Pauses::new(BACKOFF_MAX);
        let scope = PauseScope::Business("acme".into());
        let scopes = [scope.clone()];
        let start = Instant::now();
        let reason = PauseReason::Unauthenticated;
        pauses.pause(scope.clone(), reason, None, start);
        pauses.pause(scope.clone(), reason, None, start);
        assert_eq!(
            pauses.until(&scopes, start),
            Some((start + FIRST_PAUSE, reason)),
            "two failures at once should count as one"
        );
        let second = start + FIRST_PAUSE + Duration::from_secs(1);
        assert_eq!(pauses.until(&scopes, second), None);
        pauses.pause(scope.clone(), reason, None, second);
        assert_eq!(
            pauses
                .until(&scopes, second)
                .map(|(until, _)| until - second),
            Some(2 * FIRST_PAUSE)
        );
        pauses.clear_expired(&scope, second);
        assert!(
            pauses.until(&scopes, second).is_some(),
            "a late success should not end a pause in force"
        );
        let third = second + BACKOFF_MAX;
        pauses.clear_expired(&scope, third);
        pauses.pause(scope, reason, None, third);
        assert_eq!(
            pauses.until(&scopes, third).map(|(until, _)| until - third),
            Some(FIRST_PAUSE),
            "a success should reset the backoff"
        );
    }

    #[test]
    fn version_changes_with_every_added_or_removed_pause() {
        let mut pauses = Pauses::new(BACKOFF_MAX);
        let (acme, other) = (
            PauseScope::Business("acme".into()),
            PauseScope::Business("other".into()),
        );
        let now = Instant::now();
        let mut seen = pauses.version;
        let mut changed = |pauses: &Pauses| std::mem::replace(&mut seen, pauses.version) != seen;
        pauses.pause(acme.clone(), PauseReason::QuotaExhausted, None, now);
        assert!(changed(&pauses), "a new pause should change the version");
        pauses.pause(acme.clone(), PauseReason::Unauthenticated, None, now);
        assert!(
            changed(&pauses),
            "an extended pause should change the version"
        );
        pauses.clear_quota(&acme);
        pauses.clear_expired(&acme, now);
        pauses.remove(&other);
        assert!(!changed(&pauses), "no pause was removed");
        pauses.remove(&acme);
        assert!(
            changed(&pauses),
            "a removed pause should change the version"
        );
    }

    #[test]
    fn pauses_grow_to_their_maximum() {
        let seconds = |reason, max| {
            (1..=7)
                .map(|failures| pause_length(reason, failures, max).as_secs())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            seconds(PauseReason::Unauthenticated, BACKOFF_MAX),
            [30, 60, 120, 240, 480, 900, 900]
        );
        assert_eq!(
            seconds(PauseReason::Forbidden, Duration::from_secs(5)),
            [5; 7]
        );
        assert_eq!(
            seconds(PauseReason::Throttled, BACKOFF_MAX)[..3],
            [300, 600, 900]
        );
        assert_eq!(seconds(PauseReason::QuotaExhausted, BACKOFF_MAX), [300; 7]);
        assert_eq!(
            pause_length(PauseReason::Throttled, u32::MAX, BACKOFF_MAX),
            BACKOFF_MAX
        );
    }

    #[test]
    fn error_is_that_of_the_gravest_pause_in_force() {
        let mut pauses = Pauses::new(BACKOFF_MAX);
        let scopes = [
            PauseScope::Business("acme".into()),
            PauseScope::App("1".into()),
        ];
        let now = Instant::now();
        let throttled = PollError::new(ErrorReason::Throttled, "too many calls");
        let refused = PollError::new(ErrorReason::Unauthenticated, "session expired");
        for (scope, reason, error) in [
            (&scopes[0], PauseReason::Unauthenticated, &refused),
            (&scopes[1], PauseReason::Throttled, &throttled),
        ] {
            pauses.pause(scope.clone(), reason, None, now);
            pauses.set_error(scope, reason, error);
        }
        assert_eq!(pauses.error(&scopes, now), Some(&refused));
        assert_eq!(pauses.error(&scopes[1..], now), Some(&throttled));
        assert_eq!(pauses.error(&scopes, now + BACKOFF_MAX), None);
        // The error of a pause does not explain a graver one of the same scope.
        pauses.pause(scopes[1].clone(), PauseReason::Misconfigured, None, now);
        pauses.set_error(&scopes[1], PauseReason::Throttled, &throttled);
        assert_eq!(pauses.error(&scopes[1..], now), None);
    }

    #[test]
    fn wait_of_the_api_exceeds_the_maximum() {
        let mut pauses = Pauses::new(BACKOFF_MAX);
        let scope = PauseScope::App("1".into());
        let now = Instant::now();
        let hour = Duration::from_secs(3600);
        pauses.pause(scope.clone(), PauseReason::Throttled, Some(hour), now);
        assert_eq!(
            pauses.until(&[scope], now),
            Some((now + hour, PauseReason::Throttled))
        );
    }

    #[test]
    fn one_request_probes_after_a_pause() {
        let mut pauses = Pauses::new(BACKOFF_MAX);
        let app = [PauseScope::App("1".into())];
        let [cause, other] = ["a", "b"].map(|name| AccountScope::Unknown(name.into()));
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        let causes = [cause.clone()];
        pauses.pause_app(
            app[0].clone(),
            PauseReason::Throttled,
            Some(minute),
            &causes,
            start,
        );
        let end = start + minute;
        assert_eq!(pauses.probe_wait(&app, &other, start), None, "still paused");
        assert_eq!(
            pauses.probe_wait(&app, &cause, end),
            Some(end + CAUSE_WAIT),
            "another ad account should be first"
        );
        assert_eq!(pauses.probe_wait(&app, &other, end), None);
        pauses.begin_probe(&app, end);
        assert!(
            pauses.probe_wait(&app, &other, end).is_some(),
            "the others should wait for the response"
        );
        pauses.end_probe(&app, false, end);
        assert_eq!(
            pauses.probe_wait(&app, &other, end),
            None,
            "another request should probe after an outage"
        );
        pauses.begin_probe(&app, end);
        pauses.end_probe(&app, true, end);
        assert_eq!(pauses.probe_wait(&app, &cause, end), None);
        pauses.begin_probe(&app, end);
        assert_eq!(pauses.probe_wait(&app, &other, end), None);
    }

    #[test]
    fn only_request_of_an_app_is_not_delayed_for_long() {
        let mut pauses = Pauses::new(BACKOFF_MAX);
        let app = [PauseScope::App("1".into())];
        let cause = AccountScope::Unknown("a".into());
        let start = Instant::now();
        let reason = PauseReason::Throttled;
        let wait = Some(Duration::from_secs(60));
        pauses.pause_app(
            app[0].clone(),
            reason,
            wait,
            std::slice::from_ref(&cause),
            start,
        );
        let end = start + Duration::from_secs(60) + CAUSE_WAIT;
        assert_eq!(pauses.probe_wait(&app, &cause, end), None);
    }
}
