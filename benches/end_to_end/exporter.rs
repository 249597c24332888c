//! The simulated API, and the exporter as a separate process with a config file.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use graph_simulator::{Simulator, World};
use marketing_messages_exporter::plan::ROWS_PER_PAGE;
use tokio::runtime::Runtime;

use crate::child::Child;
use crate::scraper::{Connection, Encoding};

/// Time between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Available windows; the first two are the defaults of the config.
pub(crate) const WINDOWS: [&str; 5] = ["today", "last_30d", "yesterday", "last_7d", "this_month"];

/// Maximum wait for a complete page.
const FIRST_PAGE_TIMEOUT: Duration = Duration::from_secs(600);

/// Minimum duration of the measurement of refreshes.
const MIN_REFRESH_TIME: Duration = Duration::from_secs(20);

/// The simulated API, served by this process.
pub(crate) struct Api {
    _runtime: Runtime,
    simulator: Simulator,
}

impl Api {
    pub(crate) fn start(world: World) -> Self {
        let runtime = Runtime::new().unwrap();
        let simulator = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            #[expect(
                clippy::disallowed_methods,
                reason = "the outermost layer of a program provides the clock"
            )]
            let clock = Arc::new(jiff::Timestamp::now);
            Simulator::start(listener, world, clock).await.unwrap()
        });
        Self {
            _runtime: runtime,
            simulator,
        }
    }
}

impl Api {
    /// Returns the base URL.
    pub(crate) fn url(&self) -> String {
        self.simulator.url()
    }

    /// Returns the number of requests received so far.
    pub(crate) fn calls(&self) -> usize {
        self.simulator.requests().len()
    }
}

/// Size and polling interval of the simulated ad account.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) campaigns: usize,
    pub(crate) windows: usize,
    /// Polling interval.
    pub(crate) interval: Duration,
}

impl Account {
    /// Creates an account with the shortest interval that its size allows: requests are rate-limited, so that a poll
    /// of many pages takes longer.
    pub(crate) fn new(campaigns: usize, windows: usize) -> Self {
        let seconds = 5 + campaigns * windows / 2_000;
        Self {
            campaigns,
            windows,
            interval: Duration::from_secs(seconds as u64),
        }
    }

    /// Returns the interval as a line of the config.
    fn interval(&self) -> String {
        format!("interval: {}ms", self.interval.as_millis())
    }

    /// Returns a lower bound of the number of series of a complete page, which is reached only when the last window
    /// is polled. A campaign has at least 22 series per window, and some that do not depend on the window.
    fn series(&self) -> usize {
        self.campaigns * (22 * self.windows - 9)
    }
}

/// A running exporter.
pub(crate) struct Exporter {
    child: Child,
    config: PathBuf,
    started: Instant,
    account: Account,
    pub(crate) port: u16,
    /// Time from the start to the first response.
    pub(crate) time_to_listen: Duration,
    /// Time from the start to a page with every campaign.
    pub(crate) time_to_full_page: Duration,
}

/// Rows and CPU time of some refreshes.
pub(crate) struct Refreshes {
    pub(crate) rows: usize,
    pub(crate) cpu: Duration,
}

impl Exporter {
    /// Starts the exporter with one ad account.
    pub(crate) fn start(api: &Api, account: Account) -> Self {
        Self::with_config(&config_text(api, account), account)
    }

