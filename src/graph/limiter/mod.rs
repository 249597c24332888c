//! Rate limiter that every request to the API passes.
//!
//! It limits the requests in flight, in total and per business, and the requests per second. It
//! rejects requests of paused scopes, and delays requests of scopes with a nearly used quota.
//! `scope` defines what shares a limit, `pauses` stores which scope is paused until when, `quota`
//! tracks the usage of each ad account and app, `permit` evaluates each response, and `deadline`
//! limits the waiting of a poll. Those are arithmetic on instants; all waiting is in this file.

pub(super) mod deadline;
mod pauses;
mod permit;
mod quota;
mod scope;
mod slots;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

pub use self::deadline::PollDeadline;
use self::pauses::{PauseReason, Pauses};
use self::permit::RequestPermit;
use self::quota::QuotaTracker;
use self::scope::{AccountScope, PauseScope};
pub use self::scope::{RequestKind, RequestScope};
use self::slots::{SlotPermit, Slots};
use super::error::ApiError;
use crate::model::{ErrorReason, PollError};

/// Longest sleep of a request that waits for a quota. The headers of any response can change the
/// time until which it has to wait.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Lowest number of requests per second; avoids a division by zero.
const MIN_REQUESTS_PER_SECOND: f64 = 0.001;

/// Limits when requests are sent, over all businesses.
#[derive(Debug)]
pub struct RateLimiter {
    /// Concurrency limit over all businesses.
    all: Arc<Slots>,
    /// Concurrency limit over all businesses with an outage or a slow answer as their last response: half of all,
    /// so that requests that hang do not block the other businesses.
    degraded: Arc<Slots>,
    state: Mutex<LimiterState>,
}

/// Limits of a [`RateLimiter`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimiterConfig {
    /// Maximum requests in flight, over all businesses.
    pub concurrency: usize,
    /// Maximum requests per second, over all businesses.
    pub requests_per_second: f64,
    /// Share of a quota, 0 to 1, above which requests slow down; at most
    /// [`MAX_QUOTA_SHARE`](crate::config::MAX_QUOTA_SHARE).
    pub quota_share: f64,
    /// Longest pause of a scope that fails repeatedly.
    pub backoff_max: Duration,
}

#[derive(Debug)]
struct LimiterState {
    config: LimiterConfig,
    businesses: HashMap<Box<str>, BusinessSlots>,
    pauses: Pauses,
    quotas: QuotaTracker,
    /// Ad accounts of each app that were refused because of the app's limit, with the time.
    refusals: HashMap<Box<str>, Vec<(AccountScope, Instant)>>,
    /// Concurrency limit of polls for each business and ad account.
    poll_slots: HashMap<(Box<str>, AccountScope), Arc<Slots>>,
    /// Earliest time at which the next request keeps the limit of requests per second.
    next_send: Option<Instant>,
}

#[derive(Debug)]
struct BusinessSlots {
    /// Concurrency limit of this business: a quarter of all, at least 1.
    in_flight: Arc<Slots>,
    /// Whether the last response was an outage or slow.
    is_degraded: bool,
}

/// Whether a request may be sent.
enum Decision {
    Send,
    Wait(Instant),
    Reject(ApiError),
}

impl LimiterConfig {
    fn concurrency(&self) -> usize {
        self.concurrency.max(1)
    }

    fn degraded_concurrency(&self) -> usize {
        (self.concurrency() / 2).max(1)
    }

    fn business_concurrency(&self) -> usize {
        (self.concurrency() / 4).max(1)
    }

    fn min_interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.requests_per_second.max(MIN_REQUESTS_PER_SECOND))
    }
}

impl RateLimiter {
    /// Returns a limiter without pauses and with unknown quotas.
    pub fn new(config: LimiterConfig) -> Self {
        let state = LimiterState {
            config,
            businesses: HashMap::new(),
            pauses: Pauses::new(config.backoff_max),
            quotas: QuotaTracker::new(config.quota_share),
            refusals: HashMap::new(),
            poll_slots: HashMap::new(),
            next_send: None,
        };
        Self {
            all: Slots::new(config.concurrency()),
            degraded: Slots::new(config.degraded_concurrency()),
            state: Mutex::new(state),
        }
    }

    /// Changes the limits, also for requests that wait or are in flight. Pauses and quotas remain.
    pub fn set_limits(&self, config: LimiterConfig) {
        self.all.resize(config.concurrency());
        self.degraded.resize(config.degraded_concurrency());
        self.state(|state| {
            let size = config.business_concurrency();
            // Those of businesses and ad accounts that are not polled any more.
            state
                .poll_slots
                .retain(|_, slots| slots.is_used() || Arc::strong_count(slots) > 1);
            for business in state.businesses.values() {
                business.in_flight.resize(size);
            }
            for slots in state.poll_slots.values() {
                slots.resize(size);
            }
            state.pauses.backoff_max = config.backoff_max;
            state.quotas.share = config.quota_share;
            state.config = config;
        });
    }

