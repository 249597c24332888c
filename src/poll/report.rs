//! What polls tell of themselves: counters, and log lines.

use std::collections::BTreeSet;

use crate::exposition::{self, Own};
use crate::fault::Fault;
use crate::graph::{Call, Class, Endpoint, Lane};
use crate::row::AccountId;
use crate::snapshot::{Known, Polled, Snapshot, shown};

/// Counts one call, and keeps what its headers said.
pub(super) fn call(own: &Own, lane: &Lane, configured: &str, call: &Call<'_>) {
    let business = lane.business.as_ref();
    let account = lane.account.as_ref().map_or("", AccountId::digits);
    own.called(exposition::Call {
        business,
        endpoint: call.endpoint.as_str(),
        duration: call.duration,
        fault: call
            .error
            .map(|error| (error.fault.reason, error.fault.code)),
    });
    for usage in &call.headers.usage {
        let app_wide = matches!(usage.limit.as_str(), "app" | "insights_app");
        let account = usage
            .account_id
            .as_deref()
            .unwrap_or(if app_wide { "" } else { account });
        own.usage(
            business,
            account,
            &usage.limit,
            usage.quantity.as_str(),
            usage.ratio,
        );
    }
    if let Some(tier) = &call.headers.tier {
        own.access_tier(business, account, tier);
    }
    if let Some(answered) = &call.headers.version {
        let news = own.version(configured, answered);
        if news && answered != configured {
            let warning = call.headers.version_warning.as_deref().unwrap_or_default();
            tracing::warn!(
                configured,
                answered,
                warning,
                "another API version answered than was asked: set graph.version before this one is retired too"
            );
        }
    }
    if call.endpoint == Endpoint::DebugToken {
        return;
    }
    match call.error.map(|error| error.class) {
        Some(Class::Denied) => own.token_valid(business, false),
        None => own.token_valid(business, true),
        // Only an answer about something else than the token says that the token is good.
        Some(_) => {}
    }
}

/// Logs one poll: one line where it failed, with everything that Meta's support asks for.
pub(super) fn poll(known: &Known, polled: &Polled, fault: Option<&Fault>) {
    let window = known
        .source
        .windows
        .get(polled.window)
        .map_or("", |window| window.name.as_ref());
    let (business, source) = (known.source.business.as_ref(), known.source.name.as_ref());
    match fault {
        Some(fault) => tracing::warn!(
            business,
            source,
            window,
            reason = fault.reason.as_str(),
            code = fault.code,
            subcode = fault.subcode,
            fbtrace_id = fault.fbtrace_id,
            error = fault.message,
            "poll failed"
        ),
        None => tracing::debug!(business, source, window, duration = ?polled.duration, "polled"),
    }
}

/// Warns, once, of what people would otherwise look for on the page in vain.
pub(super) fn news(
    before: &Snapshot,
    after: &Snapshot,
    place: usize,
    window: usize,
    warned: &mut BTreeSet<Box<str>>,
) {
    for place in after.of_business(place) {
        let (before, after) = (&before.sources[place], &after.sources[place]);
        if after.gives_way && !before.gives_way {
            tracing::warn!(
                business = after.source.business.as_ref(),
                source = after.source.name.as_ref(),
                "this campaign is in an ad account that is polled too: the ad account's rows stand, and this source shows none"
            );
        }
    }
    let Some(known) = after.sources.get(place) else {
        return;
    };
    let answers = known
        .windows
        .get(window)
        .map(|window| [&window.delivery, &window.conversions]);
    let mut answers = answers.into_iter().flatten().flatten();
    if !answers.any(|answer| answer.rows.iter().any(|row| row.mixed_attribution)) {
        return;
    }
    for row in shown(known, window).filter(|row| row.conversions_withheld) {
        if warned.insert(row.identity.key().into()) {
            tracing::warn!(
                business = known.source.business.as_ref(),
                source = known.source.name.as_ref(),
                campaign_id = row
                    .identity
                    .campaign
                    .as_ref()
                    .map(|campaign| campaign.id.as_str()),
                "Meta keeps conversions back, since ad sets have different attribution settings; insights.level: adset shows them"
            );
        }
    }
}
