//! A simulated Graph API, the exporter against it, and a client to look at the page with.
//!
//! Everything listens on ports that the system chooses and ends when it is dropped. Nothing
//! sleeps for a fixed time: tests wait until the page says something, for so long at most.

use std::io::Read;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::bufread::GzDecoder;
use jiff::Timestamp;
use marketing_messages_exporter::app::App;
use marketing_messages_exporter::config::{Config, Document};
use marketing_messages_exporter::plan::Shard;
use marketing_messages_exporter::secret::{Secret, SecretSource};
use marketing_messages_exporter::simulator::{self, Fault, Simulator, Truth, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::page::Page;

/// A Monday, 12:30 in Berlin, 03:30 in Los Angeles, 20:30 in Tokyo.
pub(crate) const NOW: &str = "2026-11-23T11:30:00Z";

/// The longest that a test waits for the page to say something. A machine that builds
/// something else meanwhile is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(15);

/// A simulated API with a clock that stands still unless it is set.
pub(crate) struct Api {
    pub(crate) simulator: Simulator,
    clock: Arc<Mutex<Timestamp>>,
}

impl Api {
    pub(crate) async fn start(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clock = Arc::new(Mutex::new(NOW.parse().unwrap()));
        let read = Arc::clone(&clock);
        let read = move || *read.lock().unwrap_or_else(PoisonError::into_inner);
        let simulator = simulator::start(listener, world, Arc::new(read))
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

    pub(crate) fn break_with(&self, faults: &[&str]) {
        let faults = faults.iter().map(|fault| Fault::parse(fault).unwrap());
        self.simulator.set_faults(faults.collect());
    }

    pub(crate) fn mend(&self) {
        self.break_with(&[]);
    }

    /// How many calls came in whose path ends so.
    pub(crate) fn calls(&self, end: &str) -> usize {
        let requests = self.simulator.requests();
        requests.iter().filter(|r| r.path.ends_with(end)).count()
    }

    /// What is true of an object from `since` to `until`, both included.
    pub(crate) fn truth(&self, id: &str, since: &str, until: &str) -> Option<Truth> {
        let (since, until) = (since.parse().unwrap(), until.parse().unwrap());
        self.simulator.truth(id, since, until, self.now())
    }

    /// The exporter against it, for a config without `graph`.
    pub(crate) async fn exporter(&self, config: &str) -> Exporter {
        Exporter::start(&parse(config, &self.simulator.url())).await
    }
}

/// Reads a config for the API at `url`. The names of environment variables stand for the
/// simulator's tokens, `EVERYONE` for the one that sees all; the app's secret is the simulator's.
pub(crate) fn parse(text: &str, url: &str) -> Config {
    let document = Document {
        name: "config".to_owned(),
        text: text.to_owned(),
    };
    let mut config = Config::parse(document, Vec::new()).unwrap_or_else(|all| panic!("{all}"));
    config.graph.url = url.to_owned();
    for business in &mut config.businesses {
        if let SecretSource::Env(name) = &business.token {
            business.token = SecretSource::Given(Secret::new(&token(name)).unwrap());
        }
        if let Some(app) = &mut business.app {
            app.secret = SecretSource::Given(Secret::new("simulated-app-secret").unwrap());
        }
    }
    config
}

/// The simulator's token of that business.
pub(crate) fn token(business: &str) -> String {
    match business.split_at(1) {
        _ if business == "EVERYONE" => World::demo_token().to_owned(),
        (first, rest) => format!("EAASimulatedTokenOf{first}{}", rest.to_lowercase()),
    }
}

/// Somebody who looks at an exporter's pages.
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
        Self::start_share(config, Shard::WHOLE).await
    }

    /// One of several that divide the config's sources between them.
    pub(crate) async fn start_share(config: &Config, shard: Shard) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let app = App::new(config, shard).unwrap();
        let running = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            let path = "/metrics".to_owned();
            app.run(vec![listener], path, stopped).await.unwrap();
        });
        Self {
            visitor: Visitor { address },
            stop: Some(stop),
            running,
        }
    }

    /// Ends it in good order.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        timeout(PATIENCE, &mut self.running).await.unwrap().unwrap();
    }
}

impl Deref for Exporter {
    type Target = Visitor;

    fn deref(&self) -> &Visitor {
        &self.visitor
    }
}

impl Visitor {
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    /// One request; `headers` are whole lines.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
        let talk = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            bytes
        };
        let bytes = timeout(PATIENCE, talk).await.expect("an answer in time");
        Answer::read(&bytes)
    }

    /// The page as it is now.
    pub(crate) async fn page(&self) -> Page {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.status, 200);
        Page::parse(&answer.text())
    }

    /// The first page of which that is true.
    pub(crate) async fn page_when(&self, condition: impl Fn(&Page) -> bool) -> Page {
        self.page_within(PATIENCE, condition).await
    }

    /// The same, with another patience.
    pub(crate) async fn page_within(
        &self,
        patience: Duration,
        condition: impl Fn(&Page) -> bool,
    ) -> Page {
        let deadline = Instant::now() + patience;
        loop {
            let page = self.page().await;
            if condition(&page) {
                return page;
            }
            assert!(
                Instant::now() < deadline,
                "never became true of the page, which now says:\n{}",
                page.without(|family| family.name.starts_with("process_"))
            );
            sleep(LOOK).await;
        }
    }

    /// The first page on which every source and window is up.
    pub(crate) async fn page_up(&self) -> Page {
        self.page_when(|page| {
            let up = page.all("up", &[]);
            !up.is_empty() && up.iter().all(|sample| sample.number == "1")
        })
        .await
    }

    /// The first page on which every source and window was polled, well or not.
    pub(crate) async fn page_tried(&self) -> Page {
        self.page_when(|page| {
            let tried = page.all("exporter_poll_duration_seconds", &[]).len();
            tried > 0 && tried == page.all("up", &[]).len()
        })
        .await
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// An answer of the exporter.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = bytes.split_at(end.expect("a head") + 4);
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

    /// The text of a body that is exactly one gzip member.
    pub(crate) fn gunzipped(&self) -> String {
        let mut text = String::new();
        let mut left = self.body.as_slice();
        GzDecoder::new(&mut left).read_to_string(&mut text).unwrap();
        assert!(left.is_empty(), "{} bytes after the member", left.len());
        text
    }
}

/// Waits until that is true.
pub(crate) async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(LOOK).await;
    }
}
