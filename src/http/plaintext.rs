//! Response to plain HTTP requests on an HTTPS port, and the log message about them.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Minimum interval between warnings. A scrape job without `scheme: https` repeats its requests
/// forever.
const WARN_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Maximum time for one plain HTTP connection.
const PLAINTEXT_TIMEOUT: Duration = Duration::from_secs(2);

/// Response with the text of Go's `net/http` server, so that a web search for it finds the cause.
const BAD_REQUEST_RESPONSE: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 47\r\n\
    Cache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Connection: close\r\n\
    \r\n\
    client sent an HTTP request to an HTTPS server\n";

/// Waits for the first byte and returns whether it starts a plain HTTP request: a method starts with
/// an upper-case letter, which is not a TLS record type.
pub(super) async fn is_plaintext(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first[0].is_ascii_uppercase()
}

/// Responds to plain HTTP requests and logs them at most once per `WARN_INTERVAL`.
#[derive(Debug, Default)]
pub(super) struct PlaintextStats(Mutex<WarningState>);

#[derive(Debug, Default)]
struct WarningState {
    last_warning: Option<Instant>,
    /// Requests since the last warning.
    requests: u64,
}

impl PlaintextStats {
    /// Responds to a plain HTTP request and closes the connection.
    pub(super) async fn respond(&self, stream: &mut TcpStream) {
        if let Ok(peer) = stream.peer_addr() {
            self.record(peer.ip());
        }
        let mut buffer = [0; 4096];
        // Closing a socket with unread data sends a reset, which can discard the response.
        let exchange = async {
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(BAD_REQUEST_RESPONSE).await;
            let _ = stream.shutdown().await;
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        };
        let _ = timeout(PLAINTEXT_TIMEOUT, exchange).await;
    }

    fn record(&self, peer: IpAddr) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.requests += 1;
        if state
            .last_warning
            .is_none_or(|time| now > time + WARN_INTERVAL)
        {
            let requests = state.requests;
            *state = WarningState {
                last_warning: Some(now),
                requests: 0,
            };
            tracing::warn!(
                %peer,
                requests,
                "plain HTTP request on an HTTPS port; use https:// (in Prometheus: scheme: https)"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BAD_REQUEST_RESPONSE;

    #[test]
    fn bad_request_content_length_matches_body() {
        let text = std::str::from_utf8(BAD_REQUEST_RESPONSE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
    }
}
