//! What is missing is told apart, never guessed: the two answers of a window joined into the
//! numbers that may be shown.
//!
//! The law, for one row (the two queries' rows of one key, joined):
//! a number that the API gave is shown; one that it gave in an unusable form is absent; a scalar
//! that it left out is absent; an action type that it left out happened 0 times; a row that it
//! left out altogether means zero counts and zero spend, and no ratios, since nothing was divided.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::civil::Date;

use super::{Answer, Known};
use crate::config::ZeroFill;
use crate::listing::{Listing, Member};
use crate::plan::Columns;
use crate::row::{ActionList, Dates, Figure, Identity, Kind, PURCHASE, Row, Scalar};

/// One row as it may be shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// What it is about.
    pub identity: &'a Identity,
    /// ISO 4217 code; without it no money is shown.
    pub currency: Option<&'a str>,
    /// The first and last day that its numbers cover, where that is known.
    pub dates: Option<(Date, Date)>,
    /// Whether Meta keeps the conversions back, since attribution settings are mixed.
    pub conversions_withheld: bool,
    columns: &'a Columns,
    delivery: Said<'a>,
    conversions: Said<'a>,
}

/// What one query said of one row.
#[derive(Clone, Copy, Debug)]
pub enum Said<'a> {
    /// It gave a row.
    Row(&'a Row),
    /// It was answered, without such a row.
    NoRow,
    /// It was answered with a row that nobody may believe.
    Withheld,
    /// It was not answered.
    Unknown,
}

/// The rows of one window that may be shown, by key.
pub fn shown(known: &Known, window: usize) -> Rows<'_> {
    let state = known.windows.get(window).filter(|_| !known.gives_way);
    let delivery = state.and_then(|state| state.delivery.as_deref());
    let conversions = state.and_then(|state| state.conversions.as_deref());
    let asked = match known.source.windows.get(window).map(|window| window.dates) {
        Some(Dates::Range { since, until }) => Some((since, until)),
        Some(Dates::Preset(_) | Dates::Unsent) | None => None,
    };
    let listing = known.listing.as_deref();
    // Who never answered did not say that there is nothing.
    let members = listing.filter(|_| delivery.is_some() || conversions.is_some());
    Rows {
        known,
        delivery,
        conversions,
        asked,
        delivered: delivery.map_or(&[], |answer| answer.rows.as_slice()),
        converted: conversions.map_or(&[], |answer| answer.rows.as_slice()),
        members: members.map_or(&[], |listing| listing.members.as_slice()),
    }
}

/// The two answers on their way to being one.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    known: &'a Known,
    delivery: Option<&'a Answer>,
    conversions: Option<&'a Answer>,
    asked: Option<(Date, Date)>,
    delivered: &'a [Row],
    converted: &'a [Row],
    members: &'a [Member],
}

/// Walks both answers and the known members side by side: all three are sorted by key.
impl<'a> Iterator for Rows<'a> {
    type Item = Shown<'a>;

    fn next(&mut self) -> Option<Shown<'a>> {
        loop {
            self.members = self.zero_filled();
            let next = [
                self.delivered.first().map(|row| &row.identity),
                self.converted.first().map(|row| &row.identity),
                self.members.first().map(|member| &member.identity),
            ];
            let next = next.into_iter().flatten().min_by(|a, b| order(a, b))?;
            let is_next = |identity: &Arc<Identity>| order(identity, next).is_eq();
            let delivery = take(&mut self.delivered, |row| is_next(&row.identity));
            let conversions = take(&mut self.converted, |row| is_next(&row.identity));
            let member = take(&mut self.members, |member| is_next(&member.identity));
            // Every member's campaign is exported; of any other row that must be looked up.
            let listing = self.known.listing.as_deref();
            if member.is_none() && listing.is_some_and(|listing| !listing.exports(next)) {
                continue;
            }
            let row = self.row(next.key(), delivery, conversions, member);
            if row.is_some() {
                return row;
            }
        }
    }
}

/// The order of rows. Nearly all that are of one key share their identity.
fn order(a: &Arc<Identity>, b: &Arc<Identity>) -> Ordering {
    match Arc::ptr_eq(a, b) {
        true => Ordering::Equal,
        false => a.key().cmp(b.key()),
    }
}

/// The first element, if it is such a one.
fn take<'a, T>(rest: &mut &'a [T], such: impl Fn(&T) -> bool) -> Option<&'a T> {
    let (first, others) = rest.split_first()?;
    such(first).then(|| {
        *rest = others;
        first
    })
}

impl<'a> Rows<'a> {
    /// From here on, the members that show zeros where the API has no row.
    fn zero_filled(&self) -> &'a [Member] {
        let all = self.known.source.zero_fill == ZeroFill::All;
        let first = self.members.iter().position(|m| all || m.active);
        first.map_or(&[], |first| &self.members[first..])
    }

    fn row(
        &self,
        key: &str,
        delivery: Option<&'a Row>,
        conversions: Option<&'a Row>,
        member: Option<&'a Member>,
    ) -> Option<Shown<'a>> {
        let told = Told {
            delivery: Said::by(self.delivery, delivery, key),
            conversions: Said::by(self.conversions, conversions, key),
            member: member.map(|member| member.identity.as_ref()),
            asked: self.asked,
        };
        told.join(&self.known.source.columns, self.known.listing.as_deref())
    }
}

