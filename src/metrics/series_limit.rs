//! `max_series`: chooses the campaigns of a business that are left out of the metrics page.
//!
//! Whole campaigns are left out, so that no campaign has values without its name or its thresholds. Those with the
//! lowest spend are left out first. Series without a campaign are always exported: those of ad accounts and polls, and
//! the rows of level `account`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use super::catalog::SampleSource;
use super::header::{FamilyHeader, family_headers};
use super::render::{SampleWriter, accounts, batches, campaigns, extra_fields, polls, rows};
use crate::model::InsightField;
use crate::snapshot::{Snapshot, SourceState, WindowState, exported_rows};

/// Number of series that `max_series` leaves out, of each business that has it.
pub type DroppedSeries = BTreeMap<Box<str>, u64>;

/// Returns the snapshot with [`SourceState::left_out`] set for each business with `max_series`, and the number of series
/// that are left out. Businesses without changes since `previous` are not counted again.
///
/// # Errors
/// Returns the errors of the renderer, which the content of a page does not cause.
pub fn limit_series(
    snapshot: Arc<Snapshot>,
    previous: Option<(&Snapshot, &DroppedSeries)>,
) -> io::Result<(Arc<Snapshot>, DroppedSeries)> {
    let mut states = snapshot.sources.iter();
    if states.all(|state| state.source.export_limits.max_series.is_none()) {
        return Ok((snapshot, DroppedSeries::new()));
    }
    let headers = family_headers(extra_fields(&snapshot));
    let mut limited = snapshot.as_ref().clone();
    let mut dropped = DroppedSeries::new();
    let is_same_business =
        |a: &Arc<SourceState>, b: &Arc<SourceState>| a.source.business == b.source.business;
    for states in limited.sources.chunk_by_mut(is_same_business) {
        let Some(first) = states.first() else {
            continue;
        };
        let business = first.source.business.clone();
        let Some(max_series) = first.source.export_limits.max_series else {
            continue;
        };
        let before = previous.and_then(|(snapshot, dropped)| {
            let before: Vec<&Arc<SourceState>> = snapshot
                .sources
                .iter()
                .filter(|state| state.source.business == business)
                .collect();
            Some((before, *dropped.get(&business)?))
        });
        let set = before.as_ref().and_then(|(before, _)| before.first());
        let set = set.and_then(|state| state.left_out.clone());
        let (left_out, series) = match &before {
            Some((before, series)) if has_same_series(before, states) => (set, *series),
            _ => {
                let (left_out, series) = choose(states, max_series, &headers)?;
                // An equal set is shared, so that the unchanged parts of the page are not rendered again.
                let left_out = match set {
                    Some(set) if *set == left_out => Some(set),
                    _ => (!left_out.is_empty()).then(|| Arc::new(left_out)),
                };
                (left_out, series)
            }
        };
        dropped.insert(business, series);
        if left_out.is_some() {
            for state in states {
                let mut limited = state.as_ref().clone();
                limited.left_out.clone_from(&left_out);
                *state = Arc::new(limited);
            }
        }
    }
    Ok((Arc::new(limited), dropped))
}

/// Whether the series of all campaigns are the same in both states of a business. Shared data is compared by address.
fn has_same_series(before: &[&Arc<SourceState>], after: &[Arc<SourceState>]) -> bool {
    let has_same_rows = |(before, after): (&WindowState, &WindowState)| {
        is_same_arc(before.delivery.as_ref(), after.delivery.as_ref())
            && is_same_arc(before.conversions.as_ref(), after.conversions.as_ref())
    };
    let is_same = |(before, after): (&&Arc<SourceState>, &Arc<SourceState>)| {
        Arc::ptr_eq(&before.source, &after.source)
            && is_same_arc(before.inventory.as_ref(), after.inventory.as_ref())
            && before.duplicate == after.duplicate
            && before.windows.len() == after.windows.len()
            && before.windows.iter().zip(&after.windows).all(has_same_rows)
    };
    before.len() == after.len() && before.iter().zip(after).all(is_same)
}

