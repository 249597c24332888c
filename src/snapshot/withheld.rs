//! Rows that were received and are not exported, or only in part, with the reason.

use std::collections::BTreeSet;

use super::{SourceState, exported_rows};
use crate::model::Level;

/// Reason for which values are withheld; the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WithheldReason {
    /// The row covers other dates than those of the window.
    Dates,
    /// The ad sets of the campaign have different attribution settings.
    Attribution,
    /// The actions of the campaign cannot be retrieved at any size.
    ActionsTooHeavy,
}

impl WithheldReason {
    /// Returns the label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dates => "dates",
            Self::Attribution => "attribution",
            Self::ActionsTooHeavy => "actions_too_heavy",
        }
    }
}

/// A campaign with withheld values in one window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WithheldRow {
    /// Id of the ad account; empty if it is not known.
    pub account_id: Box<str>,
    /// Id of the campaign; empty at level `account`.
    pub campaign_id: Box<str>,
    /// Name of the campaign; empty if it is not known.
    pub campaign_name: Box<str>,
    /// Why values are withheld.
    pub reason: WithheldReason,
}

/// Returns the campaigns with withheld values in a window, each once per reason, sorted.
pub fn withheld_rows(state: &SourceState, window_idx: usize) -> BTreeSet<WithheldRow> {
    let mut withheld = BTreeSet::new();
    let window = state.windows.get(window_idx);
    let Some(window) = window.filter(|window| !window.duplicate) else {
        return withheld;
    };
    let row_sets = || {
        [&window.delivery, &window.conversions]
            .into_iter()
            .flatten()
    };
    let inventory = state.inventory.as_deref();
    let account_id: Box<str> = inventory
        .map_or("", |inventory| inventory.account.id.digits())
        .into();
    let row = |campaign_id: &str, reason| {
        let campaign = inventory.and_then(|inventory| inventory.campaign(campaign_id));
        WithheldRow {
            account_id: account_id.clone(),
            campaign_id: campaign_id.into(),
            campaign_name: campaign
                .map_or("", |campaign| campaign.name.as_ref())
                .into(),
            reason,
        }
    };
    for row_set in row_sets() {
        for key in &row_set.other_dates {
            // Below the level of campaigns, the key is that of an ad set or an ad.
            let entities = inventory.map_or(&[][..], |inventory| &inventory.entities);
            let entity = entities
                .binary_search_by(|entity| entity.dimensions.key().cmp(key))
                .ok()
                .and_then(|idx| entities.get(idx));
            let campaign_id = match entity.map(|entity| &entity.dimensions.campaign) {
                Some(Some(campaign)) => campaign.id.as_str(),
                Some(None) => "",
                None if state.source.level == Level::Account => "",
                None => key,
            };
            withheld.insert(row(campaign_id, WithheldReason::Dates));
        }
        for campaign_id in &row_set.too_heavy {
            withheld.insert(row(campaign_id, WithheldReason::ActionsTooHeavy));
        }
    }
    // Mixed attribution is rare, so most windows need no join.
    let is_mixed = row_sets().any(|row_set| row_set.rows.iter().any(|row| row.mixed_attribution));
    if is_mixed {
        for exported in exported_rows(state, window_idx).filter(|row| row.has_withheld_actions()) {
            let campaign = exported.dimensions.campaign.as_ref();
            withheld.insert(WithheldRow {
                account_id: exported.dimensions.account.digits().into(),
                campaign_id: campaign.map_or("", |campaign| campaign.id.as_str()).into(),
                campaign_name: campaign
                    .map_or("", |campaign| campaign.name.as_ref())
                    .into(),
                reason: WithheldReason::Attribution,
            });
        }
    }
    withheld
}
