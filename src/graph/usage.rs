//! How much of each quota is gone, from the four headers in which Meta says it.
//!
//! The headers come with answers of every kind, rejections included. Values are percentages,
//! sometimes in quotes; times to wait are minutes in one header and seconds in another.
//! Source: Meta's documents on rate limiting.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// What the headers of one answer said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers {
    /// Every quota mentioned.
    pub usage: Vec<Usage>,
    /// How long to wait before access is regained, where that was said and is not zero.
    pub regain: Option<Duration>,
    /// `development_access` or `standard_access`, where it was said.
    pub tier: Option<String>,
    /// The API version that answered.
    pub version: Option<String>,
    /// Meta's warning that the version asked for is gone.
    pub version_warning: Option<String>,
    /// What time it is there, to the second.
    pub date: Option<Timestamp>,
}

/// How much of one quota is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// The id that the quota is kept for, where the header names one.
    pub account_id: Option<String>,
    /// Which limit: the `limit` label.
    pub limit: String,
    /// What it counts.
    pub quantity: Quantity,
    /// 1 is the whole quota; more is possible.
    pub ratio: f64,
}

/// What a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Calls.
    CallCount,
    /// Wall time.
    TotalTime,
    /// CPU time.
    TotalCpuTime,
    /// Whatever Meta weighs.
    Utilization,
}

impl Quantity {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallCount => "call_count",
            Self::TotalTime => "total_time",
            Self::TotalCpuTime => "total_cputime",
            Self::Utilization => "utilization",
        }
    }
}

/// The three quantities of a rolling hour.
const HOURLY: [(&str, Quantity); 3] = [
    ("call_count", Quantity::CallCount),
    ("total_time", Quantity::TotalTime),
    ("total_cputime", Quantity::TotalCpuTime),
];

impl Headers {
    /// Reads them; what is missing or makes no sense is left out.
    pub fn read(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let json = |name| text(name).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let mut read = Self {
            version: text("facebook-api-version").map(short),
            version_warning: text("x-ad-api-version-warning").map(short),
            date: text("date")
                .and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok()),
            ..Self::default()
        };
        if let Some(app) = json("x-app-usage") {
            read.hourly(None, "app", &app);
        }
        if let Some(account) = json("x-ad-account-usage") {
            read.percentage(&account, "acc_id_util_pct", "ad_account");
            read.waits(
                number(&account["reset_time_duration"]).filter(|_| read.is_full("ad_account")),
                1.0,
            );
            read.tier(&account);
        }
        if let Some(throttle) = json("x-fb-ads-insights-throttle") {
            read.percentage(&throttle, "app_id_util_pct", "insights_app");
            read.percentage(&throttle, "acc_id_util_pct", "insights_account");
            read.tier(&throttle);
        }
        if let Some(Value::Object(cases)) = json("x-business-use-case-usage") {
            for (id, entries) in cases {
                for entry in entries.as_array().into_iter().flatten() {
                    let limit = entry["type"]
                        .as_str()
                        .map_or_else(|| "unknown".to_owned(), short);
                    read.hourly(Some(&id), &limit, entry);
                    read.waits(number(&entry["estimated_time_to_regain_access"]), 60.0);
                    read.tier(entry);
                }
            }
        }
        read
    }

    fn hourly(&mut self, account_id: Option<&str>, limit: &str, entry: &Value) {
        for (name, quantity) in HOURLY {
            self.push(account_id, limit, quantity, number(&entry[name]));
        }
    }

    fn percentage(&mut self, entry: &Value, name: &str, limit: &str) {
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
                account_id: account_id.map(short),
                limit: limit.to_owned(),
                quantity,
                ratio: percent / 100.0,
            });
        }
    }

    fn waits(&mut self, units: Option<f64>, seconds_a_unit: f64) {
        // More than a day is no time to wait but a mistake.
        const LONGEST: f64 = 24.0 * 60.0 * 60.0;
        let seconds = units
            .map(|units| units * seconds_a_unit)
            .filter(|s| *s > 0.0);
        let wait = seconds.map(|seconds| Duration::from_secs_f64(seconds.min(LONGEST)));
        self.regain = self.regain.max(wait);
    }

    fn is_full(&self, limit: &str) -> bool {
        self.usage
            .iter()
            .any(|usage| usage.limit == limit && usage.ratio >= 1.0)
    }

    fn tier(&mut self, entry: &Value) {
        if let Some(tier) = entry["ads_api_access_tier"].as_str() {
            self.tier = Some(short(tier));
        }
    }
}

/// A finite number that is not negative, bare or in quotes.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => crate::decimal::parse(text.trim(), 0),
        _ => None,
    };
    number.filter(|number| number.is_finite() && *number >= 0.0)
}

/// Header text becomes labels and log lines: kept to a sane length.
fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderMap, HeaderValue};

    use super::Headers;

    fn read(pairs: &[(&'static str, &str)]) -> Headers {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Headers::read(&headers)
    }

    fn ratios(headers: &Headers) -> Vec<(String, &'static str, f64)> {
        let usage = headers.usage.iter();
        usage
            .map(|u| (u.limit.clone(), u.quantity.as_str(), u.ratio))
            .collect()
    }

    #[test]
    fn every_entry_of_every_header_is_read() {
        let headers = read(&[
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
        assert_eq!(headers.regain, Some(Duration::from_secs(7 * 60)), "minutes");
        assert_eq!(headers.tier.as_deref(), Some("development_access"));
        assert_eq!(headers.version.as_deref(), Some("v26.0"));
    }

    #[test]
    fn the_account_header_counts_seconds_and_only_a_full_quota_waits() {
        let full = read(&[(
            "x-ad-account-usage",
            r#"{"acc_id_util_pct":100,"reset_time_duration":100}"#,
        )]);
        assert_eq!(full.regain, Some(Duration::from_secs(100)));
        let low = read(&[(
            "x-ad-account-usage",
            r#"{"acc_id_util_pct":9.67,"reset_time_duration":100}"#,
        )]);
        assert_eq!(low.regain, None);
    }

    #[test]
    fn nonsense_is_left_out() {
        let headers = read(&[
            ("x-app-usage", "not json"),
            ("x-ad-account-usage", r#"[1,2]"#),
            (
                "x-business-use-case-usage",
                r#"{"1":{"call_count":1},"2":[3,{"call_count":"NaN"},{"call_count":-5}]}"#,
            ),
        ]);
        assert_eq!(headers, Headers::default());
    }
}
