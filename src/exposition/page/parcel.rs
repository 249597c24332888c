//! A stretch of the page, rendered and compressed, one segment a family.

use std::io;

use super::segment::{Deflater, Segment, Sum};
use super::stretch::{Part, Stretch};
use crate::exposition::catalog::Of;
use crate::exposition::heading::Heading;
use crate::exposition::writer::{Lines, batches, campaigns, polls, rows};
use crate::snapshot::Snapshot;

/// A stretch, ready to be served any number of times.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) stretch: Stretch,
    sheet: Sheet,
    /// How many series it has.
    pub(super) series: u64,
}

/// One segment a heading, in the order of the headings.
type Sheet = Vec<Segment>;

impl Parcel {
    /// Renders and compresses a stretch, a batch of rows at a time: neither its text nor its rows as a
    /// whole ever stand in memory.
    pub(super) fn render(
        stretch: Stretch,
        snapshot: &Snapshot,
        headings: &[Heading],
    ) -> io::Result<Self> {
        let mut lines = Lines::to(Deflater::new());
        let sources = stretch.sources(snapshot);
        let sheet = match stretch.part {
            Part::Rows => {
                let sheets = batches(stretch.windows(snapshot)).map(|batch| {
                    sheet(headings, &mut lines, |lines, heading| match heading.of {
                        Of::Row(of) => rows(lines, &heading.name, of, &batch),
                        Of::Extras | Of::Campaign(_) | Of::Poll(_) => Ok(()),
                    })
                });
                joined(headings.len(), sheets.collect::<io::Result<_>>()?)
            }
            Part::Campaigns => sheet(headings, &mut lines, |lines, heading| match heading.of {
                Of::Campaign(of) => campaigns(lines, &heading.name, of, sources),
                Of::Extras | Of::Row(_) | Of::Poll(_) => Ok(()),
            })?,
            Part::Polls => sheet(headings, &mut lines, |lines, heading| match heading.of {
                Of::Poll(of) => polls(lines, &heading.name, of, sources),
                Of::Extras | Of::Row(_) | Of::Campaign(_) => Ok(()),
            })?,
        };
        Ok(Self {
            stretch,
            sheet,
            series: lines.series,
        })
    }

    /// What it says of a family, by the place of its heading; `None` where that is nothing.
    pub(super) fn segment(&self, family: usize) -> Option<&Segment> {
        let segment = self.sheet.get(family)?;
        (segment.sum.length > 0).then_some(segment)
    }
}

/// Batches as one sheet, family by family, and each let go of as soon as it is copied. A scrape
/// hands out few long pieces with fewer calls of the system than many short ones.
fn joined(families: usize, mut sheets: Vec<Sheet>) -> Sheet {
    let families = (0..families).map(|family| {
        let parts = sheets.iter_mut().filter_map(|sheet| sheet.get_mut(family));
        let parts: Vec<Segment> = parts.map(std::mem::take).collect();
        let length = parts.iter().map(|part| part.deflated.len()).sum();
        let mut deflated = Vec::with_capacity(length);
        let mut sum = Sum::default();
        for part in parts {
            deflated.extend_from_slice(&part.deflated);
            sum.append(&part.sum);
        }
        Segment {
            deflated: deflated.into(),
            sum,
        }
    });
    families.collect()
}

fn sheet(
    headings: &[Heading],
    lines: &mut Lines<Deflater>,
    mut family: impl FnMut(&mut Lines<Deflater>, &Heading) -> io::Result<()>,
) -> io::Result<Sheet> {
    for heading in headings {
        family(lines, heading)?;
        lines.flush()?;
        lines.out.cut()?;
    }
    Ok(lines.out.take())
}
