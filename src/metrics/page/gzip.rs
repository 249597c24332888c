//! Segments of a deflate stream that can be concatenated in any order to one gzip member.
//!
//! Each segment ends with a full flush (`Z_FULL_FLUSH`): it ends on a byte boundary, and has no
//! back-references to earlier segments. The CRC-32 of the whole text is combined from those of the
//! segments (`crc32_combine` in zlib), without reading the text again.

use std::io::{self, Write};
use std::ops::Range;

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

/// Empty final block that ends a deflate stream.
pub(super) const FINAL_BLOCK: &[u8] = &[3, 0];

/// Free bytes that are reserved in the output before each call of the compressor.
const OUTPUT_BUFFER_BYTES: usize = 16 * 1024;

/// Compressed text that can be part of a deflate stream.
#[derive(Clone, Debug, Default)]
pub(super) struct GzipSegment {
    /// Deflate blocks, none of them final; empty if the text is.
    pub(super) deflated: Bytes,
    /// Checksum and length of the uncompressed text.
    pub(super) sum: Checksum,
}

/// CRC-32 and length in bytes of a text, as in the trailer of a gzip member.
#[derive(Clone, Debug, Default)]
pub(super) struct Checksum {
    /// State of the CRC-32.
    pub(super) checksum: Hasher,
    /// Length in bytes. The trailer contains it modulo 2^32.
    pub(super) length: u64,
}

impl GzipSegment {
    /// Compresses a text.
    ///
    /// # Errors
    /// Returns the errors of the compressor.
    pub(super) fn compress(text: &[u8]) -> io::Result<Self> {
        let mut deflater = Deflater::new();
        deflater.write_all(text)?;
        deflater.end_segment()?;
        Ok(deflater.drain().pop().unwrap_or_default())
    }

    /// Returns the text in stored (uncompressed) blocks. For a few kilobytes that are new at every
    /// scrape, sending them costs less than the memory and time of a compressor.
    pub(super) fn store_uncompressed(text: &[u8]) -> Self {
        let mut deflated = Vec::with_capacity(text.len() + 5);
        for block in text.chunks(usize::from(u16::MAX)) {
            let [low, high] = u16::try_from(block.len()).unwrap_or(u16::MAX).to_le_bytes();
            // Block header: not final, stored, length, and its complement (RFC 1951, 3.2.4).
            deflated.extend_from_slice(&[0, low, high, !low, !high]);
            deflated.extend_from_slice(block);
        }
        let mut checksum = Hasher::new();
        checksum.update(text);
        let length = text.len() as u64;
        Self {
            deflated: deflated.into(),
            sum: Checksum { checksum, length },
        }
    }
}

impl Checksum {
    /// Updates the checksum and length to those of this text followed by another.
    pub(super) fn append(&mut self, next: &Self) {
        self.checksum.combine(&next.checksum);
        self.length += next.length;
    }
}

/// Compresses text into segments.
pub(super) struct Deflater {
    /// Compressor of raw deflate blocks, without a zlib header.
    compress: Compress,
    /// Output of all segments since the last [`Deflater::drain`].
    deflated: Vec<u8>,
    /// Ranges in `deflated` and checksums of the finished segments.
    segments: Vec<(Range<usize>, Checksum)>,
    /// Checksum of the current segment.
    sum: Checksum,
}

impl Deflater {
    pub(super) fn new() -> Self {
        Self {
            compress: Compress::new(Compression::fast(), false),
            deflated: Vec::new(),
            segments: Vec::new(),
            sum: Checksum::default(),
        }
    }

    /// Ends the current segment. A segment without text has no bytes.
    ///
    /// # Errors
    /// Returns the errors of the compressor.
    pub(super) fn end_segment(&mut self) -> io::Result<()> {
        if self.sum.length > 0 {
            self.deflate(&[], FlushCompress::Full)?;
        }
        let start = self.segments.last().map_or(0, |(last, _)| last.end);
        let sum = std::mem::take(&mut self.sum);
        self.segments.push((start..self.deflated.len(), sum));
        Ok(())
    }

    /// Removes and returns the finished segments. They are copied to buffers of their size, and the
    /// output buffer is kept for the next segments.
    pub(super) fn drain(&mut self) -> Vec<GzipSegment> {
        let segments = self.segments.drain(..).map(|(range, sum)| GzipSegment {
            deflated: Bytes::copy_from_slice(&self.deflated[range]),
            sum,
        });
        let segments = segments.collect();
        self.deflated.clear();
        segments
    }

    /// Compresses all of `text` to `deflated`, and ends the block as `flush` determines.
    fn deflate(&mut self, mut text: &[u8], flush: FlushCompress) -> io::Result<()> {
        loop {
            self.deflated.reserve(OUTPUT_BUFFER_BYTES);
            let total_before = self.compress.total_in();
            let compress = &mut self.compress;
            compress.compress_vec(text, &mut self.deflated, flush)?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "at most the length of the text"
            )]
            let consumed = (self.compress.total_in() - total_before) as usize;
            text = &text[consumed..];
            // If the output has free space, the compressor has no pending output.
            if text.is_empty() && self.deflated.len() < self.deflated.capacity() {
                return Ok(());
            }
        }
    }
}

impl Write for Deflater {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.deflate(text, FlushCompress::None)?;
        self.sum.checksum.update(text);
        self.sum.length += text.len() as u64;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::{Deflater, FINAL_BLOCK, GzipSegment};

    proptest::proptest! {
        #[test]
        fn segments_can_be_joined_in_any_order(
            words in proptest::collection::vec(("[a-c\n]{1,9}", 0_usize..9_000), 0..5),
            rotation in 0_usize..5,
        ) {
            let texts: Vec<String> = words.iter().map(|(word, times)| word.repeat(*times)).collect();
            let mut deflater = Deflater::new();
            for text in &texts {
                // Segments are written in several parts, as by `SampleWriter`.
                for part in text.as_bytes().chunks(20_000) {
                    deflater.write_all(part).unwrap();
                }
                deflater.end_segment().unwrap();
            }
            let mut segments: Vec<_> = texts.iter().zip(deflater.drain()).collect();
            let rotation = rotation.min(segments.len());
            segments.rotate_left(rotation);
            let stored = GzipSegment::store_uncompressed(texts.concat().as_bytes());
            let mut stream = stored.deflated.to_vec();
            let (mut expected, mut sum) = (texts.concat(), stored.sum);
            for (text, segment) in segments {
                proptest::prop_assert_eq!(text.is_empty(), segment.deflated.is_empty());
                stream.extend_from_slice(&segment.deflated);
                expected.push_str(text);
                sum.append(&segment.sum);
            }
            stream.extend_from_slice(FINAL_BLOCK);
            let mut inflated = String::new();
            flate2::read::DeflateDecoder::new(stream.as_slice())
                .read_to_string(&mut inflated)
                .unwrap();
            proptest::prop_assert_eq!(sum.length, inflated.len() as u64);
            proptest::prop_assert_eq!(sum.checksum.finalize(), crc32fast::hash(inflated.as_bytes()));
            proptest::prop_assert!(inflated == expected);
        }
    }
}