    /// Starts the exporter with a config; `account` gives the total size of its ad accounts.
    pub(crate) fn with_config(text: &str, account: Account) -> Self {
        let config = std::env::temp_dir().join(format!("mme-bench-{}.yaml", std::process::id()));
        std::fs::write(&config, text).unwrap();
        let port = free_port();
        let started = Instant::now();
        let child = Child::start_silent(
            Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"))
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--log.level=error")
                .env("TOKEN", World::demo_token())
                .stderr(Stdio::inherit()),
        );
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            sleep(POLL_INTERVAL);
        }
        Connection::open(port).body(Encoding::Gzip);
        Self {
            child,
            config,
            started,
            account,
            port,
            time_to_listen: started.elapsed(),
            time_to_full_page: Duration::ZERO,
        }
    }

    /// Waits until every campaign is on the page.
    pub(crate) fn wait_for_all_series(mut self) -> Self {
        while self.series() < self.account.series() as u64 {
            assert!(
                self.started.elapsed() < FIRST_PAGE_TIMEOUT,
                "timed out waiting for a complete page"
            );
            // Each check makes the exporter render a page, so checks are less frequent here.
            sleep(50 * POLL_INTERVAL);
        }
        self.time_to_full_page = self.started.elapsed();
        self
    }

    /// Measures refreshes without scrapes.
    pub(crate) fn refreshes(&self, api: &Api) -> Refreshes {
        let (calls, cpu, start) = (api.calls(), self.child.cpu_time(), Instant::now());
        // Lasts at least one polling interval, and until at least one request was sent.
        let refresh_time = MIN_REFRESH_TIME.max(self.account.interval);
        while start.elapsed() < refresh_time
            || (api.calls() == calls && start.elapsed() < FIRST_PAGE_TIMEOUT)
        {
            sleep(MIN_REFRESH_TIME / 40);
        }
        Refreshes {
            // Each row is in the responses of two queries.
            rows: (api.calls() - calls) * ROWS_PER_PAGE.min(self.account.campaigns) / 2,
            cpu: self.child.cpu_time() - cpu,
        }
    }

    /// Stops polling by reloading a config with a long interval, and waits until the CPU is idle.
    pub(crate) fn stop_polling(&self) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        let text = text.replace(&self.account.interval(), "interval: 24h");
        std::fs::write(&self.config, text).unwrap();
        self.child.signal("-HUP");
        let cpu_time = || self.child.cpu_time();
        // A running poll is not interrupted by the reload.
        let mut before = cpu_time();
        loop {
            sleep(Duration::from_millis(700));
            let now = cpu_time();
            if now - before < Duration::from_millis(30) {
                return;
            }
            before = now;
        }
    }

    /// Returns the number of campaign series on the page.
    pub(crate) fn series(&self) -> u64 {
        self.self_metric("marketing_messages_exporter_page_series ")
    }

    pub(crate) fn memory(&self) -> u64 {
        self.child.memory()
    }

    pub(crate) fn peak_memory(&self) -> u64 {
        self.child.peak_memory()
    }

    pub(crate) fn cpu_time(&self) -> Duration {
        self.child.cpu_time()
    }

    /// Returns the number of polls of a window so far.
    pub(crate) fn polls(&self) -> u64 {
        self.self_metric("marketing_messages_exporter_polls_total{")
    }

    /// Returns the value of a self metric. Self metrics are at the beginning of the page; the rest is not read.
    pub(crate) fn self_metric(&self, prefix: &str) -> u64 {
        let text = Connection::open(self.port).read_to_line(prefix);
        let line = text.lines().find(|line| line.starts_with(prefix));
        let number = line.and_then(|line| line.rsplit(' ').next());
        number
            .and_then(|number| number.parse::<f64>().ok())
            .unwrap_or(0.0) as u64
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.config));
    }
}

fn config_text(api: &Api, account: Account) -> String {
    let windows = WINDOWS[..account.windows]
        .iter()
        .map(|preset| format!("{{ name: {preset}, date_preset: {preset} }}"));
    format!(
        "graph: {{ url: \"{}\" }}
polling: {{ {}, concurrency: 64 }}
windows: [{}]
businesses:
  - {{ name: many, access_token_env: TOKEN, ad_accounts: [{{ id: act_10150000000009001 }}] }}
",
        api.url(),
        account.interval(),
        windows.collect::<Vec<_>>().join(", ")
    )
}

/// Returns a port that is currently free.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
