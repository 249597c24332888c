//! A stretch of the page as one part of a gzip member's deflate stream: it can be joined with
//! others, since it ends on a byte boundary, and its checksum and length are known.

use std::io::{self, Write};

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::Compression;
use flate2::write::DeflateEncoder;

/// Text that was compressed.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Deflate blocks.
    pub(super) deflated: Bytes,
    /// The CRC-32 of the text.
    pub(super) checksum: Hasher,
    /// How many bytes of text that is.
    pub(super) length: u64,
}

/// What follows a segment in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Another one.
    More,
    /// Nothing: it is the last.
    End,
}

impl Segment {
    /// What `write` writes, compressed in portions: the text as a whole never stands in memory.
    /// `room` is how many bytes that will probably be; a buffer that has to grow leaves a hole of
    /// every size that it had.
    ///
    /// # Errors
    /// Those of `write`.
    pub(super) fn of<T>(
        room: usize,
        then: Then,
        write: impl FnOnce(&mut Summed) -> io::Result<T>,
    ) -> io::Result<(Self, T)> {
        let mut summed = Summed {
            encoder: DeflateEncoder::new(Vec::with_capacity(room), Compression::fast()),
            checksum: Hasher::new(),
            length: 0,
        };
        let told = write(&mut summed)?;
        let mut encoder = summed.encoder;
        let mut deflated = match then {
            // A flush ends on a byte boundary and leaves the stream open.
            Then::More => {
                encoder.flush()?;
                std::mem::take(encoder.get_mut())
            }
            Then::End => encoder.finish()?,
        };
        deflated.shrink_to_fit();
        let segment = Self {
            deflated: deflated.into(),
            checksum: summed.checksum,
            length: summed.length,
        };
        Ok((segment, told))
    }

    /// That text.
    ///
    /// # Errors
    /// None that the text can cause.
    pub(super) fn of_text(text: &[u8]) -> io::Result<Self> {
        Self::of(0, Then::More, |to| to.write_all(text)).map(|(segment, ())| segment)
    }
}

/// Compresses what is written, and keeps its checksum and length.
pub(super) struct Summed {
    encoder: DeflateEncoder<Vec<u8>>,
    checksum: Hasher,
    length: u64,
}

impl Write for Summed {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.encoder.write_all(text)?;
        self.checksum.update(text);
        self.length += text.len() as u64;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}
