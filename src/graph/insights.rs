//! Insights queries with cursor paging and adaptation.
//!
//! A query that is too large is repeated with half the page size, and one with a rejected field
//! without that field. Both are stored in [`QueryAdaptation`], so that later polls start with them.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde_json::json;

use super::error::{ApiError, ErrorKind};
use super::invalid_parts::InvalidParts;
use super::response;
use super::retry;
use super::session::{Endpoint, Session};
use crate::model::{ActionList, Level, ListedStatuses, Row, WindowDates};
use crate::plan::{
    DateSpan, FIRST_DATED_DAY, Query, QueryKind, ROWS_PER_PAGE, TargetNode, TimeIncrement,
};
use crate::platform::clock;

/// Maximum pages per query; guards against endless cursors.
const MAX_PAGES_PER_QUERY: usize = 1_000;

/// Result of one query.
#[derive(Debug, Default)]
pub struct InsightsResult {
    /// Rows that the caller kept.
    pub rows: Vec<Row>,
    /// Number of pages received.
    pub pages: usize,
    /// Time at which the first page was received; `None` before it.
    pub fetched_at: Option<Timestamp>,
    /// Keys of withheld rows: their dates differ from those requested, or they are invalid.
    pub withheld: BTreeSet<Box<str>>,
    /// Keys of rows with other dates than those requested. They are in `withheld` too.
    pub other_dates: BTreeSet<Box<str>>,
    /// Those of `other_dates` that the age of their campaign does not explain.
    pub unexplained_dates: BTreeSet<Box<str>>,
    /// Whether a page has two rows of one object and the same dates.
    pub has_doubled_rows: bool,
    /// Values and rows that were dropped. Keys of dropped rows are in `withheld`.
    pub invalid: InvalidParts,
    /// Whether a dropped row has no key, so that no missing row can be taken for zeros.
    pub has_unknown_rows: bool,
}

/// Adaptations of the queries of a source, kept between polls.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryAdaptation {
    /// Rows per page, halved whenever a page is too large.
    pub page_size: usize,
    /// Rows per page at which a page that is too large is an error.
    pub min_page_size: usize,
    /// Fields that the API rejected, which are no longer requested.
    pub rejected_fields: Vec<String>,
    /// Statuses of the filter without which the API returns no rows of archived and deleted campaigns.
    pub statuses: StatusFilter,
}

/// Filter by status of the queries of an ad account, and what is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusFilter {
    /// Statuses that are requested.
    pub listed: ListedStatuses,
    /// Whether the API accepted the filter.
    pub is_confirmed: bool,
    /// Statuses to return to if fewer ones are refused too.
    before: Option<ListedStatuses>,
    /// Whether fewer statuses were refused too: the filter is not the cause.
    is_excluded: bool,
}

impl StatusFilter {
    /// Requests fewer statuses after a refusal; returns whether the query should be repeated.
    fn reduce(&mut self, message: &str) -> bool {
        let names = |words: &[&str]| words.iter().any(|word| message.contains(word));
        let is_named = names(&["status", "DELETED", "ARCHIVED"]);
        let names_other = names(&["time_range", "action", "date_preset", "level"]);
        if !is_named && (names_other || self.is_confirmed || self.is_excluded) {
            return false;
        }
        let next = match self.listed {
            ListedStatuses::All => ListedStatuses::Archived,
            ListedStatuses::Archived => ListedStatuses::Current,
            ListedStatuses::Current => {
                if let Some(before) = self.before.take() {
                    self.listed = before;
                    self.is_excluded = true;
                }
                return false;
            }
        };
        self.before.get_or_insert(self.listed);
        self.listed = next;
        self.is_confirmed = false;
        true
    }

    /// Records that the API accepted the filter.
    fn confirm(&mut self) {
        (self.is_confirmed, self.before, self.is_excluded) = (true, None, false);
    }

    /// Forgets refusals of another poll.
    #[must_use]
    pub fn for_next_poll(self) -> Self {
        Self {
            listed: self.before.unwrap_or(self.listed),
            before: None,
            is_excluded: false,
            ..self
        }
    }
}

