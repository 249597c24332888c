//! HELP and TYPE lines, compressed once per config: they depend only on `insights.extra_fields`.

use std::io::{self, Write};

use super::gzip::{Deflater, GzipSegment};
use crate::metrics::header::FamilyHeader;

/// All families, with their HELP and TYPE lines as segments.
#[derive(Debug)]
pub(super) struct RenderedHeaders {
    /// Families in the order of the page.
    pub(super) families: Vec<FamilyHeader>,
    /// One segment per family, in the same order.
    pub(super) segments: Vec<GzipSegment>,
    /// The same with the escapes of OpenMetrics; `None` if they are equal to `segments`.
    pub(super) openmetrics_segments: Option<Vec<GzipSegment>>,
}

impl RenderedHeaders {
    /// Compresses the HELP and TYPE lines of the families.
    ///
    /// # Errors
    /// Returns the errors of the compressor.
    pub(super) fn new(families: Vec<FamilyHeader>) -> io::Result<Self> {
        let is_equal = |family: &FamilyHeader| family.text(false) == family.text(true);
        let openmetrics_segments = if families.iter().all(is_equal) {
            None
        } else {
            Some(Self::render(&families, true)?)
        };
        Ok(Self {
            segments: Self::render(&families, false)?,
            openmetrics_segments,
            families,
        })
    }

    fn render(families: &[FamilyHeader], escape_quotes: bool) -> io::Result<Vec<GzipSegment>> {
        let mut deflater = Deflater::new();
        for family in families {
            deflater.write_all(&family.text(escape_quotes))?;
            deflater.end_segment()?;
        }
        Ok(deflater.drain())
    }
}
