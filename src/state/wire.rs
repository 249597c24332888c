//! Bytes out and bytes in: what every part of the state file is made of.
//!
//! Out goes through one small buffer, whatever the size of the snapshot. In trusts nothing: a
//! length is believed only as far as the file reaches, and all that is made of the file must fit
//! a budget, so that no file can exhaust memory.

use std::collections::HashMap;
use std::io::{self, BufRead, ErrorKind, Write};
use std::sync::Arc;

use super::Refused;
use super::kept::Kept;
use crate::plan::Columns;
use crate::row::Identity;

/// The largest file that is written or read, in bytes: some 900,000 campaigns in two windows.
pub(super) const LARGEST: u64 = 512 * 1024 * 1024;

/// How many bytes of memory a file may become: what is kept in two bits there counts as eight bytes
/// here, which is what most numbers take at most.
const MEMORY: u64 = 2 * 1024 * 1024 * 1024;

/// How many bytes are written at once.
const BUFFER: usize = 64 * 1024;

/// A file being written. The first error stops the writing, and is told at the end.
pub(super) struct Out<'a> {
    to: &'a mut dyn Write,
    buffer: Vec<u8>,
    checksum: crc32fast::Hasher,
    written: u64,
    failed: Option<io::Error>,
    /// The identities of this source so far, each with its place: several rows share each.
    pub(super) identities: HashMap<&'a Identity, u64>,
    /// The columns of the source before: nearly always the same.
    pub(super) columns: Option<&'a Columns>,
}

impl<'a> Out<'a> {
    /// A file that begins with this.
    pub(super) fn begin(to: &'a mut dyn Write, header: &[u8]) -> Self {
        let mut out = Self {
            to,
            buffer: Vec::with_capacity(BUFFER),
            checksum: crc32fast::Hasher::new(),
            written: 0,
            failed: None,
            identities: HashMap::new(),
            columns: None,
        };
        out.bytes(header);
        out
    }

    /// Ends the file with the checksum of all before it.
    ///
    /// # Errors
    /// The first of the writing, or that the file would be too large to be read again.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush();
        let checksum = self.checksum.clone().finalize();
        self.bytes(&checksum.to_le_bytes());
        self.flush();
        self.failed.map_or(Ok(()), Err)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// A number in as few bytes as it needs: seven bits a byte, the low ones first.
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes(&[number.to_le_bytes()[0] | 0x80]);
            number >>= 7;
        }
        self.bytes(&[number.to_le_bytes()[0]]);
    }

    /// Small numbers of either sign are short: 0, -1, 1, -2 become 0, 1, 2, 3.
    pub(super) fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    /// How many of something follow.
    pub(super) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.bytes(text.as_bytes());
    }

    fn flush(&mut self) {
        self.checksum.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        if self.failed.is_none() {
            let written = match self.written {
                ..=LARGEST => self.to.write_all(&self.buffer),
                _ => Err(io::Error::new(
                    ErrorKind::FileTooLarge,
                    format!("the snapshot needs more than {LARGEST} bytes"),
                )),
            };
            self.failed = written.err();
        }
        self.buffer.clear();
    }
}

const CUT: &str = "it ends too early";

/// A file being read, behind its header.
pub(super) struct In<'a> {
    from: &'a mut dyn BufRead,
    /// How many bytes are left of it.
    left: u64,
    /// How many bytes of memory may still be made of it.
    memory: u64,
    /// The identities of this source so far.
    pub(super) identities: Vec<Arc<Identity>>,
    /// The columns of the source before.
    pub(super) columns: Option<Columns>,
}

impl<'a> In<'a> {
    /// The next `length` bytes of it.
    pub(super) fn begin(from: &'a mut dyn BufRead, length: u64) -> Self {
        Self {
            from,
            left: length,
            memory: MEMORY,
            identities: Vec::new(),
            columns: None,
        }
    }

    /// Reads the one thing that is in it.
    pub(super) fn only<T: Kept>(self) -> Result<T, Refused> {
        self.whole(T::take)
    }

