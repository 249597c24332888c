//! The campaign page, compressed once a change, and joined at each scrape with the exporter's own
//! metrics into one gzip member.
//!
//! A member is a header, one deflate stream, and the checksum and length of the whole text. The
//! own metrics are a stream of their own that ends on a byte boundary without a final block; the
//! page's stream follows as it was cached. Two members would be read in full by Prometheus, and
//! cut after the first by curl, wget and browsers.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::writer::write;
use crate::snapshot::Snapshot;

/// The text format, exactly as Prometheus 3 wants it named.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// No name, no time, unknown system: the same text is always the same bytes.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// A snapshot with its page, ready to be handed out any number of times.
#[derive(Debug)]
pub struct Page {
    /// What the page says.
    pub snapshot: Arc<Snapshot>,
    /// How many series it has.
    pub series: u64,
    /// How many bytes it has as plain text.
    pub plain_bytes: u64,
    deflated: Bytes,
    checksum: Hasher,
}

impl Page {
    /// Renders and compresses, in portions: the plain page as a whole never stands in memory.
    ///
    /// CPU-bound, tens of milliseconds a 100,000 series: keep it off the async workers.
    ///
    /// # Errors
    /// None that the page can cause; what writing to memory may say.
    pub fn render(snapshot: Arc<Snapshot>) -> io::Result<Self> {
        let mut summed = Summed {
            encoder: DeflateEncoder::new(Vec::new(), Compression::fast()),
            checksum: Hasher::new(),
            bytes: 0,
        };
        let series = write(&snapshot, &mut summed)?;
        let mut deflated = summed.encoder.finish()?;
        deflated.shrink_to_fit();
        Ok(Self {
            snapshot,
            series,
            plain_bytes: summed.bytes,
            deflated: deflated.into(),
            checksum: summed.checksum,
        })
    }

    /// One gzip member of `own` and this page, in pieces to be sent one after the other. The page
    /// itself is not copied.
    ///
    /// # Errors
    /// As [`Page::render`].
    pub fn gzip(&self, own: &[u8]) -> io::Result<[Bytes; 3]> {
        let mut head = DeflateEncoder::new(GZIP_HEADER.to_vec(), Compression::fast());
        head.write_all(own)?;
        // A flush ends on a byte boundary and leaves the stream open.
        head.flush()?;
        let head = std::mem::take(head.get_mut());
        let mut checksum = Hasher::new();
        checksum.update(own);
        checksum.combine(&self.checksum);
        let length = (own.len() as u64).wrapping_add(self.plain_bytes);
        let mut tail = checksum.finalize().to_le_bytes().to_vec();
        // The format wants the length modulo 2^32: its lower four bytes.
        tail.extend_from_slice(&length.to_le_bytes()[..4]);
        Ok([head.into(), self.deflated.clone(), tail.into()])
    }
}

/// Compresses what is written, and keeps its checksum and length.
struct Summed {
    encoder: DeflateEncoder<Vec<u8>>,
    checksum: Hasher,
    bytes: u64,
}

impl Write for Summed {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.encoder.write_all(text)?;
        self.checksum.update(text);
        self.bytes += text.len() as u64;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
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
        let page = Page::render(Arc::new(Snapshot::default())).unwrap();
        let member = page.gzip(b"own 1\n").unwrap().concat();
        let mut text = String::new();
        flate2::read::GzDecoder::new(member.as_slice())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "own 1\n");
    }
}
