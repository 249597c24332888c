//! The metrics page: rendered incrementally, kept compressed, and served as one gzip member.
//!
//! The text format groups samples by family, while a poll changes a few rows of every family. So the
//! page is divided in both directions: into chunks of neighbouring sources (`chunk`), and each chunk
//! into one compressed segment per family (`rendered_chunk`, `gzip`). The page concatenates the segments
//! family by family. Chunks without changes are reused by the next page.
//!
//! The response is a single gzip member of the current global self metrics, the self metrics of
//! businesses, and the campaign page. It is not several members, one per part: Prometheus reads all
//! members, but curl, wget and browsers stop after the first.

mod chunk;
mod gzip;
mod headers;
mod rendered_chunk;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::write::DeflateDecoder;

use self::chunk::Chunk;
use self::gzip::{Checksum, FINAL_BLOCK, GzipSegment};
use self::headers::RenderedHeaders;
use self::rendered_chunk::RenderedChunk;
use super::formats::openmetrics_families;
use super::header::family_headers;
use super::render::extra_fields;
use super::series_limit::{DroppedSeries, limit_series};
use crate::snapshot::Snapshot;

/// Content type of the Prometheus text format, in the spelling that Prometheus 3 requires.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Content type of OpenMetrics.
pub const OPENMETRICS_CONTENT_TYPE: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Last line of a page in OpenMetrics.
const OPENMETRICS_END: &[u8] = b"# EOF\n";

/// Format of a metrics page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFormat {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0. All campaign metrics are gauges: their samples are the same in both formats.
    OpenMetrics,
}

impl PageFormat {
    /// Returns self metrics in this format, without the line that ends a page.
    pub fn convert(self, self_metrics: String) -> String {
        match self {
            Self::Text => self_metrics,
            Self::OpenMetrics => openmetrics_families(&self_metrics),
        }
    }

    /// Returns what follows the last sample.
    pub fn end(self) -> &'static [u8] {
        match self {
            Self::Text => b"",
            Self::OpenMetrics => OPENMETRICS_END,
        }
    }
}

/// Gzip header (RFC 1952) without name and time, with XFL 4 (fastest) and an unknown operating system:
/// equal pages have equal bytes.
const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// A snapshot and its rendered page. Cheap to clone. The campaign page is the metrics page without self metrics.
#[derive(Clone, Debug)]
pub struct MetricsPage {
    /// Snapshot from which the page was rendered, without the campaigns that `max_series` leaves out.
    pub snapshot: Arc<Snapshot>,
    /// Number of series that are left out.
    pub dropped_series: Arc<DroppedSeries>,
    /// Number of series on the campaign page.
    pub series: u64,
    /// Size of the campaign page in bytes, uncompressed.
    pub plain_bytes: u64,
    /// Self metrics of all businesses, uncompressed.
    pub businesses: Bytes,
    /// `businesses`, compressed.
    self_metrics: GzipSegment,
    /// Self metrics of all businesses in OpenMetrics, converted for the first request.
    openmetrics_businesses: Arc<OnceLock<(Bytes, GzipSegment)>>,
    headers: Arc<RenderedHeaders>,
    /// Chunks in the order of the page, for reuse by the next page.
    chunks: Arc<[Arc<RenderedChunk>]>,
    /// Compressed segments of the campaign page, in order; without a final block.
    campaigns: Arc<[Bytes]>,
    /// Checksum and length of the uncompressed campaign page.
    checksum: Checksum,
    /// Segments and checksum in OpenMetrics; `None` if they are the same.
    openmetrics_campaigns: Option<(Arc<[Bytes]>, Checksum)>,
}

/// Page as one gzip member.
#[derive(Debug)]
pub struct GzipBody {
    /// Gzip header, global self metrics and self metrics of businesses.
    head: [Bytes; 3],
    /// Segments of the campaign page, shared with the [`MetricsPage`].
    campaigns: Arc<[Bytes]>,
    /// End of the page, and trailer of the member.
    tail: [Bytes; 2],
}

