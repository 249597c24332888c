//! Converts the rows in the journal to history. Each day is joined by the same rules as the rows of the metrics page;
//! sources are written one after another, so that memory does not grow with their number.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::ZeroFill;
use crate::metrics::{DayBounds, HistoryLabels, RowHistory, write_history};
use crate::model::{Dimensions, Inventory, Row};
use crate::plan::{DayRange, QueryKind, Source};
use crate::snapshot::{JoinInput, Presence};
use crate::state::{Journal, KeyRows, StoreError};

/// A source and the days of its history.
pub(super) struct SourceHistory {
    /// Index of the source in the plan and in the journal.
    pub(super) source_idx: usize,
    pub(super) source: Arc<Source>,
    /// Requested days that have ended.
    pub(super) days: DayRange,
}

/// Reason why the history was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// A signal was received.
    #[error("interrupted")]
    Interrupted,
    /// The journal cannot be read.
    #[error("journal: {0}")]
    Journal(#[from] StoreError),
    /// The reader of standard output does not read to the end (`| head`).
    #[error("closed before the end of the history")]
    ClosedPipe,
    /// The output cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes the history of the sources; returns the number of samples.
pub(super) fn write(
    journal: &Journal,
    histories: &[SourceHistory],
    labels: &HistoryLabels<'_>,
    out: &mut impl Write,
    cancelled: &AtomicBool,
) -> Result<u64, WriteError> {
    write_history(
        labels,
        |visit| {
            for history in histories {
                let Some(inventory) = journal.inventory(history.source_idx)? else {
                    continue;
                };
                let Some(builder) = HistoryBuilder::new(journal, history, &inventory) else {
                    continue;
                };
                for key_rows in journal.rows(history.source_idx)? {
                    let key_rows = key_rows?;
                    if cancelled.load(Ordering::Relaxed) {
                        return Err(WriteError::Interrupted);
                    }
                    if let Some(row_history) = builder.row_history(&key_rows) {
                        visit(&row_history)?;
                    }
                }
            }
            Ok(())
        },
        out,
    )
}

/// Builds the history of each row of a source.
struct HistoryBuilder<'a> {
    history: &'a SourceHistory,
    inventory: &'a Inventory,
    /// Start and end of each day in the ad account's time zone.
    day_bounds: HashMap<Date, DayBounds>,
    /// Days with a successful query: of the delivery query, and of the conversions query.
    covered_days: [Vec<DayRange>; 2],
    /// Keys of objects for which the API returns no daily values, with query and days.
    withheld: Vec<(QueryKind, DayRange, &'a str)>,
}

impl<'a> HistoryBuilder<'a> {
    /// Returns `None` if the time zone of the ad account is unknown.
    fn new(
        journal: &'a Journal,
        history: &'a SourceHistory,
        inventory: &'a Inventory,
    ) -> Option<Self> {
        let zone: &TimeZone = inventory.account.timezone.as_ref()?;
        let days = days_between(history.days.since(), history.days.until());
        let day_bounds = days.filter_map(|day| Some((day, DayBounds::new(day, zone)?)));
        let query_kinds = [QueryKind::Delivery, QueryKind::Conversions];
        Some(Self {
            history,
            inventory,
            day_bounds: day_bounds.collect(),
            covered_days: query_kinds
                .map(|query_kind| journal.covered_days(history.source_idx, query_kind)),
            withheld: journal.withheld(history.source_idx).collect(),
        })
    }

    /// Returns the history of one key; `None` if it has no values.
    fn row_history<'k>(&self, key_rows: &'k KeyRows) -> Option<RowHistory<'k>>
    where
        'a: 'k,
    {
        let (delivery, conversions) = (&key_rows.delivery, &key_rows.conversions);
        let first = [delivery.first(), conversions.first()];
        let first_day = first.into_iter().flatten().map(|row| row.start).min()?;
        let last = [delivery.last(), conversions.last()];
        // All days get the current names, as on the metrics page: a renamed campaign is one series.
        let newest = last.into_iter().flatten().max_by_key(|row| row.start)?;
        let dimensions: &Dimensions = &newest.dimensions;
        if !self.inventory.is_exported(dimensions) {
            return None;
        }
        // For days without a row, the metrics page shows 0 for active campaigns. The status on past days is unknown, so
        // that these days are omitted. With `zero_fill: all` the status does not matter: 0 from the first row on.
        let source = &self.history.source;
        let fill_all = source.zero_fill == ZeroFill::All;
        let last_day = match source.zero_fill {
            ZeroFill::All => self.history.days.until(),
            ZeroFill::Active => newest.start,
        };
        let withheld: Vec<_> = self
            .withheld
            .iter()
            .filter(|(.., key)| *key == dimensions.key())
            .collect();
        let mut delivery_cursor = DayCursor::new(delivery);
        let mut conversions_cursor = DayCursor::new(conversions);
        let mut days = Vec::new();
        for day in days_between(first_day, last_day) {
            let delivery = delivery_cursor.row_of(day);
            let conversions = conversions_cursor.row_of(day);
            if delivery.is_none() && conversions.is_none() && !fill_all {
                continue;
            }
            let input = JoinInput {
                delivery: self.presence(QueryKind::Delivery, day, &withheld, delivery),
                conversions: self.presence(QueryKind::Conversions, day, &withheld, conversions),
                entity: Some(dimensions),
                queried_dates: Some((day, day)),
            };
            let row = input.join(&source.columns, Some(self.inventory));
            if let (Some(row), Some(bounds)) = (row, self.day_bounds.get(&day)) {
                days.push((*bounds, row));
            }
        }
        let (_, newest) = days.last()?;
        Some(RowHistory {
            source,
            dimensions,
            currency: newest.currency,
            days,
        })
    }

    fn presence<'k>(
        &self,
        query_kind: QueryKind,
        day: Date,
        withheld: &[&(QueryKind, DayRange, &str)],
        row: Option<&'k Row>,
    ) -> Presence<'k> {
        let kind_idx = match query_kind {
            QueryKind::Delivery | QueryKind::Spend => 0,
            QueryKind::Conversions | QueryKind::Joined => 1,
        };
        let is_covered = || {
            let ranges = &self.covered_days[kind_idx];
            let range_idx = ranges.partition_point(|days| days.until() < day);
            ranges.get(range_idx).is_some_and(|days| days.contains(day))
        };
        let is_withheld = || {
            let mut withheld = withheld.iter();
            withheld.any(|(kind, days, _)| *kind == query_kind && days.contains(day))
        };
        match row {
            Some(row) => Presence::Row(row),
            None if is_withheld() => Presence::Withheld,
            None if is_covered() => Presence::NoRow,
            None => Presence::Unknown,
        }
    }
}

/// Cursor over the rows of one key and query, which are sorted by day.
struct DayCursor<'k> {
    rows: std::iter::Peekable<std::slice::Iter<'k, Row>>,
}

impl<'k> DayCursor<'k> {
    fn new(rows: &'k [Row]) -> Self {
        Self {
            rows: rows.iter().peekable(),
        }
    }

    /// Returns the row of a day. Days must be requested in ascending order.
    fn row_of(&mut self, day: Date) -> Option<&'k Row> {
        self.rows.next_if(|row| row.start == day)
    }
}

/// Returns each day from `since` to `until`, both inclusive.
fn days_between(since: Date, until: Date) -> impl Iterator<Item = Date> {
    let days = std::iter::successors(Some(since), |day| day.tomorrow().ok());
    days.take_while(move |day| *day <= until)
}
