//! A simulated API with one large ad account, and the exporter as people run it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use marketing_messages_exporter::plan::PAGE_SIZE;
use marketing_messages_exporter::simulator::{self, Simulator, World};
use tokio::runtime::Runtime;

use crate::child::Child;
use crate::scraper::{Connection, Encoding};

/// How often anything is looked at again.
const LOOK: Duration = Duration::from_millis(2);

/// Windows that there can be, the config's usual two first.
pub(crate) const WINDOWS: [&str; 5] = ["today", "last_30d", "yesterday", "last_7d", "this_month"];

/// The longest that a first page is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long refreshes are watched, at least.
const WATCHED: Duration = Duration::from_secs(20);

/// The API, on a socket of this process.
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
                reason = "a program's outermost part hands the clock in"
            )]
            let clock = Arc::new(jiff::Timestamp::now);
            simulator::start(listener, world, clock).await.unwrap()
        });
        Self {
            _runtime: runtime,
            simulator,
        }
    }
}

impl Api {
    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.simulator.url()
    }

    /// How many calls came in so far.
    pub(crate) fn calls(&self) -> usize {
        self.simulator.requests().len()
    }
}

/// The one ad account that the exporter asks about.
#[derive(Clone, Copy)]
pub(crate) struct Account {
    pub(crate) campaigns: usize,
    pub(crate) windows: usize,
    /// The time from poll to poll.
    pub(crate) interval: Duration,
}

impl Account {
    /// One that is polled as often as its size allows: requests are paced, so that a poll of many
    /// pages takes its time.
    pub(crate) fn new(campaigns: usize, windows: usize) -> Self {
        let seconds = 5 + campaigns * windows / 2_000;
        Self {
            campaigns,
            windows,
            interval: Duration::from_secs(seconds as u64),
        }
    }

    /// How often, as the config says it.
    fn interval(&self) -> String {
        format!("interval: {}ms", self.interval.as_millis())
    }

    /// A campaign has 22 series or more in each window, and some without one; that many are on
    /// the page when the last window is.
    fn series(&self) -> usize {
        self.campaigns * (22 * self.windows - 9)
    }
}

/// The exporter against it.
pub(crate) struct Exporter {
    child: Child,
    config: PathBuf,
    started: Instant,
    account: Account,
    pub(crate) port: u16,
    /// From its start to its first answer.
    pub(crate) listening: Duration,
    /// From its start to the page that shows every campaign.
    pub(crate) first_page: Duration,
}

/// What some refreshes cost.
pub(crate) struct Refreshes {
    pub(crate) rows: usize,
    pub(crate) cpu: Duration,
}

impl Exporter {
    /// With that ad account.
    pub(crate) fn start(api: &Api, account: Account) -> Self {
        Self::with(&text(api, account), account)
    }

    /// With that config, whose ad accounts together are as large as that one.
    pub(crate) fn with(text: &str, account: Account) -> Self {
        let config = std::env::temp_dir().join(format!("mme-bench-{}.yaml", std::process::id()));
        std::fs::write(&config, text).unwrap();
        let port = free_port();
        let started = Instant::now();
        let child = Child::silent(
            Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"))
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .arg("--log.level=error")
                .env("TOKEN", World::demo_token())
                .stderr(Stdio::inherit()),
        );
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            sleep(LOOK);
        }
        Connection::open(port).body(Encoding::Gzip);
        Self {
            child,
            config,
            started,
            account,
            port,
            listening: started.elapsed(),
            first_page: Duration::ZERO,
        }
    }

    /// Once every campaign is on the page.
    pub(crate) fn settled(mut self) -> Self {
        while self.series() < self.account.series() as u64 {
            assert!(self.started.elapsed() < PATIENCE, "no whole page");
            // To look is to have a page begun.
            sleep(50 * LOOK);
        }
        self.first_page = self.started.elapsed();
        self
    }

    /// What the refreshes of some seconds cost, scrapes left out.
    pub(crate) fn refreshes(&self, api: &Api) -> Refreshes {
        let (calls, cpu, begun) = (api.calls(), self.child.cpu(), Instant::now());
        // Where a poll takes longer, a whole round of them, and until there was one.
        let watched = WATCHED.max(self.account.interval);
        while begun.elapsed() < watched || (api.calls() == calls && begun.elapsed() < PATIENCE) {
            sleep(WATCHED / 40);
        }
        Refreshes {
            // Each row is part of two answers.
            rows: (api.calls() - calls) * PAGE_SIZE.min(self.account.campaigns) / 2,
            cpu: self.child.cpu() - cpu,
        }
    }

    /// Lets it rest: no polls from now on.
    pub(crate) fn rest(&self) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        let text = text.replace(&self.account.interval(), "interval: 24h");
        std::fs::write(&self.config, text).unwrap();
        self.child.signal("-HUP");
        let busy = || self.child.cpu();
        // A poll under way ends as it began.
        let mut before = busy();
        loop {
            sleep(Duration::from_millis(700));
            let now = busy();
            if now - before < Duration::from_millis(30) {
                return;
            }
            before = now;
        }
    }

    /// How many series the campaign page has.
    pub(crate) fn series(&self) -> u64 {
        self.own("marketing_messages_exporter_page_series ")
    }

    pub(crate) fn memory(&self) -> u64 {
        self.child.memory()
    }

    pub(crate) fn peak(&self) -> u64 {
        self.child.peak()
    }

    pub(crate) fn cpu(&self) -> Duration {
        self.child.cpu()
    }

    /// How many polls of a window there were.
    pub(crate) fn polls(&self) -> u64 {
        self.own("marketing_messages_exporter_polls_total{")
    }

    /// The number behind an own metric. Own metrics come first: the rest of the page is not read.
    pub(crate) fn own(&self, begins: &str) -> u64 {
        let text = Connection::open(self.port).beginning(begins);
        let line = text.lines().find(|line| line.starts_with(begins));
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

fn text(api: &Api, account: Account) -> String {
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

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