    /// Returns the limits.
    pub fn limits(&self) -> LimiterConfig {
        self.state(|state| state.config)
    }

    /// Returns the end of the longest pause of the scope's insights; `None` if they are not paused.
    pub fn paused_until(&self, scope: &RequestScope) -> Option<Instant> {
        self.kind_paused_until(scope, RequestKind::Insights)
    }

    /// Returns the end of the longest pause of one kind of requests; `None` if they are not paused.
    pub fn kind_paused_until(&self, scope: &RequestScope, kind: RequestKind) -> Option<Instant> {
        let scopes = scope.pause_scopes(kind);
        self.state(|state| state.pauses.until(&scopes, Instant::now()))
            .map(|(until, _)| until)
    }

    /// Returns the factor by which polls of the scope should become less frequent, at least 1: what is
    /// left of its quotas above `quota_share` is shared by all that is due.
    pub fn slowdown(&self, scope: &RequestScope) -> f64 {
        self.state(|state| state.quotas.slowdown(scope, Instant::now()))
    }

    /// Version of the set of pauses; changes on every addition and removal, not on expiry.
    pub fn version(&self) -> u64 {
        self.state(|state| state.pauses.version)
    }

    /// Pauses a source that the token may not read.
    pub fn block_source(&self, scope: &RequestScope, error: &PollError) {
        let source = PauseScope::Source(scope.business.clone(), scope.source.clone());
        self.block(source, PauseReason::Forbidden, None, error);
    }

    /// Pauses a business that has no usable access token.
    pub fn block_business(&self, business: &str, error: &PollError) {
        let business = PauseScope::Business(business.into());
        self.block(business, PauseReason::Misconfigured, None, error);
    }

    /// Pauses the scope's ad account for the rest of a pause that began before a restart.
    pub fn restore(&self, scope: &RequestScope, wait: Duration, error: &PollError) {
        let account = PauseScope::Account(scope.account_scope());
        self.block(account, PauseReason::Throttled, Some(wait), error);
    }

    fn block(
        &self,
        scope: PauseScope,
        reason: PauseReason,
        wait: Option<Duration>,
        error: &PollError,
    ) {
        self.state(|state| {
            let pauses = &mut state.pauses;
            pauses.pause(scope.clone(), reason, wait, Instant::now());
            pauses.set_error(&scope, reason, error);
        });
    }

    /// Returns the ages of the reads of the scope's ad account that count against the development tier,
    /// oldest first; to be kept over a restart.
    pub fn recent_reads(&self, scope: &RequestScope) -> Vec<Duration> {
        self.state(|state| state.quotas.recent_reads(scope, Instant::now()))
    }

    /// Adds the reads of before a restart: their ages, oldest first.
    pub fn restore_reads(&self, scope: &RequestScope, ages: &[Duration]) {
        self.state(|state| state.quotas.restore_reads(scope, ages, Instant::now()));
    }

    /// Ends the pause of a business, because its access token has changed.
    pub fn unblock_business(&self, business: &str) {
        self.state(|state| state.pauses.remove(&PauseScope::Business(business.into())));
    }

    /// Ends all pauses because of refused tokens, missing secrets and missing permissions.
    pub fn end_refusals(&self) {
        self.state(|state| state.pauses.remove_refusals());
    }

    /// Records a successful poll: the next failure in this scope is a first failure again.
    pub fn record_success(&self, scope: &RequestScope) {
        self.state(|state| {
            let now = Instant::now();
            for scope in scope.pause_scopes(RequestKind::Insights) {
                state.pauses.clear_expired(&scope, now);
            }
        });
    }

    /// Waits until a poll of that scope may begin; the poll holds the permit until it ends.
    ///
    /// The limit for an ad account is the concurrency limit of one business. With a quota that
    /// delays requests, some polls then finish early, instead of all of them late.
    pub async fn acquire_poll_slot(&self, scope: &RequestScope) -> Option<PollSlot> {
        let slots = self.state(|state| {
            let size = state.config.business_concurrency();
            let key = (scope.business.clone(), scope.account_scope());
            let slots = state.poll_slots.entry(key);
            Arc::clone(slots.or_insert_with(|| Slots::new(size)))
        });
        // The semaphore is never closed; if it were, the poll would begin without a permit.
        let permit = slots.acquire().await?;
        Some(PollSlot { _permit: permit })
    }

