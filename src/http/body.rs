//! Answers on their way out, piece by piece: nothing that is held already is copied.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::exposition::Member;

/// Portions that wait for a slow reader at most, beside the one on its way.
const WAITING: usize = 2;

/// An answer's body, of a length known beforehand.
pub(super) struct Pieces {
    ready: Box<dyn Iterator<Item = Bytes> + Send>,
    more: Option<mpsc::Receiver<Bytes>>,
    left: u64,
}

impl Pieces {
    /// A body of pieces that are there.
    pub(super) fn ready(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let pieces: Vec<Bytes> = pieces
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .collect();
        Self {
            left: pieces.iter().map(|piece| piece.len() as u64).sum(),
            ready: Box::new(pieces.into_iter()),
            more: None,
        }
    }

    /// A page, piece by piece: not even a list of them is made.
    pub(super) fn member(member: Member) -> Self {
        Self {
            left: member.length(),
            ready: Box::new(member.pieces()),
            more: None,
        }
    }

    /// A body that begins with the pieces of `head` and goes on with `length` bytes that are still to be
    /// written; the writer blocks while the reader is slow, so it belongs onto a thread of its own.
    pub(super) fn written(head: impl IntoIterator<Item = Bytes>, length: u64) -> (Self, Writer) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut body = Self::ready(head);
        body.left += length;
        body.more = Some(receiver);
        (body, Writer(sender))
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match (self.ready.next(), &mut self.more) {
            (Some(piece), _) => Some(piece),
            (None, Some(more)) => match more.poll_recv(cx) {
                Poll::Ready(piece) => piece,
                Poll::Pending => return Poll::Pending,
            },
            (None, None) => None,
        };
        if let Some(piece) = &next {
            self.left = self.left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The writing end of a body.
#[derive(Debug)]
pub(super) struct Writer(mpsc::Sender<Bytes>);

impl io::Write for Writer {
    fn write(&mut self, portion: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(portion));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(portion.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
