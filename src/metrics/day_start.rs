//! Start of a calendar day as a Unix timestamp.

use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Returns the first moment of a day in seconds since the Unix epoch: midnight, or the first valid
/// time of the day if the clock skips midnight. `None` if the time is out of range.
pub(super) fn day_start(day: Date, timezone: &TimeZone) -> Option<f64> {
    let start = day
        .to_zoned(timezone.clone())
        .and_then(|day| day.start_of_day())
        .ok()?;
    Some(start.timestamp().as_duration().as_secs_f64())
}
