//! Test harness: a simulated Graph API, an exporter that polls it, and an HTTP client for its pages.
//!
//! Listeners use ports chosen by the system, and everything ends when it is dropped. Tests wait for a condition, not
//! for a fixed time; [`HANG_GUARD`] ends a test that hangs.

use std::io::Read;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use flate2::bufread::GzDecoder;
use graph_simulator::{ExpectedTotals, Fault, Simulator, World};
use jiff::{SignedDuration, Timestamp};
use marketing_messages_exporter::app::App;
use marketing_messages_exporter::config::{Config, NamedDocument};
use marketing_messages_exporter::model::{Secret, SecretSource};
use marketing_messages_exporter::plan::Shard;
use marketing_messages_exporter::platform::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep, timeout};

use crate::page::Page;

/// A Monday, 12:30 in Berlin, 03:30 in Los Angeles, 20:30 in Tokyo.
pub(crate) const NOW: &str = "2026-11-23T11:30:00Z";

/// Maximum time that a test waits for a condition or a response. Generous, because the machine may be busy with other
/// builds.
const HANG_GUARD: Duration = Duration::from_secs(60);

/// Time between two checks of a condition.
const CHECK_INTERVAL: Duration = Duration::from_millis(15);

/// Rounds of a step without a request.
const ROUNDS_PER_IDLE_STEP: usize = 6;

/// Rounds of a step with requests, in which they complete.
const ROUNDS_PER_STEP: usize = 25;

/// Steps at the beginning with all rounds, because secrets are read on other threads before the first request.
const FIRST_STEPS: u32 = 20;

/// A simulated API with a clock that changes only when a test sets it, initially [`NOW`].
pub(crate) struct Api {
    pub(crate) simulator: Simulator,
    clock: Arc<Mutex<Timestamp>>,
}

impl Api {
    pub(crate) async fn start(world: World) -> Self {
        set_clock();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clock = Arc::new(Mutex::new(NOW.parse().unwrap()));
        let shared = Arc::clone(&clock);
        let now = move || *shared.lock().unwrap_or_else(PoisonError::into_inner);
        let simulator = Simulator::start(listener, world, Arc::new(now))
            .await
            .unwrap();
        Self { simulator, clock }
    }

    pub(crate) async fn demo() -> Self {
        Self::start(World::demo()).await
    }

    pub(crate) fn set_time(&self, now: &str) {
        *self.clock.lock().unwrap() = now.parse().unwrap();
    }

    pub(crate) fn now(&self) -> Timestamp {
        *self.clock.lock().unwrap()
    }

    /// Replaces the simulator's faults.
    pub(crate) fn inject_faults(&self, faults: &[&str]) {
        let faults = faults.iter().map(|fault| Fault::parse(fault).unwrap());
        self.simulator.set_faults(faults.collect());
    }

    pub(crate) fn clear_faults(&self) {
        self.inject_faults(&[]);
    }

    /// Returns the number of requests with a path that ends with `suffix`.
    pub(crate) fn calls(&self, suffix: &str) -> usize {
        let requests = self.simulator.requests();
        let matching = requests.iter().filter(|r| r.path.ends_with(suffix));
        matching.count()
    }

    /// Returns the expected totals of an object from `since` to `until`, both inclusive.
    pub(crate) fn truth(&self, id: &str, since: &str, until: &str) -> Option<ExpectedTotals> {
        let (since, until) = (since.parse().unwrap(), until.parse().unwrap());
        self.simulator.expected_totals(id, since, until, self.now())
    }

    /// Starts an exporter that polls this API. `config` has no `graph` section.
    pub(crate) async fn exporter(&self, config: &str) -> Exporter {
        Exporter::start(&parse(config, &self.simulator.url())).await
    }
}

/// Sets the clock of all exporters in this process, which starts at [`NOW`] and then runs. Returns its distance to the
/// time of the system.
pub(crate) fn set_clock() -> SignedDuration {
    static OFFSET: OnceLock<SignedDuration> = OnceLock::new();
    *OFFSET.get_or_init(|| {
        let now: Timestamp = NOW.parse().unwrap();
        let offset = now.duration_since(clock::now());
        clock::set_offset(offset);
        offset
    })
}

