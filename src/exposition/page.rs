//! What is served, ready to be handed out: the campaign page, compressed once a change, and the own
//! metrics that grow with the number of businesses; joined at each scrape with the few others into
//! one gzip member.
//!
//! A member is a header, one deflate stream, and the checksum and length of the whole text. The
//! stream is made of segments: the few own metrics as they are now, then those that were cached.
//! Two members would be read in full by Prometheus, and cut after the first by curl, wget and
//! browsers.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;

use super::segment::{Segment, Then};
use super::writer::write;
use crate::snapshot::Snapshot;

/// The text format, exactly as Prometheus 3 wants it named.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// No name, no time, unknown system: the same text is always the same bytes.
const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// A snapshot with its page, ready to be handed out any number of times.
#[derive(Debug)]
pub struct Page {
    /// What the page says.
    pub snapshot: Arc<Snapshot>,
    /// How many series the campaign page has.
    pub series: u64,
    /// How many bytes the campaign page has as plain text.
    pub plain_bytes: u64,
    /// The own metrics of every business, as plain text.
    pub businesses: Bytes,
    own: Segment,
    campaigns: Segment,
}

impl Page {
    /// Renders and compresses a snapshot, in portions: the plain page as a whole never stands in
    /// memory. `businesses` is the text of the own metrics that grow with their number; `before`
    /// is the page that this one replaces.
    ///
    /// CPU-bound, tens of milliseconds a 100,000 series: keep it off the async workers.
    ///
    /// # Errors
    /// None that the page can cause; what writing to memory may say.
    pub fn render(
        snapshot: Arc<Snapshot>,
        businesses: String,
        before: Option<&Self>,
    ) -> io::Result<Self> {
        let room = before.map_or(0, |before| before.campaigns.deflated.len());
        let room = room + room / 16;
        let (campaigns, series) = Segment::of(room, Then::End, |to| write(&snapshot, to))?;
        Ok(Self {
            snapshot,
            series,
            plain_bytes: campaigns.length,
            own: Segment::of_text(businesses.as_bytes())?,
            businesses: businesses.into(),
            campaigns,
        })
    }

    /// The same campaign page with other own metrics.
    ///
    /// # Errors
    /// As [`Page::render`].
    pub fn with_businesses(&self, businesses: String) -> io::Result<Self> {
        Ok(Self {
            snapshot: Arc::clone(&self.snapshot),
            series: self.series,
            plain_bytes: self.plain_bytes,
            own: Segment::of_text(businesses.as_bytes())?,
            businesses: businesses.into(),
            campaigns: self.campaigns.clone(),
        })
    }

    /// One gzip member of `few` own metrics and this page, in pieces to be sent one after the
    /// other. The page itself is not copied.
    ///
    /// # Errors
    /// As [`Page::render`].
    pub fn gzip(&self, few: &[u8]) -> io::Result<[Bytes; 5]> {
        let few = Segment::of_text(few)?;
        let segments = [&few, &self.own, &self.campaigns];
        let mut checksum = Hasher::new();
        let mut length = 0_u64;
        for segment in segments {
            checksum.combine(&segment.checksum);
            length = length.wrapping_add(segment.length);
        }
        let mut tail = checksum.finalize().to_le_bytes().to_vec();
        // The format wants the length modulo 2^32: its lower four bytes.
        tail.extend_from_slice(&length.to_le_bytes()[..4]);
        let [few, own, campaigns] = segments.map(|segment| segment.deflated.clone());
        let head = Bytes::from_static(GZIP_HEADER);
        Ok([head, few, own, campaigns, tail.into()])
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::Page;
    use crate::snapshot::Snapshot;

    #[test]
    fn an_empty_page_and_own_metrics_are_one_gzip_member() {
        let page = Page::render(Arc::new(Snapshot::default()), "old 1\n".to_owned(), None).unwrap();
        let page = page.with_businesses("business 1\n".to_owned()).unwrap();
        let member = page.gzip(b"own 1\n").unwrap().concat();
        let mut text = String::new();
        flate2::read::GzDecoder::new(member.as_slice())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "own 1\nbusiness 1\n");
    }
}
