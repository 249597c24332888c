//! A scraper that does nothing but read: one connection, one request after the other.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How many scrape at once where requests are counted.
const CONNECTIONS: usize = 2;

/// What the scraper takes.
#[derive(Clone, Copy)]
pub(crate) enum Encoding {
    Gzip,
    Plain,
}

/// A kept connection.
pub(crate) struct Connection {
    port: u16,
    stream: TcpStream,
    /// Whether the server said that it hangs up after its last answer.
    closed: bool,
    buffer: Vec<u8>,
}

/// How long each of some scrapes took, shortest first.
pub(crate) struct Scrapes {
    sorted: Vec<Duration>,
    /// Bytes of the last body.
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
            closed: false,
            buffer: vec![0; 1 << 20],
        }
    }

    /// So many scrapes; a first one is not counted.
    pub(crate) fn scrapes(&mut self, encoding: Encoding, count: usize) -> Scrapes {
        let mut length = self.scrape(encoding, "/metrics", &mut |_| {});
        let mut sorted: Vec<Duration> = (0..count)
            .map(|_| {
                let begun = Instant::now();
                length = self.scrape(encoding, "/metrics", &mut |_| {});
                begun.elapsed()
            })
            .collect();
        sorted.sort();
        Scrapes { sorted, length }
    }

    /// The body of one answer, as it came.
    pub(crate) fn body(&mut self, encoding: Encoding) -> Vec<u8> {
        let mut body = Vec::new();
        self.scrape(encoding, "/metrics", &mut |bytes| {
            body.extend_from_slice(bytes)
        });
        body
    }

    /// The body of one answer, into a file: it may be larger than memory should be.
    pub(crate) fn save(&mut self, encoding: Encoding, path: &Path) {
        let mut file = File::create(path).unwrap();
        self.scrape(encoding, "/metrics", &mut |bytes| {
            file.write_all(bytes).unwrap();
        });
    }

    /// The answer as plain text, to the end of the line that begins so; the rest is not read.
    pub(crate) fn beginning(mut self, line: &str) -> String {
        let request = "GET /metrics HTTP/1.1\r\nHost: h\r\nAccept-Encoding: identity\r\n\r\n";
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut text = Vec::new();
        loop {
            let read = self.stream.read(&mut self.buffer).unwrap_or(0);
            text.extend_from_slice(&self.buffer[..read]);
            let so_far = String::from_utf8_lossy(&text);
            let whole = so_far.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if read == 0 || whole.lines().any(|found| found.starts_with(line)) {
                return whole.to_owned();
            }
        }
    }

    /// Asks once and reads to the end of the answer; the length of the body.
    fn scrape(&mut self, encoding: Encoding, path: &str, take: &mut impl FnMut(&[u8])) -> usize {
        let accepts = match encoding {
            Encoding::Gzip => "gzip",
            Encoding::Plain => "identity",
        };
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accepts}\r\n\r\n");
        if std::mem::take(&mut self.closed) {
            self.stream = connect(self.port);
        }
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut filled = 0;
        let head = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).unwrap();
            assert!(read > 0, "the server hung up");
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
        self.closed = headers.starts_with("HTTP/1.0");
        let begun = self.buffer[head..filled].to_vec();
        match header("content-length") {
            Some(length) => {
                let length = length.parse().unwrap();
                take(&begun);
                let mut left: usize = length - begun.len();
                while left > 0 {
                    let read = self.stream.read(&mut self.buffer).unwrap();
                    assert!(read > 0, "cut");
                    take(&self.buffer[..read]);
                    left -= read;
                }
                length
            }
            None => self.chunks(begun, take),
        }
    }

    /// A body in chunks, each behind its length in hexadecimal.
    fn chunks(&mut self, mut rest: Vec<u8>, take: &mut impl FnMut(&[u8])) -> usize {
        let mut total = 0;
        loop {
            let end = loop {
                if let Some(end) = find(&rest, b"\r\n") {
                    break end;
                }
                self.more(&mut rest);
            };
            let length = std::str::from_utf8(&rest[..end]).unwrap();
            let length = usize::from_str_radix(length, 16).unwrap();
            while rest.len() < end + 2 + length + 2 {
                self.more(&mut rest);
            }
            take(&rest[end + 2..end + 2 + length]);
            rest.drain(..end + 2 + length + 2);
            total += length;
            if length == 0 {
                return total;
            }
        }
    }

    fn more(&mut self, rest: &mut Vec<u8>) {
        let read = self.stream.read(&mut self.buffer).unwrap();
        assert!(read > 0, "cut");
        rest.extend_from_slice(&self.buffer[..read]);
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// How many scrapes a second several connections get out of a server, and how many that were.
pub(crate) fn throughput(port: u16, counted: Duration) -> (f64, usize) {
    let begun = Instant::now();
    let scrapers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            thread::spawn(move || {
                let mut connection = Connection::open(port);
                let mut count = 0;
                while begun.elapsed() < counted {
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
    (count as f64 / begun.elapsed().as_secs_f64(), count)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
