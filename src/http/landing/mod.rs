//! Landing page: links to the other pages, and the health of every business.
//!
//! A single HTML document without scripts and other resources. Businesses with problems come first
//! and are expanded; healthy ones are collapsed if there are many, and left out if the page would
//! become too large.
//!
//! The page reloads itself with `<meta http-equiv=refresh>`. Browsers keep the scroll position then,
//! but expand and collapse all sections as in the document. Keeping that too would need a script, and
//! a page with texts from configs and from the API is safest without scripts. Instead, each business
//! has a link to a page with only this business, and another link turns reloading off.

mod business;
mod display;
mod quotas;
mod size_budget;
mod table;

use std::fmt::Display;
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ring::digest;

use self::business::{card, has_problem, is_not_polled, max_quota_ratio};
use self::display::{Percent, Plural};
use self::size_budget::SizeBudget;
use self::table::SortKey;
use super::status::{BusinessStatus, HealthState, PAUSE_RATIO, StatusReport};

const STYLE: &str = include_str!("style.css");

/// Reload interval in seconds.
const REFRESH_SECONDS: u32 = 15;

/// Maximum number of businesses with which healthy ones are expanded too.
const MAX_EXPANDED_BUSINESSES: usize = 8;

/// Size in bytes of table and sections from which further businesses are left out, so that phones can open the page.
const MAX_PAGE_BYTES: usize = 400_000;

/// Size in bytes from which the table of all businesses has no further rows, which leaves room for problems.
const MAX_TABLE_BYTES: usize = 250_000;

/// Folder of the documents of this version.
const DOCUMENTS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/");

/// Content security policy: no resources and no scripts, only the style sheet of this page, by its
/// hash, and forms that are sent to this server.
pub(super) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
});

/// Query parameters of the landing page.
#[derive(Clone, Debug, Default)]
pub(super) struct PageQuery {
    /// Names of the businesses to show; empty for all.
    pub(super) businesses: Vec<String>,
    /// Whether the page should not reload itself (`refresh=off`).
    pub(super) no_refresh: bool,
    /// Order of the table of all businesses (`sort=name`).
    sort: SortKey,
}

impl PageQuery {
    /// Parses a query string. Unknown parameters are ignored.
    pub(super) fn of(query: Option<&str>) -> Self {
        let mut page_query = Self::default();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match key.as_ref() {
                "business" if !value.is_empty() => page_query.businesses.push(value.into_owned()),
                "sort" => page_query.sort = SortKey::parse(&value),
                "refresh" => page_query.no_refresh = value == "off",
                _ => {}
            }
        }
        page_query
    }
}

/// Values of the whole page that its parts need.
#[derive(Clone, Copy, Debug)]
struct RenderContext<'a> {
    /// Time of the page in seconds since 1970-01-01 UTC.
    now: f64,
    /// Fraction of a quota above which polls slow down.
    quota_share: f64,
    /// Path of the metrics page.
    telemetry_path: &'a str,
}

/// Renders the page. `series` is the number of series, or `None` to omit it. `config_errors` are the errors of files
/// that are not in force, empty if there are none.
pub(super) fn page(
    status: &StatusReport<'_>,
    series: Option<u64>,
    telemetry_path: &str,
    config_errors: &str,
    page_query: &PageQuery,
) -> Markup {
    let context = RenderContext {
        now: status.now_timestamp_seconds,
        quota_share: status.quota_share_ratio,
        telemetry_path,
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(status, page_query))
            body {
                (header(status, telemetry_path, page_query))
                main {
                    @if !config_errors.is_empty() {
                        section {
                            h2 { "Config files that are not in force" }
                            pre { (config_errors) }
                        }
                    }
                    (summary(status, series))
                    (businesses(status, page_query, context))
                }
                (footer(status, page_query))
            }
        }
        "\n"
    }
}