    /// Reads it to its end.
    pub(super) fn whole<T>(
        mut self,
        take: impl FnOnce(&mut Self) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let read = take(&mut self)?;
        match self.left {
            0 => Ok(read),
            _ => Err(Refused::Garbled("it goes on behind its end")),
        }
    }

    /// Fills the buffer.
    pub(super) fn bytes(&mut self, buffer: &mut [u8]) -> Result<(), Refused> {
        let left = self.left.checked_sub(buffer.len() as u64);
        self.left = left.ok_or(Refused::Garbled(CUT))?;
        self.from.read_exact(buffer).map_err(Refused::Unreadable)
    }

    /// That many bytes, which memory is taken for only where there are as many.
    pub(super) fn block(&mut self, length: usize) -> Result<Vec<u8>, Refused> {
        if length as u64 > self.left {
            return Err(Refused::Garbled(CUT));
        }
        let mut block = vec![0; length];
        self.bytes(&mut block)?;
        Ok(block)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Refused> {
        let mut byte = [0];
        self.bytes(&mut byte)?;
        Ok(byte[0])
    }

    /// See [`Out::number`].
    pub(super) fn number(&mut self) -> Result<u64, Refused> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (7 * place);
            if shifted >> (7 * place) != bits {
                break;
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Refused::Garbled("it holds a number of more than 64 bits"))
    }

    /// See [`Out::signed`].
    pub(super) fn signed(&mut self) -> Result<i64, Refused> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// How many of something follow. Each takes a byte at least, so that the file limits them.
    pub(super) fn count(&mut self) -> Result<usize, Refused> {
        let count = self.number()?;
        let fits = usize::try_from(count).ok().filter(|_| count <= self.left);
        fits.ok_or(Refused::Garbled("it counts more than it holds"))
    }

    pub(super) fn text(&mut self) -> Result<String, Refused> {
        let length = self.count()?;
        self.afford(length)?;
        let text = self.block(length)?;
        String::from_utf8(text).map_err(|_| Refused::Garbled("it holds text that is not UTF-8"))
    }

    /// Takes that many bytes off the budget.
    pub(super) fn afford(&mut self, bytes: usize) -> Result<(), Refused> {
        let memory = self.memory.checked_sub(bytes as u64);
        self.memory = memory.ok_or(Refused::TooLarge)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::{In, Out};

    fn number_of(bytes: &[u8]) -> Option<u64> {
        let mut from = bytes;
        let mut file = In::begin(&mut from, bytes.len() as u64);
        file.number().ok()
    }

    proptest::proptest! {
        #[test]
        fn numbers_come_back(number: i64, shift in 0_u32..64) {
            let number = (number >> shift).cast_unsigned();
            let mut bytes = Vec::new();
            let mut out = Out::begin(&mut bytes, b"");
            let signed = number.cast_signed();
            out.number(number);
            out.signed(signed);
            out.finish().unwrap();
            let mut from = bytes.as_slice();
            let mut file = In::begin(&mut from, bytes.len() as u64);
            proptest::prop_assert_eq!(file.number().ok(), Some(number));
            proptest::prop_assert_eq!(file.signed().ok(), Some(signed));
        }
    }

    #[test]
    fn the_first_error_is_the_one_that_is_told() {
        let mut space = [0; 100];
        let mut full = space.as_mut_slice();
        let mut out = Out::begin(&mut full, b"header");
        for _ in 0..100_000 {
            out.text("more than fits");
        }
        let error = out.finish().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        assert_eq!(number_of(&[]), None);
        assert_eq!(number_of(&[0x80]), None);
        assert_eq!(number_of(&[0xff; 11]), None);
        let mut largest = [0xff; 10];
        largest[9] = 0x01;
        assert_eq!(number_of(&largest), Some(u64::MAX));
        largest[9] = 0x02;
        assert_eq!(number_of(&largest), None);
    }

    #[test]
    fn lengths_are_believed_as_far_as_the_file_reaches() {
        let mut bytes = Vec::new();
        let mut out = Out::begin(&mut bytes, b"");
        out.number(1 << 60);
        out.finish().unwrap();
        let mut from = bytes.as_slice();
        let mut file = In::begin(&mut from, bytes.len() as u64);
        let refused = file.text().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "it makes no sense: it counts more than it holds"
        );
    }
}
