//! The labels of what has samples: rows, campaigns, sources.

use super::text::push_label;
use crate::config::Labels;
use crate::listing::{Campaign, Listing};
use crate::row::Identity;
use crate::snapshot::Known;

/// Appends a row's labels, from the opening brace on: business, ids and names down to its level,
/// window.
pub(super) fn push_row(out: &mut Vec<u8>, business: &str, identity: &Identity, window: &str) {
    open(out, "business", business);
    push_next(out, "account_id", identity.account.digits());
    for (id, name, named) in [
        ("campaign_id", "campaign_name", &identity.campaign),
        ("adset_id", "adset_name", &identity.adset),
        ("ad_id", "ad_name", &identity.ad),
    ] {
        if let Some(named) = named {
            push_next(out, id, named.id.as_str());
            push_next(out, name, &named.name);
        }
    }
    push_next(out, "window", window);
}

/// Appends an ad account's labels, from the opening brace on.
pub(super) fn push_account(out: &mut Vec<u8>, known: &Known, listing: &Listing) {
    open(out, "business", &known.source.business);
    push_next(out, "account_id", listing.account.id.digits());
}

/// Appends a campaign's own labels.
pub(super) fn push_campaign(out: &mut Vec<u8>, campaign: &Campaign) {
    push_next(out, "campaign_id", campaign.id.as_str());
    push_next(out, "campaign_name", &campaign.name);
}

/// Appends a source's labels, from the opening brace on.
pub(super) fn push_source(out: &mut Vec<u8>, known: &Known, window: Option<&str>) {
    open(out, "business", &known.source.business);
    push_next(out, "source", &known.source.name);
    if let Some(window) = window {
        push_next(out, "window", window);
    }
    push_user_labels(out, &known.source.labels);
}

/// Appends a row's campaign alone, from the opening brace on.
pub(super) fn push_campaign_of(
    out: &mut Vec<u8>,
    known: &Known,
    identity: &Identity,
    window: &str,
) {
    open(out, "business", &known.source.business);
    push_next(out, "account_id", identity.account.digits());
    if let Some(campaign) = &identity.campaign {
        push_next(out, "campaign_id", campaign.id.as_str());
    }
    push_next(out, "window", window);
    push_user_labels(out, &known.source.labels);
}

/// Appends the labels that the config adds.
pub(super) fn push_user_labels(out: &mut Vec<u8>, labels: &Labels) {
    for (name, value) in labels.iter() {
        push_next(out, name, value);
    }
}

/// Appends one more label.
pub(super) fn push_next(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b',');
    push_label(out, name, value);
}

fn open(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b'{');
    push_label(out, name, value);
}
