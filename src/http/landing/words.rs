//! Numbers and states as people say them.

use std::fmt::{self, Display, Formatter};

use super::super::status::{State, Trouble};

/// How long something is, in the one unit that says enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) f64);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(f64, &str); 3] = [(86400.0, "d"), (3600.0, "h"), (60.0, "min")];
        // Two of a unit are said in the next smaller one, which says more.
        let seconds = self.0.max(0.0);
        let unit = UNITS.iter().find(|(long, _)| seconds >= 2.0 * long);
        let (long, word) = unit.unwrap_or(&(1.0, "s"));
        write!(f, "{:.0} {word}", (seconds / long).floor())
    }
}

/// A share as percent, with a decimal where it is not whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Percent(pub(super) f64);

impl Display for Percent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 1000.0).round() / 10.0;
        write!(f, "{tenths} %")
    }
}

/// A number with the one or the many that it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted(
    pub(super) usize,
    pub(super) &'static str,
    pub(super) &'static str,
);

impl Display for Counted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(number, one, many) = self;
        write!(f, "{number} {}", if *number == 1 { one } else { many })
    }
}

/// The beginning of a text that may be of any length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning<'a>(pub(super) &'a str);

impl Display for Beginning<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const LETTERS: usize = 300;
        match self.0.char_indices().nth(LETTERS) {
            None => f.write_str(self.0),
            Some((end, _)) => write!(f, "{}…", &self.0[..end]),
        }
    }
}

/// The state of a window: its class, its sign and its word.
pub(super) fn state(state: State) -> [&'static str; 3] {
    match state {
        State::Up => ["up", "✓", "up"],
        State::Down => ["down", "✕", "down"],
        State::NotPolled => ["wait", "…", "not polled"],
    }
}

/// A trouble: how grave it is, and its words.
pub(super) fn trouble(trouble: Trouble) -> [&'static str; 2] {
    match trouble {
        Trouble::TokenRefused => ["bad", "token refused"],
        Trouble::Down => ["bad", "down"],
        Trouble::HeldOff => ["warn", "held off"],
        Trouble::QuotaNearlySpent => ["bad", "quota nearly spent"],
        Trouble::QuotaAboveShare => ["warn", "quota above share"],
        Trouble::TokenExpiresSoon => ["warn", "token expires soon"],
    }
}

#[cfg(test)]
mod tests {
    use super::{Beginning, Percent, Span};

    #[test]
    fn numbers_are_said_in_words_that_say_enough() {
        for (seconds, said) in [
            (-3.0, "0 s"),
            (0.4, "0 s"),
            (119.9, "119 s"),
            (120.0, "2 min"),
            (7199.0, "119 min"),
            (7200.0, "2 h"),
            (172_800.0, "2 d"),
        ] {
            assert_eq!(Span(seconds).to_string(), said);
        }
        for (ratio, said) in [
            (0.0, "0 %"),
            (0.946, "94.6 %"),
            (0.95, "95 %"),
            (1.2, "120 %"),
        ] {
            assert_eq!(Percent(ratio).to_string(), said);
        }
        let long = "é".repeat(301);
        assert_eq!(Beginning(&long).to_string().chars().count(), 301);
        assert_eq!(Beginning("short").to_string(), "short");
    }
}
