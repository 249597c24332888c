//! Requests of a poll: which windows are requested together, with which dates.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::poll::AnsweredCampaigns;
use crate::model::WindowDates;
use crate::plan::{DateMode, DateSpan, Source};

/// Time around midnight within which a preset can be answered for either day: clocks differ.
const MIDNIGHT_TOLERANCE: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// Windows that are requested together.
#[derive(Clone, Debug)]
pub(super) struct WindowGroup {
    pub(super) windows: Vec<GroupWindow>,
    /// Dates that are sent if `ranges` is empty.
    pub(super) dates: WindowDates,
    /// Distinct ranges that are sent together; empty to send `dates`.
    pub(super) ranges: Vec<DateSpan>,
    /// Campaigns that need not be requested.
    pub(super) answered: AnsweredCampaigns,
}

/// One window of a group.
#[derive(Clone, Debug)]
pub(super) struct GroupWindow {
    pub(super) window_idx: usize,
    /// Dates that its rows can have; empty if they are not known. The first are those of the window.
    pub(super) accepted: Vec<DateSpan>,
    /// Whether a row must cover a single day.
    pub(super) is_one_day: bool,
}

impl WindowGroup {
    /// Returns all dates that a row of the group can have; empty if those of a window are not known.
    pub(super) fn expected(&self) -> Vec<DateSpan> {
        if self.windows.iter().any(|window| window.accepted.is_empty()) {
            return Vec::new();
        }
        let accepted = self.windows.iter().flat_map(|window| &window.accepted);
        accepted.copied().collect()
    }
}

/// Divides windows into groups. `timezone` is that of the ad account.
pub(super) fn window_groups(
    source: &Source,
    window_idxs: impl Iterator<Item = usize>,
    mode: DateMode,
    timezone: Option<&TimeZone>,
    now: Timestamp,
) -> Vec<WindowGroup> {
    let mut groups: Vec<WindowGroup> = Vec::new();
    // Position of the group with the ranges of all windows.
    let mut joint: Option<usize> = None;
    for window_idx in window_idxs {
        let Some(window) = source.windows.get(window_idx) else {
            continue;
        };
        let today = timezone.map(|timezone| now.to_zoned(timezone.clone()).date());
        let explicit = today
            .and_then(|today| window.dates_on(today))
            .filter(|_| mode != DateMode::DatePreset);
        let group_window = GroupWindow {
            window_idx,
            accepted: match (explicit, timezone) {
                (Some(dates), _) => with_running_range(dates, today),
                (None, Some(timezone)) => preset_dates(window, timezone, now),
                (None, None) => match window.dates {
                    WindowDates::Range { since, until } => vec![(since, until)],
                    WindowDates::Preset(_) | WindowDates::AllTime => Vec::new(),
                },
            },
            is_one_day: matches!(window.dates, WindowDates::Preset(preset)
                if ["today", "yesterday"].contains(&preset.as_str())),
        };
        let Some(range) = explicit else {
            groups.push(WindowGroup {
                windows: vec![group_window],
                dates: window.dates,
                ranges: Vec::new(),
                answered: AnsweredCampaigns::default(),
            });
            continue;
        };
        // Windows with equal dates share a request in every mode.
        let position = match mode {
            DateMode::TimeRanges => joint,
            DateMode::TimeRange | DateMode::DatePreset => {
                groups.iter().position(|group| group.ranges == [range])
            }
        };
        match position.and_then(|position| groups.get_mut(position)) {
            Some(group) => {
                group.windows.push(group_window);
                if !group.ranges.contains(&range) {
                    group.ranges.push(range);
                }
            }
            None => {
                joint = Some(groups.len());
                groups.push(WindowGroup {
                    windows: vec![group_window],
                    dates: window.dates,
                    ranges: vec![range],
                    answered: AnsweredCampaigns::default(),
                });
            }
        }
    }
    groups
}

/// Returns the dates of a range, and the part of it that has passed: a range that ends in the future can be answered up
/// to today.
fn with_running_range((since, until): DateSpan, today: Option<Date>) -> Vec<DateSpan> {
    let running = today.filter(|today| since <= *today && *today < until);
    let running = running.map(|today| (since, today));
    [(since, until)].into_iter().chain(running).collect()
}

