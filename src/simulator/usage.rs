//! Quotas: calls counted in sliding windows, and the four headers that tell how full they are.
//!
//! Counted are calls that reached an ad account, those that were refused included. Only accounts
//! that enforce their quota are ever blocked here; throttling on demand is a fault.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::errors::ApiError;
use super::world::{AdAccount, Tier};

/// Milliseconds of the short window, in which reads are scored.
const SHORT: i64 = 300_000;
/// Milliseconds of the long window, of the hourly quotas.
const LONG: i64 = 3_600_000;
/// Calls that an app may make in an hour. Meta's depends on the app's users.
const APP_QUOTA: u64 = 50_000;

/// The calls of the last hour.
#[derive(Debug, Default)]
pub(super) struct Usage {
    apps: HashMap<String, Calls>,
    accounts: HashMap<u64, AccountUsage>,
}

#[derive(Debug, Default)]
struct AccountUsage {
    insights: Calls,
    management: Calls,
    reads: Calls,
    /// Milliseconds since 1970.
    blocked_until: i64,
}

/// Times of calls, in milliseconds since 1970, oldest first.
#[derive(Debug, Default)]
struct Calls(VecDeque<i64>);

impl Calls {
    fn count(&mut self, now: i64, window: i64) {
        self.0.push_back(now);
        while self.0.front().is_some_and(|time| *time <= now - window) {
            self.0.pop_front();
        }
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

/// What the headers are to say instead of the truth.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pretence {
    /// Percent, in the headers that are named (all where none is).
    pub(super) percent: Option<u64>,
    pub(super) header: Option<String>,
    pub(super) tier: Option<Tier>,
    /// Numbers as strings, which Meta does now and then.
    pub(super) strings: bool,
    /// Minutes until access is regained.
    pub(super) regain_minutes: u64,
}

impl Usage {
    /// Counts a call, or says that the account is blocked.
    pub(super) fn count(
        &mut self,
        app: &str,
        account: &AdAccount,
        tier: Tier,
        enforced: bool,
        insights: bool,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let now = now.as_millisecond();
        self.apps
            .entry(app.to_owned())
            .or_default()
            .count(now, LONG);
        let usage = self.accounts.entry(account.id).or_default();
        let bucket = if insights {
            &mut usage.insights
        } else {
            &mut usage.management
        };
        bucket.count(now, LONG);
        usage.reads.count(now, SHORT);
        let (quota, block) = reads(tier);
        if enforced && usage.blocked_until <= now && usage.reads.len() > quota {
            usage.blocked_until = now + block;
        }
        if enforced && usage.blocked_until > now {
            let minutes = u64::try_from((usage.blocked_until - now + 59_999) / 60_000);
            return Err(ApiError::new(17, "User request limit reached")
                .subcode(2_446_079)
                .user(
                    "Ad Account Has Too Many API Calls",
                    "There have been too many calls from this ad-account. Please wait a bit and try again.",
                )
                .regain(minutes.ok()));
        }
        Ok(())
    }

    /// The headers of an answer about that account.
    pub(super) fn headers(
        &self,
        app: &str,
        account: &AdAccount,
        insights: bool,
        now: Timestamp,
        pretence: &Pretence,
    ) -> Vec<(&'static str, String)> {
        let now = now.as_millisecond();
        let tier = pretence.tier.unwrap_or(account.tier);
        let app_calls = self.apps.get(app).map_or(0, Calls::len);
        let empty = AccountUsage::default();
        let usage = self.accounts.get(&account.id).unwrap_or(&empty);
        let (quota, _) = reads(tier);
        let hourly = hourly(tier, account.active_ads());
        let reset = usage
            .reads
            .0
            .front()
            .map_or(0, |first| (first + SHORT - now).max(0) / 1000);

        let says = |header: &str, percent: u64| {
            let named = pretence
                .header
                .as_deref()
                .is_none_or(|named| header.ends_with(named));
            pretence.percent.filter(|_| named).unwrap_or(percent)
        };
        let app_percent = app_calls * 100 / APP_QUOTA;
        let account_hundredths = usage.reads.len() * 10_000 / quota;
        let exact = |header: &str| match says(header, u64::MAX) {
            // Two decimals, as Meta's floats have.
            u64::MAX => json!(f64::from(u32::try_from(account_hundredths).unwrap_or(0)) / 100.0),
            percent => json!(percent),
        };
        let entry = |kind: &str, calls: u64, quota: u64| {
            let percent = says("x-business-use-case-usage", calls * 100 / quota);
            json!({
                "type": kind,
                "call_count": percent,
                "total_cputime": percent * 2 / 5,
                "total_time": percent / 2,
                "estimated_time_to_regain_access": pretence.regain_minutes,
                "ads_api_access_tier": tier.as_str(),
            })
        };
        let percent = says("x-app-usage", app_percent);
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
                    "acc_id_util_pct": exact("x-ad-account-usage"),
                    "reset_time_duration": reset,
                    "ads_api_access_tier": tier.as_str(),
                }),
            ),
            (
                "x-business-use-case-usage",
                json!({ account.id.to_string(): [
                    entry("ads_management", usage.management.len(), hourly.1),
                    entry("ads_insights", usage.insights.len(), hourly.0),
                ]}),
            ),
        ];
        if insights {
            let throttle = json!({
                "app_id_util_pct": says("x-fb-ads-insights-throttle", app_percent),
                "acc_id_util_pct": exact("x-fb-ads-insights-throttle"),
                "ads_api_access_tier": tier.as_str(),
            });
            headers.push(("x-fb-ads-insights-throttle", throttle));
        }
        let spelled = |value: Value| {
            if pretence.strings {
                quoted(value)
            } else {
                value
            }
        };
        headers
            .into_iter()
            .map(|(name, value)| (name, spelled(value).to_string()))
            .collect()
    }
}

/// Reads in the short window, and for how many milliseconds one more of them blocks.
fn reads(tier: Tier) -> (u64, i64) {
    match tier {
        Tier::Development => (60, 300_000),
        Tier::Standard => (9000, 60_000),
    }
}

/// Calls in an hour: of insights, and of everything else.
fn hourly(tier: Tier, active_ads: u64) -> (u64, u64) {
    match tier {
        Tier::Development => (600 + 400 * active_ads, 300 + 40 * active_ads),
        Tier::Standard => (190_000 + 400 * active_ads, 100_000 + 40 * active_ads),
    }
}

fn quoted(value: Value) -> Value {
    match value {
        Value::Number(number) => number.to_string().into(),
        Value::Array(items) => items.into_iter().map(quoted).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, member)| (name, quoted(member)))
            .collect(),
        other => other,
    }
}