impl Default for QueryAdaptation {
    fn default() -> Self {
        Self {
            page_size: ROWS_PER_PAGE,
            min_page_size: 1,
            rejected_fields: Vec::new(),
            statuses: StatusFilter::default(),
        }
    }
}

/// Fetches all pages of a query. `keep` selects rows, and can change them. Smaller pages and rejected
/// fields are recorded in `adaptation`.
///
/// # Errors
/// Returns the first error that neither retries nor adaptation resolve. Rows of earlier pages are
/// then discarded, because the missing rows must not be taken for zeros.
pub async fn fetch(
    session: Session<'_>,
    query: &Query,
    adaptation: &mut QueryAdaptation,
    keep: impl FnMut(&mut Row) -> bool + Send,
) -> Result<InsightsResult, ApiError> {
    let mut result = InsightsResult::default();
    fetch_pages(session, query, None, adaptation, keep, &mut result).await?;
    Ok(result)
}

/// Fetches a query into `result` as [`fetch`] does, with at most `max_calls` calls if given.
///
/// # Errors
/// Returns those of [`fetch`], and [`ErrorKind::TooLarge`] if the result needs more calls. `result` then contains what
/// earlier pages contained.
pub async fn fetch_pages(
    session: Session<'_>,
    query: &Query,
    max_calls: Option<usize>,
    adaptation: &mut QueryAdaptation,
    keep: impl FnMut(&mut Row) -> bool + Send,
    result: &mut InsightsResult,
) -> Result<(), ApiError> {
    let calls = max_calls.unwrap_or(MAX_PAGES_PER_QUERY);
    if fetch_up_to(session, query, calls, adaptation, keep, result).await? {
        return Ok(());
    }
    Err(match max_calls {
        Some(calls) => ApiError::over_call_limit(format!(
            "query stopped: result needs more than {calls} calls"
        )),
        None => ApiError::invalid_response(format!(
            "paging failed: no last page within {MAX_PAGES_PER_QUERY} pages"
        )),
    })
}

