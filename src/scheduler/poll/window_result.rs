//! Results of windows: assigns the rows of a group to its windows.

use super::Poll;
use super::partial_result::GroupRows;
use crate::model::{Row, RowValue, RowValues, WindowDates};
use crate::plan::{DateSpan, QueryKind};
use crate::scheduler::query_plan::{GroupWindow, WindowGroup};
use crate::snapshot::{PollResult, QueryResult};

impl Poll<'_> {
    /// Assigns the rows of a query to the windows of its group.
    pub(super) fn store(&mut self, group: &WindowGroup, kind: QueryKind, fetched: GroupRows) {
        let delivery_width = self.source.columns.width(QueryKind::Delivery);
        for window in &group.windows {
            let Some(result) = self.results.get_mut(&window.window_idx) else {
                continue;
            };
            let mut withheld = fetched.withheld.clone();
            let mut other_dates = fetched.other_dates.clone();
            let mut rows = Vec::new();
            for row in &fetched.rows {
                let dates = (row.start, row.stop);
                if window.is_one_day && row.start != row.stop {
                    withheld.insert(row.dimensions.key().into());
                    other_dates.insert(row.dimensions.key().into());
                } else if window.accepted.is_empty() || window.accepted.contains(&dates) {
                    rows.push(row.clone());
                }
            }
            // A campaign that ignores dates can have the dates of one of the windows by chance.
            for row in &rows {
                withheld.remove(row.dimensions.key());
                other_dates.remove(row.dimensions.key());
            }
            let query_result = |rows: Vec<Row>| QueryResult {
                dates: window_dates(group, window, &rows),
                rows: Some(rows),
                fetched_at: fetched.fetched_at,
                withheld: withheld.clone(),
                too_heavy: fetched.too_heavy.clone(),
                other_dates: other_dates.clone(),
                unanswered: fetched.unanswered.clone(),
                answered: fetched.answered.clone(),
                error: None,
            };
            match kind {
                QueryKind::Delivery | QueryKind::Spend => result.delivery = query_result(rows),
                QueryKind::Conversions => result.conversions = Some(query_result(rows)),
                QueryKind::Joined => {
                    let (delivery, conversions) = rows
                        .into_iter()
                        .map(|row| split_row(row, delivery_width))
                        .unzip();
                    result.delivery = query_result(delivery);
                    result.conversions = Some(query_result(conversions));
                }
            }
        }
    }

    /// Records the final error for the queries that were not sent.
    pub(super) fn fail_unanswered(&mut self) {
        let Some(error) = &self.final_error else {
            return;
        };
        for result in self.results.values_mut() {
            let conversions_missing = self.source.conversions && result.conversions.is_none();
            if is_open(result) {
                result.delivery = QueryResult::failed(error.error.clone());
            } else if conversions_missing && result.delivery.error.is_none() {
                result.conversions = Some(QueryResult::failed(error.error.clone()));
            }
        }
    }
}

/// Returns whether the delivery query of a window has no result yet.
pub(super) fn is_open(result: &PollResult) -> bool {
    result.delivery.rows.is_none() && result.delivery.error.is_none()
}

/// Returns whether the rows of a window that is requested by preset cover different dates.
pub(super) fn has_mixed_dates(group: &WindowGroup, window: &GroupWindow, rows: &[Row]) -> bool {
    let is_checked = group.ranges.is_empty()
        && matches!(group.dates, WindowDates::Preset(_))
        && (window.is_one_day || !window.accepted.is_empty());
    let mut dates = rows
        .iter()
        .filter(|row| !window.is_one_day || row.start == row.stop)
        .map(|row| (row.start, row.stop));
    let first = dates.next();
    is_checked && dates.any(|dates| Some(dates) != first)
}

/// Returns the dates that a result of a window covers; `None` if they are not known.
fn window_dates(group: &WindowGroup, window: &GroupWindow, rows: &[Row]) -> Option<DateSpan> {
    if !group.ranges.is_empty() || matches!(group.dates, WindowDates::Range { .. }) {
        return window.accepted.first().copied();
    }
    let mut dates = rows.iter().map(|row| (row.start, row.stop));
    match dates.next() {
        Some(first) => dates.all(|dates| dates == first).then_some(first),
        None => window.accepted.first().copied(),
    }
}

/// Splits a row of a joined query into those of the delivery and of the conversions query.
fn split_row(row: Row, delivery_width: usize) -> (Row, Row) {
    let values: Vec<RowValue> = row.values.iter().collect();
    let (delivery, conversions) = values.split_at(delivery_width.min(values.len()));
    let part = |values: &[RowValue]| Row {
        values: RowValues::pack(values),
        ..row.clone()
    };
    (part(delivery), part(conversions))
}
