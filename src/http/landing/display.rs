//! Texts of durations, ratios, states and problems on the landing page.

use std::fmt::{self, Display, Formatter};

use super::super::status::{HealthState, Problem};

/// Duration in seconds, displayed in one unit: `119 s`, `2 min`, `2 h`. Negative values are 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct HumanDuration(pub(super) f64);

impl Display for HumanDuration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(f64, &str); 3] = [(86400.0, "d"), (3600.0, "h"), (60.0, "min")];
        // A unit is used from 2 on, because 1 would be too coarse.
        let seconds = self.0.max(0.0);
        let unit = UNITS.iter().find(|(length, _)| seconds >= 2.0 * length);
        let (length, symbol) = unit.unwrap_or(&(1.0, "s"));
        write!(f, "{:.0} {symbol}", (seconds / length).floor())
    }
}

/// Ratio, displayed as percent with at most one decimal: `95 %`, `94.6 %`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Percent(pub(super) f64);

impl Display for Percent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 1000.0).round() / 10.0;
        write!(f, "{tenths} %")
    }
}

/// Amount or ratio with two decimals and thousands separators: `1,234.50`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount(pub(super) f64);

impl Display for Amount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2}", self.0);
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        let digits = whole.trim_start_matches('-').len();
        for (char_idx, char) in whole.chars().enumerate() {
            let remaining = whole.len() - char_idx;
            if remaining < digits && remaining % 3 == 0 {
                f.write_str(",")?;
            }
            write!(f, "{char}")?;
        }
        write!(f, ".{decimals}")
    }
}

/// Count with the singular and the plural of what it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plural(
    pub(super) usize,
    pub(super) &'static str,
    pub(super) &'static str,
);

impl Display for Plural {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(count, singular, plural) = self;
        write!(f, "{count} {}", if *count == 1 { singular } else { plural })
    }
}

/// Maximum length of an error message on the page, in characters.
const MAX_TEXT_CHARS: usize = 300;

/// Text, cut after [`MAX_TEXT_CHARS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Truncated<'a>(pub(super) &'a str);

impl Display for Truncated<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MAX_TEXT_CHARS) {
            None => f.write_str(self.0),
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
        }
    }
}

/// Returns the CSS class, the symbol and the text of a state.
pub(super) fn state(state: HealthState) -> [&'static str; 3] {
    match state {
        HealthState::Up => ["up", "✓", "up"],
        HealthState::Down => ["down", "✕", "down"],
        HealthState::NotPolled => ["not-polled", "…", "not polled"],
    }
}

/// Returns the CSS class, which is the severity, and the text of a problem.
pub(super) fn problem(problem: Problem) -> [&'static str; 2] {
    match problem {
        Problem::CredentialsUnreadable => ["bad", "credentials unreadable"],
        Problem::TokenRefused => ["bad", "token refused"],
        Problem::Down => ["bad", "down"],
        Problem::DiscoveryFailing => ["warn", "discovery failing"],
        Problem::SourceEmpty => ["warn", "campaign without data"],
        Problem::Paused => ["warn", "paused"],
        Problem::QuotaNearlySpent => ["bad", "quota nearly spent"],
        Problem::QuotaAboveShare => ["warn", "quota above share"],
        Problem::TokenExpiresSoon => ["warn", "token expires soon"],
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, HumanDuration, MAX_TEXT_CHARS, Percent, Truncated};

    #[test]
    fn amount_has_thousands_separators() {
        for (amount, expected) in [
            (0.0, "0.00"),
            (999.999, "1,000.00"),
            (1_234_567.5, "1,234,567.50"),
            (-1234.5, "-1,234.50"),
            (12.0, "12.00"),
        ] {
            assert_eq!(Amount(amount).to_string(), expected);
        }
    }

    #[test]
    fn human_duration_uses_a_unit_from_two_on() {
        for (seconds, expected) in [
            (-3.0, "0 s"),
            (0.4, "0 s"),
            (119.9, "119 s"),
            (120.0, "2 min"),
            (7199.0, "119 min"),
            (7200.0, "2 h"),
            (172_800.0, "2 d"),
        ] {
            assert_eq!(HumanDuration(seconds).to_string(), expected);
        }
    }

    #[test]
    fn percent_has_at_most_one_decimal() {
        for (ratio, expected) in [
            (0.0, "0 %"),
            (0.946, "94.6 %"),
            (0.95, "95 %"),
            (1.2, "120 %"),
        ] {
            assert_eq!(Percent(ratio).to_string(), expected);
        }
    }

    #[test]
    fn truncated_text_ends_with_an_ellipsis() {
        let long = "é".repeat(MAX_TEXT_CHARS + 1);
        assert_eq!(
            Truncated(&long).to_string(),
            format!("{}…", "é".repeat(MAX_TEXT_CHARS))
        );
        assert_eq!(Truncated("short").to_string(), "short");
    }
}
