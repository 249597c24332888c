//! Splits a poll into queries with the fewest requests: either id filters of limited size, or all
//! rows of the ad account in full pages.

use super::{
    DateSpan, Query, QueryColumns, QueryKind, Source, SourceKind, TargetNode, TimeIncrement, Window,
};
use crate::config::QuestionMode;
use crate::model::{Inventory, Level, ObjectId, WindowDates};

/// Rows per page (`limit`). Meta documents no maximum; production clients use 500 without the
/// API error "reduce the amount of data".
pub const ROWS_PER_PAGE: usize = 500;

/// Maximum ids per `campaign.id IN` filter: keeps URLs well below the common limit of 8 KiB.
pub const MAX_IDS_PER_FILTER: usize = 100;

/// Bytes of a URL: below the limit of 8 KiB that gateways have for a request line.
const MAX_URL_BYTES: usize = 8_000;

/// Bytes of a URL without ids, ranges, action types and extra fields, with a long cursor.
const FIXED_URL_BYTES: usize = 2_200;

/// Bytes of one range of dates, percent-encoded.
const RANGE_BYTES: usize = 90;

/// Bytes of all action types in a filter, percent-encoded. A longer filter is not sent.
const MAX_ACTION_TYPES_BYTES: usize = 2_500;

/// Bytes of the quotes around an id, percent-encoded.
const ENCODED_QUOTES: usize = 6;

/// Bytes of a comma, percent-encoded.
const ENCODED_COMMA: usize = 3;

/// Assumed length of the id of a campaign.
const ID_BYTES: usize = 18;

/// Dates of a query and their division into rows.
#[derive(Clone, Copy)]
pub(super) struct QueryDates {
    pub(super) dates: WindowDates,
    pub(super) increment: TimeIncrement,
    /// Maximum rows per object: the number of days if there is one row per day, else 1.
    pub(super) rows_per_object: usize,
}

impl QueryDates {
    /// Returns the number of ranges in the URL. Days of one range are not listed.
    fn ranges(&self) -> usize {
        match self.increment {
            TimeIncrement::Daily => 1,
            TimeIncrement::Whole => self.rows_per_object,
        }
    }
}

impl Source {
    /// Returns the queries of one kind for one window, with the fewest requests if every campaign of
    /// the inventory has a row.
    ///
    /// An empty list means that the result is known to be empty. `None` means that no query returns
    /// a correct result: conversions at level `account` with more campaigns than one filter can
    /// have.
    pub fn queries(
        &self,
        window: &Window,
        kind: QueryKind,
        inventory: Option<&Inventory>,
    ) -> Option<Vec<Query>> {
        let dates = QueryDates {
            dates: window.dates,
            increment: TimeIncrement::Whole,
            rows_per_object: 1,
        };
        self.queries_for_dates(dates, kind, inventory)
    }

    /// Returns the queries of one kind for several ranges together, as [`queries`](Self::queries) does. `dates` are
    /// sent if there are no ranges.
    pub fn queries_for_ranges(
        &self,
        dates: WindowDates,
        ranges: &[DateSpan],
        expected: &[DateSpan],
        kind: QueryKind,
        inventory: Option<&Inventory>,
    ) -> Option<Vec<Query>> {
        let query_dates = QueryDates {
            dates,
            increment: TimeIncrement::Whole,
            rows_per_object: ranges.len().max(1),
        };
        let mut queries = self.queries_for_dates(query_dates, kind, inventory)?;
        for query in &mut queries {
            query.ranges = ranges.to_vec();
            query.expected = expected.to_vec();
            // Twice the known number, because campaigns can be created between two discoveries.
            query.max_rows = inventory.map_or(usize::MAX, |inventory| {
                let rows = inventory.max_rows.saturating_mul(ranges.len().max(1));
                rows.saturating_mul(2).saturating_add(ROWS_PER_PAGE)
            });
        }
        Some(queries)
    }

    /// Returns the query of the spend of the whole ad account for several ranges; `None` if the source does not export
    /// all message campaigns of one.
    pub fn spend_query(
        &self,
        dates: WindowDates,
        ranges: &[DateSpan],
        expected: &[DateSpan],
    ) -> Option<Query> {
        let SourceKind::AdAccount { id, .. } = &self.kind else {
            return None;
        };
        self.exports_account_spend().then(|| Query {
            node: TargetNode::AdAccount(id.clone()),
            level: Some(Level::Account),
            row_level: Level::Account,
            dates,
            ranges: ranges.to_vec(),
            expected: expected.to_vec(),
            max_rows: ranges.len().max(1).saturating_mul(2),
            increment: TimeIncrement::Whole,
            kind: QueryKind::Spend,
            columns: self.columns.clone(),
            campaigns: Vec::new(),
        })
    }

