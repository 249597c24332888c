//! The headings of a page, compressed once: they are the config's, and no poll changes them.

use std::io::{self, Write};

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
        for heading in &headings {
            deflater.write_all(&heading.text(false))?;
            deflater.cut()?;
        }
        Ok(Self {
            segments: deflater.take(),
            headings,
        })
    }
}
