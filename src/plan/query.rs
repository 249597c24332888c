//! One question to the API: of whom, about what, in which columns.

use std::sync::Arc;

use crate::config::ExtraField;
use crate::row::{AccountId, Dates, Kind, Level, ObjectId, Scalar};

/// One question to the API. Its answer may take several pages.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Whose insights.
    pub node: Node,
    /// How the rows are divided; not sent where the node decides it.
    pub level: Option<Level>,
    /// The level that the rows must have the ids of.
    pub rows: Level,
    /// Which days.
    pub dates: Dates,
    /// Whether each row is of all of them.
    pub increment: Increment,
    /// Which numbers.
    pub question: Question,
    /// What those numbers are.
    pub columns: Columns,
    /// Only these campaigns; empty: no such filter.
    pub campaigns: Vec<ObjectId>,
}

/// How an answer divides the days that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Increment {
    /// Not at all: one row for all of them.
    Whole,
    /// One row a day; days without anything to tell have none.
    Daily,
}

/// The node whose insights are asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// `act_<digits>`
    AdAccount(AccountId),
    /// A campaign, or an ad that somebody took for one.
    Object(ObjectId),
}

/// The two questions of every poll. They stay apart since it is not known whether the filter of
/// the second one can drop whole rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// Messages, clicks, money spent.
    Delivery,
    /// Actions, their values, return on ad spend.
    Conversions,
}

/// The columns that the two queries ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    /// The config's own fields, which follow the [`Scalar`]s in the delivery query.
    pub extra: Arc<[ExtraField]>,
    /// The action types of the conversions query.
    pub action_types: Arc<[String]>,
}

impl Columns {
    /// The delivery query's columns: field and kind.
    pub fn delivery(&self) -> impl Iterator<Item = (&str, Kind)> {
        let documented = Scalar::ALL.iter().map(|s| (s.field(), s.kind()));
        documented.chain(self.extra.iter().map(|e| (e.field.as_str(), e.kind)))
    }

    /// How many columns the rows of that question have.
    pub fn width(&self, question: Question) -> usize {
        match question {
            Question::Delivery => Scalar::ALL.len() + self.extra.len(),
            Question::Conversions => 3 * self.action_types.len(),
        }
    }
}

impl Node {
    /// The path segment that names it.
    pub fn path(&self) -> String {
        match self {
            Self::AdAccount(id) => id.to_string(),
            Self::Object(id) => id.to_string(),
        }
    }
}
