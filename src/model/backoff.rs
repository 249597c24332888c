//! Exponential backoff.

use std::time::Duration;

/// Doublings after which the delay stops growing; keeps the factor within 32 bits.
const MAX_DOUBLINGS: u32 = 20;

/// Returns the delay after the `failures`th consecutive failure, counted from 1 (0 counts as 1): `first`, doubled by
/// each further failure, at most `max`. A `max` below `first` counts as `first`.
///
/// The delay has no random part: sources are already spread over the interval by their phase.
pub fn exponential_backoff(first: Duration, failures: u32, max: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
    first.saturating_mul(1 << doublings).min(max.max(first))
}

/// First delay after an outage, unless the interval is shorter.
const FIRST_RETRY: Duration = Duration::from_secs(30);

/// Returns the delay of the next poll after the `failures`th consecutive outage, counted from 1: 30 seconds, doubled by
/// each further failure up to `interval`, then twice the interval and so on up to `max`, which counts as the interval if
/// it is shorter.
pub fn early_retry_backoff(interval: Duration, failures: u32, max: Duration) -> Duration {
    let mut doublings = failures.saturating_sub(1);
    let mut delay = FIRST_RETRY;
    while delay < interval {
        if doublings == 0 {
            return delay;
        }
        delay = delay.saturating_mul(2);
        doublings -= 1;
    }
    exponential_backoff(interval, doublings.saturating_add(1), max)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{early_retry_backoff, exponential_backoff};

    const FIRST: Duration = Duration::from_secs(15 * 60);

    #[test]
    fn delay_doubles_up_to_the_maximum() {
        let minutes = |max| {
            (1..=4)
                .map(|failures| exponential_backoff(FIRST, failures, max).as_secs() / 60)
                .collect::<Vec<_>>()
        };
        assert_eq!(minutes(4 * FIRST), [15, 30, 60, 60]);
        assert_eq!(minutes(FIRST), [15; 4]);
        assert_eq!(
            minutes(Duration::from_secs(1)),
            [15; 4],
            "a maximum below the first delay should not shorten it"
        );
        assert_eq!(exponential_backoff(FIRST, u32::MAX, FIRST), FIRST);
    }

    #[test]
    fn early_retries_double_up_to_the_interval() {
        let seconds = |interval, max| {
            let delay = |failures| {
                let max = Duration::from_secs(max);
                early_retry_backoff(Duration::from_secs(interval), failures, max).as_secs()
            };
            (1..=10).map(delay).collect::<Vec<_>>()
        };
        assert_eq!(
            seconds(900, 7200),
            [30, 60, 120, 240, 480, 900, 1800, 3600, 7200, 7200]
        );
        assert_eq!(
            seconds(10, 60),
            [10, 20, 40, 60, 60, 60, 60, 60, 60, 60],
            "an interval below 30 s should not be exceeded by the first retry"
        );
        assert_eq!(
            seconds(21_600, 7200)[9],
            15_360,
            "retries should not be less frequent than polls"
        );
        assert_eq!(early_retry_backoff(FIRST, u32::MAX, 8 * FIRST), 8 * FIRST);
    }

    proptest! {
        #[test]
        fn delay_is_bounded_and_at_most_doubles(
            first in 1_u64..100_000,
            max in 0_u64..1_000_000,
            failures in 0_u32..100,
        ) {
            let (first, max) = (Duration::from_secs(first), Duration::from_secs(max));
            let delay = exponential_backoff(first, failures, max);
            let next = exponential_backoff(first, failures + 1, max);
            prop_assert!(first <= delay && delay <= max.max(first), "{delay:?}");
            prop_assert!(delay <= next && next <= delay * 2, "{delay:?}, then {next:?}");
        }
    }
}
