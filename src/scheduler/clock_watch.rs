//! Notices that the wall clock was set.
//!
//! Compares it with the time since the start of the system, which is never set and goes on while the system is suspended.
//! Slow corrections of the clock, as by NTP, count as its normal operation.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Changes of the clock between two checks that are ignored: they do not matter for values that are minutes old.
const MIN_STEP: Duration = Duration::from_secs(10);

/// Wall clock and uptime at the last check.
#[derive(Debug)]
pub(super) struct ClockWatch {
    last: (Timestamp, SignedDuration),
}

impl ClockWatch {
    /// Creates a watch with the current time and the uptime.
    pub(super) fn new(now_and_uptime: (Timestamp, SignedDuration)) -> Self {
        Self {
            last: now_and_uptime,
        }
    }

    /// Returns by how much the clock was set since the last check; `None` if it was not.
    pub(super) fn step(
        &mut self,
        now: Timestamp,
        uptime: SignedDuration,
    ) -> Option<SignedDuration> {
        let (before, uptime_before) = std::mem::replace(&mut self.last, (now, uptime));
        let elapsed = uptime.checked_sub(uptime_before)?;
        let step = now.duration_since(before).checked_sub(elapsed)?;
        (step.unsigned_abs() >= MIN_STEP).then_some(step)
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp, ToSpan};

    use super::ClockWatch;

    #[test]
    fn only_a_clock_that_was_set_is_a_step() {
        let start: Timestamp = "2026-11-23T11:30:00Z".parse().unwrap();
        let mut watch = ClockWatch::new((start, SignedDuration::from_secs(100)));
        let mut uptime = SignedDuration::from_secs(100);
        let mut now = start;
        for (clock, elapsed, step) in [
            // Normal operation, a suspended system, and a slow correction.
            (1.seconds(), 1, None),
            (3.hours(), 3 * 3_600, None),
            (9.seconds(), 1, None),
            (1.hours().seconds(1), 1, Some(SignedDuration::from_hours(1))),
            (1.seconds(), 1, None),
            (
                (-24).hours().seconds(-1),
                1,
                Some(SignedDuration::from_secs(-86_402)),
            ),
        ] {
            now += clock;
            uptime += SignedDuration::from_secs(elapsed);
            assert_eq!(watch.step(now, uptime), step, "{clock}");
        }
    }
}
