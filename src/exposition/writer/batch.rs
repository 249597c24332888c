//! Rows made ready to be written: joined, and their labels rendered once, to be copied into each
//! of their lines.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::tz::TimeZone;

use crate::config::Bounds;
use crate::exposition::labels::{push_row, push_user_labels};
use crate::plan::Window;
use crate::snapshot::{Known, Rows, Shown, shown};

/// How many rows are ready at a time: with their labels and numbers they fit a core's own cache, in
/// which every family finds them again.
const ROWS: usize = 1024;

/// Some rows in the page's order, of one window or of several.
pub(in crate::exposition) struct Batch<'a> {
    blocks: Vec<Block<'a>>,
    rows: Vec<Ready<'a>>,
    labels: Vec<u8>,
}

/// Those of one window of one source.
pub(super) struct Block<'a> {
    pub(super) known: &'a Known,
    pub(super) window: &'a Window,
    pub(super) bounds: Option<&'a Bounds>,
    rows: Range<usize>,
}

/// One row.
pub(super) struct Ready<'a> {
    pub(super) shown: Shown<'a>,
    /// Whether it is the first of its campaign to say that conversions are kept back: below campaigns,
    /// several rows are of one.
    pub(super) tells_withheld: bool,
    labels: Range<usize>,
}

impl<'a> Batch<'a> {
    fn new() -> Self {
        Self {
            blocks: Vec::new(),
            rows: Vec::new(),
            labels: Vec::new(),
        }
    }

    fn push(&mut self, of: &Reading<'a>, row: Ready<'a>) {
        let known = of.known;
        let last = self.rows.len();
        self.rows.push(row);
        match self.blocks.last_mut() {
            Some(block) if std::ptr::eq(block.window, of.window) => block.rows.end = last + 1,
            _ => self.blocks.push(Block {
                known,
                window: of.window,
                bounds: known.source.thresholds.of_window(&of.window.name),
                rows: last..last + 1,
            }),
        }
    }

    /// Its rows, window by window.
    pub(super) fn blocks(&self) -> &[Block<'a>] {
        &self.blocks
    }

    /// The rows of one of its blocks, each with its labels but for the closing brace.
    #[inline]
    pub(super) fn rows(&self, block: &Block<'a>) -> impl Iterator<Item = (&Ready<'a>, &[u8])> {
        let rows = self.rows.get(block.rows.clone()).unwrap_or_default();
        rows.iter()
            .map(|row| (row, &self.labels[row.labels.clone()]))
    }
}

impl<'a> Block<'a> {
    pub(super) fn timezone(&self) -> Option<&'a TimeZone> {
        let listing = self.known.listing.as_ref()?;
        listing.account.timezone.as_ref()
    }
}

/// The rows of these windows, in batches.
pub(in crate::exposition) fn batches<'a>(
    windows: impl Iterator<Item = (&'a Known, usize)>,
) -> impl Iterator<Item = Batch<'a>> {
    let mut windows = windows.filter_map(|(known, place)| Reading::of(known, place));
    let mut reading = windows.next();
    std::iter::from_fn(move || {
        let mut batch = Batch::new();
        while let Some(window) = &mut reading {
            if batch.rows.len() == ROWS {
                break;
            }
            match window.next(&mut batch.labels) {
                Some(row) => batch.push(window, row),
                None => reading = windows.next(),
            }
        }
        (!batch.rows.is_empty()).then_some(batch)
    })
}

/// A window whose rows are being read.
struct Reading<'a> {
    known: &'a Known,
    window: &'a Window,
    rows: Rows<'a>,
    /// The campaigns that said that conversions are kept back.
    withheld: BTreeSet<Option<&'a str>>,
}

impl<'a> Reading<'a> {
    fn of(known: &'a Known, place: usize) -> Option<Self> {
        Some(Self {
            known,
            window: known.source.windows.get(place)?,
            rows: shown(known, place),
            withheld: BTreeSet::new(),
        })
    }

    fn next(&mut self, labels: &mut Vec<u8>) -> Option<Ready<'a>> {
        let shown = self.rows.next()?;
        let identity = shown.identity;
        let campaign = identity.campaign.as_ref().map(|named| named.id.as_str());
        let start = labels.len();
        let source = &self.known.source;
        push_row(labels, &source.business, identity, &self.window.name);
        push_user_labels(labels, &source.labels);
        Some(Ready {
            shown,
            tells_withheld: shown.conversions_withheld && self.withheld.insert(campaign),
            labels: start..labels.len(),
        })
    }
}
