//! The date parameters of insights: `date_preset`, `time_range`, `time_ranges` and `time_increment`, in the time zone
//! of the ad account. Source: Meta's page "Ad Account, Insights".

use jiff::civil::Date;
use jiff::{ToSpan, Zoned};
use serde_json::Value;

use crate::call::{ApiCall, value_text};
use crate::errors::SimulatedError;
use crate::traffic_model::oldest_queryable_day;

/// First and last day, both included.
pub(crate) type DateRange = (Date, Date);

/// Returns the range of `time_range` or `date_preset` (default `last_30d`). `now` is in the time zone of the ad
/// account.
///
/// # Errors
///
/// Returns error 100 for an unknown preset, and those of [`parse_range`].
pub(crate) fn requested_range(call: &ApiCall, now: &Zoned) -> Result<DateRange, SimulatedError> {
    let today = now.date();
    if let Some(range) = call.json("time_range")? {
        return parse_range(&range, today);
    }
    let name = call.param("date_preset").unwrap_or("last_30d");
    preset_range(name, today).ok_or_else(|| {
        SimulatedError::invalid(format!(
            "date_preset must be one of the following values: {}",
            PRESETS.join(", ")
        ))
    })
}

/// Splits the range by `time_increment`: `all_days` (default), `monthly`, or 1 to 90 days per part.
///
/// # Errors
///
/// Returns error 100 for other values.
pub(crate) fn split_range(
    call: &ApiCall,
    (since, until): DateRange,
) -> Result<Vec<DateRange>, SimulatedError> {
    /// A limit for ranges that end in the far future. The 37 months of data have fewer days.
    const MAX_RANGES: usize = 1200;
    // `None` means calendar months.
    let days_per_range: Option<i64> = match call.param("time_increment") {
        None | Some("all_days") => return Ok(vec![(since, until)]),
        Some("monthly") => None,
        Some(days) => match days.parse() {
            Ok(days) if (1..=90).contains(&days) => Some(days),
            _ => {
                return Err(SimulatedError::invalid(
                    "time_increment must be all_days, monthly or an integer between 1 and 90",
                ));
            }
        },
    };
    let mut ranges = Vec::new();
    let mut start = since;
    while start <= until && ranges.len() < MAX_RANGES {
        let end = match days_per_range {
            None => start.last_of_month(),
            Some(days) => start.saturating_add((days - 1).days()),
        };
        ranges.push((start, end.min(until)));
        match end.tomorrow() {
            Ok(next) => start = next,
            Err(_) => break,
        }
    }
    Ok(ranges)
}

/// Parses a range in the format of the API: an object with `since` and `until`, both included.
///
/// # Errors
///
/// Returns error 100 if a date is missing or invalid or `since` is later than `until`, and error 3018 if `since` is
/// more than 37 months before `today`.
pub(crate) fn parse_range(range: &Value, today: Date) -> Result<DateRange, SimulatedError> {
    let day = |name: &str| {
        let text = range.get(name).map(value_text).unwrap_or_default();
        text.parse::<Date>()
            .ok()
            .filter(|_| text.len() == 10)
            .ok_or_else(|| {
                SimulatedError::invalid(format!(
                    "Must be a date representation in the format YYYY-MM-DD: time_range[{name}]"
                ))
            })
    };
    let (since, until) = (day("since")?, day("until")?);
    if since > until {
        return Err(SimulatedError::invalid(
            "time_range[since] must not be later than time_range[until]",
        ));
    }
    if since < oldest_queryable_day(today) {
        return Err(SimulatedError::new(
            3018,
            "(#3018) The start date of the time range cannot be beyond 37 months from the current \
             date",
        ));
    }
    Ok((since, until))
}

/// All values of `date_preset` for insights.
pub(crate) const PRESETS: [&str; 20] = [
    "today",
    "yesterday",
    "this_month",
    "last_month",
    "this_quarter",
    "maximum",
    "data_maximum",
    "last_3d",
    "last_7d",
    "last_14d",
    "last_28d",
    "last_30d",
    "last_90d",
    "last_week_mon_sun",
    "last_week_sun_sat",
    "last_quarter",
    "last_year",
    "this_week_mon_today",
    "this_week_sun_today",
    "this_year",
];

