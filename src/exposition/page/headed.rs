//! The headings of a page, compressed once: they are the config's, and no poll changes them.

use std::io::{self, Write};

use bytes::Bytes;

use super::segment::{Deflater, Segment};
use crate::exposition::heading::Heading;

/// Every family with its heading as a segment.
#[derive(Debug)]
pub(super) struct Headed {
    pub(super) headings: Vec<Heading>,
    /// One a heading.
    pub(super) segments: Vec<Segment>,
}

impl Headed {
    pub(super) fn of(headings: Vec<Heading>) -> io::Result<Self> {
        let mut deflater = Deflater::new();
        let mut cuts = Vec::with_capacity(headings.len());
        for heading in &headings {
            deflater.write_all(&heading.text(false))?;
            cuts.push(deflater.cut()?);
        }
        let deflated = Bytes::from(deflater.deflated);
        let segments = cuts.into_iter().map(|(at, sum)| Segment {
            deflated: deflated.slice(at),
            sum,
        });
        Ok(Self {
            segments: segments.collect(),
            headings,
        })
    }
}
