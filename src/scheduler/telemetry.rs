//! Self metrics and log messages of calls and polls.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::failure_log::{FailureEvent, FailureLog};
use crate::graph::{CallRecord, Endpoint, ErrorKind, InvalidCount, InvalidParts, RequestScope};
use crate::metrics::{self, SelfMetrics};
use crate::model::{AccountId, Inventory, LimitScope, ObjectId, PollError};
use crate::platform::clock;
use crate::snapshot::{
    HealthTracker, PollResult, QuotaKey, QuotaReport, Snapshot, SourceState, WithheldReason,
    withheld_rows,
};

/// Counts a call and records the API version that its response reports.
pub(super) fn record_call(
    self_metrics: &SelfMetrics,
    scope: &RequestScope,
    configured: &str,
    call: &CallRecord<'_>,
) {
    self_metrics.record_call(metrics::CallSample {
        business: &scope.business,
        app: scope.app.as_deref(),
        endpoint: call.endpoint.as_str(),
        duration: call.duration,
        error: call.error.map(|error| &error.error),
    });
    if call.headers.version_warning.is_some() {
        self_metrics.record_version_warning(configured, clock::now());
    }
    if let Some(answered) = &call.headers.version {
        let changed = self_metrics.set_api_version(configured, answered);
        if changed && answered != configured {
            let warning = call.headers.version_warning.as_deref().unwrap_or_default();
            tracing::warn!(
                configured,
                answered,
                warning,
                "API version differs from the configured one; set graph.version before the answering version is \
                 retired too"
            );
        }
    }
}

/// Updates the health of a business with what a call reports: quota usage, access tier and token validity.
pub(super) fn update_health(tracker: &HealthTracker, scope: &RequestScope, call: &CallRecord<'_>) {
    let account = scope.account.as_ref().map_or("", AccountId::digits);
    let reported_at = clock::now();
    tracker.update(&scope.business, |health| {
        for usage in &call.headers.usage {
            let account_id = match (&usage.account_id, LimitScope::from_name(&usage.limit)) {
                (Some(id), _) => id.as_str(),
                (None, LimitScope::App) => "",
                (None, LimitScope::AdAccount) => account,
            };
            let key = QuotaKey {
                account_id: account_id.into(),
                limit: usage.limit.as_str().into(),
                quantity: usage.quantity.as_str().into(),
            };
            let ratio = usage.ratio;
            health.set_quota(key, QuotaReport { ratio, reported_at });
        }
        if let Some(tier) = &call.headers.tier {
            health
                .access_tiers
                .insert(account.into(), tier.as_str().into());
        }
        if call.endpoint == Endpoint::DebugToken {
            return;
        }
        match call.error.map(|error| error.kind) {
            Some(ErrorKind::Unauthenticated) => health.token_valid = Some(false),
            None => health.token_valid = Some(true),
            // Other errors do not prove that the API accepted the token.
            Some(_) => {}
        }
    });
}

/// Polls that fail, by source and name of the window.
pub(super) type PollFailures = FailureLog<(Box<str>, Box<str>, Box<str>)>;

/// Logs a poll: a warning with everything that Meta's support requests at its first failure and for another reason,
/// and the recovery. Everything else is a debug message.
pub(super) fn log_poll(
    failures: &mut PollFailures,
    source_state: &SourceState,
    result: &PollResult,
    error: Option<&PollError>,
) {
    let now = Instant::now();
    let window = source_state
        .source
        .windows
        .get(result.window_idx)
        .map_or("", |window| window.name.as_ref());
    let business = source_state.source.business.as_ref();
    let source = source_state.source.name.as_ref();
    let key = || (business.into(), source.into(), window.into());
    let event = error.map(|error| {
        let reason = match (error.code, error.subcode) {
            (Some(code), subcode) => {
                let subcode = subcode.unwrap_or_default();
                format!("{} (code {code}, subcode {subcode})", error.reason.as_str())
            }
            _ => error.reason.as_str().to_owned(),
        };
        failures.record_failure(key(), &reason, now)
    });
    match error {
        Some(error) if event == Some(FailureEvent::Repeated) => tracing::debug!(
            business,
            source,
            window,
            reason = error.reason.as_str(),
            code = error.code,
            subcode = error.subcode,
            fbtrace_id = error.fbtrace_id,
            error = error.message,
            "poll failed again"
        ),
        Some(error) => tracing::warn!(
            business,
            source,
            window,
            reason = error.reason.as_str(),
            code = error.code,
            subcode = error.subcode,
            fbtrace_id = error.fbtrace_id,
            error = error.message,
            remedy = error.remedy(),
            "poll failed"
        ),
        None => {
            if let Some(failed_for) = failures.record_success(&key(), now) {
                let failed_for_seconds = failed_for.as_secs();
                tracing::info!(
                    business,
                    source,
                    window,
                    failed_for_seconds,
                    "poll recovered"
                );
            }
            tracing::debug!(business, source, window, duration = ?result.duration, "poll succeeded");
        }
    }
}

