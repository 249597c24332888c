//! Warnings of `check`: settings that are valid but probably unintended.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::Date;

use super::estimate::ConfigEstimate;
use crate::config::{Config, WindowConfig};
use crate::graph::{self, DEVELOPMENT_CALLS_PER_HOUR};
use crate::metrics::catalog::PREFIX;
use crate::model::{Level, PURCHASE_ACTION_TYPE, SecretSource, WindowDates};
use crate::plan::{MAX_IDS_PER_FILTER, QueryColumns, Source};
use crate::platform::secrets;

/// Meta refreshes insights about every 15 minutes: a shorter polling interval uses quota without newer values.
const INSIGHTS_REFRESH_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Age in months of the oldest day for which Meta returns insights.
const MAX_AGE_MONTHS: i32 = 37;

/// Number of series above which scraping and storing the metrics page is costly.
const MANY_SERIES: usize = 100_000;

/// Events that Meta counts under several action types; the names of these action types end with the event.
const PIXEL_EVENTS: [&str; 9] = [
    "purchase",
    "initiate_checkout",
    "add_to_cart",
    "complete_registration",
    "search",
    "view_content",
    "add_payment_info",
    "add_to_wishlist",
    "lead",
];

/// Return on ad spend above which a limit is probably a percentage.
const MAX_USUAL_ROAS: f64 = 50.0;

/// Metrics of campaigns and ad accounts, without prefix, that the alerting rules use; compared with `prometheus/rules.yaml`
/// by a test.
pub const METRICS_OF_ALERTS: [&str; 28] = [
    "account_amount_spent",
    "account_info",
    "account_spend_cap",
    "applies_above_spend_threshold",
    "campaign_daily_budget",
    "campaign_end_timestamp_seconds",
    "campaign_info",
    "campaign_issue_info",
    "campaign_lifetime_budget",
    "campaign_start_timestamp_seconds",
    "conversion_value",
    "conversions",
    "cost_per_link_click",
    "delivered",
    "last_success_timestamp_seconds",
    "link_clicks",
    "max_cost_per_link_click_threshold",
    "max_cost_per_purchase_threshold",
    "max_spend_threshold",
    "min_read_ratio_threshold",
    "min_roas_threshold",
    "query_last_success_timestamp_seconds",
    "read_ratio",
    "spend",
    "up",
    "website_purchase_roas",
    "window_end_timestamp_seconds",
    "window_start_timestamp_seconds",
];

/// Returns a warning for each limit that is the same amount in several currencies: limits are not converted. `sources`
/// are those with a known currency.
pub(super) fn limits_in_several_currencies<'a>(
    sources: impl Iterator<Item = (&'a Source, &'a str)>,
) -> Vec<String> {
    let mut currencies: BTreeMap<(&str, &str, &str, String), BTreeSet<&str>> = BTreeMap::new();
    for (source, currency) in sources {
        for (window, limits) in source.thresholds.iter() {
            for (name, amount) in limits.amounts() {
                let limit = (source.business.as_ref(), window, name, amount.to_string());
                currencies.entry(limit).or_default().insert(currency);
            }
        }
    }
    currencies.retain(|_, currencies| currencies.len() > 1);
    let warning = |((business, window, name, amount), currencies): (_, BTreeSet<&str>)| {
        let (business, window, name): (&str, &str, &str) = (business, window, name);
        let amount: String = amount;
        let currencies: Vec<&str> = currencies.into_iter().collect();
        format!(
            "{business}: thresholds of {window}: {name} {amount} applies to ad accounts in {}, without conversion; set it in each ad account",
            currencies.join(", ")
        )
    };
    currencies.into_iter().map(warning).collect()
}

/// Returns all warnings. Each starts with the path of the setting in the config, or with the name of the business.
pub(super) fn all(config: &Config, estimate: &ConfigEstimate, today: Date) -> Vec<String> {
    let mut warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    if graph::is_retired(&config.graph.version, today) {
        warnings.push(format!(
            "graph.version: {} is retired; remove the key for the default, or write a later version",
            config.graph.version
        ));
    }
    add_unknown_fields(&mut warnings, config);
    add_without_effect(&mut warnings, config);
    add_short_intervals(&mut warnings, config);
    add_expired_windows(&mut warnings, config, today);
    add_overlapping_action_types(&mut warnings, &config.insights.action_types);
    add_silent_alerts(&mut warnings, config);
    add_long_urls(&mut warnings, config);
    add_high_costs(&mut warnings, config, estimate);
    for business in &config.businesses {
        let name = &business.name;
        if let Err(error) = secrets::read_secret(&business.token) {
            warnings.push(format!("{name}: access token: {error}"));
        }
        if let SecretSource::File(path) = &business.token
            && is_readable_by_all(path)
        {
            warnings.push(format!(
                "{name}: access token: every user of this system can read {}; run `chmod o-r` on it",
                path.display()
            ));
        }
    }
    let graph_secret = config
        .graph
        .app
        .as_ref()
        .and_then(|app| app.secret.as_ref());
    let business_secrets = config
        .businesses
        .iter()
        .filter_map(|business| business.app.as_ref()?.secret.as_ref());
    let mut checked: Vec<&SecretSource> = Vec::new();
    for secret in graph_secret.into_iter().chain(business_secrets) {
        if checked.contains(&secret) {
            continue;
        }
        checked.push(secret);
        if let Err(error) = secrets::read_secret(secret) {
            warnings.push(format!(
                "app secret: {error}; no business of this app can be polled without it"
            ));
        }
    }
    warnings
}