/// Whether both are the same object, or both are absent.
pub(super) fn is_same_arc<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// Returns the ids of the campaigns to leave out, and the number of their series.
fn choose(
    states: &[Arc<SourceState>],
    max_series: usize,
    headers: &[FamilyHeader],
) -> io::Result<(BTreeSet<Box<str>>, u64)> {
    let counts = SeriesCounts::of(states, headers)?;
    let spend = highest_spend(states);
    let mut campaigns: Vec<(&Box<str>, u64, f64)> = counts
        .by_campaign
        .iter()
        .map(|(id, series)| (id, *series, spend.get(id).copied().unwrap_or(0.0)))
        .collect();
    campaigns.sort_by(|a, b| b.2.total_cmp(&a.2).then_with(|| a.0.cmp(b.0)));
    let mut remaining = u64::try_from(max_series)
        .unwrap_or(u64::MAX)
        .saturating_sub(counts.without_campaign);
    let kept = campaigns.iter().take_while(|(_, series, _)| {
        let fits = *series <= remaining;
        remaining = remaining.saturating_sub(*series);
        fits
    });
    let kept = kept.count();
    let left_out = campaigns.get(kept..).unwrap_or_default();
    let series = left_out.iter().map(|(_, series, _)| series).sum();
    let ids = left_out.iter().map(|(id, _, _)| (*id).clone()).collect();
    Ok((ids, series))
}

/// Returns the highest spend of each campaign over all windows, in the currency of its ad account.
fn highest_spend(states: &[Arc<SourceState>]) -> BTreeMap<Box<str>, f64> {
    let mut highest: BTreeMap<Box<str>, f64> = BTreeMap::new();
    for state in states {
        for window_idx in 0..state.windows.len() {
            // At the levels below the campaign, its spend is the sum of its rows.
            let mut spend: BTreeMap<&str, f64> = BTreeMap::new();
            for row in exported_rows(state, window_idx) {
                let value = row.scalar(InsightField::Spend);
                if let (Some(campaign), Some(value)) = (&row.dimensions.campaign, value) {
                    *spend.entry(campaign.id.as_str()).or_default() += value;
                }
            }
            for (id, value) in spend {
                let entry = highest.entry(id.into()).or_default();
                *entry = entry.max(value);
            }
        }
    }
    highest
}

/// Numbers of series of a business.
#[derive(Default)]
struct SeriesCounts {
    by_campaign: BTreeMap<Box<str>, u64>,
    without_campaign: u64,
}

impl SeriesCounts {
    /// Counts the series that the page would have without a limit. They are rendered, so that the numbers are exact for
    /// every family.
    fn of(states: &[Arc<SourceState>], headers: &[FamilyHeader]) -> io::Result<Self> {
        let windows = states
            .iter()
            .flat_map(|state| (0..state.windows.len()).map(|idx| (state.as_ref(), idx)));
        let batches: Vec<_> = batches(windows).collect();
        let mut writer = SampleWriter::new(Self::default());
        for header in headers {
            match header.source {
                SampleSource::Row(sample) => {
                    for batch in &batches {
                        rows(&mut writer, &header.name, sample, batch)?;
                    }
                }
                SampleSource::Campaign(sample) => {
                    campaigns(&mut writer, &header.name, sample, states)?;
                }
                SampleSource::Account(_) | SampleSource::Poll(_) | SampleSource::Extras => {}
            }
        }
        writer.flush()?;
        let mut counts = writer.out;
        let mut writer = SampleWriter::new(io::sink());
        for header in headers {
            match header.source {
                SampleSource::Account(sample) => {
                    accounts(&mut writer, &header.name, sample, states)?;
                }
                SampleSource::Poll(sample) => {
                    polls(&mut writer, &header.name, sample, states)?;
                }
                SampleSource::Row(_) | SampleSource::Campaign(_) | SampleSource::Extras => {}
            }
        }
        counts.without_campaign += writer.series;
        Ok(counts)
    }

    fn add_line(&mut self, line: &[u8]) {
        // Quotes in label values are escaped, so that this text is only found as a label.
        const LABEL: &[u8] = b",campaign_id=\"";
        let start = line.windows(LABEL.len()).position(|part| part == LABEL);
        let id = start.and_then(|start| line[start + LABEL.len()..].split(|b| *b == b'"').next());
        match id.and_then(|id| std::str::from_utf8(id).ok()) {
            Some(id) => match self.by_campaign.get_mut(id) {
                Some(count) => *count += 1,
                None => {
                    self.by_campaign.insert(id.into(), 1);
                }
            },
            None => self.without_campaign += 1,
        }
    }
}

/// Receives complete lines only, because [`SampleWriter`] flushes after a line.
impl Write for SeriesCounts {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        for line in lines.split(|b| *b == b'\n') {
            if !line.is_empty() {
                self.add_line(line);
            }
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
