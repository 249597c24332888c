//! Checks businesses and their sources, and settles what a source has from its business.
//!
//! That a campaign lies in an ad account that is a source too is not seen here: only the API
//! knows.

use std::collections::{HashMap, HashSet};

use super::complaint::Notes;
use super::place::Place;
use super::raw::{RawAdAccount, RawBusiness, RawCampaign};
use super::scalar::{Given, Id, List, Text};
use super::{AdAccount, App, Business, Campaign, Labels, Thresholds};
use super::{labels, secrets, settings, thresholds, windows};
use crate::row::{AccountId, Level, ObjectId};

/// What businesses need to know of the rest of the config.
pub(super) struct Surroundings {
    /// The names of all windows.
    pub(super) windows: Vec<String>,
    /// How finely numbers are divided.
    pub(super) level: Level,
    /// The app of businesses without one.
    pub(super) app: Option<App>,
}

/// The names of the businesses so far, each with its document and place.
pub(super) type Names = HashMap<String, (String, Place)>;

/// Checks the list of one document.
pub(super) fn check(
    notes: &mut Notes<'_>,
    at: &Place,
    given: &[RawBusiness],
    surroundings: &Surroundings,
    names: &mut Names,
) -> Vec<Business> {
    let mut checked = Vec::new();
    for (index, raw) in given.iter().enumerate() {
        let at = at.index(index);
        if let Some(Text(name)) = raw.name.get() {
            if let Some((document, other)) = names.get(name) {
                let place = match document == notes.document() {
                    true => other.to_string(),
                    false => format!("{other} in {document}"),
                };
                notes.add(
                    &at.key("name"),
                    format!("{place} has the same name; choose another"),
                );
            } else {
                let document = notes.document().to_owned();
                names.insert(name.clone(), (document, at.clone()));
            }
        }
        checked.extend(business(notes, &at, raw, surroundings));
    }
    checked
}

/// What sources have from their business, unless they say otherwise.
struct Inherited<'a> {
    labels: Labels,
    conversions: bool,
    thresholds: Thresholds,
    windows: &'a [String],
}

fn business(
    notes: &mut Notes<'_>,
    at: &Place,
    raw: &RawBusiness,
    surroundings: &Surroundings,
) -> Option<Business> {
    let name = windows::name(notes, at, &raw.name, "a business");
    let token = secrets::token(notes, at, &raw.access_token_file, &raw.access_token_env);
    let app = secrets::app(
        notes,
        at,
        &raw.app_id,
        &raw.app_secret_file,
        &raw.app_secret_env,
    );
    let windows = &surroundings.windows;
    let inherited = Inherited {
        labels: labels::check(notes, &at.key("labels"), &raw.labels),
        conversions: raw.conversions.get().copied().unwrap_or(true),
        thresholds: thresholds::check(notes, &at.key("thresholds"), &raw.thresholds, windows),
        windows,
    };
    let interval = settings::duration(notes, &at.key("interval"), &raw.interval);
    let ad_accounts = ad_accounts(notes, &at.key("ad_accounts"), &raw.ad_accounts, &inherited);
    let campaigns = campaigns(notes, &at.key("campaigns"), &raw.campaigns, &inherited);
    if raw.ad_accounts.items().is_empty() && raw.campaigns.items().is_empty() {
        notes.add(
            at,
            "this business has nothing to poll; add ad_accounts, or campaigns where the token sees no ad account",
        );
    }
    if surroundings.level == Level::Account && !raw.campaigns.items().is_empty() {
        notes.add(
            &at.key("campaigns"),
            "at `level: account` rows have no campaign label to tell campaigns apart; set insights.level to campaign, or name the ad account instead",
        );
    }
    Some(Business {
        name: name?,
        token: token?,
        enabled: raw.enabled.get().copied().unwrap_or(true),
        interval,
        app: app.or_else(|| surroundings.app.clone()),
        ad_accounts,
        campaigns,
    })
}

