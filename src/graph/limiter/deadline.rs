//! Deadline of a poll, and the part of it that can be spent waiting for a quota.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::graph::error::ApiError;
use crate::model::{ErrorReason, PollError};

/// Longest time that a poll waits for quotas.
const MAX_QUOTA_WAIT: Duration = Duration::from_secs(5 * 60);

/// Time at which a poll ends, whatever it still waits for.
#[derive(Debug)]
pub struct PollDeadline {
    at: Instant,
    /// Time spent waiting for quotas.
    waited: Mutex<Duration>,
}

impl PollDeadline {
    /// Creates a deadline that ends after `duration`.
    pub fn after(duration: Duration) -> Self {
        Self {
            at: Instant::now() + duration,
            waited: Mutex::new(Duration::ZERO),
        }
    }

    /// Returns the end of the poll.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Returns an error after the deadline.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        if Instant::now() < self.at {
            Ok(())
        } else {
            Err(expired())
        }
    }

    /// Counts a wait for a quota up to `step`.
    ///
    /// # Errors
    /// Returns an error at once if waiting until `until` would exceed the deadline or the allowed
    /// wait, because the next poll can use the quota then.
    pub(super) fn wait_for_quota(
        &self,
        until: Instant,
        step: Instant,
        now: Instant,
    ) -> Result<(), ApiError> {
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        let remaining = until.saturating_duration_since(now);
        if *waited + remaining > MAX_QUOTA_WAIT || until > self.at {
            return Err(ApiError::paused(PollError::new(
                ErrorReason::Throttled,
                "request not sent: the quota allows it only after the end of this poll",
            )));
        }
        *waited += step.saturating_duration_since(now);
        Ok(())
    }
}

/// Runs a wait until the deadline, if there is one.
///
/// # Errors
/// Returns an error if the deadline comes first.
pub(in crate::graph) async fn limit<T>(
    deadline: Option<&PollDeadline>,
    wait: impl Future<Output = T>,
) -> Result<T, ApiError> {
    match deadline {
        None => Ok(wait.await),
        Some(deadline) => timeout_at(deadline.at, wait).await.map_err(|_| expired()),
    }
}

fn expired() -> ApiError {
    ApiError::paused(PollError::new(
        ErrorReason::Unavailable,
        "poll ended at its deadline; the next one continues",
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{MAX_QUOTA_WAIT, PollDeadline};

    #[test]
    fn poll_waits_five_minutes_for_quota_in_all() {
        let start = Instant::now();
        let deadline = PollDeadline::after(Duration::from_secs(3600));
        let after = |seconds| start + Duration::from_secs(seconds);
        let wait = |from: u64, to: u64| deadline.wait_for_quota(after(to), after(to), after(from));
        assert!(wait(0, 200).is_ok());
        assert!(wait(200, 300).is_ok());
        assert!(wait(300, 301).is_err(), "{MAX_QUOTA_WAIT:?} are used");
    }

    #[test]
    fn wait_beyond_the_deadline_fails_at_once() {
        let now = Instant::now();
        let deadline = PollDeadline::after(Duration::from_secs(60));
        let until = now + Duration::from_secs(61);
        let error = deadline.wait_for_quota(until, now, now).unwrap_err();
        assert_eq!(error.error.reason, crate::model::ErrorReason::Throttled);
    }
}
