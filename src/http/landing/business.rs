//! Section of a business on the landing page: problems, token, totals and sources.

use maud::{Markup, html};

use super::super::status::{
    BusinessStatus, ErrorStatus, HealthState, Problem, SourceStatus, WindowStatus,
};
use super::super::totals::WindowTotals;
use super::display::{self, Amount, HumanDuration, Percent, Plural, Truncated};
use super::quotas::quotas;
use super::{RenderContext, column_headings, query_string, time};

/// Maximum number of sources per business. Those with errors come first.
const MAX_SOURCES_SHOWN: usize = 40;

/// Renders a business as a collapsible section.
pub(super) fn card(
    business: &BusinessStatus<'_>,
    open: bool,
    context: RenderContext<'_>,
) -> Markup {
    let only = query_string(&[("business", business.name)]);
    html! {
        details.card open[open] {
            summary {
                h3 { (business.name) } " "
                (badges(&business.problems))
                span.counts {
                    (Plural(business.sources.len(), "source", "sources"))
                    @if let Some(ratio) = max_quota_ratio(business) {
                        " · quota " (Percent(ratio))
                    }
                }
            }
            p.token {
                "Token " (token(business, context))
                " · " a href={ "./" (only) } { "only " b { (business.name) } }
                " · " a href={ "." (context.telemetry_path) (only) } { "metrics" }
            }
            @if !business.problems.is_empty() {
                (remedies(&business.problems))
            }
            @if !business.totals.is_empty() {
                (totals(&business.totals, context))
            }
            div.columns {
                (sources(business, context))
                (quotas(&business.quotas, context))
            }
        }
    }
}

/// Renders the problems of a business as badges, each followed by a space.
pub(super) fn badges(problems: &[Problem]) -> Markup {
    html! {
        @for [severity, text] in problems.iter().copied().map(display::problem) {
            span.badge.(severity) { (text) } " "
        }
    }
}

/// Renders what to do about each problem.
fn remedies(problems: &[Problem]) -> Markup {
    html! {
        ul.remedies {
            @for problem in problems {
                @let [severity, text] = display::problem(*problem);
                li { b class=(severity) { (text) } ": " (problem.remedy()) }
            }
        }
    }
}

/// Renders spend, orders, ROAS and the age of the data, on pages of selected businesses.
fn totals(totals: &[WindowTotals], context: RenderContext<'_>) -> Markup {
    html! {
        table.totals {
            caption { "Totals" }
            (column_headings(&["Window", "Spend", "Orders", "ROAS", "Data age"]))
            tbody {
                @for totals in totals {
                    tr {
                        th scope="row" { (totals.window) }
                        td { (Amount(totals.spend)) " " (totals.currency) }
                        td {
                            @match totals.orders {
                                Some(orders) => (orders),
                                None => "unknown",
                            }
                        }
                        td {
                            @match totals.roas() {
                                Some(roas) => (Amount(roas)),
                                None => "none",
                            }
                        }
                        td {
                            @if let Some(oldest) = totals.oldest {
                                @let seconds = oldest.as_duration().as_secs_f64();
                                (time(seconds, HumanDuration(context.now - seconds)))
                            } @else {
                                "unknown"
                            }
                        }
                    }
                }
            }
        }
    }
}

fn token(business: &BusinessStatus<'_>, context: RenderContext<'_>) -> Markup {
    html! {
        @match business.token.valid {
            None => "not used yet",
            Some(true) => span.up { "accepted" },
            Some(false) => b.down { "refused" },
        }
        @if let Some(expires) = business.token.expires_timestamp_seconds {
            @let remaining = expires - context.now;
            @if remaining > 0.0 {
                ", expires in " (time(expires, HumanDuration(remaining)))
            } @else {
                ", expired " (time(expires, HumanDuration(-remaining))) " ago"
            }
        }
    }
}

