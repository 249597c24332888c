//! Samples of campaigns of the inventory.

use std::io::{self, Write};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::samples::{CLOSING_BRACE, SampleWriter};
use crate::metrics::catalog::{AccountSample, CampaignSample};
use crate::metrics::labels::{push_account, push_campaign, push_config_labels, push_next};
use crate::model::AdAccount;
use crate::plan::SourceKind;
use crate::snapshot::SourceState;

/// Writes the samples of the family `name` for the campaigns of `sources`. Sources without an inventory have none, and
/// neither have duplicates, because another source exports the same campaigns.
///
/// # Errors
/// Returns the errors of the writer.
pub(in crate::metrics) fn campaigns<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    sample: CampaignSample,
    sources: &[Arc<SourceState>],
) -> io::Result<()> {
    let exporting = sources.iter().filter(|state| {
        let limits = &state.source.export_limits;
        !state.duplicate && limits.is_exported(name)
    });
    for state in exporting {
        let Some(inventory) = &state.inventory else {
            continue;
        };
        let is_money = matches!(sample, CampaignSample::Money(_));
        // Monetary metrics are omitted if the currency is unknown.
        if is_money && inventory.account.currency.is_none() {
            continue;
        }
        // The labels before and after those of the campaign are the same for the whole source.
        let (mut labels, mut suffix) = (Vec::new(), Vec::new());
        push_account(&mut labels, state, inventory);
        let prefix_length = labels.len();
        push_config_labels(&mut suffix, &state.source.labels);
        match sample {
            CampaignSample::Info => push_account_info(&mut suffix, &inventory.account),
            CampaignSample::Money(_) => push_currency(&mut suffix, &inventory.account),
            CampaignSample::Time(_) | CampaignSample::Issues => {}
        }
        let campaigns = inventory
            .campaigns
            .iter()
            .chain(state.archived_campaigns_with_rows());
        for campaign in campaigns {
            if state.leaves_out(campaign.id.as_str()) {
                continue;
            }
            let value = match sample {
                CampaignSample::Info | CampaignSample::Issues => Some(1.0),
                CampaignSample::Money(value) => value(campaign).map(|amount| amount.0),
                CampaignSample::Time(value) => {
                    value(campaign).map(|time| time.as_duration().as_secs_f64())
                }
            };
            let Some(value) = value else { continue };
            labels.truncate(prefix_length);
            push_campaign(&mut labels, campaign);
            labels.extend_from_slice(&suffix);
            if let CampaignSample::Issues = sample {
                let length = labels.len();
                for issue in &campaign.issues {
                    labels.truncate(length);
                    push_next(&mut labels, "level", &issue.level);
                    push_next(&mut labels, "code", &issue.code);
                    push_next(&mut labels, "summary", &issue.summary);
                    writer.sample(name, &labels, CLOSING_BRACE, value)?;
                }
                continue;
            }
            if let CampaignSample::Info = sample {
                push_next(&mut labels, "status", &campaign.status);
                push_next(&mut labels, "objective", &campaign.objective);
            }
            writer.sample(name, &labels, CLOSING_BRACE, value)?;
        }
    }
    Ok(())
}

/// Writes the samples of the family `name` for the ad accounts of `sources`. Of the sources of a business with the same
/// ad account, only one has samples.
///
/// # Errors
/// Returns the errors of the writer.
pub(in crate::metrics) fn accounts<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    sample: AccountSample,
    sources: &[Arc<SourceState>],
) -> io::Result<()> {
    let mut labels = Vec::new();
    let exporting = sources
        .iter()
        .filter(|state| state.source.export_limits.is_exported(name));
    for state in exporting {
        let Some(inventory) = &state.inventory else {
            continue;
        };
        let account = &inventory.account;
        let is_account_source = matches!(state.source.kind, SourceKind::AdAccount { .. });
        let value = match sample {
            AccountSample::Info => {
                (state.describes_account && account.is_readable()).then_some(1.0)
            }
            AccountSample::Money(value) => {
                let amount = value(account).filter(|_| state.describes_account);
                amount.map(|amount| amount.0)
            }
            AccountSample::Campaigns => {
                let campaigns = u32::try_from(inventory.campaigns.len()).unwrap_or(u32::MAX);
                is_account_source.then(|| f64::from(campaigns))
            }
        };
        let Some(value) = value else { continue };
        labels.clear();
        push_account(&mut labels, state, inventory);
        push_config_labels(&mut labels, &state.source.labels);
        match sample {
            AccountSample::Info => {
                push_account_info(&mut labels, account);
                let status = account.status.as_deref().unwrap_or_default();
                push_next(&mut labels, "status", status);
                push_next(&mut labels, "disable_reason", &account.disable_reason);
            }
            AccountSample::Money(_) => push_currency(&mut labels, account),
            AccountSample::Campaigns => {}
        }
        writer.sample(name, &labels, CLOSING_BRACE, value)?;
    }
    Ok(())
}

/// Appends the labels of the ad account that only `campaign_info` has; unknown properties are empty.
fn push_account_info(labels: &mut Vec<u8>, account: &AdAccount) {
    push_next(labels, "account_name", &account.name);
    push_currency(labels, account);
    let timezone = account.timezone.as_ref().and_then(TimeZone::iana_name);
    push_next(labels, "timezone", timezone.unwrap_or_default());
}

/// Appends the label `currency`; empty if the currency is unknown.
fn push_currency(labels: &mut Vec<u8>, account: &AdAccount) {
    let currency = account.currency.as_deref();
    push_next(labels, "currency", currency.unwrap_or_default());
}
