//! Samples on their way out. They gather in a buffer of fixed size, so that a page of any length
//! needs no more memory than a small one.

use std::io::{self, Write};

use crate::exposition::text::{PORTION, push_number};

/// Where samples are written to.
pub(in crate::exposition) struct Lines<W> {
    /// What stands above the next sample, if one comes.
    heading: Vec<u8>,
    buffer: Vec<u8>,
    /// Where portions go.
    pub(in crate::exposition) out: W,
    /// How many samples there were.
    pub(in crate::exposition) series: u64,
}

impl<W: Write> Lines<W> {
    /// No samples yet.
    pub(in crate::exposition) fn to(out: W) -> Self {
        Self {
            heading: Vec::new(),
            buffer: Vec::with_capacity(PORTION + PORTION / 4),
            out,
            series: 0,
        }
    }

    /// From here on another family, whose heading that is.
    pub(in crate::exposition) fn begin(&mut self, heading: Vec<u8>) {
        self.heading = heading;
    }

    /// One sample: the family's name, `labels` from the opening brace on, `closing` with the
    /// closing one and a blank, and a value.
    #[inline]
    pub(super) fn line(
        &mut self,
        name: &str,
        labels: &[u8],
        closing: &[u8],
        value: f64,
    ) -> io::Result<()> {
        if !self.heading.is_empty() {
            self.buffer.append(&mut self.heading);
        }
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(labels);
        self.buffer.extend_from_slice(closing);
        push_number(&mut self.buffer, value);
        self.buffer.push(b'\n');
        self.series += 1;
        if self.buffer.len() >= PORTION {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands on what has gathered.
    pub(in crate::exposition) fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
