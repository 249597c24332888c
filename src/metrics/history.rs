//! History of past days as OpenMetrics text with timestamps, for
//! `promtool tsdb create-blocks-from openmetrics`.
//!
//! Names, HELP texts and labels equal those of the page. Only values of rows are written: polls,
//! inventories and thresholds describe the present. Rows are visited once per family instead of being
//! collected, so that memory use does not depend on the number of days.

use std::io::{self, Write};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::catalog::{RowSample, SampleSource, WindowEdge};
use super::day_start::day_start;
use super::header::family_headers;
use super::labels::{push_config_labels, push_row, push_row_ids};
use super::numbers::{FLUSH_BYTES, push_label, push_number};
use crate::config::ExtraFieldConfig;
use crate::model::{Dimensions, InsightField, PURCHASE_ACTION_TYPE};
use crate::plan::Source;
use crate::snapshot::ExportedRow;

/// Total of a row and day, with the name and the labels that the recording rules of `prometheus/rules.yaml` give it:
/// names of campaigns and labels of the config are left out, because they change.
struct DayTotal {
    name: &'static str,
    help: &'static str,
    is_money: bool,
    value: fn(&ExportedRow<'_>, purchase_idx: Option<usize>) -> Option<f64>,
}

/// Totals of a day, which dashboards draw for any past day.
const DAY_TOTALS: [DayTotal; 5] = [
    DayTotal {
        name: "day:marketing_messages_spend:total",
        help: "Amount spent on the day",
        is_money: true,
        value: |row, _| row.scalar(InsightField::Spend),
    },
    DayTotal {
        name: "day:marketing_messages_delivered:total",
        help: "Messages delivered on the day",
        is_money: false,
        value: |row, _| row.scalar(InsightField::Delivered),
    },
    DayTotal {
        name: "day:marketing_messages_link_clicks:total",
        help: "Clicks on links in messages on the day",
        is_money: false,
        value: |row, _| row.scalar(InsightField::LinkClicks),
    },
    DayTotal {
        name: "day:marketing_messages_purchases:total",
        help: "Purchases on the day",
        is_money: false,
        value: |row, purchase_idx| row.conversions(purchase_idx?),
    },
    DayTotal {
        name: "day:marketing_messages_purchase_value:total",
        help: "Value of the purchases on the day",
        is_money: true,
        value: |row, purchase_idx| row.conversion_value(purchase_idx?),
    },
];

/// Label that recording rules keep, of those that a scrape adds.
const JOB_LABEL: &str = "job";

/// Labels and families of all series of one history.
#[derive(Clone, Copy, Debug)]
pub struct HistoryLabels<'a> {
    /// Value of the label `window`.
    pub window: &'a str,
    /// Labels that a scrape would add, such as `job`.
    pub labels: &'a [(String, String)],
    /// The config's `extra_fields`.
    pub extra: &'a [ExtraFieldConfig],
}

/// Days of one row.
#[derive(Clone, Debug)]
pub struct RowHistory<'a> {
    /// Source of the row.
    pub source: &'a Source,
    /// Ids and latest names of the row.
    pub dimensions: &'a Dimensions,
    /// ISO 4217 code; `None` if unknown, in which case monetary values are not written.
    pub currency: Option<&'a str>,
    /// Days of the row, in ascending order.
    pub days: Vec<(DayBounds, ExportedRow<'a>)>,
}

/// Start and end of a day in an ad account's time zone, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DayBounds {
    start: f64,
    end: f64,
}

impl DayBounds {
    /// Returns the bounds of `day`, or `None` if a time is out of range.
    pub fn new(day: Date, timezone: &TimeZone) -> Option<Self> {
        Some(Self {
            start: day_start(day, timezone)?,
            end: day_start(day.tomorrow().ok()?, timezone)?,
        })
    }

    /// Returns the timestamp of the day's sample, one second before the end of the day. At midnight,
    /// the sample would belong to the next day, and a range of one day could contain two samples.
    pub fn sample_time(self) -> f64 {
        self.end - 1.0
    }
}

