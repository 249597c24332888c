//! Daily queries for past days: how many days one query covers, and how many requests they cost.

use jiff::Span;
use jiff::civil::Date;

use super::query_split::{QueryDates, ROWS_PER_PAGE, filtered_calls, unfiltered_calls};
use super::{Query, QueryKind, Source, SourceKind, TimeIncrement};
use crate::model::{Inventory, Level, WindowDates};

/// Months for which the API keeps daily insights.
///
/// Source: Meta's reference of ad account insights.
pub const RETENTION_MONTHS: i32 = 37;

/// First day on which created message campaigns support dates. For campaigns created earlier the API
/// ignores the dates and returns the totals of their whole life.
///
/// Source: Meta's page on measuring marketing messages.
pub const FIRST_DATED_DAY: Date = jiff::civil::date(2026, 3, 1);

/// Maximum rows per daily query: bounds the memory of a result, and avoids the API error "reduce
/// the amount of data".
const MAX_ROWS_PER_QUERY: usize = 5_000;

/// Maximum days per daily query, regardless of the number of rows: the API takes about as long for
/// three months as the timeout of a typical web server.
const MAX_DAYS_PER_QUERY: usize = 90;

/// A range of consecutive days, both ends inclusive; never empty.
///
/// # Example
///
/// ```
/// use jiff::civil::date;
/// use marketing_messages_exporter::plan::DayRange;
///
/// let march = DayRange::new(date(2026, 3, 1), date(2026, 3, 31)).unwrap();
/// assert_eq!(march.count(), 31);
/// let (first, rest) = march.split(10);
/// assert_eq!(first.to_string(), "2026-03-01 to 2026-03-10");
/// assert_eq!(march.without([first]), [rest.unwrap()]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DayRange {
    since: Date,
    until: Date,
}

impl DayRange {
    /// Creates a range; returns `None` if `until` is before `since`.
    pub fn new(since: Date, until: Date) -> Option<Self> {
        (since <= until).then_some(Self { since, until })
    }

    /// Returns the first day.
    pub fn since(self) -> Date {
        self.since
    }

    /// Returns the last day.
    pub fn until(self) -> Date {
        self.until
    }

    /// Returns the number of days, at least 1.
    pub fn count(self) -> usize {
        let days = self
            .since
            .until(self.until)
            .map_or(0, |span| span.get_days());
        usize::try_from(days).unwrap_or(0) + 1
    }

    /// Whether the day is in the range.
    pub fn contains(self, day: Date) -> bool {
        self.since <= day && day <= self.until
    }

    /// Splits off the first `days` (at least one); the rest is `None` if no days are left.
    #[must_use]
    pub fn split(self, days: usize) -> (Self, Option<Self>) {
        let days = i64::try_from(days.max(1)).unwrap_or(i64::MAX);
        let span = Span::new().try_days(days).ok();
        let rest_since = span.and_then(|span| self.since.checked_add(span).ok());
        let rest = rest_since.and_then(|since| Self::new(since, self.until));
        let until = rest.map_or(self.until, |rest| {
            rest.since.yesterday().unwrap_or(self.until)
        });
        (Self { until, ..self }, rest)
    }

    /// Returns the days that are in none of `others`, which must be sorted by their first day.
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

/// `2026-03-01`, or `2026-03-01 to 2026-03-31`.
impl std::fmt::Display for DayRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.since == self.until {
            write!(f, "{}", self.since)
        } else {
            write!(f, "{} to {}", self.since, self.until)
        }
    }
}

impl Source {
    /// Returns the queries of one kind with one row per day, with the fewest requests; `None` as in
    /// [`Source::queries`].
    pub fn daily_queries(
        &self,
        kind: QueryKind,
        inventory: &Inventory,
        days: DayRange,
    ) -> Option<Vec<Query>> {
        let dates = QueryDates {
            dates: WindowDates::Range {
                since: days.since,
                until: days.until,
            },
            increment: TimeIncrement::Daily,
            rows_per_object: days.count(),
        };
        self.queries_for_dates(dates, kind, Some(inventory))
    }

    /// Returns the days that one query covers, 1 to 90. The caller may query fewer if the API
    /// reports that a result is too large.
    pub fn days_per_query(&self, inventory: &Inventory) -> usize {
        let rows = self.max_rows_per_day(inventory).max(1);
        (MAX_ROWS_PER_QUERY / rows).clamp(1, MAX_DAYS_PER_QUERY)
    }

    /// Returns the maximum number of exported rows per day.
    pub fn max_rows_per_day(&self, inventory: &Inventory) -> usize {
        inventory.entities.len()
    }

    /// Returns the maximum number of requests for the daily queries of one kind over `days`, if no
    /// page and no range of days has to be reduced.
    pub fn max_daily_calls(&self, inventory: &Inventory, days: usize) -> usize {
        if inventory.campaigns.is_empty() {
            return 0;
        }
        let days_per_query = self.days_per_query(inventory);
        let calls_per_query = |days: usize| match (&self.kind, self.level) {
            _ if days == 0 => 0,
            (_, Level::Account) => 1,
            (SourceKind::Campaign(_), _) => (inventory.entities.len() * days)
                .div_ceil(ROWS_PER_PAGE)
                .max(1),
            (SourceKind::AdAccount { .. }, _) => {
                filtered_calls(inventory.campaigns.len(), Some(inventory), days)
                    .min(unfiltered_calls(inventory, days))
            }
        };
        days / days_per_query * calls_per_query(days_per_query)
            + calls_per_query(days % days_per_query)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;

    use super::DayRange;

    fn range(since: &str, until: &str) -> DayRange {
        let day = |text: &str| text.parse::<Date>().unwrap();
        DayRange::new(day(since), day(until)).unwrap()
    }

    #[test]
    fn day_range_backwards_is_none() {
        let march = range("2026-03-01", "2026-03-31");
        assert_eq!(DayRange::new(march.until, march.since), None);
    }

    #[test]
    fn split_returns_first_days_and_rest() {
        let march = range("2026-03-01", "2026-03-31");
        assert_eq!(march.count(), 31);
        let (first, rest) = march.split(10);
        assert_eq!(first, range("2026-03-01", "2026-03-10"));
        assert_eq!(rest, Some(range("2026-03-11", "2026-03-31")));
    }

    #[test]
    fn split_of_all_days_has_no_rest() {
        let march = range("2026-03-01", "2026-03-31");
        assert_eq!(march.split(31), (march, None));
        assert_eq!(march.split(usize::MAX), (march, None));
        let day = range("2026-03-29", "2026-03-29");
        assert_eq!((day.count(), day.split(0)), (1, (day, None)));
    }

    #[test]
    fn without_returns_gaps_between_ranges() {
        let march = range("2026-03-01", "2026-03-31");
        assert_eq!(march.without([]), [march]);
        assert_eq!(march.without([march]), []);
        let others = [
            range("2026-02-01", "2026-03-02"),
            range("2026-03-05", "2026-03-09"),
            range("2026-03-08", "2026-03-10"),
            range("2026-03-31", "2026-04-02"),
        ];
        let gaps = [
            range("2026-03-03", "2026-03-04"),
            range("2026-03-11", "2026-03-30"),
        ];
        assert_eq!(march.without(others), gaps);
    }
}
