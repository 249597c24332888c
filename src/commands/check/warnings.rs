//! What a config may say, and hardly means.

use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::Date;

use super::forecast::{DEVELOPMENT, Forecast};
use crate::config::Config;
use crate::plan::IDS_A_WHOLE_FILTER;
use crate::row::{Dates, Level};
use crate::secret_store;

/// Meta refreshes insights about every 15 minutes: asking more often costs quota, and brings
/// nothing new.
const REFRESH: Duration = Duration::from_secs(15 * 60);

/// How far back Meta answers, in months.
const OLDEST: i32 = 37;

/// From here on a page is a burden to whoever scrapes it.
const MANY_SERIES: usize = 100_000;

/// Events that Meta counts under several action types, each ending so.
const EVENTS: [&str; 9] = [
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

/// Every warning, each with its place in the config.
pub(super) fn all(config: &Config, forecast: &Forecast, today: Date) -> Vec<String> {
    let mut warnings = Vec::new();
    intervals(&mut warnings, config);
    windows(&mut warnings, config, today);
    overlaps(&mut warnings, &config.insights.action_types);
    costs(&mut warnings, config, forecast);
    for (place, business) in config.businesses.iter().enumerate() {
        if let Err(complaint) = secret_store::read(&business.token) {
            warnings.push(format!("businesses[{place}]: access token: {complaint}"));
        }
    }
    warnings
}

fn intervals(warnings: &mut Vec<String>, config: &Config) {
    if config.polling.interval < REFRESH {
        warnings.push("polling.interval: Meta refreshes insights about every 15 minutes; polling faster only costs quota".to_owned());
    }
    let windows = config.windows.iter().map(|window| window.interval);
    let businesses = config.businesses.iter().map(|business| business.interval);
    let windows = windows.enumerate().map(|at| ("windows", at));
    let businesses = businesses.enumerate().map(|at| ("businesses", at));
    for (list, (place, interval)) in windows.chain(businesses) {
        if interval.is_some_and(|interval| interval < REFRESH) {
            warnings.push(format!(
                "{list}[{place}].interval: faster than Meta's refresh of about 15 minutes"
            ));
        }
    }
}

fn windows(warnings: &mut Vec<String>, config: &Config, today: Date) {
    let Ok(oldest) = today.checked_sub(OLDEST.months()) else {
        return;
    };
    for (place, window) in config.windows.iter().enumerate() {
        if let Dates::Range { since, .. } = window.dates
            && since < oldest
        {
            warnings.push(format!(
                "windows[{place}].time_range: it begins more than {OLDEST} months ago, which Meta refuses to answer; begin at {oldest} or later"
            ));
        }
    }
}

fn overlaps(warnings: &mut Vec<String>, action_types: &[String]) {
    for event in EVENTS {
        let several: Vec<&str> = action_types
            .iter()
            .filter(|action_type| action_type.ends_with(event))
            .map(String::as_str)
            .collect();
        if several.len() > 1 {
            warnings.push(format!(
                "insights.action_types: one {event} can be counted under each of {}; keep one, or never add them up",
                several.join(", ")
            ));
        }
    }
}

fn costs(warnings: &mut Vec<String>, config: &Config, forecast: &Forecast) {
    let many = |campaigns: usize| campaigns > IDS_A_WHOLE_FILTER;
    let level = config.insights.level;
    if level == Level::Account && forecast.sources.iter().any(|s| many(s.campaigns)) {
        warnings.push(format!(
            "insights.level: account: conversions are absent for an ad account of more than {IDS_A_WHOLE_FILTER} message \
             campaigns: their ids do not fit one filter, and without it the account's other campaigns would be counted too"
        ));
    }
    if forecast.total.series > MANY_SERIES {
        warnings.push(format!(
            "{} series are many for one page; fewer windows or action types, or a coarser insights.level, make fewer",
            forecast.total.series
        ));
    }
    let share = config.polling.quota_share;
    let heavy = forecast.sources.iter();
    let heavy = heavy.filter(|source| source.cost.share_of(DEVELOPMENT) > share);
    for source in heavy {
        warnings.push(format!(
            "{}: more than {:.0} % of the development tier's quota (polling.quota_share): an app in that tier will be slowed down; poll less often, or ask for fewer windows",
            source.name,
            share * 100.0
        ));
    }
}
