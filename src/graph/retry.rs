//! Retries of a single request, with full jitter.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::sleep;

use super::error::{ApiError, ErrorKind};

/// Maximum attempts of a request, the first one included.
pub const MAX_ATTEMPTS: u32 = 3;

/// Longest `Retry-After` that a poll waits for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Longest delay before the second and the third attempt. Longer outages are left to the
/// scheduler, which polls again later.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];

/// Calls `attempt` until it succeeds, or fails with an error that is not retried or `is_final`.
pub(super) async fn run<T, F>(
    max_attempts: u32,
    is_final: impl Fn(&ApiError) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let delay = match (retry_delay(error.kind, attempts, jitter()), error.wait) {
            (None, _) => return Err(error),
            _ if attempts >= max_attempts || is_final(&error) => return Err(error),
            (Some(_), Some(wait)) if wait > MAX_RETRY_AFTER => return Err(error),
            (Some(delay), wait) => wait.unwrap_or(delay),
        };
        tracing::debug!(attempts, retry_in = ?delay, error = %error.error, "retrying request");
        sleep(delay).await;
    }
}

/// Waits before a lighter request is sent after `attempts` heavier ones.
pub(super) async fn pause_before_lighter(attempts: u32) {
    if let Some(delay) = retry_delay(ErrorKind::Unavailable, attempts, jitter()) {
        sleep(delay).await;
    }
}

/// Returns a random number in 0..1. Not for secrets: the source is std's hasher keys, which saves a
/// dependency.
fn jitter() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or(u32::MAX);
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// Returns the delay after `attempts` failed attempts, or `None` to give up.
///
/// Full jitter: `jitter` in 0..1 selects a delay between zero and the longest one, so that requests
/// that fail together are not repeated together.
fn retry_delay(kind: ErrorKind, attempts: u32, jitter: f64) -> Option<Duration> {
    match kind {
        ErrorKind::Unavailable | ErrorKind::InvalidResponse if attempts < MAX_ATTEMPTS => {
            let longest = RETRY_DELAYS.get(usize::try_from(attempts).ok()?.checked_sub(1)?)?;
            Some(longest.mul_f64(jitter.clamp(0.0, 1.0)))
        }
        ErrorKind::Unavailable
        | ErrorKind::InvalidResponse
        | ErrorKind::Throttled(_)
        | ErrorKind::Unauthenticated
        | ErrorKind::Forbidden
        | ErrorKind::Misconfigured
        | ErrorKind::Rejected
        | ErrorKind::TooLarge
        | ErrorKind::Paused => None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{MAX_ATTEMPTS, RETRY_DELAYS, retry_delay, run};
    use crate::graph::error::ExceededLimit;
    use crate::graph::{ApiError, ErrorKind};

    #[tokio::test(start_paused = true)]
    async fn outage_is_retried_within_the_maximum_delays() {
        let (start, mut attempts) = (Instant::now(), 0);
        let result = run(
            MAX_ATTEMPTS,
            |_| false,
            || {
                attempts += 1;
                ready(Err::<(), _>(ApiError::unavailable("gone")))
            },
        );
        assert!(result.await.is_err());
        assert_eq!(attempts, MAX_ATTEMPTS);
        let elapsed = start.elapsed();
        assert!(
            elapsed <= RETRY_DELAYS.iter().sum::<Duration>(),
            "{elapsed:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn success_ends_the_retries() {
        let mut attempts = 0;
        let result = run(
            MAX_ATTEMPTS,
            |_| false,
            || {
                attempts += 1;
                ready(if attempts == 2 {
                    Ok("good")
                } else {
                    Err(ApiError::invalid_response("cut"))
                })
            },
        );
        assert_eq!(result.await, Ok("good"));
        assert_eq!(attempts, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn rejection_is_not_retried() {
        let mut attempts = 0;
        let result = run(
            MAX_ATTEMPTS,
            |_| false,
            || {
                attempts += 1;
                ready(Err::<(), _>(ApiError {
                    kind: ErrorKind::Rejected,
                    ..ApiError::invalid_response("no")
                }))
            },
        );
        assert!(result.await.is_err());
        assert_eq!(attempts, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_replaces_the_delay() {
        for (seconds, expected_attempts, expected) in [(7, 3, 14), (31, 1, 0)] {
            let (start, mut attempts) = (Instant::now(), 0);
            let result = run(
                MAX_ATTEMPTS,
                |_| false,
                || {
                    attempts += 1;
                    ready(Err::<(), _>(ApiError {
                        wait: Some(Duration::from_secs(seconds)),
                        ..ApiError::unavailable("overloaded")
                    }))
                },
            );
            assert!(result.await.is_err());
            assert_eq!(attempts, expected_attempts, "Retry-After: {seconds}");
            assert_eq!(start.elapsed(), Duration::from_secs(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn probe_is_not_retried() {
        let mut attempts = 0;
        let result = run(
            1,
            |_| false,
            || {
                attempts += 1;
                ready(Err::<(), _>(ApiError::unavailable("gone")))
            },
        );
        assert!(result.await.is_err());
        assert_eq!(attempts, 1);
    }

    #[test]
    fn delay_depends_on_kind_attempt_and_jitter() {
        for kind in [ErrorKind::Unavailable, ErrorKind::InvalidResponse] {
            assert_eq!(retry_delay(kind, 1, 1.0), Some(RETRY_DELAYS[0]));
            assert_eq!(retry_delay(kind, 1, 0.0), Some(Duration::ZERO));
            assert_eq!(retry_delay(kind, 2, 1.0), Some(RETRY_DELAYS[1]));
            assert_eq!(retry_delay(kind, MAX_ATTEMPTS, 0.5), None);
        }
        for kind in [
            ErrorKind::Throttled(ExceededLimit::App),
            ErrorKind::Unauthenticated,
            ErrorKind::Forbidden,
            ErrorKind::Misconfigured,
            ErrorKind::Rejected,
            ErrorKind::TooLarge,
            ErrorKind::Paused,
        ] {
            assert_eq!(retry_delay(kind, 1, 0.5), None, "{kind:?}");
        }
    }
}