/// Everything that was heard of one row.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// By the delivery query.
    pub delivery: Said<'a>,
    /// By the conversions query.
    pub conversions: Said<'a>,
    /// Whom it is about, where it is known without a row.
    pub member: Option<&'a Identity>,
    /// The days that were asked about, where those are fixed.
    pub asked: Option<(Date, Date)>,
}

impl<'a> Told<'a> {
    /// The two queries' rows, of what the listing exports, as one; `None` where nothing may be shown.
    pub fn join(self, columns: &'a Columns, listing: Option<&'a Listing>) -> Option<Shown<'a>> {
        let (delivered, converted) = (self.delivery.row(), self.conversions.row());
        let row = delivered.or(converted);
        let identity = row.map(|row| row.identity.as_ref()).or(self.member)?;
        let mut rows = [delivered, converted].into_iter().flatten();
        let mixed = rows.any(|row| row.mixed_attribution);
        let has_actions = converted.is_some_and(|row| row.has_actions);
        let answered = !matches!(self.conversions, Said::Unknown);
        let (delivery, conversions) = match (self.delivery, self.conversions) {
            // Nothing is said of a row that nobody may believe, not even which days it is about.
            (Said::Unknown | Said::Withheld, Said::Unknown | Said::Withheld) => return None,
            // The two queries' rows are one: what this one leaves out is left out, and not 0.
            (Said::NoRow, converted @ Said::Row(_)) => (Said::Unknown, converted),
            said => said,
        };
        Some(Shown {
            identity,
            currency: identity
                .currency
                .as_deref()
                .or(listing.and_then(|l| l.account.currency.as_deref())),
            dates: row.map(|row| (row.start, row.stop)).or(self.asked),
            conversions_withheld: answered && mixed && !has_actions,
            columns,
            delivery,
            conversions,
        })
    }
}

impl<'a> Said<'a> {
    fn by(answer: Option<&Answer>, row: Option<&'a Row>, key: &str) -> Self {
        match (answer, row) {
            (None, _) => Self::Unknown,
            (Some(_), Some(row)) => Self::Row(row),
            (Some(answer), None) if answer.withheld.contains(key) => Self::Withheld,
            (Some(_), None) => Self::NoRow,
        }
    }

    fn row(self) -> Option<&'a Row> {
        match self {
            Self::Row(row) => Some(row),
            Self::NoRow | Self::Withheld | Self::Unknown => None,
        }
    }
}

impl Shown<'_> {
    /// One of the documented numbers of the delivery query, in the page's units.
    pub fn scalar(&self, scalar: Scalar) -> Option<f64> {
        // Nothing delivered is nothing spent; but nothing is known of what a message would cost.
        let zero = scalar.kind() == Kind::Count || scalar == Scalar::Spend;
        self.delivered(scalar.column(), zero)
    }

    /// One of the config's own fields, by its place among them.
    pub fn extra(&self, place: usize) -> Option<f64> {
        let kind = self.columns.extra.get(place)?.kind;
        self.delivered(Scalar::ALL.len() + place, kind == Kind::Count)
    }

    fn delivered(&self, column: usize, zero_without_row: bool) -> Option<f64> {
        match self.delivery {
            Said::Row(row) => given(row.figures.get(column)),
            Said::NoRow => zero_without_row.then_some(0.0),
            Said::Withheld | Said::Unknown => None,
        }
    }

    /// How often an action type happened, by its place among the configured ones.
    pub fn conversions(&self, action_type: usize) -> Option<f64> {
        match self.acted(ActionList::Counts, action_type)? {
            Figure::Given(number) => Some(number),
            Figure::Missing => Some(0.0),
            Figure::Rejected => None,
        }
    }

    /// How much money an action type brought.
    pub fn conversion_value(&self, action_type: usize) -> Option<f64> {
        match self.acted(ActionList::Values, action_type)? {
            Figure::Given(number) => Some(number),
            Figure::Missing if self.is_purchase(action_type) => {
                self.conversions(action_type).map(|_| 0.0)
            }
            Figure::Missing | Figure::Rejected => None,
        }
    }

    /// Money brought for money spent. Where money was spent and no purchase brought any, it is 0
    /// though Meta leaves it out: an alert on low returns must fire when nothing sells.
    pub fn website_purchase_roas(&self, action_type: usize) -> Option<f64> {
        match self.acted(ActionList::Returns, action_type)? {
            Figure::Given(number) => Some(number),
            Figure::Missing if self.is_purchase(action_type) => {
                let nothing_sold = self.conversion_value(action_type) == Some(0.0);
                let spent = self.scalar(Scalar::Spend).is_some_and(|spend| spend > 0.0);
                (nothing_sold && spent).then_some(0.0)
            }
            Figure::Missing | Figure::Rejected => None,
        }
    }

    /// What the conversions query said of one place in one list; `None` where nothing can be said.
    fn acted(&self, list: ActionList, action_type: usize) -> Option<Figure> {
        if self.conversions_withheld {
            return None;
        }
        match self.conversions {
            Said::Row(row) => {
                let column = list.column(action_type, self.columns.action_types.len());
                Some(row.figures.get(column))
            }
            Said::NoRow => Some(Figure::Missing),
            Said::Withheld | Said::Unknown => None,
        }
    }

    fn is_purchase(&self, action_type: usize) -> bool {
        self.columns
            .action_types
            .get(action_type)
            .is_some_and(|name| name == PURCHASE)
    }
}

fn given(figure: Figure) -> Option<f64> {
    match figure {
        Figure::Given(number) => Some(number),
        Figure::Missing | Figure::Rejected => None,
    }
}
