//! Open connections of a listener, and what each of them is doing.
//!
//! When a listener has reached its limit, the connection that has been idle for longest is closed, so
//! that idle connections do not keep new ones out. Clients that send a header or read a response too
//! slowly are closed as well.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metrics::SelfMetrics;

/// Maximum time until the header of a request is complete: from opening the connection, or from the
/// first byte of a further request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time without a request on a persistent connection; longer than the usual scrape intervals.
const IDLE_TIMEOUT: Duration = Duration::from_secs(150);

/// Period over which the progress of a slow reader is measured.
const WRITE_WINDOW: Duration = Duration::from_secs(20);

/// Minimum bytes per `WRITE_WINDOW` that a client reads while data is waiting for it.
const MIN_BYTES_PER_WINDOW: u64 = 20 * 1024;

/// Open connections of a listener.
#[derive(Debug)]
pub(super) struct ConnectionTable {
    max_connections: usize,
    self_metrics: Arc<SelfMetrics>,
    connections: Mutex<Vec<Arc<Connection>>>,
}

impl ConnectionTable {
    pub(super) fn new(max_connections: usize, self_metrics: Arc<SelfMetrics>) -> Self {
        Self {
            max_connections,
            self_metrics,
            connections: Mutex::default(),
        }
    }

    /// Adds a connection. Returns the peer of the connection that is closed instead, if the limit was
    /// reached.
    pub(super) fn open(self: &Arc<Self>, peer: IpAddr) -> (ConnectionGuard, Option<IpAddr>) {
        let connection = Arc::new(Connection {
            peer,
            activity: Mutex::new(Activity::new(Instant::now())),
            close: Notify::new(),
        });
        let mut connections = self.lock();
        let evicted = if connections.len() >= self.max_connections {
            evict(&mut connections)
        } else {
            None
        };
        connections.push(Arc::clone(&connection));
        drop(connections);
        self.self_metrics.server.record_opened();
        let guard = ConnectionGuard {
            table: Arc::clone(self),
            connection,
        };
        (guard, evicted)
    }

    /// Closes the connection that has been idle for longest, to free its file descriptor.
    pub(super) fn close_oldest(&self) {
        evict(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the connection that has been idle for longest or, if all are busy, the one that has waited
/// for its client for longest. Returns its peer.
fn evict(connections: &mut Vec<Arc<Connection>>) -> Option<IpAddr> {
    let priority = |connection: &Arc<Connection>| {
        let activity = connection.lock();
        (activity.is_busy(), activity.since)
    };
    let (oldest_idx, _) = connections
        .iter()
        .enumerate()
        .min_by_key(|(_, connection)| priority(connection))?;
    let oldest = connections.swap_remove(oldest_idx);
    oldest.close.notify_one();
    Some(oldest.peer)
}

/// Open connection; removes it from its table on drop.
pub(super) struct ConnectionGuard {
    table: Arc<ConnectionTable>,
    connection: Arc<Connection>,
}

impl ConnectionGuard {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut connections = self.table.lock();
        connections.retain(|other| !Arc::ptr_eq(other, &self.connection));
        drop(connections);
        self.table.self_metrics.server.record_closed();
    }
}

/// State of an open connection.
#[derive(Debug)]
pub(super) struct Connection {
    peer: IpAddr,
    activity: Mutex<Activity>,
    close: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A header is expected or incomplete.
    Header,
    /// A request is being answered.
    Response,
    /// The last response is complete.
    Idle,
}

#[derive(Debug)]
struct Activity {
    phase: Phase,
    /// Start of the phase or, while data waits for the client, of the current `WRITE_WINDOW`.
    since: Instant,
    /// Whether data waits for the client.
    is_blocked: bool,
    /// Bytes written since `since`.
    written_bytes: u64,
}

impl Activity {
    fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Header,
            since: now,
            is_blocked: false,
            written_bytes: 0,
        }
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.restart_window(now);
    }

    fn restart_window(&mut self, now: Instant) {
        self.since = now;
        self.written_bytes = 0;
    }

