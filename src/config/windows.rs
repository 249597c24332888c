//! Checks `windows`: names, presets and ranges of days.
//!
//! Whether a range is past or yet to come is not asked here: that takes a clock.

use jiff::civil::Date;

use super::complaint::{Notes, shown};
use super::place::Place;
use super::raw::{RawTimeRange, RawWindow};
use super::scalar::{Given, List, Text};
use super::{Window, defaults, settings};
use crate::row::{DatePreset, Dates};

/// The names that a threshold may use, as far as they can be read.
pub(super) fn names(given: &Given<List<RawWindow>>) -> Vec<String> {
    match given.get() {
        None => defaults::WINDOWS.map(str::to_owned).to_vec(),
        Some(List(windows)) => {
            let mut names = Vec::new();
            for Text(name) in windows.iter().filter_map(|window| window.name.get()) {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            names
        }
    }
}

/// Checks the list.
pub(super) fn check(
    notes: &mut Notes<'_>,
    at: &Place,
    given: &Given<List<RawWindow>>,
) -> Vec<Window> {
    let Some(List(given)) = given.get() else {
        return default_windows();
    };
    if given.is_empty() {
        notes.add(
            at,
            "without a window nothing is asked; add one such as { name: today, date_preset: today }, or remove the key for today and last_30d",
        );
    }
    let mut windows: Vec<Window> = Vec::new();
    for (index, raw) in given.iter().enumerate() {
        let at = at.index(index);
        let name = name(notes, &at, &raw.name, "a window");
        if let Some(other) = windows
            .iter()
            .position(|other| Some(&other.name) == name.as_ref())
        {
            notes.add(
                &at.key("name"),
                format!("windows[{other}] has the same name; choose another"),
            );
        }
        windows.push(Window {
            // A missing name was noted; this one clashes with no other.
            name: name.unwrap_or_else(|| format!("\0{index}")),
            dates: dates(notes, &at, raw),
            interval: settings::duration(notes, &at.key("interval"), &raw.interval),
        });
    }
    windows
}

/// Checks the name of a window or a business, which becomes the value of a label.
pub(super) fn name(
    notes: &mut Notes<'_>,
    at: &Place,
    given: &Given<Text>,
    what: &str,
) -> Option<String> {
    let Some(Text(name)) = given.get() else {
        notes.add(at, format!("{what} needs a name; add `name:`"));
        return None;
    };
    if name.trim().is_empty() || name.contains(char::is_control) {
        notes.add(
            &at.key("name"),
            "a name is one line of printable text; write one that people will know on a dashboard",
        );
        return None;
    }
    Some(name.clone())
}

fn default_windows() -> Vec<Window> {
    let window = |name: &str| Window {
        name: name.to_owned(),
        // Each default is named as its preset; a test holds that there are such presets.
        dates: DatePreset::parse(name).map_or(Dates::Unsent, Dates::Preset),
        interval: None,
    };
    defaults::WINDOWS.map(window).to_vec()
}

/// Until something better is known, no date: only where a complaint was noted.
fn dates(notes: &mut Notes<'_>, at: &Place, raw: &RawWindow) -> Dates {
    match (raw.date_preset.get(), raw.time_range.get()) {
        (None, None) => Dates::Unsent,
        (Some(Text(word)), None) => DatePreset::parse(word).map_or_else(
            || {
                notes.add(
                    &at.key("date_preset"),
                    format!(
                        "{} is no date preset of the API; one of {} is right",
                        shown(word),
                        DatePreset::ALL.join(", ")
                    ),
                );
                Dates::Unsent
            },
            Dates::Preset,
        ),
        (None, Some(range)) => self::range(notes, &at.key("time_range"), range),
        (Some(_), Some(range)) => {
            notes.add(
                at,
                "a window has a date_preset or a time_range, never both; keep one",
            );
            self::range(notes, &at.key("time_range"), range)
        }
    }
}

fn range(notes: &mut Notes<'_>, at: &Place, raw: &RawTimeRange) -> Dates {
    let since = day(notes, at, "since", &raw.since);
    let until = day(notes, at, "until", &raw.until);
    let (Some(since), Some(until)) = (since, until) else {
        return Dates::Unsent;
    };
    if since > until {
        notes.add(
            at,
            format!("since {since} is after until {until}; until is the last day, or the same"),
        );
    }
    Dates::Range { since, until }
}

fn day(notes: &mut Notes<'_>, at: &Place, key: &'static str, given: &Given<Text>) -> Option<Date> {
    let Some(Text(text)) = given.get() else {
        notes.add(
            at,
            format!("`{key}` is missing; write both days, such as {{ since: 2026-03-01, until: 2026-05-31 }}"),
        );
        return None;
    };
    // jiff also reads times and shorter spellings, which would be quietly cut or misread.
    let shape = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let day = text.parse().ok().filter(|_| shape);
    if day.is_none() {
        notes.add(
            &at.key(key),
            format!(
                "{} is no day of the calendar; write one as YYYY-MM-DD, such as 2026-03-01",
                shown(text)
            ),
        );
    }
    day
}

#[cfg(test)]
mod tests {
    use super::default_windows;
    use crate::row::Dates;

    #[test]
    fn the_default_windows_are_presets_of_the_api() {
        let windows = default_windows();
        assert!(windows.iter().all(|window| window.dates != Dates::Unsent));
    }
}