fn head(status: &StatusReport<'_>, page_query: &PageQuery) -> Markup {
    let businesses = status.businesses.iter();
    let with_problems = businesses.filter(|business| has_problem(business)).count();
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width,initial-scale=1";
            meta name="color-scheme" content="light dark";
            @if !page_query.no_refresh {
                meta http-equiv="refresh" content=(REFRESH_SECONDS);
            }
            title {
                @if with_problems > 0 {
                    (Plural(with_problems, "business with problems", "businesses with problems"))
                    " – "
                }
                "Marketing Messages exporter"
            }
            // With an empty icon, browsers do not request /favicon.ico.
            link rel="icon" href="data:,";
            style { (PreEscaped(STYLE)) }
        }
    }
}

fn header(status: &StatusReport<'_>, telemetry_path: &str, page_query: &PageQuery) -> Markup {
    let shard = &status.shard;
    let query = query_string(&business_params(page_query));
    html! {
        header {
            h1 { "Marketing Messages exporter" }
            p {
                "Version " (status.version) " · revision " code { (status.revision) }
                @if shard.count > 1 {
                    " · shard " (shard.index) " of " (shard.count) ", counted from 0"
                }
            }
            nav aria-label="Pages" {
                ul {
                    li { a href={ "." (telemetry_path) (query) } { "Metrics" } }
                    li { a href={ "./api/status" (query) } { "Status as JSON" } }
                    li { a href="./-/healthy" { "Health" } }
                    li { a href="./-/ready" { "Readiness" } }
                }
            }
        }
    }
}

/// Renders the totals over all businesses.
fn summary(status: &StatusReport<'_>, series: Option<u64>) -> Markup {
    let businesses = || status.businesses.iter();
    let sources = || businesses().flat_map(|business| &business.sources);
    let windows_in_state = |state| {
        let windows = sources().flat_map(|source| &source.windows);
        windows.filter(|window| window.state == state).count()
    };
    let down = windows_in_state(HealthState::Down);
    let not_polled = windows_in_state(HealthState::NotPolled);
    html! {
        section aria-labelledby="summary" {
            h2 id="summary" { "Summary" }
            dl.tiles {
                (tile("Businesses", businesses().count(), None))
                (tile("Sources", sources().count(), None))
                (tile("Windows up", windows_in_state(HealthState::Up), None))
                (tile("Windows down", down, (down > 0).then_some("down")))
                @if not_polled > 0 {
                    (tile("Windows not polled", not_polled, Some("not-polled")))
                }
                @if let Some(ratio) = businesses().filter_map(max_quota_ratio).reduce(f64::max) {
                    @let class = match ratio {
                        ratio if ratio >= PAUSE_RATIO => Some("down"),
                        ratio if ratio > status.quota_share_ratio => Some("warn"),
                        _ => None,
                    };
                    (tile("Highest quota usage", Percent(ratio), class))
                }
                @if let Some(series) = series {
                    (tile("Series", series, None))
                }
            }
        }
    }
}

fn tile(name: &str, value: impl Display, class: Option<&str>) -> Markup {
    html! {
        div { dt { (name) } dd class=[class] { (value) } }
    }
}

fn businesses(
    status: &StatusReport<'_>,
    page_query: &PageQuery,
    context: RenderContext<'_>,
) -> Markup {
    let has_table =
        status.businesses.len() >= table::MIN_BUSINESSES && page_query.businesses.is_empty();
    let table = has_table.then(|| table::table(status, page_query.sort, context, MAX_TABLE_BYTES));
    let table_bytes = table.as_ref().map_or(0, |table| table.0.len());
    let mut budget = SizeBudget(MAX_PAGE_BYTES.saturating_sub(table_bytes));
    let expand_all = status.businesses.len() <= MAX_EXPANDED_BUSINESSES;
    let (mut with_problems, others): (Vec<_>, Vec<_>) = status
        .businesses
        .iter()
        .partition(|business| has_problem(business));
    with_problems.sort_by_key(|business| business.problems.first().copied());
    let (not_polled, healthy): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|business| is_not_polled(business));
    let mut sections = Vec::new();
    let mut total_hidden = 0;
    for (id, title, group, open) in [
        ("problems", "With problems", with_problems, true),
        ("not-polled", "Not polled yet", not_polled, expand_all),
        ("healthy", "Healthy", healthy, expand_all),
    ] {
        // The table has the others, each with a link to its details.
        if group.is_empty() || (has_table && id != "problems") {
            continue;
        }
        let count = group.len();
        let render = |business: &BusinessStatus<'_>| card(business, open, context);
        let (cards, hidden) = budget.render_each(group, render);
        total_hidden += hidden;
        sections.push(html! {
            section aria-labelledby=(id) {
                h2 id=(id) { (title) " " small { (count) } }
                @for card in cards { (card) }
                @if hidden > 0 {
                    (hidden_businesses(hidden))
                }
            }
        });
    }
    html! {
        @if let Some(table) = table {
            (search(page_query))
            (table)
        }
        @for section in sections { (section) }
        @if !has_table && (total_hidden > 0 || !page_query.businesses.is_empty()) {
            (search(page_query))
        }
    }
}

