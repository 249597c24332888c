//! Which values of a window are exported: joins the results of both queries, row by row.
//!
//! Missing data is absent, not zero. A zero is exported only where the API reported no activity:
//!
//! | received | exported |
//! |---|---|
//! | a finite number | the number |
//! | anything else as a number | absent |
//! | a row without a field of the delivery query | absent |
//! | a row without an action type | `conversions` 0; for purchases also value 0, and ROAS 0 if spend > 0 |
//! | no row of a campaign that `zero_fill` selects | counts, conversions, spend 0; ratios, costs, ROAS absent |
//! | no row, and discovery has failed for long | absent |
//! | no row of a campaign that was found after the result | absent |
//! | mixed attribution settings without an action type | its conversion metrics absent, reported as withheld |
//! | conversions and delivery of different dates | those of the older dates absent |
//! | no valid result, or a withheld row | absent |

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::civil::Date;

use super::{RowSet, SourceState};
use crate::config::ZeroFill;
use crate::model::{
    ActionList, Dimensions, Entity, InsightField, Inventory, PURCHASE_ACTION_TYPE, Row, RowValue,
    ValueKind, WindowDates,
};
use crate::plan::QueryColumns;

/// One exported row: the rows of both queries with the same key, joined.
#[derive(Clone, Copy, Debug)]
pub struct ExportedRow<'a> {
    /// Ad account, campaign, ad set and ad of the row, down to the level of the source.
    pub dimensions: &'a Dimensions,
    /// ISO 4217 code; `None` if unknown, in which case monetary values are not exported.
    pub currency: Option<&'a str>,
    /// First and last day that the values cover; `None` if unknown.
    pub dates: Option<(Date, Date)>,
    /// Whether the ad sets of the campaign have different attribution settings, in which case the API omits actions.
    mixed_attribution: bool,
    columns: &'a QueryColumns,
    delivery: Presence<'a>,
    conversions: Presence<'a>,
}

/// What is known about one row from one query.
#[derive(Clone, Copy, Debug)]
pub enum Presence<'a> {
    /// The result has the row.
    Row(&'a Row),
    /// The result is complete and does not have the row.
    NoRow,
    /// The row was received and rejected.
    Withheld,
    /// The last result is missing, failed or expired.
    Unknown,
}

/// Returns the exported rows of one window, sorted by key.
pub fn exported_rows(state: &SourceState, window_idx: usize) -> ExportedRows<'_> {
    let window = state
        .windows
        .get(window_idx)
        .filter(|window| !window.duplicate);
    let delivery = window.and_then(|window| window.delivery.as_deref());
    let conversions = window.and_then(|window| window.conversions.as_deref());
    let (delivery, conversions) = of_same_dates(delivery, conversions);
    let dates = state
        .source
        .windows
        .get(window_idx)
        .map(|window| window.dates);
    let queried_dates = match dates {
        Some(WindowDates::Range { since, until }) => Some((since, until)),
        Some(WindowDates::Preset(_) | WindowDates::AllTime) | None => None,
    };
    let inventory = state.inventory.as_deref();
    // Without a result, or with an old list of campaigns, missing rows must not be exported as zeros.
    let results = [delivery, conversions].into_iter().flatten();
    let fetched_at = results.map(|row_set| row_set.fetched_at).max();
    let is_recent = |inventory: &&Inventory| {
        fetched_at.is_some_and(|at| at <= inventory.fetched_at + state.source.zero_fill_max_age)
    };
    let entities = inventory.filter(is_recent);
    ExportedRows {
        state,
        delivery,
        conversions,
        queried_dates,
        delivery_rows: delivery.map_or(&[], |row_set| row_set.rows.as_slice()),
        conversion_rows: conversions.map_or(&[], |row_set| row_set.rows.as_slice()),
        entities: entities.map_or(&[], |inventory| inventory.entities.as_slice()),
    }
}

/// Leaves out the result with the older dates if the two results cover different ones: a row never combines two days.
pub(super) fn of_same_dates<'a>(
    delivery: Option<&'a RowSet>,
    conversions: Option<&'a RowSet>,
) -> (Option<&'a RowSet>, Option<&'a RowSet>) {
    let dates = |row_set: Option<&RowSet>| row_set.and_then(|row_set| row_set.dates);
    match (dates(delivery), dates(conversions)) {
        (Some((_, last)), Some((_, other))) if last < other => (None, conversions),
        (Some(dates), Some(other)) if dates != other => (delivery, None),
        _ => (delivery, conversions),
    }
}