impl MetricsPage {
    /// Renders and compresses a snapshot. The uncompressed page is never in memory as a whole.
    ///
    /// `businesses` is the text of the self metrics of all businesses. Unchanged chunks are taken from
    /// `previous`, the page that this one replaces.
    ///
    /// CPU-bound, tens of milliseconds per 100,000 changed series: do not call it on an async worker.
    ///
    /// # Errors
    /// Returns errors of the compressor, which the content of the page does not cause.
    pub fn render(
        snapshot: Arc<Snapshot>,
        businesses: String,
        previous: Option<&Self>,
    ) -> io::Result<Self> {
        let before = previous.map(|previous| (&*previous.snapshot, &*previous.dropped_series));
        let (snapshot, dropped_series) = limit_series(snapshot, before)?;
        let same_families =
            |previous: &&Self| extra_fields(&previous.snapshot) == extra_fields(&snapshot);
        let previous = previous.filter(same_families);
        let headers = match previous {
            Some(previous) => Arc::clone(&previous.headers),
            None => Arc::new(RenderedHeaders::new(family_headers(extra_fields(
                &snapshot,
            )))?),
        };
        let reusable = reusable_chunks(previous, &snapshot);
        let chunks = Chunk::all(&snapshot)
            .into_iter()
            .map(|chunk| match reusable.get(&chunk) {
                Some(rendered) => Ok(Arc::clone(rendered)),
                None => RenderedChunk::render(chunk, &snapshot, &headers.families).map(Arc::new),
            });
        let chunks = chunks.collect::<io::Result<Arc<[_]>>>()?;
        let (campaigns, checksum) = assemble(&headers.segments, &chunks);
        let openmetrics_campaigns = headers
            .openmetrics_segments
            .as_ref()
            .map(|segments| assemble(segments, &chunks));
        Ok(Self {
            snapshot,
            dropped_series: Arc::new(dropped_series),
            series: chunks.iter().map(|chunk| chunk.series).sum(),
            plain_bytes: checksum.length,
            self_metrics: GzipSegment::compress(businesses.as_bytes())?,
            businesses: businesses.into(),
            openmetrics_businesses: Arc::default(),
            openmetrics_campaigns,
            headers,
            chunks,
            campaigns,
            checksum,
        })
    }

    /// Returns the page with other self metrics of businesses. `businesses` is text in the same format as in
    /// [`MetricsPage::render`].
    ///
    /// # Errors
    /// Returns errors of the compressor, which the text does not cause.
    pub fn with_businesses(&self, businesses: String) -> io::Result<Self> {
        Ok(Self {
            self_metrics: GzipSegment::compress(businesses.as_bytes())?,
            businesses: businesses.into(),
            openmetrics_businesses: Arc::default(),
            ..self.clone()
        })
    }

    /// Returns the self metrics of all businesses as text.
    pub fn businesses(&self, format: PageFormat) -> Bytes {
        match format {
            PageFormat::Text => self.businesses.clone(),
            PageFormat::OpenMetrics => self.openmetrics_businesses().0.clone(),
        }
    }

    fn openmetrics_businesses(&self) -> &(Bytes, GzipSegment) {
        self.openmetrics_businesses.get_or_init(|| {
            let text = String::from_utf8_lossy(&self.businesses);
            let text = Bytes::from(openmetrics_families(&text));
            let segment = GzipSegment::compress(&text)
                .unwrap_or_else(|_| GzipSegment::store_uncompressed(&text));
            (text, segment)
        })
    }

    fn campaigns(&self, format: PageFormat) -> (&Arc<[Bytes]>, &Checksum) {
        match (format, &self.openmetrics_campaigns) {
            (PageFormat::OpenMetrics, Some((campaigns, checksum))) => (campaigns, checksum),
            _ => (&self.campaigns, &self.checksum),
        }
    }

    /// Returns the size of the campaign page in bytes, uncompressed, with the end of the page.
    pub fn length(&self, format: PageFormat) -> u64 {
        self.campaigns(format).1.length + format.end().len() as u64
    }

