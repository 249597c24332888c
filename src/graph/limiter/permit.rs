//! Permit for one request, and the evaluation of its response.

use std::time::Duration;

use tokio::time::Instant;

use super::pauses::PauseReason;
use super::scope::{AccountScope, PauseScope, RequestKind, RequestScope};
use super::slots::SlotPermit;
use super::{LimiterState, RateLimiter};
use crate::graph::error::{ApiError, ErrorKind, ExceededLimit};
use crate::graph::usage::UsageHeaders;

/// Duration of a response from which a business counts as slow.
pub(super) const SLOW_RESPONSE: Duration = Duration::from_secs(2);

/// Time within which two ad accounts must be refused for a limit to be that of the app.
const SECOND_ACCOUNT_WITHIN: Duration = Duration::from_secs(5 * 60);

/// Permit to send one request.
#[derive(Debug)]
pub(in crate::graph) struct RequestPermit<'a> {
    pub(super) limiter: &'a RateLimiter,
    pub(super) scope: &'a RequestScope,
    pub(super) kind: RequestKind,
    pub(super) sent_at: Instant,
    pub(super) is_finished: bool,
    /// Permits of the concurrency limits, returned on drop.
    pub(super) _permits: [Option<SlotPermit>; 3],
}

impl RequestPermit<'_> {
    /// Ends the request: updates quotas and pauses from its error and its usage headers.
    pub(in crate::graph) fn finish(mut self, error: Option<&ApiError>, headers: &UsageHeaders) {
        self.is_finished = true;
        let (scope, kind, now) = (self.scope, self.kind, Instant::now());
        let is_slow = now.saturating_duration_since(self.sent_at) >= SLOW_RESPONSE;
        self.limiter.state(|state| {
            let is_outage = error.is_some_and(|error| error.kind == ErrorKind::Unavailable);
            state.business(&scope.business).is_degraded = is_outage || is_slow;
            let scopes = scope.pause_scopes(kind);
            state.pauses.end_probe(&scopes, error.is_none(), now);
            if kind != RequestKind::Token {
                state.observe(scope, headers, now);
            }
            if let Some(error) = error {
                state.pause_for(scope, kind, error, headers, now);
            }
        });
    }
}

impl Drop for RequestPermit<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            let (scopes, now) = (self.scope.pause_scopes(self.kind), Instant::now());
            self.limiter
                .state(|state| state.pauses.end_probe(&scopes, false, now));
        }
    }
}

impl LimiterState {
    /// Updates the quotas from usage headers, and pauses the scopes that they report as exhausted.
    fn observe(&mut self, scope: &RequestScope, headers: &UsageHeaders, now: Instant) {
        for (quota_scope, is_exhausted) in self.quotas.observe(scope, headers, now) {
            // A regain time above zero means that access is blocked now.
            let wait = regain_time(scope, headers, &quota_scope);
            if is_exhausted || wait.is_some() {
                let reason = PauseReason::QuotaExhausted;
                self.pauses.pause(quota_scope, reason, wait, now);
            } else {
                self.pauses.clear_quota(&quota_scope);
            }
        }
    }

    /// Pauses what an error concerns.
    fn pause_for(
        &mut self,
        scope: &RequestScope,
        kind: RequestKind,
        error: &ApiError,
        headers: &UsageHeaders,
        now: Instant,
    ) {
        let business = PauseScope::Business(scope.business.clone());
        let limit = match error.kind {
            ErrorKind::Unauthenticated => {
                let reason = PauseReason::Unauthenticated;
                return self.pause_because(business, reason, None, error, now);
            }
            ErrorKind::Misconfigured => {
                let reason = PauseReason::Misconfigured;
                return self.pause_because(business, reason, None, error, now);
            }
            ErrorKind::Throttled(limit) => limit,
            _ => return,
        };
        let reason = PauseReason::Throttled;
        if kind == RequestKind::Token {
            return self.pause_because(business, reason, error.wait, error, now);
        }
        let account = scope.account_scope();
        let requested = PauseScope::AccountLimit(account.clone(), kind);
        let paused = match limit {
            ExceededLimit::App | ExceededLimit::Platform => {
                return self.pause_app_or_account(scope, limit, error, now);
            }
            ExceededLimit::AdAccount => PauseScope::Account(account),
            ExceededLimit::Insights => PauseScope::AccountLimit(account, RequestKind::Insights),
            ExceededLimit::Management => PauseScope::AccountLimit(account, RequestKind::Management),
            ExceededLimit::Requested => requested.clone(),
        };
        // The limit is not that of the request, but the request was refused.
        let other = match &paused {
            PauseScope::AccountLimit(..) if paused != requested => Some(requested),
            _ => None,
        };
        for paused in [Some(paused), other].into_iter().flatten() {
            let wait = error.wait.max(regain_time(scope, headers, &paused));
            self.pause_because(paused, reason, wait, error, now);
        }
    }

    /// Pauses a scope, and records the error for requests that are not sent during the pause.
    fn pause_because(
        &mut self,
        scope: PauseScope,
        reason: PauseReason,
        wait: Option<Duration>,
        error: &ApiError,
        now: Instant,
    ) {
        self.pauses.pause(scope.clone(), reason, wait, now);
        self.pauses.set_error(&scope, reason, &error.error);
    }

    /// Pauses the ad account of a request that was refused because of the app's limit, or the app
    /// if its usage explains the error or a second ad account was refused.
    fn pause_app_or_account(
        &mut self,
        scope: &RequestScope,
        limit: ExceededLimit,
        error: &ApiError,
        now: Instant,
    ) {
        let (app, account) = (scope.app_key(), scope.account_scope());
        let refusals = self.refusals.entry(app.clone()).or_default();
        refusals.retain(|(_, at)| *at + SECOND_ACCOUNT_WITHIN > now);
        refusals.retain(|(other, _)| *other != account);
        refusals.push((account.clone(), now));
        let causes: Vec<AccountScope> = refusals.iter().map(|(cause, _)| cause.clone()).collect();
        let is_exhausted = self.quotas.is_app_exhausted(scope, now);
        // Code 341 has no such doubt.
        let is_of_app = match limit {
            _ if error.error.code == Some(341) => true,
            ExceededLimit::Platform => is_exhausted == Some(true),
            _ => is_exhausted != Some(false),
        };
        let reason = PauseReason::Throttled;
        if is_of_app || causes.len() > 1 {
            let paused = PauseScope::App(app);
            self.pauses
                .pause_app(paused.clone(), reason, error.wait, &[account], now);
            self.pauses.set_error(&paused, reason, &error.error);
        } else {
            let paused = PauseScope::Account(account);
            self.pause_because(paused, reason, error.wait, error, now);
        }
    }
}

/// Returns the longest time that the headers give until the limits of a scope are regained.
fn regain_time(
    scope: &RequestScope,
    headers: &UsageHeaders,
    paused: &PauseScope,
) -> Option<Duration> {
    let regains = headers.regains.iter().filter(|regain| {
        let limit_scope = scope.limit_scope(&regain.limit, regain.account_id.as_deref());
        limit_scope.as_ref() == Some(paused)
    });
    regains.map(|regain| regain.wait).max()
}