/// Iterator over the exported rows of one window; see [`exported_rows`].
///
/// A merge join of the delivery rows, the conversions rows and the entities of the inventory,
/// which are all sorted by key.
#[derive(Clone, Debug)]
pub struct ExportedRows<'a> {
    state: &'a SourceState,
    delivery: Option<&'a RowSet>,
    conversions: Option<&'a RowSet>,
    queried_dates: Option<(Date, Date)>,
    /// Remaining delivery rows.
    delivery_rows: &'a [Row],
    /// Remaining conversions rows.
    conversion_rows: &'a [Row],
    /// Remaining entities.
    entities: &'a [Entity],
}

impl<'a> Iterator for ExportedRows<'a> {
    type Item = ExportedRow<'a>;

    fn next(&mut self) -> Option<ExportedRow<'a>> {
        loop {
            self.entities = self.zero_filled();
            let next = [
                self.delivery_rows.first().map(|row| &row.dimensions),
                self.conversion_rows.first().map(|row| &row.dimensions),
                self.entities.first().map(|entity| &entity.dimensions),
            ];
            let next = next
                .into_iter()
                .flatten()
                .min_by(|a, b| compare_keys(a, b))?;
            let is_next = |dimensions: &Arc<Dimensions>| compare_keys(dimensions, next).is_eq();
            let delivery = take_first_if(&mut self.delivery_rows, |row| is_next(&row.dimensions));
            let conversions =
                take_first_if(&mut self.conversion_rows, |row| is_next(&row.dimensions));
            let entity = take_first_if(&mut self.entities, |entity| is_next(&entity.dimensions));
            // Entities belong to exported campaigns. Other rows need the lookup.
            let inventory = self.state.inventory.as_deref();
            if entity.is_none() && inventory.is_some_and(|inventory| !inventory.is_exported(next)) {
                continue;
            }
            let row = self.join(next.key(), delivery, conversions, entity);
            if row.is_some() {
                return row;
            }
        }
    }
}

/// Compares by key. Rows with the same key usually share their dimensions, which is faster to
/// check.
fn compare_keys(a: &Arc<Dimensions>, b: &Arc<Dimensions>) -> Ordering {
    if Arc::ptr_eq(a, b) {
        Ordering::Equal
    } else {
        a.key().cmp(b.key())
    }
}

/// Removes and returns the first element if it satisfies `predicate`.
fn take_first_if<'a, T>(slice: &mut &'a [T], predicate: impl Fn(&T) -> bool) -> Option<&'a T> {
    let (first, rest) = slice.split_first()?;
    predicate(first).then(|| {
        *slice = rest;
        first
    })
}

impl<'a> ExportedRows<'a> {
    /// Returns the remaining entities, from the first one on that is exported without a row.
    fn zero_filled(&self) -> &'a [Entity] {
        let all = self.state.source.zero_fill == ZeroFill::All;
        let first = self.entities.iter().position(|entity| all || entity.active);
        first.map_or(&[], |first| &self.entities[first..])
    }

    fn join(
        &self,
        key: &str,
        delivery: Option<&'a Row>,
        conversions: Option<&'a Row>,
        entity: Option<&'a Entity>,
    ) -> Option<ExportedRow<'a>> {
        let input = JoinInput {
            delivery: Presence::of(self.delivery, delivery, key).unless_unanswered(
                self.delivery,
                delivery.or(conversions),
                entity,
            ),
            conversions: Presence::of(self.conversions, conversions, key)
                .unless_unanswered(self.conversions, delivery.or(conversions), entity)
                .without_heavy_actions(self.conversions, delivery.or(conversions), entity),
            entity: entity.map(|entity| entity.dimensions.as_ref()),
            queried_dates: self.queried_dates,
        };
        input.join(&self.state.source.columns, self.state.inventory.as_deref())
    }
}