/// Logs how many polls fail, if a summary is due.
pub(super) fn log_failure_summary(failures: &mut PollFailures) {
    let Some(summary) = failures.summary(Instant::now()) else {
        return;
    };
    let reasons = summary.failing.iter();
    let reasons: Vec<String> = reasons
        .map(|(reason, windows)| format!("{reason}: {windows}"))
        .collect();
    tracing::warn!(
        windows = summary.failing.values().sum::<usize>(),
        reasons = reasons.join(", "),
        repeated = summary.repeated,
        "polls still failing"
    );
}

/// Logs a discovery: a warning at the first failure and for a list that lost many campaigns, and the recovery.
pub(super) fn log_discovery(
    before: &SourceState,
    inventory: Option<&Inventory>,
    error: Option<&PollError>,
    suspected_loss: usize,
) {
    let business = before.source.business.as_ref();
    let source = before.source.name.as_ref();
    if suspected_loss > 0 {
        let listed = before
            .inventory
            .as_ref()
            .map_or(0, |inventory| inventory.campaigns.len());
        tracing::warn!(
            business,
            source,
            lost = suspected_loss,
            listed,
            "list of campaigns lost more than half of them; using the previous one until a second list confirms it"
        );
    }
    match (&before.discovery_error, error) {
        (None, Some(error)) => tracing::warn!(
            business,
            source,
            %error,
            remedy = error.remedy(),
            "discovery failed; using the previous values of what failed"
        ),
        (Some(_), Some(error)) => {
            tracing::debug!(business, source, %error, "discovery failed again")
        }
        (Some(_), None) => tracing::info!(business, source, "discovery recovered"),
        (None, None) => {}
    }
    let missing = |inventory: &Inventory| -> String {
        let ids: Vec<&str> = inventory.missing.iter().map(ObjectId::as_str).collect();
        ids.join(", ")
    };
    let known = before.inventory.as_deref().map(missing).unwrap_or_default();
    let now = inventory.map(missing).unwrap_or_default();
    if !now.is_empty() && now != known {
        tracing::warn!(
            business,
            source,
            campaigns = now,
            "the API returns nothing for configured campaigns; check their ids and the permissions of the token"
        );
    }
}

/// Counts the invalid values and rows of a result. The first of each field or reason of a business is logged.
pub(super) fn record_invalid(
    self_metrics: &SelfMetrics,
    source_state: &SourceState,
    invalid: &InvalidParts,
) {
    let business = source_state.source.business.as_ref();
    let source = source_state.source.name.as_ref();
    for (field, InvalidCount { count, first_row }) in &invalid.values {
        if self_metrics.add_invalid_values(business, field, *count) {
            let row = first_row.as_deref();
            tracing::warn!(
                business,
                source,
                field = field.as_ref(),
                row,
                count,
                "invalid values in a response; omitting them"
            );
        }
    }
    for (defect, InvalidCount { count, first_row }) in &invalid.rows {
        if self_metrics.add_invalid_rows(business, defect.as_str(), *count) {
            let row = first_row.as_deref();
            let reason = defect.as_str();
            tracing::warn!(
                business,
                source,
                reason,
                row,
                count,
                "invalid rows in a response; omitting them"
            );
        }
    }
}

/// Logs why a poll changed what is exported: duplicate sources, and campaigns with withheld values.
///
/// `warned_rows` contains the campaigns and reasons that were logged, each of which is logged once.
pub(super) fn warn_on_change(
    before: &Snapshot,
    after: &Snapshot,
    source_idx: usize,
    window_idx: usize,
    warned_rows: &mut BTreeSet<Box<str>>,
) {
    for idx in after.business_range(source_idx) {
        let (before, after) = (&before.sources[idx], &after.sources[idx]);
        if after.duplicate && !before.duplicate {
            tracing::warn!(
                business = after.source.business.as_ref(),
                source = after.source.name.as_ref(),
                "duplicate source: campaign belongs to a configured ad account; only the ad account is exported"
            );
        }
    }
    let Some(source_state) = after.sources.get(source_idx) else {
        return;
    };
    for row in withheld_rows(source_state, window_idx) {
        let key = format!("{} {}", row.campaign_id, row.reason.as_str());
        if !warned_rows.insert(key.into()) {
            continue;
        }
        let business = source_state.source.business.as_ref();
        let source = source_state.source.name.as_ref();
        let campaign_id = row.campaign_id.as_ref();
        let campaign_name = row.campaign_name.as_ref();
        match row.reason {
            WithheldReason::Dates => tracing::warn!(
                business,
                source,
                campaign_id,
                campaign_name,
                "values withheld: the API ignores dates for this campaign, which was probably created before \
                 2026-03-01; use a window without dates"
            ),
            WithheldReason::Attribution => tracing::warn!(
                business,
                source,
                campaign_id,
                campaign_name,
                "conversions withheld by Meta because ad sets have different attribution settings; \
                 set insights.level to adset to export them"
            ),
            WithheldReason::ActionsTooHeavy => tracing::warn!(
                business,
                source,
                campaign_id,
                campaign_name,
                "conversions withheld: the API cannot return the actions of this campaign at any size"
            ),
        }
    }
}