    /// Returns the queries of one kind for these dates, as [`queries`](Self::queries) does.
    pub(super) fn queries_for_dates(
        &self,
        query_dates: QueryDates,
        kind: QueryKind,
        inventory: Option<&Inventory>,
    ) -> Option<Vec<Query>> {
        let query = |node: TargetNode, level: Option<Level>, campaigns: &[ObjectId]| Query {
            node,
            level,
            row_level: self.level,
            dates: query_dates.dates,
            ranges: Vec::new(),
            expected: Vec::new(),
            max_rows: usize::MAX,
            increment: query_dates.increment,
            kind,
            columns: self.columns.clone(),
            campaigns: campaigns.to_vec(),
        };
        let account = match &self.kind {
            SourceKind::AdAccount { id, .. } => TargetNode::AdAccount(id.clone()),
            SourceKind::Campaign(id) => {
                // Level campaign is not sent: the id can be an ad's, which has no campaign rows.
                let level = (self.level != Level::Campaign).then_some(self.level);
                let node = match self.questions {
                    QuestionMode::Auto => self.resolved_campaign(inventory).unwrap_or(id),
                    QuestionMode::Separate => id,
                };
                return Some(vec![query(TargetNode::Object(node.clone()), level, &[])]);
            }
        };
        let Some(campaigns) = self.campaigns(inventory) else {
            return Some(Vec::new());
        };
        if campaigns.is_empty() {
            return Some(Vec::new());
        }
        let level = Some(self.level);
        if self.level == Level::Account {
            // The delivery fields exist only for message campaigns. The actions of an unfiltered ad
            // account would include those of its ordinary campaigns.
            let max_ids = self.ids_per_url(&campaigns, kind, query_dates.ranges());
            return if campaigns.len() <= max_ids {
                Some(vec![query(account, level, &campaigns)])
            } else if kind == QueryKind::Delivery {
                Some(vec![query(account, level, &[])])
            } else {
                None
            };
        }
        let rows_per_object = query_dates.rows_per_object;
        let filtered = filtered_calls(campaigns.len(), inventory, rows_per_object);
        let is_unfiltered_cheaper = inventory
            .is_some_and(|inventory| unfiltered_calls(inventory, rows_per_object) <= filtered);
        Some(if is_unfiltered_cheaper {
            vec![query(account, level, &[])]
        } else {
            campaigns
                .chunks(self.ids_per_filter(&campaigns, kind, query_dates.ranges()))
                .map(|ids| query(account.clone(), level, ids))
                .collect()
        })
    }
}

impl Source {
    /// Returns the number of ids of a filter with which the URL stays below the common limit of 8 KiB, at most
    /// [`MAX_IDS_PER_FILTER`].
    pub fn ids_per_filter(&self, campaigns: &[ObjectId], kind: QueryKind, ranges: usize) -> usize {
        self.ids_per_url(campaigns, kind, ranges)
            .min(MAX_IDS_PER_FILTER)
    }

    /// Returns the number of ids with which the URL stays below the common limit of 8 KiB, at least 1.
    fn ids_per_url(&self, campaigns: &[ObjectId], kind: QueryKind, ranges: usize) -> usize {
        let longest = campaigns.iter().map(|id| id.as_str().len()).max();
        self.columns
            .ids_per_url(kind, ranges, longest.unwrap_or(ID_BYTES))
    }
}

impl QueryColumns {
    /// Returns the number of campaigns of which one request of the conversions of `windows` windows can have the ids. At
    /// level `account`, conversions of more campaigns are absent, because the whole sum must come from one request.
    pub fn max_ids_of_conversions(&self, windows: usize) -> usize {
        self.ids_per_url(QueryKind::Conversions, windows, ID_BYTES)
    }

    /// Returns the number of ids of a request for the delivery values of one window; 0 if its URL is too long without
    /// an id.
    pub fn max_ids_of_delivery(&self) -> usize {
        let fixed = self.fixed_url_bytes(QueryKind::Delivery, 1);
        MAX_URL_BYTES.saturating_sub(fixed) / (ID_BYTES + ENCODED_QUOTES + ENCODED_COMMA)
    }

    /// Returns the bytes of the filter by action type, percent-encoded.
    pub fn action_types_bytes(&self) -> usize {
        let names = self.action_types.iter();
        names
            .map(|name| name.len() + ENCODED_QUOTES + ENCODED_COMMA)
            .sum()
    }

    /// Whether conversions are filtered by action type. A long filter is not sent: action types that are not configured
    /// are then dropped from the responses.
    pub fn has_action_filter(&self) -> bool {
        self.action_types_bytes() <= MAX_ACTION_TYPES_BYTES
    }

    fn ids_per_url(&self, kind: QueryKind, ranges: usize, id_bytes: usize) -> usize {
        let fixed = self.fixed_url_bytes(kind, ranges);
        let per_id = id_bytes + ENCODED_QUOTES + ENCODED_COMMA;
        (MAX_URL_BYTES.saturating_sub(fixed) / per_id).max(1)
    }

    /// Returns the bytes of a URL without ids.
    fn fixed_url_bytes(&self, kind: QueryKind, ranges: usize) -> usize {
        let extra: usize = if kind.has_delivery() {
            let extra = self.extra.iter();
            extra.map(|extra| extra.field.len() + ENCODED_COMMA).sum()
        } else {
            0
        };
        let action_types = if kind == QueryKind::Conversions && self.has_action_filter() {
            self.action_types_bytes()
        } else {
            0
        };
        FIXED_URL_BYTES + ranges * RANGE_BYTES + extra + action_types
    }
}

/// Returns the requests that `campaign.id IN` filters need: one per filter, or more if the rows of
/// the filters exceed a page.
pub(super) fn filtered_calls(
    campaigns: usize,
    inventory: Option<&Inventory>,
    rows_per_object: usize,
) -> usize {
    let objects = inventory.map_or(campaigns, |inventory| inventory.entities.len());
    campaigns.div_ceil(MAX_IDS_PER_FILTER).max(
        objects
            .saturating_mul(rows_per_object)
            .div_ceil(ROWS_PER_PAGE),
    )
}

/// Returns the requests that an unfiltered query of the ad account needs: its full pages.
pub(super) fn unfiltered_calls(inventory: &Inventory, rows_per_object: usize) -> usize {
    inventory
        .max_rows
        .saturating_mul(rows_per_object)
        .div_ceil(ROWS_PER_PAGE)
        .max(1)
}
