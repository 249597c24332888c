//! Response bodies that are sent chunk by chunk, without copying data that is already in memory.

use std::any::Any;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::metrics::GzipBody;

/// Maximum number of written chunks that wait for a slow client, in addition to the one that is
/// being sent.
const MAX_QUEUED_CHUNKS: usize = 2;

/// Maximum size of a chunk in memory, in bytes. hyper drops a body when it queues the last chunk, so
/// that this many bytes can remain unread when the guards of the body are dropped.
const MAX_CHUNK_BYTES: usize = 16 * 1024;

/// Response body of known length.
pub(super) struct ChunkedBody {
    chunks: Box<dyn Iterator<Item = Bytes> + Send>,
    /// Chunks that follow `chunks` and are still being written.
    streamed_chunks: Option<mpsc::Receiver<Bytes>>,
    remaining_bytes: u64,
    /// Dropped when the body has been sent, or the client has disconnected.
    guards: Vec<Box<dyn Any + Send>>,
}

impl ChunkedBody {
    /// Keeps `guard` until the body has been sent, or the client has disconnected.
    pub(super) fn hold(&mut self, guard: impl Send + 'static) {
        self.guards.push(Box::new(guard));
    }

    /// Creates a body from bytes in memory, which are sent in chunks of at most `MAX_CHUNK_BYTES`.
    pub(super) fn from_bytes(parts: impl IntoIterator<Item = Bytes>) -> Self {
        let mut chunks = Vec::new();
        for mut part in parts {
            while !part.is_empty() {
                chunks.push(part.split_to(part.len().min(MAX_CHUNK_BYTES)));
            }
        }
        Self {
            remaining_bytes: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            chunks: Box::new(chunks.into_iter()),
            streamed_chunks: None,
            guards: Vec::new(),
        }
    }

    /// Creates a body from a compressed page. The chunks are iterated without collecting them.
    pub(super) fn from_gzip(gzip: GzipBody) -> Self {
        Self {
            remaining_bytes: gzip.length(),
            chunks: Box::new(gzip.into_parts()),
            streamed_chunks: None,
            guards: Vec::new(),
        }
    }

    /// Creates a body that starts with `head`, followed by `length` bytes that are
    /// written to the returned writer. The writer blocks while the client is slow, so it must be
    /// used on a blocking thread.
    pub(super) fn streamed(
        head: impl IntoIterator<Item = Bytes>,
        length: u64,
    ) -> (Self, BodyWriter) {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let mut body = Self::from_bytes(head);
        body.remaining_bytes += length;
        body.streamed_chunks = Some(receiver);
        (body, BodyWriter(sender))
    }
}

impl Body for ChunkedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match (self.chunks.next(), &mut self.streamed_chunks) {
            (Some(chunk), _) => Some(chunk),
            (None, Some(receiver)) => match receiver.poll_recv(cx) {
                Poll::Ready(chunk) => chunk,
                Poll::Pending => return Poll::Pending,
            },
            (None, None) => None,
        };
        if let Some(chunk) = &next {
            self.remaining_bytes = self.remaining_bytes.saturating_sub(chunk.len() as u64);
        }
        Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining_bytes)
    }
}

/// Blocking writer of a streamed body. Writes fail with `BrokenPipe` after the client disconnected.
#[derive(Debug)]
pub(super) struct BodyWriter(mpsc::Sender<Bytes>);

impl io::Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(bytes));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
