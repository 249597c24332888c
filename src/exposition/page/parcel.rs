//! A stretch of the page, rendered and compressed, one segment a family.

use std::io::{self, Write};
use std::ops::Range;

use bytes::Bytes;

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
    /// One a heading, in the order of the headings.
    pub(super) segments: Box<[Segment]>,
    /// How many series it has.
    pub(super) series: u64,
}

impl Parcel {
    /// Renders and compresses a stretch, a batch of rows at a time: neither its text nor its rows as a
    /// whole ever stand in memory.
    pub(super) fn render(
        stretch: Stretch,
        snapshot: &Snapshot,
        headings: &[Heading],
    ) -> io::Result<Self> {
        let mut lines = Lines::to(Deflater::new());
        let mut parts: Vec<(usize, Range<usize>, Sum)> = Vec::new();
        let mut cut = |lines: &mut Lines<Deflater>, family| -> io::Result<()> {
            lines.flush()?;
            let (at, sum) = lines.out.cut()?;
            parts.push((family, at, sum));
            Ok(())
        };
        let numbered = || headings.iter().enumerate();
        let sources = stretch.sources(snapshot);
        match stretch.part {
            Part::Rows => {
                for batch in batches(stretch.windows(snapshot)) {
                    for (family, heading) in numbered() {
                        if let Of::Row(of) = heading.of {
                            rows(&mut lines, &heading.name, of, &batch)?;
                            cut(&mut lines, family)?;
                        }
                    }
                }
            }
            Part::Campaigns => {
                for (family, heading) in numbered() {
                    if let Of::Campaign(of) = heading.of {
                        campaigns(&mut lines, &heading.name, of, sources)?;
                        cut(&mut lines, family)?;
                    }
                }
            }
            Part::Polls => {
                for (family, heading) in numbered() {
                    if let Of::Poll(of) = heading.of {
                        polls(&mut lines, &heading.name, of, sources)?;
                        cut(&mut lines, family)?;
                    }
                }
            }
        }
        // What stands together on the page stands together here, in one buffer of the right size.
        parts.sort_by_key(|(family, at, _)| (*family, at.start));
        let mut deflated = Vec::with_capacity(lines.out.deflated.len());
        let mut segments = vec![(0..0, Sum::default()); headings.len()];
        for (family, at, sum) in parts {
            let (range, whole) = &mut segments[family];
            if whole.length == 0 {
                range.start = deflated.len();
            }
            deflated.write_all(&lines.out.deflated[at])?;
            range.end = deflated.len();
            whole.append(&sum);
        }
        let deflated = Bytes::from(deflated);
        let segments = segments.into_iter().map(|(at, sum)| Segment {
            deflated: deflated.slice(at),
            sum,
        });
        Ok(Self {
            stretch,
            segments: segments.collect(),
            series: lines.series,
        })
    }
}
