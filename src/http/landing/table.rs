//! Table of all businesses, for installations with many: one row each, sorted by a link.

use maud::{Markup, html};

use super::super::status::{BusinessStatus, HealthState, StatusReport};
use super::business::{badges, max_quota_ratio};
use super::display::{self, HumanDuration, Percent};
use super::size_budget::SizeBudget;
use super::{RenderContext, hidden_businesses, query_string, time};

/// Minimum number of businesses with which the table is shown.
pub(super) const MIN_BUSINESSES: usize = 10;

/// Column by which the table is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SortKey {
    /// The most severe problem first.
    #[default]
    State,
    /// By name.
    Name,
    /// The oldest data first.
    Age,
    /// The highest usage first.
    Quota,
}

impl SortKey {
    const ALL: [Self; 4] = [Self::Name, Self::State, Self::Age, Self::Quota];

    /// Parses the value of the parameter `sort`; unknown values sort by state.
    pub(super) fn parse(text: &str) -> Self {
        let mut keys = Self::ALL.into_iter();
        keys.find(|key| key.as_str() == text).unwrap_or_default()
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Name => "name",
            Self::Age => "age",
            Self::Quota => "quota",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::State => "State",
            Self::Name => "Business",
            Self::Age => "Oldest data",
            Self::Quota => "Quota used",
        }
    }
}

/// Renders the table. Rows after the first `max_bytes` are left out and counted.
pub(super) fn table(
    status: &StatusReport<'_>,
    sort: SortKey,
    context: RenderContext<'_>,
    max_bytes: usize,
) -> Markup {
    let businesses = sorted(status, sort);
    let (rows, hidden) =
        SizeBudget(max_bytes).render_each(businesses, |business| row(business, context));
    html! {
        section aria-labelledby="all" {
            h2 id="all" { "All businesses " small { (status.businesses.len()) } }
            table.overview {
                caption { "One row per business" }
                thead {
                    tr {
                        @for key in SortKey::ALL {
                            (column_heading(key, sort))
                        }
                        th scope="col" { "Windows up" }
                    }
                }
                tbody { @for row in rows { (row) } }
            }
            @if hidden > 0 {
                (hidden_businesses(hidden))
            }
        }
    }
}

/// Returns the businesses in the order of the table. The order of the config decides between equals.
fn sorted<'a>(status: &'a StatusReport<'_>, sort: SortKey) -> Vec<&'a BusinessStatus<'a>> {
    let mut businesses: Vec<&BusinessStatus<'_>> = status.businesses.iter().collect();
    let max_quota = |business| max_quota_ratio(business).unwrap_or(0.0);
    match sort {
        SortKey::State => businesses.sort_by_key(|business| {
            let problem = business.problems.first().copied();
            (problem.is_none(), problem, business.state)
        }),
        SortKey::Name => businesses.sort_by_key(|business| business.name),
        SortKey::Age => businesses.sort_by(|a, b| {
            let ages = [a, b].map(|business| oldest_success(business));
            ages[0].total_cmp(&ages[1])
        }),
        SortKey::Quota => businesses.sort_by(|a, b| max_quota(b).total_cmp(&max_quota(a))),
    }
    businesses
}

fn column_heading(key: SortKey, sort: SortKey) -> Markup {
    html! {
        @if key == sort {
            th scope="col" aria-sort="ascending" { (key.title()) }
        } @else {
            th scope="col" {
                a href={ "./" (query_string(&[("sort", key.as_str())])) } { (key.title()) }
            }
        }
    }
}

fn row(business: &BusinessStatus<'_>, context: RenderContext<'_>) -> Markup {
    let oldest = oldest_success(business);
    let windows = || business.sources.iter().flat_map(|source| &source.windows);
    let up = windows().filter(|window| window.state == HealthState::Up);
    html! {
        tr {
            th scope="row" {
                a href={ "./" (query_string(&[("business", business.name)])) } { (business.name) }
            }
            td {
                @if business.problems.is_empty() {
                    @let [class, symbol, text] = display::state(business.state);
                    span class=(class) { span aria-hidden="true" { (symbol) } " " (text) }
                }
                (badges(&business.problems))
            }
            td {
                @if oldest > 0.0 {
                    (time(oldest, HumanDuration(context.now - oldest)))
                } @else {
                    "none"
                }
            }
            td {
                @if let Some(ratio) = max_quota_ratio(business) { (Percent(ratio)) }
            }
            td { (up.count()) " of " (windows().count()) }
        }
    }
}

/// Returns the oldest last success of all windows in seconds since 1970-01-01 UTC; 0 if one has none.
fn oldest_success(business: &BusinessStatus<'_>) -> f64 {
    let windows = business.sources.iter().flat_map(|source| &source.windows);
    let times = windows.map(|window| window.last_success_timestamp_seconds.unwrap_or(0.0));
    times.reduce(f64::min).unwrap_or(0.0)
}
