//! What is missing is told apart, never guessed: the two answers of a window joined into the
//! numbers that may be shown.
//!
//! The law, for one row (the two queries' rows of one key, joined):
//! a number that the API gave is shown; one that it gave in an unusable form is absent; a scalar
//! that it left out is absent; an action type that it left out happened 0 times; a row that it
//! left out altogether means zero counts and zero spend, and no ratios, since nothing was divided.

use jiff::civil::Date;

use super::{Answer, Known};
use crate::config::ZeroFill;
use crate::listing::Member;
use crate::plan::Columns;
use crate::row::{ActionList, Dates, Figure, Figures, Identity, Kind, PURCHASE, Row, Scalar};

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
enum Said<'a> {
    /// It gave a row.
    Row(&'a Figures),
    /// It was answered, without such a row.
    NoRow,
    /// It was not answered, or not believably.
    Unknown,
}

/// The rows of one window that may be shown, by key.
pub fn shown(known: &Known, window: usize) -> Vec<Shown<'_>> {
    let (Some(state), Some(planned)) =
        (known.windows.get(window), known.source.windows.get(window))
    else {
        return Vec::new();
    };
    if known.gives_way {
        return Vec::new();
    }
    let delivery = state.delivery.as_deref();
    let conversions = state.conversions.as_deref();
    let asked = match planned.dates {
        Dates::Range { since, until } => Some((since, until)),
        Dates::Preset(_) | Dates::Unsent => None,
    };
    let join = Join {
        known,
        delivery,
        conversions,
        asked,
    };
    join.rows()
}

/// The two answers on their way to being one.
struct Join<'a> {
    known: &'a Known,
    delivery: Option<&'a Answer>,
    conversions: Option<&'a Answer>,
    asked: Option<(Date, Date)>,
}

impl<'a> Join<'a> {
    /// Walks both answers and the known members side by side: all three are sorted by key.
    fn rows(&self) -> Vec<Shown<'a>> {
        if self.delivery.is_none() && self.conversions.is_none() {
            return Vec::new();
        }
        let mut delivered = self.delivery.map_or(&[][..], |a| &a.rows).iter().peekable();
        let mut converted = self
            .conversions
            .map_or(&[][..], |a| &a.rows)
            .iter()
            .peekable();
        let mut members = self.zero_filled().peekable();
        let mut rows = Vec::with_capacity(delivered.len().max(converted.len()));
        loop {
            let keys = [
                delivered.peek().map(|row| row.identity.key()),
                converted.peek().map(|row| row.identity.key()),
                members.peek().map(|member| member.identity.key()),
            ];
            let Some(key) = keys.into_iter().flatten().min() else {
                return rows;
            };
            let delivery = delivered.next_if(|row| row.identity.key() == key);
            let conversions = converted.next_if(|row| row.identity.key() == key);
            let member = members.next_if(|member| member.identity.key() == key);
            rows.extend(self.row(key, delivery, conversions, member));
        }
    }

    /// The members that show zeros where the API has no row.
    fn zero_filled(&self) -> impl Iterator<Item = &'a Member> + use<'a> {
        let all = self.known.source.zero_fill == ZeroFill::All;
        let members = self
            .known
            .listing
            .as_deref()
            .map_or(&[][..], |l| &l.members);
        members.iter().filter(move |member| all || member.active)
    }

    fn row(
        &self,
        key: &str,
        delivery: Option<&'a Row>,
        conversions: Option<&'a Row>,
        member: Option<&'a Member>,
    ) -> Option<Shown<'a>> {
        let row = delivery.or(conversions);
        let identity = row
            .map(|row| row.identity.as_ref())
            .or(member.map(|m| m.identity.as_ref()))?;
        let listing = self.known.listing.as_deref();
        let gone = |id: &str| listing.is_some_and(|listing| listing.campaign(id).is_none());
        if identity
            .campaign
            .as_ref()
            .is_some_and(|c| gone(c.id.as_str()))
        {
            return None;
        }
        let mixed = [delivery, conversions]
            .into_iter()
            .flatten()
            .any(|row| row.mixed_attribution);
        let has_actions = conversions.is_some_and(|row| row.has_actions);
        let said = (
            Said::by(self.delivery, delivery, key),
            Said::by(self.conversions, conversions, key),
        );
        let (delivery, conversions) = match said {
            // Nothing is said of a row that nobody may believe, not even which days it is about.
            (Said::Unknown, Said::Unknown) => return None,
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
            conversions_withheld: self.conversions.is_some() && mixed && !has_actions,
            columns: &self.known.source.columns,
            delivery,
            conversions,
        })
    }
}

impl<'a> Said<'a> {
    fn by(answer: Option<&Answer>, row: Option<&'a Row>, key: &str) -> Self {
        match (answer, row) {
            (None, _) => Self::Unknown,
            (Some(_), Some(row)) => Self::Row(&row.figures),
            (Some(answer), None) if answer.withheld.contains(key) => Self::Unknown,
            (Some(_), None) => Self::NoRow,
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
            Said::Row(figures) => given(figures.get(column)),
            Said::NoRow => zero_without_row.then_some(0.0),
            Said::Unknown => None,
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
            Said::Row(figures) => {
                let column = list.column(action_type, self.columns.action_types.len());
                Some(figures.get(column))
            }
            Said::NoRow => Some(Figure::Missing),
            Said::Unknown => None,
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