/// Parses a config for the API at `url`, with the secrets of the simulator: the name of an environment variable selects
/// a token as in [`token`].
pub(crate) fn parse(text: &str, url: &str) -> Config {
    let document = NamedDocument {
        name: "config".to_owned(),
        text: text.to_owned(),
    };
    let mut config =
        Config::parse(document, Vec::new()).unwrap_or_else(|errors| panic!("{errors}"));
    config.graph.url = url.to_owned();
    for business in &mut config.businesses {
        if let SecretSource::Env(name) = &business.token {
            business.token = SecretSource::Inline(Secret::new(&token(name)).unwrap());
        }
        if let Some(app) = &mut business.app {
            app.secret = Some(SecretSource::Inline(
                Secret::new("simulated-app-secret").unwrap(),
            ));
        }
    }
    config
}

/// Returns the simulator's token of a business, or for `EVERYONE` the token that sees all ad accounts.
pub(crate) fn token(business: &str) -> String {
    match business.split_at(1) {
        _ if business == "EVERYONE" => World::demo_token().to_owned(),
        (first, rest) => format!("EAASimulatedTokenOf{first}{}", rest.to_lowercase()),
    }
}

/// HTTP client of an exporter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor {
    pub(crate) address: SocketAddr,
}

/// A running exporter.
pub(crate) struct Exporter {
    visitor: Visitor,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Exporter {
    pub(crate) async fn start(config: &Config) -> Self {
        Self::start_share(config, Shard::ALL).await
    }

    /// Starts one of several exporters that share the sources of a config.
    pub(crate) async fn start_share(config: &Config, shard: Shard) -> Self {
        set_clock();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let app = App::new(config, shard).unwrap();
        let running = tokio::spawn(async move {
            let stopped = async {
                // An error means that the sender was dropped, which stops the exporter too.
                let _ = stopped.await;
            };
            let path = "/metrics".to_owned();
            app.run(vec![listener], path, stopped).await.unwrap();
        });
        Self {
            visitor: Visitor { address },
            stop: Some(stop),
            running,
        }
    }

    /// Shuts the exporter down and waits until it has ended.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        timeout(HANG_GUARD, &mut self.running)
            .await
            .unwrap()
            .unwrap();
    }
}

impl Deref for Exporter {
    type Target = Visitor;

    fn deref(&self) -> &Visitor {
        &self.visitor
    }
}

impl Visitor {
    pub(crate) async fn get(&self, path: &str) -> HttpResponse {
        self.request("GET", path, "").await
    }