/// Both queries' rows of one key, before they are joined.
#[derive(Clone, Copy, Debug)]
pub struct JoinInput<'a> {
    /// Row of the delivery query.
    pub delivery: Presence<'a>,
    /// Row of the conversions query.
    pub conversions: Presence<'a>,
    /// Dimensions to export if neither query has a row; `None` to export nothing in that case.
    pub entity: Option<&'a Dimensions>,
    /// First and last day of the window if it is a fixed range; used if neither query has a row.
    pub queried_dates: Option<(Date, Date)>,
}

impl<'a> JoinInput<'a> {
    /// Joins the rows of both queries. Returns `None` if nothing is exported. The currency of
    /// rows without one is that of the ad account in `inventory`.
    pub fn join(
        self,
        columns: &'a QueryColumns,
        inventory: Option<&'a Inventory>,
    ) -> Option<ExportedRow<'a>> {
        let (delivery_row, conversions_row) = (self.delivery.row(), self.conversions.row());
        let row = delivery_row.or(conversions_row);
        let dimensions = row.map(|row| row.dimensions.as_ref()).or(self.entity)?;
        let mut rows = [delivery_row, conversions_row].into_iter().flatten();
        let mixed_attribution = rows.any(|row| row.mixed_attribution);
        let (delivery, conversions) = match (self.delivery, self.conversions) {
            (Presence::Unknown | Presence::Withheld, Presence::Unknown | Presence::Withheld) => {
                return None;
            }
            // The rows of both queries are one row. If only the conversions query has it, the
            // delivery values are missing from a row, which is not the same as no row.
            (Presence::NoRow, conversions @ Presence::Row(_)) => (Presence::Unknown, conversions),
            both => both,
        };
        Some(ExportedRow {
            dimensions,
            currency: dimensions
                .currency
                .as_deref()
                .or(inventory.and_then(|inventory| inventory.account.currency.as_deref())),
            dates: row.map(|row| (row.start, row.stop)).or(self.queried_dates),
            mixed_attribution,
            columns,
            delivery,
            conversions,
        })
    }
}

impl<'a> Presence<'a> {
    fn of(row_set: Option<&RowSet>, row: Option<&'a Row>, key: &str) -> Self {
        match (row_set, row) {
            (None, _) => Self::Unknown,
            (Some(_), Some(row)) => Self::Row(row),
            (Some(row_set), None) if row_set.withheld.contains(key) => Self::Withheld,
            (Some(_), None) => Self::NoRow,
        }
    }

    /// Returns [`Self::Withheld`] if the actions of the row's campaign cannot be retrieved.
    fn without_heavy_actions(
        self,
        row_set: Option<&RowSet>,
        row: Option<&Row>,
        entity: Option<&Entity>,
    ) -> Self {
        let Some(row_set) = row_set.filter(|row_set| !row_set.too_heavy.is_empty()) else {
            return self;
        };
        let is_heavy = campaign_id(row, entity).is_some_and(|id| row_set.too_heavy.contains(id));
        if is_heavy { Self::Withheld } else { self }
    }

    /// Returns [`Self::Unknown`] if the query did not answer for the row's campaign.
    fn unless_unanswered(
        self,
        row_set: Option<&RowSet>,
        row: Option<&Row>,
        entity: Option<&Entity>,
    ) -> Self {
        let Some(row_set) = row_set.filter(|row_set| !row_set.missing.is_empty()) else {
            return self;
        };
        let is_unknown = campaign_id(row, entity).is_some_and(|id| row_set.missing.is_unknown(id));
        if is_unknown { Self::Unknown } else { self }
    }

    fn row(self) -> Option<&'a Row> {
        match self {
            Self::Row(row) => Some(row),
            Self::NoRow | Self::Withheld | Self::Unknown => None,
        }
    }
}

/// Returns the id of the campaign of a row or an object.
fn campaign_id<'a>(row: Option<&'a Row>, entity: Option<&'a Entity>) -> Option<&'a str> {
    let dimensions = row
        .map(|row| &row.dimensions)
        .or(entity.map(|entity| &entity.dimensions))?;
    Some(dimensions.campaign.as_ref()?.id.as_str())
}

