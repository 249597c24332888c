//! The kinds of faults, and how each is written.
//!
//! One table that people read, and one parser that must agree with it. What a kind does to an
//! answer is `misconduct`'s.

use std::str::FromStr;
use std::time::Duration;

use super::api::Conduct;
use super::usage::Pretence;

/// Every kind of fault: how it is written, and what it does.
pub const KINDS: [(&str, &str); 26] = [
    (
        "throttled[=4|17|32|341|368|613|80000|80004][;minutes=N][;strings][;silent]",
        "refuses for too many calls (17 with subcode 2446079 by default); the headers tell the minutes until access is regained, as strings or not at all where asked",
    ),
    (
        "denied[=460|463|467|102]",
        "refuses the token: 190 with that subcode, or 102",
    ),
    (
        "forbidden[=10|200|33]",
        "lacks a permission: that code, or 100 with subcode 33",
    ),
    (
        "rejected[=100|803|3018|2635|…]",
        "refuses the call for good, with that code",
    ),
    (
        "rejected_field=NAME",
        "refuses calls that ask for that field: 100 naming it",
    ),
    (
        "too_large[=N][;code=1|1487534|1504018]",
        "refuses pages of more than N rows, asking to reduce the amount of data",
    ),
    (
        "unavailable[=1|2|104|960|500|503]",
        "a passing failure: that code, or a 500 of HTML, or a 503 of plain text",
    ),
    ("reset", "closes the connection without an answer"),
    ("hang", "never answers"),
    ("slow=MILLISECONDS", "answers late"),
    ("cut", "ends the body in the middle"),
    ("empty", "200 with an empty body"),
    ("html", "200 with a page of HTML"),
    ("error_in_200", "200 with an error in the body"),
    ("deep", "200 with arrays nested 100,000 deep"),
    (
        "huge[=MEBIBYTES]",
        "200 with a body that goes on and on (4096 by default)",
    ),
    ("shape", "data is an object instead of a list"),
    (
        "figures=TEXT[;field=NAME]",
        "figures (or that one) are that text, e.g. NaN or 1e999, or no text at all: list, object, bool, number, null",
    ),
    ("no_ids", "rows without their ids"),
    ("no_dates", "rows without date_start and date_stop"),
    ("other_dates", "rows for other dates than asked"),
    (
        "mixed_attribution",
        "rows without action lists, attribution_setting is multiple",
    ),
    (
        "version=vN.N",
        "that version answers instead, with the warning of an upgrade",
    ),
    (
        "usage=PERCENT[;header=app-usage|ad-account-usage|business-use-case-usage|insights-throttle][;minutes=N][;strings]",
        "usage headers (or that one) tell so many percent",
    ),
    (
        "development",
        "the tier is development access, and its quota is enforced",
    ),
    (
        "repeating_cursor|endless_pages",
        "paging that leads in a circle, or on without end",
    ),
];

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Throttled {
        code: u32,
        minutes: Option<u64>,
        strings: bool,
        silent: bool,
    },
    Denied(u32),
    Forbidden(u32),
    Rejected(u32),
    RejectedField(String),
    TooLarge {
        limit: u64,
        code: u32,
    },
    Unavailable(u32),
    Slow(Duration),
    Conduct(Conduct),
    Body(&'static str),
    Shape,
    Figures {
        value: String,
        field: Option<String>,
    },
    NoIds,
    NoDates,
    OtherDates,
    MixedAttribution,
    Version(String),
    Usage(Pretence),
    Development,
    RepeatingCursor,
    EndlessPages,
}

