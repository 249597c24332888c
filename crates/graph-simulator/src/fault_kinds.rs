//! The kinds of faults and their text syntax: a table for users and the parser. A unit test compares the two.
//!
//! The effects of each kind are in `fault_effects`.

use std::str::FromStr;
use std::time::Duration;

use crate::api::ResponseMode;
use crate::usage::ReportedUsage;

/// All kinds of faults: syntax and effect. `[…]` is optional, `|` separates alternatives, and words in capitals are
/// values.
pub const FAULT_KINDS: [(&str, &str); 34] = [
    (
        "throttled[=4|17|32|341|368|613|80000|80004][;minutes=N][;strings][;silent]",
        "rate limit error with this code (17 with subcode 2446079 by default); the usage header of the limit reports 100 % and the minutes until access is regained; strings: numbers as strings, silent: no usage headers",
    ),
    (
        "denied[=460|463|467|102]",
        "invalid token: error 190, with this subcode if given, or error 102",
    ),
    (
        "denied_html|denied_text|denied_form|denied_twice",
        "invalid token in another shape: HTML with status 401, `error` as text, form fields, or two JSON documents",
    ),
    (
        "forbidden[=3|10|100|200|415|33]",
        "missing permission: this code (200 by default), or 100 with subcode 33",
    ),
    (
        "rejected[=100|803|3018|2635|…]",
        "permanent error with this code (100 by default)",
    ),
    (
        "rejected_field=NAME",
        "error 100 that names the field, for calls that request it",
    ),
    (
        "rejected_param=NAME",
        "error 100 that names the parameter, for calls that send it, such as time_ranges",
    ),
    (
        "rejected_joined",
        "error 100 for insights calls that request actions together with marketing_messages_delivered",
    ),
    (
        "rejected_expansion",
        "error 100 for calls that request an edge within a node, such as campaigns{id}",
    ),
    (
        "rejected_status=NAME",
        "error 100 for calls that name this status in a filter, such as DELETED",
    ),
    ("empty_list", "lists have no items"),
    (
        "doubled_range|dropped_range",
        "of several time_ranges, the rows of one are sent twice, or left out",
    ),
    (
        "refused_actions_of=ID",
        "code 2 with subcode 1504044 for insights calls that request the actions of this campaign",
    ),
    (
        "too_large[=N][;code=1|1487534|1504018]",
        "error \"Please reduce the amount of data\" for pages of more than N rows (0 by default), or the error with this code or subcode",
    ),
    (
        "unavailable[=1|2|104|960|500|503]",
        "temporary error with this code (2 by default), or status 500 with HTML, or status 503 with plain text",
    ),
    ("reset", "closes the connection without a response"),
    ("hang", "sends no response and keeps the connection open"),
    ("slow=MILLISECONDS", "delays the response by this time"),
    (
        "cut",
        "closes the connection after half of the response body",
    ),
    ("empty", "status 200 with an empty body"),
    ("html", "status 200 with an HTML page"),
    ("error_in_200", "status 200 with an error in the body"),
    ("deep", "status 200 with arrays nested 100,000 levels deep"),
    (
        "huge[=MEBIBYTES]",
        "status 200 with a body of this size (4096 by default) that consists of spaces",
    ),
    ("shape", "data is an object instead of an array"),
    (
        "figures=TEXT[;field=NAME]",
        "numbers (of this field) are replaced by this text, e.g. NaN or 1e999, or by another JSON type: list, object, bool, number, null",
    ),
    ("no_ids", "rows without ids"),
    ("no_dates", "rows without date_start and date_stop"),
    ("other_dates", "rows with other dates than requested"),
    (
        "mixed_attribution",
        "rows without action lists and with attribution_setting \"multiple\"",
    ),
    (
        "version=vN.N",
        "the headers report this version and an upgrade warning",
    ),
    (
        "usage=PERCENT[;header=app-usage|ad-account-usage|business-use-case-usage|insights-throttle][;minutes=N][;strings]",
        "usage headers (or this one) report this percentage; strings: numbers as strings",
    ),
    (
        "development",
        "the access tier is development_access, and its quota is enforced",
    ),
    (
        "repeating_cursor|endless_pages",
        "the next page is always the first one, or there is always a next page",
    ),
];

