//! A row as it is stored: without the names that its inventory contains.

use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::list_change::Keyed;
use crate::model::{Dimensions, Inventory, Row, RowValues};

/// A row of a row set.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredRow {
    object: RowObject,
    start: StoredDate,
    stop: StoredDate,
    mixed_attribution: bool,
    values: RowValues,
}

/// Object that the values of a row belong to.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum RowObject {
    /// Key of an object with the dimensions of the inventory.
    Listed(Box<str>),
    /// Dimensions that differ from those of the inventory.
    Other(Arc<Dimensions>),
}

/// Year, month and day.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct StoredDate(i16, i8, i8);

impl From<Date> for StoredDate {
    fn from(date: Date) -> Self {
        Self(date.year(), date.month(), date.day())
    }
}

impl StoredDate {
    fn to_date(self) -> Option<Date> {
        Date::new(self.0, self.1, self.2).ok()
    }
}

impl StoredRow {
    /// Returns the stored form of a row of a source with this inventory.
    pub(super) fn new(row: &Row, inventory: Option<&Inventory>) -> Self {
        // Every field is listed, so that a new one cannot be forgotten.
        let Row {
            dimensions,
            start,
            stop,
            mixed_attribution,
            values,
        } = row;
        let is_listed =
            inventory.is_some_and(|inventory| inventory.shared_dimensions(dimensions).is_some());
        Self {
            object: if is_listed {
                RowObject::Listed(dimensions.key().into())
            } else {
                RowObject::Other(Arc::clone(dimensions))
            },
            start: (*start).into(),
            stop: (*stop).into(),
            mixed_attribution: *mixed_attribution,
            values: values.clone(),
        }
    }

    /// Returns the row; `None` if the inventory does not contain its object, or a date is invalid.
    pub(super) fn to_row(&self, inventory: Option<&Inventory>) -> Option<Row> {
        let dimensions = match &self.object {
            RowObject::Listed(key) => inventory?.dimensions(key)?,
            RowObject::Other(dimensions) => Arc::clone(dimensions),
        };
        Some(Row {
            dimensions,
            start: self.start.to_date()?,
            stop: self.stop.to_date()?,
            mixed_attribution: self.mixed_attribution,
            values: self.values.clone(),
        })
    }
}

impl Keyed for StoredRow {
    fn key(&self) -> &str {
        match &self.object {
            RowObject::Listed(key) => key,
            RowObject::Other(dimensions) => dimensions.key(),
        }
    }
}
