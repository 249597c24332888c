//! Frames: what a file that only grows is made of. Each is its length, its bytes and their CRC-32.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;

use super::Refused;
use super::journal::Unusable;
use super::wire::{In, Out};

/// The length in front of each frame, in bytes.
pub(super) const FRAME_HEAD: u64 = 4;

/// The length of a frame's checksum, in bytes.
const CHECKSUM: u32 = 4;

/// The longest frame that is believed, in bytes: that of a question about very many sources.
const LONGEST_FRAME: u32 = 256 * 1024 * 1024;

/// A frame of what `put` writes.
pub(super) fn framed<T: ?Sized>(
    what: &T,
    put: impl for<'a> FnOnce(&'a T, &mut Out<'a>),
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut out = Out::begin(&mut bytes, b"");
    put(what, &mut out);
    out.finish()?;
    let length = u32::try_from(bytes.len());
    let length = length.ok().filter(|length| *length <= LONGEST_FRAME);
    let length =
        length.ok_or_else(|| io::Error::new(ErrorKind::FileTooLarge, "too much for one frame"))?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.append(&mut bytes);
    Ok(frame)
}

/// The next frame, checksum included; one that is not whole is an unexpected end.
pub(super) fn read_frame(from: &mut impl Read) -> Result<Vec<u8>, Unusable> {
    const TORN: ErrorKind = ErrorKind::UnexpectedEof;
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > LONGEST_FRAME || length <= CHECKSUM {
        return Err(io::Error::from(TORN).into());
    }
    // Memory is taken only for what there is.
    let mut frame = Vec::new();
    let read = from.take(length.into()).read_to_end(&mut frame)?;
    let body = frame.len().saturating_sub(CHECKSUM as usize);
    let (body, written) = frame.split_at(body);
    let whole = u32::try_from(read) == Ok(length);
    if !whole || crc32fast::hash(body).to_le_bytes() != *written {
        return Err(io::Error::from(TORN).into());
    }
    Ok(frame)
}

/// What a frame holds, to its last byte.
pub(super) fn taken<T>(
    frame: &[u8],
    take: impl FnOnce(&mut In<'_>) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let mut body = &frame[..frame.len().saturating_sub(CHECKSUM as usize)];
    let length = body.len() as u64;
    In::begin(&mut body, length).whole(take)
}

/// What a frame begins with.
pub(super) fn taken_start<T>(
    frame: &[u8],
    take: impl FnOnce(&mut In<'_>) -> Result<T, Refused>,
) -> Result<T, Refused> {
    let mut body = frame;
    take(&mut In::begin(&mut body, frame.len() as u64))
}

/// The file from some place on; several can be read side by side.
#[derive(Debug)]
pub(super) struct At<'a> {
    pub(super) file: &'a File,
    pub(super) at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