/// Fetches pages; returns whether the last one was reached within `calls` calls.
async fn fetch_up_to(
    session: Session<'_>,
    query: &Query,
    calls: usize,
    adaptation: &mut QueryAdaptation,
    mut keep: impl FnMut(&mut Row) -> bool + Send,
    result: &mut InsightsResult,
) -> Result<bool, ApiError> {
    let path = format!("{}/insights", query.node.path());
    let mut after: Option<String> = None;
    let mut cursors = HashSet::new();
    let mut received = 0_usize;
    let (mut has_valid_rows, mut is_restarted) = (false, false);
    let mut heavy_attempts = 0;
    for _ in 0..calls {
        let params = params(query, adaptation, after.as_deref());
        let rejected_fields = &adaptation.rejected_fields;
        let page = session
            .get(Endpoint::Insights, &path, &params, |body| {
                response::decode_page(body, query, rejected_fields)
            })
            .await;
        let page = match page {
            Ok(page) => page,
            Err(error) if adapt(&error, query, adaptation, after.is_none()) => continue,
            // A timeout can mean an outage, so the number of lighter requests is limited.
            Err(error)
                if error.may_be_heavy()
                    && session.max_attempts > 1
                    && heavy_attempts < session.max_attempts
                    && reduce_page_size(adaptation) =>
            {
                heavy_attempts += 1;
                retry::pause_before_lighter(heavy_attempts).await;
                continue;
            }
            // The cursor expired while paging: the result starts again, once.
            Err(error) if error.is_expired_cursor() && after.is_some() && !is_restarted => {
                (*result, after, is_restarted) = (InsightsResult::default(), None, true);
                (has_valid_rows, received) = (false, 0);
                cursors.clear();
                continue;
            }
            Err(error) => return Err(error),
        };
        if matches!(query.node, TargetNode::AdAccount(_)) && query.kind != QueryKind::Spend {
            adaptation.statuses.confirm();
        }
        result.pages += 1;
        result.fetched_at.get_or_insert_with(clock::now);
        let page_start = result.rows.len();
        received = received.saturating_add(page.data.rows.len());
        if received > query.max_rows {
            return Err(ApiError::invalid_response(format!(
                "paging failed: {received} rows exceed what the inventory allows"
            )));
        }
        result.invalid.merge(page.data.invalid);
        result.withheld.extend(page.data.dropped_keys);
        result.has_unknown_rows |= page.data.has_unknown_rows;
        has_valid_rows |= !page.data.rows.is_empty();
        for mut row in page.data.rows {
            if !keep(&mut row) {
                continue;
            }
            match date_mismatch(query, &row) {
                None => result.rows.push(row),
                // A daily row of several days means that `time_increment` was ignored: all rows of
                // the result are then wrong.
                Some(message) if query.increment == TimeIncrement::Daily && !is_undated(&row) => {
                    return Err(ApiError::invalid_response(message));
                }
                Some(_) => {
                    let key: Box<str> = row.dimensions.key().into();
                    if !is_undated(&row) {
                        result.unexplained_dates.insert(key.clone());
                    }
                    result.other_dates.insert(key.clone());
                    result.withheld.insert(key);
                }
            }
        }
        let page_rows = result.rows.get(page_start..).unwrap_or_default();
        result.has_doubled_rows |= has_duplicate_dates(page_rows);
        match page.after {
            None if query.increment == TimeIncrement::Daily
                && has_duplicate_dates(&result.rows) =>
            {
                return Err(ApiError::invalid_response(
                    "invalid daily rows: one day occurs twice",
                ));
            }
            None if !has_valid_rows && !result.invalid.rows.is_empty() => {
                return Err(ApiError::invalid_response(no_valid_row(&result.invalid)));
            }
            // A row was added before the cursor, so that the next one was received twice and the new one not at all.
            None if result.pages > 1 && !is_restarted && has_duplicate_dates(&result.rows) => {
                (*result, after, is_restarted) = (InsightsResult::default(), None, true);
                (has_valid_rows, received) = (false, 0);
                cursors.clear();
            }
            None => return Ok(true),
            Some(next) if !cursors.insert(next.clone()) => {
                return Err(ApiError::invalid_response(
                    "paging failed: the next page has the cursor of an earlier one",
                ));
            }
            next => after = next,
        }
    }
    Ok(false)
}

/// Updates the adaptation after an error; returns whether the request should be repeated.
fn adapt(
    error: &ApiError,
    query: &Query,
    adaptation: &mut QueryAdaptation,
    is_first_page: bool,
) -> bool {
    match error.kind {
        // A gateway's limit of the URL, which has no code, does not depend on the page size. For several days, the
        // caller can split the query by days instead.
        ErrorKind::TooLarge => {
            error.error.code.is_some() && reduce_page_size(adaptation) && !spans_days(query)
        }
        // Not on a later page: all rows of a result must have the same fields.
        ErrorKind::Rejected if error.error.code == Some(100) && is_first_page => {
            let message = &error.error.message;
            match rejected_field(message, &optional_fields(query, adaptation)) {
                Some(field) => {
                    adaptation.rejected_fields.push(field);
                    true
                }
                None => has_status_filter(query) && adaptation.statuses.reduce(message),
            }
        }
        _ => false,
    }
}

/// Halves the page size; returns whether it could be reduced.
fn reduce_page_size(adaptation: &mut QueryAdaptation) -> bool {
    let is_reducible = adaptation.page_size > adaptation.min_page_size.max(1);
    if is_reducible {
        adaptation.page_size /= 2;
        tracing::info!(
            page_size = adaptation.page_size,
            "result too large; reducing the page size"
        );
    }
    is_reducible
}

/// Returns the field that an error message rejects. A list of valid fields after "must be one of" is
/// ignored.
fn rejected_field(message: &str, fields: &[String]) -> Option<String> {
    // Names fields that the report lacks, although all of them are valid.
    if message.contains("summary param") {
        return None;
    }
    let cause = message.split("must be one of").next().unwrap_or(message);
    let mut words = cause.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words
        .find_map(|word| fields.iter().find(|field| *field == word))
        .cloned()
}