/// Returns the range of a preset. `last_…` presets end before today, `this_…` presets today.
fn preset_range(name: &str, today: Date) -> Option<DateRange> {
    let ago = |days: i64| today.saturating_sub(days.days());
    let monday = ago(i64::from(today.weekday().to_monday_zero_offset()));
    let sunday = ago(i64::from(today.weekday().to_sunday_zero_offset()));
    let month = today.first_of_month();
    let quarter = month.saturating_sub(i64::from((today.month() - 1) % 3).months());
    Some(match name {
        "today" => (today, today),
        "yesterday" => (ago(1), ago(1)),
        "this_month" => (month, today),
        "last_month" => (
            month.saturating_sub(1.month()),
            month.saturating_sub(1.day()),
        ),
        "this_quarter" => (quarter, today),
        "maximum" | "data_maximum" => (oldest_queryable_day(today), today),
        "last_week_mon_sun" => (
            monday.saturating_sub(7.days()),
            monday.saturating_sub(1.day()),
        ),
        "last_week_sun_sat" => (
            sunday.saturating_sub(7.days()),
            sunday.saturating_sub(1.day()),
        ),
        "last_quarter" => (
            quarter.saturating_sub(3.months()),
            quarter.saturating_sub(1.day()),
        ),
        "last_year" => {
            let year = today.first_of_year();
            (year.saturating_sub(1.year()), year.saturating_sub(1.day()))
        }
        "this_week_mon_today" => (monday, today),
        "this_week_sun_today" => (sunday, today),
        "this_year" => (today.first_of_year(), today),
        _ => {
            let days = name
                .strip_prefix("last_")?
                .strip_suffix('d')?
                .parse()
                .ok()?;
            PRESETS.contains(&name).then(|| (ago(days), ago(1)))?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_documented_ranges() {
        // A Monday.
        let today = jiff::civil::date(2026, 11, 23);
        for (name, since, until) in [
            ("today", "2026-11-23", "2026-11-23"),
            ("yesterday", "2026-11-22", "2026-11-22"),
            ("this_month", "2026-11-01", "2026-11-23"),
            ("last_month", "2026-10-01", "2026-10-31"),
            ("this_quarter", "2026-10-01", "2026-11-23"),
            ("last_quarter", "2026-07-01", "2026-09-30"),
            ("maximum", "2023-10-23", "2026-11-23"),
            ("last_3d", "2026-11-20", "2026-11-22"),
            ("last_30d", "2026-10-24", "2026-11-22"),
            ("last_week_mon_sun", "2026-11-16", "2026-11-22"),
            ("last_week_sun_sat", "2026-11-15", "2026-11-21"),
            ("this_week_mon_today", "2026-11-23", "2026-11-23"),
            ("this_week_sun_today", "2026-11-22", "2026-11-23"),
            ("this_year", "2026-01-01", "2026-11-23"),
            ("last_year", "2025-01-01", "2025-12-31"),
        ] {
            let expected = Some((since.parse().unwrap(), until.parse().unwrap()));
            assert_eq!(preset_range(name, today), expected, "{name}");
        }
        for name in PRESETS {
            assert!(preset_range(name, today).is_some(), "{name}");
        }
        for unknown in ["lifetime", "last_5d", "", "last_xd"] {
            assert_eq!(preset_range(unknown, today), None, "{unknown}");
        }
    }

    #[test]
    fn today_depends_on_the_time_zone() {
        let now: jiff::Timestamp = "2026-11-23T10:30:00Z".parse().unwrap();
        let call = ApiCall {
            query: vec![("date_preset".into(), "today".into())],
            ..ApiCall::default()
        };
        for (zone, day) in [
            ("Pacific/Auckland", 23),
            ("America/Los_Angeles", 23),
            ("Pacific/Kiritimati", 24),
        ] {
            let local = now.in_tz(zone).unwrap();
            let day = jiff::civil::date(2026, 11, day);
            assert_eq!(requested_range(&call, &local), Ok((day, day)), "{zone}");
        }
    }

    #[test]
    fn time_increments_cover_the_range_without_gaps() {
        let range = ("2026-01-30".parse().unwrap(), "2026-03-02".parse().unwrap());
        for (increment, count) in [
            ("1", 32),
            ("7", 5),
            ("90", 1),
            ("monthly", 3),
            ("all_days", 1),
        ] {
            let call = ApiCall {
                query: vec![("time_increment".into(), increment.into())],
                ..ApiCall::default()
            };
            let ranges = split_range(&call, range).unwrap();
            assert_eq!(ranges.len(), count, "{increment}");
            assert_eq!((ranges[0].0, ranges[count - 1].1), range);
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].1.tomorrow().unwrap(), pair[1].0, "{increment}");
            }
        }
    }
}