impl Kind {
    /// Reads `KIND[=VALUE][;OPTION[=VALUE]]…`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut words = Words::read(text);
        let kind = match words.kind {
            "throttled" => Self::Throttled {
                code: words.number("", Some(17))?,
                minutes: words.optional("minutes")?,
                strings: words.flag("strings"),
                silent: words.flag("silent"),
            },
            "denied" => Self::Denied(words.number("", Some(0))?),
            "forbidden" => Self::Forbidden(words.number("", Some(200))?),
            "rejected" => Self::Rejected(words.number("", Some(100))?),
            "rejected_field" => Self::RejectedField(words.text("")?),
            "too_large" => Self::TooLarge {
                limit: words.number("", Some(0))?,
                code: words.number("code", Some(1))?,
            },
            "unavailable" => match words.number("", Some(2))? {
                code @ (1 | 2 | 104 | 960 | 500 | 503) => Self::Unavailable(code),
                code => return Err(format!("unavailable does not know {code}")),
            },
            "reset" => Self::Conduct(Conduct::Reset),
            "hang" => Self::Conduct(Conduct::Hang),
            "slow" => Self::Slow(Duration::from_millis(words.number("", None)?)),
            "cut" => Self::Conduct(Conduct::Cut),
            "empty" => Self::Body("empty"),
            "html" => Self::Body("html"),
            "error_in_200" => Self::Body("error"),
            "deep" => Self::Body("deep"),
            "huge" => {
                let mebibytes: u64 = words.number("", Some(4096))?;
                Self::Conduct(Conduct::Huge(mebibytes.saturating_mul(1 << 20)))
            }
            "shape" => Self::Shape,
            "figures" => Self::Figures {
                value: words.text("")?,
                field: words.optional("field")?,
            },
            "no_ids" => Self::NoIds,
            "no_dates" => Self::NoDates,
            "other_dates" => Self::OtherDates,
            "mixed_attribution" => Self::MixedAttribution,
            "version" => Self::Version(words.text("")?),
            "usage" => Self::Usage(Pretence {
                percent: Some(words.number("", None)?),
                header: words.optional("header")?,
                strings: words.flag("strings"),
                regain_minutes: words.number("minutes", Some(0))?,
                ..Pretence::default()
            }),
            "development" => Self::Development,
            "repeating_cursor" => Self::RepeatingCursor,
            "endless_pages" => Self::EndlessPages,
            other => {
                let known: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
                return Err(format!(
                    "{other:?} is no fault; there are {}",
                    known.join(", ")
                ));
            }
        };
        words.end().map(|()| kind)
    }
}

/// A kind's name, value (the option without a name) and options, taken out one by one.
struct Words<'t> {
    kind: &'t str,
    options: Vec<(&'t str, &'t str)>,
}

impl<'t> Words<'t> {
    fn read(text: &'t str) -> Self {
        let mut parts = text
            .split(';')
            .map(|part| part.split_once('=').unwrap_or((part, "")));
        let (kind, value) = parts.next().unwrap_or_default();
        let value = (!value.is_empty()).then_some(("", value));
        let options = value.into_iter().chain(parts).collect();
        Self { kind, options }
    }

    fn take(&mut self, name: &str) -> Option<&'t str> {
        let at = self
            .options
            .iter()
            .position(|(option, _)| *option == name)?;
        Some(self.options.remove(at).1)
    }

    fn optional<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(format!("{text:?} is no value of {}", self.kind)),
        }
    }

    fn number<T: FromStr>(&mut self, name: &str, default: Option<T>) -> Result<T, String> {
        let kind = self.kind;
        self.optional(name)?
            .or(default)
            .ok_or_else(|| format!("{kind} needs a value"))
    }

    fn text(&mut self, name: &str) -> Result<String, String> {
        self.number(name, None)
    }

    fn flag(&mut self, name: &str) -> bool {
        self.take(name).is_some()
    }

    fn end(self) -> Result<(), String> {
        match self.options.first() {
            None => Ok(()),
            Some((name, value)) => Err(format!("{} does not know {name}={value}", self.kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_written_kind_is_read() {
        for (written, _) in KINDS {
            for kind in written.split(['[', ';']).next().unwrap().split('|') {
                let value = kind.replace("NAME", "spend").replace("MILLISECONDS", "5");
                let value = value.replace("PERCENT", "95").replace("vN.N", "v25.0");
                assert!(Kind::parse(&value).is_ok(), "{value}");
            }
        }
    }
}
