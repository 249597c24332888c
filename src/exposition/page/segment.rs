//! Stretches of text as parts of a gzip member's deflate stream: each can be joined with any others,
//! since it ends on a byte boundary, refers to nothing before it, and its checksum and length are
//! known.

use std::io::{self, Write};
use std::ops::Range;

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};

/// What ends a stream of segments: a last block, with nothing in it.
pub(super) const END: &[u8] = &[3, 0];

/// Room that is made where there is none; more comes at once where more is needed.
const ROOM: usize = 16 * 1024;

/// Text that was compressed.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    /// Deflate blocks.
    pub(super) deflated: Bytes,
    /// The checksum and the length of the text.
    pub(super) sum: Sum,
}

/// The CRC-32 of a text, and how many bytes it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    pub(super) checksum: Hasher,
    pub(super) length: u64,
}

impl Segment {
    /// That text, compressed.
    pub(super) fn of(text: &[u8]) -> io::Result<Self> {
        let mut deflater = Deflater::new();
        deflater.write_all(text)?;
        deflater.cut()?;
        Ok(deflater.take().pop().unwrap_or_default())
    }

    /// That text as it is, for what is new at every scrape: a kilobyte more to send costs less than a
    /// compressor's state and time.
    pub(super) fn stored(text: &[u8]) -> Self {
        let mut deflated = Vec::with_capacity(text.len() + 5);
        for block in text.chunks(usize::from(u16::MAX)) {
            let [low, high] = u16::try_from(block.len()).unwrap_or(u16::MAX).to_le_bytes();
            // Not the last block; stored; its length, and that once more with every bit turned.
            deflated.extend_from_slice(&[0, low, high, !low, !high]);
            deflated.extend_from_slice(block);
        }
        let mut checksum = Hasher::new();
        checksum.update(text);
        let length = text.len() as u64;
        Self {
            deflated: deflated.into(),
            sum: Sum { checksum, length },
        }
    }
}

impl Sum {
    /// The sum of this text with another after it.
    pub(super) fn append(&mut self, next: &Self) {
        self.checksum.combine(&next.checksum);
        self.length += next.length;
    }
}

/// Compresses what is written, segment after segment.
pub(super) struct Deflater {
    compress: Compress,
    /// All segments since they were last taken.
    deflated: Vec<u8>,
    cuts: Vec<(Range<usize>, Sum)>,
    /// The text of the segment that is being written.
    sum: Sum,
}

impl Deflater {
    pub(super) fn new() -> Self {
        Self {
            compress: Compress::new(Compression::fast(), false),
            deflated: Vec::new(),
            cuts: Vec::new(),
            sum: Sum::default(),
        }
    }

    /// Ends a segment. One without text is no bytes.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        if self.sum.length > 0 {
            self.deflate(&[], FlushCompress::Full)?;
        }
        let start = self.cuts.last().map_or(0, |(last, _)| last.end);
        let sum = std::mem::take(&mut self.sum);
        self.cuts.push((start..self.deflated.len(), sum));
        Ok(())
    }

    /// The segments since they were last taken, each in a buffer of its length. This one's buffer, which
    /// grew, is kept for the next ones.
    pub(super) fn take(&mut self) -> Vec<Segment> {
        let cuts = self.cuts.drain(..).map(|(at, sum)| Segment {
            deflated: Bytes::copy_from_slice(&self.deflated[at]),
            sum,
        });
        let segments = cuts.collect();
        self.deflated.clear();
        segments
    }

    fn deflate(&mut self, mut text: &[u8], flush: FlushCompress) -> io::Result<()> {
        loop {
            self.deflated.reserve(ROOM);
            let read = self.compress.total_in();
            let compress = &mut self.compress;
            compress.compress_vec(text, &mut self.deflated, flush)?;
            #[expect(clippy::cast_possible_truncation, reason = "no more than the text has")]
            let read = (self.compress.total_in() - read) as usize;
            text = &text[read..];
            // With room to spare nothing waits to be put out.
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

    use super::{Deflater, END, Segment};

    proptest::proptest! {
        #[test]
        fn segments_can_be_joined_in_any_order(
            words in proptest::collection::vec(("[a-c\n]{1,9}", 0_usize..9_000), 0..5),
            turn in 0_usize..5,
        ) {
            let texts: Vec<String> = words.iter().map(|(word, times)| word.repeat(*times)).collect();
            let mut deflater = Deflater::new();
            for text in &texts {
                // In portions, as the writer does it.
                for portion in text.as_bytes().chunks(20_000) {
                    deflater.write_all(portion).unwrap();
                }
                deflater.cut().unwrap();
            }
            let mut segments: Vec<_> = texts.iter().zip(deflater.take()).collect();
            let middle = turn.min(segments.len());
            segments.rotate_left(middle);
            let stored = Segment::stored(texts.concat().as_bytes());
            let mut stream = stored.deflated.to_vec();
            let (mut expected, mut whole) = (texts.concat(), stored.sum);
            for (text, segment) in segments {
                proptest::prop_assert_eq!(text.is_empty(), segment.deflated.is_empty());
                stream.extend_from_slice(&segment.deflated);
                expected.push_str(text);
                whole.append(&segment.sum);
            }
            stream.extend_from_slice(END);
            let mut read = String::new();
            flate2::read::DeflateDecoder::new(stream.as_slice())
                .read_to_string(&mut read)
                .unwrap();
            proptest::prop_assert_eq!(whole.length, read.len() as u64);
            proptest::prop_assert_eq!(whole.checksum.finalize(), crc32fast::hash(read.as_bytes()));
            proptest::prop_assert!(read == expected);
        }
    }
}
