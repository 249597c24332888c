//! Label sets of rows, campaigns and sources, in the text format.
//!
//! The functions append to a buffer, and leave the closing brace to the caller.

use super::numbers::push_label;
use crate::config::ConfigLabels;
use crate::model::{Campaign, Dimensions, Inventory};
use crate::snapshot::{SourceState, WithheldRow};

/// Appends the opening brace and the labels of a row: business, ids and names down to its level,
/// and window.
pub(super) fn push_row(out: &mut Vec<u8>, business: &str, dimensions: &Dimensions, window: &str) {
    push_first(out, "business", business);
    push_next(out, "account_id", dimensions.account.digits());
    for (id, name, named) in [
        ("campaign_id", "campaign_name", &dimensions.campaign),
        ("adset_id", "adset_name", &dimensions.adset),
        ("ad_id", "ad_name", &dimensions.ad),
    ] {
        if let Some(named) = named {
            push_next(out, id, named.id.as_str());
            push_next(out, name, &named.name);
        }
    }
    push_next(out, "window", window);
}

/// Appends the opening brace and the labels of a row without the names, which can change: business, ids down to its
/// level, and window.
pub(super) fn push_row_ids(
    out: &mut Vec<u8>,
    business: &str,
    dimensions: &Dimensions,
    window: &str,
) {
    push_first(out, "business", business);
    push_next(out, "account_id", dimensions.account.digits());
    for (label, named) in [
        ("campaign_id", &dimensions.campaign),
        ("adset_id", &dimensions.adset),
        ("ad_id", &dimensions.ad),
    ] {
        if let Some(named) = named {
            push_next(out, label, named.id.as_str());
        }
    }
    push_next(out, "window", window);
}

/// Appends the opening brace and the labels of the ad account of a source.
pub(super) fn push_account(out: &mut Vec<u8>, state: &SourceState, inventory: &Inventory) {
    push_first(out, "business", &state.source.business);
    push_next(out, "account_id", inventory.account.id.digits());
}

/// Appends the id and name of a campaign.
pub(super) fn push_campaign(out: &mut Vec<u8>, campaign: &Campaign) {
    push_next(out, "campaign_id", campaign.id.as_str());
    push_next(out, "campaign_name", &campaign.name);
}

/// Appends the opening brace and the labels of a source, or of one of its windows.
pub(super) fn push_source(out: &mut Vec<u8>, state: &SourceState, window: Option<&str>) {
    push_first(out, "business", &state.source.business);
    push_next(out, "source", &state.source.name);
    if let Some(window) = window {
        push_next(out, "window", window);
    }
    push_config_labels(out, &state.source.labels);
}

/// Appends the opening brace and the labels of a campaign with withheld values.
pub(super) fn push_withheld(
    out: &mut Vec<u8>,
    state: &SourceState,
    row: &WithheldRow,
    window: &str,
) {
    push_first(out, "business", &state.source.business);
    push_next(out, "account_id", &row.account_id);
    if !row.campaign_id.is_empty() {
        push_next(out, "campaign_id", &row.campaign_id);
    }
    push_next(out, "window", window);
    push_next(out, "reason", row.reason.as_str());
    push_config_labels(out, &state.source.labels);
}

/// Appends the labels from the config.
pub(super) fn push_config_labels(out: &mut Vec<u8>, labels: &ConfigLabels) {
    for (name, value) in labels.iter() {
        push_next(out, name, value);
    }
}

/// Appends a comma and a label.
pub(super) fn push_next(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b',');
    push_label(out, name, value);
}

fn push_first(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b'{');
    push_label(out, name, value);
}
