//! Parts of a result that could not be used, while the rest of it could.

use std::collections::BTreeMap;

/// Reason for which a row is dropped; the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowDefect {
    /// The row is of another ad account than the queried one.
    OtherAccount,
    /// The row is of a campaign that the query excludes.
    OtherCampaign,
    /// The row is not an object, or has no id or no date.
    Malformed,
}

impl RowDefect {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::OtherAccount, Self::OtherCampaign, Self::Malformed];

    /// Returns the label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherAccount => "other_account",
            Self::OtherCampaign => "other_campaign",
            Self::Malformed => "malformed",
        }
    }
}

/// Number of invalid parts of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidCount {
    /// Number of values or rows.
    pub count: u64,
    /// Id of the first row with one; `None` if it has no id.
    pub first_row: Option<Box<str>>,
}

/// Values and rows that were dropped from a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidParts {
    /// Values that are not possible numbers, by field.
    pub values: BTreeMap<Box<str>, InvalidCount>,
    /// Dropped rows, by reason.
    pub rows: BTreeMap<RowDefect, InvalidCount>,
}

impl InvalidParts {
    /// Counts an invalid value of a row.
    pub(super) fn add_value(&mut self, field: &str, row: Option<&str>) {
        let invalid = self.values.entry(field.into()).or_default();
        invalid.merge(InvalidCount::one(row));
    }

    /// Counts a dropped row.
    pub(super) fn add_row(&mut self, defect: RowDefect, row: Option<&str>) {
        let invalid = self.rows.entry(defect).or_default();
        invalid.merge(InvalidCount::one(row));
    }

    /// Adds the counts of another part of the result.
    pub fn merge(&mut self, other: Self) {
        for (field, invalid) in other.values {
            self.values.entry(field).or_default().merge(invalid);
        }
        for (defect, invalid) in other.rows {
            self.rows.entry(defect).or_default().merge(invalid);
        }
    }
}

impl InvalidCount {
    fn one(row: Option<&str>) -> Self {
        Self {
            count: 1,
            first_row: row.map(Box::from),
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first_row = self.first_row.take().or(other.first_row);
    }
}
