//! Checks `insights`, but for its `extra_fields`, which have a file of their own.

use super::complaint::{Notes, shown};
use super::place::Place;
use super::raw::RawInsights;
use super::scalar::{Given, List, Text};
use super::{Insights, ZeroFill, extra_fields};
use crate::row::{ACTION_TYPES, Level};

/// Checks what stands under `insights`.
pub(super) fn check(notes: &mut Notes<'_>, at: &Place, raw: &RawInsights) -> Insights {
    Insights {
        level: level(notes, at, raw),
        zero_fill: zero_fill(notes, at, raw),
        action_types: action_types(notes, &at.key("action_types"), &raw.action_types),
        extra_fields: extra_fields::check(notes, &at.key("extra_fields"), &raw.extra_fields),
    }
}

/// Campaigns are what budgets and decisions are about.
fn level(notes: &mut Notes<'_>, at: &Place, raw: &RawInsights) -> Level {
    let Some(Text(word)) = raw.level.get() else {
        return Level::Campaign;
    };
    let levels = [Level::Account, Level::Campaign, Level::Adset, Level::Ad];
    let found = levels.into_iter().find(|level| level.as_str() == word);
    found.unwrap_or_else(|| {
        notes.add(
            &at.key("level"),
            format!(
                "{} is no level; account, campaign, adset or ad is right",
                shown(word)
            ),
        );
        Level::Campaign
    })
}

/// A paused campaign has nothing to say: zeros for all would be most of the page.
fn zero_fill(notes: &mut Notes<'_>, at: &Place, raw: &RawInsights) -> ZeroFill {
    match raw.zero_fill.get().map(|Text(word)| word.as_str()) {
        None | Some("active") => ZeroFill::Active,
        Some("all") => ZeroFill::All,
        Some(word) => {
            notes.add(
                &at.key("zero_fill"),
                format!("{} is no choice here; active or all is right", shown(word)),
            );
            ZeroFill::Active
        }
    }
}

/// Every one that Meta's page on measuring marketing messages documents, unless some are chosen.
fn action_types(notes: &mut Notes<'_>, at: &Place, given: &Given<List<Text>>) -> Vec<String> {
    let Some(List(given)) = given.get() else {
        return ACTION_TYPES.map(str::to_owned).to_vec();
    };
    if given.is_empty() {
        notes.add(
            at,
            "an empty list counts no conversion; name at least one action type, or say `conversions: false` on the business",
        );
    }
    let mut types: Vec<String> = Vec::new();
    for (index, Text(word)) in given.iter().enumerate() {
        let well_formed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if word.is_empty() || !word.chars().all(well_formed) {
            notes.add(
                &at.index(index),
                format!(
                    "this is no action type; write one as the API does, such as {}",
                    ACTION_TYPES[0]
                ),
            );
        } else if types.contains(word) {
            notes.add(
                &at.index(index),
                "this action type stands in the list twice; keep one",
            );
        }
        types.push(word.clone());
    }
    types
}
