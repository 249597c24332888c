//! Bodies that hyper would not make by itself: whole, cut in the middle, without end.
//!
//! Which of them an answer gets is decided elsewhere.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// A body as it flows.
pub(super) enum Flow {
    /// All of it.
    Whole(Bytes),
    /// The first half is still to come; the length is promised for all of it.
    Cut {
        half: Bytes,
        promised: u64,
        waited: bool,
    },
    /// So many bytes of a JSON text that never comes to a point.
    Huge { left: u64 },
}

/// What is sent again and again: blanks are JSON.
static BLANKS: [u8; 1 << 16] = [b' '; 1 << 16];

impl Body for Flow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let next = match &mut *self {
            Self::Whole(bytes) | Self::Cut { half: bytes, .. } if !bytes.is_empty() => {
                Some(Ok(std::mem::take(bytes)))
            }
            Self::Whole(_) | Self::Huge { left: 0 } => None,
            Self::Cut { waited, .. } if !*waited => {
                // hyper sends what it holds while it waits; an error now would swallow the half.
                *waited = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Self::Cut { .. } => Some(Err(io::Error::other("cut on purpose"))),
            Self::Huge { left } => {
                *left = left.saturating_sub(BLANKS.len() as u64);
                Some(Ok(Bytes::from_static(&BLANKS)))
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
            Self::Cut { promised, .. } => SizeHint::with_exact(*promised),
            Self::Huge { .. } => SizeHint::default(),
        }
    }
}