/// Renders the number of businesses that the size limit leaves out.
fn hidden_businesses(hidden: usize) -> Markup {
    html! {
        p { "… and " (Plural(hidden, "more business", "more businesses")) ", not shown here." }
    }
}

/// Renders the form that leads to the page of one business.
fn search(page_query: &PageQuery) -> Markup {
    html! {
        form role="search" {
            label for="business" { "Show one business" } " "
            input id="business" name="business" required spellcheck="false"; " "
            button { "Show" }
            @if !page_query.businesses.is_empty() {
                " " a href="./" { "all businesses" }
            }
        }
    }
}

fn footer(status: &StatusReport<'_>, page_query: &PageQuery) -> Markup {
    let now = status.now_timestamp_seconds;
    let mut params = business_params(page_query);
    if !page_query.no_refresh {
        params.push(("refresh", "off"));
    }
    let reloading = query_string(&params);
    html! {
        footer {
            p {
                "As of "
                @match timestamp(now) {
                    Some(date) => (time(now, date.strftime("%Y-%m-%d %H:%M:%S UTC"))),
                    None => "now",
                }
                @if page_query.no_refresh {
                    ". The page does not reload itself. "
                    a href={ "./" (reloading) } { "Turn reloading on" }
                } @else {
                    ". The page reloads every " (REFRESH_SECONDS) " s. "
                    a href={ "./" (reloading) } { "Turn reloading off" }
                }
            }
            p {
                "Polls slow down above " (Percent(status.quota_share_ratio))
                " of a quota and pause at " (Percent(PAUSE_RATIO)) ". Documents: "
                a href={ (DOCUMENTS) "web.md#landing-page" } { "states and problems" } ", "
                a href={ (DOCUMENTS) "runbooks.md" } { "errors and alerts" } ", "
                a href={ (DOCUMENTS) "adding-a-customer.md" } { "adding a customer" } ", "
                a href={ (DOCUMENTS) "faq.md" } { "questions" } "."
            }
        }
    }
}

/// Renders the head of a table.
fn column_headings(titles: &[&str]) -> Markup {
    html! {
        thead { tr { @for title in titles { th scope="col" { (title) } } } }
    }
}

/// Renders a `time` element for `seconds` since 1970-01-01 UTC, with `text` as its content.
fn time(seconds: f64, text: impl Display) -> Markup {
    let datetime = timestamp(seconds).map(|date| date.strftime("%FT%TZ").to_string());
    html! {
        time datetime=[datetime] { (text) }
    }
}

fn timestamp(seconds: f64) -> Option<jiff::Timestamp> {
    let since_epoch = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    jiff::Timestamp::from_duration(since_epoch).ok()
}

/// Returns the parameters of links that stay on the selected businesses.
fn business_params(page_query: &PageQuery) -> Vec<(&str, &str)> {
    let names = page_query.businesses.iter();
    names.map(|name| ("business", name.as_str())).collect()
}

/// Returns the query string of a link; empty without parameters.
fn query_string(params: &[(&str, &str)]) -> String {
    if params.is_empty() {
        return String::new();
    }
    let mut encoded = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
    encoded.extend_pairs(params).finish()
}