fn sources(business: &BusinessStatus<'_>, context: RenderContext<'_>) -> Markup {
    let slowed_by = max_quota_ratio(business).filter(|ratio| *ratio > context.quota_share);
    let mut sources: Vec<&SourceStatus<'_>> = business.sources.iter().collect();
    sources.sort_by_key(|source| source.windows.iter().map(|window| window.state).min());
    let hidden = sources.len().saturating_sub(MAX_SOURCES_SHOWN);
    html! {
        table {
            caption { "Sources" }
            (column_headings(&["Window", "State", "Data age", "Next poll"]))
            @for source in sources.into_iter().take(MAX_SOURCES_SHOWN) {
                tbody {
                    (source_heading(source, context))
                    @for status in &source.windows {
                        (window(status, slowed_by, context))
                        @if let Some(error) = &status.error {
                            (window_error(error))
                        }
                    }
                }
            }
            @if hidden > 0 {
                tbody {
                    tr {
                        td colspan="4" {
                            "… and " (Plural(hidden, "more source", "more sources"))
                            ", with the same or a better state"
                        }
                    }
                }
            }
        }
    }
}

fn source_heading(source: &SourceStatus<'_>, context: RenderContext<'_>) -> Markup {
    html! {
        tr {
            th scope="rowgroup" colspan="4" {
                code { (source.name) }
                @for name in [source.campaign_name, source.account_name].into_iter().flatten() {
                    " " (name)
                }
                @if let (Some(currency), Some(timezone)) = (source.currency, source.timezone) {
                    " " small { (currency) " · " (timezone) }
                }
                @if source.duplicate {
                    " " span.badge { "duplicate of ad account" }
                }
                @if let Some(until) = source.paused_until_timestamp_seconds {
                    " " span.badge.warn {
                        "paused for " (time(until, HumanDuration(until - context.now)))
                    }
                }
            }
        }
    }
}

/// Renders the row of a window. `slowed_by` is the usage of the quota that slows polls down.
fn window(window: &WindowStatus<'_>, slowed_by: Option<f64>, context: RenderContext<'_>) -> Markup {
    let [class, symbol, text] = display::state(window.state);
    html! {
        tr {
            th scope="row" { (window.name) }
            td class=(class) { span aria-hidden="true" { (symbol) } " " (text) }
            td {
                @if let Some(success) = window.last_success_timestamp_seconds {
                    @let age = context.now - success;
                    (time(success, HumanDuration(age)))
                    @if age > window.stale_after_seconds { ", withdrawn" }
                } @else {
                    "none"
                }
            }
            td {
                @match window.next_poll_timestamp_seconds {
                    Some(next) if next > context.now => {
                        "in " (time(next, HumanDuration(next - context.now)))
                    }
                    _ => {
                        "due"
                        @if let Some(ratio) = slowed_by {
                            ", slowed down: quota at " (Percent(ratio))
                        }
                    }
                }
            }
        }
    }
}

fn window_error(error: &ErrorStatus<'_>) -> Markup {
    html! {
        tr.error {
            td colspan="4" {
                b { (error.reason) }
                @match (error.code, error.subcode) {
                    (Some(code), Some(subcode)) => { " (code " (code) ", subcode " (subcode) ")" }
                    (Some(code), None) => { " (code " (code) ")" }
                    _ => {}
                }
                ": " (Truncated(error.message))
                br;
                "Remedy: " (error.remedy)
            }
        }
    }
}

/// Returns whether a business has a problem.
pub(super) fn has_problem(business: &BusinessStatus<'_>) -> bool {
    !business.problems.is_empty()
}

/// Returns whether a window of the business was not polled yet.
pub(super) fn is_not_polled(business: &BusinessStatus<'_>) -> bool {
    business.state == HealthState::NotPolled
}

/// Returns the highest usage of all quotas of a business; `None` if Meta has not reported one.
pub(super) fn max_quota_ratio(business: &BusinessStatus<'_>) -> Option<f64> {
    let ratios = business.quotas.iter().map(|quota| quota.ratio);
    ratios.reduce(f64::max)
}
