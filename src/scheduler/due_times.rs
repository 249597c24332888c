//! Regular due times of polls: phase by hash. Pure functions without a clock.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::fnv1a_mix;

/// Returns the offset of polls within `interval`, in `[0, interval)`. `shortest` is the shortest interval of the
/// source's windows.
///
/// The offset is derived from a hash of the names: it is the same after a restart, and the polls of many sources are
/// spread evenly over the interval. Windows of one source with a longer interval are due together with the one that is
/// polled most often, so that they share its request.
pub(super) fn phase(
    business: &str,
    source: &str,
    shortest: Duration,
    interval: Duration,
) -> Duration {
    let offset = shortest.mul_f64(hash_fraction(&[business, source]));
    let periods = (interval.as_nanos() / shortest.as_nanos().max(1)).max(1);
    let period = fnv1a_mix(&[source, business]) % u64::try_from(periods).unwrap_or(u64::MAX);
    let period = u32::try_from(period).unwrap_or(0);
    offset.saturating_add(shortest.saturating_mul(period))
}

/// Returns a number in `[0, 1)` that depends on the names only.
pub(super) fn hash_fraction(names: &[&str]) -> f64 {
    let hash = fnv1a_mix(names);
    // The upper 53 bits, because an f64 represents integers exactly up to 2^53.
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// Returns the next time with offset `phase` that is at least half an interval after `now`.
///
/// The minimum distance avoids a second poll shortly after the poll at startup, which has no fixed phase.
pub(super) fn next_in_phase(now: Timestamp, phase: Duration, interval: Duration) -> Timestamp {
    let earliest = now + interval / 2;
    let (earliest_ns, phase_ns) = (earliest.as_nanosecond(), signed(phase));
    let interval_ns = signed(interval).max(1);
    let periods = (earliest_ns - phase_ns).div_euclid(interval_ns) + 1;
    Timestamp::from_nanosecond(periods * interval_ns + phase_ns).unwrap_or(earliest)
}

/// Returns the first time with offset `phase` after `now`.
pub(super) fn next_phase(now: Timestamp, phase: Duration, interval: Duration) -> Timestamp {
    let (now_ns, phase_ns) = (now.as_nanosecond(), signed(phase));
    let interval_ns = signed(interval).max(1);
    let periods = (now_ns - phase_ns).div_euclid(interval_ns) + 1;
    Timestamp::from_nanosecond(periods * interval_ns + phase_ns).unwrap_or(now)
}

/// Returns an interval that is longer by `slowdown`, which is at least 1, and twice as much for windows that are not
/// polled most often. Polls in these intervals still renew values before they are `stale_after` old.
pub(super) fn slowed_interval(
    interval: Duration,
    shortest: Duration,
    slowdown: f64,
    stale_after: Duration,
) -> Duration {
    if slowdown <= 1.0 {
        return interval;
    }
    let factor = if interval > shortest {
        2.0 * slowdown
    } else {
        slowdown
    };
    // The next time in phase is at most one and a half intervals away.
    interval.mul_f64(factor).min(stale_after / 2).max(interval)
}

fn signed(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::{next_in_phase, next_phase, phase, slowed_interval};

    const QUARTER: Duration = Duration::from_secs(15 * 60);

    #[test]
    fn phase_of_many_sources_is_stable_and_spread() {
        assert_eq!(
            phase("acme", "act_1", QUARTER, QUARTER),
            phase("acme", "act_1", QUARTER, QUARTER)
        );
        let mut minutes = [0_u32; 15];
        for source in 0..3_000 {
            let phase = phase("acme", &format!("act_{source}"), QUARTER, QUARTER);
            assert!(phase < QUARTER);
            minutes[usize::try_from(phase.as_secs() / 60).unwrap()] += 1;
        }
        assert!(
            minutes.iter().all(|count| (150..250).contains(count)),
            "polls should be spread evenly over the minutes: {minutes:?}"
        );
    }

    #[test]
    fn longer_intervals_of_a_source_are_in_phase_with_the_shortest() {
        let (hour, day) = (4 * QUARTER, 96 * QUARTER);
        let mut quarters = [0; 4];
        for source in 0..400 {
            let name = format!("act_{source}");
            let shortest = phase("acme", &name, QUARTER, QUARTER);
            let hourly = phase("acme", &name, QUARTER, hour);
            let daily = phase("acme", &name, QUARTER, day);
            assert!(hourly < hour && daily < day);
            for longer in [hourly, daily] {
                let rest = longer.as_nanos() % QUARTER.as_nanos();
                assert_eq!(rest, shortest.as_nanos(), "{name}");
            }
            quarters[usize::try_from(hourly.as_secs() / 900).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|count| *count > 50), "{quarters:?}");
    }

    #[test]
    fn intervals_grow_with_the_slowdown_up_to_half_of_stale_after() {
        let minutes = |interval: u32, slowdown, stale_after: u32| {
            let (interval, stale_after) = (QUARTER * interval, QUARTER * stale_after);
            slowed_interval(interval, QUARTER, slowdown, stale_after).as_secs() / 60
        };
        assert_eq!(minutes(1, 1.0, 4), 15);
        assert_eq!(minutes(1, 1.4, 4), 21);
        assert_eq!(minutes(4, 1.4, 24), 168, "windows without today last");
        assert_eq!(minutes(1, 20.0, 4), 30);
        assert_eq!(minutes(4, 20.0, 8), 60);
    }

    #[test]
    fn next_phase_is_within_one_interval() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        for seconds in [0, 1, 450, 899] {
            let phase = Duration::from_secs(seconds);
            let wait = next_phase(now, phase, QUARTER).duration_since(now);
            assert!(wait.is_positive() && wait.unsigned_abs() <= QUARTER);
        }
    }

    proptest::proptest! {
        #[test]
        fn next_in_phase_keeps_phase_and_minimum_distance(
            now in 1_600_000_000_i64..2_000_000_000,
            interval in 1_u64..100_000,
            fraction in 0.0_f64..1.0,
        ) {
            let now = Timestamp::from_second(now).unwrap();
            let interval = Duration::from_secs(interval);
            let phase = interval.mul_f64(fraction);
            let due = next_in_phase(now, phase, interval);
            let wait = due.duration_since(now).unsigned_abs();
            proptest::prop_assert!(due > now && wait >= interval / 2 && wait <= interval * 3 / 2);
            let following = next_in_phase(due, phase, interval);
            proptest::prop_assert_eq!(following.duration_since(due).unsigned_abs(), interval);
        }
    }
}
