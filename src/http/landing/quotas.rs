//! Quotas of a business on the landing page: a bar for each, grouped by app and ad account.

use maud::{Markup, html};

use super::super::status::{PAUSE_RATIO, QuotaStatus};
use super::display::{Percent, Plural};
use super::{RenderContext, column_headings};
use crate::model::LimitScope;

/// Minimum number of quotas per business that are always visible, the highest usage first. The others
/// are collapsed.
const MIN_VISIBLE_QUOTAS: usize = 4;

/// Quotas from this usage on are always visible.
const VISIBLE_QUOTA_RATIO: f64 = 0.5;

/// Maximum number of always visible quotas per business, and maximum number of collapsed ones.
const MAX_QUOTAS_SHOWN: usize = 40;

/// Renders the quotas of a business, the highest usage first.
pub(super) fn quotas(quotas: &[QuotaStatus], context: RenderContext<'_>) -> Markup {
    if quotas.is_empty() {
        return html! { p.empty { "Meta has not reported a quota yet." } };
    }
    let mut by_usage: Vec<&QuotaStatus> = quotas.iter().collect();
    by_usage.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    let visible_count = by_usage
        .partition_point(|quota| quota.ratio >= VISIBLE_QUOTA_RATIO)
        .clamp(MIN_VISIBLE_QUOTAS, MAX_QUOTAS_SHOWN)
        .min(by_usage.len());
    let (visible, collapsed) = by_usage.split_at(visible_count);
    let shown = collapsed.get(..MAX_QUOTAS_SHOWN).unwrap_or(collapsed);
    html! {
        div {
            (quota_table("Quota usage", visible, context))
            @if let Some(next) = collapsed.first() {
                details.more {
                    summary {
                        (Plural(collapsed.len(), "more quota", "more quotas"))
                        ", at most " (Percent(next.ratio))
                    }
                    (quota_table("Lower quota usage", shown, context))
                    @if shown.len() < collapsed.len() {
                        p.empty {
                            "… and " (collapsed.len() - shown.len())
                            " more, with the same or a lower usage."
                        }
                    }
                }
            }
        }
    }
}

fn quota_table(caption: &str, quotas: &[&QuotaStatus], context: RenderContext<'_>) -> Markup {
    // The owner of the highest usage comes first.
    let mut owners: Vec<QuotaOwner<'_>> = Vec::new();
    for owner in quotas.iter().map(|quota| QuotaOwner::of(quota)) {
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    html! {
        table.quotas {
            caption { (caption) }
            (column_headings(&["Limit", "Usage"]))
            @for owner in owners {
                tbody {
                    tr {
                        th scope="rowgroup" colspan="2" {
                            @match owner {
                                QuotaOwner::App => "App",
                                QuotaOwner::AdAccount(id) => { "Ad account " code { (id) } }
                                QuotaOwner::Unknown => "Ad account not named by Meta",
                            }
                        }
                    }
                    @for quota in quotas.iter().filter(|quota| QuotaOwner::of(quota) == owner) {
                        (quota_row(quota, context))
                    }
                }
            }
        }
    }
}

/// Owner of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuotaOwner<'a> {
    App,
    /// Ad account with this id.
    AdAccount(&'a str),
    /// Ad account that Meta did not name.
    Unknown,
}

impl<'a> QuotaOwner<'a> {
    fn of(quota: &'a QuotaStatus) -> Self {
        match (
            quota.account_id.as_deref(),
            LimitScope::from_name(&quota.limit),
        ) {
            (Some(id), _) => Self::AdAccount(id),
            (None, LimitScope::App) => Self::App,
            (None, LimitScope::AdAccount) => Self::Unknown,
        }
    }
}

fn quota_row(quota: &QuotaStatus, context: RenderContext<'_>) -> Markup {
    let (class, text) = match quota.ratio {
        ratio if ratio >= PAUSE_RATIO => ("bad", "nearly spent"),
        ratio if ratio > context.quota_share => ("warn", "above quota share"),
        _ => ("good", ""),
    };
    let percent = |ratio: f64| (ratio.clamp(0.0, 1.0) * 1000.0).round() / 10.0;
    html! {
        tr {
            th scope="row" {
                (quota.limit) " " small { (quota.quantity) }
                @if !text.is_empty() {
                    " " span.badge.(class) { (text) }
                }
            }
            td {
                div.usage {
                    svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                        rect.track width="100" height="8" {}
                        rect class=(class) width=(percent(quota.ratio)) height="8" {}
                        path d={ "M" (percent(context.quota_share)) " 0v8" } {}
                    }
                    " " b class=(class) { (Percent(quota.ratio)) }
                }
            }
        }
    }
}
