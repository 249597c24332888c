//! Quota usage, from the four usage headers of the API.
//!
//! The headers accompany responses of any status, errors included, and are missing while usage is
//! low. Values are percentages, sometimes as strings. The regain time is in minutes in
//! `X-Business-Use-Case-Usage` and in seconds in `X-Ad-Account-Usage`. Invalid values are ignored.
//! Source: Meta's page "Rate Limiting" of the Marketing API.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Headers of one response that the exporter uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UsageHeaders {
    /// Every reported quota.
    pub usage: Vec<Usage>,
    /// Limits that report the time until access is regained.
    pub regains: Vec<RegainTime>,
    /// Time after which the request may be repeated according to a gateway, from `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Access tier of the app, `development_access` or `standard_access`; `None` if not reported.
    pub tier: Option<String>,
    /// API version that served the request.
    pub version: Option<String>,
    /// Meta's warning that the requested version is deprecated.
    pub version_warning: Option<String>,
    /// Time of the server, in whole seconds.
    pub date: Option<Timestamp>,
}

/// Usage of one quota.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Id of the object that the quota belongs to; `None` if the header names none.
    pub account_id: Option<String>,
    /// Name of the limit, the value of the `limit` label.
    pub limit: String,
    /// Quantity that the quota limits.
    pub quantity: Quantity,
    /// Used fraction of the quota: 1 is the whole quota, higher values occur.
    pub ratio: f64,
}

/// Time until access to one limit is regained.
#[derive(Clone, Debug, PartialEq)]
pub struct RegainTime {
    /// Id of the object that the limit belongs to; `None` if the header names none.
    pub account_id: Option<String>,
    /// Name of the limit, as in [`Usage::limit`].
    pub limit: String,
    /// Time, at least a second.
    pub wait: Duration,
}

/// Quantity that a quota limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Number of calls.
    CallCount,
    /// Total time of the calls.
    TotalTime,
    /// CPU time of the calls.
    TotalCpuTime,
    /// Meta's own weighting of the calls.
    Utilization,
}

impl Quantity {
    /// Returns the label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallCount => "call_count",
            Self::TotalTime => "total_time",
            Self::TotalCpuTime => "total_cputime",
            Self::Utilization => "utilization",
        }
    }
}

/// Quantities that the headers report for a rolling hour.
const HOURLY: [(&str, Quantity); 3] = [
    ("call_count", Quantity::CallCount),
    ("total_time", Quantity::TotalTime),
    ("total_cputime", Quantity::TotalCpuTime),
];

const SECONDS_PER_MINUTE: f64 = 60.0;

/// Longest regain time in seconds; a longer one is treated as an error of the header.
const MAX_REGAIN_SECS: f64 = 24.0 * 60.0 * 60.0;

/// Maximum length of a text from a header.
const MAX_TEXT_CHARS: usize = 200;

impl UsageHeaders {
    /// Parses the headers; missing and invalid values are left out.
    pub fn parse(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let json = |name| text(name).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let mut parsed = Self {
            version: text("facebook-api-version").map(truncate),
            version_warning: text("x-ad-api-version-warning").map(truncate),
            date: text("date")
                .and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok()),
            retry_after: text("retry-after").and_then(retry_after),
            ..Self::default()
        };
        if let Some(app) = json("x-app-usage") {
            parsed.push_hourly(None, "app", &app);
        }
        if let Some(account) = json("x-ad-account-usage") {
            parsed.push_utilization(&account, "acc_id_util_pct", "ad_account");
            // Reported at any usage; access is blocked only while the quota is fully used.
            let reset = number(&account["reset_time_duration"]);
            let reset = reset.filter(|_| parsed.is_full("ad_account"));
            parsed.push_regain(None, "ad_account", reset, 1.0);
            parsed.set_tier(&account);
        }
        if let Some(throttle) = json("x-fb-ads-insights-throttle") {
            parsed.push_utilization(&throttle, "app_id_util_pct", "insights_app");
            parsed.push_utilization(&throttle, "acc_id_util_pct", "insights_account");
            parsed.set_tier(&throttle);
        }
        if let Some(Value::Object(cases)) = json("x-business-use-case-usage") {
            for (id, entries) in cases {
                for entry in entries.as_array().into_iter().flatten() {
                    let limit = entry["type"]
                        .as_str()
                        .map_or_else(|| "unknown".to_owned(), truncate);
                    parsed.push_hourly(Some(&id), &limit, entry);
                    let minutes = number(&entry["estimated_time_to_regain_access"]);
                    parsed.push_regain(Some(&id), &limit, minutes, SECONDS_PER_MINUTE);
                    parsed.set_tier(entry);
                }
            }
        }
        parsed
    }

    fn push_hourly(&mut self, account_id: Option<&str>, limit: &str, entry: &Value) {
        for (name, quantity) in HOURLY {
            self.push(account_id, limit, quantity, number(&entry[name]));
        }
    }

    fn push_utilization(&mut self, entry: &Value, name: &str, limit: &str) {
        self.push(None, limit, Quantity::Utilization, number(&entry[name]));
    }

    fn push(
        &mut self,
        account_id: Option<&str>,
        limit: &str,
        quantity: Quantity,
        percent: Option<f64>,
    ) {
        if let Some(percent) = percent {
            self.usage.push(Usage {
                account_id: account_id.map(truncate),
                limit: limit.to_owned(),
                quantity,
                ratio: percent / 100.0,
            });
        }
    }

    fn push_regain(
        &mut self,
        account_id: Option<&str>,
        limit: &str,
        units: Option<f64>,
        seconds_per_unit: f64,
    ) {
        let seconds = units.map(|units| units * seconds_per_unit);
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) {
            self.regains.push(RegainTime {
                account_id: account_id.map(truncate),
                limit: limit.to_owned(),
                wait: Duration::from_secs_f64(seconds.clamp(1.0, MAX_REGAIN_SECS)),
            });
        }
    }

    fn is_full(&self, limit: &str) -> bool {
        self.usage
            .iter()
            .any(|usage| usage.limit == limit && usage.ratio >= 1.0)
    }

    fn set_tier(&mut self, entry: &Value) {
        if let Some(tier) = entry["ads_api_access_tier"].as_str() {
            self.tier = Some(truncate(tier));
        }
    }
}

