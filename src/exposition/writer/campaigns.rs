//! The samples of a family that is of campaigns, as discovery found them.

use std::io::{self, Write};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::lines::Lines;
use crate::exposition::catalog::PerCampaign;
use crate::exposition::labels::{push_campaign, push_next};
use crate::listing::{Campaign, Listing};
use crate::snapshot::Known;

/// Writes what the family `name` says of the campaigns of some sources.
pub(in crate::exposition) fn campaigns<W: Write>(
    lines: &mut Lines<W>,
    name: &str,
    of: PerCampaign,
    sources: &[Arc<Known>],
) -> io::Result<()> {
    let mut labels = Vec::new();
    for (known, listing, campaign) in exported(sources) {
        let currency = listing.account.currency.as_deref();
        let value = match of {
            PerCampaign::Info => Some(1.0),
            PerCampaign::Money(value) => value(campaign).filter(|_| currency.is_some()),
        };
        let Some(value) = value else { continue };
        labels.clear();
        push_campaign(&mut labels, known, listing, campaign);
        match of {
            PerCampaign::Info => push_info(&mut labels, listing, campaign),
            PerCampaign::Money(_) => {
                push_next(&mut labels, "currency", currency.unwrap_or_default());
            }
        }
        lines.line(name, &labels, b"} ", value)?;
    }
    Ok(())
}

fn push_info(labels: &mut Vec<u8>, listing: &Listing, campaign: &Campaign) {
    let account = &listing.account;
    let currency = account.currency.as_deref();
    let timezone = account.timezone.as_ref().and_then(TimeZone::iana_name);
    push_next(labels, "account_name", &account.name);
    push_next(labels, "currency", currency.unwrap_or_default());
    push_next(labels, "timezone", timezone.unwrap_or_default());
    push_next(labels, "status", &campaign.status);
    push_next(labels, "objective", &campaign.objective);
}

/// Every exported campaign with where it was found. A campaign source that gives way has none.
fn exported(sources: &[Arc<Known>]) -> impl Iterator<Item = (&Known, &Listing, &Campaign)> {
    let sources = sources.iter().filter(|known| !known.gives_way);
    sources.flat_map(|known| {
        let listing = known.listing.as_deref();
        let campaigns = listing
            .into_iter()
            .flat_map(|l| l.campaigns.iter().map(move |c| (l, c)));
        campaigns.map(|(listing, campaign)| (known.as_ref(), listing, campaign))
    })
}