/// Writes the history, and returns the number of samples.
///
/// `visit_rows` calls its argument for each row, in the same order each time. It is called once per
/// family.
///
/// # Errors
/// Returns the errors of `visit_rows` and `out`.
pub fn write_history<E: From<io::Error>>(
    common: &HistoryLabels<'_>,
    mut visit_rows: impl FnMut(&mut dyn FnMut(&RowHistory<'_>) -> io::Result<()>) -> Result<(), E>,
    out: &mut impl Write,
) -> Result<u64, E> {
    let mut writer = HistoryWriter {
        common,
        header: Vec::new(),
        series: Vec::new(),
        buffer: Vec::with_capacity(FLUSH_BYTES + FLUSH_BYTES / 4),
        samples: 0,
        out,
    };
    for header in family_headers(common.extra) {
        if let SampleSource::Row(sample) = header.source {
            // Today's thresholds did not apply to past days.
            if !matches!(sample, RowSample::Threshold(_)) {
                writer.header = header.text(true);
                visit_rows(&mut |history| writer.write_family(&header.name, sample, history))?;
            }
        }
    }
    for total in &DAY_TOTALS {
        let DayTotal { name, help, .. } = total;
        writer.header = format!("# HELP {name} {help}\n# TYPE {name} gauge\n").into_bytes();
        visit_rows(&mut |history| writer.write_day_total(total, history))?;
    }
    Ok(writer.finish()?)
}

struct HistoryWriter<'a, W> {
    common: &'a HistoryLabels<'a>,
    /// HELP and TYPE of the current family, until its first sample.
    header: Vec<u8>,
    /// Name and labels of the current series.
    series: Vec<u8>,
    buffer: Vec<u8>,
    samples: u64,
    out: &'a mut W,
}

impl<W: Write> HistoryWriter<'_, W> {
    fn write_family(
        &mut self,
        name: &str,
        sample: RowSample,
        history: &RowHistory<'_>,
    ) -> io::Result<()> {
        match sample {
            RowSample::Number(value) => self.write_values(name, history, false, value),
            RowSample::Money(value) => self.write_values(name, history, true, value),
            RowSample::Extra {
                extra_idx,
                is_money,
            } => self.write_values(name, history, is_money, |row| row.extra_field(extra_idx)),
            RowSample::Action(value) => self.write_actions(name, history, false, value),
            RowSample::ActionMoney(value) => self.write_actions(name, history, true, value),
            RowSample::Edge(edge) => {
                self.start_series(name, history, None, false);
                self.write_days(history, |bounds, row| {
                    row.dates.map(|_| match edge {
                        WindowEdge::Start => bounds.start,
                        WindowEdge::End => bounds.end,
                    })
                })
            }
            RowSample::Threshold(_) => Ok(()),
        }
    }

    fn write_values(
        &mut self,
        name: &str,
        history: &RowHistory<'_>,
        is_money: bool,
        value: impl Fn(&ExportedRow<'_>) -> Option<f64>,
    ) -> io::Result<()> {
        // Monetary metrics are omitted if the currency is unknown.
        if is_money && history.currency.is_none() {
            return Ok(());
        }
        self.start_series(name, history, None, is_money);
        self.write_days(history, |_, row| value(row))
    }

    fn write_actions(
        &mut self,
        name: &str,
        history: &RowHistory<'_>,
        is_money: bool,
        value: fn(&ExportedRow<'_>, usize) -> Option<f64>,
    ) -> io::Result<()> {
        if is_money && history.currency.is_none() {
            return Ok(());
        }
        let action_types = &history.source.columns.action_types;
        for (action_idx, action_type) in action_types.iter().enumerate() {
            self.start_series(name, history, Some(action_type), is_money);
            self.write_days(history, |_, row| value(row, action_idx))?;
        }
        Ok(())
    }

    fn write_day_total(&mut self, total: &DayTotal, history: &RowHistory<'_>) -> io::Result<()> {
        if total.is_money && history.currency.is_none() {
            return Ok(());
        }
        self.series.clear();
        self.series.extend_from_slice(total.name.as_bytes());
        let (business, window) = (&history.source.business, self.common.window);
        push_row_ids(&mut self.series, business, history.dimensions, window);
        let labels = self.common.labels.iter();
        for (name, value) in labels.filter(|(name, _)| name == JOB_LABEL) {
            self.push_label(name, value);
        }
        if let Some(currency) = history.currency.filter(|_| total.is_money) {
            self.push_label("currency", currency);
        }
        let action_types = &history.source.columns.action_types;
        let purchase_idx = action_types
            .iter()
            .position(|action_type| action_type == PURCHASE_ACTION_TYPE);
        self.write_days(history, |_, row| (total.value)(row, purchase_idx))
    }

    fn start_series(
        &mut self,
        name: &str,
        history: &RowHistory<'_>,
        action_type: Option<&str>,
        is_money: bool,
    ) {
        self.series.clear();
        self.series.extend_from_slice(name.as_bytes());
        let (business, window) = (&history.source.business, self.common.window);
        push_row(&mut self.series, business, history.dimensions, window);
        self.push_added_labels(history);
        if let Some(action_type) = action_type {
            self.push_label("action_type", action_type);
        }
        if let Some(currency) = history.currency.filter(|_| is_money) {
            self.push_label("currency", currency);
        }
    }

    /// Appends the labels from the config, and those that a scrape would add.
    fn push_added_labels(&mut self, history: &RowHistory<'_>) {
        push_config_labels(&mut self.series, &history.source.labels);
        for (name, value) in self.common.labels {
            self.push_label(name, value);
        }
    }

    fn push_label(&mut self, name: &str, value: &str) {
        self.series.push(b',');
        push_label(&mut self.series, name, value);
    }

    fn write_days(
        &mut self,
        history: &RowHistory<'_>,
        value: impl Fn(DayBounds, &ExportedRow<'_>) -> Option<f64>,
    ) -> io::Result<()> {
        for (bounds, row) in &history.days {
            let Some(value) = value(*bounds, row) else {
                continue;
            };
            self.buffer.append(&mut self.header);
            self.buffer.extend_from_slice(&self.series);
            self.buffer.extend_from_slice(b"} ");
            push_number(&mut self.buffer, value);
            self.buffer.push(b' ');
            push_number(&mut self.buffer, bounds.sample_time());
            self.buffer.push(b'\n');
            self.samples += 1;
            if self.buffer.len() >= FLUSH_BYTES {
                self.out.write_all(&self.buffer)?;
                self.buffer.clear();
            }
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.buffer.extend_from_slice(b"# EOF\n");
        self.out.write_all(&self.buffer)?;
        self.out.flush()?;
        Ok(self.samples)
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::DayBounds;

    const SECONDS_PER_HOUR: f64 = 3600.0;

    fn bounds(day: &str, zone: &str) -> DayBounds {
        let zone = TimeZone::get(zone).unwrap();
        DayBounds::new(day.parse().unwrap(), &zone).unwrap()
    }

    #[test]
    fn day_sample_is_one_second_before_next_day() {
        for (day, zone, hours) in [
            ("2026-03-29", "Europe/Berlin", 23.0),
            ("2026-10-25", "Europe/Berlin", 25.0),
            ("2026-11-23", "Europe/Berlin", 24.0),
            ("2026-11-01", "America/Los_Angeles", 25.0),
            // The clock skips midnight on this day.
            ("2026-09-06", "America/Santiago", 23.0),
            ("2026-04-05", "Pacific/Auckland", 25.0),
        ] {
            let bounds = bounds(day, zone);
            let length = bounds.end - bounds.start;
            let expected = hours * SECONDS_PER_HOUR;
            assert!((length - expected).abs() < 0.5, "{day} {zone}: {length}");
            assert!((bounds.end - bounds.sample_time() - 1.0).abs() < 1e-9);
        }
        let new_york = bounds("2026-11-22", "America/New_York");
        assert!((new_york.sample_time() - 1_795_409_999.0).abs() < 1e-9);
    }
}