/// Parses a finite number of at least 0 from a JSON number or string.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => crate::model::parse_decimal(text.trim(), 0),
        _ => None,
    };
    number.filter(|number| number.is_finite() && *number >= 0.0)
}

/// Parses `Retry-After` as seconds. Dates, which gateways seldom send, are ignored.
fn retry_after(text: &str) -> Option<Duration> {
    let seconds: u32 = text.trim().parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs_f64(f64::from(seconds).min(MAX_REGAIN_SECS)))
}

/// Truncates text from a header, which is used in labels and logs.
fn truncate(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderMap, HeaderValue};

    use super::{RegainTime, UsageHeaders};

    fn parse(pairs: &[(&'static str, &str)]) -> UsageHeaders {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        UsageHeaders::parse(&headers)
    }

    fn ratios(headers: &UsageHeaders) -> Vec<(String, &'static str, f64)> {
        let usage = headers.usage.iter();
        usage
            .map(|usage| (usage.limit.clone(), usage.quantity.as_str(), usage.ratio))
            .collect()
    }

    #[test]
    fn all_entries_of_all_headers_are_parsed() {
        let headers = parse(&[
            ("x-app-usage", r#"{"call_count":28,"total_time":"25"}"#),
            (
                "x-business-use-case-usage",
                r#"{"1":[{"type":"ads_insights","call_count":95,"estimated_time_to_regain_access":0}, {"type":"ads_management","total_cputime":118,"estimated_time_to_regain_access":"7", "ads_api_access_tier":"development_access"}]}"#,
            ),
            (
                "x-fb-ads-insights-throttle",
                r#"{"app_id_util_pct":100,"acc_id_util_pct":9.67}"#,
            ),
            ("facebook-api-version", "v26.0"),
        ]);
        assert_eq!(
            ratios(&headers),
            [
                ("app".to_owned(), "call_count", 0.28),
                ("app".to_owned(), "total_time", 0.25),
                ("insights_app".to_owned(), "utilization", 1.0),
                ("insights_account".to_owned(), "utilization", 0.0967),
                ("ads_insights".to_owned(), "call_count", 0.95),
                ("ads_management".to_owned(), "total_cputime", 1.18),
            ]
        );
        assert_eq!(
            headers.regains,
            [RegainTime {
                account_id: Some("1".to_owned()),
                limit: "ads_management".to_owned(),
                wait: Duration::from_secs(7 * 60),
            }]
        );
        assert_eq!(headers.tier.as_deref(), Some("development_access"));
        assert_eq!(headers.version.as_deref(), Some("v26.0"));
    }

    #[test]
    fn account_regain_is_in_seconds_and_needs_a_full_quota() {
        let full = parse(&[(
            "x-ad-account-usage",
            r#"{"acc_id_util_pct":100,"reset_time_duration":100}"#,
        )]);
        assert_eq!(full.regains[0].wait, Duration::from_secs(100));
        let low = parse(&[(
            "x-ad-account-usage",
            r#"{"acc_id_util_pct":9.67,"reset_time_duration":100}"#,
        )]);
        assert_eq!(low.regains, []);
    }

    #[test]
    fn retry_after_is_in_seconds() {
        let retry_after = |value| parse(&[("retry-after", value)]).retry_after;
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        for ignored in ["0", "-1", "soon", "Fri, 27 Nov 2026 00:00:00 GMT"] {
            assert_eq!(retry_after(ignored), None, "{ignored}");
        }
    }

    #[test]
    fn invalid_values_are_ignored() {
        let headers = parse(&[
            ("x-app-usage", "not json"),
            ("x-ad-account-usage", r#"[1,2]"#),
            (
                "x-business-use-case-usage",
                r#"{"1":{"call_count":1},"2":[3,{"call_count":"NaN"},{"call_count":-5}]}"#,
            ),
        ]);
        assert_eq!(headers, UsageHeaders::default());
    }
}
