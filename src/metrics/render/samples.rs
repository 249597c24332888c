//! Buffered output of samples. The buffer has a fixed size, so that memory use does not depend on the
//! size of the page.

use std::io::{self, Write};

use crate::metrics::numbers::{FLUSH_BYTES, push_number};

/// End of a label set to which no labels are added, and the space before the value.
pub(super) const CLOSING_BRACE: &[u8] = b"} ";

/// Writes sample lines to `out`.
pub(in crate::metrics) struct SampleWriter<W> {
    /// HELP and TYPE of the current family, until its first sample: a family without samples has none.
    header: Vec<u8>,
    /// Text that `out` has not received yet. Its capacity leaves room for a sample that crosses [`FLUSH_BYTES`].
    buffer: Vec<u8>,
    /// Receives the buffer each time it is full.
    pub(in crate::metrics) out: W,
    /// Number of samples written so far, over all families.
    pub(in crate::metrics) series: u64,
}

impl<W: Write> SampleWriter<W> {
    pub(in crate::metrics) fn new(out: W) -> Self {
        Self {
            header: Vec::new(),
            buffer: Vec::with_capacity(FLUSH_BYTES + FLUSH_BYTES / 4),
            out,
            series: 0,
        }
    }

    /// Begins a family with these HELP and TYPE lines, which are written before its first sample.
    pub(in crate::metrics) fn begin_family(&mut self, header: Vec<u8>) {
        self.header = header;
    }

    /// Writes one sample. `labels` begins with the opening brace, `suffix` ends with the closing brace
    /// and a space. The label texts must be escaped.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    #[inline]
    pub(super) fn sample(
        &mut self,
        name: &str,
        labels: &[u8],
        suffix: &[u8],
        value: f64,
    ) -> io::Result<()> {
        if !self.header.is_empty() {
            self.buffer.append(&mut self.header);
        }
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(labels);
        self.buffer.extend_from_slice(suffix);
        push_number(&mut self.buffer, value);
        self.buffer.push(b'\n');
        self.series += 1;
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Passes the buffer on to `out`. Must be called after the last sample.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub(in crate::metrics) fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
