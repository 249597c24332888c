//! Quotas: counts calls in sliding windows and reports their use in the four usage headers.
//!
//! All calls about an ad account are counted, including rejected ones. Only ad accounts with `enforces_quota` are
//! blocked; for throttling on demand there is a fault. Source of quotas and headers: Meta's page "Rate Limiting" of
//! the Marketing API.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::errors::SimulatedError;
use crate::world::{AdAccount, Tier};

/// Window of the read quota, in milliseconds.
const SHORT_WINDOW_MS: i64 = 300_000;
/// Window of the hourly quotas, in milliseconds.
const LONG_WINDOW_MS: i64 = 3_600_000;
/// Calls per hour of an app. Meta's quota is 200 times the number of users of the app.
const APP_CALLS_PER_HOUR: u64 = 50_000;

/// Calls of the last hour by app and by ad account.
#[derive(Debug, Default)]
pub(crate) struct UsageCounters {
    /// By id of the app.
    apps: HashMap<String, CallWindow>,
    /// By id of the ad account, without `act_`.
    accounts: HashMap<u64, AccountUsage>,
}

/// Calls about one ad account. Each call is counted in `reads` and in one of the other two.
#[derive(Debug, Default)]
struct AccountUsage {
    /// Calls of `/insights` in the last hour.
    insights: CallWindow,
    /// Other calls in the last hour.
    management: CallWindow,
    /// All calls in the last 5 minutes.
    reads: CallWindow,
    /// Time until which calls are rejected, in Unix milliseconds; 0 if the account was never blocked.
    blocked_until: i64,
}

/// Sliding window: the times of calls in Unix milliseconds, oldest first.
#[derive(Debug, Default)]
struct CallWindow(VecDeque<i64>);

impl CallWindow {
    /// Adds a call at `now` (Unix milliseconds), and removes those that are older than `window` milliseconds.
    fn record(&mut self, now: i64, window: i64) {
        self.0.push_back(now);
        while self.0.front().is_some_and(|time| *time <= now - window) {
            self.0.pop_front();
        }
    }

    /// Returns the number of calls in the window as of the last call.
    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

/// Values that faults report in the usage headers instead of the counted ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ReportedUsage {
    /// Usage in percent, can exceed 100. `None` means the counted usage.
    pub(crate) percent: Option<u64>,
    /// End of the name of the header that reports `percent`. `None` means all headers.
    pub(crate) header: Option<String>,
    /// Access tier. `None` means that of the ad account.
    pub(crate) tier: Option<Tier>,
    /// Whether numbers are strings, as in some responses of Meta.
    pub(crate) strings: bool,
    /// `estimated_time_to_regain_access`, in minutes; 0 if access is not blocked.
    pub(crate) regain_minutes: u64,
}

impl UsageCounters {
    /// Counts a call of the app with id `app` about the ad account.
    ///
    /// # Errors
    ///
    /// Returns error 17 if `is_enforced` and the account is blocked, which this call can cause.
    pub(crate) fn record(
        &mut self,
        app: &str,
        account: &AdAccount,
        tier: Tier,
        is_enforced: bool,
        is_insights: bool,
        now: Timestamp,
    ) -> Result<(), SimulatedError> {
        let now = now.as_millisecond();
        self.apps
            .entry(app.to_owned())
            .or_default()
            .record(now, LONG_WINDOW_MS);
        let usage = self.accounts.entry(account.id).or_default();
        let hourly_calls = if is_insights {
            &mut usage.insights
        } else {
            &mut usage.management
        };
        hourly_calls.record(now, LONG_WINDOW_MS);
        usage.reads.record(now, SHORT_WINDOW_MS);
        let (quota, block_ms) = read_quota(tier);
        if is_enforced && usage.blocked_until <= now && usage.reads.len() > quota {
            usage.blocked_until = now + block_ms;
        }
        if is_enforced && usage.blocked_until > now {
            let minutes = u64::try_from((usage.blocked_until - now + 59_999) / 60_000);
            return Err(SimulatedError::new(17, "User request limit reached")
                .with_subcode(2_446_079)
                .with_user(
                    "Ad Account Has Too Many API Calls",
                    "There have been too many calls from this ad-account. Please wait a bit and try again.",
                )
                .with_regain(minutes.ok()));
        }
        Ok(())
    }

