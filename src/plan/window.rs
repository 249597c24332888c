//! Windows: named date ranges, with their dates, their poll interval and the age at which their values are stale.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::model::{DatePreset, WindowDates};

/// Days for which Meta restates insights; ranges that ended earlier are settled.
///
/// Source: Meta's best practices for insights.
pub const RESTATED_DAYS: i64 = 28;

/// Default poll interval of windows that ended before today.
const CLOSED_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Default poll interval of settled windows.
const SETTLED_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum days for which [`Window::valid_until`] looks ahead; values are stale much earlier.
const MAX_VALID_DAYS: i64 = 400;

/// First and last day of a range, both inclusive.
pub type DateSpan = (Date, Date);

/// A named date range of one source.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use jiff::civil::date;
/// use marketing_messages_exporter::model::WindowDates;
/// use marketing_messages_exporter::plan::Window;
///
/// let (quarter, hour) = (Duration::from_secs(15 * 60), Duration::from_secs(60 * 60));
/// let may = WindowDates::Range { since: date(2026, 5, 1), until: date(2026, 5, 31) };
/// let window = Window::new("may", may, None, quarter, hour);
/// assert_eq!(window.interval(date(2026, 5, 31)), quarter);
/// assert_eq!(window.interval(date(2026, 6, 1)), hour); // ended, but still restated
/// assert_eq!(window.interval(date(2026, 8, 1)), 24 * hour); // settled
/// assert_eq!(window.stale_after(date(2026, 8, 1)), 48 * hour);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The `window` label.
    pub name: Box<str>,
    /// Dates that are queried.
    pub dates: WindowDates,
    /// Poll interval that the config sets for this window; `None` for the default.
    configured_interval: Option<Duration>,
    /// Poll interval of windows that contain today.
    business_interval: Duration,
    /// Configured `stale_after`.
    stale_after: Duration,
}

impl Window {
    /// Creates a window from the poll interval that the config sets for it, the interval of its business and
    /// `stale_after`.
    pub fn new(
        name: &str,
        dates: WindowDates,
        configured_interval: Option<Duration>,
        business_interval: Duration,
        stale_after: Duration,
    ) -> Self {
        Self {
            name: name.into(),
            dates,
            configured_interval,
            business_interval,
            stale_after,
        }
    }

    /// Returns the poll interval in force on `today`: the configured one, or a default that depends on how long ago
    /// the window ended.
    pub fn interval(&self, today: Date) -> Duration {
        if let Some(interval) = self.configured_interval {
            return interval;
        }
        let default = match self.last_day(today) {
            Some(last_day) if last_day < today => {
                let elapsed = last_day.until(today).map_or(0, |span| span.get_days());
                if i64::from(elapsed) > RESTATED_DAYS {
                    SETTLED_INTERVAL
                } else {
                    CLOSED_INTERVAL
                }
            }
            _ => Duration::ZERO,
        };
        default.max(self.business_interval)
    }

    /// Returns the time without a successful poll after which the values are stale: the configured
    /// one, but at least two poll intervals.
    pub fn stale_after(&self, today: Date) -> Duration {
        self.stale_after.max(2 * self.interval(today))
    }

    /// Returns first and last day of the window on `today`, the date in the time zone of the ad account; `None` for
    /// windows without dates, `maximum` and `data_maximum`: only the API knows their dates.
    pub fn dates_on(&self, today: Date) -> Option<DateSpan> {
        match self.dates {
            WindowDates::AllTime => None,
            WindowDates::Range { since, until } => Some((since, until)),
            WindowDates::Preset(preset) => preset_dates(preset, today),
        }
    }

    /// Returns the midnight after `day` from which values of these dates no longer belong to the window, because the
    /// window has no day in common with them; `None` if that is not foreseeable.
    pub fn valid_until(
        &self,
        dates: DateSpan,
        day: Date,
        timezone: &TimeZone,
    ) -> Option<Timestamp> {
        let WindowDates::Preset(_) = self.dates else {
            return None;
        };
        (1..=MAX_VALID_DAYS)
            .filter_map(|days| day.checked_add(days.days()).ok())
            .find(|day| {
                self.dates_on(*day)
                    .is_some_and(|(first, last)| last < dates.0 || dates.1 < first)
            })
            .and_then(|day| midnight(day, timezone))
    }