/// Returns the fields that a query can omit. Ids identify the rows, and the API requires `actions`
/// with `action_breakdowns`.
fn optional_fields(query: &Query, adaptation: &QueryAdaptation) -> Vec<String> {
    let required = ["account_id", "campaign_id", "adset_id", "ad_id", "actions"];
    let fields = fields(query, adaptation);
    fields
        .into_iter()
        .filter(|field| !required.contains(&field.as_str()))
        .collect()
}

/// Returns the fields of a query, without the rejected ones.
fn fields(query: &Query, adaptation: &QueryAdaptation) -> Vec<String> {
    let dimensions: &[&str] = match query.row_level {
        Level::Account => &["account_id", "account_currency", "attribution_setting"],
        Level::Campaign => &[
            "account_id",
            "account_currency",
            "campaign_id",
            "campaign_name",
            "attribution_setting",
        ],
        Level::Adset => &[
            "account_id",
            "account_currency",
            "campaign_id",
            "campaign_name",
            "adset_id",
            "adset_name",
            "attribution_setting",
        ],
        Level::Ad => &[
            "account_id",
            "account_currency",
            "campaign_id",
            "campaign_name",
            "adset_id",
            "adset_name",
            "ad_id",
            "ad_name",
            "attribution_setting",
        ],
    };
    if query.kind == QueryKind::Spend {
        let fields = ["account_id", "account_currency", "marketing_messages_spend"];
        return fields.map(str::to_owned).to_vec();
    }
    let mut fields: Vec<&str> = dimensions.to_vec();
    if query.kind.has_delivery() {
        fields.extend(query.columns.delivery().map(|(field, _)| field));
    }
    if query.kind.has_actions() {
        fields.extend(ActionList::ALL.iter().map(|list| list.field()));
    }
    if query.kind == QueryKind::Conversions {
        fields.push("marketing_messages_spend");
    }
    let accepted = fields.into_iter().filter(|field| {
        !adaptation
            .rejected_fields
            .iter()
            .any(|rejected| rejected == field)
    });
    accepted.map(str::to_owned).collect()
}

fn params(
    query: &Query,
    adaptation: &QueryAdaptation,
    after: Option<&str>,
) -> Vec<(&'static str, String)> {
    let mut params = vec![("fields", fields(query, adaptation).join(","))];
    if let Some(level) = query.level {
        params.push(("level", level.as_str().to_owned()));
    }
    let range =
        |(since, until): DateSpan| json!({"since": since.to_string(), "until": until.to_string()});
    match (query.ranges.as_slice(), query.dates) {
        ([], WindowDates::Preset(preset)) => {
            params.push(("date_preset", preset.as_str().to_owned()))
        }
        ([], WindowDates::Range { since, until }) => {
            params.push(("time_range", range((since, until)).to_string()));
        }
        ([], WindowDates::AllTime) => {}
        ([only], _) => params.push(("time_range", range(*only).to_string())),
        (ranges, _) => {
            let ranges: Vec<_> = ranges.iter().copied().map(range).collect();
            params.push(("time_ranges", serde_json::Value::from(ranges).to_string()));
        }
    }
    if query.increment == TimeIncrement::Daily {
        params.push(("time_increment", "1".to_owned()));
    }
    let mut filters = Vec::new();
    if !query.campaigns.is_empty() {
        let ids: Vec<_> = query.campaigns.iter().map(|id| id.as_str()).collect();
        filters.push(json!({"field": "campaign.id", "operator": "IN", "value": ids}));
    }
    if has_status_filter(query) {
        filters.extend(status_condition(
            query.row_level,
            adaptation.statuses.listed,
        ));
    }
    if query.kind.has_actions() {
        params.push(("action_breakdowns", "action_type".to_owned()));
    }
    let action_types = query.columns.action_types.as_ref();
    if query.kind == QueryKind::Conversions && query.columns.has_action_filter() {
        filters.push(json!({"field": "action_type", "operator": "IN", "value": action_types}));
    }
    if !filters.is_empty() {
        params.push(("filtering", serde_json::Value::from(filters).to_string()));
    }
    // A campaign without a level has one row; its ad sets and ads can exceed the API's default page
    // size of 25.
    if matches!(query.node, TargetNode::AdAccount(_)) || query.level.is_some() {
        params.push(("limit", adaptation.page_size.to_string()));
    }
    if let Some(after) = after {
        params.push(("after", after.to_owned()));
    }
    params
}