/// A parsed kind of fault. The variants have the order of [`FAULT_KINDS`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FaultKind {
    /// `throttled`.
    Throttled {
        /// Meta's error code.
        code: u32,
        /// Minutes until access is regained, in the usage headers; `None` counts as 0.
        minutes: Option<u64>,
        /// Whether numbers in the usage headers are strings.
        strings: bool,
        /// Whether the usage headers are absent.
        silent: bool,
    },
    /// Invalid token: the subcode of error 190, 0 for none; or 102, which is an error code.
    InvalidToken(u32),
    /// `forbidden`: the error code, or subcode 33 of error 100.
    Forbidden(u32),
    /// `rejected`: the error code.
    Rejected(u32),
    /// `rejected_field`: the name of the field. Applies only to calls that request it.
    RejectedField(String),
    /// `rejected_param`. Applies only to calls with this parameter.
    RejectedParam(String),
    /// `rejected_joined`. Applies only to calls that request both kinds of fields.
    RejectedJoined,
    /// `rejected_expansion`. Applies only to calls that request an edge within a node.
    RejectedExpansion,
    /// `rejected_status`. Applies only to calls that name this status.
    RejectedStatus(String),
    /// `empty_list`.
    EmptyList,
    /// `doubled_range`.
    DoubledRange,
    /// `dropped_range`.
    DroppedRange,
    /// `refused_actions_of`: the id of a campaign.
    RefusedActions(String),
    /// `too_large`. Applies only to calls with a larger page size.
    TooLarge {
        /// Maximum `limit` of a call that succeeds, in rows.
        limit: u64,
        /// Error code, or subcode if it has seven digits.
        code: u32,
    },
    /// `unavailable`: an error code (1, 2, 104, 960) or an HTTP status (500, 503).
    Unavailable(u32),
    /// `slow`: the delay of the response.
    Slow(Duration),
    /// `reset`, `hang`, `cut` or `huge`.
    Mode(ResponseMode),
    /// A body instead of that of the response: `empty`, `html`, `error` or `deep`.
    Body(&'static str),
    /// `shape`.
    Shape,
    /// `figures`.
    Figures {
        /// Replacement of each number, or the name of the JSON type that it becomes.
        value: String,
        /// Affected field; `None`: all numeric fields.
        field: Option<String>,
    },
    /// `no_ids`.
    NoIds,
    /// `no_dates`.
    NoDates,
    /// `other_dates`.
    OtherDates,
    /// `mixed_attribution`.
    MixedAttribution,
    /// `version`: the version that the headers report, such as `v25.0`.
    Version(String),
    /// `usage`.
    Usage(ReportedUsage),
    /// `development`.
    Development,
    /// `repeating_cursor`.
    RepeatingCursor,
    /// `endless_pages`.
    EndlessPages,
}

