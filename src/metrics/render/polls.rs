//! Samples of sources and their windows: poll status, times and pauses.

use std::io::{self, Write};
use std::sync::Arc;

use super::samples::{CLOSING_BRACE, SampleWriter};
use crate::metrics::catalog::PollSample;
use crate::metrics::labels::{
    push_account, push_config_labels, push_next, push_source, push_withheld,
};
use crate::model::MajorUnits;
use crate::plan::Window;
use crate::snapshot::{SourceState, WindowState, withheld_rows};

/// Writes the samples of the family `name` for the polls of `sources`. Windows that are duplicates are not polled; sources and windows
/// without a value, for example before the first poll, have no sample.
///
/// # Errors
/// Returns the errors of the writer.
pub(in crate::metrics) fn polls<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    sample: PollSample,
    sources: &[Arc<SourceState>],
) -> io::Result<()> {
    match sample {
        PollSample::Queries => return query_times(writer, name, sources),
        PollSample::Withheld => return withheld(writer, name, sources),
        PollSample::AccountSpend(value) => return account_spend(writer, name, value, sources),
        PollSample::Window(_) | PollSample::Source(_) => {}
    }
    let mut labels = Vec::new();
    let mut write_sample = |state: &SourceState, window: Option<&str>, value: Option<f64>| {
        let Some(value) = value else { return Ok(()) };
        labels.clear();
        push_source(&mut labels, state, window);
        writer.sample(name, &labels, CLOSING_BRACE, value)
    };
    for state in exporting(sources, name) {
        match sample {
            PollSample::Source(value) => write_sample(state, None, value(state))?,
            PollSample::Window(value) => {
                for (window, window_state) in polled_windows(state) {
                    write_sample(state, Some(&window.name), value(window_state))?;
                }
            }
            PollSample::Queries | PollSample::Withheld | PollSample::AccountSpend(_) => {}
        }
    }
    Ok(())
}

/// Iterates over the windows of a source that it polls itself, with their states.
fn polled_windows(state: &SourceState) -> impl Iterator<Item = (&Window, &WindowState)> {
    let windows = state.source.windows.iter().zip(&state.windows);
    windows.filter(|(_, window)| !window.duplicate)
}

/// Iterates over the sources for which the metric `name` is exported.
fn exporting<'a>(
    sources: &'a [Arc<SourceState>],
    name: &str,
) -> impl Iterator<Item = &'a Arc<SourceState>> {
    let sources = sources.iter();
    sources.filter(move |state| state.source.export_limits.is_exported(name))
}

/// Writes the time of the last success of each query.
fn query_times<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    sources: &[Arc<SourceState>],
) -> io::Result<()> {
    let times = |window: &WindowState| {
        [
            ("delivery", window.delivery_success),
            ("conversions", window.conversions_success),
        ]
    };
    let mut labels = Vec::new();
    for state in exporting(sources, name) {
        for (window, window_state) in polled_windows(state) {
            for (query, time) in times(window_state) {
                let Some(time) = time else { continue };
                labels.clear();
                push_source(&mut labels, state, Some(&window.name));
                push_next(&mut labels, "query", query);
                writer.sample(
                    name,
                    &labels,
                    CLOSING_BRACE,
                    time.as_duration().as_secs_f64(),
                )?;
            }
        }
    }
    Ok(())
}

/// Writes an amount of the windows of whole ad accounts.
fn account_spend<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    value: fn(&SourceState, usize) -> Option<MajorUnits>,
    sources: &[Arc<SourceState>],
) -> io::Result<()> {
    let mut labels = Vec::new();
    for state in exporting(sources, name) {
        let Some(inventory) = &state.inventory else {
            continue;
        };
        let windows = state.source.windows.iter().zip(&state.windows);
        for (window_idx, (window, window_state)) in windows.enumerate() {
            let total = window_state.account_spend.as_deref();
            let Some((total, amount)) = total.zip(value(state, window_idx)) else {
                continue;
            };
            labels.clear();
            push_account(&mut labels, state, inventory);
            push_next(&mut labels, "window", &window.name);
            push_config_labels(&mut labels, &state.source.labels);
            push_next(&mut labels, "currency", &total.currency);
            writer.sample(name, &labels, CLOSING_BRACE, amount.0)?;
        }
    }
    Ok(())
}

/// Writes 1 for each campaign with withheld values.
fn withheld<W: Write>(
    writer: &mut SampleWriter<W>,
    name: &str,
    sources: &[Arc<SourceState>],
) -> io::Result<()> {
    let mut labels = Vec::new();
    for state in exporting(sources, name) {
        for (window_idx, window) in state.source.windows.iter().enumerate() {
            let mut previous = None;
            for row in withheld_rows(state, window_idx) {
                let series = (row.account_id.clone(), row.campaign_id.clone(), row.reason);
                if previous.as_ref() == Some(&series) {
                    continue;
                }
                labels.clear();
                push_withheld(&mut labels, state, &row, &window.name);
                writer.sample(name, &labels, CLOSING_BRACE, 1.0)?;
                previous = Some(series);
            }
        }
    }
    Ok(())
}