/// Returns the dates with which a preset can be answered now.
fn preset_dates(
    window: &crate::plan::Window,
    timezone: &TimeZone,
    now: Timestamp,
) -> Vec<DateSpan> {
    let day_at = |time: Timestamp| time.to_zoned(timezone.clone()).date();
    let today = day_at(now);
    let nearby = [
        now.saturating_sub(MIDNIGHT_TOLERANCE),
        now.saturating_add(MIDNIGHT_TOLERANCE),
    ];
    let nearby = nearby.into_iter().filter_map(Result::ok).map(day_at);
    let mut accepted: Vec<DateSpan> = Vec::new();
    for day in std::iter::once(today).chain(nearby) {
        let dates = window.dates_on(day).map(|dates| match window.dates {
            WindowDates::Range { .. } => with_running_range(dates, Some(day)),
            WindowDates::Preset(_) | WindowDates::AllTime => vec![dates],
        });
        for dates in dates.into_iter().flatten() {
            if !accepted.contains(&dates) {
                accepted.push(dates);
            }
        }
    }
    accepted
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    use super::window_groups;
    use crate::config::{Config, NamedDocument};
    use crate::plan::{DateMode, Plan, Shard};

    fn groups(
        windows: &str,
        mode: DateMode,
        zone: Option<&str>,
        now: &str,
    ) -> Vec<super::WindowGroup> {
        let document = NamedDocument {
            name: "config".to_owned(),
            text: format!(
                "windows: [{windows}]\nbusinesses: [{{ name: acme, access_token_env: T, ad_accounts: [{{ id: act_1 }}] }}]"
            ),
        };
        let config = Config::parse(document, Vec::new()).unwrap();
        let plan = Plan::for_shard(&config, Shard::ALL);
        let source = &plan.sources[0];
        let zone = zone.map(|zone| TimeZone::get(zone).unwrap());
        let window_idxs = 0..source.windows.len();
        window_groups(
            source,
            window_idxs,
            mode,
            zone.as_ref(),
            now.parse().unwrap(),
        )
    }

    const WINDOWS: &str = "{ name: today, date_preset: today }, { name: month, date_preset: this_month }, \
        { name: week, date_preset: last_7d }, { name: whole }";

    #[test]
    fn equal_ranges_are_requested_once() {
        // In Los Angeles it is still 1 November, when the month has one day.
        let now = "2026-11-02T06:30:00Z";
        let groups = groups(
            WINDOWS,
            DateMode::TimeRanges,
            Some("America/Los_Angeles"),
            now,
        );
        let first = date(2026, 11, 1);
        let ranges: Vec<_> = groups.iter().map(|group| group.ranges.clone()).collect();
        let week = (date(2026, 10, 25), date(2026, 10, 31));
        assert_eq!(ranges, [vec![(first, first), week], vec![]]);
        let windows = groups[0].windows.iter().map(|window| window.window_idx);
        assert!(windows.eq([0, 1, 2]));
    }

    #[test]
    fn each_range_has_a_request_in_time_range_mode() {
        let now = "2026-11-02T12:00:00Z";
        let groups = groups(WINDOWS, DateMode::TimeRange, Some("Europe/Berlin"), now);
        let counts: Vec<_> = groups.iter().map(|group| group.ranges.len()).collect();
        assert_eq!(counts, [1, 1, 1, 0]);
    }

    #[test]
    fn unknown_zone_is_requested_by_preset() {
        let groups = groups(WINDOWS, DateMode::TimeRanges, None, "2026-11-02T12:00:00Z");
        assert_eq!(groups.len(), 4);
        assert!(
            groups
                .iter()
                .all(|group| group.ranges.is_empty() && group.expected().is_empty())
        );
    }

    #[test]
    fn preset_near_midnight_can_have_either_day() {
        let today = "{ name: today, date_preset: today }";
        let dates = |now: &str| {
            let groups = groups(today, DateMode::DatePreset, Some("Europe/Berlin"), now);
            groups[0].expected().len()
        };
        assert_eq!(dates("2026-11-23T12:00:00Z"), 1);
        assert_eq!(dates("2026-11-23T22:55:00Z"), 2);
        assert_eq!(dates("2026-11-23T23:05:00Z"), 2);
    }

    #[test]
    fn range_that_ends_in_the_future_can_be_answered_up_to_today() {
        let november = "{ name: november, time_range: { since: 2026-11-01, until: 2026-11-30 } }";
        let now = "2026-11-23T12:00:00Z";
        let groups = groups(november, DateMode::TimeRanges, Some("Europe/Berlin"), now);
        let since = date(2026, 11, 1);
        let expected = [(since, date(2026, 11, 30)), (since, date(2026, 11, 23))];
        assert_eq!(groups[0].expected(), expected);
    }
}
