//! Samples of rows: values, actions, edges of windows, and the limits of `thresholds`.
//!
//! Missing and invalid values have no sample: an absent value is not zero.

use std::io::{self, Write};

use jiff::civil::Date;

use super::batch::RowBatch;
use super::samples::{CLOSING_BRACE, SampleWriter};
use crate::config::ThresholdSet;
use crate::metrics::catalog::{RowSample, WindowEdge};
use crate::metrics::day_start::day_start;
use crate::metrics::labels::push_next;
use crate::snapshot::ExportedRow;

/// Writes the samples of the family `name` for the rows of a batch.
///
/// # Errors
/// Returns the errors of the writer.
pub(in crate::metrics) fn rows<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    sample: RowSample,
    batch: &RowBatch<'_>,
) -> io::Result<()> {
    match sample {
        RowSample::Number(value) => numbers(writer, name, batch, value),
        RowSample::Money(value) => money(writer, name, batch, value),
        RowSample::Extra {
            extra_idx,
            is_money,
        } => {
            if is_money {
                money(writer, name, batch, |row| row.extra_field(extra_idx))
            } else {
                numbers(writer, name, batch, |row| row.extra_field(extra_idx))
            }
        }
        RowSample::Action(value) => actions(writer, name, batch, value, false),
        RowSample::ActionMoney(value) => actions(writer, name, batch, value, true),
        RowSample::Edge(edge) => window_edges(writer, name, batch, edge),
        RowSample::Threshold(threshold) => thresholds(writer, name, batch, threshold),
    }
}

/// Writes values without a currency: counts, ratios and times.
fn numbers<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    batch: &RowBatch<'_>,
    value: impl Fn(&ExportedRow<'_>) -> Option<f64>,
) -> io::Result<()> {
    for window in batch.windows(name) {
        for (rendered, labels) in batch.rows(window) {
            if let Some(value) = value(&rendered.row) {
                writer.sample(name, labels, CLOSING_BRACE, value)?;
            }
        }
    }
    Ok(())
}

/// Writes amounts in major units with the label `currency`. Rows without a known currency have no sample.
fn money<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    batch: &RowBatch<'_>,
    value: impl Fn(&ExportedRow<'_>) -> Option<f64>,
) -> io::Result<()> {
    for window in batch.windows(name) {
        let mut suffix = LabelSuffix::new(None);
        for (rendered, labels) in batch.rows(window) {
            let currency = rendered.row.currency;
            if let Some(value) = value(&rendered.row).filter(|_| currency.is_some()) {
                writer.sample(name, labels, suffix.with_currency(currency), value)?;
            }
        }
    }
    Ok(())
}

/// Writes one sample per row and action type; with the label `currency` if `is_money`, and then only for rows with a
/// known currency. `value` receives the index of the action type in the query's columns.
fn actions<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    batch: &RowBatch<'_>,
    value: fn(&ExportedRow<'_>, usize) -> Option<f64>,
    is_money: bool,
) -> io::Result<()> {
    for window in batch.windows(name) {
        let action_types = window.state.source.columns.action_types.iter();
        let mut suffixes: Vec<LabelSuffix<'_>> = action_types
            .map(|action_type| LabelSuffix::new(Some(action_type)))
            .collect();
        for (rendered, labels) in batch.rows(window) {
            let currency = rendered.row.currency.filter(|_| is_money);
            if is_money && currency.is_none() {
                continue;
            }
            for (action_idx, suffix) in suffixes.iter_mut().enumerate() {
                if let Some(value) = value(&rendered.row, action_idx) {
                    writer.sample(name, labels, suffix.with_currency(currency), value)?;
                }
            }
        }
    }
    Ok(())
}

/// Writes the start or end of the dates of each row, in Unix seconds: midnight in the time zone of the ad account.
/// The end is the midnight after the last day. Sources with an unknown time zone have no samples.
fn window_edges<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    batch: &RowBatch<'_>,
    edge: WindowEdge,
) -> io::Result<()> {
    for window in batch.windows(name) {
        let Some(timezone) = window.timezone() else {
            continue;
        };
        // Most rows of a window have the same dates, so the last midnight is cached.
        let mut cache: Option<(Date, f64)> = None;
        for (rendered, labels) in batch.rows(window) {
            let Some((first_day, last_day)) = rendered.row.dates else {
                continue;
            };
            let day = match edge {
                WindowEdge::Start => Some(first_day),
                WindowEdge::End => last_day.tomorrow().ok(),
            };
            let Some(day) = day else { continue };
            let midnight = match cache {
                Some((cached_day, midnight)) if cached_day == day => Some(midnight),
                _ => day_start(day, timezone),
            };
            if let Some(midnight) = midnight {
                cache = Some((day, midnight));
                writer.sample(name, labels, CLOSING_BRACE, midnight)?;
            }
        }
    }
    Ok(())
}

/// Writes a configured limit for each row of the windows that have it.
fn thresholds<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    batch: &RowBatch<'_>,
    threshold: fn(&ThresholdSet) -> Option<f64>,
) -> io::Result<()> {
    for window in batch.windows(name) {
        let Some(threshold) = window.thresholds.and_then(threshold) else {
            continue;
        };
        for (_, labels) in batch.rows(window) {
            writer.sample(name, labels, CLOSING_BRACE, threshold)?;
        }
    }
    Ok(())
}

/// Text after the labels of a row: action type, currency, closing brace and a space. It is rendered
/// only if the currency changes, which is rare within a window.
struct LabelSuffix<'a> {
    /// `None` for families without the label `action_type`.
    action_type: Option<&'a str>,
    /// Currency in `text`; `None`: `text` has no label `currency`.
    currency: Option<&'a str>,
    /// Rendered suffix.
    text: Vec<u8>,
}

impl<'a> LabelSuffix<'a> {
    fn new(action_type: Option<&'a str>) -> Self {
        let mut suffix = Self {
            action_type,
            currency: None,
            text: Vec::new(),
        };
        suffix.render();
        suffix
    }

    /// Returns the text with this currency.
    #[inline]
    fn with_currency(&mut self, currency: Option<&'a str>) -> &[u8] {
        if self.currency != currency {
            self.currency = currency;
            self.render();
        }
        &self.text
    }

    /// Renders `text` for the current labels.
    fn render(&mut self) {
        self.text.clear();
        if let Some(action_type) = self.action_type {
            push_next(&mut self.text, "action_type", action_type);
        }
        if let Some(currency) = self.currency {
            push_next(&mut self.text, "currency", currency);
        }
        self.text.extend_from_slice(CLOSING_BRACE);
    }
}
