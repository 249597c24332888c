//! Response bodies, including broken ones that hyper's own body types cannot produce.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// A response body.
pub(crate) enum RawBody {
    /// A complete body.
    Whole(Bytes),
    /// The first half of a body under the `Content-Length` of the whole body.
    Cut {
        /// Bytes that are not sent yet.
        first_half: Bytes,
        /// Length of the whole body in bytes.
        content_length: u64,
        /// Whether hyper had the opportunity to write the first half to the socket.
        is_flushed: bool,
    },
    /// Spaces: whitespace that a JSON parser skips without an error. `remaining` is in bytes, and is rounded up to
    /// whole frames of [`SPACES`].
    Huge { remaining: u64 },
}

/// Data of one frame of a huge body.
static SPACES: [u8; 1 << 16] = [b' '; 1 << 16];

impl Body for RawBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let next = match &mut *self {
            Self::Whole(bytes)
            | Self::Cut {
                first_half: bytes, ..
            } if !bytes.is_empty() => Some(Ok(std::mem::take(bytes))),
            Self::Whole(_) | Self::Huge { remaining: 0 } => None,
            Self::Cut { is_flushed, .. } if !*is_flushed => {
                // hyper writes its buffer when the body is pending. An immediate error would discard the first half.
                *is_flushed = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Self::Cut { .. } => Some(Err(io::Error::other("fault: cut"))),
            Self::Huge { remaining } => {
                *remaining = remaining.saturating_sub(SPACES.len() as u64);
                Some(Ok(Bytes::from_static(&SPACES)))
            }
        };
        Poll::Ready(next.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Cut { content_length, .. } => SizeHint::with_exact(*content_length),
            Self::Huge { .. } => SizeHint::default(),
        }
    }
}