    /// Waits until one request may be sent, and counts it.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Paused`](super::ErrorKind::Paused) without waiting if the scope is
    /// paused because of an error of the API, or if the wait would exceed that of the poll.
    pub(super) async fn acquire<'a>(
        &'a self,
        scope: &'a RequestScope,
        kind: RequestKind,
        deadline: Option<&PollDeadline>,
    ) -> Result<RequestPermit<'a>, ApiError> {
        loop {
            if let Some(deadline) = deadline {
                deadline.check()?;
            }
            // A request that waits for its quota must not hold a concurrency permit.
            self.wait_until_allowed(scope, kind, deadline).await?;
            let permits = deadline::limit(deadline, self.acquire_concurrency(scope)).await??;
            deadline::limit(deadline, sleep_until(self.next_send_time())).await?;
            // Pauses and quotas can have changed in the meantime. Deciding and counting are one
            // step under the lock: of several requests that wait for the last place of a quota,
            // one gets it.
            let now = Instant::now();
            let decision = self.state(|state| {
                let decision = state.decide(scope, kind, now);
                if let Decision::Send = decision {
                    state.quotas.record_start(scope, kind, now);
                    state.pauses.begin_probe(&scope.pause_scopes(kind), now);
                }
                decision
            });
            match decision {
                Decision::Send => {
                    return Ok(RequestPermit {
                        limiter: self,
                        scope,
                        kind,
                        sent_at: now,
                        is_finished: false,
                        _permits: permits,
                    });
                }
                Decision::Wait(_) => {}
                Decision::Reject(error) => return Err(error),
            }
        }
    }

    async fn wait_until_allowed(
        &self,
        scope: &RequestScope,
        kind: RequestKind,
        deadline: Option<&PollDeadline>,
    ) -> Result<(), ApiError> {
        loop {
            let now = Instant::now();
            match self.state(|state| state.decide(scope, kind, now)) {
                Decision::Send => return Ok(()),
                Decision::Wait(until) => {
                    let step = until.min(now + RECHECK_INTERVAL);
                    if let Some(deadline) = deadline {
                        deadline.wait_for_quota(until, step, now)?;
                    }
                    sleep_until(step).await;
                }
                Decision::Reject(error) => return Err(error),
            }
        }
    }

    async fn acquire_concurrency(
        &self,
        scope: &RequestScope,
    ) -> Result<[Option<SlotPermit>; 3], ApiError> {
        let in_flight = self.state(|state| Arc::clone(&state.business(&scope.business).in_flight));
        let business = acquire_permit(&in_flight).await?;
        // Evaluated after the wait, during which the last response can have arrived.
        let is_degraded = self.state(|state| state.business(&scope.business).is_degraded);
        let degraded = if is_degraded {
            Some(acquire_permit(&self.degraded).await?)
        } else {
            None
        };
        let all = acquire_permit(&self.all).await?;
        Ok([Some(business), degraded, Some(all)])
    }

    /// Reserves the next time at which a request keeps the limit per second, and returns it.
    fn next_send_time(&self) -> Instant {
        self.state(|state| {
            let now = Instant::now();
            let time = state.next_send.map_or(now, |time| time.max(now));
            state.next_send = Some(time + state.config.min_interval());
            time
        })
    }

    fn state<T>(&self, update: impl FnOnce(&mut LimiterState) -> T) -> T {
        // No code panics under this lock, and no update leaves the state inconsistent.
        update(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Permit of a poll, returned on drop.
#[derive(Debug)]
pub struct PollSlot {
    _permit: SlotPermit,
}

impl LimiterState {
    fn business(&mut self, name: &str) -> &mut BusinessSlots {
        let size = self.config.business_concurrency();
        self.businesses
            .entry(name.into())
            .or_insert_with(|| BusinessSlots {
                in_flight: Slots::new(size),
                is_degraded: false,
            })
    }

    fn decide(&self, scope: &RequestScope, kind: RequestKind, now: Instant) -> Decision {
        let scopes = scope.pause_scopes(kind);
        // Users see the cause and its remedy instead of a request that was not sent.
        let reject = |reason, message| {
            let error = self.pauses.error(&scopes, now);
            let error = error.map_or_else(
                || PollError::new(reason, message),
                |error| PollError {
                    reason,
                    ..error.clone()
                },
            );
            Decision::Reject(ApiError::paused(error))
        };
        match self.pauses.until(&scopes, now) {
            Some((_, PauseReason::Unauthenticated)) => reject(
                ErrorReason::Unauthenticated,
                "request not sent: the API refused the access token; the business is paused",
            ),
            Some((_, PauseReason::Misconfigured)) => reject(
                ErrorReason::Misconfigured,
                "request not sent: a secret of the business is missing or wrong; the business is paused",
            ),
            Some((_, PauseReason::Forbidden)) => reject(
                ErrorReason::Forbidden,
                "request not sent: the API refused access to this source; the source is paused",
            ),
            Some((_, PauseReason::Throttled)) => reject(
                ErrorReason::Throttled,
                "request not sent: the API reported too many calls; the ad account or app is paused",
            ),
            Some((until, PauseReason::QuotaExhausted)) => Decision::Wait(until),
            None => {
                let probe = self.pauses.probe_wait(&scopes, &scope.account_scope(), now);
                let quota = self.quotas.wait_until(scope, kind, now);
                probe.max(quota).map_or(Decision::Send, Decision::Wait)
            }
        }
    }
}

async fn acquire_permit(slots: &Arc<Slots>) -> Result<SlotPermit, ApiError> {
    // The semaphores are never closed.
    slots
        .acquire()
        .await
        .ok_or_else(|| ApiError::unavailable("request not sent: the exporter is shutting down"))
}

#[cfg(test)]
mod tests;
