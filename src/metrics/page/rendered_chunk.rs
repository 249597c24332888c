//! Rendering of one chunk of the page into compressed segments, one per family.

use std::io;

use super::chunk::{Chunk, ChunkPart};
use super::gzip::{Checksum, Deflater, GzipSegment};
use crate::metrics::catalog::SampleSource;
use crate::metrics::header::FamilyHeader;
use crate::metrics::render::{SampleWriter, accounts, batches, campaigns, polls, rows};
use crate::snapshot::Snapshot;

/// Rendered and compressed samples of one chunk.
#[derive(Debug)]
pub(super) struct RenderedChunk {
    /// Range of sources and windows that the samples belong to.
    pub(super) chunk: Chunk,
    /// Segments by family; without text for families that have no samples in this part.
    segments: FamilySegments,
    /// Number of series in the chunk.
    pub(super) series: u64,
}

/// One segment per family, in the order of the page.
type FamilySegments = Vec<GzipSegment>;

impl RenderedChunk {
    /// Renders and compresses a chunk. Rows are rendered in batches, so that neither all rows nor the
    /// text of the whole chunk are in memory at once.
    ///
    /// # Errors
    /// Returns the errors of the compressor.
    pub(super) fn render(
        chunk: Chunk,
        snapshot: &Snapshot,
        families: &[FamilyHeader],
    ) -> io::Result<Self> {
        let mut writer = SampleWriter::new(Deflater::new());
        let sources = chunk.sources(snapshot);
        let segments = match chunk.part {
            ChunkPart::Rows => {
                let segments = batches(chunk.windows(snapshot)).map(|batch| {
                    render_families(families, &mut writer, |writer, family| {
                        match family.source {
                            SampleSource::Row(sample) => rows(writer, &family.name, sample, &batch),
                            SampleSource::Extras
                            | SampleSource::Campaign(_)
                            | SampleSource::Account(_)
                            | SampleSource::Poll(_) => Ok(()),
                        }
                    })
                });
                concat(families.len(), segments.collect::<io::Result<_>>()?)
            }
            ChunkPart::Campaigns => render_families(families, &mut writer, |writer, family| {
                match family.source {
                    SampleSource::Campaign(sample) => {
                        campaigns(writer, &family.name, sample, sources)
                    }
                    SampleSource::Account(sample) => {
                        accounts(writer, &family.name, sample, sources)
                    }
                    SampleSource::Extras | SampleSource::Row(_) | SampleSource::Poll(_) => Ok(()),
                }
            })?,
            ChunkPart::Polls => {
                render_families(families, &mut writer, |writer, family| {
                    match family.source {
                        SampleSource::Poll(sample) => polls(writer, &family.name, sample, sources),
                        SampleSource::Extras
                        | SampleSource::Row(_)
                        | SampleSource::Campaign(_)
                        | SampleSource::Account(_) => Ok(()),
                    }
                })?
            }
        };
        Ok(Self {
            chunk,
            segments,
            series: writer.series,
        })
    }

    /// Returns the samples of a family, or `None` if the chunk has none.
    pub(super) fn segment(&self, family_idx: usize) -> Option<&GzipSegment> {
        let segment = self.segments.get(family_idx)?;
        (segment.sum.length > 0).then_some(segment)
    }
}

/// Concatenates the segments of all batches, family by family, and frees each batch's segment as soon
/// as it is copied. Few long segments need fewer system calls at a scrape than many short ones.
fn concat(family_count: usize, mut batches: Vec<FamilySegments>) -> FamilySegments {
    let families = (0..family_count).map(|family_idx| {
        let parts = batches
            .iter_mut()
            .filter_map(|segments| segments.get_mut(family_idx));
        let parts: Vec<GzipSegment> = parts.map(std::mem::take).collect();
        let length = parts.iter().map(|part| part.deflated.len()).sum();
        let mut deflated = Vec::with_capacity(length);
        let mut sum = Checksum::default();
        for part in parts {
            deflated.extend_from_slice(&part.deflated);
            sum.append(&part.sum);
        }
        GzipSegment {
            deflated: deflated.into(),
            sum,
        }
    });
    families.collect()
}

/// Writes the samples of each family to one segment. Returns a segment for every family, also if it has no samples.
fn render_families(
    families: &[FamilyHeader],
    writer: &mut SampleWriter<Deflater>,
    mut write_samples: impl FnMut(&mut SampleWriter<Deflater>, &FamilyHeader) -> io::Result<()>,
) -> io::Result<FamilySegments> {
    for family in families {
        write_samples(writer, family)?;
        writer.flush()?;
        writer.out.end_segment()?;
    }
    Ok(writer.out.drain())
}