    /// Whether a request is being answered, or the end of a response waits for the client.
    fn is_busy(&self) -> bool {
        self.phase == Phase::Response || self.is_blocked
    }

    /// Returns whether the client has exceeded a limit. Must be called about every second.
    fn is_overdue(&mut self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        if self.is_busy() {
            if self.is_blocked && age < WRITE_WINDOW {
                return false;
            }
            let is_slow = self.is_blocked && self.written_bytes < MIN_BYTES_PER_WINDOW;
            self.restart_window(now);
            return is_slow;
        }
        match self.phase {
            Phase::Header => age >= HEADER_TIMEOUT,
            Phase::Idle => age >= IDLE_TIMEOUT,
            Phase::Response => false,
        }
    }
}

impl Connection {
    fn lock(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Restarts the time for the first header, after a TLS handshake.
    pub(super) fn expect_header(&self) {
        self.lock().enter(Phase::Header, Instant::now());
    }

    /// Records that a request is complete. The response is complete when the result is dropped.
    pub(super) fn start_response(self: &Arc<Self>) -> ResponseGuard {
        self.lock().enter(Phase::Response, Instant::now());
        ResponseGuard(Arc::clone(self))
    }

    /// Returns whether the client has exceeded a limit. Must be called about every second.
    pub(super) fn is_overdue(&self) -> bool {
        self.lock().is_overdue(Instant::now())
    }

    /// Completes when the connection should be closed because of the limit of its listener.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    fn record_read(&self) {
        let mut activity = self.lock();
        if activity.phase == Phase::Idle {
            activity.enter(Phase::Header, Instant::now());
        }
    }

    fn record_write(&self, result: &Poll<io::Result<usize>>) {
        let mut activity = self.lock();
        match result {
            Poll::Pending => activity.is_blocked = true,
            Poll::Ready(written) => {
                activity.is_blocked = false;
                let bytes = written.as_ref().map_or(0, |bytes| *bytes as u64);
                activity.written_bytes = activity.written_bytes.saturating_add(bytes);
            }
        }
    }
}

/// Response that is not complete yet.
#[derive(Debug)]
pub(super) struct ResponseGuard(Arc<Connection>);

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        self.0.lock().enter(Phase::Idle, Instant::now());
    }
}

/// Stream that records the activity of its connection.
#[derive(Debug)]
pub(super) struct TrackedStream<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S> TrackedStream<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled_before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > filled_before {
            self.connection.record_read();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrackedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.connection.record_write(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.connection.record_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Activity, HEADER_TIMEOUT, IDLE_TIMEOUT, Phase, WRITE_WINDOW};

    #[test]
    fn limits_depend_on_the_phase() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        let short = Duration::from_secs(1);
        assert!(!activity.is_overdue(start + HEADER_TIMEOUT - short));
        assert!(activity.is_overdue(start + HEADER_TIMEOUT));
        activity.enter(Phase::Idle, start);
        assert!(!activity.is_overdue(start + HEADER_TIMEOUT));
        assert!(activity.is_overdue(start + IDLE_TIMEOUT));
        activity.enter(Phase::Response, start);
        assert!(
            !activity.is_overdue(start + IDLE_TIMEOUT),
            "rendering may take time"
        );
    }

    #[test]
    fn slow_reader_is_overdue_after_a_window_without_progress() {
        let start = Instant::now();
        let mut activity = Activity::new(start);
        activity.enter(Phase::Response, start);
        activity.is_blocked = true;
        activity.written_bytes = 1 << 20;
        assert!(
            !activity.is_overdue(start + WRITE_WINDOW),
            "the client reads"
        );
        assert!(!activity.is_overdue(start + WRITE_WINDOW * 3 / 2));
        activity.written_bytes = 100;
        assert!(activity.is_overdue(start + WRITE_WINDOW * 2));
        // The end of a response that waits for the client is limited too.
        activity.enter(Phase::Idle, start);
        assert!(activity.is_overdue(start + WRITE_WINDOW));
    }
}