    /// Writes the campaign page as text, by decompressing it, and the end of the page.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn write(&self, format: PageFormat, out: impl Write) -> io::Result<()> {
        let mut inflater = DeflateDecoder::new(out);
        for segment in self.campaigns(format).0.iter() {
            inflater.write_all(segment)?;
        }
        inflater.write_all(FINAL_BLOCK)?;
        inflater.finish()?.write_all(format.end())
    }

    /// Returns the global self metrics and this page as one gzip member. The campaign page is neither
    /// compressed nor copied. `global_metrics` is in `format`.
    pub fn gzip(&self, format: PageFormat, global_metrics: &[u8]) -> GzipBody {
        let global_metrics = GzipSegment::store_uncompressed(global_metrics);
        let businesses = match format {
            PageFormat::Text => &self.self_metrics,
            PageFormat::OpenMetrics => &self.openmetrics_businesses().1,
        };
        let (campaigns, checksum) = self.campaigns(format);
        let end = GzipSegment::store_uncompressed(format.end());
        let mut sum = global_metrics.sum;
        sum.append(&businesses.sum);
        sum.append(checksum);
        sum.append(&end.sum);
        let mut trailer = FINAL_BLOCK.to_vec();
        trailer.extend_from_slice(&sum.checksum.finalize().to_le_bytes());
        // The length modulo 2^32.
        trailer.extend_from_slice(&sum.length.to_le_bytes()[..4]);
        let header = Bytes::from_static(GZIP_HEADER);
        GzipBody {
            head: [header, global_metrics.deflated, businesses.deflated.clone()],
            campaigns: Arc::clone(campaigns),
            tail: [end.deflated, trailer.into()],
        }
    }
}

/// Returns the rendered chunks of `previous` that are the same for the new snapshot.
fn reusable_chunks<'a>(
    previous: Option<&'a MetricsPage>,
    snapshot: &Snapshot,
) -> HashMap<Chunk, &'a Arc<RenderedChunk>> {
    let chunks = previous.into_iter().flat_map(|previous| {
        let chunks = previous.chunks.iter();
        chunks.filter(|rendered| rendered.chunk.is_same(&previous.snapshot, snapshot))
    });
    chunks.map(|rendered| (rendered.chunk, rendered)).collect()
}

/// Concatenates headers and chunks, family by family, and combines their checksums.
fn assemble(headers: &[GzipSegment], chunks: &[Arc<RenderedChunk>]) -> (Arc<[Bytes]>, Checksum) {
    let (mut page, mut checksum) = (Vec::new(), Checksum::default());
    for (family_idx, header) in headers.iter().enumerate() {
        let mut samples = chunks
            .iter()
            .filter_map(|chunk| chunk.segment(family_idx))
            .peekable();
        // A family without samples has no header.
        let header = samples.peek().map(|_| header);
        for segment in header.into_iter().chain(samples) {
            checksum.append(&segment.sum);
            page.push(segment.deflated.clone());
        }
    }
    (page.into(), checksum)
}

impl GzipBody {
    /// Returns the compressed size in bytes, for `Content-Length`.
    pub fn length(&self) -> u64 {
        let parts = self.head.iter().chain(self.campaigns.iter());
        let parts = parts.chain(&self.tail);
        parts.map(|part| part.len() as u64).sum()
    }

    /// Returns the content in parts, none of which is empty.
    pub fn into_parts(self) -> impl Iterator<Item = Bytes> + Send {
        let Self {
            head,
            campaigns,
            tail,
        } = self;
        let campaigns = (0..campaigns.len()).map(move |part_idx| campaigns[part_idx].clone());
        let parts = head.into_iter().chain(campaigns).chain(tail);
        parts.filter(|part| !part.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use super::{MetricsPage, PageFormat};
    use crate::snapshot::Snapshot;

    #[test]
    fn empty_page_with_self_metrics_is_one_gzip_member() {
        let page =
            MetricsPage::render(Arc::new(Snapshot::default()), "old 1\n".to_owned(), None).unwrap();
        let page = page.with_businesses("business 1\n".to_owned()).unwrap();
        for (format, end) in [(PageFormat::Text, ""), (PageFormat::OpenMetrics, "# EOF\n")] {
            let body = page.gzip(format, b"global 1\n");
            let length = body.length();
            let member: Vec<u8> = body.into_parts().flatten().collect();
            assert_eq!(member.len() as u64, length);
            let mut text = String::new();
            flate2::read::GzDecoder::new(member.as_slice())
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, format!("global 1\nbusiness 1\n{end}"));
        }
    }
}
