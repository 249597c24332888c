//! The edge `/insights`: parses the parameters, sums the ads of each row, and returns the requested page.
//!
//! `fields` formats the rows. Sources: Meta's pages "Ad Account, Insights" and "Measure Performance".

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use crate::call::ApiCall;
use crate::dates::{self, DateRange};
use crate::errors::SimulatedError;
use crate::fields::{self, InsightsRow};
use crate::filtering::Filter;
use crate::object::WorldObject;
use crate::paging::PageRequest;
use crate::traffic_model::{self, AdTotals, DayProgress};
use crate::world::{AdAccount, Campaign, decimals};

/// Values of `level`, from the highest.
const LEVELS: [&str; 4] = ["account", "campaign", "adset", "ad"];

/// Message campaigns created before this day ignore date parameters; their row covers their whole lifetime. Meta's
/// page "Measure Performance" limits dates to campaigns created from 1 March on, without the year, and does not
/// document older campaigns; its sample response covers other dates than the default range.
const DATES_SUPPORTED_SINCE: Date = jiff::civil::date(2026, 3, 1);

/// Responds to `GET /<id>/insights`.
pub(crate) fn respond(
    seed: u64,
    object: WorldObject<'_>,
    call: &ApiCall,
    now: Timestamp,
) -> Result<Value, SimulatedError> {
    let level = level(object, call)?;
    let fields = requested_fields(call)?;
    let windows = windows(call)?;
    let filter = Filter::parse(call)?;
    let page_request = PageRequest::parse(call)?;
    let account = object.account();
    let local_now = account.local(now);
    let ranges = match call.json("time_ranges")? {
        Some(Value::Array(ranges)) => ranges
            .iter()
            .map(|range| dates::parse_range(range, local_now.date()))
            .collect::<Result<_, _>>()?,
        _ => dates::split_range(call, dates::requested_range(call, &local_now)?)?,
    };
    let zone = account.zone();
    let ranges: Vec<(DateRange, Vec<DayProgress>)> = ranges
        .into_iter()
        .map(|range| {
            (
                range,
                traffic_model::days_in_range(&zone, range.0, range.1, now),
            )
        })
        .collect();

    let mut objects = object.descendants(level);
    objects.retain(|row| {
        // Archived and deleted objects have rows only if a filter compares a status. Source: Meta's page "Manage Your
        // Ad Object's Status".
        let is_included =
            object.level() == level || filter.filters_by_status() || !row.is_archived_or_deleted();
        is_included && filter.matches(*row)
    });
    let length = objects.len() * ranges.len();
    page_request.build_page(call, length, |index| {
        let object = objects[index / ranges.len()];
        let range_idx = index % ranges.len();
        let (range, days) = &ranges[range_idx];
        let lifetime =
            campaign_without_dates(object).map(|campaign| lifetime(account, campaign, now));
        if lifetime.is_some() && range_idx > 0 {
            return Ok(None);
        }
        let lifetime_days =
            lifetime.map(|(since, until)| traffic_model::days_in_range(&zone, since, until, now));
        let days = lifetime_days.as_ref().unwrap_or(days);
        let row = InsightsRow {
            range: lifetime.unwrap_or(*range),
            action_types: filter.action_types.as_deref(),
            windows: &windows,
            ..sum_ads(seed, object, days, &filter)
        };
        // Without delivery, the row is absent. It is not a row of zeros.
        let has_delivery = row.numbers != AdTotals::default();
        Ok(has_delivery.then(|| fields::format_fields(&row, &fields)))
    })
}

/// Returns the row with all fields for an object and a range, without a filter. Returns `None` if nothing was
/// delivered.
pub(crate) fn expected_totals(
    seed: u64,
    object: WorldObject<'_>,
    range: DateRange,
    now: Timestamp,
) -> Option<Value> {
    let days = traffic_model::days_in_range(&object.account().zone(), range.0, range.1, now);
    let row = InsightsRow {
        range,
        ..sum_ads(seed, object, &days, &Filter::default())
    };
    let has_delivery = row.numbers != AdTotals::default();
    has_delivery.then(|| fields::format_fields(&row, &fields::known_fields()))
}

/// Returns the total spend of an ad account in minor units.
pub(crate) fn total_spend_minor(seed: u64, account: &AdAccount, now: Timestamp) -> u64 {
    let today = account.local(now).date();
    let days = traffic_model::days_in_range(
        &account.zone(),
        traffic_model::oldest_queryable_day(today),
        today,
        now,
    );
    let object = WorldObject::Account(account);
    sum_ads(seed, object, &days, &Filter::default())
        .numbers
        .spend_minor
}

/// Sums the ads of an object that match the filter. The caller sets `range`, `action_types` and `windows`.
fn sum_ads<'w>(
    seed: u64,
    object: WorldObject<'w>,
    days: &[DayProgress],
    filter: &Filter,
) -> InsightsRow<'w> {
    let account = object.account();
    let decimals = decimals(&account.currency);
    let mut numbers = AdTotals::default();
    let mut attribution = CommonValue::Empty;
    let mut objective = CommonValue::Empty;
    for leaf in object.descendants("ad") {
        let WorldObject::Ad(_, campaign, adset, ad) = leaf else {
            continue;
        };
        if !filter.matches(leaf) {
            continue;
        }
        let (first, last) = delivery_range(account, campaign);
        let mut totals = AdTotals::default();
        for day in days
            .iter()
            .filter(|day| first <= day.date && day.date <= last)
        {
            totals += traffic_model::ad_totals(
                seed,
                ad.id,
                &ad.profile,
                campaign.is_message,
                decimals,
                day,
            );
        }
        if totals != AdTotals::default() {
            numbers += totals;
            attribution = attribution.merge(&adset.attribution_setting);
            objective = objective.merge(&campaign.objective);
        }
    }
    InsightsRow {
        object,
        numbers,
        range: (Date::ZERO, Date::ZERO),
        decimals,
        attribution: attribution.get(),
        objective: objective.get().unwrap_or("MULTIPLE"),
        action_types: None,
        windows: &[],
    }
}

