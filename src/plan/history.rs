//! A source's past, day by day: which stretches of days one question asks about, and what that
//! costs.

use jiff::Span;
use jiff::civil::Date;

use super::questions::{Asked, IDS_A_FILTER, PAGE_SIZE, filtered_calls};
use super::{Increment, Query, Question, Source, Subject};
use crate::listing::Listing;
use crate::row::{Dates, Level};

/// How many months back the API knows days at all. Source: Meta's reference of ad account insights.
pub const MONTHS_KEPT: i32 = 37;

/// Campaigns of messages that were made before this day know no days: the API answers for their
/// whole life instead. Source: Meta's page on measuring marketing messages.
pub const FIRST_DATED_DAY: Date = jiff::civil::date(2026, 3, 1);

/// Rows that one question may bring: what bounds the memory of an answer, and keeps the API from
/// being asked to reduce the amount of data.
const ROWS_A_QUESTION: usize = 5_000;

/// Days that one question may be about, however few rows that is: three months are computed in
/// about the time that a web server waits.
const DAYS_A_QUESTION: usize = 90;

/// Days in a row, both ends included. There is at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Days {
    since: Date,
    until: Date,
}

impl Days {
    /// `None` where `until` comes before `since`.
    pub fn new(since: Date, until: Date) -> Option<Self> {
        (since <= until).then_some(Self { since, until })
    }

    /// The first day.
    pub fn since(self) -> Date {
        self.since
    }

    /// The last day.
    pub fn until(self) -> Date {
        self.until
    }

    /// How many.
    pub fn count(self) -> usize {
        let gone = self
            .since
            .until(self.until)
            .map_or(0, |gone| gone.get_days());
        usize::try_from(gone).unwrap_or(0) + 1
    }

    /// Whether that day is one of them.
    pub fn has(self, day: Date) -> bool {
        self.since <= day && day <= self.until
    }

    /// The first `days` of them, and those that are left over.
    #[must_use]
    pub fn split(self, days: usize) -> (Self, Option<Self>) {
        let days = i64::try_from(days.max(1)).unwrap_or(i64::MAX);
        let gone = Span::new().try_days(days).ok();
        let next = gone.and_then(|gone| self.since.checked_add(gone).ok());
        let rest = next.and_then(|next| Self::new(next, self.until));
        let until = rest.map_or(self.until, |rest| {
            rest.since.yesterday().unwrap_or(self.until)
        });
        (Self { until, ..self }, rest)
    }

    /// Those of them that are in none of the others, which are in order of their first days.
    pub fn without(self, others: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut gaps = Vec::new();
        let mut rest = Some(self);
        for other in others {
            let Some(left) = rest else { break };
            if other.until < left.since || left.until < other.since {
                continue;
            }
            let before = other.since.yesterday().ok();
            gaps.extend(before.and_then(|until| Self::new(left.since, until)));
            let after = other.until.tomorrow().ok();
            rest = after.and_then(|since| Self::new(since, left.until));
        }
        gaps.extend(rest);
        gaps
    }
}

/// As people read it.
impl std::fmt::Display for Days {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.since == self.until {
            true => write!(f, "{}", self.since),
            false => write!(f, "{} to {}", self.since, self.until),
        }
    }
}

impl Source {
    /// The queries that bring one question's rows for each of those days, with the fewest calls;
    /// `None` as with [`Source::queries`].
    pub fn daily(&self, question: Question, listing: &Listing, days: Days) -> Option<Vec<Query>> {
        let asked = Asked {
            dates: Dates::Range {
                since: days.since,
                until: days.until,
            },
            increment: Increment::Daily,
            days: days.count(),
        };
        self.ask(asked, question, Some(listing))
    }

    /// How many days one question asks about at first.
    pub fn days_a_question(&self, listing: &Listing) -> usize {
        let rows = self.rows_a_day(listing).max(1);
        (ROWS_A_QUESTION / rows).clamp(1, DAYS_A_QUESTION)
    }

    /// The rows that a day has at most.
    pub fn rows_a_day(&self, listing: &Listing) -> usize {
        listing.members.len()
    }

    /// The calls that so many days of one question cost at most, where no page and no stretch of
    /// days turns out to be too large.
    pub fn calls(&self, listing: &Listing, days: usize) -> usize {
        if listing.campaigns.is_empty() {
            return 0;
        }
        let a_question = self.days_a_question(listing);
        let of = |days: usize| match (&self.subject, self.level) {
            _ if days == 0 => 0,
            (_, Level::Account) => 1,
            (Subject::Campaign(_), _) => (listing.members.len() * days).div_ceil(PAGE_SIZE).max(1),
            (Subject::AdAccount { .. }, _) => {
                let filtered = filtered_calls(listing.campaigns.len(), Some(listing), days);
                let chunks = listing.campaigns.len().div_ceil(IDS_A_FILTER);
                let unfiltered = listing.rows.saturating_mul(days).div_ceil(PAGE_SIZE).max(1);
                filtered.max(chunks).min(unfiltered)
            }
        };
        days / a_question * of(a_question) + of(days % a_question)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;

    use super::Days;

    fn days(since: &str, until: &str) -> Days {
        let day = |text: &str| text.parse::<Date>().unwrap();
        Days::new(day(since), day(until)).unwrap()
    }

    #[test]
    fn days_are_counted_and_split() {
        let march = days("2026-03-01", "2026-03-31");
        assert_eq!(march.count(), 31);
        let (first, rest) = march.split(10);
        assert_eq!(first, days("2026-03-01", "2026-03-10"));
        assert_eq!(rest, Some(days("2026-03-11", "2026-03-31")));
        assert_eq!(march.split(31), (march, None));
        assert_eq!(march.split(usize::MAX), (march, None));
        let day = days("2026-03-29", "2026-03-29");
        assert_eq!((day.count(), day.split(0)), (1, (day, None)));
        assert_eq!(Days::new(march.until, march.since), None);
    }

    #[test]
    fn what_is_left_is_neither_too_much_nor_too_little() {
        let march = days("2026-03-01", "2026-03-31");
        assert_eq!(march.without([]), [march]);
        assert_eq!(march.without([march]), []);
        let known = [
            days("2026-02-01", "2026-03-02"),
            days("2026-03-05", "2026-03-09"),
            days("2026-03-08", "2026-03-10"),
            days("2026-03-31", "2026-04-02"),
        ];
        let left = [
            days("2026-03-03", "2026-03-04"),
            days("2026-03-11", "2026-03-30"),
        ];
        assert_eq!(march.without(known), left);
    }
}
