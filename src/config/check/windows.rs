//! Checks `windows`: names, date presets and date ranges.
//!
//! Whether a range is in the past or in the future is not checked, because that needs a clock.

use jiff::civil::Date;

use super::settings;
use crate::config::diagnostics::{Diagnostics, describe_unprintable, quote_or_redact};
use crate::config::parse::from_yaml::{Explicit, RawList};
use crate::config::parse::raw::{RawTimeRange, RawWindow};
use crate::config::parse::scalar::RawText;
use crate::config::parse::unknown_key;
use crate::config::parse::yaml_path::YamlPath;
use crate::config::{WindowConfig, defaults};
use crate::model::{DatePreset, WindowDates};

/// Returns the window names that thresholds may refer to; entries without a name are skipped.
pub(in crate::config) fn names(raw_windows: &Explicit<RawList<RawWindow>>) -> Vec<String> {
    let Some(raw_windows) = raw_windows.get() else {
        return defaults::DEFAULT_WINDOWS.map(str::to_owned).to_vec();
    };
    let mut names = Vec::new();
    for RawText(name) in raw_windows
        .items()
        .iter()
        .filter_map(|(_, window)| window.name.get())
    {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// Checks the list of windows.
pub(in crate::config) fn check(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_windows: &Explicit<RawList<RawWindow>>,
) -> Vec<WindowConfig> {
    let Some(raw_windows) = raw_windows.get() else {
        return default_windows();
    };
    if raw_windows.len() == 0 {
        diagnostics.add(
            path,
            "expected at least one window, found an empty list; add one such as `{ name: today, date_preset: today }`, or remove the key to use `today` and `last_30d`",
        );
    }
    let mut windows: Vec<WindowConfig> = Vec::new();
    for (window_idx, raw) in raw_windows.items() {
        let path = path.index(*window_idx);
        let name = name(diagnostics, &path, &raw.name);
        if let Some(other) = windows
            .iter()
            .position(|other| Some(&other.name) == name.as_ref())
        {
            diagnostics.add(
                &path.key("name"),
                format!(
                    "expected a unique name, found the name of `windows[{other}]`; choose another"
                ),
            );
        }
        windows.push(WindowConfig {
            // A missing name was reported; the substitute differs from all other names.
            name: name.unwrap_or_else(|| format!("\0{window_idx}")),
            dates: dates(diagnostics, &path, raw),
            interval: settings::duration(diagnostics, &path.key("interval"), &raw.interval),
        });
    }
    windows
}

/// Checks the name of a window or a business, which becomes a label value.
pub(in crate::config) fn name(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    raw_name: &Explicit<RawText>,
) -> Option<String> {
    let Some(RawText(name)) = raw_name.get() else {
        if raw_name.is_absent() {
            diagnostics.add(path, "expected `name`, found no such key; add a name");
        }
        return None;
    };
    if name.trim().is_empty() || name.contains(char::is_control) {
        diagnostics.add(
            &path.key("name"),
            format!(
                "expected one line of printable text, found {}; choose a name for dashboards",
                describe_unprintable(name)
            ),
        );
        return None;
    }
    if name.trim() != name || name.contains(is_invisible) {
        diagnostics.add(
            &path.key("name"),
            "expected a name of visible characters, found white space at an end, or invisible characters; remove them",
        );
        return None;
    }
    Some(name.clone())
}

/// Whether a character has no width, so that two names with and without it look the same.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn default_windows() -> Vec<WindowConfig> {
    let window = |name: &str| WindowConfig {
        name: name.to_owned(),
        // Each default window has the name of its preset, so the fallback is not used; see the test.
        dates: DatePreset::parse(name).map_or(WindowDates::AllTime, WindowDates::Preset),
        interval: None,
    };
    defaults::DEFAULT_WINDOWS.map(window).to_vec()
}

/// Checks the dates of a window. After an error it returns a substitute; the config is discarded.
fn dates(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, raw: &RawWindow) -> WindowDates {
    match (raw.date_preset.get(), raw.time_range.get()) {
        (None, None) => WindowDates::AllTime,
        (Some(RawText(name)), None) => DatePreset::parse(name).map_or_else(
            || {
                diagnostics.add(
                    &path.key("date_preset"),
                    format!(
                        "expected a date preset of the API, found {}; {}",
                        quote_or_redact(name),
                        preset_remedy(name)
                    ),
                );
                WindowDates::AllTime
            },
            WindowDates::Preset,
        ),
        (None, Some(raw_range)) => range(diagnostics, &path.key("time_range"), raw_range),
        (Some(_), Some(raw_range)) => {
            diagnostics.add(
                path,
                "expected either `date_preset` or `time_range`, found both; remove one of them",
            );
            range(diagnostics, &path.key("time_range"), raw_range)
        }
    }
}

/// Suggests a preset for a misspelled one. `last_60d` is not a misspelling of `last_90d`.
fn preset_remedy(name: &str) -> String {
    let days = name
        .strip_prefix("last_")
        .and_then(|rest| rest.strip_suffix('d'));
    if let Some(days) = days.and_then(|days| days.parse::<u32>().ok()) {
        let longer = [3, 7, 14, 28, 30, 90]
            .into_iter()
            .find(|preset| *preset >= days);
        let preset = longer.map_or_else(String::new, |preset| format!(", or `last_{preset}d`"));
        return format!(
            "the API has no such preset: use a `time_range`{preset}, or one of {}",
            DatePreset::ALL.join(", ")
        );
    }
    match unknown_key::nearest(name, &DatePreset::ALL) {
        Some(preset) => format!("did you mean `{preset}`?"),
        None => format!("use one of {}", DatePreset::ALL.join(", ")),
    }
}

fn range(diagnostics: &mut Diagnostics<'_>, path: &YamlPath, raw: &RawTimeRange) -> WindowDates {
    let since = date(diagnostics, path, "since", &raw.since);
    let until = date(diagnostics, path, "until", &raw.until);
    let (Some(since), Some(until)) = (since, until) else {
        return WindowDates::AllTime;
    };
    if since > until {
        diagnostics.add(
            path,
            format!(
                "expected `until` on or after `since`, found `{until}` before `{since}`; exchange the two"
            ),
        );
    }
    WindowDates::Range { since, until }
}

fn date(
    diagnostics: &mut Diagnostics<'_>,
    path: &YamlPath,
    key: &'static str,
    raw_date: &Explicit<RawText>,
) -> Option<Date> {
    let Some(RawText(text)) = raw_date.get() else {
        if raw_date.is_absent() {
            diagnostics.add(
                path,
                format!(
                    "expected `{key}`, found no such key; write both dates, such as `{{ since: 2026-03-01, until: 2026-05-31 }}`"
                ),
            );
        }
        return None;
    };
    // jiff also accepts times and shorter forms, which would be truncated or misread.
    let is_well_formed = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(byte_idx, byte)| match byte_idx {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
    let date = text.parse().ok().filter(|_| is_well_formed);
    if date.is_none() {
        diagnostics.add(
            &path.key(key),
            format!(
                "expected a date such as `2026-03-01`, found {}; write YYYY-MM-DD",
                quote_or_redact(text)
            ),
        );
    }
    date
}

#[cfg(test)]
mod tests {
    use super::default_windows;
    use crate::model::WindowDates;

    #[test]
    fn default_windows_are_date_presets() {
        for window in default_windows() {
            assert_ne!(
                window.dates,
                WindowDates::AllTime,
                "default window {} should be a date preset",
                window.name
            );
        }
    }
}