fn ad_accounts(
    notes: &mut Notes<'_>,
    at: &Place,
    given: &Given<List<RawAdAccount>>,
    inherited: &Inherited<'_>,
) -> Vec<AdAccount> {
    let mut seen = HashMap::new();
    let mut checked = Vec::new();
    for (index, raw) in given.items().iter().enumerate() {
        let at = at.index(index);
        let id = ad_account_id(notes, &at, &raw.id);
        if let Some(other) = id.as_ref().and_then(|id| seen.insert(id.clone(), index)) {
            notes.add(
                &at.key("id"),
                format!("ad_accounts[{other}] is the same ad account; put both together"),
            );
        }
        let only = only(notes, &at.key("campaigns"), &raw.campaigns);
        let own = labels::check(notes, &at.key("labels"), &raw.labels);
        let limits = thresholds::check(
            notes,
            &at.key("thresholds"),
            &raw.thresholds,
            inherited.windows,
        );
        let limits = inherited.thresholds.under(&limits);
        thresholds::check_merged(notes, &at.key("thresholds"), &raw.thresholds, &limits);
        checked.extend(id.map(|id| {
            AdAccount {
                id,
                only,
                labels: inherited.labels.under(&own),
                conversions: raw
                    .conversions
                    .get()
                    .copied()
                    .unwrap_or(inherited.conversions),
                thresholds: limits,
            }
        }));
    }
    checked
}

fn campaigns(
    notes: &mut Notes<'_>,
    at: &Place,
    given: &Given<List<RawCampaign>>,
    inherited: &Inherited<'_>,
) -> Vec<Campaign> {
    let mut seen = HashMap::new();
    let mut checked = Vec::new();
    for (index, raw) in given.items().iter().enumerate() {
        let at = at.index(index);
        let id = match raw.id.get() {
            Some(id) => campaign_id(notes, &at.key("id"), id),
            None => {
                notes.add(&at, "a campaign needs its id; add `id:`, digits in quotes");
                None
            }
        };
        if let Some(other) = id.as_ref().and_then(|id| seen.insert(id.clone(), index)) {
            notes.add(
                &at.key("id"),
                format!("campaigns[{other}] is the same campaign; put both together"),
            );
        }
        let own = labels::check(notes, &at.key("labels"), &raw.labels);
        let limits = thresholds::check(
            notes,
            &at.key("thresholds"),
            &raw.thresholds,
            inherited.windows,
        );
        let limits = inherited.thresholds.under(&limits);
        thresholds::check_merged(notes, &at.key("thresholds"), &raw.thresholds, &limits);
        checked.extend(id.map(|id| {
            Campaign {
                id,
                labels: inherited.labels.under(&own),
                conversions: raw
                    .conversions
                    .get()
                    .copied()
                    .unwrap_or(inherited.conversions),
                thresholds: limits,
            }
        }));
    }
    checked
}

/// The campaigns of an ad account that are wanted; empty for all.
fn only(notes: &mut Notes<'_>, at: &Place, given: &Given<List<Id>>) -> Vec<ObjectId> {
    let Some(List(given)) = given.get() else {
        return Vec::new();
    };
    if given.is_empty() {
        notes.add(
            at,
            "an empty list wants none of the campaigns; name some, or remove the key for all",
        );
    }
    let mut seen = HashSet::new();
    let mut checked = Vec::new();
    for (index, id) in given.iter().enumerate() {
        let at = at.index(index);
        let id = campaign_id(notes, &at, id);
        if id.as_ref().is_some_and(|id| !seen.insert(id.clone())) {
            notes.add(&at, "this campaign stands in the list twice; keep one");
        }
        checked.extend(id);
    }
    checked
}

fn ad_account_id(notes: &mut Notes<'_>, at: &Place, given: &Given<Id>) -> Option<AccountId> {
    let Some(Id(text)) = given.get() else {
        notes.add(
            at,
            "an ad account needs its id; add `id:`, such as act_1234567890",
        );
        return None;
    };
    let id = AccountId::parse(text);
    if id.is_none() {
        notes.add(
            &at.key("id"),
            "this is no id of an ad account; write act_ and its digits, such as act_1234567890",
        );
    }
    id
}

fn campaign_id(notes: &mut Notes<'_>, at: &Place, Id(text): &Id) -> Option<ObjectId> {
    let id = ObjectId::parse(text);
    if id.is_none() {
        let trouble = match AccountId::parse(text) {
            Some(_) => {
                "this is the id of an ad account; name it under ad_accounts, or write the campaign's digits alone"
            }
            None => {
                "this is no id of a campaign; write its digits alone, such as \"120210000000000001\""
            }
        };
        notes.add(at, trouble);
    }
    id
}