    /// Sends one request; each line of `headers` ends with CRLF.
    pub(crate) async fn request(&self, method: &str, path: &str, headers: &str) -> HttpResponse {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            bytes
        };
        let bytes = timeout(HANG_GUARD, exchange)
            .await
            .expect("the exporter should respond");
        HttpResponse::read(&bytes)
    }

    /// Returns the current metrics page.
    pub(crate) async fn page(&self) -> Page {
        Page::parse(&self.page_text().await)
    }

    /// Returns the current metrics page without letting tokio's paused clock advance, as it does while every task waits
    /// for a socket.
    pub(crate) async fn page_on_paused_clock(&self) -> Page {
        let address = self.address;
        let request = move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(HANG_GUARD)).unwrap();
            let request = b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            std::io::Write::write_all(&mut stream, request).unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            bytes
        };
        let bytes = tokio::task::spawn_blocking(request).await.unwrap();
        let response = HttpResponse::read(&bytes);
        assert_eq!(response.status, 200);
        Page::parse(&response.text())
    }

    async fn page_text(&self) -> String {
        let response = self.get("/metrics").await;
        assert_eq!(response.status, 200);
        response.text()
    }

    /// Waits for a page that satisfies `condition`.
    pub(crate) async fn page_when(&self, condition: impl Fn(&Page) -> bool) -> Page {
        self.page_within(HANG_GUARD, condition).await
    }

    /// Waits for a page that satisfies `condition`, with another limit than [`HANG_GUARD`].
    pub(crate) async fn page_within(
        &self,
        limit: Duration,
        condition: impl Fn(&Page) -> bool,
    ) -> Page {
        self.parsed_within(limit, |text| {
            Some(Page::parse(text)).filter(|page| condition(page))
        })
        .await
    }

    /// Waits until `parse` returns a page.
    async fn parsed_within(&self, limit: Duration, parse: impl Fn(&str) -> Option<Page>) -> Page {
        let deadline = Instant::now() + limit;
        loop {
            let text = self.page_text().await;
            if let Some(page) = parse(&text) {
                return page;
            }
            assert!(
                Instant::now() < deadline,
                "the page should satisfy the condition within {limit:?}:\n{}",
                Page::parse(&text).without(|family| family.name.starts_with("process_"))
            );
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// Waits for a page on which every window is up.
    pub(crate) async fn page_all_up(&self) -> Page {
        // Before every source was polled, no page satisfies the condition, and a large page takes long.
        self.wait_until_ready().await;
        // Only the last page is parsed, because that takes a second for a large one.
        self.parsed_within(HANG_GUARD, |text| {
            let is_up = |line: &str| line.starts_with("marketing_messages_up{");
            let mut up = text.lines().filter(|line| is_up(line)).peekable();
            let is_all_up = up.peek().is_some() && up.all(|line| line.ends_with(" 1"));
            is_all_up.then(|| Page::parse(text))
        })
        .await
    }

    async fn wait_until_ready(&self) {
        let deadline = Instant::now() + HANG_GUARD;
        loop {
            let response = self.get("/-/ready").await;
            if response.status == 200 {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the exporter should be ready: {}",
                response.text()
            );
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// Waits for a page on which every window was polled at least once, successfully or not.
    pub(crate) async fn page_after_first_round(&self) -> Page {
        self.page_when(|page| {
            let polled = page.all("exporter_poll_duration_seconds", &[]).len();
            polled > 0 && polled == page.all("up", &[]).len()
        })
        .await
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Response of the exporter.
#[derive(Clone, Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl HttpResponse {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let end = end.expect("the header should end with an empty line");
        let (head, body) = bytes.split_at(end + 4);
        let head = String::from_utf8(head.to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            body: body.to_vec(),
            head,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Decompresses a body that is exactly one gzip member.
    pub(crate) fn gunzipped(&self) -> String {
        let mut text = String::new();
        let mut rest = self.body.as_slice();
        GzDecoder::new(&mut rest).read_to_string(&mut text).unwrap();
        assert!(
            rest.is_empty(),
            "no bytes should follow the gzip member: {}",
            rest.len()
        );
        text
    }
}

/// Waits until `condition` is true; `description` is for the panic message.
pub(crate) async fn wait_until(description: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + HANG_GUARD;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "condition not reached: {description}"
        );
        sleep(CHECK_INTERVAL).await;
    }
}

/// Lets time pass in steps on tokio's paused clock and on the exporter's. `request_count` returns the number of requests
/// that the API has received. Requests that wait for nothing else complete within a step.
pub(crate) async fn pass(duration: Duration, step: Duration, request_count: impl Fn() -> usize) {
    let start = Instant::now();
    let mut known = request_count();
    while start.elapsed() < duration {
        advance(step).await;
        clock::advance(step);
        let is_first = start.elapsed() <= FIRST_STEPS * step;
        rounds(if is_first {
            ROUNDS_PER_STEP
        } else {
            ROUNDS_PER_IDLE_STEP
        })
        .await;
        // Most steps have no request and need little real time.
        while request_count() > known {
            known = request_count();
            rounds(ROUNDS_PER_STEP).await;
        }
    }
}

/// Lets all tasks and sockets of this thread go on, so that a busy machine needs the same number of rounds. The clock
/// does not advance while a blocking task runs.
pub(crate) async fn rounds(count: usize) {
    for _ in 0..count {
        let real_time = || std::thread::sleep(Duration::from_micros(50));
        tokio::task::spawn_blocking(real_time).await.unwrap();
    }
}
