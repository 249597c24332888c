//! Content-defined chunking of the page: chunks are the unit of rendering and caching.
//!
//! A poll changes one window of one source. Rendering the whole page for that would cost as much as all
//! polls together, and caching each window separately would make thousands of tiny pieces if sources
//! are small. So neighbouring windows form chunks of similar size. A chunk ends where the hash of a
//! window's name is below a limit, instead of after a fixed number of rows: a source that grows or is
//! removed changes its own chunk, and the boundaries of the others stay.

use std::sync::Arc;

use crate::metrics::series_limit::is_same_arc;
use crate::model::fnv1a_mix;
use crate::snapshot::{Snapshot, SourceState, WindowState};

/// Average number of rows per chunk if windows are small; not a minimum of every chunk. A window with this number of
/// rows or more is a chunk by itself.
const MIN_ROWS_PER_CHUNK: usize = 512;

/// Part of the page. The parts change at different times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ChunkPart {
    /// Rows, which change with a poll of their window.
    Rows,
    /// Campaign properties, which change with discovery.
    Campaigns,
    /// Poll status, which changes with every poll.
    Polls,
}

/// Index of a source, and of one of its windows. The window index is 0 in the parts `Campaigns` and
/// `Polls`, where units are sources.
type UnitIndex = (usize, usize);

/// Range of neighbouring windows or sources of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Chunk {
    /// Part of the page to which all units of the chunk belong.
    pub(super) part: ChunkPart,
    /// First unit.
    first: UnitIndex,
    /// Last unit, inclusive.
    last: UnitIndex,
}

/// Smallest content of a chunk: a window in the part `Rows`, otherwise a source.
struct Unit<'a> {
    index: UnitIndex,
    /// Approximate number of rows; in the other parts, of campaigns or windows.
    rows: usize,
    /// Names of business, source and window; the last is empty if the unit is a source.
    name: [&'a str; 3],
}

impl Chunk {
    /// Divides a snapshot into chunks, in the order of the page.
    pub(super) fn all(snapshot: &Snapshot) -> Vec<Self> {
        let mut chunks = Vec::new();
        for part in [ChunkPart::Rows, ChunkPart::Campaigns, ChunkPart::Polls] {
            let mut open: Option<Self> = None;
            for unit in units(snapshot, part) {
                if unit.rows >= MIN_ROWS_PER_CHUNK {
                    chunks.extend(open.take());
                }
                let chunk = Self {
                    part,
                    first: open.map_or(unit.index, |open| open.first),
                    last: unit.index,
                };
                if unit.is_boundary() {
                    chunks.push(chunk);
                    open = None;
                } else {
                    open = Some(chunk);
                }
            }
            chunks.extend(open);
        }
        chunks
    }

    /// Returns the sources of the chunk.
    pub(super) fn sources<'a>(&self, snapshot: &'a Snapshot) -> &'a [Arc<SourceState>] {
        let sources = snapshot.sources.get(self.first.0..=self.last.0);
        sources.unwrap_or_default()
    }

    /// Iterates over the windows of the chunk, as pairs of a source and a window index.
    pub(super) fn windows<'a>(
        &self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a SourceState, usize)> + use<'a> {
        let Self { first, last, .. } = *self;
        let sources = (first.0..).zip(self.sources(snapshot));
        sources
            .flat_map(|(source_idx, state)| {
                let windows = 0..state.windows.len();
                windows.map(move |window_idx| ((source_idx, window_idx), state))
            })
            .filter(move |(index, _)| (first..=last).contains(index))
            .map(|((_, window_idx), state)| (state.as_ref(), window_idx))
    }

    /// Returns whether the rendered chunk is the same for both snapshots. Shared data is compared by
    /// address, so that unchanged data that was copied counts as changed.
    pub(super) fn is_same(&self, before: &Snapshot, after: &Snapshot) -> bool {
        let (old, new) = (self.sources(before), self.sources(after));
        if old.len() != new.len() {
            return false;
        }
        let mut sources = old.iter().zip(new);
        match self.part {
            ChunkPart::Polls => sources.all(|(old, new)| Arc::ptr_eq(old, new)),
            ChunkPart::Campaigns => sources.all(|(old, new)| {
                same_source(old, new)
                    && (!old.has_archived_campaigns()
                        || old.windows.len() == new.windows.len()
                            && old
                                .windows
                                .iter()
                                .zip(&new.windows)
                                .all(|(old, new)| same_rows(old, new)))
            }),
            ChunkPart::Rows => {
                let mut windows = self.windows(before).zip(self.windows(after));
                sources.all(|(old, new)| same_source(old, new))
                    && windows.all(|((old, window_idx), (new, _))| {
                        same_rows(&old.windows[window_idx], &new.windows[window_idx])
                    })
            }
        }
    }
}

impl Unit<'_> {
    /// Returns whether a chunk ends after this unit. The probability is proportional to the number of
    /// rows.
    fn is_boundary(&self) -> bool {
        let hashes_per_row = u64::MAX / MIN_ROWS_PER_CHUNK as u64;
        self.rows >= MIN_ROWS_PER_CHUNK || fnv1a_mix(&self.name) < hashes_per_row * self.rows as u64
    }
}

/// Iterates over the units of one part, in the order of the page.
fn units(snapshot: &Snapshot, part: ChunkPart) -> impl Iterator<Item = Unit<'_>> {
    let sources = snapshot.sources.iter().enumerate();
    sources.flat_map(move |(source_idx, state)| {
        let inventory = state.inventory.as_deref();
        let source = &state.source;
        let units = match part {
            ChunkPart::Rows => state.windows.len(),
            ChunkPart::Campaigns | ChunkPart::Polls => 1,
        };
        (0..units).map(move |window_idx| {
            let rows = match part {
                ChunkPart::Rows => estimated_rows(state, window_idx),
                ChunkPart::Campaigns => inventory.map_or(0, |inventory| inventory.campaigns.len()),
                ChunkPart::Polls => state.windows.len(),
            };
            let window = match part {
                ChunkPart::Rows => source.windows.get(window_idx),
                ChunkPart::Campaigns | ChunkPart::Polls => None,
            };
            let window_name = window.map(|window| window.name.as_ref());
            Unit {
                index: (source_idx, window_idx),
                rows,
                name: [
                    &source.business,
                    &source.name,
                    window_name.unwrap_or_default(),
                ],
            }
        })
    })
}

/// Returns the approximate number of rows of a window, without joining them.
fn estimated_rows(state: &SourceState, window_idx: usize) -> usize {
    let window = &state.windows[window_idx];
    let results = [&window.delivery, &window.conversions];
    let received = results
        .into_iter()
        .flatten()
        .map(|row_set| row_set.rows.len());
    let inventory = state.inventory.as_ref();
    let entities = inventory.map_or(0, |inventory| inventory.entities.len());
    // Without a result nothing is exported, not even the entities of the inventory.
    received.max().map_or(0, |received| received.max(entities))
}

fn same_source(a: &SourceState, b: &SourceState) -> bool {
    Arc::ptr_eq(&a.source, &b.source)
        && is_same_arc(a.inventory.as_ref(), b.inventory.as_ref())
        && a.duplicate == b.duplicate
        && is_same_arc(a.left_out.as_ref(), b.left_out.as_ref())
        && a.describes_account == b.describes_account
}

fn same_rows(a: &WindowState, b: &WindowState) -> bool {
    a.duplicate == b.duplicate
        && is_same_arc(a.delivery.as_ref(), b.delivery.as_ref())
        && is_same_arc(a.conversions.as_ref(), b.conversions.as_ref())
}
