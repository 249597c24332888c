//! `/insights`: one question about an object to its rows.
//!
//! Reads the parameters, adds up the ads in every row, and pages. Spelling is `fields`'s.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use super::call::Call;
use super::curve::{self, Day, Numbers};
use super::dates::{self, Range};
use super::errors::ApiError;
use super::fields::{self, Row};
use super::filtering::Filter;
use super::object::Object;
use super::paging::Wanted;
use super::world::{AdAccount, Campaign, decimals};

const LEVELS: [&str; 4] = ["account", "campaign", "adset", "ad"];

/// Campaigns of messages made before this day know no dates: they answer their whole life.
const DATES_SUPPORTED_SINCE: Date = jiff::civil::date(2026, 3, 1);

/// The answer to `GET /<id>/insights`.
pub(super) fn answer(
    seed: u64,
    object: Object<'_>,
    call: &Call,
    now: Timestamp,
) -> Result<Value, ApiError> {
    let level = level(object, call)?;
    let fields = asked_fields(call)?;
    let windows = windows(call)?;
    let filter = Filter::read(call)?;
    let wanted = Wanted::read(call)?;
    let account = object.account();
    let local = account.local(now);
    let pieces = match call.json("time_ranges")? {
        Some(Value::Array(ranges)) => ranges
            .iter()
            .map(|range| dates::fixed(range, local.date()))
            .collect::<Result<_, _>>()?,
        _ => dates::pieces(call, dates::asked(call, &local)?)?,
    };
    let zone = account.zone();
    let pieces: Vec<(Range, Vec<Day>)> = pieces
        .into_iter()
        .map(|range| (range, curve::days(&zone, range.0, range.1, now)))
        .collect();

    let mut objects = object.within(level);
    objects.retain(|row| {
        // The archived and deleted have rows only when they are asked for.
        let shown = object.level() == level || filter.asks_status() || !row.is_put_away();
        shown && filter.admits(*row)
    });
    let places = objects.len() * pieces.len();
    wanted.page(call, places, |place| {
        let object = objects[place / pieces.len()];
        let (range, days) = &pieces[place % pieces.len()];
        let lifetime = knows_no_dates(object).map(|campaign| lifetime(account, campaign, now));
        if lifetime.is_some() && place % pieces.len() > 0 {
            return Ok(None);
        }
        let lifetime_days = lifetime.map(|(since, until)| curve::days(&zone, since, until, now));
        let days = lifetime_days.as_ref().unwrap_or(days);
        let row = Row {
            range: lifetime.unwrap_or(*range),
            action_types: filter.action_types.as_deref(),
            windows: &windows,
            ..sum(seed, object, days, &filter)
        };
        let delivered = row.numbers != Numbers::default();
        Ok(delivered.then(|| fields::spell(&row, &fields)))
    })
}

/// Everything that the API would say of an object and a range, with no filter; `None` where
/// there was no delivery.
pub(super) fn truth(seed: u64, object: Object<'_>, range: Range, now: Timestamp) -> Option<Value> {
    let days = curve::days(&object.account().zone(), range.0, range.1, now);
    let row = Row {
        range,
        ..sum(seed, object, &days, &Filter::default())
    };
    let delivered = row.numbers != Numbers::default();
    delivered.then(|| fields::spell(&row, &fields::all()))
}

/// The money that an ad account has spent in all its known life, in minor units.
pub(super) fn spent(seed: u64, account: &AdAccount, now: Timestamp) -> u64 {
    let today = account.local(now).date();
    let days = curve::days(&account.zone(), curve::horizon(today), today, now);
    let everything = Object::Account(account);
    sum(seed, everything, &days, &Filter::default())
        .numbers
        .spend_minor
}

/// The row of an object over some days, of the ads that the filter admits.
fn sum<'w>(seed: u64, object: Object<'w>, days: &[Day], filter: &Filter) -> Row<'w> {
    let account = object.account();
    let decimals = decimals(&account.currency);
    let mut numbers = Numbers::default();
    let mut attribution = Kinds::None;
    let mut objective = Kinds::None;
    for leaf in object.within("ad") {
        let Object::Ad(_, campaign, adset, ad) = leaf else {
            continue;
        };
        if !filter.admits(leaf) {
            continue;
        }
        let (first, last) = delivers(account, campaign);
        let mut mine = Numbers::default();
        for day in days
            .iter()
            .filter(|day| first <= day.date && day.date <= last)
        {
            mine += curve::numbers(seed, ad.id, &ad.pace, campaign.is_message, decimals, day);
        }
        if mine != Numbers::default() {
            numbers += mine;
            attribution = attribution.and(&adset.attribution_setting);
            objective = objective.and(&campaign.objective);
        }
    }
    Row {
        object,
        numbers,
        range: (Date::ZERO, Date::ZERO),
        decimals,
        attribution: attribution.one(),
        objective: objective.one().unwrap_or("MULTIPLE"),
        action_types: None,
        windows: &[],
    }
}

