//! The samples of a family that is of campaigns, as discovery found them.

use std::io::{self, Write};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::lines::Lines;
use crate::exposition::catalog::PerCampaign;
use crate::exposition::labels::{push_account, push_campaign, push_next, push_user_labels};
use crate::listing::Account;
use crate::snapshot::Known;

/// Writes what the family `name` says of the campaigns of some sources.
pub(in crate::exposition) fn campaigns<W: Write>(
    lines: &mut Lines<W>,
    name: &str,
    of: PerCampaign,
    sources: &[Arc<Known>],
) -> io::Result<()> {
    // A campaign source that gives way shows none.
    for known in sources.iter().filter(|known| !known.gives_way) {
        let Some(listing) = &known.listing else {
            continue;
        };
        let money = matches!(of, PerCampaign::Money(_));
        // Money that is nobody's currency is no money.
        if money && listing.account.currency.is_none() {
            continue;
        }
        // What all campaigns of a source have in common is rendered once.
        let (mut labels, mut closing) = (Vec::new(), Vec::new());
        push_account(&mut labels, known, listing);
        let opening = labels.len();
        push_user_labels(&mut closing, &known.source.labels);
        match of {
            PerCampaign::Info => push_account_info(&mut closing, &listing.account),
            PerCampaign::Money(_) => push_currency(&mut closing, &listing.account),
        }
        for campaign in &listing.campaigns {
            let value = match of {
                PerCampaign::Info => Some(1.0),
                PerCampaign::Money(value) => value(campaign),
            };
            let Some(value) = value else { continue };
            labels.truncate(opening);
            push_campaign(&mut labels, campaign);
            labels.extend_from_slice(&closing);
            if let PerCampaign::Info = of {
                push_next(&mut labels, "status", &campaign.status);
                push_next(&mut labels, "objective", &campaign.objective);
            }
            lines.line(name, &labels, b"} ", value)?;
        }
    }
    Ok(())
}

fn push_account_info(labels: &mut Vec<u8>, account: &Account) {
    push_next(labels, "account_name", &account.name);
    push_currency(labels, account);
    let timezone = account.timezone.as_ref().and_then(TimeZone::iana_name);
    push_next(labels, "timezone", timezone.unwrap_or_default());
}

fn push_currency(labels: &mut Vec<u8>, account: &Account) {
    let currency = account.currency.as_deref();
    push_next(labels, "currency", currency.unwrap_or_default());
}
