//! A minimal HTTP client for scrapes: one connection, one request after the other.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Concurrent connections of a throughput measurement.
const CONNECTIONS: usize = 2;

/// Accepted content encoding.
#[derive(Clone, Copy)]
pub(crate) enum Encoding {
    Gzip,
    Plain,
}

/// A persistent connection.
pub(crate) struct Connection {
    port: u16,
    stream: TcpStream,
    /// Whether the server closes the connection after the last response.
    close_after_response: bool,
    buffer: Vec<u8>,
}

/// Durations of scrapes in ascending order.
pub(crate) struct Scrapes {
    sorted: Vec<Duration>,
    /// Size of the last body in bytes.
    pub(crate) length: usize,
}

impl Scrapes {
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.sorted[(self.sorted.len() - 1) * percent / 100]
    }
}

impl Connection {
    pub(crate) fn open(port: u16) -> Self {
        Self {
            port,
            stream: connect(port),
            close_after_response: false,
            buffer: vec![0; 1 << 20],
        }
    }

    /// Measures `count` scrapes after one that is not measured.
    pub(crate) fn scrapes(&mut self, encoding: Encoding, count: usize) -> Scrapes {
        let mut length = self.scrape(encoding, "/metrics", &mut |_| {});
        let mut sorted: Vec<Duration> = (0..count)
            .map(|_| {
                let start = Instant::now();
                length = self.scrape(encoding, "/metrics", &mut |_| {});
                start.elapsed()
            })
            .collect();
        sorted.sort();
        Scrapes { sorted, length }
    }

    /// Returns the body of one response, without decompression.
    pub(crate) fn body(&mut self, encoding: Encoding) -> Vec<u8> {
        let mut body = Vec::new();
        self.scrape(encoding, "/metrics", &mut |bytes| {
            body.extend_from_slice(bytes)
        });
        body
    }

    /// Writes the body of one response to a file, without keeping it in memory.
    pub(crate) fn save(&mut self, encoding: Encoding, path: &Path) {
        let mut file = File::create(path).unwrap();
        self.scrape(encoding, "/metrics", &mut |bytes| {
            file.write_all(bytes).unwrap();
        });
    }

    /// Returns the response as plain text up to the first line with the prefix; the rest is not read.
    pub(crate) fn read_to_line(mut self, prefix: &str) -> String {
        let request = "GET /metrics HTTP/1.1\r\nHost: h\r\nAccept-Encoding: identity\r\n\r\n";
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut text = Vec::new();
        loop {
            let read = self.stream.read(&mut self.buffer).unwrap_or(0);
            text.extend_from_slice(&self.buffer[..read]);
            let received = String::from_utf8_lossy(&text);
            let whole = received.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if read == 0 || whole.lines().any(|line| line.starts_with(prefix)) {
                return whole.to_owned();
            }
        }
    }

    /// Sends one request, passes the body to `consume`, and returns its length.
    fn scrape(&mut self, encoding: Encoding, path: &str, consume: &mut impl FnMut(&[u8])) -> usize {
        let accepts = match encoding {
            Encoding::Gzip => "gzip",
            Encoding::Plain => "identity",
        };
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accepts}\r\n\r\n");
        if std::mem::take(&mut self.close_after_response) {
            self.stream = connect(self.port);
        }
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut filled = 0;
        let head = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).unwrap();
            assert!(read > 0, "the server closed the connection");
            filled += read;
            if let Some(end) = find(&self.buffer[..filled], b"\r\n\r\n") {
                break end + 4;
            }
        };
        let headers = std::str::from_utf8(&self.buffer[..head]).unwrap();
        assert!(
            headers.starts_with("HTTP/1.1 200") || headers.starts_with("HTTP/1.0 200"),
            "{headers}"
        );
        let header = |name: &str| {
            let mut lines = headers.lines().filter_map(|line| line.split_once(':'));
            lines.find_map(|(n, value)| {
                n.eq_ignore_ascii_case(name)
                    .then(|| value.trim().to_owned())
            })
        };
        self.close_after_response = headers.starts_with("HTTP/1.0");
        let first_bytes = self.buffer[head..filled].to_vec();
        match header("content-length") {
            Some(length) => {
                let length = length.parse().unwrap();
                consume(&first_bytes);
                let mut left: usize = length - first_bytes.len();
                while left > 0 {
                    let read = self.stream.read(&mut self.buffer).unwrap();
                    assert!(read > 0, "the response is truncated");
                    consume(&self.buffer[..read]);
                    left -= read;
                }
                length
            }
            None => self.chunks(first_bytes, consume),
        }
    }

    /// Reads a body in chunked transfer coding.
    fn chunks(&mut self, mut rest: Vec<u8>, consume: &mut impl FnMut(&[u8])) -> usize {
        let mut total = 0;
        loop {
            let end = loop {
                if let Some(end) = find(&rest, b"\r\n") {
                    break end;
                }
                self.read_more(&mut rest);
            };
            let length = std::str::from_utf8(&rest[..end]).unwrap();
            let length = usize::from_str_radix(length, 16).unwrap();
            while rest.len() < end + 2 + length + 2 {
                self.read_more(&mut rest);
            }
            consume(&rest[end + 2..end + 2 + length]);
            rest.drain(..end + 2 + length + 2);
            total += length;
            if length == 0 {
                return total;
            }
        }
    }

    fn read_more(&mut self, rest: &mut Vec<u8>) {
        let read = self.stream.read(&mut self.buffer).unwrap();
        assert!(read > 0, "the response is truncated");
        rest.extend_from_slice(&self.buffer[..read]);
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Returns the scrapes per second over several connections, and the number of scrapes.
pub(crate) fn throughput(port: u16, duration: Duration) -> (f64, usize) {
    let start = Instant::now();
    let scrapers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            thread::spawn(move || {
                let mut connection = Connection::open(port);
                let mut count = 0;
                while start.elapsed() < duration {
                    connection.scrape(Encoding::Gzip, "/metrics", &mut |_| {});
                    count += 1;
                }
                count
            })
        })
        .collect();
    let count: usize = scrapers
        .into_iter()
        .map(|scraper| scraper.join().unwrap())
        .sum();
    (count as f64 / start.elapsed().as_secs_f64(), count)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