/// Returns whether the query is filtered by status. Without this filter, the API returns no rows of archived and deleted
/// campaigns of an ad account; its total includes them. Source: Meta's page "Manage Your Ad Object's Status".
fn has_status_filter(query: &Query) -> bool {
    matches!(query.node, TargetNode::AdAccount(_)) && query.kind != QueryKind::Spend
}

/// Returns the condition that selects all statuses of the objects of the rows; `None` for no condition.
fn status_condition(level: Level, statuses: ListedStatuses) -> Option<serde_json::Value> {
    let (object, own): (&str, &[&str]) = match level {
        Level::Account | Level::Campaign => ("campaign", &[]),
        Level::Adset => ("adset", &["CAMPAIGN_PAUSED"]),
        Level::Ad => (
            "ad",
            &[
                "CAMPAIGN_PAUSED",
                "ADSET_PAUSED",
                "DISAPPROVED",
                "PENDING_REVIEW",
                "PREAPPROVED",
                "PENDING_BILLING_INFO",
            ],
        ),
    };
    let gone: &[&str] = match statuses {
        ListedStatuses::All => &["ARCHIVED", "DELETED"],
        ListedStatuses::Archived => &["ARCHIVED"],
        ListedStatuses::Current => return None,
    };
    let common = ["ACTIVE", "PAUSED", "IN_PROCESS", "WITH_ISSUES"];
    let names: Vec<&str> = common.iter().chain(own).chain(gone).copied().collect();
    let field = format!("{object}.effective_status");
    Some(json!({"field": field, "operator": "IN", "value": names}))
}

/// Returns a message if the row's dates are not among those that it can have. Presets are not checked unless the query
/// has their dates.
fn date_mismatch(query: &Query, row: &Row) -> Option<String> {
    let (start, stop) = (row.start, row.stop);
    let requested = match query.dates {
        WindowDates::Range { since, until } => Some((since, until)),
        WindowDates::Preset(_) | WindowDates::AllTime => None,
    };
    let (matches, each_day) = match query.increment {
        TimeIncrement::Whole if query.expected.is_empty() => {
            (requested.is_none_or(|dates| dates == (start, stop)), "")
        }
        TimeIncrement::Whole => (query.expected.contains(&(start, stop)), ""),
        TimeIncrement::Daily => (
            start == stop && requested.is_none_or(|(since, until)| since <= start && stop <= until),
            "each day of ",
        ),
    };
    let dates = query.expected.first().copied().or(requested);
    let (since, until) = dates.filter(|_| !matches)?;
    Some(format!(
        "requested {each_day}{since} to {until}, received {start} to {stop}; row withheld"
    ))
}

/// Returns whether the row belongs to a campaign created before the API supported dates for it: the
/// row then covers the campaign's whole lifetime. Source: Meta's page "Measure Performance".
fn is_undated(row: &Row) -> bool {
    row.start < row.stop && row.start < FIRST_DATED_DAY
}

/// Returns the message for a result that has only invalid rows.
fn no_valid_row(invalid: &InvalidParts) -> String {
    let counts: Vec<String> = invalid
        .rows
        .iter()
        .map(|(defect, invalid)| format!("{} {}", invalid.count, defect.as_str()))
        .collect();
    format!("result has no valid row: {}", counts.join(", "))
}

/// Returns whether the query returns rows of more than one day.
fn spans_days(query: &Query) -> bool {
    let several = matches!(query.dates, WindowDates::Range { since, until } if since < until);
    several && query.increment == TimeIncrement::Daily
}

/// Returns whether an entity has two rows of the same dates.
fn has_duplicate_dates(rows: &[Row]) -> bool {
    let mut seen = HashSet::with_capacity(rows.len());
    let mut dates = rows
        .iter()
        .map(|row| (row.dimensions.key(), row.start, row.stop));
    dates.any(|dates| !seen.insert(dates))
}
