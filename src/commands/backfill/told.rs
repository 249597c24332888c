//! What people are told before and after: what it will take, what misses and why.

use std::collections::BTreeMap;
use std::time::Duration;

use super::progress::spoken;
use super::work::{Work, lock};
use crate::app::PACE;
use crate::plan::Days;

/// The development tier's quota of reads, as far as it is used: so many in so many seconds.
const DEVELOPMENT: (f64, f64) = (50.0, 300.0);

/// Tells what is going to be asked, and how long that takes at least.
pub(super) fn estimate(work: &Work) {
    let surveyed = lock(&work.surveyed);
    let asked = || surveyed.iter().filter(|(_, found)| !found.gives_way);
    let business = |place: &usize| work.plan.sources[*place].business.clone();
    let mut businesses: Vec<_> = asked().map(|(place, _)| business(place)).collect();
    businesses.dedup();
    let mut accounts: BTreeMap<_, usize> = BTreeMap::new();
    for (_, found) in asked() {
        *accounts.entry(&found.account).or_default() += found.calls;
    }
    let campaigns: usize = asked().map(|(_, found)| found.campaigns).sum();
    let calls: usize = accounts.values().sum();
    let heard = work.errand.heard();
    let seconds =
        |calls: usize, each: f64| f64::from(u32::try_from(calls).unwrap_or(u32::MAX)) / each;
    let slowest = accounts.iter().map(|(account, calls)| {
        let standard = heard
            .tiers
            .get(*account)
            .is_some_and(|tier| tier.starts_with("standard"));
        let (reads, window) = DEVELOPMENT;
        match standard {
            true => 0.0,
            false => (seconds(*calls, reads) - 1.0).ceil().max(0.0) * window,
        }
    });
    let least = slowest.fold(seconds(calls, PACE), f64::max);
    let rows = asked().map(|(_, found)| found.rows).sum();
    tracing::info!(
        businesses = businesses.len(),
        ad_accounts = accounts.len(),
        campaigns,
        days = %work.days,
        calls_so_far = heard.calls,
        calls_at_most = calls,
        takes_at_least = spoken(Some(Duration::from_secs_f64(least.ceil()))),
        "what is left to ask"
    );
    let whole = asked().all(|(_, found)| found.days == Some(work.days));
    if !whole {
        tracing::info!("days that are not over in their ad account's time zone are left out");
    }
    work.progress.begin(rows);
}

/// Tells what misses, and why; whether anything does.
pub(super) fn missing(work: &Work) -> bool {
    let faults = lock(&work.faults);
    let surveyed = lock(&work.surveyed);
    let mut any = false;
    for (place, source) in work.plan.sources.iter().enumerate() {
        let gaps = match surveyed.get(&place) {
            None => vec![work.days],
            Some(found) if found.gives_way => continue,
            Some(found) => {
                let days = found.days.into_iter();
                let gaps = days.flat_map(|days| {
                    let questions = found.questions.iter();
                    questions.flat_map(move |question| work.gaps(place, *question, days))
                });
                let mut gaps: Vec<Days> = gaps.collect();
                gaps.sort();
                gaps.dedup();
                gaps
            }
        };
        if gaps.is_empty() {
            continue;
        }
        any = true;
        let fault = faults
            .get(&place)
            .map_or("it was not asked", String::as_str);
        tracing::warn!(business = %source.business, source = %source.name, days = listed(&gaps), fault, "history is missing");
    }
    any
}

/// Tells of campaigns that know no days; whether there are any.
pub(super) fn withheld(work: &Work) -> bool {
    let journal = lock(&work.journal);
    let mut any = false;
    for (place, source) in work.plan.sources.iter().enumerate() {
        let mut keys: Vec<&str> = journal.withheld(place).map(|(.., key)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        let listing = match keys.is_empty() {
            true => None,
            false => journal.listing(place).ok().flatten(),
        };
        for key in keys {
            any = true;
            let campaign = listing.as_ref().and_then(|listing| listing.campaign(key));
            let name = campaign.map_or("", |campaign| &campaign.name);
            tracing::warn!(business = %source.business, source = %source.name, id = key, name, "it has no daily history: made before Meta's API supported dates, it is answered for its whole life");
        }
    }
    any
}

/// A few of those days, as people read them.
fn listed(days: &[Days]) -> String {
    const FEW: usize = 3;
    let shown: Vec<String> = days.iter().take(FEW).map(ToString::to_string).collect();
    match days.len() {
        ..=FEW => shown.join(", "),
        many => format!("{} and {} more stretches", shown.join(", "), many - FEW),
    }
}