/// Whether users other than the owner and its group can read a file.
fn is_readable_by_all(path: &Path) -> bool {
    let metadata = std::fs::metadata(path);
    metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// Warns about extra fields that this release does not know. Its list is incomplete, so this is only a warning.
fn add_unknown_fields(warnings: &mut Vec<String>, config: &Config) {
    for extra in &config.insights.extra_fields {
        let field = &extra.field;
        if graph::is_listed_field(field) {
            continue;
        }
        let suggestion = graph::suggested_field(field)
            .map_or_else(String::new, |known| format!("did you mean `{known}`? "));
        warnings.push(format!(
            "insights.extra_fields: `{field}` is not in this release's list of numeric fields, which is not complete; {suggestion}check --live tests it"
        ));
    }
}

/// Warns about settings without an effect, or with an effect that is the same for all values.
fn add_without_effect(warnings: &mut Vec<String>, config: &Config) {
    if config.businesses.iter().all(|business| !business.enabled) {
        warnings.push("businesses: all are disabled, so that nothing is polled".to_owned());
    }
    let is_one_day = |window: &WindowConfig| match window.dates {
        WindowDates::Preset(preset) => matches!(preset.as_str(), "today" | "yesterday"),
        WindowDates::Range { since, until } => since == until,
        WindowDates::AllTime => false,
    };
    if !config.windows.iter().any(is_one_day) {
        warnings.push(
            "windows: none has a single day such as `today`; alerts about the course of a day (PurchasesStopped, DeliveryStalled, BudgetPaceHigh, SpendUnusual, RoasUnusual) can never fire"
                .to_owned(),
        );
    }
    for business in &config.businesses {
        let accounts = business.ad_accounts.iter().map(|account| {
            (
                account.id.to_string(),
                account.conversions,
                &account.thresholds,
            )
        });
        let campaigns = business.campaigns.iter().map(|campaign| {
            (
                campaign.id.to_string(),
                campaign.conversions,
                &campaign.thresholds,
            )
        });
        let all = business.all_ad_accounts.iter().map(|all| {
            (
                "all ad accounts".to_owned(),
                all.conversions,
                &all.thresholds,
            )
        });
        for (source, conversions, thresholds) in accounts.chain(campaigns).chain(all) {
            for (window, limits) in thresholds.iter() {
                let place = format!("{}: {source}: thresholds of window {window}", business.name);
                let needs_conversions =
                    limits.min_roas.is_some() || limits.max_cost_per_purchase.is_some();
                if !conversions && needs_conversions {
                    warnings.push(format!(
                        "{place}: min_roas and max_cost_per_purchase have no effect with `conversions: false`"
                    ));
                }
                if limits.min_roas.is_some_and(|roas| roas > MAX_USUAL_ROAS) {
                    warnings.push(format!(
                        "{place}: min_roas is a multiple of the spend, not a percentage; above {MAX_USUAL_ROAS} the alert fires always"
                    ));
                }
            }
        }
    }
}

fn add_short_intervals(warnings: &mut Vec<String>, config: &Config) {
    if config.polling.interval < INSIGHTS_REFRESH_INTERVAL {
        warnings.push("polling.interval: Meta refreshes insights about every 15 minutes; a shorter interval only uses more quota".to_owned());
    }
    let windows = config.windows.iter().map(|window| window.interval);
    let businesses = config.businesses.iter().map(|business| business.interval);
    let windows = windows.enumerate().map(|entry| ("windows", entry));
    let businesses = businesses.enumerate().map(|entry| ("businesses", entry));
    for (list, (entry_idx, interval)) in windows.chain(businesses) {
        if interval.is_some_and(|interval| interval < INSIGHTS_REFRESH_INTERVAL) {
            warnings.push(format!(
                "{list}[{entry_idx}].interval: shorter than Meta's refresh interval of about 15 minutes"
            ));
        }
    }
}

fn add_expired_windows(warnings: &mut Vec<String>, config: &Config, today: Date) {
    let Ok(oldest) = today.checked_sub(MAX_AGE_MONTHS.months()) else {
        return;
    };
    for (window_idx, window) in config.windows.iter().enumerate() {
        if let WindowDates::Range { since, .. } = window.dates
            && since < oldest
        {
            warnings.push(format!(
                "windows[{window_idx}].time_range: starts more than {MAX_AGE_MONTHS} months ago, so that Meta rejects the query; set since to {oldest} or later"
            ));
        }
    }
}

fn add_overlapping_action_types(warnings: &mut Vec<String>, action_types: &[String]) {
    for event in PIXEL_EVENTS {
        let overlapping: Vec<&str> = action_types
            .iter()
            .filter(|action_type| action_type.ends_with(event))
            .map(String::as_str)
            .collect();
        if overlapping.len() > 1 {
            warnings.push(format!(
                "insights.action_types: a single {event} event can be counted under each of {}; keep one of them, or do not add them up",
                overlapping.join(", ")
            ));
        }
    }
}

fn add_high_costs(warnings: &mut Vec<String>, config: &Config, estimate: &ConfigEstimate) {
    let max_ids = columns(config).max_ids_of_conversions(config.windows.len());
    let exceeds_filter = |campaigns: usize| campaigns > max_ids;
    let mut sources = estimate.sources.iter();
    if config.insights.level == Level::Account
        && sources.any(|source| exceeds_filter(source.campaigns))
    {
        warnings.push(format!(
            "insights.level: account: conversions are absent for an ad account with more than {max_ids} message campaigns, \
             because their ids do not fit in the URL of one request and an unfiltered query would include other campaigns"
        ));
    }
    if estimate.total.series > MANY_SERIES {
        warnings.push(format!(
            "{} series are many for one metrics page; configure fewer windows or action types, or a coarser insights.level",
            estimate.total.series
        ));
    }
    let quota_share = config.polling.quota_share;
    for group in estimate.quota_groups() {
        let share = group.calls_per_hour / DEVELOPMENT_CALLS_PER_HOUR;
        let subject = match (group.account, group.sources.as_slice()) {
            (_, [source]) => format!("{}: {source}", group.business),
            (Some(account), sources) => {
                format!("{}: {} sources of {account}", group.business, sources.len())
            }
            (None, sources) => format!(
                "{}: {} campaign sources, if they are in one ad account",
                group.business,
                sources.len()
            ),
        };
        if share > 1.0 {
            warnings.push(format!(
                "{subject}: {:.0} calls per hour do not fit in the development tier, which allows {DEVELOPMENT_CALLS_PER_HOUR:.0} per ad account: in that tier, values are older than configured; configure the ad account instead of its campaigns, poll less often, or request the standard tier",
                group.calls_per_hour
            ));
        } else if share > quota_share {
            warnings.push(format!(
                "{subject}: uses more than {:.0} % of the development tier's quota (polling.quota_share), so that an app in that tier is slowed down; poll less often, or configure fewer windows",
                quota_share * 100.0
            ));
        }
    }
}

/// Warns about alerts that have no data because of the config.
fn add_silent_alerts(warnings: &mut Vec<String>, config: &Config) {
    let requests_purchases = config
        .insights
        .action_types
        .iter()
        .any(|action_type| action_type == PURCHASE_ACTION_TYPE);
    if !requests_purchases {
        warnings.push(format!(
            "insights.action_types: without {PURCHASE_ACTION_TYPE}, alerts about purchases (RoasBelowThreshold, CostPerPurchaseHigh, SpendWithoutPurchases, PurchasesStopped, RoasUnusual) can never fire"
        ));
    }
    let mut excluded: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for business in &config.businesses {
        for metric in &business.excluded_metrics {
            let name = metric.strip_prefix(PREFIX).unwrap_or(metric);
            if METRICS_OF_ALERTS.contains(&name) {
                excluded.entry(name).or_default().push(&business.name);
            }
        }
    }
    for (metric, businesses) in excluded {
        warnings.push(format!(
            "metrics.exclude: {metric}: alerting rules use it, and cannot fire without it for {}",
            Names(&businesses)
        ));
    }
}

/// Warns about names that fill the URL of a request, so that responses are larger or more requests are needed.
fn add_long_urls(warnings: &mut Vec<String>, config: &Config) {
    let columns = columns(config);
    if !columns.has_action_filter() {
        warnings.push(format!(
            "insights.action_types: {} action types take {} bytes of the URL of a request; conversions are requested without a filter by action type, so that responses are larger; configure fewer action types",
            columns.action_types.len(),
            columns.action_types_bytes()
        ));
    }
    match columns.max_ids_of_delivery() {
        0 => warnings.push(format!(
            "insights.extra_fields: {} fields make the URL of a request longer than 8 KiB, which many gateways refuse; configure fewer fields",
            columns.extra.len()
        )),
        max_ids if max_ids < MAX_IDS_PER_FILTER => warnings.push(format!(
            "insights.extra_fields: with {} fields, the URL of a request has space for the ids of {max_ids} campaigns instead of {MAX_IDS_PER_FILTER}, so that more requests are needed; configure fewer fields",
            columns.extra.len()
        )),
        _ => {}
    }
}

fn columns(config: &Config) -> QueryColumns {
    QueryColumns::of(&config.insights)
}

/// Names of businesses, at most three.
struct Names<'a>(&'a [&'a str]);

impl std::fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.0.get(..3).unwrap_or(self.0);
        f.write_str(&shown.join(", "))?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
