//! What of a page is rendered together, and so kept together while nothing in it changes.
//!
//! A poll changes one window of one source; to render everything anew for that would cost as much as
//! all polls together. To keep every window by itself would make thousands of tiny pieces where
//! sources are small. So neighbours stand together in stretches of about the same size. Where one
//! ends is decided by a hash of each name, not by counting: a source that grows or goes away changes the
//! stretch that it is in, and no other.

use std::sync::Arc;

use crate::snapshot::{Known, Snapshot, WindowKnown};
use crate::spread::hash;

/// How many rows a stretch has on average, where windows are small. One with more is a stretch of its own.
const ROWS: usize = 512;

/// What is known consists of parts that change at different times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// The rows of windows, which a poll of the window brings.
    Rows,
    /// Campaigns, which discovery brings.
    Campaigns,
    /// The polls themselves, which change with each.
    Polls,
}

/// Neighbours on the page: of this source and window up to that, both included. What is not of a
/// window has the window 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stretch {
    pub(super) part: Part,
    first: (usize, usize),
    last: (usize, usize),
}

impl Stretch {
    /// All of a snapshot, in the page's order.
    pub(super) fn all(snapshot: &Snapshot) -> Vec<Self> {
        let mut all = Vec::new();
        for part in [Part::Rows, Part::Campaigns, Part::Polls] {
            let mut open: Option<Self> = None;
            for (place, rows, name) in units(snapshot, part) {
                if rows >= ROWS {
                    all.extend(open.take());
                }
                let first = open.map_or(place, |open| open.first);
                let stretch = Self {
                    part,
                    first,
                    last: place,
                };
                if ends_with(rows, name) {
                    all.push(stretch);
                    open = None;
                } else {
                    open = Some(stretch);
                }
            }
            all.extend(open);
        }
        all
    }

    /// Its sources.
    pub(super) fn sources<'a>(&self, snapshot: &'a Snapshot) -> &'a [Arc<Known>] {
        let sources = snapshot.sources.get(self.first.0..=self.last.0);
        sources.unwrap_or_default()
    }

    /// Its windows, as their sources and their places there.
    pub(super) fn windows<'a>(
        &self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a Known, usize)> + use<'a> {
        let Self { first, last, .. } = *self;
        let sources = (first.0..).zip(self.sources(snapshot));
        sources
            .flat_map(|(place, known)| (0..known.windows.len()).map(move |w| ((place, w), known)))
            .filter(move |(place, _)| (first..=last).contains(place))
            .map(|((_, window), known)| (known.as_ref(), window))
    }

    /// Whether it says the same of both snapshots, since it stands on the very same things.
    pub(super) fn is_same(&self, before: &Snapshot, now: &Snapshot) -> bool {
        let (was, is) = (self.sources(before), self.sources(now));
        let mut sources = was.iter().zip(is);
        match self.part {
            Part::Polls => was.len() == is.len() && sources.all(|(a, b)| Arc::ptr_eq(a, b)),
            Part::Campaigns => was.len() == is.len() && sources.all(|(a, b)| same_source(a, b)),
            Part::Rows => {
                was.len() == is.len()
                    && sources.all(|(a, b)| same_source(a, b))
                    && self
                        .windows(before)
                        .zip(self.windows(now))
                        .all(|((a, place), (b, _))| same_rows(&a.windows[place], &b.windows[place]))
            }
        }
    }
}

/// Whether a stretch ends with what has so many rows and that name: the more rows, the likelier.
fn ends_with(rows: usize, name: [&str; 3]) -> bool {
    let share = u64::MAX / ROWS as u64;
    rows >= ROWS || hash(&name) < share * rows as u64
}

/// What stretches consist of: its place, how many rows it has, and its name.
fn units(
    snapshot: &Snapshot,
    part: Part,
) -> impl Iterator<Item = ((usize, usize), usize, [&str; 3])> {
    let sources = snapshot.sources.iter().enumerate();
    sources.flat_map(move |(place, known)| {
        let listing = known.listing.as_deref();
        let source = &known.source;
        let windows = match part {
            Part::Rows => known.windows.len(),
            Part::Campaigns | Part::Polls => 1,
        };
        (0..windows).map(move |window| {
            let rows = match part {
                Part::Rows => rows(known, window),
                Part::Campaigns => listing.map_or(0, |listing| listing.campaigns.len()),
                Part::Polls => known.windows.len(),
            };
            let named = match part {
                Part::Rows => source
                    .windows
                    .get(window)
                    .map(|window| window.name.as_ref()),
                Part::Campaigns | Part::Polls => None,
            };
            let name = [&source.business, &source.name, named.unwrap_or_default()];
            ((place, window), rows, name)
        })
    })
}

/// How many rows that window has, as far as counting is cheap.
fn rows(known: &Known, window: usize) -> usize {
    let window = &known.windows[window];
    let answers = [&window.delivery, &window.conversions];
    let most = answers
        .into_iter()
        .flatten()
        .map(|answer| answer.rows.len());
    let listed = known.listing.as_ref().map(|listing| listing.members.len());
    // Without an answer nothing is shown, not even what is listed.
    most.max().map_or(0, |most| most.max(listed.unwrap_or(0)))
}

fn same_source(a: &Known, b: &Known) -> bool {
    Arc::ptr_eq(&a.source, &b.source)
        && same(a.listing.as_ref(), b.listing.as_ref())
        && a.gives_way == b.gives_way
}

fn same_rows(a: &WindowKnown, b: &WindowKnown) -> bool {
    same(a.delivery.as_ref(), b.delivery.as_ref())
        && same(a.conversions.as_ref(), b.conversions.as_ref())
}

fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}
