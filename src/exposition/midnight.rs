//! When a day begins, as a timestamp.

use jiff::civil::Date;
use jiff::tz::TimeZone;

/// The first moment of a day in seconds since 1970: midnight, or what stands for it where clocks
/// skip midnight.
pub(super) fn midnight(day: Date, timezone: &TimeZone) -> Option<f64> {
    let start = day
        .to_zoned(timezone.clone())
        .and_then(|day| day.start_of_day())
        .ok()?;
    Some(start.timestamp().as_duration().as_secs_f64())
}
