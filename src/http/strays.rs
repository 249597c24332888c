//! Who speaks plain HTTP where HTTPS is served: told so in plain HTTP, and the owner in the log.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// A scraper that was not told of HTTPS asks for ever: it is logged so often.
const SAY_AGAIN: Duration = Duration::from_secs(10 * 60);

/// How long it may take to read its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What Go's server says, in the same words: people search for them.
const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 47\r\n\
    Connection: close\r\n\
    \r\n\
    client sent an HTTP request to an HTTPS server\n";

/// Whether somebody speaks plain HTTP, by the first byte: a method begins with a capital letter,
/// and no record of TLS does. Waits for that byte.
pub(super) async fn is_one(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first[0].is_ascii_uppercase()
}

/// When the log was last told of them, and how many came since.
#[derive(Debug, Default)]
pub(super) struct Strays(Mutex<(Option<Instant>, u64)>);

impl Strays {
    /// Answers one.
    pub(super) async fn answer(&self, stream: &mut TcpStream) {
        if let Ok(peer) = stream.peer_addr() {
            self.note(peer.ip());
        }
        let mut request = [0; 4096];
        // What is left unread when a connection closes would take the answer along.
        let talk = async {
            drop(stream.read(&mut request).await);
            drop(stream.write_all(ANSWER).await);
            drop(stream.shutdown().await);
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
        };
        drop(timeout(PATIENCE, talk).await);
    }

    fn note(&self, peer: IpAddr) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        noted.1 += 1;
        if noted.0.is_none_or(|at| now > at + SAY_AGAIN) {
            let requests = noted.1;
            *noted = (Some(now), 0);
            tracing::warn!(
                %peer,
                requests,
                "plain HTTP where HTTPS is served: ask for https:// (in Prometheus: scheme: https)"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ANSWER;

    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
    }
}
