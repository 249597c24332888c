//! When the next poll of a source and window is due: arithmetic alone.

use std::time::Duration;

use jiff::Timestamp;

use crate::spread;

/// The place of a source and window in its interval, by a hash of its name: it stays the same
/// after a restart, and spreads many of them evenly.
pub(super) fn phase(business: &str, source: &str, window: &str, interval: Duration) -> Duration {
    let hash = spread::hash(&[business, source, window]);
    // As many bits as a float holds exactly.
    let share = (hash >> 11) as f64 / (1_u64 << 53) as f64;
    interval.mul_f64(share)
}

/// The next moment of that phase that is at least half an interval after `now`: a first poll at
/// start is not followed by another at once.
pub(super) fn next(now: Timestamp, phase: Duration, interval: Duration) -> Timestamp {
    let earliest = now + interval / 2;
    let (earliest_ns, phase_ns) = (earliest.as_nanosecond(), signed(phase));
    let interval_ns = signed(interval).max(1);
    let periods = (earliest_ns - phase_ns).div_euclid(interval_ns) + 1;
    Timestamp::from_nanosecond(periods * interval_ns + phase_ns).unwrap_or(earliest)
}

/// How long to wait after the `failures`th failure in a row of a source and window: from its
/// interval, doubling, to `backoff_max`; and never less than the interval.
pub(super) fn backoff(failures: u32, interval: Duration, backoff_max: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    interval
        .saturating_mul(1 << doublings)
        .min(backoff_max.max(interval))
}

fn signed(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{backoff, next, phase};

    const QUARTER: Duration = Duration::from_secs(15 * 60);

    #[test]
    fn phases_are_stable_and_spread() {
        assert_eq!(
            phase("acme", "act_1", "today", QUARTER),
            phase("acme", "act_1", "today", QUARTER)
        );
        let mut minutes = [0_u32; 15];
        for source in 0..3_000 {
            let phase = phase("acme", &format!("act_{source}"), "today", QUARTER);
            assert!(phase < QUARTER);
            minutes[usize::try_from(phase.as_secs() / 60).unwrap()] += 1;
        }
        assert!(
            minutes.iter().all(|count| (150..250).contains(count)),
            "{minutes:?}"
        );
    }

    proptest::proptest! {
        #[test]
        fn the_next_poll_keeps_phase_and_distance(
            now in 1_600_000_000_i64..2_000_000_000,
            interval in 1_u64..100_000,
            share in 0.0_f64..1.0,
        ) {
            let now = Timestamp::from_second(now).unwrap();
            let interval = Duration::from_secs(interval);
            let phase = interval.mul_f64(share);
            let due = next(now, phase, interval);
            let wait = due.duration_since(now).unsigned_abs();
            proptest::prop_assert!(due > now && wait >= interval / 2 && wait <= interval * 3 / 2);
            let again = next(due, phase, interval);
            proptest::prop_assert_eq!(again.duration_since(due).unsigned_abs(), interval);
        }
    }

    #[test]
    fn failures_back_off_from_the_interval_to_the_limit() {
        let minutes = |most| {
            (1..=4)
                .map(|n| backoff(n, QUARTER, most).as_secs() / 60)
                .collect::<Vec<_>>()
        };
        assert_eq!(minutes(4 * QUARTER), [15, 30, 60, 60]);
        assert_eq!(minutes(QUARTER), [15; 4]);
        assert_eq!(
            minutes(Duration::from_secs(1)),
            [15; 4],
            "failing never means asking more often"
        );
        assert_eq!(backoff(u32::MAX, QUARTER, QUARTER), QUARTER);
    }
}