    /// Returns the usage headers of a response about the ad account.
    pub(crate) fn headers(
        &self,
        app: &str,
        account: &AdAccount,
        is_insights: bool,
        now: Timestamp,
        reported: &ReportedUsage,
    ) -> Vec<(&'static str, String)> {
        let now = now.as_millisecond();
        let tier = reported.tier.unwrap_or(account.tier);
        let app_calls = self.apps.get(app).map_or(0, CallWindow::len);
        let no_usage = AccountUsage::default();
        let usage = self.accounts.get(&account.id).unwrap_or(&no_usage);
        let (quota, _) = read_quota(tier);
        let (insights_quota, management_quota) = hourly_quotas(tier, account.active_ads());
        let reset_seconds = usage
            .reads
            .0
            .front()
            .map_or(0, |first| (first + SHORT_WINDOW_MS - now).max(0) / 1000);

        let override_for = |header: &str| {
            let is_affected = reported
                .header
                .as_deref()
                .is_none_or(|suffix| header.ends_with(suffix));
            reported.percent.filter(|_| is_affected)
        };
        let app_percent = app_calls * 100 / APP_CALLS_PER_HOUR;
        let account_hundredths = usage.reads.len() * 10_000 / quota;
        let account_percent = |header: &str| match override_for(header) {
            Some(percent) => json!(percent),
            // Meta's floats have two decimals.
            None => json!(f64::from(u32::try_from(account_hundredths).unwrap_or(0)) / 100.0),
        };
        let entry = |use_case: &str, calls: u64, quota: u64| {
            let percent = override_for("x-business-use-case-usage").unwrap_or(calls * 100 / quota);
            json!({
                "type": use_case,
                "call_count": percent,
                "total_cputime": percent * 2 / 5,
                "total_time": percent / 2,
                "estimated_time_to_regain_access": reported.regain_minutes,
                "ads_api_access_tier": tier.as_str(),
            })
        };
        let percent = override_for("x-app-usage").unwrap_or(app_percent);
        let mut headers = vec![
            (
                "x-app-usage",
                json!({
                    "call_count": percent,
                    "total_time": percent * 2 / 3,
                    "total_cputime": percent / 3,
                }),
            ),
            (
                "x-ad-account-usage",
                json!({
                    "acc_id_util_pct": account_percent("x-ad-account-usage"),
                    "reset_time_duration": reset_seconds,
                    "ads_api_access_tier": tier.as_str(),
                }),
            ),
            (
                "x-business-use-case-usage",
                json!({ account.id.to_string(): [
                    entry("ads_management", usage.management.len(), management_quota),
                    entry("ads_insights", usage.insights.len(), insights_quota),
                ]}),
            ),
        ];
        if is_insights {
            let header = "x-fb-ads-insights-throttle";
            let throttle = json!({
                "app_id_util_pct": override_for(header).unwrap_or(app_percent),
                "acc_id_util_pct": account_percent(header),
                "ads_api_access_tier": tier.as_str(),
            });
            headers.push((header, throttle));
        }
        let format = |value: Value| {
            let value = if reported.strings {
                numbers_to_strings(value)
            } else {
                value
            };
            value.to_string()
        };
        headers
            .into_iter()
            .map(|(name, value)| (name, format(value)))
            .collect()
    }
}

/// Returns the reads per short window, and how long exceeding them blocks the ad account, in milliseconds.
fn read_quota(tier: Tier) -> (u64, i64) {
    match tier {
        Tier::Development => (60, 300_000),
        Tier::Standard => (9000, 60_000),
    }
}

/// Returns the calls per hour of insights and of everything else.
fn hourly_quotas(tier: Tier, active_ads: u64) -> (u64, u64) {
    match tier {
        Tier::Development => (600 + 400 * active_ads, 300 + 40 * active_ads),
        Tier::Standard => (190_000 + 400 * active_ads, 100_000 + 40 * active_ads),
    }
}

/// Replaces all numbers in a JSON value by strings.
fn numbers_to_strings(value: Value) -> Value {
    match value {
        Value::Number(number) => number.to_string().into(),
        Value::Array(items) => items.into_iter().map(numbers_to_strings).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, member)| (name, numbers_to_strings(member)))
            .collect(),
        other => other,
    }
}