/// The value that all ads of a row share, if they do.
#[derive(Clone, Copy)]
enum CommonValue<'t> {
    /// No ad yet.
    Empty,
    /// All ads so far have this value.
    Same(&'t str),
    /// At least two ads differ.
    Mixed,
}

impl<'t> CommonValue<'t> {
    fn merge(self, value: &'t str) -> Self {
        match self {
            Self::Empty => Self::Same(value),
            Self::Same(common) if common == value => self,
            Self::Same(_) | Self::Mixed => Self::Mixed,
        }
    }

    fn get(self) -> Option<&'t str> {
        match self {
            Self::Same(value) => Some(value),
            Self::Empty | Self::Mixed => None,
        }
    }
}

/// Returns the first and last day on which a campaign delivers.
fn delivery_range(account: &AdAccount, campaign: &Campaign) -> (Date, Date) {
    let created = account.local(campaign.created).date();
    let first = created.tomorrow().unwrap_or(created);
    (first, campaign.last_day.unwrap_or(Date::MAX))
}

/// Returns the campaign of the object if it ignores date parameters.
fn campaign_without_dates(object: WorldObject<'_>) -> Option<&Campaign> {
    let campaign = object.campaign()?;
    let created = object.account().local(campaign.created).date();
    (campaign.is_message && created < DATES_SUPPORTED_SINCE).then_some(campaign)
}

/// Returns the days from the creation of a campaign to its end, or to today.
fn lifetime(account: &AdAccount, campaign: &Campaign, now: Timestamp) -> DateRange {
    let today = account.local(now).date();
    let last = campaign.last_day.unwrap_or(today).min(today);
    (account.local(campaign.created).date().min(last), last)
}

/// Returns the level of the rows: the parameter `level`, by default that of the object.
///
/// # Errors
///
/// Returns error 100 for an unknown level, and error 1 with subcode 99 for a level above that of the object.
fn level(object: WorldObject<'_>, call: &ApiCall) -> Result<&'static str, SimulatedError> {
    let Some(requested) = call.param("level") else {
        return Ok(object.level());
    };
    let depth = |level: &str| LEVELS.iter().position(|known| *known == level);
    match depth(requested) {
        None => Err(SimulatedError::invalid(
            "level must be one of the following values: ad, adset, campaign, account",
        )),
        // Meta's page "Error Reference": code 1 with subcode 99 may mean that `level` does not fit the object.
        Some(level_idx) if Some(level_idx) < depth(object.level()) => {
            Err(SimulatedError::new(1, "An unknown error occurred")
                .with_subcode(99)
                .with_status(500))
        }
        Some(level_idx) => Ok(LEVELS[level_idx]),
    }
}

/// Parses `fields` and `action_breakdowns`. Without `fields`, the API returns impressions and spend.
fn requested_fields(call: &ApiCall) -> Result<Vec<String>, SimulatedError> {
    let mut fields = call.list("fields");
    if let Some(unknown) = fields.iter().find(|field| !fields::is_valid(field)) {
        return Err(SimulatedError::invalid_insights_field(unknown));
    }
    if call.param("action_breakdowns").is_some() && !fields.iter().any(|f| f == "actions") {
        return Err(SimulatedError::invalid(
            "The actions field must be requested when action_breakdowns is specified",
        ));
    }
    if let Some(other) = call
        .list("action_breakdowns")
        .into_iter()
        .find(|breakdown| breakdown != "action_type")
    {
        return Err(SimulatedError::invalid(format!(
            "action_breakdowns[0] must be one of the following values: action_type (not {other})"
        )));
    }
    if fields.is_empty() {
        fields = vec!["impressions".to_owned(), "spend".to_owned()];
    }
    Ok(fields)
}

/// Parses `action_attribution_windows`.
fn windows(call: &ApiCall) -> Result<Vec<String>, SimulatedError> {
    /// Accepted, but not returned since 12 January 2026. Source: Meta's blog post "Ads Insights API Metric
    /// Availability Updates" of 16 October 2025.
    const IGNORED: [&str; 2] = ["7d_view", "28d_view"];
    const RETURNED: [&str; 5] = ["1d_click", "7d_click", "28d_click", "1d_view", "default"];
    let mut windows = call.list("action_attribution_windows");
    if let Some(unknown) = windows
        .iter()
        .find(|window| !IGNORED.contains(&window.as_str()) && !RETURNED.contains(&window.as_str()))
    {
        return Err(SimulatedError::invalid(format!(
            "action_attribution_windows[0] must be one of the following values: {} (not {unknown})",
            RETURNED.join(", ")
        )));
    }
    windows.retain(|window| RETURNED.contains(&window.as_str()));
    Ok(windows)
}
