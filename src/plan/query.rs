//! A query: one insights request, with its node, dates, columns and filter.

use std::sync::Arc;

use super::DateSpan;
use crate::config::{ExtraFieldConfig, InsightsConfig};
use crate::model::{AccountId, ActionList, InsightField, Level, ObjectId, ValueKind, WindowDates};

/// One insights request. The result can have several pages.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Node of the API that is queried.
    pub node: TargetNode,
    /// The `level` parameter; `None` if the node determines the level.
    pub level: Option<Level>,
    /// Level of the rows: the lowest level of which they must have an id.
    pub row_level: Level,
    /// Dates that are queried, unless `ranges` has some.
    pub dates: WindowDates,
    /// Distinct ranges that are queried together; empty to send `dates`.
    pub ranges: Vec<DateSpan>,
    /// Dates that a row can have; empty if they are not known. Rows with other dates are withheld.
    pub expected: Vec<DateSpan>,
    /// Division of the dates into rows.
    pub increment: TimeIncrement,
    /// Number of rows beyond which a result cannot be right; `usize::MAX` if unknown.
    pub max_rows: usize,
    /// Kind of the query, which selects its columns.
    pub kind: QueryKind,
    /// Columns of both kinds of queries.
    pub columns: QueryColumns,
    /// Ids for a `campaign.id IN` filter; empty for no filter.
    pub campaigns: Vec<ObjectId>,
}

/// Division of the queried dates into rows (`time_increment`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeIncrement {
    /// One row for all dates.
    Whole,
    /// One row per day; days without activity have no row.
    Daily,
}

/// A node of the API that has insights.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetNode {
    /// An ad account, `act_<digits>`.
    AdAccount(AccountId),
    /// A campaign, or an ad if the configured id is an ad's.
    Object(ObjectId),
}

/// The kinds of queries of a poll.
///
/// Delivery and conversions can be separate requests, because it is not documented whether the action
/// type filter of the conversions query removes whole rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QueryKind {
    /// Messages, clicks and spend.
    Delivery,
    /// Actions, action values and return on ad spend.
    Conversions,
    /// The columns of both in one query, without a filter of action types: first those of delivery.
    Joined,
    /// Only the spend, of the delivery columns: the total of an ad account.
    Spend,
}

impl QueryKind {
    /// Whether the query has the delivery columns.
    pub fn has_delivery(self) -> bool {
        self != Self::Conversions
    }

    /// Whether the query has the lists of actions.
    pub fn has_actions(self) -> bool {
        matches!(self, Self::Conversions | Self::Joined)
    }
}

/// Columns of the rows of both kinds of queries.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryColumns {
    /// `extra_fields` of the config, which follow the [`InsightField`]s in the delivery query.
    pub extra: Arc<[ExtraFieldConfig]>,
    /// Action types of the conversions query.
    pub action_types: Arc<[String]>,
}

impl QueryColumns {
    /// Returns the columns that the config selects.
    pub fn of(insights: &InsightsConfig) -> Self {
        Self {
            extra: insights.extra_fields.as_slice().into(),
            action_types: insights.action_types.as_slice().into(),
        }
    }

    /// Returns name and kind of the delivery query's columns.
    pub fn delivery(&self) -> impl Iterator<Item = (&str, ValueKind)> {
        let built_in = InsightField::ALL.iter().map(|f| (f.field(), f.kind()));
        built_in.chain(self.extra.iter().map(|f| (f.field.as_str(), f.kind)))
    }

    /// Returns the number of columns of a kind of query.
    pub fn width(&self, kind: QueryKind) -> usize {
        match kind {
            QueryKind::Delivery | QueryKind::Spend => InsightField::ALL.len() + self.extra.len(),
            QueryKind::Conversions => ActionList::ALL.len() * self.action_types.len(),
            QueryKind::Joined => {
                self.width(QueryKind::Delivery) + self.width(QueryKind::Conversions)
            }
        }
    }
}

impl TargetNode {
    /// Returns the path segment of the node.
    pub fn path(&self) -> String {
        match self {
            Self::AdAccount(id) => id.to_string(),
            Self::Object(id) => id.to_string(),
        }
    }
}