/// How many different texts were met.
#[derive(Clone, Copy)]
enum Kinds<'t> {
    None,
    One(&'t str),
    Several,
}

impl<'t> Kinds<'t> {
    fn and(self, text: &'t str) -> Self {
        match self {
            Self::None => Self::One(text),
            Self::One(one) if one == text => self,
            Self::One(_) | Self::Several => Self::Several,
        }
    }

    fn one(self) -> Option<&'t str> {
        match self {
            Self::One(text) => Some(text),
            Self::None | Self::Several => None,
        }
    }
}

/// The first and last day on which a campaign delivers.
fn delivers(account: &AdAccount, campaign: &Campaign) -> (Date, Date) {
    let created = account.local(campaign.created).date();
    let first = created.tomorrow().unwrap_or(created);
    (first, campaign.last_day.unwrap_or(Date::MAX))
}

fn knows_no_dates(object: Object<'_>) -> Option<&Campaign> {
    let campaign = object.campaign()?;
    let created = object.account().local(campaign.created).date();
    (campaign.is_message && created < DATES_SUPPORTED_SINCE).then_some(campaign)
}

fn lifetime(account: &AdAccount, campaign: &Campaign, now: Timestamp) -> Range {
    let today = account.local(now).date();
    let last = campaign.last_day.unwrap_or(today).min(today);
    (account.local(campaign.created).date().min(last), last)
}

fn level(object: Object<'_>, call: &Call) -> Result<&'static str, ApiError> {
    let Some(asked) = call.param("level") else {
        return Ok(object.level());
    };
    let depth = |level: &str| LEVELS.iter().position(|known| *known == level);
    match depth(asked) {
        None => Err(ApiError::invalid(
            "level must be one of the following values: ad, adset, campaign, account",
        )),
        // Meta's words on code 1 with subcode 99: the level does not fit the object.
        Some(found) if Some(found) < depth(object.level()) => {
            Err(ApiError::new(1, "An unknown error occurred")
                .subcode(99)
                .status(500))
        }
        Some(found) => Ok(LEVELS[found]),
    }
}

fn asked_fields(call: &Call) -> Result<Vec<String>, ApiError> {
    let mut fields = call.list("fields");
    if let Some(unknown) = fields.iter().find(|field| !fields::exists(field)) {
        return Err(ApiError::invalid_insights_field(unknown));
    }
    if call.param("action_breakdowns").is_some() && !fields.iter().any(|f| f == "actions") {
        return Err(ApiError::invalid(
            "The actions field must be requested when action_breakdowns is specified",
        ));
    }
    if let Some(other) = call
        .list("action_breakdowns")
        .into_iter()
        .find(|breakdown| breakdown != "action_type")
    {
        return Err(ApiError::invalid(format!(
            "action_breakdowns[0] must be one of the following values: action_type (not {other})"
        )));
    }
    if fields.is_empty() {
        fields = vec!["impressions".to_owned(), "spend".to_owned()];
    }
    Ok(fields)
}

fn windows(call: &Call) -> Result<Vec<String>, ApiError> {
    /// Still accepted, never answered since January 2026.
    const SILENT: [&str; 2] = ["7d_view", "28d_view"];
    const ANSWERED: [&str; 5] = ["1d_click", "7d_click", "28d_click", "1d_view", "default"];
    let mut windows = call.list("action_attribution_windows");
    if let Some(unknown) = windows
        .iter()
        .find(|window| !SILENT.contains(&window.as_str()) && !ANSWERED.contains(&window.as_str()))
    {
        return Err(ApiError::invalid(format!(
            "action_attribution_windows[0] must be one of the following values: {} (not {unknown})",
            ANSWERED.join(", ")
        )));
    }
    windows.retain(|window| ANSWERED.contains(&window.as_str()));
    Ok(windows)
}