    /// Returns the first midnight after `now` at which the dates of the window change; `None` if its dates are
    /// fixed or unknown.
    pub fn next_change(&self, now: Timestamp, timezone: &TimeZone) -> Option<Timestamp> {
        let WindowDates::Preset(_) = self.dates else {
            return None;
        };
        let today = now.to_zoned(timezone.clone()).date();
        let dates = self.dates_on(today)?;
        (1..=MAX_VALID_DAYS)
            .filter_map(|days| today.checked_add(days.days()).ok())
            .find(|day| self.dates_on(*day) != Some(dates))
            .and_then(|day| midnight(day, timezone))
    }

    /// Returns the last day; `None` if the window has no dates or its dates are unknown.
    fn last_day(&self, today: Date) -> Option<Date> {
        self.dates_on(today).map(|(_, last_day)| last_day)
    }
}

/// Returns the first moment of a day.
fn midnight(day: Date, timezone: &TimeZone) -> Option<Timestamp> {
    let start = day.to_zoned(timezone.clone()).ok()?.start_of_day().ok()?;
    Some(start.timestamp())
}

/// Returns first and last day of a preset. `last_…` presets end before today, `this_…` presets today.
fn preset_dates(preset: DatePreset, today: Date) -> Option<DateSpan> {
    let ago = |days: i64| today.saturating_sub(days.days());
    let day_before = |day: Date| day.saturating_sub(1.day());
    let monday = ago(today.weekday().to_monday_zero_offset().into());
    let sunday = ago(today.weekday().to_sunday_zero_offset().into());
    let month = today.first_of_month();
    let quarter = month.saturating_sub(i64::from((today.month() - 1) % 3).months());
    let year = today.first_of_year();
    Some(match preset.as_str() {
        "today" => (today, today),
        "yesterday" => (ago(1), ago(1)),
        "last_3d" => (ago(3), ago(1)),
        "last_7d" => (ago(7), ago(1)),
        "last_14d" => (ago(14), ago(1)),
        "last_28d" => (ago(28), ago(1)),
        "last_30d" => (ago(30), ago(1)),
        "last_90d" => (ago(90), ago(1)),
        "this_week_mon_today" => (monday, today),
        "this_week_sun_today" => (sunday, today),
        "last_week_mon_sun" => (monday.saturating_sub(7.days()), day_before(monday)),
        "last_week_sun_sat" => (sunday.saturating_sub(7.days()), day_before(sunday)),
        "this_month" => (month, today),
        "last_month" => (month.saturating_sub(1.month()), day_before(month)),
        "this_quarter" => (quarter, today),
        "last_quarter" => (quarter.saturating_sub(3.months()), day_before(quarter)),
        "this_year" => (year, today),
        "last_year" => (year.saturating_sub(1.year()), day_before(year)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::civil::{Date, date};
    use jiff::tz::TimeZone;

    use super::Window;
    use crate::model::{DatePreset, WindowDates};

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn window(preset: &str) -> Window {
        let dates = WindowDates::Preset(DatePreset::parse(preset).unwrap());
        Window::new(preset, dates, None, HOUR / 4, HOUR)
    }

    fn span(first: &str, last: &str) -> Option<(Date, Date)> {
        Some((first.parse().unwrap(), last.parse().unwrap()))
    }

    #[test]
    fn dates_on_edges_of_week_month_quarter_and_year() {
        // Meta's definitions of the presets; 2026-11-01 is a Sunday, 2027-01-01 a Friday.
        for (preset, today, dates) in [
            ("today", "2026-03-01", span("2026-03-01", "2026-03-01")),
            ("yesterday", "2026-03-01", span("2026-02-28", "2026-02-28")),
            ("this_month", "2026-11-01", span("2026-11-01", "2026-11-01")),
            ("last_month", "2027-01-01", span("2026-12-01", "2026-12-31")),
            ("last_month", "2028-03-31", span("2028-02-01", "2028-02-29")),
            (
                "this_quarter",
                "2026-12-31",
                span("2026-10-01", "2026-12-31"),
            ),
            (
                "last_quarter",
                "2027-01-01",
                span("2026-10-01", "2026-12-31"),
            ),
            ("this_year", "2027-01-01", span("2027-01-01", "2027-01-01")),
            ("last_year", "2027-01-01", span("2026-01-01", "2026-12-31")),
            ("last_3d", "2027-01-01", span("2026-12-29", "2026-12-31")),
            ("last_90d", "2026-11-23", span("2026-08-25", "2026-11-22")),
            (
                "this_week_mon_today",
                "2026-11-01",
                span("2026-10-26", "2026-11-01"),
            ),
            (
                "this_week_sun_today",
                "2026-11-01",
                span("2026-11-01", "2026-11-01"),
            ),
            (
                "last_week_mon_sun",
                "2026-11-01",
                span("2026-10-19", "2026-10-25"),
            ),
            (
                "last_week_sun_sat",
                "2026-11-01",
                span("2026-10-25", "2026-10-31"),
            ),
            ("maximum", "2026-11-01", None),
            ("data_maximum", "2026-11-01", None),
        ] {
            let today = today.parse().unwrap();
            assert_eq!(window(preset).dates_on(today), dates, "{preset} on {today}");
        }
        for preset in DatePreset::ALL {
            let dates = window(preset).dates_on(date(2026, 11, 23));
            assert_eq!(dates.is_none(), preset.contains("maximum"), "{preset}");
        }
    }

    #[test]
    fn interval_depends_on_how_long_ago_the_window_ended() {
        let today = date(2026, 11, 23);
        for (preset, hours) in [
            ("today", 0.25),
            ("this_year", 0.25),
            ("maximum", 0.25),
            ("yesterday", 1.0),
            ("last_30d", 1.0),
            ("last_month", 1.0),
            ("last_quarter", 24.0),
            ("last_year", 24.0),
        ] {
            let interval = window(preset).interval(today);
            assert_eq!(interval, HOUR.mul_f64(hours), "{preset}");
        }
        let configured = Window {
            configured_interval: Some(HOUR * 6),
            ..window("last_year")
        };
        assert_eq!(configured.interval(today), HOUR * 6);
        assert_eq!(configured.stale_after(today), HOUR * 12);
        let slow_business = Window {
            business_interval: HOUR * 3,
            ..window("yesterday")
        };
        assert_eq!(slow_business.interval(today), HOUR * 3);
    }

    #[test]
    fn values_are_valid_until_the_first_midnight_without_a_common_day() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (preset, day, until) in [
            ("today", date(2026, 11, 23), Some("2026-11-23T23:00:00Z")),
            (
                "yesterday",
                date(2026, 11, 23),
                Some("2026-11-23T23:00:00Z"),
            ),
            (
                "this_month",
                date(2026, 11, 23),
                Some("2026-11-30T23:00:00Z"),
            ),
            ("last_7d", date(2026, 11, 23), Some("2026-11-29T23:00:00Z")),
            (
                "last_month",
                date(2026, 11, 30),
                Some("2026-11-30T23:00:00Z"),
            ),
            // The day on which summer time begins has 23 hours, that on which it ends 25.
            ("today", date(2026, 3, 29), Some("2026-03-29T22:00:00Z")),
            ("today", date(2026, 10, 25), Some("2026-10-25T23:00:00Z")),
            ("maximum", date(2026, 11, 23), None),
        ] {
            let window = window(preset);
            let dates = window.dates_on(day).unwrap_or((day, day));
            let expected = until.map(|until| until.parse().unwrap());
            assert_eq!(
                window.valid_until(dates, day, &berlin),
                expected,
                "{preset} on {day}"
            );
        }
    }

    #[test]
    fn dates_change_at_midnight_of_the_time_zone() {
        for (zone, preset, now, change) in [
            (
                "Pacific/Kiritimati",
                "today",
                "2026-11-23T09:59:59Z",
                Some("2026-11-23T10:00:00Z"),
            ),
            (
                "America/Los_Angeles",
                "last_7d",
                "2026-11-23T08:00:00Z",
                Some("2026-11-24T08:00:00Z"),
            ),
            (
                "America/Los_Angeles",
                "last_month",
                "2026-11-23T08:00:00Z",
                Some("2026-12-01T08:00:00Z"),
            ),
            // Summer time begins at midnight: the day starts at 01:00.
            (
                "America/Santiago",
                "today",
                "2026-09-05T12:00:00Z",
                Some("2026-09-06T04:00:00Z"),
            ),
            ("Europe/Berlin", "maximum", "2026-11-23T08:00:00Z", None),
        ] {
            let expected = change.map(|change| change.parse().unwrap());
            let zone = TimeZone::get(zone).unwrap();
            let found = window(preset).next_change(now.parse().unwrap(), &zone);
            assert_eq!(found, expected, "{preset} in {zone:?}");
        }
    }
}
