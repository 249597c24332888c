//! Batches of rows, joined and with their labels rendered once, so that each family only copies them.

use std::ops::Range;

use jiff::tz::TimeZone;

use crate::config::ThresholdSet;
use crate::metrics::labels::{push_config_labels, push_row};
use crate::plan::Window;
use crate::snapshot::{ExportedRow, ExportedRows, SourceState, exported_rows};

/// Rows per batch. With their labels and values they fit the cache of a CPU core, from which all
/// families read them.
const MAX_ROWS_PER_BATCH: usize = 1024;

/// Consecutive rows of the page, of one or several windows.
pub(in crate::metrics) struct RowBatch<'a> {
    /// Windows that have rows in this batch; a window can continue in the next batch.
    windows: Vec<WindowRows<'a>>,
    /// At least 1 and at most [`MAX_ROWS_PER_BATCH`] rows.
    rows: Vec<RenderedRow<'a>>,
    /// Label text of all rows, in their order.
    labels: Vec<u8>,
}

/// Rows of one window of one source.
pub(super) struct WindowRows<'a> {
    pub(super) state: &'a SourceState,
    pub(super) window: &'a Window,
    /// Configured limits of this window; `None` without limits.
    pub(super) thresholds: Option<&'a ThresholdSet>,
    /// Range in [`RowBatch::rows`].
    rows: Range<usize>,
}

/// One row and its labels.
pub(super) struct RenderedRow<'a> {
    pub(super) row: ExportedRow<'a>,
    /// Range in [`RowBatch::labels`].
    labels: Range<usize>,
}

impl<'a> RowBatch<'a> {
    fn new() -> Self {
        Self {
            windows: Vec::new(),
            rows: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Appends a row of the window that `reader` reads.
    fn push(&mut self, reader: &RowReader<'a>, row: RenderedRow<'a>) {
        let row_idx = self.rows.len();
        self.rows.push(row);
        match self.windows.last_mut() {
            Some(last) if std::ptr::eq(last.window, reader.window) => last.rows.end = row_idx + 1,
            _ => self.windows.push(WindowRows {
                state: reader.state,
                window: reader.window,
                thresholds: reader
                    .state
                    .source
                    .thresholds
                    .for_window(&reader.window.name),
                rows: row_idx..row_idx + 1,
            }),
        }
    }

    /// Iterates over the windows of the batch for which the metric `name` is exported.
    pub(super) fn windows<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b WindowRows<'a>> {
        let windows = self.windows.iter();
        windows.filter(move |window| window.state.source.export_limits.is_exported(name))
    }

    /// Iterates over the rows of one of the batch's windows, with their labels up to but without the
    /// closing brace.
    #[inline]
    pub(super) fn rows(
        &self,
        window: &WindowRows<'a>,
    ) -> impl Iterator<Item = (&RenderedRow<'a>, &[u8])> {
        let rows = self.rows.get(window.rows.clone()).unwrap_or_default();
        rows.iter()
            .map(|row| (row, &self.labels[row.labels.clone()]))
    }
}

impl<'a> WindowRows<'a> {
    /// Returns the time zone of the ad account, if known.
    pub(super) fn timezone(&self) -> Option<&'a TimeZone> {
        let inventory = self.state.inventory.as_ref()?;
        inventory.account.timezone.as_ref()
    }
}

/// Iterates over the rows of the windows in batches. Windows are pairs of a source and a window index.
pub(in crate::metrics) fn batches<'a>(
    windows: impl Iterator<Item = (&'a SourceState, usize)>,
) -> impl Iterator<Item = RowBatch<'a>> {
    let mut readers = windows.filter_map(|(state, window_idx)| RowReader::new(state, window_idx));
    let mut current = readers.next();
    std::iter::from_fn(move || {
        let mut batch = RowBatch::new();
        while let Some(reader) = &mut current {
            if batch.rows.len() == MAX_ROWS_PER_BATCH {
                break;
            }
            match reader.next(&mut batch.labels) {
                Some(row) => batch.push(reader, row),
                None => current = readers.next(),
            }
        }
        (!batch.rows.is_empty()).then_some(batch)
    })
}

/// Reads and renders the rows of one window.
struct RowReader<'a> {
    state: &'a SourceState,
    window: &'a Window,
    rows: ExportedRows<'a>,
}

impl<'a> RowReader<'a> {
    /// Returns `None` if the source does not have this window.
    fn new(state: &'a SourceState, window_idx: usize) -> Option<Self> {
        Some(Self {
            state,
            window: state.source.windows.get(window_idx)?,
            rows: exported_rows(state, window_idx),
        })
    }

    /// Returns the next row, and appends its labels to `labels`, without the closing brace.
    fn next(&mut self, labels: &mut Vec<u8>) -> Option<RenderedRow<'a>> {
        let row = self
            .rows
            .by_ref()
            .find(|row| !self.state.leaves_out_row(row.dimensions))?;
        let dimensions = row.dimensions;
        let start = labels.len();
        let source = &self.state.source;
        push_row(labels, &source.business, dimensions, &self.window.name);
        push_config_labels(labels, &source.labels);
        Some(RenderedRow {
            row,
            labels: start..labels.len(),
        })
    }
}