impl ExportedRow<'_> {
    /// Returns whether the API withholds a configured action type because of different attribution settings.
    pub fn has_withheld_actions(&self) -> bool {
        self.mixed_attribution
            && (0..self.columns.action_types.len()).any(|action_idx| {
                let value = self.presented_action(ActionList::Counts, action_idx);
                value == Some(RowValue::Missing)
            })
    }

    /// Returns a built-in value of the delivery query: a count, an amount in major units, or a
    /// ratio from 0 to 1.
    pub fn scalar(&self, field: InsightField) -> Option<f64> {
        // Without a row, counts and spend are 0; ratios and costs are unknown and stay absent.
        let zero_without_row = field.kind() == ValueKind::Count || field == InsightField::Spend;
        self.delivery_value(field.column(), zero_without_row)
    }

    /// Returns a value of the config's `extra_fields`, by the index of the entry.
    pub fn extra_field(&self, extra_idx: usize) -> Option<f64> {
        let kind = self.columns.extra.get(extra_idx)?.kind;
        let column = InsightField::ALL.len() + extra_idx;
        self.delivery_value(column, kind == ValueKind::Count)
    }

    fn delivery_value(&self, column: usize, zero_without_row: bool) -> Option<f64> {
        match self.delivery {
            Presence::Row(row) => present(row.values.get(column)),
            Presence::NoRow => zero_without_row.then_some(0.0),
            Presence::Withheld | Presence::Unknown => None,
        }
    }

    /// Returns the number of events of an action type, given as an index into the configured
    /// action types.
    pub fn conversions(&self, action_idx: usize) -> Option<f64> {
        match self.action_value(ActionList::Counts, action_idx)? {
            RowValue::Present(number) => Some(number),
            RowValue::Missing => Some(0.0),
            RowValue::Invalid => None,
        }
    }

    /// Returns the value of the events of an action type, in major units.
    pub fn conversion_value(&self, action_idx: usize) -> Option<f64> {
        match self.action_value(ActionList::Values, action_idx)? {
            RowValue::Present(number) => Some(number),
            RowValue::Missing if self.is_purchase(action_idx) => {
                self.conversions(action_idx).map(|_| 0.0)
            }
            RowValue::Missing | RowValue::Invalid => None,
        }
    }

    /// Returns the return on ad spend of an action type.
    ///
    /// The API omits it if nothing was purchased. If money was spent, 0 is returned in that case,
    /// so that an alert on a low return on ad spend fires when nothing is sold.
    pub fn website_purchase_roas(&self, action_idx: usize) -> Option<f64> {
        match self.action_value(ActionList::Returns, action_idx)? {
            RowValue::Present(number) => Some(number),
            RowValue::Missing if self.is_purchase(action_idx) => {
                let nothing_sold = self.conversion_value(action_idx) == Some(0.0);
                let spent = self
                    .scalar(InsightField::Spend)
                    .is_some_and(|spend| spend > 0.0);
                (nothing_sold && spent).then_some(0.0)
            }
            RowValue::Missing | RowValue::Invalid => None,
        }
    }

    /// Returns the value of an action type in one of the lists of the conversions query; `None`
    /// if it has no valid result or the API withholds it.
    fn action_value(&self, list: ActionList, action_idx: usize) -> Option<RowValue> {
        let value = self.presented_action(list, action_idx)?;
        // With mixed attribution, a missing list entry does not mean that nothing happened.
        let is_withheld = self.mixed_attribution && value == RowValue::Missing;
        (!is_withheld).then_some(value)
    }

    /// Returns the value of an action type as in the result, without the rule for mixed attribution.
    fn presented_action(&self, list: ActionList, action_idx: usize) -> Option<RowValue> {
        match self.conversions {
            Presence::Row(row) => {
                let column = list.column(action_idx, self.columns.action_types.len());
                Some(row.values.get(column))
            }
            Presence::NoRow => Some(RowValue::Missing),
            Presence::Withheld | Presence::Unknown => None,
        }
    }

    fn is_purchase(&self, action_idx: usize) -> bool {
        let action_type = self.columns.action_types.get(action_idx);
        action_type.is_some_and(|action_type| action_type == PURCHASE_ACTION_TYPE)
    }
}

fn present(value: RowValue) -> Option<f64> {
    match value {
        RowValue::Present(number) => Some(number),
        RowValue::Missing | RowValue::Invalid => None,
    }
}
