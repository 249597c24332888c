//! Which days a call asks about: presets, ranges and increments, cut in the ad account's zone.
//!
//! Knows nothing of what happened on those days.

use jiff::civil::Date;
use jiff::{ToSpan, Zoned};
use serde_json::Value;

use super::call::{Call, plain};
use super::curve::horizon;
use super::errors::ApiError;

/// First and last day, both included.
pub(super) type Range = (Date, Date);

/// The range that the call asks for, on the day of `now` in the ad account's zone.
pub(super) fn asked(call: &Call, now: &Zoned) -> Result<Range, ApiError> {
    let today = now.date();
    if let Some(range) = call.json("time_range")? {
        return fixed(&range, today);
    }
    let name = call.param("date_preset").unwrap_or("last_30d");
    preset(name, today).ok_or_else(|| {
        ApiError::invalid(format!(
            "date_preset must be one of the following values: {}",
            PRESETS.join(", ")
        ))
    })
}

/// The range in the pieces that `time_increment` asks for.
pub(super) fn pieces(call: &Call, (since, until): Range) -> Result<Vec<Range>, ApiError> {
    let step: i64 = match call.param("time_increment") {
        None | Some("all_days") => return Ok(vec![(since, until)]),
        Some("monthly") => 0,
        Some(days) => match days.parse() {
            Ok(days) if (1..=90).contains(&days) => days,
            _ => {
                return Err(ApiError::invalid(
                    "time_increment must be all_days, monthly or an integer between 1 and 90",
                ));
            }
        },
    };
    let mut pieces = Vec::new();
    let mut start = since;
    // 37 months have fewer days than this; a range into the year 9999 has more.
    while start <= until && pieces.len() < 1200 {
        let end = match step {
            0 => start.last_of_month(),
            days => start.saturating_add((days - 1).days()),
        };
        pieces.push((start, end.min(until)));
        match end.tomorrow() {
            Ok(next) => start = next,
            Err(_) => break,
        }
    }
    Ok(pieces)
}

/// One range as the API takes it: an object with `since` and `until`.
pub(super) fn fixed(range: &Value, today: Date) -> Result<Range, ApiError> {
    let day = |name: &str| {
        let text = range.get(name).map(plain).unwrap_or_default();
        text.parse::<Date>()
            .ok()
            .filter(|_| text.len() == 10)
            .ok_or_else(|| {
                ApiError::invalid(format!(
                    "Must be a date representation in the format YYYY-MM-DD: time_range[{name}]"
                ))
            })
    };
    let (since, until) = (day("since")?, day("until")?);
    if since > until {
        return Err(ApiError::invalid(
            "time_range[since] must not be later than time_range[until]",
        ));
    }
    if since < horizon(today) {
        return Err(ApiError::new(
            3018,
            "(#3018) The start date of the time range cannot be beyond 37 months from the current \
             date",
        ));
    }
    Ok((since, until))
}

/// Every preset that Meta documents for insights.
pub(super) const PRESETS: [&str; 20] = [
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

/// The days of a preset; `last_…` ones end yesterday, `this_…` ones today.
fn preset(name: &str, today: Date) -> Option<Range> {
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
        "maximum" | "data_maximum" => (horizon(today), today),
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
    fn presets_begin_and_end_where_meta_says() {
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
            assert_eq!(preset(name, today), expected, "{name}");
        }
        assert!(PRESETS.iter().all(|name| preset(name, today).is_some()));
        assert!(
            ["lifetime", "last_5d", "", "last_xd"]
                .iter()
                .all(|name| preset(name, today).is_none())
        );
    }

    #[test]
    fn today_is_the_ad_account_s() {
        let now: jiff::Timestamp = "2026-11-23T10:30:00Z".parse().unwrap();
        let call = Call {
            query: vec![("date_preset".into(), "today".into())],
            ..Call::default()
        };
        for (zone, day) in [
            ("Pacific/Auckland", 23),
            ("America/Los_Angeles", 23),
            ("Pacific/Kiritimati", 24),
        ] {
            let local = now.in_tz(zone).unwrap();
            let day = jiff::civil::date(2026, 11, day);
            assert_eq!(asked(&call, &local), Ok((day, day)), "{zone}");
        }
    }

    #[test]
    fn increments_cover_the_range_without_gaps() {
        let range = ("2026-01-30".parse().unwrap(), "2026-03-02".parse().unwrap());
        for (increment, count) in [
            ("1", 32),
            ("7", 5),
            ("90", 1),
            ("monthly", 3),
            ("all_days", 1),
        ] {
            let call = Call {
                query: vec![("time_increment".into(), increment.into())],
                ..Call::default()
            };
            let pieces = pieces(&call, range).unwrap();
            assert_eq!(pieces.len(), count, "{increment}");
            assert_eq!((pieces[0].0, pieces[count - 1].1), range);
            assert!(
                pieces
                    .windows(2)
                    .all(|two| two[0].1.tomorrow().unwrap() == two[1].0)
            );
        }
    }
}