impl FaultKind {
    /// Parses `KIND[=VALUE][;OPTION[=VALUE]]…`.
    ///
    /// # Errors
    ///
    /// Returns a message if the kind or an option is unknown, or a value is missing or invalid.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut options = FaultOptions::parse(text);
        let kind = match options.kind {
            "throttled" => Self::Throttled {
                code: options.required("", Some(17))?,
                minutes: options.optional("minutes")?,
                strings: options.flag("strings"),
                silent: options.flag("silent"),
            },
            "denied" => Self::InvalidToken(options.required("", Some(0))?),
            "denied_html" => Self::Body("denied_html"),
            "denied_text" => Self::Body("denied_text"),
            "denied_form" => Self::Body("denied_form"),
            "denied_twice" => Self::Body("denied_twice"),
            "forbidden" => Self::Forbidden(options.required("", Some(200))?),
            "rejected" => Self::Rejected(options.required("", Some(100))?),
            "rejected_field" => Self::RejectedField(options.required("", None)?),
            "rejected_param" => Self::RejectedParam(options.required("", None)?),
            "rejected_joined" => Self::RejectedJoined,
            "rejected_expansion" => Self::RejectedExpansion,
            "rejected_status" => Self::RejectedStatus(options.required("", None)?),
            "empty_list" => Self::EmptyList,
            "doubled_range" => Self::DoubledRange,
            "dropped_range" => Self::DroppedRange,
            "refused_actions_of" => Self::RefusedActions(options.required("", None)?),
            "too_large" => Self::TooLarge {
                limit: options.required("", Some(0))?,
                code: options.required("code", Some(1))?,
            },
            "unavailable" => match options.required("", Some(2))? {
                code @ (1 | 2 | 104 | 960 | 500 | 503) => Self::Unavailable(code),
                code => {
                    return Err(format!(
                        "unavailable: expected 1, 2, 104, 960, 500 or 503, found {code}"
                    ));
                }
            },
            "reset" => Self::Mode(ResponseMode::Reset),
            "hang" => Self::Mode(ResponseMode::Hang),
            "slow" => Self::Slow(Duration::from_millis(options.required("", None)?)),
            "cut" => Self::Mode(ResponseMode::Cut),
            "empty" => Self::Body("empty"),
            "html" => Self::Body("html"),
            "error_in_200" => Self::Body("error"),
            "deep" => Self::Body("deep"),
            "huge" => {
                let mebibytes: u64 = options.required("", Some(4096))?;
                Self::Mode(ResponseMode::Huge(mebibytes.saturating_mul(1 << 20)))
            }
            "shape" => Self::Shape,
            "figures" => Self::Figures {
                value: options.required("", None)?,
                field: options.optional("field")?,
            },
            "no_ids" => Self::NoIds,
            "no_dates" => Self::NoDates,
            "other_dates" => Self::OtherDates,
            "mixed_attribution" => Self::MixedAttribution,
            "version" => Self::Version(options.required("", None)?),
            "usage" => Self::Usage(ReportedUsage {
                percent: Some(options.required("", None)?),
                header: options.optional("header")?,
                strings: options.flag("strings"),
                regain_minutes: options.required("minutes", Some(0))?,
                ..ReportedUsage::default()
            }),
            "development" => Self::Development,
            "repeating_cursor" => Self::RepeatingCursor,
            "endless_pages" => Self::EndlessPages,
            other => {
                let known: Vec<&str> = FAULT_KINDS.iter().map(|(syntax, _)| *syntax).collect();
                return Err(format!(
                    "unknown fault `{other}`; use one of {}",
                    known.join(", ")
                ));
            }
        };
        options.end().map(|()| kind)
    }
}

/// The name, value and options of a kind of fault. The value is the option with an empty name. Options are removed as
/// they are parsed, so that the rest is unknown.
struct FaultOptions<'t> {
    kind: &'t str,
    options: Vec<(&'t str, &'t str)>,
}

impl<'t> FaultOptions<'t> {
    fn parse(text: &'t str) -> Self {
        let mut parts = text
            .split(';')
            .map(|part| part.split_once('=').unwrap_or((part, "")));
        let (kind, value) = parts.next().unwrap_or_default();
        let value = (!value.is_empty()).then_some(("", value));
        let options = value.into_iter().chain(parts).collect();
        Self { kind, options }
    }

    /// Removes an option and returns its value, which is empty for a flag.
    fn take(&mut self, name: &str) -> Option<&'t str> {
        let idx = self
            .options
            .iter()
            .position(|(option, _)| *option == name)?;
        Some(self.options.remove(idx).1)
    }

    /// Parses an option; `None` if it is absent.
    fn optional<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(format!("{}: invalid value `{text}`", self.kind)),
        }
    }

    /// Parses an option that is required if it has no default.
    fn required<T: FromStr>(&mut self, name: &str, default: Option<T>) -> Result<T, String> {
        let kind = self.kind;
        self.optional(name)?
            .or(default)
            .ok_or_else(|| format!("{kind}: missing value"))
    }

    /// Whether an option is present, with or without a value.
    fn flag(&mut self, name: &str) -> bool {
        self.take(name).is_some()
    }

    /// Returns an error if there are unknown options.
    fn end(self) -> Result<(), String> {
        match self.options.first() {
            None => Ok(()),
            Some((name, value)) => Err(format!("{}: unknown option `{name}={value}`", self.kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_kind_can_be_parsed() {
        for (syntax, _) in FAULT_KINDS {
            for kind in syntax.split(['[', ';']).next().unwrap().split('|') {
                let fault = kind
                    .replace("NAME", "spend")
                    .replace("MILLISECONDS", "5")
                    .replace("PERCENT", "95")
                    .replace("=ID", "=120")
                    .replace("vN.N", "v25.0");
                assert!(FaultKind::parse(&fault).is_ok(), "{fault} should be valid");
            }
        }
    }
}
